"""Product-limit estimators: lifelines where it is right, hand-made ties, derivatives by weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from invented_designs import make_durations
from lifelines import AalenJohansenFitter, KaplanMeierFitter
from lifelines.datasets import load_rossi

from tiltakeval.design.durations import Durations, durations_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators import build
from tiltakeval.estimators.duration.intervals import probability_interval
from tiltakeval.estimators.duration.product_limit import fit_curve, followed, read

KEYS = ("kaplan_meier", "aalen_johansen", "restricted_mean")


def with_covariates(n: int = 300, *, seed: int = 0, arms: int = 3) -> Durations:
    """Spells with selection into arms on two covariates that also move the exits."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    eta = np.column_stack([np.zeros(n), *(0.6 * x[:, 0] - 0.3 * a for a in range(1, arms))])
    p = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    arm = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).astype(np.int16)
    duration = np.ceil(rng.exponential(8 * np.exp(-0.5 * x[:, 0] - 0.2 * arm)))
    return replace(
        make_durations(n, seed=seed),
        arm=arm,
        arms=("none", "aft", "amo")[:arms],
        duration=duration,
        covariates=x,
        covariate_names=("x0", "x1"),
    )


def test_kaplan_meier_equals_lifelines_and_greenwood() -> None:
    design = make_durations(400, late=True)
    table = build("kaplan_meier", times=(1, 2, 3, 5)).estimate(design).table
    for arm, name in enumerate(design.arms):
        rows = design.arm == arm
        fit = KaplanMeierFitter().fit(
            design.duration[rows], design.event[rows] > 0, entry=design.entry[rows]
        )
        mine = table[
            (table.programme == name) & (table.subgroup == "all") & (table.term == "survival")
        ]
        np.testing.assert_allclose(
            mine.estimate, fit.survival_function_at_times([1, 2, 3, 5]).to_numpy(), rtol=1e-9
        )
    one = replace(design, arm=np.zeros(400, dtype=np.int16), arms=("all",), entry=np.zeros(400))
    found = build("kaplan_meier", times=(3,)).estimate(one).table.iloc[0]
    risk = np.array([(one.duration >= k).sum() for k in (1, 2, 3)])
    left = np.array([((one.duration == k) & (one.event > 0)).sum() for k in (1, 2, 3)])
    greenwood = found.estimate * np.sqrt((left / risk / (risk - left)).sum())
    np.testing.assert_allclose(found.std_error, greenwood, rtol=0.02)


def test_aalen_johansen_without_ties_equals_lifelines() -> None:
    rng = np.random.default_rng(3)
    base = make_durations(400)
    one = replace(
        base,
        duration=rng.exponential(6, 400),
        arm=np.zeros(400, dtype=np.int16),
        arms=("all",),
        subgroups={},
    )
    table = build("aalen_johansen", times=(2, 5, 9)).estimate(one).table
    for j, name in enumerate(one.event_names):
        fit = AalenJohansenFitter(calculate_variance=True).fit(
            one.duration, one.event, event_of_interest=j + 1
        )
        mine = table[table.outcome == name]
        at = fit.cumulative_density_.index.searchsorted([2, 5, 9], side="right") - 1
        np.testing.assert_allclose(
            mine.estimate, fit.cumulative_density_.iloc[at, 0].to_numpy(), rtol=1e-9
        )
        np.testing.assert_allclose(mine.std_error**2, fit.variance_.iloc[at].to_numpy(), rtol=0.03)


def test_recidivism_by_financial_aid() -> None:
    rossi = load_rossi()
    design = durations_from_frame(rossi, duration="week", event="arrest", treatment="fin")
    table = build("kaplan_meier", times=(52,)).estimate(design).select(term="survival").table
    # by counting: 66 of 216 without and 48 of 216 with aid were arrested, none censored before
    np.testing.assert_allclose(table.estimate, [150 / 216, 168 / 216])
    np.testing.assert_allclose(
        table.std_error, np.sqrt(table.estimate * (1 - table.estimate) / 216), rtol=0.01
    )


def test_ties_between_exits_are_taken_together() -> None:
    curve = fit_curve(
        duration=np.array([2.0, 1, 1, 1, 2, 3]),
        event=np.array([1, 1, 2, 0, 2, 0]),
        exits=2,
        weight=np.ones(6),
        entry=np.zeros(6),
    )
    times = np.array([1.0, 2, 3])
    settings = {"group": np.arange(6), "groups": 6}
    survival = read(curve, "survival", times, **settings).value[0]
    incidence = read(curve, "incidence", times, **settings).value
    np.testing.assert_allclose(survival, [4 / 6, 4 / 18, 4 / 18])
    expected = 1 / 6 + 4 / 6 / 3
    np.testing.assert_allclose(incidence[:, 1], [expected, expected])
    np.testing.assert_allclose(incidence.sum(axis=0) + survival, 1)
    assert followed(curve, times)[0].tolist() == [6, 3, 1]
    inside = read(curve, "time_in_state", times, **settings).value[0]
    np.testing.assert_allclose(inside, [1, 1 + 4 / 6, 1 + 4 / 6 + 4 / 18])
    lost = read(curve, "time_lost", times, **settings).value
    np.testing.assert_allclose(inside + lost.sum(axis=0), times)


def test_what_comes_first_within_a_tie_is_an_option() -> None:
    spells = make_durations(6)
    one = replace(
        spells,
        duration=np.array([1.0, 1, 1, 2, 2, 3]),
        event=np.array([1, 0, 0, 1, 0, 0], dtype=np.int16),
        arm=np.zeros(6, dtype=np.int16),
        arms=("all",),
        subgroups={},
    )
    first = build("kaplan_meier", times=(1, 2)).estimate(one).table.estimate
    np.testing.assert_allclose(first, [5 / 6, 5 / 6 * 2 / 3])
    last = build("kaplan_meier", times=(1, 2), ties="censoring_first").estimate(one).table.estimate
    np.testing.assert_allclose(last, [3 / 4, 3 / 4 / 2])
    with pytest.raises(InputError, match="ties"):
        build("kaplan_meier", ties="random").estimate(one)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("ties", ["exits_first", "censoring_first"])
def test_influence_is_the_derivative_by_each_units_weight(key: str, late: bool, ties: str) -> None:
    design = replace(make_durations(80, late=late), subgroups={})
    estimator = build(key, times=(1, 3, 6), bands=False, ties=ties)
    full = estimator.estimate(design)
    rows = np.flatnonzero(full.table.status == "ok")
    z = full.influence.columns(rows)
    for i in range(0, 80, 27):
        moved = []
        for step in (1e-5, -1e-5):
            weight = design.weight.copy()
            weight[i] += step
            changed = estimator.estimate(replace(design, weight=weight))
            moved.append(changed.table.estimate.to_numpy()[rows])
        np.testing.assert_allclose(z[i], (moved[0] - moved[1]) / 2e-5, atol=1e-6)


@pytest.mark.parametrize("target", ["att", "ate"])
@pytest.mark.parametrize("key", ["aalen_johansen", "restricted_mean"])
def test_influence_knows_that_the_weights_were_estimated(key: str, target: str) -> None:
    design = replace(with_covariates(150), subgroups={})
    estimator = build(key, times=(2, 7), bands=False, adjust=target, floor=0.0)
    full = estimator.estimate(design)
    rows = np.flatnonzero(full.table.status == "ok")
    assert rows.size == len(full)
    z = full.influence.columns(rows)
    for i in range(0, 150, 50):
        moved = []
        for step in (1e-4, -1e-4):
            weight = design.weight.copy()
            weight[i] += step
            changed = estimator.estimate(replace(design, weight=weight))
            moved.append(changed.table.estimate.to_numpy()[rows])
        # the ridge is on standardised columns, whose scale moves a little with the weights
        np.testing.assert_allclose(z[i], (moved[0] - moved[1]) / 2e-4, rtol=2e-3, atol=6e-5)


def test_weighting_removes_the_difference_that_covariates_make() -> None:
    rng = np.random.default_rng(8)
    n = 20_000
    x = rng.standard_normal(n)
    arm = (rng.random(n) < 1 / (1 + np.exp(-x))).astype(np.int16)
    design = Durations(
        duration=rng.exponential(10 * np.exp(-0.7 * x)),
        event=np.ones(n, dtype=np.int16),
        event_names=("job",),
        arm=arm,
        arms=("none", "aft"),
        weight=np.ones(n),
        person=np.arange(n),
        entry=np.zeros(n),
        subgroups={},
        population="invented",
        covariates=x[:, None],
        covariate_names=("x",),
    )
    raw = build("kaplan_meier", times=(6,), adjust="none").estimate(design)
    for target in ("att", "ate"):
        found = build("kaplan_meier", times=(6,), adjust=target).estimate(design)
        gap = found.select(term="survival_difference").table.iloc[0]
        assert abs(gap.estimate) < 3 * gap.std_error < 0.05
        assert gap.population == f"invented:{target}" and gap.n_effective < n
    assert raw.select(term="survival_difference").table.estimate[0] < -0.15
    att = build("kaplan_meier", times=(6,)).estimate(design)
    assert set(att.table.term) == {"survival", "survival_comparison", "survival_difference"}


def test_adjustment_needs_covariates_and_separation_is_told() -> None:
    with pytest.raises(InputError, match="covariates"):
        build("kaplan_meier", adjust="ate").estimate(make_durations(50))
    design = with_covariates(200, arms=2)
    apart = replace(design, covariates=design.arm[:, None] * 4.0 + design.covariates * 0.1)
    with pytest.raises(InputError, match="separate"):
        build("kaplan_meier").estimate(apart)


def test_times_beyond_the_last_follow_up_are_not_supported() -> None:
    design = make_durations(50)
    table = build("kaplan_meier", times=(1, 500)).estimate(design).table
    assert set(table.status[table.horizon == 500]) == {"not_supported"}
    with pytest.raises(InputError, match="job"):
        build("kaplan_meier", exit="jobb").estimate(design)
    with pytest.raises(InputError):
        build("aalen_johansen", times=(-1,)).estimate(design)
    with pytest.raises(InputError):
        build("restricted_mean", times=(0,)).estimate(design)


def test_nothing_is_claimed_beyond_a_time_with_nobody_at_risk() -> None:
    df = pd.DataFrame(
        {
            "t": [1.0, 2, 2, 6, 7, 8, 9],
            "d": [1, 0, 1, 1, 1, 0, 1],
            "from": [0, 0, 0, 4, 3, 4, 5],
        }
    )
    design = durations_from_frame(df, duration="t", event="d", entry="from")
    table = build("kaplan_meier", times=(1, 2, 3, 6)).estimate(design).table
    assert table.status.tolist() == ["ok", "ok", "not_supported", "not_supported"]


def test_many_groups_give_the_same_numbers_as_single_persons() -> None:
    design = make_durations(3000)
    few = build("aalen_johansen", times=(5,)).estimate(design).table
    many = build("aalen_johansen", times=tuple(range(1, 400))).estimate(design).table
    many = many[many.horizon == 5].reset_index(drop=True)
    np.testing.assert_allclose(few.estimate, many.estimate)
    np.testing.assert_allclose(few.std_error, many.std_error, rtol=0.1)


@pytest.mark.parametrize("kind", ["plain", "loglog", "arcsine", "wilson"])
def test_intervals_hold_their_estimate_and_stay_within_bounds(kind: str) -> None:
    p = np.array([0.0, 0.02, 0.5, 0.99, 1.0])
    se = np.array([0.0, 0.02, 0.1, 0.01, 0.0])
    low, high = probability_interval(p, se, np.full(5, 1.96), np.full(5, 20.0), kind)
    assert (low <= p).all() and (p <= high).all()
    if kind != "plain":
        assert (low >= 0).all() and (high <= 1).all()
    if kind == "wilson":
        np.testing.assert_allclose([high[0], low[4]], [1.96**2 / (20 + 1.96**2), 20 / 23.8416])
    with pytest.raises(InputError, match="wilson"):
        build("kaplan_meier", interval="wilsn").estimate(make_durations(50))


def test_no_event_yet_leaves_a_wilson_interval() -> None:
    one = replace(
        make_durations(40),
        duration=np.arange(1.0, 41) + 5,
        event=np.ones(40, dtype=np.int16),
        arm=np.zeros(40, dtype=np.int16),
        arms=("all",),
        subgroups={},
    )
    found = build("kaplan_meier", times=(3, 20)).estimate(one).table
    assert found.estimate[0] == 1 and found.conf_low[0] < 0.95
    assert (found.band_low <= found.conf_low).all()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("ties", ["exits_first", "censoring_first"])
def test_curves_equal_a_plain_loop_over_times(seed: int, ties: str) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 60))
    duration = rng.integers(1, 8, n) + rng.choice([0.0, 0.5], n)
    entry = np.where(rng.random(n) < 0.4, rng.integers(0, 8, n), 0.0)
    entry = np.where(entry < duration, entry, 0.0)
    event, weight = rng.integers(0, 4, n), rng.integers(1, 4, n).astype(float)
    event[0] = 1
    times = np.array([0.0, 1, 2, 3.25, 5, 7, 9])
    curve = fit_curve(
        duration=duration, event=event, exits=3, weight=weight, entry=entry, ties=ties
    )
    survival, incidence = np.ones(times.size), np.zeros((3, times.size))
    for t, time in enumerate(times):
        s = 1.0
        for k in np.unique(duration[(event > 0) & (duration <= time)]):
            here = (entry < k) & (duration >= k)
            if ties == "censoring_first":
                here &= (duration > k) | (event > 0)
            left = np.array([weight[(duration == k) & (event == j)].sum() for j in (1, 2, 3)])
            incidence[:, t] += s * left / weight[here].sum()
            s *= 1 - left.sum() / weight[here].sum()
        survival[t] = s
    settings = {"group": np.arange(n), "groups": n}
    found = read(curve, "survival", times, **settings)
    np.testing.assert_allclose(found.value[0], survival, atol=1e-12)
    np.testing.assert_allclose(read(curve, "incidence", times, **settings).value, incidence)
    np.testing.assert_allclose(found.z.sum(axis=1), 0, atol=1e-12)


def test_an_exit_nobody_took_is_bounded_by_all_whose_fate_is_known() -> None:
    n = 125
    rng = np.random.default_rng(1)
    arm = np.repeat([0, 1], n).astype(np.int16)
    event = np.ones(2 * n, dtype=np.int16)
    event[:5] = 2  # only in the first arm
    design = make_durations(2 * n)
    design = replace(
        design, duration=rng.geometric(0.1, 2 * n).astype(float), event=event, arm=arm,
        event_names=("job", "pension"), weight=np.ones(2 * n), person=np.arange(2 * n),
        entry=np.zeros(2 * n), subgroups={},
    )  # fmt: skip
    last = int(design.duration[arm == 1].max())
    table = build("aalen_johansen", times=(last,)).estimate(design).table
    row = table[(table.outcome == "pension") & (table.term == "cumulative_incidence")].iloc[-1]
    assert row.programme == design.arms[1] and row.estimate == 0 and row.n_events == 0
    critical = 1.96**2  # one is left at the end, but all have been seen to leave otherwise
    np.testing.assert_allclose(row.conf_high, critical / (n + critical), rtol=0.03)
