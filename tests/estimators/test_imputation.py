"""Imputation and two stages: published packages' numbers, dense regressions, a truth, awkward input."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_rollouts import COHORTS, PERIODS, effect, make_rollout

from tiltakeval.cli import main
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.diagnostics.honest.checks import pretrend_power, robust_to_trends
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build

KEYS = ("did_imputation", "two_stage")
SETS = {
    "mpdta": {
        "unit": "countyreal", "period": "year", "outcome": "lemp", "first": "first_treat",
    },
    "castle": {"unit": "sid", "period": "year", "outcome": "l_homicide", "treated": "post"},
}  # fmt: skip


def run(design: StaggeredPanel, key: str = "did_imputation", **options: object) -> Estimates:
    return build(key, **{"bands": False, **options}).estimate(design)


def plain(design: StaggeredPanel, covariates: bool = False) -> StaggeredPanel:
    """Without subgroups, and without covariates unless asked for."""
    design = replace(design, subgroups={})
    if covariates:
        return design
    return replace(design, covariates=np.zeros((design.n, 0)), covariate_names=())


@pytest.mark.parametrize("name", list(SETS))
@pytest.mark.parametrize(("what", "key"), [("bjs", "did_imputation"), ("did2s", "two_stage")])
def test_every_reference_line(shared: Path, name: str, what: str, key: str) -> None:
    lines = [json.loads(s) for s in (shared / "reference" / "did.jsonl").read_text().splitlines()]
    design = staggered_from_frame(pd.read_csv(shared / "data" / f"{name}.csv"), **SETS[name])
    # castle has cohorts of one state, which the packages average over too
    table = run(design, key, divisor="g", min_clusters=1).table
    compared = 0
    for line in lines:
        if (line["data"], line.get("what")) != (name, what) or not line.get("se"):
            continue
        rows = table[table.term == "effect_overall"]
        if line["key"] != "all":
            rows = table[table.term == "effect_by_event_time"]
            rows = rows[rows.horizon == int(line["key"])]
        # did_imputation and pyfixest stop iterating at 1e-8 of the outcome: see the dense regression
        close = 1e-10 if line["peer"] == "diff_diff" else 1e-7
        assert abs(rows.estimate.iloc[0] - line["est"]) < close, line
        assert abs(rows.std_error.iloc[0] - line["se"]) < close / 100, line
        compared += 1
    assert compared >= 5


@dataclass(frozen=True)
class Dense:
    """Imputation by a regression on every dummy; rows are unit by unit."""

    design: StaggeredPanel
    x: np.ndarray
    used: np.ndarray
    tau: np.ndarray
    w: np.ndarray
    unit: np.ndarray
    when: np.ndarray

    def cell(self, g: float, t: int) -> np.ndarray:
        first = self.design.first[self.unit]
        return (first == g) & (PERIODS[self.when] == t) & np.isfinite(self.tau)

    def post(self) -> np.ndarray:
        return np.isfinite(self.tau) & (PERIODS[self.when] >= self.design.first[self.unit])

    def weights(self, a: np.ndarray) -> np.ndarray:
        """The linear estimator's weight of every row when treated rows' effects weigh ``a``."""
        xu = self.x[self.used]
        gram = xu.T @ (xu * self.w[self.used, None])
        v = a.copy()
        v[self.used] = -self.w[self.used] * (xu @ (np.linalg.pinv(gram) @ (self.x.T @ a)))
        return v

    def error(
        self,
        a: np.ndarray,
        label: np.ndarray,
        *,
        leave_one_out: bool = False,
        plain: bool = False,
    ) -> float:
        """The conservative error with effects averaged over the ``label`` [rows] (-1: no row)."""
        v = self.weights(a)
        cluster = self.design.cluster[self.unit]
        sums = np.bincount(cluster[self.used], (v * self.tau)[self.used], cluster.max() + 1)
        for one in np.unique(label[label >= 0]):
            own = label == one
            weight = np.bincount(cluster[own], v[own], cluster.max() + 1)
            value = np.bincount(cluster[own], (v * self.tau)[own], cluster.max() + 1)
            mean = value.sum() / weight.sum() if plain else weight @ value / (weight @ weight)
            apart = value - weight * mean
            if leave_one_out:
                apart /= 1 - weight**2 / (weight @ weight)
            sums += apart
        return float(np.sqrt(sums @ sums))


def dense(design: StaggeredPanel, covariates: str = "none", anticipation: int = 0) -> Dense:
    n, periods = design.n, PERIODS.size
    unit, when = np.divmod(np.arange(n * periods), periods)
    y = design.outcomes[:, :, 0].ravel()
    columns = [np.eye(n)[unit], np.eye(periods)[when]]
    for x in design.covariates.T:
        if covariates == "by_period":
            columns.append(x[unit, None] * np.eye(periods)[when])
        elif covariates == "linear":
            columns.append((x[unit] * when)[:, None])
    x = np.hstack(columns)
    used = np.isfinite(y) & (PERIODS[when] < design.first[unit] - anticipation)
    w = design.weight[unit]
    root = np.sqrt(w[used])[:, None]
    coef = np.linalg.lstsq(x[used] * root, y[used] * root[:, 0], rcond=None)[0]
    told = np.isin(unit, unit[used])
    return Dense(design, x, used, np.where(told, y - x @ coef, np.nan), w, unit, when)


@pytest.mark.parametrize("covariates", ["none", "by_period", "linear"])
@pytest.mark.parametrize("clusters", [None, 12])
def test_it_is_the_dense_regression_with_its_exact_weights(
    covariates: str, clusters: int | None
) -> None:
    design = plain(make_rollout(60, seed=1, missing=0.15, clusters=clusters), covariates != "none")
    if clusters is None:  # one unit that isn't seen untreated, on every side of the comparison
        lost = np.flatnonzero(design.first == 4)[0]
        design.outcomes[lost, :3] = np.nan
    full = dense(design, covariates)
    option = "by_period" if covariates == "none" else covariates
    table = run(design, covariates=option, divisor="g").table
    cells = table[(table.term == "effect")]
    assert len(cells) == 8 and (cells.status == "ok").all()
    label = np.where(full.post(), full.design.first[full.unit] * 100 + full.when, -1).astype(int)
    label[~full.post()] = -1
    for row in cells.itertuples():
        a = full.w * full.cell(float(row.cohort), int(row.period))
        a /= a.sum()
        np.testing.assert_allclose(row.estimate, np.nansum(a * full.tau), atol=1e-9)
        np.testing.assert_allclose(
            row.std_error, full.error(a, np.where(a > 0, label, -1)), rtol=1e-8
        )
    overall = table[table.term == "effect_overall"].iloc[0]
    a = full.w * full.post() / (full.w * full.post()).sum()
    np.testing.assert_allclose(overall.estimate, np.nansum(a * full.tau), atol=1e-9)
    np.testing.assert_allclose(overall.std_error, full.error(a, label), rtol=1e-8)
    later = PERIODS[full.when] - np.where(np.isinf(design.first), 99, design.first)[full.unit]
    labels = {
        "event_time": np.where(full.post(), later, -1).astype(int),
        "cohort": np.where(full.post(), label // 100, -1),
        "treated": np.where(full.post(), 0, -1),
    }
    for auxiliary, shared in labels.items():
        found = run(design, covariates=option, auxiliary=auxiliary, divisor="g").table
        row = found[found.term == "effect_overall"].iloc[0]
        np.testing.assert_allclose(row.std_error, full.error(a, shared), rtol=1e-8)
        found = run(
            design, covariates=option, auxiliary=auxiliary, auxiliary_mean="plain", divisor="g"
        ).table
        row = found[found.term == "effect_overall"].iloc[0]
        np.testing.assert_allclose(row.std_error, full.error(a, shared, plain=True), rtol=1e-8)
    out = run(design, covariates=option, leave_one_out=True, divisor="g").table
    row = out[out.term == "effect_overall"].iloc[0]
    np.testing.assert_allclose(row.std_error, full.error(a, label, leave_one_out=True), rtol=1e-8)
    assert row.std_error > overall.std_error


def test_two_stage_errors_are_those_of_the_stacked_moments() -> None:
    design = plain(make_rollout(50, seed=2, missing=0.1), covariates=True)
    full = dense(design, "by_period")
    seen = np.isfinite(full.tau)
    table = run(design, "two_stage", divisor="g").table
    event = PERIODS[full.when] - np.where(np.isinf(design.first), 99, design.first)[full.unit]
    terms = {"effect_overall": full.post()[:, None] * 1.0}
    terms["effect_by_event_time"] = (event[:, None] == np.arange(5)) * 1.0
    x1 = np.where(full.used[:, None], full.x, 0.0)
    for term, x2 in terms.items():
        x2 = np.where(seen[:, None], x2, 0.0)
        tau = np.where(seen, full.tau, 0.0)
        bread = np.linalg.inv(x2.T @ (x2 * full.w[:, None]))
        beta = bread @ (x2.T @ (full.w * tau))
        rows = table[(table.term == term) & ~(table.horizon < 0).fillna(False)]
        np.testing.assert_allclose(rows.estimate, beta, atol=1e-9)
        second = x2 * (full.w * (tau - x2 @ beta))[:, None]
        gram = np.linalg.pinv(x1.T @ (x1 * full.w[:, None]))
        cross = np.where(seen[:, None], full.x, 0.0).T @ (x2 * full.w[:, None])
        first = (x1 * (full.w * np.where(full.used, full.tau, 0.0))[:, None]) @ gram @ cross
        sums = np.zeros((design.n, x2.shape[1]))
        np.add.at(sums, full.unit, second - first)
        errors = np.sqrt(np.diag(bread @ sums.T @ sums @ bread))
        np.testing.assert_allclose(rows.std_error, errors, rtol=1e-8)


@pytest.mark.parametrize("covariates", [False, True])
def test_trends_before_treatment_are_a_regression_of_untreated_rows(covariates: bool) -> None:
    design = plain(make_rollout(70, seed=3, missing=0.1), covariates)
    full = dense(design, "by_period" if covariates else "none", anticipation=1)
    table = run(design, anticipation=1, leads=2, divisor="g").table
    rows = table[(table.term == "effect_by_event_time") & (table.horizon < -1)]
    assert rows.horizon.tolist() == [-2, -3]
    event = PERIODS[full.when] - np.where(np.isinf(design.first), 99, design.first)[full.unit]
    leads = (event[:, None] == [-2, -3]) * 1.0
    x = np.hstack([leads, full.x])[full.used]
    w = full.w[full.used]
    y = design.outcomes[:, :, 0].ravel()[full.used]
    gram = np.linalg.pinv(x.T @ (x * w[:, None]))
    coef = gram @ (x.T @ (w * y))
    np.testing.assert_allclose(rows.estimate, coef[:2], atol=1e-8)
    sums = np.zeros((design.n, 2))
    np.add.at(sums, full.unit[full.used], (x * (w * (y - x @ coef))[:, None]) @ gram[:, :2])
    np.testing.assert_allclose(rows.std_error, np.sqrt((sums**2).sum(axis=0)), rtol=1e-7)
    early = table[(table.term == "effect") & (table.horizon == -1)]
    assert set(early.cohort) == {"4", "6"}  # anticipation: imputed like effects
    post = table[(table.term == "effect_by_event_time") & (table.horizon == 0)].iloc[0]
    a = full.w * (event == 0) * np.isfinite(full.tau)
    np.testing.assert_allclose(post.estimate, np.nansum(a * full.tau) / a.sum(), atol=1e-9)


@pytest.mark.parametrize("key", KEYS)
def test_the_truth_is_found_and_held_as_often_as_said(key: str) -> None:
    off, inside = [], []
    for seed in range(200):
        design = plain(make_rollout(160, seed=seed, missing=0.1, trend=0.2), covariates=True)
        table = run(design, key).select(term="effect_by_event_time").table
        table = table[table.horizon >= 0]
        wanted = []
        for e in table.horizon:
            rows = [
                (
                    design.weight[
                        (design.first == g) & np.isfinite(design.outcomes[:, int(g + e) - 1, 0])
                    ].sum(),
                    g,
                )
                for g in COHORTS[:2]
                if g + e in PERIODS
            ]
            share = np.array([size for size, _ in rows])
            wanted.append(share @ [effect(g, int(g + e)) for _, g in rows] / share.sum())
        off.append(table.estimate.to_numpy() - wanted)
        inside.append((table.conf_low <= wanted) & (wanted <= table.conf_high))
    off = np.array(off)
    assert (np.abs(off.mean(axis=0)) < 3.5 * off.std(axis=0) / np.sqrt(len(off))).all()
    assert 0.925 < np.mean(inside) < 0.975


def test_it_is_tighter_than_group_time_effects_where_trends_hold_throughout() -> None:
    design = plain(make_rollout(2000, seed=4, trend=0.0))
    mine = run(design).select(term="effect_overall").table.std_error[0]
    theirs = build("group_time_att", bands=False).estimate(design)
    assert mine < 0.9 * theirs.select(term="effect_overall").table.std_error[0]


def test_averages_weigh_treated_rows() -> None:
    design = make_rollout(300, seed=5, missing=0.3)
    found = run(design).select(subgroup="all").table
    cells = found[(found.term == "effect") & (found.horizon >= 0)]
    rows = [
        design.weight[
            (design.first == float(c.cohort))
            & np.isfinite(design.outcomes[:, int(c.period) - 1, 0])
            & (np.isfinite(design.outcomes[:, :, 0]) & (float(c.cohort) > PERIODS)).any(axis=1)
        ].sum()
        for c in cells.itertuples()
    ]
    overall = found[found.term == "effect_overall"].estimate.iloc[0]
    np.testing.assert_allclose(overall, np.average(cells.estimate, weights=rows))
    path = found[found.term == "cumulated_path"].estimate
    event = found[(found.term == "effect_by_event_time") & (found.horizon >= 0)].estimate
    np.testing.assert_allclose(path, event.cumsum())
    balanced = run(design, balance=2).select(subgroup="all", term="effect_by_event_time").table
    assert balanced.horizon[balanced.horizon >= 0].tolist() == [0, 1, 2]


def test_weights_are_numbers_of_units_and_subgroups_stand_alone() -> None:
    design = make_rollout(150, seed=6)
    times = np.random.default_rng(0).integers(1, 4, design.n)
    names = ("outcomes", "first", "covariates", "cluster")
    bare = replace(design, subgroups={})
    weighted = run(replace(bare, weight=times.astype(float))).table
    repeated = {k: np.repeat(getattr(design, k), times, axis=0) for k in names}
    many = run(replace(bare, weight=np.ones(int(times.sum())), **repeated)).table
    np.testing.assert_allclose(weighted.estimate, many.estimate, atol=1e-9)
    np.testing.assert_allclose(weighted.std_error, many.std_error, rtol=1e-7)
    inside = design.subgroups["sex"].codes == 1
    part = {k: getattr(design, k)[inside] for k in (*names, "weight")}
    alone = run(replace(bare, **part), divisor="g").table
    among = run(design, divisor="g").select(subgroup="sex=b").table
    np.testing.assert_allclose(alone.estimate, among.estimate, atol=1e-9)
    np.testing.assert_allclose(alone.std_error, among.std_error, rtol=1e-8)


def test_rows_that_cant_be_imputed_are_left_out_and_counted() -> None:
    design = plain(make_rollout(80, seed=7))
    never_seen = np.flatnonzero(design.first == 4)[:3]
    y = design.outcomes.copy()
    y[never_seen, :3] = np.nan
    found = run(replace(design, outcomes=y))
    assert (found.table.status == "ok").all()
    lost = found.run["not_imputed"]
    assert {row["units"] for row in lost} == {3} and {row["cohort"] for row in lost} == {"4"}
    said = next(c for c in rollout(estimates=found) if c.key == "rows_not_imputed")
    assert said.statistic == 3 and said.message["cells"] == len(lost) == 5
    keep = np.setdiff1d(np.arange(design.n), never_seen)
    names = ("outcomes", "first", "covariates", "weight")
    part = {k: getattr(design, k)[keep] for k in names}
    without = run(replace(design, cluster=np.arange(keep.size), **part))
    same = found.table.term != "effect_over_cohorts"  # cohorts weigh by all their units
    np.testing.assert_allclose(found.table.estimate[same], without.table.estimate[same], atol=1e-10)
    y[design.first == 4, :3] = np.nan
    gone = run(replace(design, outcomes=y))
    cells = gone.select(term="effect").table
    assert set(cells.status[cells.cohort == "4"]) == {"not_supported"}
    assert set(cells.status[cells.cohort == "6"]) == {"ok"}
    reasons = {row["reason"] for row in gone.run["not_supported"]}
    assert reasons == {"no unit of the cohort is seen before treatment"}


def test_what_no_untreated_row_tells_is_not_imputed() -> None:
    design = plain(make_rollout(80, seed=8))
    everybody = replace(design, first=np.where(np.isinf(design.first), 6.0, design.first))
    for key in KEYS:
        found = run(everybody, key)
        cells = found.select(term="effect").table
        late = cells.period.astype(int) >= 6
        assert set(cells.status[late]) == {"not_supported"} and set(cells.status[~late]) == {"ok"}
        assert {r["reason"] for r in found.run["not_supported"] if r["cohort"]} == {
            "no untreated unit is seen in the period"
        }
        rows = found.table
        assert rows.estimate[rows.status == "ok"].notna().all()
        assert rows.std_error[rows.status == "ok"].notna().all()
    y = design.outcomes.copy()
    y[np.isinf(design.first), :5] = np.nan  # nobody is seen on both sides of period 5
    y[design.first == 6] = np.nan
    apart = run(replace(design, outcomes=y)).select(term="effect").table
    cells = apart[apart.cohort == "4"]
    assert (cells.status[cells.period.astype(int) > 5] == "not_supported").all()
    y = design.outcomes.copy()
    y[:, 5] = np.nan  # a period without rows
    blank = run(replace(design, outcomes=y)).select(term="effect").table
    assert set(blank.status[blank.period == "6"]) == {"not_supported"}
    assert set(blank.status[blank.period != "6"]) == {"ok"}


def test_covariates_that_few_untreated_units_bear() -> None:
    design = plain(make_rollout(120, seed=9), covariates=True)
    y = design.outcomes.copy()
    y[np.flatnonzero(np.isinf(design.first))[2:], 7] = np.nan  # two left for three coefficients
    found = run(replace(design, outcomes=y))
    cells = found.select(term="effect").table
    assert set(cells.status[cells.period == "8"]) == {"not_supported"}
    assert set(cells.status[cells.period != "8"]) == {"ok"}
    assert "too few untreated units" in found.run["not_supported"][0]["reason"]
    line = run(replace(design, outcomes=y), covariates="linear").select(term="effect").table
    assert set(line.status) == {"ok"}
    twice = replace(
        design,
        covariates=np.column_stack([design.covariates, design.covariates @ [1.0, 2.0]]),
        covariate_names=("x0", "x1", "sum"),
    )
    again = run(twice)
    np.testing.assert_allclose(again.table.estimate, run(design).table.estimate, atol=1e-9)
    assert again.run["collinear"] == ["sum"]


def test_a_cohort_of_one_has_no_error_of_its_own() -> None:
    design = plain(make_rollout(60, seed=10))
    one = np.flatnonzero(design.first == 4)
    first = design.first.copy()
    first[one[1:]] = np.inf
    lonely = replace(design, first=first)
    cells = run(lonely).select(term="effect").table
    assert set(cells.status[cells.cohort == "4"]) == {"not_supported"}
    small = run(lonely, min_clusters=1).select(term="effect").table
    assert set(small.status) == {"ok"}
    left = run(lonely, min_clusters=1, leave_one_out=True).select(term="effect").table
    assert set(left.status[left.cohort == "4"]) == {"not_supported"}


def test_many_units_are_dealt_into_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    design = plain(make_rollout(6000, seed=11), covariates=True)
    exact = run(design)
    monkeypatch.setattr("tiltakeval.estimators.did.result.EXACT_BELOW", 0)
    few = run(design)
    assert few.influence.groups == 2000 < exact.influence.groups
    np.testing.assert_allclose(few.table.estimate, exact.table.estimate)
    np.testing.assert_allclose(few.table.std_error, exact.table.std_error, rtol=0.1)


def test_bands_and_several_outcomes() -> None:
    design = plain(make_rollout(100, seed=12))
    both = np.concatenate([design.outcomes, 2 * design.outcomes], axis=2)
    design = replace(design, outcomes=both, outcome_names=("one", "two"), units=("nok", "nok"))
    found = build("did_imputation").estimate(design)
    table = found.table
    event = table[table.term == "effect_by_event_time"]
    assert (event.band_high >= event.conf_high).all()
    one, two = (table[table.outcome == name] for name in ("one", "two"))
    np.testing.assert_allclose(2 * one.estimate.to_numpy(), two.estimate)
    np.testing.assert_allclose(2 * one.std_error.to_numpy(), two.std_error)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"covariates": "freely"}, "covariates"),
        ({"anticipation": -1}, "anticipation"),
        ({"leads": -1}, "leads"),
        ({"leads": 5}, "Ask for at most 4"),
        ({"balance": 9}, "The longest follow-up is 4"),
        ({"min_clusters": 0}, "min_clusters"),
        ({"divisor": "n"}, "divisor"),
        ({"level": 95}, "level"),
    ],
)
def test_options_that_make_no_sense(key: str, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(make_rollout(60), key, **options)


def test_auxiliaries_there_are_and_are_not() -> None:
    with pytest.raises(InputError, match="auxiliary"):
        run(make_rollout(60), auxiliary="cohorts")
    with pytest.raises(InputError, match="auxiliary_mean"):
        run(make_rollout(60), auxiliary_mean="median")
    with pytest.raises(InputError, match="leave_one_out"):
        run(make_rollout(60), auxiliary="event_time", leave_one_out=True)


@pytest.mark.parametrize("key", KEYS)
def test_from_the_command_line(shared: Path, capsys: pytest.CaptureFixture, key: str) -> None:
    path = str(shared / "data" / "mpdta.csv")
    settings = ["unit=countyreal", "time=year", "cohort=first_treat", "outcome=lemp"]
    assert main(["estimate", key, path, "--json", "--set", *settings]) == 0
    found = json.loads(capsys.readouterr().out)
    overall = next(r for r in found["estimates"] if r["term"] == "effect_overall")
    assert abs(overall["estimate"] + 0.0477099183) < 1e-9
    tests = [c for c in found["checks"] if c["key"] == "pretrend"]
    assert any(c["statistic"] is not None for c in tests)
    assert main(["estimate", key, path, "--set", *settings, "covariates=income"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("key", KEYS)
def test_checks_of_one_base_say_why_imputation_has_none(key):
    found = run(plain(make_rollout(200, seed=1)), key)
    for check in (robust_to_trends, pretrend_power):
        said = check(estimates=found)
        assert {one.status for one in said} == {"not_evaluated"}
        assert "no one base period" in said[0].message["why"]
        assert "group_time_att" in said[0].message["why"]


@pytest.mark.parametrize("options", [{"key": "two_stage"}, {"auxiliary_mean": "plain"}], ids=str)
def test_errors_clustered_two_ways_are_the_sum_less_those_of_the_crossing(options):
    design = plain(make_rollout(200, seed=1))
    rng = np.random.default_rng(1)
    office, county = (
        np.unique(rng.integers(0, most, design.n), return_inverse=True)[1] for most in (30, 15)
    )
    both = np.unique(office * 100 + county, return_inverse=True)[1]

    def variance(cluster, other=None):
        found = run(replace(design, cluster=cluster, other_cluster=other), divisor="g", **options)
        rows = found.select(term="effect_by_event_time", status="ok").table
        return rows["std_error"].to_numpy() ** 2

    wanted = variance(office) + variance(county) - variance(both)
    there = wanted > 0  # else it is that of the fewer clusters
    assert there.sum() > 5
    assert variance(county, office)[there] == pytest.approx(wanted[there], rel=1e-9)


def test_leaving_out_clusters_is_for_one_clustering():
    design = plain(make_rollout(200, seed=1))
    with pytest.raises(InputError, match="one clustering"):
        run(replace(design, other_cluster=design.cluster), leave_one_out=True)
