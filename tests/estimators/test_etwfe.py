"""Extended two-way effects: other software's digits, identities, truth, awkward input."""

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
#: diff-diff 3.13.0, WooldridgeDiD: overall estimate and error (covariate demeaned by cohort).
OVERALL = {
    ("mpdta", "not_yet", ""): (-0.04770991827845378, 0.01326495778827869),
    ("mpdta", "not_yet", "lpop"): (-0.05062703312289747, 0.012479584178826343),
    ("mpdta", "never", ""): (-0.03995127515517691, 0.011796277441754276),
    ("mpdta", "never", "lpop"): (-0.04196861242154427, 0.01090956431434083),
    ("castle", "not_yet", ""): (0.066899843148729, 0.058619370930740954),
    ("castle", "never", ""): (0.01940281618499573, 0.036589392619263514),
}
#: The same, cohort 2004 of mpdta in 2004, 2005, 2006.
CELLS = {
    ("not_yet", ""): [
        (-0.019372363675923394, 0.022381770443295812),
        (-0.07831909906206291, 0.030487838520761357),
        (-0.13607811444031767, 0.03545548655117494),
    ],
    ("not_yet", "lpop"): [
        (-0.021248002222569482, 0.021693299839783114),
        (-0.08184999926988272, 0.027330677920222778),
        (-0.13787038666086768, 0.030744825839931787),
    ],
    ("never", "lpop"): [
        (-0.014911237790363924, 0.0222198496818136),
        (-0.0769963229660561, 0.027768098058956275),
        (-0.14108010462858941, 0.032243340867186526),
    ],
}


def etwfe(**options: object):
    return build("etwfe", **{"bands": False, **options})


@pytest.mark.parametrize("case", list(OVERALL), ids=" ".join)
def test_reference_figures(shared: Path, case: tuple[str, str, str]) -> None:
    name, comparison, x = case
    df = pd.read_csv(shared / "data" / f"{name}.csv")
    design = staggered_from_frame(df, **SETS[name], covariates=x)
    found = etwfe(comparison=comparison, errors="fixest", shares="fixed", min_clusters=1)
    table = found.estimate(design).table
    row = table[table.term == "effect_overall"].iloc[0]
    np.testing.assert_allclose([row.estimate, row.std_error], OVERALL[case], rtol=0, atol=1e-11)
    if name == "mpdta" and (comparison, x) in CELLS:
        cells = table[(table.term == "effect") & (table.horizon >= 0)].head(3)
        np.testing.assert_allclose(
            cells[["estimate", "std_error"]], CELLS[comparison, x], atol=1e-11
        )


def test_never_treated_without_covariates_is_sun_and_abraham() -> None:
    design = replace(make_rollout(150, seed=1, missing=0.2), covariate_names=())
    design = replace(design, covariates=np.zeros((150, 0)))
    left = etwfe(comparison="never").estimate(design)
    right = build("sun_abraham", bands=False).estimate(design)
    np.testing.assert_allclose(left.table.estimate, right.table.estimate)
    np.testing.assert_allclose(left.table.std_error, right.table.std_error)


def test_full_panel_without_covariates_is_imputation() -> None:
    """A treated outcome less its unit's mean before the start, less the same of untreated rows."""
    design = replace(make_rollout(200, seed=2), subgroups={}, covariate_names=())
    design = replace(design, covariates=np.zeros((200, 0)), weight=np.ones(200))
    y = design.outcomes[:, :, 0]
    late = design.periods[None, :] >= design.first[:, None]
    unit, period = np.nonzero(~late)
    dummies = np.zeros((unit.size, 200 + 8))
    dummies[np.arange(unit.size), unit] = dummies[np.arange(unit.size), 200 + period] = 1
    fit = np.linalg.lstsq(dummies, y[~late], rcond=None)[0]
    gap = y - fit[:200, None] - fit[None, 200:]
    table = etwfe().estimate(design).select(term="effect").table
    for row in table.itertuples():
        mine = design.first == float(row.cohort)
        wanted = gap[mine, int(row.period) - 1].mean()
        np.testing.assert_allclose(row.estimate, wanted, atol=1e-10)


@pytest.mark.parametrize("comparison", ["not_yet", "never"])
@pytest.mark.parametrize("missing", [0.0, 0.25])
def test_the_truth_is_found_with_covariates_and_gaps(comparison: str, missing: float) -> None:
    design = make_rollout(6000, seed=3, missing=missing)
    table = etwfe(comparison=comparison).estimate(design).select(term="effect").table
    true = [effect(float(r.cohort), int(r.period)) for r in table.itertuples()]
    off = (table.estimate - true) / table.std_error
    assert (np.abs(off) < 4.2).all() and table.std_error[table.subgroup == "all"].max() < 0.12


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    inside = []
    for seed in range(40):
        design = replace(make_rollout(240, seed=seed, missing=0.15), subgroups={})
        cells = etwfe().estimate(design).select(term="effect").table
        true = np.array([effect(float(r.cohort), int(r.period)) for r in cells.itertuples()])
        inside.append((cells.conf_low <= true) & (true <= cells.conf_high))
    assert 0.925 < np.mean(inside) < 0.975


@pytest.mark.parametrize("comparison", ["not_yet", "never"])
def test_influence_is_the_derivative_by_each_units_weight(comparison: str) -> None:
    design = replace(make_rollout(100, seed=4, missing=0.15), subgroups={})
    # a mean of covariates moves with weights too
    full = etwfe(comparison=comparison).estimate(design)
    rows = np.flatnonzero(full.table.status == "ok")
    z = full.influence.columns(rows)
    for i in range(0, 100, 24):
        moved = []
        for step in (1e-5, -1e-5):
            weight = design.weight.copy()
            weight[i] *= 1 + step
            again = etwfe(comparison=comparison).estimate(replace(design, weight=weight)).table
            moved.append(again.estimate.to_numpy()[rows])
        np.testing.assert_allclose(z[i], (moved[0] - moved[1]) / 2e-5, atol=3e-7)


def growing(n: int = 600) -> StaggeredPanel:
    """Half treated in period 2, half in period 7 of 10; the effect is 0.2 a period since the start."""
    rng = np.random.default_rng(0)
    first = np.where(np.arange(n) % 2 == 0, 2.0, 7.0)
    periods = np.arange(1, 11)
    since = periods[None, :] - first[:, None]
    y = rng.standard_normal((n, 1)) + 0.1 * periods + 0.5 * rng.standard_normal((n, 10))
    y += np.where(since >= 0, 0.2 * (since + 1), 0.0)
    base = replace(make_rollout(n), covariates=np.zeros((n, 0)), covariate_names=())
    return replace(
        base, outcomes=y[:, :, None], periods=periods, first=first, weight=np.ones(n), subgroups={}
    )


def test_where_two_way_effects_have_the_wrong_sign_this_has_the_right_one() -> None:
    design = growing()
    found = etwfe().estimate(design)
    cells = found.select(term="effect").table
    # nobody is untreated from period 7 on
    assert set(cells.period[cells.status == "ok"]) == {"2", "3", "4", "5", "6"}
    good = cells[cells.status == "ok"]
    assert (np.abs(good.estimate - 0.2 * (good.horizon + 1)) < 4 * good.std_error).all()
    assert "nobody is untreated" in found.run["not_supported"][0]["reason"] or any(
        "comparison" in r["reason"] for r in found.run["not_supported"]
    )
    assert build("twfe").estimate(design).table.conf_high[0] < 0
    assert found.select(term="effect_overall").table.conf_low[0] > 0.3
    with pytest.raises(InputError, match="Say comparison=not_yet"):
        etwfe(comparison="never").estimate(design)


def test_a_cohort_too_small_for_its_slopes_has_its_mean_effect() -> None:
    design = replace(make_rollout(300, seed=5), subgroups={})
    early = np.flatnonzero(design.first == 4)
    first = design.first.copy()
    first[early[2:]] = np.inf  # two units, two covariates: slopes can't be had, the mean can
    found = etwfe().estimate(replace(design, first=first))
    cells = found.select(term="effect", cohort="4").table
    assert (cells.status == "ok").all() and np.isfinite(cells.std_error).all()
    first[early[1:]] = np.inf
    one = etwfe().estimate(replace(design, first=first))
    assert {r["reason"] for r in one.run["not_supported"]} == {"only 1 unit in the cohort"}


def test_anticipation() -> None:
    design = replace(make_rollout(200, seed=6), subgroups={})
    soon = design.first.copy()
    soon[np.flatnonzero(np.isinf(soon))[:20]] = 9.0  # one period after the panel
    found = etwfe(anticipation=1).estimate(replace(design, first=soon))
    cells = found.select(term="effect").table
    assert cells.horizon.min() == -1
    assert any("anticipate" in r["reason"] for r in found.run["not_supported"])
    keep = soon != 9
    part = replace(
        design,
        **{k: getattr(design, k)[keep] for k in ("outcomes", "covariates", "weight", "cluster")},
        first=soon[keep],
    )
    again = etwfe(anticipation=1).estimate(part)
    np.testing.assert_allclose(again.table.estimate, found.table.estimate, atol=1e-10)
    np.testing.assert_allclose(again.select(term="effect").table.n_comparison, cells.n_comparison)


def test_from_the_command_line(shared: Path, capsys: pytest.CaptureFixture) -> None:
    path = str(shared / "data" / "mpdta.csv")
    columns = [
        "unit=countyreal",
        "time=year",
        "cohort=first_treat",
        "outcome=lemp",
        "covariates=lpop",
    ]
    options = ["comparison=never_treated", "errors=fixest", "shares=fixed"]
    assert main(["estimate", "etwfe", path, "--json", "--set", *columns, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    overall = next(r for r in found["estimates"] if r["term"] == "effect_overall")
    assert abs(overall["estimate"] + 0.04196861242154427) < 1e-11
    assert main(["estimate", "etwfe", path, "--set", *columns, "comparison=all"]) == 2
    assert "Traceback" not in capsys.readouterr().err
