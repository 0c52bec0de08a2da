"""Product-limit estimators: lifelines where it is right, hand-made ties, derivatives by weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented_designs import make_durations
from lifelines import KaplanMeierFitter

from tiltakeval.errors import InputError
from tiltakeval.estimators import build
from tiltakeval.estimators.duration.product_limit import product_limit


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


def test_ties_between_exits_are_taken_together() -> None:
    found = product_limit(
        duration=np.array([1.0, 1, 1, 2, 2, 3]),
        event=np.array([1, 2, 0, 1, 2, 0]),
        exits=2,
        times=np.array([1.0, 2, 3]),
        weight=np.ones(6),
        entry=np.zeros(6),
        group=np.arange(6),
        groups=6,
    )
    np.testing.assert_allclose(found.survival, [4 / 6, 4 / 18, 4 / 18])
    expected = 1 / 6 + 4 / 6 / 3
    np.testing.assert_allclose(found.incidence[:, 1], [expected, expected])
    np.testing.assert_allclose(found.incidence.sum(axis=0) + found.survival, 1)
    assert found.at_risk.tolist() == [6, 3, 1]


@pytest.mark.parametrize("key", ["kaplan_meier", "aalen_johansen"])
@pytest.mark.parametrize("late", [False, True])
def test_influence_is_the_derivative_by_each_units_weight(key: str, late: bool) -> None:
    design = make_durations(80, late=late)
    estimator = build(key, times=(1, 3, 6), bands=False)
    full = estimator.estimate(design)
    rows = np.flatnonzero(full.table.status == "ok")
    z = full.influence.columns(rows)
    for i in range(0, 80, 5):
        moved = []
        for step in (1e-5, -1e-5):
            weight = design.weight.copy()
            weight[i] += step
            changed = estimator.estimate(replace(design, weight=weight))
            moved.append(changed.table.estimate.to_numpy()[rows])
        np.testing.assert_allclose(z[i], (moved[0] - moved[1]) / 2e-5, atol=1e-7)


def test_times_beyond_the_last_follow_up_are_not_supported() -> None:
    design = make_durations(50)
    table = build("kaplan_meier", times=(1, 500)).estimate(design).table
    assert set(table.status[table.horizon == 500]) == {"not_supported"}
    with pytest.raises(InputError, match="job"):
        build("kaplan_meier", event="jobb").estimate(design)
    with pytest.raises(InputError):
        build("aalen_johansen", times=(-1,)).estimate(design)
