"""Two-way regressions: other software's numbers, dummies written out, influence, awkward input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from invented_rollouts import make_rollout

from tiltakeval.cli import main
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.errors import InputError
from tiltakeval.estimators import build

SETS = {
    "mpdta": {"unit": "countyreal", "period": "year", "outcome": "lemp", "first": "first_treat"},
    "castle": {"unit": "sid", "period": "year", "outcome": "l_homicide", "treated": "post"},
}
#: pyfixest 0.60 and R's fixest; linearmodels 7.1 by default; statsmodels 0.15 with dummies.
PEERS = {"fixest": "pyfixest", "linearmodels": "linearmodels", "statsmodels": "statsmodels"}


def event_study(**options: object):
    return build("twfe_event_study", **{"bands": False, **options})


@pytest.mark.parametrize("name", list(SETS))
@pytest.mark.parametrize("errors", list(PEERS))
def test_errors_of_other_software_by_name(shared: Path, name: str, errors: str) -> None:
    design = staggered_from_frame(pd.read_csv(shared / "data" / f"{name}.csv"), **SETS[name])
    rows = [json.loads(r) for r in (shared / "reference" / "did.jsonl").open(encoding="utf-8")]
    (row,) = [
        r for r in rows
        if r["data"] == name and r.get("what") == "twfe" and r["peer"] == PEERS[errors]
    ]  # fmt: skip
    found = build("twfe", errors=errors).estimate(design).table.iloc[0]
    assert abs(found.estimate - row["est"]) < 1e-12
    assert abs(found.std_error - row["se"]) < 1e-12
    house = build("twfe").estimate(design).table.iloc[0]
    debiased = {"mpdta": 0.013251878321188251, "castle": 0.0552971902536455}  # linearmodels,
    assert abs(house.std_error - debiased[name]) < 1e-12  # group_debias, no degrees of freedom


def written_out(design: StaggeredPanel, columns: list[np.ndarray]):
    """The regression with a dummy for every unit and period, by statsmodels: ``columns`` [n, T] each."""
    y = design.outcomes[:, :, 0]
    seen = np.isfinite(y)
    unit, period = np.nonzero(seen)
    x = [c[seen] for c in columns]
    for a in range(design.covariates.shape[1]):
        x += [design.covariates[unit, a] * (period == t) for t in range(1, y.shape[1])]
    x += [(period == t).astype(float) for t in range(1, y.shape[1])]
    x += [(unit == i).astype(float) for i in range(design.n)]
    fit = sm.WLS(y[seen], np.column_stack(x), weights=design.weight[unit])
    return fit.fit(cov_type="cluster", cov_kwds={"groups": design.cluster[unit]})


@pytest.mark.parametrize("missing", [0.0, 0.25])
def test_they_are_regressions_on_dummies_with_weights_covariates_and_gaps(missing: float) -> None:
    design = replace(make_rollout(110, seed=1, missing=missing), subgroups={})
    since = design.periods[None, :] - design.first[:, None]
    fit = written_out(design, [(since >= 0).astype(float)])
    found = build("twfe", errors="statsmodels").estimate(design).table.iloc[0]
    np.testing.assert_allclose(found.estimate, fit.params[0], atol=1e-10)
    np.testing.assert_allclose(found.std_error, fit.bse[0], rtol=1e-8)

    for low, high, reference in ((-5, 4, -1), (-3, 2, -1), (-3, 4, -2), (-1, 4, -1)):
        events = [e for e in range(low, high + 1) if e != reference]
        held = np.where(np.isfinite(since), np.clip(since, low, high), np.nan)
        fit = written_out(design, [(held == e).astype(float) for e in events])
        found = event_study(
            errors="statsmodels", earliest=low, latest=high, reference=reference
        ).estimate(design)
        table = found.select(term="effect_by_event_time", status="ok").table
        assert table.horizon.tolist() == events
        left_out = found.select(status="reference").table
        assert left_out.horizon.tolist() == [reference] and left_out.estimate.tolist() == [0.0]
        np.testing.assert_allclose(table.estimate, fit.params[: len(events)], atol=1e-10)
        np.testing.assert_allclose(table.std_error, fit.bse[: len(events)], rtol=1e-8)
        post = np.flatnonzero(np.array(events) >= 0)
        mean = found.select(term="effect_over_event_times").table
        np.testing.assert_allclose(mean.estimate[0], fit.params[post].mean())
        v = fit.cov_params()[np.ix_(post, post)]
        np.testing.assert_allclose(mean.std_error[0], np.sqrt(v.mean()), rtol=1e-8)
        # an end that stands for several periods has no place in a sum over periods
        path = found.select(term="cumulated_path").table
        assert path.horizon.tolist() == [e for e in events if e >= 0 and (e < high or high == 4)]


@pytest.mark.parametrize("key", ["twfe", "twfe_event_study"])
def test_influence_is_the_derivative_by_each_units_weight(key: str) -> None:
    design = replace(make_rollout(90, seed=2, missing=0.15), subgroups={})
    full = build(key).estimate(design)
    rows = np.flatnonzero(full.table.status == "ok")
    z = full.influence.columns(rows)
    for i in range(0, 90, 22):
        moved = []
        for step in (1e-5, -1e-5):
            weight = design.weight.copy()
            weight[i] *= 1 + step
            again = build(key).estimate(replace(design, weight=weight)).table
            moved.append(again.estimate.to_numpy()[rows])
        np.testing.assert_allclose(z[i], (moved[0] - moved[1]) / 2e-5, atol=2e-7)


def test_clusters_above_units_and_their_errors() -> None:
    design = replace(make_rollout(300, seed=3, clusters=25, missing=0.1), subgroups={})
    since = design.periods[None, :] - design.first[:, None]
    fit = written_out(design, [(since >= 0).astype(float)])
    found = build("twfe", errors="statsmodels").estimate(design).table.iloc[0]
    np.testing.assert_allclose(found.std_error, fit.bse[0], rtol=1e-8)
    assert found.n_clusters == 25


def test_subgroups_are_their_own_regressions() -> None:
    design = make_rollout(400, seed=4)
    found = build("twfe", errors="fixest").estimate(design)
    inside = design.subgroups["sex"].codes == 1
    part = replace(
        design,
        **{k: getattr(design, k)[inside] for k in ("outcomes", "first", "covariates", "weight")},
        cluster=design.cluster[inside],
        subgroups={},
    )
    alone = build("twfe", errors="fixest").estimate(part).table.iloc[0]
    mine = found.select(subgroup="sex=b").table.iloc[0]
    np.testing.assert_allclose([mine.estimate, mine.std_error], [alone.estimate, alone.std_error])
    assert mine.n_treated == alone.n_treated


def growing(n: int = 600, seed: int = 0) -> StaggeredPanel:
    """Half treated in period 2, half in period 7 of 10; the effect is 0.2 a period since the start."""
    rng = np.random.default_rng(seed)
    first = np.where(np.arange(n) % 2 == 0, 2.0, 7.0)
    periods = np.arange(1, 11)
    since = periods[None, :] - first[:, None]
    y = rng.standard_normal((n, 1)) + 0.1 * periods + 0.5 * rng.standard_normal((n, 10))
    y += np.where(since >= 0, 0.2 * (since + 1), 0.0)
    base = make_rollout(n)
    return replace(
        base,
        outcomes=y[:, :, None],
        periods=periods,
        first=first,
        covariates=np.zeros((n, 0)),
        covariate_names=(),
        weight=np.ones(n),
        subgroups={},
    )


def test_growing_effects_turn_the_sign_and_the_checks_say_so() -> None:
    design = growing()
    found = build("twfe").estimate(design)
    row = found.table.iloc[0]
    assert row.conf_high < 0  # every true effect is at least 0.2
    checks = {c.key: c for c in rollout(estimates=found)}
    for key in ("bacon", "negative_weights", "two_way_misleads"):
        assert checks[key].status == "failed", key
    said = checks["two_way_misleads"].message["reasons"]
    assert "they have opposite signs" in said
    assert checks["bacon"].statistic > 0.5
    for key, options in {
        "group_time_att": {},
        "etwfe": {},
        "sun_abraham": {"comparison": "last"},
        "stacked": {"before": 1, "after": 4},
    }.items():
        right = build(key, bands=False, **options).estimate(design).select(term="effect_overall")
        assert right.table.conf_low[0] > 0.2, key


def test_event_times_that_are_collinear_with_periods_are_said_to_be() -> None:
    design = growing(100)
    found = event_study().estimate(design)
    assert (found.table.status == "not_supported").all()
    check = next(c for c in rollout(estimates=found) if c.key == "cells_not_supported")
    assert "bin the ends" in check.message["reasons"][0]
    binned = event_study(earliest=-1, latest=6).estimate(design).table
    assert (binned.status[binned.horizon != -1] == "ok").all()
    some = make_rollout(200, seed=5)
    only = event_study(units="ever_treated", earliest=-2).estimate(some).table
    ever = np.isfinite(some.first)
    assert only.n_comparison.max() <= ever.sum()


def test_awkward_panels() -> None:
    design = replace(make_rollout(120, seed=6, missing=0.3), subgroups={})
    y = design.outcomes.copy()
    y[:, 2] = np.nan  # a period without any row
    y[5] = np.nan  # a unit without any
    y[7, 1:] = np.nan  # a unit seen once
    found = build("twfe").estimate(replace(design, outcomes=y)).table
    assert found.status[0] == "ok" and np.isfinite(found.std_error[0])
    events = event_study().estimate(replace(design, outcomes=y)).table
    assert events[events.status == "ok"].std_error.notna().all()

    treated = np.flatnonzero(np.isfinite(design.first))
    first = np.full(120, np.inf)
    first[treated[0]] = 4.0
    for key in ("twfe", "twfe_event_study"):
        one = build(key).estimate(replace(design, first=first))
        assert (one.table.status == "not_supported").all() and one.influence is None
        assert one.run["not_supported"][0]["reason"] == "only 1 unit treated, 2 are needed"
    none = build("twfe").estimate(replace(design, first=np.full(120, np.inf)))
    assert none.table.status[0] == "not_supported"
    same = build("twfe").estimate(replace(design, first=np.full(120, 4.0)))
    assert same.run["not_supported"][0]["reason"].startswith("only 0 unit to compare with")

    flat = replace(
        design,
        covariates=np.column_stack([design.covariates, 2 * design.covariates[:, 0], np.ones(120)]),
        covariate_names=("x0", "x1", "twice", "one"),
    )
    again = build("twfe").estimate(flat)
    np.testing.assert_allclose(again.table.estimate, build("twfe").estimate(design).table.estimate)
    assert again.run["collinear"] == ["twice", "one"]
    told = np.isfinite(design.first).astype(float)[:, None]
    lost = build("twfe").estimate(replace(
        design, first=np.where(told[:, 0] > 0, 4.0, np.inf), covariates=told, covariate_names=("d",)
    ))  # fmt: skip
    assert lost.run["not_supported"][0]["reason"].startswith("treatment is collinear")


@pytest.mark.parametrize(
    ("key", "options", "said"),
    [
        ("twfe", {"errors": "fixset"}, "Did you mean 'fixest'"),
        ("twfe", {"level": 95}, "level"),
        ("twfe", {"min_clusters": 0}, "min_clusters"),
        ("twfe_event_study", {"reference": 0}, "reference"),
        ("twfe_event_study", {"anticipation": -1}, "anticipation"),
        ("twfe_event_study", {"earliest": 1}, "after the reference"),
        ("twfe_event_study", {"latest": -1}, "latest"),
        ("twfe_event_study", {"units": "some"}, "units"),
    ],
)
def test_options_that_make_no_sense(key: str, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(key, **options).estimate(make_rollout(60))


def test_too_few_rows_for_a_convention_is_said() -> None:
    design = replace(make_rollout(40, seed=8), subgroups={})
    y = design.outcomes.copy()
    y[:, 2:] = np.nan  # two periods
    y[:, 1][np.arange(40) % 2 == 0] = np.nan
    first = np.where(np.arange(40) % 4 == 1, 2.0, np.inf)
    short = replace(design, outcomes=y, first=first)
    assert build("twfe").estimate(short).table.status[0] == "ok"
    x = np.random.default_rng(0).standard_normal((40, 18))
    wide = replace(short, covariates=x, covariate_names=tuple(f"x{i}" for i in range(18)))
    with pytest.raises(InputError, match="too few"):
        build("twfe", errors="statsmodels").estimate(wide)


def test_from_the_command_line(shared: Path, capsys: pytest.CaptureFixture) -> None:
    path = str(shared / "data" / "mpdta.csv")
    columns = ["unit=countyreal", "time=year", "cohort=first_treat", "outcome=lemp"]
    assert main(["estimate", "twfe", path, "--json", "--set", *columns, "errors=fixest"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert abs(found["estimates"][0]["std_error"] - 0.01326515542933887) < 1e-12
    assert {"bacon", "negative_weights", "two_way_misleads"} <= {c["key"] for c in found["checks"]}
    assert main(["estimate", "twfe_event_study", path, "--set", *columns, "latest=2"]) == 0
    assert "differences between cohorts in effects at other event times" in capsys.readouterr().out
