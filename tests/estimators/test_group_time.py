"""Group-time effects: published numbers, a known truth, the influence, and awkward input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_rollouts import COHORTS, PERIODS, effect, make_rollout
from scipy import stats

from tiltakeval.cli import main
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import contrast, with_bands
from tiltakeval.estimates.inference import correction
from tiltakeval.estimators import build
from tiltakeval.estimators.did.cells import batches
from tiltakeval.estimators.did.cells.fit import effects, weigh
from tiltakeval.estimators.did.cells.leverage import spread
from tiltakeval.estimators.did.cells.sorted_units import SortedUnits

SETS = {
    "mpdta": {
        "unit": "countyreal", "period": "year", "outcome": "lemp", "first": "first_treat",
    },
    "ehec": {"unit": "stfips", "period": "year", "outcome": "dins", "first": "yexp2"},
    "castle": {"unit": "sid", "period": "year", "outcome": "l_homicide", "treated": "post"},
}  # fmt: skip
TERMS = {
    "simple": ("effect_overall", ""),
    "group": ("effect_over_cohorts", "cohort"),
    "dynamic": ("effect_over_event_times", "horizon"),
    "calendar": ("effect_over_periods", "period"),
}
BY = {"cohort": "effect_by_cohort", "horizon": "effect_by_event_time", "period": "effect_by_period"}


def load(shared: Path, name: str, **more: object) -> StaggeredPanel:
    df = pd.read_csv(shared / "data" / f"{name}.csv")
    return staggered_from_frame(df, **{**SETS[name], **more})  # type: ignore[arg-type]


def att(**options: object):
    """By default errors as elsewhere, which are the derivative by weights as it is."""
    return build("group_time_att", **{"bands": False, "divisor": "g_minus_1", **options})


def reference(shared: Path, name: str) -> pd.DataFrame:
    lines = (shared / "reference" / "did.jsonl").read_text("utf-8").splitlines()
    table = pd.DataFrame([json.loads(line) for line in lines])
    return table[(table["data"] == name) & table["agg"].notna()]


@pytest.mark.parametrize("name", list(SETS))
def test_every_reference_line_to_its_last_digits(shared: Path, name: str) -> None:
    lines = reference(shared, name)
    compared = 0
    for (x, method, comparison), part in lines.groupby(["x", "m", "c"], dropna=False):
        design = load(shared, name, covariates=() if pd.isna(x) else x)
        options = {
            "method": method,
            "comparison": {"never": "never", "notyet": "not_yet"}[comparison],
            "min_clusters": 1,  # castle has cohorts of one state, which the peers report
        }
        table = att(**options, divisor="g").estimate(design).table
        house = att(**options).estimate(design).table
        np.testing.assert_allclose(
            house.std_error, table.std_error * np.sqrt(correction(design.n)), rtol=1e-12
        )
        for line in part.itertuples():
            term, column = TERMS[line.agg]
            rows = table[table.term == (term if line.key == "all" else BY[column])]
            if line.key != "all":
                rows = rows[rows[column].astype(str) == str(line.key)]
            assert len(rows) == 1, line
            # diff-diff doesn't normalise the weights of comparison units: see docs/did.md
            loose = line.peer == "diff_diff" and line.m == "dr" and not pd.isna(x)
            close = 4e-6 if loose else 1e-8
            assert abs(rows.estimate.iloc[0] - line.est) < close, line
            if line.se is not None and np.isfinite(line.se):
                assert abs(rows.std_error.iloc[0] - line.se) < (2e-6 if loose else 1e-8), line
            compared += 1
    assert compared == len(lines) > 100


def test_published_cells_and_a_universal_base(shared: Path) -> None:
    """Cells printed in the documentation of R's did for mpdta (no covariates, never treated)."""
    design = load(shared, "mpdta")
    table = att(comparison="never").estimate(design).select(term="effect").table
    found = {(r.cohort, r.period): r.estimate for r in table.itertuples()}
    published = {
        ("2004", "2004"): -0.0105, ("2004", "2005"): -0.0704, ("2004", "2006"): -0.1373,
        ("2004", "2007"): -0.1008, ("2006", "2004"): 0.0065, ("2006", "2005"): -0.0028,
        ("2006", "2006"): -0.0046, ("2006", "2007"): -0.0412, ("2007", "2004"): 0.0305,
        ("2007", "2005"): -0.0027, ("2007", "2006"): -0.0311, ("2007", "2007"): -0.0261,
    }  # fmt: skip
    assert set(found) == set(published)
    for key, value in published.items():
        assert abs(found[key] - value) < 6e-5
    universal = att(comparison="never", base="universal").estimate(design).select(term="effect")
    back = {(r.cohort, r.period): r.estimate for r in universal.table.itertuples()}
    assert ("2007", "2006") not in back  # the base, zero by definition
    np.testing.assert_allclose(back["2007", "2005"], -found["2007", "2006"])
    np.testing.assert_allclose(
        back["2007", "2003"], -sum(found["2007", str(t)] for t in (2004, 2005, 2006))
    )
    assert back["2007", "2007"] == found["2007", "2007"]


def truth(row) -> float:
    """The true value of a cell, event time or overall mean of ``make_rollout``, given its cohorts."""
    return effect(float(row.cohort), int(row.period))


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_truth_is_found_where_covariates_drive_trends(method: str, missing: float) -> None:
    design = make_rollout(8000, seed=3, missing=missing)
    table = att(method=method).estimate(design).select(term="effect", subgroup="all").table
    gap = table.estimate - [truth(row) for row in table.itertuples()]
    assert (np.abs(gap) < 4 * table.std_error).all() and (table.std_error < 0.12).all()
    bare = replace(design, covariates=np.zeros((design.n, 0)), covariate_names=())
    raw = att().estimate(bare).select(term="effect", subgroup="all").table
    late = raw[(raw.cohort == "4") & (raw.period == "8")].iloc[0]
    assert late.estimate - truth(late) > 5 * late.std_error


def test_intervals_and_bands_hold_the_truth_as_often_as_they_say() -> None:
    inside, banded, off = [], [], []
    for seed in range(70):
        design = make_rollout(240, seed=seed, missing=0.15, clusters=None)
        design = replace(design, subgroups={})
        found = att(comparison="not_yet", divisor="leverage").estimate(design)
        cells = found.select(term="effect").table
        true = np.array([truth(row) for row in cells.itertuples()])
        inside.append((cells.conf_low <= true) & (true <= cells.conf_high))
        off.append((cells.estimate - true) / cells.std_error)
        event = with_bands(found.select(term="effect_by_event_time"), draws=499).table
        size = {g: float(design.weight[design.first == g].sum()) for g in COHORTS[:2]}
        wanted = []
        for e in event.horizon:
            cohorts = [g for g in size if g + e in PERIODS[1:]]
            share = np.array([size[g] for g in cohorts])
            wanted.append(share @ [effect(g, int(g + e)) for g in cohorts] / share.sum())
        banded.append(((event.band_low <= wanted) & (wanted <= event.band_high)).all())
    assert 0.93 < np.mean(inside) < 0.97
    assert abs(np.mean(off)) < 0.1 and 0.92 < np.std(off) < 1.08
    assert np.mean(banded) > 0.9


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize("comparison", ["never", "not_yet"])
def test_influence_is_the_derivative_by_each_units_weight(method: str, comparison: str) -> None:
    design = replace(make_rollout(120, seed=2, missing=0.1), subgroups={})
    estimator = att(method=method, comparison=comparison, max_propensity=1.0, balance=1)
    full = estimator.estimate(design)
    rows = np.flatnonzero(full.table.status == "ok")
    assert {"effect_overall", "cumulated_path", "effect_over_cohorts"} <= set(full.table.term)
    z = full.influence.columns(rows)
    for i in range(0, 120, 29):
        moved = []
        for step in (1e-5, -1e-5):
            weight = design.weight.copy()
            weight[i] *= 1 + step
            changed = estimator.estimate(replace(design, weight=weight))
            moved.append(changed.table.estimate.to_numpy()[rows])
        np.testing.assert_allclose(z[i], (moved[0] - moved[1]) / 2e-5, atol=2e-7)


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize("comparison", ["never", "not_yet"])
def test_cells_that_share_their_weighing_have_the_digits_of_cells_alone(
    method: str, comparison: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = make_rollout(400, seed=16, clusters=60)
    estimator = att(method=method, comparison=comparison)
    shared = estimator.estimate(design)
    monkeypatch.setattr(batches, "AT_ONCE", 1000)  # and one period at a time
    few = estimator.estimate(design)
    monkeypatch.setattr(SortedUnits, "complete", np.zeros(PERIODS.size, dtype=bool))
    alone = estimator.estimate(design)
    for other in (few, alone):
        for column in ("estimate", "std_error", "n_effective"):
            np.testing.assert_allclose(
                shared.table[column], other.table[column], rtol=1e-10, atol=1e-10
            )
        counts = ["n_treated", "n_comparison", "n_clusters", "status"]
        assert shared.table[counts].equals(other.table[counts])


def test_clusters_add_up_and_their_error_is_near_the_jackknife() -> None:
    design = replace(make_rollout(450, seed=4, clusters=30), subgroups={})
    estimator = att(min_clusters=2)
    found = estimator.estimate(design)
    at = found.positions(term="effect_overall")
    alone = att().estimate(replace(design, cluster=np.arange(design.n)))
    z = alone.influence.columns(at)[:, 0]
    summed = np.bincount(design.cluster, weights=z)
    np.testing.assert_allclose(found.influence.columns(at)[:, 0], summed, atol=1e-12)
    assert found.table.n_clusters[at[0]] == 30
    assert found.table.std_error[at[0]] > 1.5 * alone.table.std_error[at[0]]
    left = []
    for c in range(30):
        keep = design.cluster != c
        part = replace(
            design,
            **{k: getattr(design, k)[keep] for k in ("outcomes", "first", "covariates", "weight")},
            cluster=design.cluster[keep],
        )
        left.append(estimator.estimate(part).table.estimate[at[0]])
    jackknife = np.sqrt(29 / 30 * ((left - np.mean(left)) ** 2).sum())
    assert abs(found.table.std_error[at[0]] / jackknife - 1) < 0.12


def moving(n: int, seed: int, *, touched: float = 0.0) -> StaggeredPanel:
    """A covariate that changes; its level hangs on who starts when, its changes move the outcome."""
    rng = np.random.default_rng(seed)
    design = replace(make_rollout(n, seed=seed, trend=0.0), subgroups={})
    v = 0.5 * design.covariates[:, :1] + 0.3 * rng.standard_normal((n, PERIODS.size)).cumsum(axis=1)
    after = design.first[:, None] <= PERIODS
    v = v + touched * after
    y = design.outcomes[:, :, 0] + 0.5 * v
    return replace(
        design, outcomes=y[:, :, None], covariates=np.zeros((n, 0)), covariate_names=(),
        varying=v[:, :, None], varying_names=("v",),
    )  # fmt: skip


def test_covariates_that_vary_are_those_of_the_base_period() -> None:
    design = moving(500, 21)
    found = att().estimate(design).table
    for cohort, period, base in (("4", "6", 2), ("4", "3", 1), ("6", "8", 4)):
        there = replace(
            design, covariates=design.varying[:, base], covariate_names=("v",), varying=None,
            varying_names=(),
        )  # fmt: skip
        like = att().estimate(there).table
        rows = (like.term == "effect") & (like.cohort == cohort) & (like.period == period)
        np.testing.assert_allclose(found.estimate[rows], like.estimate[rows], atol=1e-9)
        np.testing.assert_allclose(found.std_error[rows], like.std_error[rows], atol=1e-9)
    gone = design.varying.copy()
    gone[:7, 2] = np.nan  # the base of the cohort of 4
    part = att().estimate(replace(design, varying=gone)).table
    cell = (part.term == "effect") & (part.cohort == "4") & (part.period == "5")
    sides = (found.n_treated + found.n_comparison)[cell] - (part.n_treated + part.n_comparison)[
        cell
    ]
    assert 0 < sides.iloc[0] <= 7


def test_changes_of_covariates_need_a_reason() -> None:
    design = moving(4000, 22)
    with pytest.raises(InputError, match="measured after treatment"):
        att(covariate_changes=True).estimate(design)
    with pytest.raises(InputError, match="no change of a covariate"):
        att(untouched="weather").estimate(design)
    with pytest.raises(InputError, match="no covariate that varies"):
        att(covariate_changes=True, untouched="weather").estimate(make_rollout(60))
    plain = att().estimate(design).select(term="effect").table
    found = att(covariate_changes=True, untouched="weather").estimate(design)
    table = found.select(term="effect").table
    assert (
        np.abs(table.estimate - [truth(r) for r in table.itertuples()]) < 4 * table.std_error
    ).all()
    assert table.std_error.mean() < plain.std_error.mean()  # what changes explain is noise no more
    assert found.run["options"]["untouched"] == "weather"
    touched = moving(4000, 22, touched=1.0)
    late = [
        r
        for r in att().estimate(touched).select(term="effect").table.itertuples()
        if r.horizon == 2
    ]
    hidden = att(covariate_changes=True, untouched="weather").estimate(touched)
    early = [r for r in hidden.select(term="effect").table.itertuples() if r.horizon == 2]
    assert all(
        a.estimate - b.estimate > 0.3 for a, b in zip(late, early)
    )  # part of the effect is lost


def few_offices(seed: int) -> StaggeredPanel:
    """A cohort of four offices, one of eight, twelve never treated; no effect."""
    rng = np.random.default_rng(seed)
    office = np.repeat(np.arange(24), 5)
    first = np.repeat([4.0, 6.0, np.inf], [4, 8, 12])[office]
    y = 0.3 * rng.standard_normal((120, 8)) + rng.standard_normal((24, 8))[office]
    x = rng.standard_normal((24, 1))[office] + rng.standard_normal((120, 1))
    return replace(
        make_rollout(120), outcomes=y[:, :, None], first=first, covariates=x, covariate_names=("x",),
        cluster=office, cluster_kind="office", subgroups={}, weight=np.ones(120),
    )  # fmt: skip


def test_few_offices_on_a_side_have_its_own_factor_and_degrees_of_freedom() -> None:
    design = replace(few_offices(0), covariates=np.zeros((120, 0)), covariate_names=())
    row = att(divisor="leverage", comparison="never").estimate(design).table.iloc[2]
    change = design.outcomes[::5, 3, 0] * 0
    for i in range(5):
        change = change + (design.outcomes[i::5, 3, 0] - design.outcomes[i::5, 2, 0]) / 5
    early, never = change[:4], change[12:]
    parts = np.array([early.var(ddof=1) / 4, never.var(ddof=1) / 12])
    assert (row.cohort, row.period) == ("4", "4")
    np.testing.assert_allclose(row.std_error, np.sqrt(parts.sum()))  # Welch's t test
    df = parts.sum() ** 2 / (parts**2 / [3, 11]).sum()
    half = stats.t.ppf(0.975, df) * row.std_error
    np.testing.assert_allclose(row.conf_high - row.estimate, half)


def test_few_offices_are_held_as_often_as_they_should() -> None:
    held = {"leverage": [], "g_minus_1": []}
    for seed in range(80):
        design = few_offices(seed)
        for divisor, found in held.items():
            table = att(divisor=divisor).estimate(design).table
            found.append((table.conf_low <= 0) & (table.conf_high >= 0))
    assert 0.92 < np.mean(held["leverage"]) < 0.98
    assert np.mean(held["g_minus_1"]) < np.mean(held["leverage"]) - 0.02


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
def test_the_factor_of_a_comparison_cluster_makes_its_squared_influence_right(method: str) -> None:
    """The influence is linear in outcomes: with one outcome of 1 at a time its squares add up to what
    alike errors make of it, beside the squared weights, which are the effect's variance."""
    rng = np.random.default_rng(3)
    treated, others, labels = 8, 20, 14
    x = np.vstack([np.ones(28), rng.standard_normal((2, 28)) + 0.5 * (np.arange(28) < treated)])
    label = np.r_[np.arange(8) % 4, 4 + np.arange(20) % 10]
    sides = weigh(
        x=x, treated=treated, weight=np.ones(28), method=method, names=("x1", "x2"),
        max_propensity=0.999,
    )  # fmt: skip
    one_each = np.hstack([np.zeros((others, treated)), np.eye(others)])
    effect_of, z = effects(sides, one_each)
    by_cluster = np.array([np.bincount(label, weights=row, minlength=labels) for row in z])
    squares = np.bincount(label[treated:], weights=effect_of**2, minlength=labels)
    factor = spread(sides, label, labels)[treated:]
    at = label[treated:]
    wanted = np.sqrt(squares / np.maximum((by_cluster**2).sum(axis=0), 1e-300))[at]
    np.testing.assert_allclose(factor, np.maximum(wanted, 1.0), rtol=1e-9)
    assert (factor > 1.02).any()


def test_weights_are_numbers_of_units() -> None:
    design = replace(make_rollout(150, seed=5), subgroups={})
    times = np.random.default_rng(0).integers(1, 4, design.n)
    weighted = att().estimate(replace(design, weight=times.astype(float)))
    names = ("outcomes", "first", "covariates", "cluster")
    many = replace(
        design,
        weight=np.ones(int(times.sum())),
        **{k: np.repeat(getattr(design, k), times, axis=0) for k in names},
    )
    again = att().estimate(many)
    np.testing.assert_allclose(weighted.table.estimate, again.table.estimate, atol=1e-9)
    np.testing.assert_allclose(weighted.table.std_error, again.table.std_error, atol=1e-9)


def test_anticipation_moves_the_base_and_who_is_not_yet_treated() -> None:
    design = replace(make_rollout(600, seed=6, trend=0.0), covariates=np.zeros((600, 0)))
    design = replace(design, covariate_names=(), subgroups={}, weight=np.ones(600))
    y = design.outcomes[:, :, 0]
    table = att(anticipation=1).estimate(design).select(term="effect").table
    row = table[(table.cohort == "4") & (table.period == "5")].iloc[0]
    early, later = design.first == 4, design.first > 6  # 6 begins one period on: anticipating
    gap = y[:, 4] - y[:, 1]
    np.testing.assert_allclose(row.estimate, gap[early].mean() - gap[later].mean(), atol=1e-12)
    assert table[(table.cohort == "4") & (table.period == "3")].horizon.tolist() == [-1]
    checks = rollout(estimates=att(anticipation=1).estimate(design))
    cells = next(c for c in checks if c.key == "pretrend" and c.scope["over"] != "event_time")
    assert set(cells.detail.horizon) == {-2, -4, -3}


def test_the_cohort_treated_last_is_the_comparison_until_it_is_treated() -> None:
    design = replace(make_rollout(600, seed=23), subgroups={})
    found = att(comparison="last").estimate(design).table
    never = np.isinf(design.first)
    part = replace(
        design,
        **{k: getattr(design, k)[~never] for k in ("first", "covariates", "weight")},
        outcomes=design.outcomes[~never][:, :5],
        periods=PERIODS[:5],  # 6 starts in 6
        cluster=np.arange((~never).sum()),
    )
    like = att(comparison="never").estimate(part).table
    cells = found[found.term == "effect"]
    other = like[like.term == "effect"]
    assert cells.period.tolist() == other.period.tolist() == ["2", "3", "4", "5"]
    np.testing.assert_allclose(
        cells.estimate, other.estimate, atol=2e-3
    )  # covariates are scaled anew
    assert set(cells.cohort) == {"4"}
    alone = replace(design, first=np.where(never, 4.0, 4.0 + 2 * (design.first == 6)))
    assert (att(comparison="last").estimate(alone).table.status == "ok").all()
    with pytest.raises(InputError, match="no cohort is treated before"):
        att(comparison="last").estimate(replace(design, first=np.where(never, np.inf, 4.0)))


def test_averages_are_those_of_the_cells() -> None:
    design = make_rollout(400, seed=7)
    found = att(balance=2).estimate(design)
    table = found.select(subgroup="all").table
    cells = table[table.term == "effect"]
    size = {str(int(g)): design.weight[design.first == g].sum() for g in COHORTS[:2]}
    post = cells[cells.horizon >= 0]
    w = post.cohort.map(size)
    overall = table[table.term == "effect_overall"].iloc[0]
    np.testing.assert_allclose(overall.estimate, (w * post.estimate).sum() / w.sum())
    event = table[table.term == "effect_by_event_time"]
    assert event.horizon.tolist() == [-2, -1, 0, 1, 2]  # both cohorts have all of these
    path = table[table.term == "cumulated_path"]
    np.testing.assert_allclose(path.estimate, event.estimate[event.horizon >= 0].cumsum())
    mine = table[(table.term == "effect_by_period") & (table.period == "5")].iloc[0]
    alone = cells[(cells.cohort == "4") & (cells.period == "5")].iloc[0]
    assert mine.estimate == alone.estimate and np.isclose(mine.std_error, alone.std_error)


def test_subgroups_have_a_joint_covariance() -> None:
    design = make_rollout(800, seed=8)
    found = att().estimate(design)
    women, men = (found.select(term="effect_overall", subgroup=f"sex={s}") for s in "ab")
    gap = contrast(women, men).table.iloc[0]
    apart = np.hypot(women.table.std_error[0], men.table.std_error[0])
    np.testing.assert_allclose(gap.std_error, apart, rtol=1e-9)  # no unit is in both
    inside = design.subgroups["sex"].codes == 0
    part = replace(
        design,
        **{k: getattr(design, k)[inside] for k in ("outcomes", "first", "covariates", "weight")},
        cluster=design.cluster[inside],
        subgroups={},
    )
    alone = att(divisor="g").estimate(part).select(term="effect_overall").table.iloc[0]
    whole = att(divisor="g").estimate(design).select(term="effect_overall", subgroup="sex=a")
    np.testing.assert_allclose(alone.estimate, women.table.estimate[0])
    np.testing.assert_allclose(alone.std_error, whole.table.std_error[0])


def test_a_pretrend_is_found_and_none_where_there_is_none() -> None:
    flat = make_rollout(1500, seed=9)
    good = [c for c in rollout(estimates=att().estimate(flat)) if c.key == "pretrend"]
    assert [c.status for c in good] == ["passed", "passed"]
    bent = flat.outcomes + 0.2 * np.isfinite(flat.first)[:, None, None] * PERIODS[None, :, None]
    bad = rollout(estimates=att().estimate(replace(flat, outcomes=bent)))
    assert [c.status for c in bad if c.key == "pretrend"] == ["failed", "failed"]


def check(found, key: str):
    return next(c for c in rollout(estimates=found) if c.key == key)


def test_rows_missing_at_random_cost_little(shared: Path) -> None:
    df = pd.read_csv(shared / "data" / "mpdta.csv")
    full = att(comparison="never").estimate(load(shared, "mpdta"))
    at = full.positions(term="effect_overall")[0]
    estimates, errors = [], []
    for seed in range(40):
        keep = np.random.default_rng(seed).random(len(df)) >= 0.1
        table = att(comparison="never").estimate(
            staggered_from_frame(df[keep], **SETS["mpdta"])
        ).table  # fmt: skip
        estimates.append(table.estimate[at])
        errors.append(table.std_error[at])
    assert np.mean(errors) < 1.15 * full.table.std_error[at]
    assert abs(np.mean(estimates) - full.table.estimate[at]) < 0.003
    assert np.std(estimates) < 0.006


def test_collinear_covariates_are_dropped_and_named(shared: Path) -> None:
    df = pd.read_csv(shared / "data" / "mpdta.csv").assign(two=lambda d: 2 * d.lpop + 1, one=1.0)
    plain = att().estimate(staggered_from_frame(df, **SETS["mpdta"], covariates="lpop"))
    found = att().estimate(staggered_from_frame(df, **SETS["mpdta"], covariates="lpop,two,one"))
    np.testing.assert_allclose(plain.table.estimate, found.table.estimate, atol=1e-12)
    assert check(found, "collinear_covariates").message["dropped"] == ["two", "one"]


def test_a_cell_that_cant_be_had_leaves_the_rest() -> None:
    design = replace(make_rollout(300, seed=10), subgroups={})
    one = np.flatnonzero(design.first == 4)
    first = design.first.copy()
    first[one[1:]] = np.inf
    lonely = att().estimate(replace(design, first=first))
    cells = lonely.select(term="effect").table
    assert set(cells.status[cells.cohort == "4"]) == {"not_supported"}
    assert set(cells.status[cells.cohort == "6"]) == {"ok"}
    assert check(lonely, "cells_not_supported").message["reasons"] == ["only 1 unit in the cohort"]
    assert lonely.table.estimate[lonely.table.status == "ok"].notna().all()

    all_treated = replace(design, first=np.where(np.isinf(design.first), 6.0, design.first))
    late = att().estimate(all_treated).select(term="effect").table
    assert (late.status[(late.cohort == "4") & (late.period.astype(int) < 6)] == "ok").all()
    assert (late.status[late.period.astype(int) >= 6] == "not_supported").all()
    with pytest.raises(InputError, match="no unit is never treated"):
        att(comparison="never").estimate(all_treated)

    flag = np.where(np.isinf(design.first), 0.0, design.covariates[:, 0])
    flat = replace(design, covariates=np.column_stack([design.covariates, flag]),
                   covariate_names=("x0", "x1", "flag"))  # fmt: skip
    for method, reason in (("reg", "collinear among the comparison units: flag"), ("dr", "flag")):
        found = att(method=method, comparison="never").estimate(flat)
        assert (found.select(term="effect").table.status == "not_supported").all()
        assert reason in check(found, "cells_not_supported").message["reasons"][0]

    apart = replace(design, covariates=np.isinf(design.first)[:, None] + 0.1 * design.covariates)
    found = att(method="ipw", comparison="never").estimate(apart)
    reasons = check(found, "cells_not_supported").message["reasons"]
    assert reasons == ["the covariates separate the cohort from the comparison units"]
    assert (found.table.status == "not_supported").all() and found.influence is None


def test_a_period_missing_for_all_is_stepped_over() -> None:
    design = replace(make_rollout(300, seed=11), subgroups={})
    empty = design.outcomes.copy()
    empty[:, 5] = np.nan  # 6, the start of a cohort
    blank = att().estimate(replace(design, outcomes=empty))
    cells = blank.select(term="effect").table
    lost = cells[(cells.period == "6") | ((cells.period == "7") & (cells.horizon < 0))]
    assert (lost.status == "not_supported").all()
    assert (cells.status[(cells.cohort == "6") & (cells.period == "8")] == "ok").all()
    keep = PERIODS != 6
    without = replace(design, outcomes=design.outcomes[:, keep], periods=PERIODS[keep])
    table = att().estimate(without).table
    assert (table.status == "ok").all() and "6" not in set(table.period)


def test_rare_overlap_is_counted_and_left_out() -> None:
    design = replace(make_rollout(500, seed=12), subgroups={})
    x = design.covariates[:, :1] + 2 * (design.first == 4)[:, None]
    found = att(comparison="never", max_propensity=0.9).estimate(
        replace(design, covariates=x, covariate_names=("x0",))
    )
    assert check(found, "overlap_in_cells").statistic > 0


def test_many_units_are_dealt_into_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    design = replace(make_rollout(6000, seed=13), subgroups={})
    exact = att().estimate(design)
    monkeypatch.setattr("tiltakeval.estimators.did.group_time.EXACT_BELOW", 0)
    few = att().estimate(design)
    assert few.influence.groups == 2000 < exact.influence.groups
    np.testing.assert_allclose(few.table.estimate, exact.table.estimate)
    np.testing.assert_allclose(few.table.std_error, exact.table.std_error, rtol=0.1)


def test_bands_are_wider_than_intervals_and_cover_periods_before() -> None:
    found = build("group_time_att").estimate(make_rollout(400, seed=14)).table
    event = found[found.term == "effect_by_event_time"]
    assert (event.horizon < 0).any() and (event.band_high >= event.conf_high).all()
    assert set(event.band_family) == {"over horizon"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "drr"}, "method"),
        ({"comparison": "nver"}, "Did you mean 'never'"),
        ({"base": "short"}, "base"),
        ({"anticipation": -1}, "anticipation"),
        ({"balance": -1}, "balance"),
        ({"balance": 5}, "The longest follow-up is 4"),
        ({"min_clusters": 0}, "min_clusters"),
        ({"max_propensity": 0}, "max_propensity"),
        ({"level": 95}, "level"),
        ({"divisor": "n"}, "divisor"),
    ],
)
def test_options_that_make_no_sense(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        att(**options).estimate(make_rollout(60))


def test_from_the_command_line(shared: Path, capsys: pytest.CaptureFixture) -> None:
    path = str(shared / "data" / "mpdta.csv")
    settings = [
        "unit=countyreal",
        "time=year",
        "cohort=first_treat",
        "outcome=lemp",
        "covariates=lpop",
    ]
    command = ["estimate", "group_time_att", path, "--json", "--set", *settings]
    assert main([*command, "comparison=never_treated"]) == 0
    found = json.loads(capsys.readouterr().out)
    overall = next(r for r in found["estimates"] if r["term"] == "effect_overall")
    assert abs(overall["estimate"] + 0.041752) < 1e-6
    assert {"pretrend", "support"} <= {c["key"] for c in found["checks"]}
    assert main([*command, "comparison=nobody"]) == 2
    said = capsys.readouterr().err
    assert "unknown comparison 'nobody'" in said and "Traceback" not in said


def test_the_terminal_says_why_an_estimate_is_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    design = make_rollout(60, seed=15)
    start = np.where(np.isfinite(design.first), 4.0, np.nan)
    start[np.flatnonzero(np.isfinite(start))[0]] = 6.0
    df = pd.DataFrame(design.outcomes[:, :, 0], columns=PERIODS).assign(first=start, x=1.0)
    long = df.rename_axis("unit").reset_index().melt(["unit", "first", "x"], var_name="period")
    path = tmp_path / "rollout.csv"
    long.to_csv(path, index=False)
    settings = ["unit=unit", "period=period", "outcome=value", "first=first", "covariates=x"]
    assert main(["estimate", "group_time_att", str(path), "--set", *settings]) == 0
    said = capsys.readouterr().out
    assert "check cells_not_supported: informative (7)\n  only 1 unit in the cohort" in said
    assert "check collinear_covariates: informative (1)\n  x" in said


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize("divisor", ["leverage", "g"])
@pytest.mark.parametrize("comparison", ["never", "not_yet"])
def test_influence_summed_over_cells_is_that_written_down(method, divisor, comparison, monkeypatch):
    design = make_rollout(400, seed=5)
    rng = np.random.default_rng(5)
    whole = np.isfinite(design.outcomes).all(axis=(1, 2))
    design = replace(
        design,
        outcomes=np.where(
            whole[:, None, None], design.outcomes, rng.normal(size=design.outcomes.shape)
        ),
        weight=rng.uniform(0.5, 2, design.n),
        cluster=np.arange(design.n) // 3,
        cluster_kind="three",
    )
    found = []
    for least in (1, 10_000):
        monkeypatch.setattr("tiltakeval.estimators.did.level.SUMMED_FROM", least)
        options = {"method": method, "divisor": divisor, "comparison": comparison}
        found.append(build("group_time_att", bands=False, **options).estimate(design))
    one, two = found
    assert one.table["estimate"].to_numpy() == pytest.approx(
        two.table["estimate"].to_numpy(), rel=1e-10, abs=1e-12, nan_ok=True
    )
    assert one.influence is not None and two.influence is not None
    for block, z in two.influence.values.items():
        assert one.influence.values[block] == pytest.approx(z, rel=1e-8, abs=1e-12)
