"""Plain estimators against statsmodels and linearmodels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from invented_designs import make_design
from linearmodels.iv import IV2SLS

from tiltakeval.errors import InputError
from tiltakeval.estimators import build

PICK = {"programme": "aft", "subgroup": "all", "outcome": "work", "horizon": 0, "term": "effect"}


def two_arms(**options):
    design = make_design(300, recurring=False, **options)
    return design, np.isin(design.arm, (0, 1))


def test_difference_in_means_is_ols_with_hc2() -> None:
    design, rows = two_arms()
    d = (design.arm[rows] == 1).astype(float)
    fit = sm.OLS(design.outcomes[rows, 0, 0].astype(float), sm.add_constant(d)).fit(cov_type="HC2")
    found = build("difference_in_means").estimate(design).select(**PICK).table.iloc[0]
    np.testing.assert_allclose(
        [found.estimate, found.std_error], [fit.params[1], fit.bse[1]], rtol=1e-6
    )


@pytest.mark.parametrize("errors", ["HC0", "HC1", "HC2", "HC3"])
@pytest.mark.parametrize("interacted", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_regression_equals_statsmodels(errors: str, interacted: bool, weighted: bool) -> None:
    design, rows = two_arms(weighted=weighted)
    d = (design.arm[rows] == 1).astype(float)
    w = design.weight[rows]
    x = design.covariates[rows] - np.average(design.covariates[rows], axis=0, weights=w)
    parts = [np.ones_like(d), d, x] + ([d[:, None] * x] if interacted else [])
    fit = sm.WLS(design.outcomes[rows, 0, 0].astype(float), np.column_stack(parts), weights=w).fit(
        cov_type=errors
    )
    found = build("regression", errors=errors, interacted=interacted).estimate(design)
    row = found.select(**PICK).table.iloc[0]
    np.testing.assert_allclose(
        [row.estimate, row.std_error], [fit.params[1], fit.bse[1]], rtol=1e-5
    )


def test_clustered_regression_equals_statsmodels() -> None:
    design = make_design(400, recurring=True, arms=2)
    x = np.column_stack([np.ones(400), design.arm == 1, design.covariates]).astype(float)
    fit = sm.OLS(design.outcomes[:, 0, 0].astype(float), x).fit(
        cov_type="cluster", cov_kwds={"groups": design.person}
    )
    row = build("regression", errors="cluster").estimate(design).select(**PICK).table.iloc[0]
    np.testing.assert_allclose(
        [row.estimate, row.std_error], [fit.params[1], fit.bse[1]], rtol=1e-5
    )
    with pytest.raises(InputError, match="recur"):
        build("regression", errors="HC1").estimate(design)


def test_redundant_covariates_are_left_out() -> None:
    design, _ = two_arms()
    twice = replace(
        design,
        covariates=np.hstack([design.covariates, design.covariates[:, :1]]),
        covariate_names=(*design.covariate_names, "again"),
    )
    a, b = (build("regression").estimate(d).select(**PICK).table for d in (design, twice))
    np.testing.assert_allclose(a.estimate, b.estimate)


def test_two_stage_least_squares_equals_linearmodels() -> None:
    design, rows = two_arms(arms=2)
    rng = np.random.default_rng(0)
    taken = ((design.arm == 1) & (rng.random(design.n) < 0.7)).astype(np.float32)
    outcomes = design.outcomes.copy()
    outcomes[:, 0, 1] = taken
    outcomes[5, 0, 1] = np.nan
    outcomes[9, 0, 0] = np.nan
    offered = replace(design, outcomes=outcomes, outcome_names=("work", "taken"))
    found = build("iv_2sls", uptake="taken", uptake_horizon=0).estimate(offered)
    rows = np.isfinite(outcomes[:, 0]).all(axis=1)
    fit = IV2SLS(
        outcomes[rows, 0, 0].astype(float),
        np.column_stack([np.ones(rows.sum()), design.covariates[rows]]),
        taken[rows].astype(float),
        (design.arm[rows] == 1).astype(float),
    ).fit(cov_type="robust")
    row = found.select(**PICK).table.iloc[0]
    np.testing.assert_allclose(
        [row.estimate, row.std_error], [fit.params.iloc[-1], fit.std_errors.iloc[-1]], rtol=1e-5
    )
    assert row.estimand == "late"
    with pytest.raises(InputError, match="taken"):
        build("iv_2sls", uptake="take").estimate(offered)
