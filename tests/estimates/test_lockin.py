import numpy as np
import pandas as pd
import pytest

from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import with_inference
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimates.lockin import crossing, lock_in
from tiltakeval.estimates.table import Estimates, tidy

MONTHS = list(range(8))


def path(*values):
    return np.array(values, dtype=float)


def test_break_even_is_the_last_upward_crossing_and_the_set_holds_it():
    found = crossing(path(0, -2, -4, -3, -1, 1, 3, 5), np.full(8, 1.5), MONTHS)
    assert (found.estimate, found.low, found.high, found.status) == (5.0, 4.0, 6.0, "ok")


def test_a_path_that_stays_below_is_not_reached_and_has_no_invented_end():
    found = crossing(path(0, -2, -4, -6, -8, -9, -10, -11), np.full(8, 1.0), MONTHS)
    assert found.status == "not_reached"
    assert np.isnan(found.estimate)
    assert np.isnan(found.high)
    assert found.low == 7


def test_an_imprecise_end_leaves_the_set_open():
    found = crossing(path(0, -2, -4, -3, -1, 1, 1, 1), np.array([0, 1, 1, 1, 2, 2, 2, 2.0]), MONTHS)
    assert found.status == "open"
    assert found.estimate == 5
    assert np.isnan(found.high)


def test_a_path_never_below_zero_is_no_loss():
    found = crossing(path(0, 1, 2, 3, 4, 5, 6, 7), np.full(8, 0.5), MONTHS)
    assert found.status == "no_loss"
    assert found.low == 0
    assert np.isnan(found.estimate)


def test_a_loss_that_is_not_sure_lets_the_set_begin_at_zero():
    found = crossing(path(0, -1, -1, 0, 2, 4, 6, 8), np.full(8, 1.5), MONTHS)
    assert found.low == 0
    assert found.estimate == 3


def test_two_crossings_give_the_last_one():
    found = crossing(path(0, -2, 1, -2, -2, 1, 3, 5), np.full(8, 0.1), MONTHS)
    assert (found.estimate, found.low, found.high) == (5.0, 5.0, 5.0)


def profile(theta, sd=0.01, groups=400, seed=0, unit="share", **columns):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(groups, len(theta))) * sd / np.sqrt(groups)
    rows = [
        dict(
            programme="aft",
            outcome="work_unsubsidised",
            unit=unit,
            horizon=h,
            estimate=v,
            **columns,
        )
        for h, v in enumerate(theta)
    ]
    influence = Influence("f", "person", groups, {"b": z}, {"b": np.arange(len(theta))})
    return with_inference(tidy(rows), influence), z


def test_cumulated_months_depth_and_sets_of_a_profile():
    theta = np.concatenate([[0.0], np.full(12, -0.1), np.full(24, 0.11)])
    estimates, z = profile(theta)
    found = lock_in(estimates)
    cumulated = found.select(term="cumulated").table.set_index("period")
    assert cumulated.loc["0-12", "estimate"] == pytest.approx(-1.2)
    assert cumulated.loc["0-36", "estimate"] == pytest.approx(1.44)
    assert set(cumulated["unit"]) == {"months"}
    summed = z[:, :25].sum(axis=1)
    assert cumulated.loc["0-24", "std_error"] == pytest.approx(np.sqrt(summed @ summed * 400 / 399))
    depth = found.select(term="depth").table.iloc[0]
    assert depth["estimate"] == pytest.approx(-0.1)
    even = found.select(term="break_even").table.iloc[0]
    assert even["estimate"] == 23
    assert even["conf_low"] <= 23 <= even["conf_high"]
    length = found.select(term="length").table.iloc[0]
    assert length["estimate"] == 13
    assert found.select(term="cumulated_path").table["horizon"].tolist() == list(range(37))


def test_kroner_stay_kroner_and_short_profiles_leave_long_windows_out():
    estimates, _ = profile(np.linspace(0, 1, 13), unit="nok")
    found = lock_in(estimates).select(term="cumulated").table
    assert found["period"].tolist() == ["0-6", "0-12"]
    assert set(found["unit"]) == {"nok"}


def test_results_of_lock_in_can_be_combined_further():
    a, _ = profile(np.linspace(-0.1, 0.1, 37), subgroup="sex=female")
    found = lock_in(a)
    chosen = found.positions(term="cumulated")
    assert found.influence.columns(chosen).shape == (400, 4)


def test_profiles_that_cannot_be_cumulated_are_refused():
    estimates, _ = profile(np.linspace(-0.1, 0.1, 10))
    gap = estimates.take([0, 1, 2, 4, 5])
    with pytest.raises(InputError, match="missing months"):
        lock_in(gap)
    with pytest.raises(InputError, match="no monthly effects"):
        lock_in(estimates.assign(term="mean_treated"))
    with pytest.raises(InputError, match="influence"):
        lock_in(Estimates(estimates.table))


def test_paths_of_subgroups_can_be_left_out_without_touching_their_sums():
    whole, _z = profile(np.linspace(-0.1, 0.1, 37))
    women = whole.assign(subgroup="sex=female")
    both = Estimates.concat([whole, women])
    full, short = lock_in(both), lock_in(both, subgroup_paths=False)
    assert len(full) - len(short) == 37
    assert set(short.select(term="cumulated_path").table["subgroup"]) == {"all"}
    at = {"subgroup": "sex=female", "term": "cumulated"}
    pd.testing.assert_frame_equal(short.select(**at).table, full.select(**at).table)
    assert np.allclose(
        short.influence.columns(short.positions(**at)),
        full.influence.columns(full.positions(**at)),
    )
