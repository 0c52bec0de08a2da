"""Stacked differences: other software's digits, regressions written out, truth, awkward input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_rollouts import effect, make_rollout

from tiltakeval.cli import main
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators import build

SETS = {
    "mpdta": {"unit": "countyreal", "period": "year", "outcome": "lemp", "first": "first_treat"},
    "castle": {"unit": "sid", "period": "year", "outcome": "l_homicide", "treated": "post"},
}
#: diff-diff 3.13.0, StackedDiD(kappa_pre, kappa_post, control_group): overall estimate and error.
FIGURES = {
    ("mpdta", 1, 1, "not_yet"): (-0.03155493662269017, 0.01550057023814288),
    ("mpdta", 1, 1, "never"): (-0.02876076022038036, 0.015486363068060255),
    ("mpdta", 2, 0, "not_yet"): (-0.018869548253927573, 0.013226692125942243),
    ("castle", 1, 1, "not_yet"): (0.025134311498348154, 0.04162679804040584),
    ("castle", 2, 0, "never"): (0.01433375633989855, 0.060073730921903316),
}


def stacked(**options: object):
    return build("stacked", **{"bands": False, **options})


def bare(n: int, **options: object) -> StaggeredPanel:
    design = make_rollout(n, **options)  # type: ignore[arg-type]
    return replace(design, covariates=np.zeros((n, 0)), covariate_names=(), subgroups={})


def as_printed(design: StaggeredPanel, found, row) -> float:
    """The error by diff-diff's convention: G / (G - 1) (N - 1) / (N - k) with the stacks' G and N."""
    options = found.run["options"]
    events = options["before"] + options["after"] + 1
    rows = sum(s["treated_units"] + s["clean_units"] for s in found.run["stacks"]) * events
    g = row.n_clusters
    factor = g / (g - 1) * (rows - 1) / (rows - 2 * events) * (design.n - 1) / design.n
    return float(row.std_error * np.sqrt(factor))


@pytest.mark.parametrize("case", list(FIGURES), ids=lambda case: " ".join(map(str, case)))
def test_reference_figures(shared: Path, case: tuple[str, int, int, str]) -> None:
    name, before, after, comparison = case
    design = staggered_from_frame(pd.read_csv(shared / "data" / f"{name}.csv"), **SETS[name])
    options = {"before": before, "after": after, "comparison": comparison, "min_clusters": 1}
    found = stacked(weights="weighted_regression", **options).estimate(design)
    row = found.select(term="effect_over_event_times").table.iloc[0]
    assert abs(row.estimate - FIGURES[case][0]) < 1e-11
    assert abs(as_printed(design, found, row) - FIGURES[case][1]) < 1e-11
    own = stacked(**options).estimate(design).select(term="effect_overall").table.iloc[0]
    assert abs(own.estimate - FIGURES[case][0]) < 1e-11  # the same number without gaps


@pytest.mark.parametrize("name", list(SETS))
def test_stored_reference_figures(shared: Path, name: str) -> None:
    rows = [json.loads(r) for r in (shared / "reference" / "did.jsonl").open(encoding="utf-8")]
    (row,) = [r for r in rows if r["data"] == name and r.get("what") == "stacked"]
    design = staggered_from_frame(pd.read_csv(shared / "data" / f"{name}.csv"), **SETS[name])
    found = stacked(before=2, after=1, weights="weighted_regression").estimate(design)
    mine = found.select(term="effect_over_event_times").table.iloc[0]
    assert abs(mine.estimate - row["est"]) < 1e-11
    assert abs(as_printed(design, found, mine) - row["se"]) < 1e-11


def test_a_stack_is_a_difference_of_mean_changes_of_clean_units() -> None:
    design = bare(200, seed=1)
    found = stacked(before=3, after=2)
    table = found.estimate(design).select(term="effect").table
    y, w = design.outcomes[:, :, 0], design.weight
    for row in table.itertuples():
        g, t = float(row.cohort), int(row.period)
        change = y[:, t - 1] - y[:, int(g) - 2]
        own, clean = design.first == g, design.first > g + 2
        wanted = np.average(change[own], weights=w[own]) - np.average(
            change[clean], weights=w[clean]
        )
        np.testing.assert_allclose(row.estimate, wanted)
        assert row.n_comparison == clean.sum()
    assert set(table.horizon) == {-3, -2, 0, 1, 2}


def test_the_unweighted_stack_is_a_regression_on_dummies() -> None:
    design = replace(bare(70, seed=2, missing=0.1), weight=np.ones(70))
    found = stacked(before=2, after=1, weights="regression").estimate(design).table
    y = design.outcomes[:, :, 0]
    rows = []
    for g in (4.0, 6.0):
        for i in np.flatnonzero((design.first == g) | (design.first > g + 1)):
            for t in range(int(g) - 2, int(g) + 2):
                if np.isfinite(y[i, t - 1]):
                    rows.append((g, i, t, design.first[i] == g, t - g, y[i, t - 1]))
    long = pd.DataFrame(rows, columns=["stack", "unit", "period", "own", "event", "y"])
    x = [((long.event == e) & long.own).astype(float) for e in (-2, 0, 1)]
    x.append(pd.get_dummies(long["stack"].astype(str) + "/" + long.unit.astype(str)).astype(float))
    x.append(
        pd.get_dummies(long["stack"].astype(str) + "/" + long.period.astype(str)).astype(float)
    )
    coef = np.linalg.lstsq(np.column_stack([np.asarray(part) for part in x]), long.y, rcond=None)[0]
    event = found[(found.term == "effect_by_event_time") & (found.status == "ok")]
    np.testing.assert_allclose(event.estimate, coef[:3], atol=1e-9)
    mean = found[found.term == "effect_over_event_times"].iloc[0]
    np.testing.assert_allclose(mean.estimate, coef[1:3].mean(), atol=1e-9)


@pytest.mark.parametrize("weights", ["treated", "regression"])
def test_influence_is_the_derivative_by_each_units_weight(weights: str) -> None:
    design = replace(make_rollout(120, seed=3, missing=0.1), subgroups={})
    estimator = stacked(weights=weights)
    full = estimator.estimate(design)
    rows = np.flatnonzero(full.table.status == "ok")
    z = full.influence.columns(rows)
    for i in range(0, 120, 31):
        moved = []
        for step in (1e-5, -1e-5):
            weight = design.weight.copy()
            weight[i] *= 1 + step
            again = estimator.estimate(replace(design, weight=weight)).table
            moved.append(again.estimate.to_numpy()[rows])
        np.testing.assert_allclose(z[i], (moved[0] - moved[1]) / 2e-5, atol=3e-7)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_truth_is_found_and_the_estimand_said(missing: float) -> None:
    design = make_rollout(5000, seed=4, missing=missing)
    found = stacked(before=2, after=1).estimate(design)
    table = found.select(term="effect").table
    true = [effect(float(r.cohort), int(r.period)) for r in table.itertuples()]
    assert (np.abs(table.estimate - true) < 4.2 * table.std_error).all()
    assert found.run["estimand"].startswith("mean effect on the treated of cohorts 4 (")
    size = [design.weight[design.first == g].sum() for g in (4, 6)]
    wanted = np.average(
        [np.mean([effect(g, int(g) + e) for e in (0, 1)]) for g in (4, 6)], weights=size
    )
    row = found.select(term="effect_overall", subgroup="all").table.iloc[0]
    assert abs(row.estimate - wanted) < 4 * row.std_error


def test_cohorts_without_a_window_or_clean_units_are_named() -> None:
    design = bare(200, seed=5)
    found = stacked(before=2, after=3).estimate(design)
    assert set(found.select(term="effect").table.cohort) == {"4"}
    reasons = [r["reason"] for r in found.run["not_supported"]]
    assert reasons == ["cohort 6: its window from 2 before to 3 after isn't inside the panel"]
    with pytest.raises(InputError, match="shorter window"):
        stacked(before=6).estimate(design)
    treated = replace(design, first=np.where(np.isinf(design.first), 6.0, design.first))
    short = stacked(before=2, after=1).estimate(treated)
    assert set(short.select(term="effect").table.cohort) == {"4"}
    assert any("untreated throughout" in r["reason"] for r in short.run["not_supported"])
    with pytest.raises(InputError, match="no unit is never treated"):
        stacked(comparison="never").estimate(treated)
    keep = design.periods != 5  # the base period of a cohort
    gap = replace(design, outcomes=design.outcomes[:, keep], periods=design.periods[keep])
    assert any("base period" in r["reason"] for r in stacked().estimate(gap).run["not_supported"])


@pytest.mark.parametrize("weights", ["treated", "weighted_regression", "regression"])
def test_subgroups_without_a_side_have_no_estimate(weights: str) -> None:
    design = make_rollout(150, seed=7, missing=0.1)
    codes = np.isinf(design.first).astype(np.int64)  # the untreated are a subgroup of their own
    codes[np.flatnonzero(design.first == 4)[:40]] = 1
    group = replace(design.subgroups["sex"], codes=codes)
    y = design.outcomes.copy()
    y[codes == 0] = np.nan
    found = stacked(weights=weights, before=1, after=2).estimate(
        replace(design, outcomes=y, subgroups={"kind": group})
    )
    rows = found.table[found.table.subgroup == "kind=a"]
    assert len(rows) and (rows.status == "not_supported").all()
    whole = found.table[(found.table.subgroup == "all") & (found.table.status == "ok")]
    alone = found.table[(found.table.subgroup == "kind=b") & (found.table.status == "ok")]
    np.testing.assert_allclose(whole.estimate, alone.estimate)  # cohort 6 has no outcome


def test_anticipation_moves_the_base_and_who_is_clean() -> None:
    design = bare(300, seed=6)
    table = stacked(before=2, after=1, anticipation=1).estimate(design).select(term="effect").table
    assert set(table.horizon) == {-1, 0, 1}
    early = table[table.cohort == "4"]
    assert (early.n_comparison == (design.first > 6).sum()).all()  # 6 anticipates in 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"before": 0}, "base period"),
        ({"before": 1, "anticipation": 1}, "base period"),
        ({"after": -1}, "after"),
        ({"weights": "equal"}, "weights"),
        ({"comparison": "all"}, "comparison"),
        ({"shares": "x"}, "shares"),
        ({"level": 2}, "level"),
    ],
)
def test_options_that_make_no_sense(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        stacked(**options).estimate(make_rollout(60))


def test_from_the_command_line(shared: Path, capsys: pytest.CaptureFixture) -> None:
    path = str(shared / "data" / "mpdta.csv")
    columns = ["unit=countyreal", "time=year", "cohort=first_treat", "outcome=lemp"]
    assert (
        main(["estimate", "stacked", path, "--json", "--set", *columns, "before=1", "after=1"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    overall = next(r for r in found["estimates"] if r["term"] == "effect_overall")
    assert abs(overall["estimate"] + 0.03155493662269017) < 1e-11
    assert "2007" in str(next(c for c in found["checks"] if c["key"] == "cells_not_supported"))
