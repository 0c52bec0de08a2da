"""Timing of events as an estimator: known truth, delayed entry, options, hostile input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_events import IN_EFFECT, POST_EFFECT, SETTINGS, make_events

from tiltakeval.cli import main
from tiltakeval.design.event_history import EventHistory, event_history_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import contrast
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build
from tiltakeval.estimators.duration.timing_of_events import TimingOfEvents

QUICK = {"starts": 1, "path": False}


def history(df: pd.DataFrame, **changes: object) -> EventHistory:
    return event_history_from_frame(df, **{**SETTINGS, **changes})  # type: ignore[arg-type]


def effects(found: Estimates) -> dict[str, tuple[float, float]]:
    rows = found.table[(found.table.term == "log_hazard_ratio") & (found.table.subgroup == "all")]
    return {p: (e, s) for p, e, s in zip(rows.programme, rows.estimate, rows.std_error)}


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    return make_events(2500, seed=11)


@pytest.fixture(scope="module")
def found(events: pd.DataFrame) -> Estimates:
    return TimingOfEvents().estimate(history(events))


def test_effects_while_taking_part_and_after_are_found(found: Estimates) -> None:
    got = effects(found)
    for name, truth in (("taking_part", IN_EFFECT), ("after", POST_EFFECT)):
        estimate, error = got[name]
        assert 0 < error < 0.2 and abs(estimate - truth) < 3 * error, name
    naive = found.table[(found.table.period == "points=1") & (found.table.programme == "after")]
    assert abs(naive.estimate.iloc[0] - POST_EFFECT) > abs(got["after"][0] - POST_EFFECT)


def test_the_run_tells_how_the_fit_ended(found: Estimates) -> None:
    run = found.run
    assert run["certificate"] < 1e-3 and run["gradient_norm"] < 1e-3
    assert run["points"] == len(run["distribution"]) == run["path"][-1]["points"]
    assert {"aic", "full", "bic"} <= set(run["chosen"]) and run["cpu_seconds"] > 0
    logs = [row["log_likelihood"] for row in run["path"]]
    assert logs == sorted(logs) and logs[-1] == pytest.approx(run["log_likelihood"])
    assert sum(p["probability"] for p in run["distribution"]) == pytest.approx(1.0)
    json.dumps(run)


def test_effects_by_number_of_points_are_rows(found: Estimates) -> None:
    by_points = found.table[found.table.term == "log_hazard_ratio_by_points"]
    counts = [row["points"] for row in found.run["path"]]
    assert set(by_points.period) == {f"points={j}" for j in counts}
    last = by_points[by_points.period == f"points={counts[-1]}"]
    assert dict(zip(last.programme, last.estimate)) == {k: v[0] for k, v in effects(found).items()}


def test_errors_of_every_kind_and_their_influence(events: pd.DataFrame, found: Estimates) -> None:
    kinds = found.run["standard_errors"]["job: after"]
    assert max(kinds.values()) < 1.3 * min(kinds.values())
    assert found.run["errors"] == "opg"
    assert effects(found)["after"][1] == pytest.approx(kinds["opg"], rel=1e-6)
    for kind in ("hessian", "sandwich"):
        again = TimingOfEvents(errors=kind, **QUICK).estimate(history(events))
        assert effects(again)["after"][1] == pytest.approx(kinds[kind], rel=1e-3)
    rows = found.positions(term="log_hazard_ratio")
    gap = contrast(found.take(rows[1:2]), found.take(rows[:1]))
    assert gap.table.std_error[0] > 0


def test_clusters_widen_the_errors(events: pd.DataFrame) -> None:
    copies = pd.concat([events, events.assign(id=events.id + 10_000)])
    clustered = history(copies.assign(c=copies.id % 10_000), cluster="c")
    once = TimingOfEvents(errors="sandwich", **QUICK).estimate(history(events))
    twice = TimingOfEvents(**QUICK).estimate(clustered)
    assert twice.run["errors"] == "sandwich"
    assert effects(twice)["after"][1] == pytest.approx(effects(once)["after"][1], rel=2e-3)
    assert once.influence is not None and once.influence.kind == "person"
    others = [build(key).estimate(clustered) for key in ("cox", "grouped_hazard")]
    kinds = [None if f.influence is None else f.influence.kind for f in (twice, *others)]
    assert kinds == ["cluster"] * 3
    assert twice.influence is not None and others[0].influence is not None
    assert twice.influence.frame == others[0].influence.frame  # so that they can be compared


def test_other_choices_of_the_number_of_points(events: pd.DataFrame, found: Estimates) -> None:
    design = history(events)
    path = {row["points"]: row["effects"]["job: after"] for row in found.run["path"]}
    chosen = TimingOfEvents(points="aic").estimate(design)
    assert effects(chosen)["after"][0] == pytest.approx(path[found.run["chosen"]["aic"]])
    fixed = TimingOfEvents(points=1).estimate(design)
    assert effects(fixed)["after"][0] == pytest.approx(path[1])
    averaged = TimingOfEvents(points="averaged").estimate(design)
    weights = {int(j): w for j, w in averaged.run["reported_points"].items()}
    assert sum(weights.values()) == pytest.approx(1.0) and len(weights) > 1
    mean = sum(w * path[j] for j, w in weights.items())
    assert effects(averaged)["after"][0] == pytest.approx(mean)
    by_aic = TimingOfEvents(points="averaged", penalty=1.0).estimate(design)
    fewer = {int(j): w for j, w in by_aic.run["reported_points"].items()}
    assert sum(j * w for j, w in fewer.items()) < sum(j * w for j, w in weights.items())
    near_full = TimingOfEvents(points="averaged", penalty=0.0).estimate(design)
    assert max(int(j) for j in near_full.run["reported_points"]) == found.run["points"]
    with pytest.raises(InputError, match="can't be negative"):
        TimingOfEvents(points="averaged", penalty=-1.0).estimate(design)
    with pytest.raises(InputError, match="no fit with 99 points"):
        TimingOfEvents(points=99).estimate(design)
    with pytest.raises(InputError, match="isn't a choice of mass points"):
        TimingOfEvents(points="bic").estimate(design)
    with pytest.raises(InputError, match="needs the path"):
        TimingOfEvents(points="aic", path=False).estimate(design)


def test_delayed_entry_is_conditioned_on() -> None:
    df = make_events(4000, seed=7)
    rng = np.random.default_rng(0)
    seen = np.repeat(rng.choice([0.0, 4.0], 4000), df.groupby("id").size())
    gone = df.groupby("id").stop.transform("max") <= seen
    df = df.assign(seen=seen)[~gone]
    right = TimingOfEvents(**QUICK).estimate(history(df, observed_from="seen"))
    for name, truth in (("taking_part", IN_EFFECT), ("after", POST_EFFECT)):
        estimate, error = effects(right)[name]
        assert abs(estimate - truth) < 3 * error
    slope = right.table[(right.table.programme == "x1") & (right.table.outcome == "job")]
    assert abs(slope.estimate.iloc[0] - 0.5) < 3 * slope.std_error.iloc[0]

    cut = df[df.stop > df.seen].assign(start=lambda d: np.maximum(d.start, d.seen))
    with pytest.raises(InputError, match=r"spells are observed only from some time after"):
        TimingOfEvents(**QUICK).estimate(history(cut))
    ignored = TimingOfEvents(delayed_entry="ignore", **QUICK).estimate(history(cut))
    assert np.isfinite(ignored.table.estimate).all()


def test_duration_dependence_in_steps() -> None:
    df = make_events(3000, seed=4, step=-0.7)
    found = TimingOfEvents(steps=(6.0,), **QUICK).estimate(history(df))
    steps = found.table[found.table.programme == "duration [6, inf)"]
    assert steps.outcome.tolist() == ["job", "programme"]
    assert (abs(steps.estimate + 0.7) < 3 * steps.std_error).all()
    with pytest.raises(InputError, match="no job among the"):
        TimingOfEvents(steps=(6.0, 39.999999), **QUICK).estimate(history(df))
    with pytest.raises(InputError, match="positive and increasing"):
        TimingOfEvents(steps=(6.0, 3.0), **QUICK).estimate(history(df))


def test_an_effect_that_varies_is_found_on_average() -> None:
    df = make_events(3000, seed=9, spread=1.0, points=((-2.0, -2.0), (-1.0, -1.5)))
    found = TimingOfEvents(random="taking_part", **QUICK).estimate(history(df))
    estimate, error = effects(found)["taking_part"]
    assert abs(estimate - IN_EFFECT) < 4 * error
    point = found.run["distribution"][0]["log_hazard"]
    assert set(point) == {"job", "programme", "job|taking_part"}
    with pytest.raises(InputError, match="unknown programme status 'x1'"):
        TimingOfEvents(random="x1").estimate(history(df))


def in_whole_months(df: pd.DataFrame) -> pd.DataFrame:
    """Rows rounded up to whole months; what happens, happens some time in the last of them."""
    length = np.ceil(df.stop - df.start)
    parts = []
    waits = length - (df.event > 0)
    parts.append(df.assign(length=waits, event=0, place=0)[waits > 0])
    parts.append(df.assign(length=1.0, place=1)[df.event > 0])
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def test_interval_timing_finds_what_exact_times_say() -> None:
    df = make_events(2500, seed=2)
    exact = effects(TimingOfEvents(**QUICK).estimate(history(df)))
    months = in_whole_months(df)
    settings = {k: v for k, v in SETTINGS.items() if k not in ("start", "stop")}
    design = event_history_from_frame(months, duration="length", **settings)
    found = effects(TimingOfEvents(timing="interval", **QUICK).estimate(design))
    for name in exact:
        assert abs(found[name][0] - exact[name][0]) < 1.5 * exact[name][1], name
    with pytest.raises(InputError, match="unknown timing 'discrete'"):
        TimingOfEvents(timing="discrete").estimate(design)  # type: ignore[arg-type]


def test_a_saved_fit_is_where_a_restart_begins(events: pd.DataFrame, tmp_path: Path) -> None:
    design, file = history(events), tmp_path / "fit.json"
    first = TimingOfEvents(save=str(file), **QUICK).estimate(design)
    seen: list[float] = []
    again = TimingOfEvents(
        restart=str(file), progress=lambda stage, fit: seen.append(fit.loglik), **QUICK
    ).estimate(design)
    assert seen[0] == pytest.approx(first.run["log_likelihood"], abs=1e-6) and len(seen) == 1
    assert effects(again)["after"][0] == pytest.approx(effects(first)["after"][0], abs=1e-5)
    with pytest.raises(InputError, match="no such saved fit"):
        TimingOfEvents(restart=str(tmp_path / "none.json"), **QUICK).estimate(design)
    with pytest.raises(InputError, match="of another model"):
        TimingOfEvents(restart=str(file), steps=(5.0,), **QUICK).estimate(design)


def test_subgroups_have_fits_of_their_own(events: pd.DataFrame) -> None:
    half = events.assign(sex=np.where(events.id % 2 == 0, "f", "m"))
    found = TimingOfEvents(**QUICK).estimate(history(half, subgroups="sex"))
    rows = found.table[found.table.term == "log_hazard_ratio"]
    assert rows.subgroup.tolist() == ["all"] * 2 + ["sex=f"] * 2 + ["sex=m"] * 2
    errors = rows.std_error.to_numpy()
    assert (errors[2:] > errors[[0, 1, 0, 1]]).all()
    alone = TimingOfEvents(**QUICK).estimate(history(half[half.sex == "f"]))
    assert rows.estimate.iloc[2] == pytest.approx(effects(alone)["taking_part"][0], abs=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.assign(x2=(d.event == 1) * 1.0), "column 'x2', transition job: no job among"),
        (
            lambda d: d.assign(x2=3 * d.x1 + 1),
            "transition job: 2 columns determine one another: x1, x2",
        ),
        (lambda d: d.assign(event=np.where(d.event == 2, 0, d.event)), "programme never happens"),
        (lambda d: d.assign(start=d.start + (d.start > 0) * 0.1), "rows start after the row above"),
    ],
)
def test_hostile_input_is_named_and_counted(change, said: str) -> None:  # type: ignore
    df = change(make_events(200))
    with pytest.raises(InputError, match=said):
        TimingOfEvents(**QUICK).estimate(history(df[df.stop > df.start]))


def test_few_events_are_refused() -> None:
    df = make_events(200)
    df = df.assign(event=np.where((df.event == 1) & (df.id > 20), 0, df.event))
    df = df[df.groupby("id").cumcount() == 0].assign(event=lambda d: d.event.where(d.id < 8, 0))
    with pytest.raises(InputError, match=r"\d events can't carry"):
        TimingOfEvents(**QUICK).estimate(history(df, programme=""))


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "events.csv"
    make_events(400).to_csv(file, index=False)
    settings = [f"{k}={v}" for k, v in SETTINGS.items()]
    code = main(
        ["estimate", "timing_of_events", str(file), "--set", *settings, "starts=1", "--json"]
    )
    out = json.loads(capsys.readouterr().out)
    assert code == 0
    rows = {(r["programme"], r["term"]): r for r in out["estimates"]}
    assert rows["after", "log_hazard_ratio"]["std_error"] > 0
    assert {"log_likelihood", "points", "certificate", "cpu_seconds"} <= set(out["run"])
