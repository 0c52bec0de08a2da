"""Bounds for hidden factors: against DoubleML, against the bootstrap, on every target, on bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_designs import make_design

from tiltakeval.diagnostics.sensitivity import (
    blocks_left_out,
    bounds,
    cumulated_bounds,
    sensitivity,
)
from tiltakeval.diagnostics.sensitivity import strength as shares
from tiltakeval.diagnostics.sensitivity.jobs import effects_of, jobs_of, key_of, options_of
from tiltakeval.diagnostics.sensitivity.moments import Residuals, moments
from tiltakeval.diagnostics.sensitivity.riesz import weights_of
from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build
from tiltakeval.estimators.weighting.targets import Target

PEERS = Path(__file__).parent / "peers"
TARGETS = ("aipw_att", "aipw_ate", "aipw_programmes", "aipw_overlap")


def fitted(design, key="aipw_att", **options):
    estimator = build(key, **options)
    nuisance = estimator.nuisance(design)
    return nuisance, estimator.estimate(design, nuisance)


def from_nuisances(z: pd.DataFrame, tag: str, score: str):
    """Moments of a programme against none with propensities and regressions given."""
    design = make_design(
        len(z), months=1, arms=2, recurring=False, arm=z["d"].to_numpy(np.int16), hidden=0.0
    )
    nuisance = build("aipw_att", basis="linear").nuisance(design)
    e = z[f"{tag}_m"].to_numpy()
    nuisance = replace(nuisance, propensity=np.stack([1 - e, e], axis=1))
    arms = (1,) if score == "ATTE" else (0, 1)
    weights = weights_of(design, nuisance, Target("", arms, (1, 0), ((1, 0),)), (1, 0), whole=True)
    y, g0, g1 = (z[k].to_numpy() for k in ("y", f"{tag}_g0", f"{tag}_g1"))
    treated = z["d"].to_numpy() == 1
    residual = np.where(treated, y - g1, y - g0)[:, None]
    found = Residuals(residual, (g1 - g0)[:, None], np.ones((len(z), 1), bool), None)
    return moments(weights, found, nuisance.groups, members=np.ones((len(z), 1)))


@pytest.mark.parametrize("score", ["ATTE", "ATE"])
def test_the_figures_of_doubleml_with_the_same_nuisances(score: str) -> None:
    z = pd.read_csv(PEERS / "doubleml_irm.csv")
    peer = json.loads((PEERS / "doubleml_irm.json").read_text("utf-8"))["figures"][score]
    found = from_nuisances(z, "long", score)
    theta, scale = found.theta[0, 0], found.scale[0, 0]
    np.testing.assert_allclose(theta, peer["coef"], rtol=1e-10)
    np.testing.assert_allclose(found.sigma2[0, 0], peer["sigma2"], rtol=1e-10)
    np.testing.assert_allclose(found.nu2[0, 0], peer["nu2"], rtol=1e-10)
    c = shares.strength(0.04, 0.06, 0.8)
    np.testing.assert_allclose(theta - c * scale, peer["theta_lower"], rtol=1e-10)
    np.testing.assert_allclose(theta + c * scale, peer["theta_upper"], rtol=1e-10)
    # DoubleML searches for its robustness value numerically
    assert shares.share_of(theta / scale, 0.8) == pytest.approx(peer["rv"], abs=1e-4)
    assert shares.share_of(theta / scale) == pytest.approx(peer["rv_rho1"], abs=1e-4)
    short = from_nuisances(z, "short", score)
    gain_y = short.sigma2 / found.sigma2 - 1
    gain_d = 1 - short.nu2 / found.nu2
    assert gain_y[0, 0] == pytest.approx(peer["gain"]["cf_y"], rel=1e-8)
    # theirs is a share of the weights without the covariate, ours of those with it
    assert (gain_d / (1 - gain_d))[0, 0] == pytest.approx(peer["gain"]["cf_d"], rel=1e-8)
    assert (short.theta - found.theta)[0, 0] == pytest.approx(peer["gain"]["delta_theta"])


def test_errors_of_bounds_are_those_of_doubleml_on_the_other_side() -> None:
    """DoubleML 0.11.4 scales its score by the derivative -1, which turns its sign, and then takes that
    of the bias from it: its lower bound has the upper one's error. For the ATE (where the mass of
    the target is known) ours, exchanged, are the same; the bootstrap below says which is right."""
    z = pd.read_csv(PEERS / "doubleml_irm.csv")
    peer = json.loads((PEERS / "doubleml_irm.json").read_text("utf-8"))["figures"]["ATE"]
    found = from_nuisances(z, "long", "ATE")
    c = shares.strength(0.04, 0.06, 0.8)
    sides = np.stack(
        [found.z_theta[:, 0, 0] + s * c * found.z_scale[:, 0, 0] for s in (-1, 1)], axis=1
    )
    low, high = standard_errors(sides) * np.sqrt((len(z) - 1) / len(z))
    assert low == pytest.approx(peer["se_upper"], rel=1e-8)
    assert high == pytest.approx(peer["se_lower"], rel=1e-8)


@pytest.mark.parametrize("key", ["aipw_att", "aipw_ate", "aipw_overlap"])
def test_errors_of_bounds_are_those_of_the_bootstrap(key: str) -> None:
    design = make_design(700, seed=2, months=1, recurring=False)
    nuisance, estimates = fitted(design, key)
    effects, _ = effects_of(estimates, {"subgroup": "all", "outcome": "work"})
    job = jobs_of(design, nuisance, effects, options_of(estimates))[0]
    found = job.residuals()
    base = moments(job.weights, found, nuisance.groups, members=job.members)
    rng, draws = np.random.default_rng(0), []
    for _ in range(500):
        times = rng.multinomial(design.n, np.ones(design.n) / design.n)[job.weights.units]
        again = replace(job.weights, sampling=job.weights.sampling * times)
        m = moments(again, found, nuisance.groups, members=job.members)
        draws.append([m.theta[0, 0] - 0.4 * m.scale[0, 0], m.theta[0, 0] + 0.4 * m.scale[0, 0]])
    ours = standard_errors(
        np.stack([base.z_theta[:, 0, 0] + s * 0.4 * base.z_scale[:, 0, 0] for s in (-1, 1)], axis=1)
    )
    np.testing.assert_allclose(ours, np.std(draws, axis=0), rtol=0.1)


@pytest.mark.parametrize("key", TARGETS)
@pytest.mark.parametrize(
    "kind", [{}, {"missing": True}, {"censored": True, "restricted": True, "weighted": True}]
)
def test_effects_behind_the_bounds_are_those_reported(key: str, kind: dict) -> None:
    design = make_design(600, seed=3, **kind)
    nuisance, estimates = fitted(design, key, contrasts="all", folds=3)
    found = bounds(design, nuisance, estimates)
    effects, _ = effects_of(estimates, None)
    assert len(found.table) == len(effects) == 3 * 3 * 2 * 3  # pairs, levels, outcomes, months
    for job in jobs_of(design, nuisance, effects, options_of(estimates)):
        m = job.moments()
        for _, row in job.rows.iterrows():
            at = job.levels.index(row["subgroup"]), job.keys.index(key_of(row))
            assert m.theta[at] == pytest.approx(row["estimate"], abs=1e-6)
    np.testing.assert_array_equal(found.table["estimate"], effects["estimate"])
    assert (found.table["scale"] > 0).all() and not found.table["plugged"].any()
    np.testing.assert_allclose(
        found.table["scale"], found.table["sigma"] * found.table["nu"], rtol=1e-9
    )
    out = found.at(y=0.05, d=0.05)
    assert (out.conf_low < out.bound_low).all() and (out.bound_low < out.estimate).all()
    assert (out.conf_high > out.bound_high).all() and (out.bound_high > out.estimate).all()


def test_the_robustness_value_of_an_interval_is_where_its_end_meets_zero() -> None:
    design = make_design(900, seed=4, months=1)
    nuisance, estimates = fitted(design, contrasts="all")
    found = bounds(design, nuisance, estimates)
    out = found.robustness(level=0.9)
    assert (out.robustness_value_interval <= out.robustness_value).all()
    assert (out.robustness_value_interval > 0).any()
    for i, row in out.iterrows():
        r, ra = row["robustness_value"], row["robustness_value_interval"]
        point, end = found.at(y=r, d=r).loc[i], found.at(y=ra, d=ra, level=0.9).loc[i]
        side = "low" if row["estimate"] > 0 else "high"
        assert point[f"bound_{side}"] == pytest.approx(0, abs=1e-9)
        if ra > 0:
            assert end[f"conf_{side}"] == pytest.approx(0, abs=1e-9)
        else:
            assert end[f"conf_{side}"] * row["estimate"] <= 0
    weaker = found.robustness(rho=0.5)
    assert (weaker.robustness_value >= out.robustness_value).all()
    away = found.robustness(null=float(out["estimate"].iloc[0]))
    assert away["robustness_value"].iloc[0] == 0


def test_months_are_added_up_by_person() -> None:
    design = make_design(800, seed=5, months=3, recurring=False)
    nuisance, estimates = fitted(design)
    found = cumulated_bounds(
        design, nuisance, estimates, months=range(3), where={"subgroup": "all", "outcome": "work"}
    )
    assert found.table["joint"].all()
    # the same as one outcome that is the sum
    total = replace(
        design,
        outcomes=design.outcomes.sum(axis=1, keepdims=True),
        horizons=(2,),
        placebo=None,
        placebo_horizons=(),
    )
    nuisance_of, whole = fitted(total)
    same = bounds(total, nuisance_of, whole, where={"subgroup": "all", "outcome": "work"})
    np.testing.assert_allclose(found.table["estimate"], same.table["estimate"], rtol=2e-3)
    np.testing.assert_allclose(found.table["scale"], same.table["scale"], rtol=2e-3)
    np.testing.assert_allclose(
        found.robustness().robustness_value_interval,
        same.robustness().robustness_value_interval,
        atol=2e-3,
    )


def test_months_with_other_persons_are_bounded_one_by_one() -> None:
    design = make_design(800, seed=5, months=3, missing=True)
    nuisance, estimates = fitted(design)
    where = {"subgroup": "all", "outcome": "work", "programme": "aft"}
    found = cumulated_bounds(design, nuisance, estimates, months=[0, 1, 2], where=where)
    single = bounds(design, nuisance, estimates, where=where)
    assert not found.table["joint"].any()
    assert found.table["scale"].iloc[0] == pytest.approx(single.table["scale"].sum())
    assert found.table["estimate"].iloc[0] == pytest.approx(single.table["estimate"].sum())
    with pytest.raises(InputError, match="month 9"):
        cumulated_bounds(design, nuisance, estimates, months=[0, 9])


def test_closed_forms() -> None:
    for c in (0.0, 1e-6, 0.03, 0.5, 2.0, 40.0):
        r = float(shares.share_of(c))
        assert shares.strength(r, r) == pytest.approx(c, abs=1e-12, rel=1e-9)
        assert shares.strength(r, r, 0.5) == pytest.approx(c / 2, abs=1e-12, rel=1e-9)
    for y, d, c in ((0.1, 0.02, 0.05), (0.6, 0.01, 0.3), (0.001, 0.2, 0.4)):
        k = float(shares.times(c, y=y, d=d))
        assert shares.strength(min(1.0, k * y), k * d) == pytest.approx(c)
    assert np.isinf(shares.times(0.1, y=0.0, d=0.2)) and shares.times(0.0, y=0.1, d=0.1) == 0
    y, d, value = shares.contour(2.0, 3.0, y=[0.0, 0.1], d=[0.0, 0.2, 0.3])
    assert value.shape == (2, 3) and value[0, 0] == 2.0
    assert value[1, 2] == pytest.approx(2.0 - 3.0 * np.sqrt(0.1 * 0.3 / 0.7))
    assert shares.contour(-2.0, 3.0)[2].max() > 0  # past zero


@pytest.mark.parametrize(
    "wrong", [{"y": 1.2}, {"d": 1.0}, {"y": -0.1}, {"rho": 2.0}, {"d": np.nan}]
)
def test_shares_that_are_not_shares(wrong: dict) -> None:
    design = make_design(300, seed=1, months=1)
    found = bounds(design, *fitted(design, folds=2))
    with pytest.raises(InputError, match="strength"):
        found.at(**{"y": 0.1, "d": 0.1, **wrong})


def test_other_estimates_are_refused() -> None:
    design = make_design(400, seed=1, months=1)
    nuisance, estimates = fitted(design, folds=2)
    other = make_design(420, seed=2, months=1)
    with pytest.raises(InputError, match="units"):
        bounds(other, nuisance, estimates)
    with pytest.raises(InputError, match="different units"):
        bounds(other, build("aipw_att", folds=2).nuisance(other), estimates)
    with pytest.raises(InputError, match="no effect"):
        bounds(design, nuisance, estimates, where={"outcome": "wrok"})
    with pytest.raises(InputError, match="no column"):
        bounds(design, nuisance, estimates, where={"outcomes": "work"})
    plain = build("difference_in_means").estimate(make_design(400, recurring=False, months=1))
    with pytest.raises(InputError, match="aipw"):
        bounds(design, nuisance, plain)
    with pytest.raises(InputError, match="level"):
        bounds(design, nuisance, estimates).robustness(level=95)


def test_hostile_designs() -> None:
    design = make_design(400, seed=1, months=2, missing=True)
    constant = design.outcomes.copy()
    constant[:, :, 1] = 3.0
    nobody = constant.copy()
    nobody[:, 1, 0] = np.nan
    hostile = replace(design, outcomes=nobody)
    nuisance, estimates = fitted(hostile, folds=3)
    out = bounds(hostile, nuisance, estimates).robustness()
    assert set(out.loc[out.outcome == "work", "horizon"]) == {0}  # the month without outcomes
    still = out[out.outcome == "benefit"]
    assert np.isfinite(still["robustness_value"]).all()
    few = replace(design, arm=np.where(np.arange(400) < 25, 1, 0).astype(np.int16))
    found = sensitivity(design=few, **_named(fitted(few, folds=2)))
    assert [c.status for c in found] == ["informative"] or len(found) == 1


def test_a_study_is_not_stopped() -> None:
    """Many covariates, an outcome that is the same for all, one that the covariates say exactly."""
    design = make_design(500, seed=13, months=1, arms=2, recurring=False)
    rng = np.random.default_rng(0)
    wide = np.column_stack([design.covariates, rng.standard_normal((500, 40))])
    y = design.outcomes.copy()
    y[:, 0, 0] = 1.0
    y[:, 0, 1] = design.covariates[:, 0] + (design.arm == 1)
    hard = replace(
        design, covariates=wide, covariate_names=tuple(f"v{i}" for i in range(44)), outcomes=y
    )
    (check,) = sensitivity(design=hard, **_named(fitted(hard, folds=2)))
    assert check.status == "informative" and "benchmark" not in check.detail.columns
    json.dumps(dict(check.message), allow_nan=False)
    (exact,) = sensitivity(design=hard, judged=(0, ["benefit"]), **_named(fitted(hard, folds=2)))
    assert exact.message["robustness_value_interval"] > 0.9


def test_a_factor_of_known_strength_is_inside_its_bounds() -> None:
    """A hidden factor moves taking part and outcome; with its own shares the bounds hold the truth."""
    held, named = [], []
    for seed in range(40):
        design = make_design(700, seed=seed, months=1, arms=2, recurring=False, hidden=0.6)
        nuisance, estimates = fitted(design, basis="linear", placebo=False)
        found = bounds(design, nuisance, estimates, where={"outcome": "work", "subgroup": "all"})
        # u is normal beside x: y share 0.36 / 1.36; the weights' share is bounded from above
        out = found.at(y=0.36 / 1.36, d=0.25).iloc[0]
        held.append(out.conf_low <= 1.0 <= out.conf_high)
        naive = estimates.table.loc[0]
        named.append(naive.conf_low <= 1.0 <= naive.conf_high)
    assert np.mean(held) >= 0.95 and np.mean(named) < 0.5


def _named(pair):
    return {"nuisance": pair[0], "estimates": pair[1]}


def test_the_check_says_what_the_report_prints() -> None:
    design = make_design(900, seed=7, months=2)
    nuisance, estimates = fitted(design, contrasts="all")
    checks = sensitivity(design=design, nuisance=nuisance, estimates=estimates)
    assert [c.scope.get("comparator") for c in checks] == [None, None, "amo"]
    first = checks[0]
    assert first.scope == {"population": "invented", "programme": "aft"}
    assert first.message["outcome"] == "work" and first.message["horizon"] == 1
    assert first.message["benchmark"] == "x0" and first.message["times"] > 1
    assert first.message["odds_ratio"] > 1
    assert first.statistic > first.message["robustness_value_interval"] > 0
    detail = first.detail
    assert list(detail["outcome"]) == ["work"] * 4 + ["benefit"] * 4
    assert set(detail["benchmark"]) == {"x0", "x1", "x2", "x3"}
    assert detail["times"].iloc[0] == detail["times"].iloc[:4].min()
    assert set(first.counts) <= set(detail.columns)
    assert not np.isinf(detail.select_dtypes("number")).any(
        axis=None
    )  # released files have no infinity
    json.dumps(dict(first.message), allow_nan=False)
    judged = sensitivity(
        design=design, nuisance=nuisance, estimates=estimates, judged=(0, ["benefit"])
    )
    assert judged[0].message["outcome"] == "benefit" and judged[0].message["horizon"] == 0
    bare = Estimates(estimates.table)  # without influence: that of the refitted score
    again = sensitivity(design=design, nuisance=nuisance, estimates=bare)
    assert again[0].statistic == pytest.approx(first.statistic)
    none = sensitivity(
        design=design, nuisance=nuisance, estimates=estimates, judged=(30, ["benefit"])
    )
    assert {c.status for c in none} == {"not_evaluated"}


def test_shares_of_all_weights_are_smaller_for_the_same_factor() -> None:
    """An effect on few participants: DoubleML's convention counts their weights, which nothing moves."""
    design = make_design(1500, seed=12, months=1, arms=2, recurring=False)
    few = np.flatnonzero(design.arm == 1)[:80]
    design = design.take(np.concatenate([np.flatnonzero(design.arm == 0), few]))
    nuisance, estimates = fitted(design)
    where = {"subgroup": "all", "outcome": "work"}
    ours, theirs = (
        bounds(design, nuisance, estimates, where=where, whole=whole) for whole in (False, True)
    )
    assert theirs.table["nu"].iloc[0] > 2 * ours.table["nu"].iloc[0]
    assert (
        theirs.robustness()["robustness_value"].iloc[0]
        < 0.7 * ours.robustness()["robustness_value"].iloc[0]
    )
    # a block's own shares give about the same bias in both
    left = [
        blocks_left_out(design, nuisance, estimates, where=where, whole=whole)
        .set_index("block")
        .loc["x0"]
        for whole in (False, True)
    ]
    assert left[0]["weight_share"] > 2 * left[1]["weight_share"]
    assert left[0]["bias"] == pytest.approx(left[1]["bias"], rel=0.25)


def test_ipw_has_bounds_too() -> None:
    design = make_design(900, seed=8, months=1)
    nuisance, estimates = fitted(design, "ipw_att")
    out = bounds(design, nuisance, estimates).robustness()
    both = bounds(design, *fitted(design, "aipw_att", basis="linear")).robustness()
    np.testing.assert_allclose(out["sigma"], both["sigma"], rtol=0.03)
    np.testing.assert_allclose(out["nu"], both["nu"], rtol=0.2)


def test_trees_make_their_own_residuals() -> None:
    design = make_design(400, seed=9, months=1, arms=2)
    nuisance, estimates = fitted(design, learner_outcome="forest", trees=30, folds=2)
    ridge, linear = fitted(design, folds=2)
    where = {"subgroup": "all", "outcome": "work"}
    one = bounds(design, nuisance, estimates, where=where).table["sigma"].iloc[0]
    other = bounds(design, ridge, linear, where=where).table["sigma"].iloc[0]
    assert one > 1.02 * other  # the process is linear


def test_an_ensemble_has_its_own_residuals_too() -> None:
    design = make_design(500, seed=9, months=1, arms=2)
    where = {"subgroup": "all", "outcome": "work"}
    sigma = [
        bounds(design, *fitted(design, learner_outcome=learner), where=where).table["sigma"].iloc[0]
        for learner in ("ridge", "products")
    ]
    assert sigma[1] == pytest.approx(sigma[0], rel=0.05)  # the process is linear
    assert sigma[1] != sigma[0]


def test_two_way_clusters() -> None:
    design = make_design(800, seed=10, months=1)
    nuisance, estimates = fitted(design, cluster="person_office")
    out = bounds(design, nuisance, estimates).robustness()
    assert np.isfinite(out["robustness_value_interval"]).all()


def test_an_effect_is_clear_to_a_hidden_factor_where_its_interval_is() -> None:
    """Shifted so that zero lies between the ends of the one-sided and the two-sided interval."""
    design = make_design(600, months=1, arms=2, recurring=False)
    _, estimates = fitted(design)
    row = estimates.table[(estimates.table.subgroup == "all") & (estimates.table.term == "effect")]
    row = row.iloc[0]
    for errors, clear in ((1.8, False), (2.1, True)):
        shift = (errors * row.std_error - row.estimate) * (design.arm == 1)
        moved = design.outcomes.copy()
        moved[:, :, 0] += shift[:, None]
        shifted = replace(design, outcomes=moved)
        estimator = build("aipw_att")
        again = estimator.nuisance(shifted)
        (check,) = sensitivity(
            design=shifted, nuisance=again, estimates=estimator.estimate(shifted, again)
        )
        assert check.message["outcome"] == row.outcome
        assert (check.message["robustness_value_interval"] > 0) == clear
