"""Few clusters behind event times: the wild bootstrap, CR2 and CR3 of every row of a regression."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_rollouts import make_rollout

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimates.few_clusters.robust import cr1, cr3, left_out_of
from tiltakeval.estimates.few_clusters.wild import wild_of_regression
from tiltakeval.estimates.inference import correction
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build
from tiltakeval.estimators.did.few_clusters.regression import moments_of
from tiltakeval.estimators.did.few_clusters.rows import some_units

#: States of mpdta: four never raised the minimum wage, one did in 2004, three in 2006, two in 2007.
STATES = (13, 16, 18, 51, 17, 12, 27, 55, 37, 29)
#: Exact p values of wildboottest 0.3.2 (restricted, all 1,024 sign vectors, larger statistics alone
#: counted) for event times of two-way fixed effects: of 0, of -0.05, of 0.05.
WILD = {
    -4: (0.8671875, 0.458984375, 0.556640625),
    -3: (0.58984375, 0.166015625, 0.609375),
    -2: (0.53515625, 0.044921875, 0.205078125),
    0: (0.26171875, 0.044921875, 0.013671875),
    1: (0.28125, 0.853515625, 0.125),
    2: (0.279296875, 0.314453125, 0.291015625),
    3: (0.32421875, 0.439453125, 0.279296875),
}
#: Unrestricted, of 0.
FREE = {-4: 0.87109375, -3: 0.595703125, -2: 0.509765625, 0: 0.236328125, 1: 0.19921875}
#: diff-diff 3.13, SunAbraham(cluster="state", vcov_type="hc2_bm"): estimate, error, degrees of freedom.
#: From event time 0 on one cohort is one state, which it leaves out of degrees of freedom.
CR2 = {
    -4: (0.018450023228611, 0.07591503710533617, 2.1135482135098447),
    -3: (0.03261834977250852, 0.04991796562925531, 4.1060460482259),
    -2: (0.020642128416591108, 0.028507865448851324, 3.3867470670046163),
    0: (-0.016467429596951196, 0.014508825248923368, None),
    1: (-0.058625443268204534, 0.033377059720822895, None),
    2: (-0.18670660558442126, 0.040369867676740175, None),
    3: (-0.13496709257175787, 0.048669702098808866, None),
}
REGRESSIONS = (
    ("twfe_event_study", {}),
    ("sun_abraham", {"shares": "fixed"}),
    ("sun_abraham", {"shares": "fixed", "comparison": "last"}),
    ("etwfe", {"shares": "fixed"}),
    ("etwfe", {"shares": "fixed", "comparison": "never"}),
    ("stacked", {"shares": "fixed"}),
    ("stacked", {"weights": "regression"}),
    ("stacked", {"weights": "weighted_regression"}),
)  # fmt: skip


@pytest.fixture(scope="module")
def states(shared: Path) -> StaggeredPanel:
    df = pd.read_csv(shared / "data" / "mpdta.csv")
    df["state"] = df["countyreal"] // 1000
    return staggered_from_frame(
        df[df["state"].isin(STATES)], unit="countyreal", period="year", first="first_treat",
        outcome="lemp", cluster="state",
    )  # fmt: skip


def by_event(found: Estimates, term: str = "effect_by_event_time") -> pd.DataFrame:
    return found.select(term=term, status="ok").table.set_index("horizon")


def test_wild_p_values_of_event_times_are_wildboottests(states: StaggeredPanel) -> None:
    estimator = build("twfe_event_study", inference="wild", min_clusters=1)
    found = by_event(estimator.estimate(states))
    for event, (
        zero,
        *_,
    ) in WILD.items():  # two of 1,024 vectors are the sample's, which ours counts
        assert found.loc[event, "p_value"] == pytest.approx(zero + 2 / 1024, abs=1e-12)
    free = build("twfe_event_study", inference="wild", null_imposed=False, min_clusters=1)
    rows = by_event(free.estimate(states))
    for event, p in FREE.items():
        assert rows.loc[event, "p_value"] == pytest.approx((p * 512 + 1) / 513, abs=2e-3)
    _, kept = build("twfe_event_study", min_clusters=1).with_regressions(states)
    moments, names = moments_of(kept[0].regressed.fits, states.cluster)
    assert names.size == 10
    for event, c in zip(WILD, kept[0].regressed.maps.T):
        boot = wild_of_regression(moments, c).replications()
        for null, p in zip((-0.05, 0.05), WILD[event][1:]):
            assert boot.p_value(null) == pytest.approx(p + 2 / 1024, abs=1e-12)


def test_wild_intervals_of_event_times_hold_what_is_not_rejected(states: StaggeredPanel) -> None:
    found = build("twfe_event_study", inference="wild", min_clusters=1).estimate(states)
    rows = by_event(found)
    assert (rows["conf_low"] < rows["estimate"]).all() and (
        rows["conf_high"] > rows["estimate"]
    ).all()
    for event in (-2, 0):  # 0.05 is rejected at one of them, and -0.05 at both
        assert rows.loc[event, "conf_low"] > -0.05
    assert rows.loc[0, "conf_high"] < 0.05 < rows.loc[-2, "conf_high"]
    assert (rows["band_low"] <= rows["conf_low"]).all()
    assert (rows["band_high"] >= rows["conf_high"]).all()
    assert (rows["band_family"] == "over horizon").all()


def test_cr2_of_event_times_is_diff_diffs(states: StaggeredPanel) -> None:
    estimator = build("sun_abraham", inference="cr2", min_clusters=1, shares="fixed")
    found = estimator.estimate(states)
    rows = by_event(found)
    df = {
        one["horizon"]: one["df"]
        for one in found.run["inference"]["rows"]
        if one["term"] == "effect_by_event_time"
    }
    for event, (estimate, error, freedom) in CR2.items():
        np.testing.assert_allclose(rows.loc[event, "estimate"], estimate, rtol=1e-10)
        np.testing.assert_allclose(rows.loc[event, "std_error"], error, rtol=1e-9)
        if freedom is not None:
            np.testing.assert_allclose(df[event], freedom, rtol=1e-9)
    assert rows["band_low"].notna().all()
    assert (rows["band_high"] >= rows["conf_high"]).all()


@pytest.mark.parametrize(("key", "options"), REGRESSIONS)
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_regressions_by_cluster_are_the_estimators(key: str, options: dict, missing: float) -> None:
    """With covariates, weights, subgroups and gaps: all rows with an estimate, estimate and error."""
    design = make_rollout(150, seed=8, clusters=15, missing=missing)
    found, kept = build(key, **options).with_regressions(design)
    rows = np.concatenate([one.rows for one in kept])
    assert sorted(rows) == list(found.positions(status="ok"))
    for one in kept:
        moments, _ = moments_of(one.regressed.fits, one.design.cluster)
        table = found.table.iloc[one.rows]
        np.testing.assert_allclose(moments.coef @ one.regressed.maps, table.estimate, atol=1e-11)
        z = moments.scores @ moments.bread @ one.regressed.maps
        error = np.sqrt((z**2).sum(axis=0) * correction(moments.clusters))
        np.testing.assert_allclose(error, table.std_error, rtol=1e-9)


def test_cr3_of_event_times_leaves_clusters_out() -> None:
    design = replace(make_rollout(120, seed=3, clusters=12), subgroups={})
    left = by_event(build("twfe_event_study", inference="jackknife").estimate(design))
    found = by_event(build("twfe_event_study", inference="cr3").estimate(design))
    for name in ("std_error", "conf_low", "conf_high", "p_value"):
        np.testing.assert_allclose(found[name], left[name], rtol=1e-8)
    freedom = build("twfe_event_study", inference="cr3", degrees="satterthwaite").estimate(design)
    df = [one["df"] for one in freedom.run["inference"]["rows"]]
    assert max(df) < 11 and min(df) > 1
    wide = by_event(freedom)
    assert (wide["conf_high"] > found["conf_high"]).all()
    _, kept = build("twfe_event_study").with_regressions(design)
    moments, _ = moments_of(kept[0].regressed.fits, design.cluster)
    maps = kept[0].regressed.maps
    one = build("twfe_event_study", bands=False).estimate(some_units(design, design.cluster != 4))
    at = left_out_of(moments, maps)[4]
    np.testing.assert_allclose(at[:3], one.table["estimate"][:3], rtol=1e-8)
    assert cr3(moments, maps[:, 0]).std_error > cr1(moments, maps[:, 0]).std_error


@pytest.mark.parametrize("key", ["sun_abraham", "etwfe", "stacked"])
def test_shares_are_taken_as_given_and_that_is_said(key: str) -> None:
    design = replace(make_rollout(120, seed=5, clusters=12), subgroups={})
    found = build(key, inference="cr2").estimate(design)
    assert any("shares" in text for text in found.run["inference"]["said"])
    fixed = build(key, inference="cr2", shares="fixed").estimate(design)
    assert not any("shares" in text for text in fixed.run["inference"]["said"])
    plain = build(key).estimate(design)
    np.testing.assert_array_equal(found.table["estimate"], plain.table["estimate"])
    by_cell = found.table["term"] == "effect"
    wider = (found.table["conf_high"] - found.table["conf_low"])[by_cell]
    assert wider.mean() > (plain.table["conf_high"] - plain.table["conf_low"])[by_cell].mean()


def test_a_row_that_hangs_on_one_cluster_is_said_to() -> None:
    design = replace(make_rollout(60, seed=4, clusters=5), subgroups={})
    alone = replace(design, first=np.where(design.cluster == 0, 4.0, np.inf))
    found = build("twfe_event_study", inference="cr3", min_clusters=1).estimate(alone)
    assert (found.table["status"] != "not_supported").all()
    assert found.table["std_error"].isna().all() and found.table["conf_low"].isna().all()
    assert any("rows have no error" in text for text in found.run["inference"]["said"])
    wild = build("twfe_event_study", inference="wild", min_clusters=1).estimate(alone)
    assert np.isinf(wild.table["conf_high"][wild.table["status"] == "ok"]).all()
    assert any("no value is rejected" in text for text in wild.run["inference"]["said"])


def test_many_clusters_are_refused() -> None:
    design = replace(make_rollout(2_500, seed=1), subgroups={})
    with pytest.raises(InputError, match="2500 clusters and 35 coefficients are too many"):
        build("sun_abraham", inference="cr2", bands=False).estimate(design)
