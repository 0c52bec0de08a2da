"""Propensities: the sampled, penalised odds of each arm against the comparison."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from invented_designs import make_design

from tiltakeval.estimators.numerics.odds import cross_fit_odds, newton, scaled, without_folds
from tiltakeval.estimators.weighting.aipw import AIPW


def test_indicators_are_scaled_alike_however_they_are_coded() -> None:
    rng = np.random.default_rng(0)
    rare = (rng.random(500) < 0.02).astype(float)
    number = rng.standard_normal(500)
    coded = np.column_stack([rare, (rare - rare.mean()) / rare.std(), number, np.full(500, 3.0)])
    found = scaled(coded)
    np.testing.assert_allclose(found[:, 0], found[:, 1])
    assert np.ptp(found[:, 0]) == 1
    np.testing.assert_allclose(found[:, 2].std(), 0.5)
    assert (found[:, 3] == 0).all()


def test_sampled_comparison_units_do_not_depend_on_the_order_of_units() -> None:
    design = make_design(20_000, seed=1, months=1, arms=2)
    few = np.flatnonzero(design.arm == 1)[:150]
    design = design.take(np.concatenate([np.flatnonzero(design.arm == 0), few]))
    order = np.random.default_rng(0).permutation(design.n)
    estimator = AIPW(folds=3)
    one, other = estimator.nuisance(design), estimator.nuisance(design.take(order))
    np.testing.assert_allclose(one.propensity[order], other.propensity, rtol=1e-8)


def test_the_odds_are_those_of_the_process() -> None:
    design = make_design(20_000, seed=2, months=1, recurring=False)
    e = cross_fit_odds(
        design.covariates,
        arm=design.arm,
        allowed=design.eligible,
        weight=design.weight,
        fold=np.arange(design.n) % 3,
        folds=3,
    )
    x = design.covariates
    truth = -0.8 + 0.5 * x[:, 0] + 0.3 * x[:, 1]
    np.testing.assert_allclose(np.log(e[:, 1] / e[:, 0]), truth, atol=0.25)


@pytest.mark.parametrize(
    ("units", "participants", "penalty"), [(5_000, 900, 0.3), (1_500, 12, 30.0), (300, 5, 0.3)]
)
def test_fits_without_a_fold_are_those_of_its_own_units(
    units: int, participants: int, penalty: float
) -> None:
    rng = np.random.default_rng(participants)
    x = rng.standard_normal((units, 20))
    x[:, 10:] = x[:, 10:] > 1.5
    chance = x @ rng.standard_normal(20) + rng.gumbel(size=units)
    y = np.zeros(units, dtype=bool)
    y[np.argsort(-chance)[:participants]] = True
    z = np.hstack([np.ones((units, 1)), scaled(x)])
    w = rng.uniform(0.5, 2.0, units)
    fold = rng.integers(0, 5, units)
    fold[np.flatnonzero(y)[:-1]] = np.arange(participants - 1) % 4  # one fold has one at most
    start = np.zeros(21)
    whole = newton(z, y, w, penalty=penalty, start=start)
    found = without_folds(z, y, w, fold, 5, penalty=penalty, whole=whole)
    for f in range(5):
        train = fold != f
        alone = newton(z[train], y[train], w[train], penalty=penalty, start=start, tolerance=1e-13)
        np.testing.assert_allclose(found[f], alone, atol=2e-4)


def test_a_fold_whose_own_units_are_all_there_is_goes_on_alone() -> None:
    rng = np.random.default_rng(3)
    z = np.hstack([np.ones((200, 1)), rng.standard_normal((200, 2))])
    y = np.arange(200) < 6
    fold = np.where(y, 0, 1 + np.arange(200) % 2)  # without fold 0 nobody takes part
    w = np.ones(200)
    whole = newton(z, y, w, penalty=0.3, start=np.zeros(3))
    found = without_folds(z, y, w, fold, 3, penalty=0.3, whole=whole)
    assert np.isfinite(found).all()
    assert (z @ found[0]).max() < -9  # next to no chance for anybody


def test_a_fold_that_has_everybody_leaves_nothing_and_says_nothing() -> None:
    rng = np.random.default_rng(4)
    z = np.hstack([np.ones((300, 1)), 1e3 * rng.standard_normal((300, 2))])
    y, w = rng.random(300) < 0.3, np.full(300, 1e9)
    whole = newton(z, y, w, penalty=0.3, start=np.zeros(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = without_folds(z, y, w, np.zeros(300, dtype=int), 2, penalty=0.3, whole=whole)
    np.testing.assert_allclose(found[0, 1:], 0.0, atol=1e-6)
    np.testing.assert_allclose(found[1], whole, rtol=1e-6)
