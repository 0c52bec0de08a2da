"""The score engine against the formula written out unit by unit."""

from __future__ import annotations

import numpy as np
import pytest
from invented_designs import make_design

from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimators.numerics import ridge
from tiltakeval.estimators.numerics.layout import make_layout, outcome_block
from tiltakeval.estimators.numerics.ridge import Regression, fit_ridge
from tiltakeval.estimators.numerics.scores import score
from tiltakeval.estimators.weighting import pipeline
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.support import level_matrix
from tiltakeval.estimators.weighting.targets import make_targets


def brute_force(design, nuisance, target, pair, arm, mu, c_of):
    """theta [L, C] and influence by group [G, L, C] of the mean of ``arm``, unit by unit."""
    _, levels = level_matrix(design)
    y = design.outcomes.reshape(design.n, -1).astype(float)
    e = nuisance.propensity
    groups = nuisance.groups
    theta = np.full((levels.shape[1], y.shape[1]), np.nan)
    z = np.zeros((groups.count, *theta.shape))
    for level in range(levels.shape[1]):
        for col in range(y.shape[1]):
            seen = np.isfinite(y[:, col])
            s = design.weight * levels[:, level] * seen * nuisance.kept
            s = s * design.eligible[:, list(target.required)].all(axis=1)
            in_t = np.isin(design.arm, target.arms)
            own = design.arm == arm
            e_t = e[:, list(target.arms)].sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(e[:, arm] > 0, e_t / e[:, arm], 0)
            resid = np.where(seen, y[:, col] - mu[:, col], 0) * c_of[:, col]
            psi = s * (in_t * mu[:, col] + own * ratio * resid)
            size = (s * in_t).sum()
            theta[level, col] = psi.sum() / size
            unit = (psi - s * in_t * theta[level, col]) / size
            np.add.at(z[:, level, col], groups.group, unit)
    return theta, z


@pytest.mark.parametrize("target", ["att", "ate", "programmes"])
@pytest.mark.parametrize("censored", [False, True])
def test_scores_equal_the_formula_unit_by_unit(target: str, censored: bool) -> None:
    design = make_design(
        400, missing=True, weighted=True, restricted=True, censored=censored, seed=3
    )
    estimator = AIPW(target=target, contrasts="all", folds=3, placebo=False)
    nuisance = estimator.nuisance(design)
    targets = make_targets(target, design, "all", present=nuisance.present)
    _, members = level_matrix(design)
    work, places = pipeline.prepare(
        design, nuisance, targets, design.outcomes, 2, members, design.censor_weight, 3
    )
    predictions = estimator.predict(work, 0)
    scores = score(
        work.sums,
        propensity=work.propensity,
        allowed=work.allowed,
        w=work.w,
        levels=work.levels,
        block=work.block,
        predictions=predictions,
        layout=work.layout,
        groups=work.groups,
    )
    fold = nuisance.fold[work.units]
    for t, wanted in enumerate(targets):
        for pair, at in places[t].items():
            for arm, j in zip(pair, at):
                mean = work.sums[t].means[j]
                mu = np.zeros((design.n, 6))
                for f in range(3):
                    rows = work.units[fold == f]
                    beta = predictions.beta[mean.model][f]
                    x = np.column_stack([np.ones(rows.size), nuisance.basis[rows]])
                    mu[rows] = x @ beta + work.block.centre
                c_of = np.ones((design.n, 6))
                if censored and arm == 0:
                    c_of = np.repeat(design.censor_weight[:, :, pair[0]], 2, axis=1)
                theta, z = brute_force(design, nuisance, wanted, pair, arm, mu, c_of)
                np.testing.assert_allclose(scores.theta[t][j], theta, rtol=1e-6, atol=1e-7)
                np.testing.assert_allclose(scores.z[t][:, j], z, rtol=1e-4, atol=1e-7)


def test_results_are_the_same_for_one_and_two_threads() -> None:
    design = make_design(500, missing=True)
    estimator = AIPW(folds=3, placebo=False)
    nuisance = estimator.nuisance(design)
    _, members = level_matrix(design)
    targets = make_targets("att", design, "none", present=nuisance.present)
    work, _ = pipeline.prepare(design, nuisance, targets, design.outcomes, 2, members, None, 3)
    found = [
        score(
            work.sums,
            propensity=work.propensity,
            allowed=work.allowed,
            w=work.w,
            levels=work.levels,
            block=work.block,
            predictions=estimator.predict(work, 0),
            layout=work.layout,
            groups=work.groups,
            threads=threads,
        )
        for threads in (1, 2)
    ]
    for a, b in zip(found[0].z, found[1].z):
        assert np.array_equal(a, b)


def test_reported_errors_come_from_person_sums() -> None:
    design = make_design(500, recurring=True)
    found = AIPW(folds=3).estimate(design)
    z = found.influence.columns(np.arange(len(found)))
    assert z.shape[0] == np.unique(design.person).size
    np.testing.assert_allclose(found.table["std_error"], standard_errors(z), rtol=1e-6)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("censored", [False, True])
def test_summed_ridge_equals_least_squares_on_the_training_units(
    monkeypatch: pytest.MonkeyPatch, missing: bool, censored: bool
) -> None:
    monkeypatch.setattr(ridge, "PENALTIES", (1e-13,))
    design = make_design(600, missing=missing, censored=censored, weighted=True, seed=5)
    rng = np.random.default_rng(0)
    fold = rng.integers(0, 3, design.n)
    layout = make_layout(fold=fold, arm=design.arm, group=np.arange(design.n), folds=3, arms=3)
    order = layout.order
    block = outcome_block(design.outcomes, weight=design.weight, order=order)
    x = design.covariates[order]
    censor = None if not censored else design.censor_weight[order, :, 1]
    found = fit_ridge(
        [Regression(0, censor), Regression(2)],
        x=x,
        w=design.weight[order],
        block=block,
        layout=layout,
        names=2,
    )
    y = design.outcomes.reshape(design.n, -1)
    for m, arm in enumerate((0, 2)):
        for f in range(3):
            for col in range(6):
                rows = (fold != f) & (design.arm == arm) & np.isfinite(y[:, col])
                v = design.weight[rows].copy()
                if censored and arm == 0:
                    v *= design.censor_weight[rows, col // 2, 1]
                full = np.column_stack([np.ones(rows.sum()), design.covariates[rows]])
                root = np.sqrt(v)[:, None]
                beta = np.linalg.lstsq(
                    full * root, (y[rows, col] - block.centre[col]) * root[:, 0], rcond=None
                )[0]
                np.testing.assert_allclose(found.beta[m][f][:, col], beta, rtol=1e-4, atol=1e-5)


def test_a_small_arm_borrows_the_slopes_of_the_comparison(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    design = make_design(3000, seed=2)
    few = np.flatnonzero(design.arm == 2)[:12]
    small = design.take(np.concatenate([np.flatnonzero(design.arm == 0), few]))
    fold = np.arange(small.n) % 3
    layout = make_layout(fold=fold, arm=small.arm, group=np.arange(small.n), folds=3, arms=3)
    block = outcome_block(small.outcomes, weight=small.weight, order=layout.order)

    def gap() -> float:
        found = fit_ridge(
            [Regression(0), Regression(2)],
            x=small.covariates[layout.order],
            w=small.weight[layout.order],
            block=block,
            layout=layout,
            names=2,
        )
        return float(np.abs(found.beta[1][0][1:] - found.beta[0][0][1:]).max())

    shrunk = gap()
    monkeypatch.setattr(ridge, "PENALTIES", (1e-13,))
    assert shrunk < gap() / 2
