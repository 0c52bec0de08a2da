"""Propensities: the sampled, penalised odds of each arm against the comparison."""

from __future__ import annotations

import numpy as np
from invented_designs import make_design

from tiltakeval.estimators.numerics.odds import cross_fit_odds, scaled
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
