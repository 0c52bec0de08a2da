"""Scores of units: the same numbers as the averages, the overlap target, and learners combined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented_arms import effects, make_arms
from invented_designs import make_design
from scipy import optimize

from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimators import build
from tiltakeval.estimators.heterogeneity.gate import gate
from tiltakeval.estimators.heterogeneity.rows import mean_of
from tiltakeval.estimators.heterogeneity.scores import unit_score_sets, unit_scores
from tiltakeval.estimators.numerics import ensemble, ensemble_propensity
from tiltakeval.estimators.numerics.layout import make_layout, outcome_block
from tiltakeval.estimators.numerics.learners import Trees
from tiltakeval.estimators.numerics.ridge import Regression
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.described import covariate_shift, described


@pytest.mark.parametrize("target", ["ate", "overlap"])
@pytest.mark.parametrize("cluster", ["person", "person_office"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_their_means_are_the_averages(target: str, cluster: str, seeds: int) -> None:
    design = make_design(500, missing=True, weighted=True, seed=2)
    options = AIPW(target=target, placebo=False, bands=False, folds=3, seeds=seeds, cluster=cluster)
    table = options.estimate(design).table
    columns = [(t, k) for t in range(len(design.horizons)) for k in range(2)]
    for (t, k), scores in zip(columns, unit_score_sets(design, options, columns)):
        average, _, _ = gate(scores)
        rows = table[
            (table.term == "effect")
            & (table.subgroup == "all")
            & (table.outcome == design.outcome_names[k])
            & (table.horizon == design.horizons[t])
        ]
        np.testing.assert_allclose(average.theta, rows.estimate, rtol=1e-6)
        se = standard_errors(average.z, scores.groups.form)
        # an outcome with few events has its error widened; these have none
        np.testing.assert_allclose(se, rows.std_error, rtol=1e-5)
        assert scores.excluded["outcome_not_observed"] > 0 or t == 0
        assert len(scores.splits) == seeds


def test_the_common_population_is_who_could_have_entered_every_arm() -> None:
    design = make_design(600, restricted=True, seed=1, recurring=False)
    scores = unit_scores(design, AIPW(target="ate", folds=3), outcome="work", horizon=1)
    assert scores.n == int(design.eligible.all(axis=1).sum())
    assert scores.excluded["not_eligible_for_all_arms"] == design.n - scores.n
    two = unit_scores(
        design, AIPW(target="ate", folds=3), outcome="work", horizon=1, arms=("none", "aft")
    )
    assert two.n == int(np.isin(design.arm, (0, 1)).sum()) and two.arms == ("none", "aft")
    np.testing.assert_allclose(two.propensity.sum(axis=1), 1)
    part = two.take(
        two.subgroups["region"].codes == 0 if "region" in two.subgroups else two.x[:, 0] > 0
    )
    assert 0 < part.n < two.n and part.splits[0].psi.shape == (part.n, 2)


def test_the_overlap_target_is_the_formula_and_what_it_describes() -> None:
    design = make_arms(900, seed=3)
    options = AIPW(target="overlap", folds=3, placebo=False)
    nuisance = options.nuisance(design)
    found = options.estimate(design, nuisance).select(term="effect").table
    # Li & Li's weights at the propensities used: effects averaged with h
    e = nuisance.propensity
    h = 1 / (1 / e).sum(axis=1)
    truth = h @ effects(design.covariates) / h.sum()
    all_rows = found[found.subgroup == "all"]
    assert (np.abs(all_rows.estimate - truth) < 3 * all_rows.std_error).all()
    scores = unit_scores(design, options)
    np.testing.assert_allclose(scores.weight, (h / e[np.arange(design.n), design.arm]) ** 2)
    own = e[np.arange(design.n), design.arm]
    residual = design.outcomes[:, 0, 0] - scores.fitted[np.arange(design.n), design.arm]
    psi = scores.fitted[np.arange(design.n), design.arm] + own / h * residual
    np.testing.assert_allclose(
        scores.psi[np.arange(design.n), design.arm], psi, rtol=1e-5, atol=1e-5
    )
    shift = covariate_shift(design, nuisance)
    assert list(shift.covariate) == list(design.covariate_names)
    told = described(design, nuisance)
    assert 0 < told["described_effective_units"] <= design.n
    assert build("aipw_overlap").estimate(design).run["described_of_units"] == design.n


def test_errors_of_the_overlap_target_are_those_of_its_estimates() -> None:
    points, errors = [], []
    for seed in range(60):
        design = make_arms(300, seed=seed)
        scores = unit_scores(design, AIPW(target="overlap", basis="linear"))
        theta, values = mean_of(scores.weight, scores.effects)
        points.append(theta)
        errors.append(np.sqrt((values**2).sum(axis=0)))
    ratio = np.mean(errors, axis=0) / np.std(points, axis=0)
    assert ((ratio > 0.75) & (ratio < 1.35)).all()


def test_hostile_designs_end_in_a_message() -> None:
    design = make_arms(300)
    with pytest.raises(InputError, match="unknown outcome"):
        unit_scores(design, AIPW(target="ate"), outcome="month")
    with pytest.raises(InputError, match="no such horizon"):
        unit_scores(design, AIPW(target="ate"), horizon=3)
    with pytest.raises(InputError, match="outcomes: say which"):
        unit_scores(make_design(300), AIPW(target="ate"))
    with pytest.raises(InputError, match="at least two different arms"):
        unit_scores(design, AIPW(target="ate"), arms=("none", "none"))
    few = np.where((design.arm == 2) & (np.cumsum(design.arm == 2) > 12), 0, design.arm)
    small = replace(design, arm=few)
    assert unit_scores(small, AIPW(target="ate")).arms == ("none", "aft")
    with pytest.raises(InputError, match="'amo' has too few units"):
        unit_scores(small, AIPW(target="ate"), arms=("none", "amo"))
    apart = np.ones((design.n, 3), dtype=bool)
    apart[design.arm == 1, 2] = False
    apart[design.arm == 2, 1] = False
    with pytest.raises(InputError, match="no common population"):
        unit_scores(replace(design, eligible=apart), AIPW(target="ate"))
    censored = make_design(400, censored=True)
    with pytest.raises(InputError, match="censored in another way"):
        unit_scores(censored, AIPW(target="ate"), outcome="work", horizon=2)
    with pytest.raises(InputError, match="at least 3 folds"):
        AIPW(learner_outcome="ensemble", folds=2)


def test_convex_weights_are_the_best_on_the_simplex() -> None:
    rng = np.random.default_rng(0)
    tried, w = rng.standard_normal((200, 3)), rng.random(200)
    y = tried @ [0.6, 0.5, -0.4] + rng.standard_normal(200)
    found = ensemble.convex_weights(tried, y, w, "ensemble")
    assert found.min() >= 0 and found.sum() == pytest.approx(1)

    def loss(a: np.ndarray) -> float:
        return float(w @ (y - tried @ a) ** 2)

    best = optimize.minimize(
        loss,
        [1 / 3] * 3,
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
    )
    np.testing.assert_allclose(found, best.x, atol=1e-3)
    assert ensemble.convex_weights(tried, tried[:, 1], w, "best").tolist() == [0, 1, 0]


def test_mixture_weights_have_the_largest_likelihood() -> None:
    rng = np.random.default_rng(1)
    p, w = rng.random((300, 3)), rng.random(300)
    found = ensemble_propensity.mixture_weights(p, w, "ensemble")
    value = w @ np.log(p @ found)
    for other in rng.dirichlet([1, 1, 1], 200):
        assert w @ np.log(p @ other) <= value + 1e-4


def test_nothing_of_a_fold_is_in_its_own_predictions() -> None:
    rng = np.random.default_rng(2)
    n, folds = 200, 4
    x, arm, fold = rng.standard_normal((n, 3)), rng.integers(0, 2, n), rng.integers(0, folds, n)
    layout = make_layout(fold=fold, arm=arm, group=np.zeros(n, dtype=int), folds=folds, arms=2)
    y = np.where(x[:, 0] > 0, 2.0, 0.0) + arm + 0.5 * rng.standard_normal(n)

    def predicted(values: np.ndarray) -> tuple[np.ndarray, dict]:
        block = outcome_block(values[:, None, None], weight=np.ones(n), order=layout.order)
        found, weights = ensemble.fit_ensemble(
            [Regression(0), Regression(1)],
            x=x[layout.order],
            w=np.ones(n),
            block=block,
            layout=layout,
            names=1,
            cluster=np.arange(n)[layout.order],
            combine="ensemble",
            trees=Trees(5, 5, 0),
            learners=("boosting", "forest"),
        )
        return found.values[1][:, 0] + block.centre[0], weights

    before, weights = predicted(y)
    changed = y.copy()
    changed[fold == 2] += rng.standard_normal((fold == 2).sum()) * 5
    changed[fold == 2] -= changed[fold == 2].mean() - y[fold == 2].mean()  # the centre stays
    after, _ = predicted(changed)
    at = fold[layout.order] == 2
    np.testing.assert_allclose(before[at], after[at], atol=1e-4)
    assert np.abs(before[~at] - after[~at]).max() > 0.1
    for m in (0, 1):
        assert sum(by[m] for by in weights.values()) == pytest.approx(1)


def test_products_are_found_where_outcomes_have_thresholds() -> None:
    design = make_arms(900, seed=5, noise=0.5)
    step = 3.0 * ((design.covariates[:, 0] > 0) & (design.covariates[:, 2] > 0))
    design = replace(design, outcomes=(design.outcomes[:, 0, 0] + step)[:, None, None])
    plain = unit_scores(design, AIPW(target="ate"))
    found = unit_scores(design, AIPW(target="ate", learner_outcome="products"))
    own = np.arange(found.n), found.arm

    def error(s) -> float:
        return float(((s.y - s.fitted[own]) ** 2).mean())

    assert error(found) < 0.75 * error(plain)
    assert found.run["learners_outcome"]["products"]["none"] > 0.5


def test_propensities_of_an_ensemble_add_up_and_tell_what_they_weigh() -> None:
    design = make_arms(400, seed=6)
    options = AIPW(target="ate", learner_propensity="ensemble", trees=5, folds=3)
    nuisance = options.nuisance(design)
    np.testing.assert_allclose(nuisance.propensity.sum(axis=1), 1)
    assert sum(nuisance.learners.values()) == pytest.approx(1)
    assert options.estimate(design).run["learners_propensity"] == dict(nuisance.learners)
    best = AIPW(target="ate", learner_propensity="best", trees=5, folds=3).nuisance(design)
    assert best.learners["logit"] > 0.5
