"""Inference with few clusters: published numbers, brute force, and the design's own counts."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_rollouts import make_rollout
from scipy import stats

from tiltakeval.cli import main
from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.diagnostics.treated_clusters import treated_clusters
from tiltakeval.errors import InputError
from tiltakeval.estimates.few_clusters.effective import count_sides, effective_number
from tiltakeval.estimates.few_clusters.moments import moments_of_rows
from tiltakeval.estimates.few_clusters.robust import cr1
from tiltakeval.estimates.few_clusters.wild import wild_of_regression
from tiltakeval.estimators import build
from tiltakeval.estimators.did.few_clusters.inference import Choice, FewClusters
from tiltakeval.estimators.did.few_clusters.permutation import (
    assignments,
    count_assignments,
    strata_of,
)
from tiltakeval.estimators.did.few_clusters.regression import static_moments
from tiltakeval.estimators.did.few_clusters.rows import some_units, start_of_cluster


def test_effective_number_is_that_of_carter_schnepel_and_steigerwald() -> None:
    rng = np.random.default_rng(0)
    gamma = rng.uniform(0.1, 3, 17)
    spread = ((gamma - gamma.mean()) ** 2).mean() / gamma.mean() ** 2
    np.testing.assert_allclose(effective_number(gamma), 17 / (1 + spread))
    assert effective_number(np.ones(12)) == 12
    assert np.isnan(effective_number(np.zeros(3)))


def test_effective_number_of_two_sides_is_that_of_the_regression() -> None:
    """gamma = a'X_g' 1 1' X_g a for the least-squares slope of a 0/1 regressor, worst case."""
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 14, 300)
    treated = np.isin(cluster, [1, 5, 9])
    x = np.column_stack([np.ones(300), treated])
    a = np.linalg.inv(x.T @ x)[1]
    gamma = np.array([(x[cluster == g] @ a).sum() ** 2 for g in range(14)])
    sides = count_sides(treated, cluster, np.ones(300))
    np.testing.assert_allclose(sides.effective, effective_number(gamma))
    assert (sides.clusters, sides.treated, sides.comparison, sides.both) == (14, 3, 11, 0)
    mixed = count_sides(rng.random(300) < 0.5, cluster, np.ones(300))
    assert mixed.both == 14 and 8 < mixed.effective <= 14


def test_few_treated_clusters_are_said() -> None:
    design = make_rollout(300, seed=1, clusters=30)
    good = treated_clusters(design=design)[0]
    assert good.status == "passed" and good.statistic == 10 and good.message["treated"] == 20
    start = np.where(np.isin(design.cluster, [0, 1, 2]), 4.0, np.inf)
    few = treated_clusters(design=replace(design, first=start))[0]
    assert few.status == "failed" and "G1 = 3" in few.message["said"]
    assert few.message["effective"] < 8 and "permutation" in few.message["advice"]
    assert few.detail is not None and few.detail.n_clusters.tolist() == [3, 27]
    late = replace(design, first=np.where(design.first == np.inf, 8.0, design.first))
    assert treated_clusters(design=late)[0].message["comparison"] == 10


def two_periods(seed: int, treated: int, clusters: int, *, size: int = 1, effect: float = 0.5):
    """A two-period roll-out of whole clusters of ``size`` units, effects of clusters on changes."""
    rng = np.random.default_rng(seed)
    n = clusters * size
    cluster = np.repeat(np.arange(clusters), size)
    first = np.where(rng.permutation(clusters) < treated, 2.0, np.inf)[cluster]
    y = rng.normal(size=(n, 2)) + rng.normal(size=(clusters, 2))[cluster]
    y[:, 1] += effect * np.isfinite(first)
    return StaggeredPanel(
        outcomes=y[:, :, None], outcome_names=("y",), units=("points",), periods=np.array([1, 2]),
        first=first, covariates=np.zeros((n, 0)), covariate_names=(), weight=np.ones(n),
        cluster=cluster, subgroups={}, population="invented", cluster_kind="office",
    )  # fmt: skip


def few(key: str = "group_time_att", **options: object) -> FewClusters:
    names = {f.name for f in fields(Choice)}
    own = {k: v for k, v in options.items() if k not in names}
    choice = Choice(**{k: v for k, v in options.items() if k in names})  # type: ignore[arg-type]
    return FewClusters(estimator=build(key, **own), choice=choice, key=key)


def overall(found):
    return found.select(term="effect_overall").table.iloc[0]


def test_bootstrap_t_is_the_unrestricted_wild_bootstrap_where_there_are_two_means() -> None:
    design = two_periods(2, treated=6, clusters=15)
    got = overall(few(inference="bootstrap_t", divisor="g_minus_1").estimate(design))
    change = np.diff(design.outcomes[:, :, 0], axis=1)[:, 0]
    x = np.column_stack([np.ones(15), np.isfinite(design.first)])
    wild = wild_of_regression(moments_of_rows(x, change, design.cluster), np.array([0.0, 1.0]))
    same = wild.replications(restricted=False, weights="webb")
    np.testing.assert_allclose(got.estimate, same.estimate)
    np.testing.assert_allclose(got.p_value, same.p_value())
    t = np.quantile(np.abs(same.n0) / np.sqrt(same.q[0]), 0.95)
    np.testing.assert_allclose(got.conf_high - got.estimate, t * got.std_error)


def test_bootstrap_t_is_seeded_and_its_bands_are_wider_than_its_intervals() -> None:
    design = replace(make_rollout(400, seed=4, clusters=24), subgroups={})
    one = few(inference="bootstrap_t", seed=3).estimate(design)
    again = few(inference="bootstrap_t", seed=3).estimate(design)
    other = few(inference="bootstrap_t", seed=4).estimate(design)
    assert one.table.equals(again.table) and not one.table.equals(other.table)
    plain = build("group_time_att", seed=3).estimate(design).table
    event = one.table.term == "effect_by_event_time"
    assert (one.table.band_high[event] >= one.table.conf_high[event] - 1e-12).all()
    np.testing.assert_array_equal(one.table.std_error, plain.std_error)
    assert one.run["inference"]["method"] == "bootstrap_t"
    wide = (one.table.conf_high - one.table.conf_low)[event].mean()
    assert wide > (plain.conf_high - plain.conf_low)[event].mean()


def test_the_jackknife_leaves_clusters_out() -> None:
    design = replace(make_rollout(200, seed=5, clusters=12), subgroups={})
    got = few(inference="jackknife", bands=False).estimate(design)
    left = []
    for g in range(12):
        part = some_units(design, design.cluster != g)
        left.append(overall(build("group_time_att", bands=False).estimate(part)).estimate)
    row = overall(got)
    np.testing.assert_allclose(row.std_error**2, 11 / 12 * ((left - row.estimate) ** 2).sum())
    assert (
        row.std_error
        > overall(build("group_time_att", divisor="g_minus_1").estimate(design)).std_error
    )
    np.testing.assert_allclose(row.conf_high, row.estimate + stats.t.ppf(0.975, 11) * row.std_error)


def test_a_row_that_hangs_on_one_cluster_has_no_jackknife_and_says_so() -> None:
    design = two_periods(3, treated=1, clusters=8, size=3)
    got = few(inference="jackknife", min_clusters=1).estimate(design)
    assert np.isnan(overall(got).std_error) and np.isnan(overall(got).conf_low)
    assert "no error" in got.run["inference"]["said"][0]


def test_permutation_of_two_means_is_fishers_test() -> None:
    design = two_periods(6, treated=2, clusters=7)
    change = np.diff(design.outcomes[:, :, 0], axis=1)[:, 0]
    own = np.isfinite(design.first)
    pairs = [np.isin(np.arange(7), pair) for pair in combinations(range(7), 2)]

    def p_value(null: float, studentised: bool) -> float:
        y = change - null * own

        def statistic(side: np.ndarray) -> float:
            gap = y[side].mean() - y[~side].mean()
            if not studentised:
                return abs(gap)
            left = [((y[s] - y[s].mean()) ** 2).sum() / s.sum() ** 2 for s in (side, ~side)]
            return abs(gap) / np.sqrt(sum(left))

        return float(np.mean([statistic(s) >= statistic(own) * (1 - 1e-9) for s in pairs]))

    for studentised in (True, False):
        found = few(
            inference="permutation", studentised=studentised, level=0.8, divisor="g_minus_1"
        ).estimate(design)
        row = overall(found)
        np.testing.assert_allclose(row.p_value, p_value(0.0, studentised))
        for end, inwards in ((row.conf_low, 1e-6), (row.conf_high, -1e-6)):
            assert p_value(end + inwards, studentised) > 0.2 >= p_value(end - inwards, studentised)
        assert "21 dealings of start dates, all there are" in found.run["inference"]["said"][0]


def test_permutation_of_a_staggered_roll_out_holds_within_strata_and_by_seed() -> None:
    design = make_rollout(120, seed=7, clusters=12)
    half = Subgroup(levels=("north", "south"), codes=design.cluster % 2)
    design = replace(design, subgroups={"area": half}, covariates=np.zeros((120, 0)),
                     covariate_names=())  # fmt: skip
    start = start_of_cluster(design)
    ways, exact = assignments(start, strata_of(design, "area"), draws=50, seed=1)
    dealt = list(ways)
    assert len(dealt) == 50 and not exact
    for way in dealt:
        assert sorted(way[::2]) == sorted(start[::2]) and sorted(way[1::2]) == sorted(start[1::2])
    again, _ = assignments(start, strata_of(design, "area"), draws=50, seed=1)
    np.testing.assert_array_equal(dealt, list(again))
    small = replace(design, subgroups={})
    one = few(inference="permutation", replications=99, seed=2).estimate(small)
    row = overall(one)
    assert row.conf_low < row.estimate < row.conf_high
    assert (row.p_value > 0.05) == (row.conf_low < 0 < row.conf_high)
    before = one.select(term="effect_by_event_time").table
    before = before[before.horizon < 0]
    assert before.p_value.notna().all() and before.conf_low.isna().all()
    path = one.select(term="cumulated_path", horizon=1).table.iloc[0]
    assert path.conf_low < path.estimate < path.conf_high


@pytest.mark.parametrize(("draws", "wanted"), [(999, 90), (50, 50)])
def test_all_dealings_are_tried_where_they_are_few(draws: int, wanted: int) -> None:
    start = np.array([2.0, 2.0, 3.0, np.inf, np.inf, np.inf, 4.0, np.inf])
    strata = np.array([0, 0, 0, 1, 0, 0, 1, 1])  # 5!/(2! 2! 1!) times 3
    assert count_assignments(start, strata) == 90
    ways, exact = assignments(start, strata, draws=draws, seed=0)
    dealt = np.array(list(ways))
    assert len(dealt) == wanted and exact == (wanted == 90)
    if exact:
        assert len(np.unique(dealt, axis=0)) == 90
        assert (dealt == start).all(axis=1).any()


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_regression_by_cluster_is_twfe(missing: float) -> None:
    design = replace(make_rollout(150, seed=8, clusters=15, missing=missing), subgroups={})
    plain = overall(build("twfe").estimate(design))
    moments, combination, _ = static_moments(design, np.ones(150, dtype=bool), 0)
    np.testing.assert_allclose(cr1(moments, combination).estimate, plain.estimate)
    np.testing.assert_allclose(cr1(moments, combination).std_error, plain.std_error)
    left = overall(few("twfe", inference="cr3").estimate(design))
    again = overall(few("twfe", inference="jackknife").estimate(design))
    np.testing.assert_allclose(left.std_error, again.std_error)
    np.testing.assert_allclose(left.conf_low, again.conf_low)
    bell = few("twfe", inference="cr2").estimate(design)
    assert overall(bell).conf_high - overall(bell).conf_low > plain.conf_high - plain.conf_low
    assert "clusters in effect" in bell.run["inference"]["said"][0]
    assert "degrees of freedom" in bell.run["inference"]["said"][1]
    wild = overall(few("twfe", inference="wild").estimate(design))
    assert wild.conf_low < wild.estimate < wild.conf_high and 0 < wild.p_value <= 1


@pytest.mark.parametrize("key", ["group_time_att", "etwfe", "twfe", "sun_abraham"])
def test_errors_both_ways_are_the_sum_of_both_less_that_of_pairs(key: str) -> None:
    """Cameron, Gelbach & Miller (2011), eq. 2.11, each term with G / (G - 1) of the fewer clusters."""
    design = replace(make_rollout(240, seed=11, clusters=24), subgroups={})
    trade = np.random.default_rng(0).integers(0, 33, 240)
    options = {"divisor": "g_minus_1"} if key == "group_time_att" else {}
    found = build(key, **options).estimate(replace(design, other_cluster=trade))

    def variance(cluster: np.ndarray, of: str) -> float:
        alone = build(key, **options).estimate(replace(design, cluster=cluster))
        z = alone.influence.columns(alone.positions(term=of))[:, 0]
        return float(z @ z)

    term = "effect_overall" if key != "sun_abraham" else "effect_over_event_times"
    pairs = np.unique(design.cluster * 100 + trade, return_inverse=True)[1]
    total = sum(s * variance(c, term) for s, c in ((1, design.cluster), (1, trade), (-1, pairs)))
    row = found.select(term=term).table.iloc[0]
    np.testing.assert_allclose(row.std_error**2, total * 24 / 23, rtol=1e-9)
    assert found.influence.form is not None
    assert rollout(estimates=found)
    with pytest.raises(InputError, match="for one clustering"):
        few(key, inference="jackknife").estimate(replace(design, other_cluster=trade))


def test_two_clusters_from_a_file() -> None:
    rng = np.random.default_rng(3)
    rows = [
        {"u": u, "t": t, "start": 2 if u < 20 else None, "y": rng.normal(), "office": u % 9,
         "trade": u % 7} for u in range(40) for t in (1, 2)
    ]  # fmt: skip
    df = pd.DataFrame(rows)
    design = staggered_from_frame(
        df, unit="u", period="t", first="start", outcome="y", cluster="office,trade"
    )
    assert design.cluster_kind == "office_trade" and design.other_cluster is not None
    assert (design.cluster == np.arange(40) % 7).all()  # the fewer
    assert (design.other_cluster == np.arange(40) % 9).all()
    with pytest.raises(InputError, match="two at most"):
        staggered_from_frame(
            df, unit="u", period="t", first="start", outcome="y", cluster="office,trade,u"
        )


def test_choices_that_make_no_sense() -> None:
    design = two_periods(1, treated=4, clusters=9)
    with pytest.raises(InputError, match="Did you mean 'bootstrap_t'"):
        few(inference="bootstrapt")
    with pytest.raises(InputError, match="cr2 is for regressions, which group_time_att isn't"):
        few(inference="cr2")
    with pytest.raises(InputError, match="an effect each"):
        few("did_imputation", inference="wild")
    with pytest.raises(InputError, match="wild has no degrees of freedom"):
        few("etwfe", inference="wild", degrees="clusters")
    with pytest.raises(InputError, match="Did you mean 'satterthwaite'"):
        few("etwfe", inference="cr2", degrees="satterthwait")
    with pytest.raises(InputError, match="too few"):
        few(inference="wild", key="twfe", replications=5)
    with pytest.raises(InputError, match="unknown weights"):
        few(inference="bootstrap_t", bootstrap_weights="normal")
    with pytest.raises(InputError, match="unknown grouping"):
        few(inference="permutation", strata="county").estimate(design)
    vary = replace(design, varying=np.zeros((9, 2, 1)), varying_names=("x",))
    assert some_units(vary, np.arange(9) > 2).varying.shape == (6, 2, 1)
    mixed = replace(design, cluster=np.arange(9) // 2)
    with pytest.raises(InputError, match="start at different times"):
        few(inference="permutation").estimate(mixed)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    design = two_periods(9, treated=6, clusters=14, size=2)
    rows = [
        {"unit": i, "office": design.cluster[i], "start": design.first[i], "t": t, "y": y}
        for i in range(design.n)
        for t, y in zip((1, 2), design.outcomes[i, :, 0])
    ]
    path = tmp_path / "rollout.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    settings = ["unit=unit", "time=t", "cohort=start", "outcome=y", "cluster=office"]
    found = {}
    for key, chosen in (
        ("group_time_att", ["inference=cluster"]),
        ("group_time_att", ["inference=jackknife"]),
        ("group_time_att", ["inference=bootstrap_t", "replications=499"]),
        ("twfe", ["inference=wild", "null_imposed=false", "bootstrap_weights=webb"]),
        ("twfe", ["inference=cr2"]),
    ):
        assert main(["estimate", key, str(path), "--json", "--set", *settings, *chosen]) == 0
        out = json.loads(capsys.readouterr().out)
        row = next(r for r in out["estimates"] if r["term"] == "effect_overall")
        found[chosen[0], key] = (row["estimate"], row["conf_high"] - row["conf_low"])
        check = next(c for c in out["checks"] if c["key"] == "treated_clusters")
        assert check["status"] == "failed" and check["statistic"] == 6
    assert len({round(point, 9) for point, _ in found.values()}) == 1
    plain = found["inference=cluster", "group_time_att"]
    assert found["inference=jackknife", "group_time_att"][1] > plain[1]
    command = ["estimate", "group_time_att", str(path), "--set", *settings]
    assert main([*command, "inference=wild"]) == 2
    assert "is for regressions, which group_time_att isn't" in capsys.readouterr().err
    assert main([*command, "replications=499"]) == 2
    assert "says nothing without an inference" in capsys.readouterr().err
