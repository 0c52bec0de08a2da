"""Effects of treatments that end, come back or take several values."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_paths import long_columns
from invented_rollouts import (
    as_paths,
    fields_of,
    make_paths,
    make_rollout,
    true_path_effects,
)

from tiltakeval.design.treatment_paths import paths_from_frame, paths_of
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import contrast
from tiltakeval.estimators import build
from tiltakeval.estimators.did.group_time import GroupTimeATT
from tiltakeval.estimators.did.switching_att import SwitchingATT

#: Figures of diff-diff 3.13 on panels of `invented_paths.long_columns`.
PEER = json.loads((Path(__file__).parent / "peers" / "switching.json").read_text())
#: What each convention of a peer is called here.
PEERS = {
    "diff_diff": {"errors": "recentred", "divisor": "g"},
    "moderndid": {"errors": "conditional", "divisor": "leverage"},
}


def rows(found, term: str) -> pd.DataFrame:
    table = found.table[found.table.status != "reference"]
    return table[(table.term == term) & (table.subgroup == "all")].set_index("horizon")


@pytest.mark.parametrize(
    ("data", "unit", "outcome"),
    [("mpdta", "countyreal", "lemp"), ("castle", "sid", "l_homicide")],
)
@pytest.mark.parametrize("peer", list(PEERS))
def test_absorbing_treatment_meets_both_peers_with_their_errors(
    shared: Path, data: str, unit: str, outcome: str, peer: str
) -> None:
    df = pd.read_csv(shared / "data" / f"{data}.csv")
    df["d"] = df["post"] if data == "castle" else (df.first_treat > 0) & (df.year >= df.first_treat)
    df["d"] = (df["d"] == 1).astype(int)
    design = paths_from_frame(df, outcome=outcome, unit=unit, period="year", treatment="d")
    found = rows(SwitchingATT(bands=False, **PEERS[peer]).estimate(design), "effect_by_event_time")
    lines = (shared / "reference" / "did.jsonl").read_text().splitlines()
    held = [json.loads(line) for line in lines if '"dcdh"' in line]
    mine = [one for one in held if one["peer"] == peer and one["data"] == data]
    assert len(mine) >= 3
    for one in mine:
        row = found.loc[int(one["key"]) - 1]
        assert row.estimate == pytest.approx(one["est"], abs=1e-10)
        assert row.std_error == pytest.approx(one["se"], abs=1e-9)


@pytest.mark.parametrize(
    "case", PEER["figures"], ids=lambda c: f"{c['kind']}{c['covariates']}{c['drop']}"
)
def test_switching_and_doses_meet_diff_diff(case: dict) -> None:
    df = pd.DataFrame(long_columns(case["kind"]))
    if case["drop"]:  # that package then leaves out whoever changes twice
        wide = df.pivot(index="unit", columns="period", values="treatment").to_numpy()
        once = (np.diff(wide, axis=1) != 0).sum(axis=1) < 2
        df = df[once[df.unit]]
    design = paths_from_frame(
        df, outcome="outcome", unit="unit", period="period", treatment="treatment",
        varying=case["covariates"],
    )  # fmt: skip
    found = SwitchingATT(
        errors="recentred", divisor="g", bands=False, min_clusters=1, effects=4
    ).estimate(design)
    effects = rows(found, "effect_by_event_time")
    normalised = rows(found, "effect_per_treatment_by_event_time")
    # its errors leave out that the covariates' slopes are estimated, in another way than ours
    tolerance = 2e-2 if case["covariates"] else 1e-9
    for key, table, shift in (
        ("effects", effects, -1),
        ("placebos", effects, -1),
        ("normalized", normalised, -1),
    ):
        for length, (estimate, error) in case[key].items():
            row = table.loc[int(length) + shift]
            assert row.estimate == pytest.approx(estimate, abs=1e-9)
            assert row.std_error == pytest.approx(error, rel=tolerance)
    if case["kind"] == "once":  # with doses it weights by treatment without dividing by it
        total = rows(found, "effect_per_treatment").estimate.iloc[0]
        assert total == pytest.approx(case["delta"]["delta"], abs=1e-9)
        for way, name in (("up", "delta_joiners"), ("down", "delta_leavers")):
            one = rows(found, f"effect_overall_{way}").estimate.iloc[0]
            assert one == pytest.approx(case["delta"][name], abs=1e-9)


@pytest.mark.parametrize("case", PEER["sets"], ids=lambda c: c["kind"])
def test_comparison_within_sets_meets_diff_diff(case: dict) -> None:
    df = pd.DataFrame(long_columns(case["kind"])).assign(county=lambda d: d.unit % 2)
    design = paths_from_frame(
        df, outcome="outcome", unit="unit", period="period", treatment="treatment",
        subgroups="county",
    )  # fmt: skip
    options = {"errors": "recentred", "divisor": "g", "bands": False, "min_clusters": 1}
    found = SwitchingATT(within="county", effects=4, **options).estimate(design)  # type: ignore[arg-type]
    effects = rows(found, "effect_by_event_time")
    for length, (estimate, error) in (case["effects"] | case["placebos"]).items():
        row = effects.loc[int(length) - 1]
        assert row.estimate == pytest.approx(estimate, abs=1e-9)
        assert row.std_error == pytest.approx(error, rel=1e-9)
    assert found.table.cohort.str.contains("in county=1").any()


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
def test_a_roll_out_gives_the_group_time_effects(method: str) -> None:
    design = make_rollout(300, clusters=24)
    shared = {"method": method, "divisor": "g"}
    one = SwitchingATT(placebos="all", **shared).estimate(as_paths(design))  # type: ignore[arg-type]
    other = GroupTimeATT(base="universal", **shared).estimate(design)  # type: ignore[arg-type]
    for term in ("effect_by_event_time", "effect_overall", "cumulated_path"):
        a, b = rows(one, term).sort_index(), rows(other, term).sort_index()
        columns = ["estimate", "std_error", "conf_low", "n_treated", "n_comparison"]
        np.testing.assert_allclose(
            a[columns].to_numpy(float), b[columns].to_numpy(float), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("kind", ["once", "spells", "doses"])
def test_the_truth_is_found_at_every_event_time_and_per_treatment(kind: str) -> None:
    design = make_paths(6000, kind=kind, seed=3)
    found = SwitchingATT(bands=False).estimate(design)
    truth, total = true_path_effects(design)
    effects = rows(found, "effect_by_event_time")
    for event in range(5):
        assert abs(effects.estimate[event] - truth[event]) < 4 * effects.std_error[event]
    before = effects[effects.index < 0]
    assert (before.estimate.abs() < 4 * before.std_error).all()
    per = rows(found, "effect_per_treatment").iloc[0]
    assert abs(per.estimate - total) < 4 * per.std_error + 0.03
    received = {r["horizon"]: r for r in found.run["treatment_received"] if r["subgroup"] == "all"}
    normal = rows(found, "effect_per_treatment_by_event_time")
    for event in range(5):
        ratio = effects.estimate[event] / received[event]["so_far"]
        assert normal.estimate[event] == pytest.approx(ratio, rel=1e-9)


def test_up_and_down_make_the_whole_and_can_be_contrasted() -> None:
    found = SwitchingATT().estimate(make_paths(800, kind="once"))
    whole, up, down = (
        rows(found, f"effect_by_event_time{suffix}").loc[1] for suffix in ("", "_up", "_down")
    )
    assert up.n_treated + down.n_treated == whole.n_treated
    assert min(up.estimate, down.estimate) < whole.estimate < max(up.estimate, down.estimate)
    table = found.table
    at = [
        np.flatnonzero((table.term == f"effect_by_event_time_{way}") & (table.horizon == 1))[:1]
        for way in ("up", "down")
    ]
    gap = contrast(found.take(at[0]), found.take(at[1])).table
    assert gap.std_error[0] > 0 and table.band_low[at[0][0]] <= table.conf_low[at[0][0]]


def test_the_joint_placebo_test_and_reasons_reach_the_checks() -> None:
    design = make_paths(90, kind="doses", seed=5)
    found = SwitchingATT().estimate(design)
    every = rollout(estimates=found)
    joint = [one for one in every if one.key == "pretrend" and one.message["over"] == "event_time"]
    assert joint[0].status in ("passed", "failed") and joint[0].message["rows"] >= 3
    checks = {check.key: check for check in every}
    assert checks["cells_not_supported"].message["reasons"]
    lost = found.table[(found.table.term == "effect") & (found.table.status == "not_supported")]
    assert len(lost) and lost.estimate.isna().all()


def test_units_on_both_sides_of_their_start_are_cut_dropped_or_kept() -> None:
    design = make_paths(600, kind="once", seed=2)
    status = design.status.copy()
    ups = np.flatnonzero((design.first == 4) & (design.baseline == 0))[:20]
    status[ups, 6:] = -1.0  # first up, later below the start
    crossed = replace(design, status=status)
    at = {}
    for choice in ("cut", "drop", "keep"):
        found = SwitchingATT(crossing=choice, bands=False).estimate(crossed)  # type: ignore[arg-type]
        assert found.run["crossing"] == (0 if choice == "keep" else 20)
        at[choice] = rows(found, "effect_by_event_time").n_treated
    assert at["cut"][0] == at["keep"][0] == at["drop"][0] + 20
    assert at["cut"][3] == at["keep"][3] - 20 == at["drop"][3]


def test_weights_count_units_and_clusters_are_summed() -> None:
    df = pd.DataFrame(long_columns("spells", n=120))
    df["w"] = 1 + df.unit % 2
    names = {"outcome": "outcome", "unit": "unit", "period": "period", "treatment": "treatment"}
    weighted = paths_from_frame(df, weight="w", **names)
    twice = pd.concat([df, df[df.w == 2].assign(unit=lambda d: d.unit + 1000)])
    twice["who"] = twice.unit % 1000
    copied = paths_from_frame(twice, cluster="who", **names)
    options = {"bands": False, "divisor": "g_minus_1", "min_clusters": 1}
    a = SwitchingATT(**options).estimate(weighted)  # type: ignore[arg-type]
    b = SwitchingATT(**options).estimate(copied)  # type: ignore[arg-type]
    for term in ("effect_by_event_time", "effect_per_treatment"):
        x, y = rows(a, term), rows(b, term)
        np.testing.assert_allclose(x.estimate, y.estimate, rtol=1e-9)
        np.testing.assert_allclose(x.std_error, y.std_error, rtol=1e-9)


def test_influence_is_the_derivative_by_weights() -> None:
    """A unit's influence is what its weight does to an estimate: also of ratios and of slopes."""
    df = pd.DataFrame(long_columns("doses", n=150))
    design = paths_from_frame(
        df, outcome="outcome", unit="unit", period="period", treatment="treatment", varying="x"
    )
    estimator = SwitchingATT(bands=False, divisor="g_minus_1", min_clusters=1)
    found = estimator.estimate(design)
    good = np.flatnonzero(
        found.table.term.str.contains("overall|per_treatment|event_time|cumulated")
        & (found.table.status == "ok")
    )
    z = found.influence.columns(good)
    for unit in (3, 40, 77):
        weight = design.weight.copy()
        weight[unit] += 1e-5
        moved = estimator.estimate(replace(design, weight=weight)).table.estimate[good]
        slope = (moved - found.table.estimate[good]) / 1e-5
        np.testing.assert_allclose(slope, z[unit], atol=2e-4)


def test_rows_may_be_missing() -> None:
    found = SwitchingATT().estimate(make_paths(3000, kind="spells", seed=4, missing=0.15))
    assert found.run["unclear_changes"] > 0
    truth, _ = true_path_effects(make_paths(3000, kind="spells", seed=4))
    effects = rows(found, "effect_by_event_time")
    for event in range(4):
        assert abs(effects.estimate[event] - truth[event]) < 4 * effects.std_error[event]


def test_what_cannot_be_done_is_said() -> None:
    design = make_paths(100, kind="once")
    for options, said in (
        ({"placebos": "some"}, "choice"),
        ({"crossing": "no"}, "choice"),
        ({"errors": "hc1"}, "choice"),
        ({"anticipation": -1}, "anticipation"),
        ({"effects": 0}, "effect"),
        ({"balance": -1}, "event time"),
        ({"level": 0.3}, "level"),
        ({"within": "nothing"}, "subgroup"),
    ):
        with pytest.raises(InputError, match=said):
            SwitchingATT(**options).estimate(design)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="in every period"):
        SwitchingATT().estimate(make_rollout(50))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="recentred"):
        SwitchingATT(errors="recentred").estimate(as_paths(make_rollout(50)))
    early = SwitchingATT(bands=False, anticipation=9).estimate(design)
    assert (early.table.status == "not_supported").all() and early.run["not_supported"]


@pytest.mark.parametrize(
    "key",
    ["group_time_att", "did_imputation", "two_stage", "twfe", "twfe_event_study", "sun_abraham",
     "etwfe", "stacked", "synthetic_did"],
)  # fmt: skip
def test_estimators_of_roll_outs_take_paths_only_where_treatment_stays(key: str) -> None:
    design = replace(make_rollout(60, seed=2), subgroups={})
    same = build(key).estimate(as_paths(design)).table
    pd.testing.assert_frame_equal(same, build(key).estimate(design).table)
    for kind, said in (
        ("spells", "ends, or changes again, in"),
        ("once", "is there from the first row in"),
    ):
        with pytest.raises(InputError, match=said) as raised:
            build(key).estimate(make_paths(60, kind=kind, seed=2))
        assert "switching_att" in str(raised.value)


def test_paths_with_changes_nobody_saw_are_no_roll_out() -> None:
    design = replace(make_rollout(60, seed=2), subgroups={})
    status = (design.periods >= design.first[:, None]).astype(float)
    start = int(np.flatnonzero(status[:, -1] > 0)[0])
    status[start, int(status[start].argmax()) - 1] = np.nan
    panel = paths_of(status, **fields_of(design))
    with pytest.raises(InputError, match="while no row is seen in 1 unit"):
        build("group_time_att").estimate(panel)
    down = paths_of(-np.nan_to_num(status), **fields_of(design))
    with pytest.raises(InputError, match="goes below 0"):
        build("group_time_att").estimate(down)
