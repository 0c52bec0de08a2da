import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.columns import unit_of
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.design.staggered_rows import changing, numbered, repeated


def _frame(units=300, periods=6, seed=1):
    rng = np.random.default_rng(seed)
    first = rng.choice([0, 3, 5], units)
    return pd.DataFrame(
        {
            "unit": np.repeat(rng.permutation(units) + 7, periods),
            "period": np.tile(np.arange(1, periods + 1), units),
            "first": np.repeat(first, periods),
            "y": rng.standard_normal(units * periods),
            "z": rng.standard_normal(units * periods),
        }
    )


def _read(df, **more):
    return staggered_from_frame(
        df, unit="unit", period="period", first="first", outcome=["y", "z"], **more
    )


@pytest.mark.parametrize(
    "types",
    [
        {"unit": np.int16, "period": np.int8, "y": np.float64},
        {"unit": np.uint64, "period": np.uint16, "first": np.int8},
        {"unit": str, "period": "Int64", "y": "Float64"},
        {"period": np.float64},
    ],
    ids=["small", "unsigned", "extension", "float"],
)
def test_the_design_doesnt_hang_on_how_numbers_are_stored(types):
    df = _frame()
    wanted, found = _read(df), _read(df.astype(types))
    assert np.array_equal(wanted.outcomes, found.outcomes)
    assert np.array_equal(wanted.first, found.first)
    assert np.array_equal(wanted.periods, found.periods)
    assert wanted.fingerprint == found.fingerprint


def test_rows_in_any_order_with_gaps_and_units_left_out_land_where_they_belong():
    df = _frame()
    df.loc[df["unit"] < 20, "first"] = 1  # treated from the first period on: left out
    df = df.drop(index=[3, 8, 500])
    shuffled = df.sample(frac=1, random_state=1)
    wide = df[df["first"] != 1].pivot(index="unit", columns="period", values="y")
    for one in (df, shuffled):
        found = _read(one)
        order = [u for u in one["unit"].unique() if u in wide.index]
        assert np.array_equal(found.outcomes[:, :, 0], wide.loc[order].to_numpy(), equal_nan=True)


def test_units_are_numbered_as_they_appear():
    for values in ([5, 5, 2, 2, 9], [5, 2, 5, 9, 2], ["b", "a", "b"]):
        series = pd.Series(values)
        assert np.array_equal(numbered(series), pd.factorize(series)[0])


def test_changes_and_repetitions_are_counted_in_pieces_as_in_one():
    units = 40_000
    df = pd.DataFrame({"unit": np.repeat(np.arange(units), 4), "x": 1.0})
    unit = numbered(df["unit"])
    when, grid = np.tile(np.arange(4), units), np.arange(4)
    assert changing(df, unit, "x") == 0
    assert repeated(unit, when, grid) == 0
    df.loc[[65_536, 65_537, 159_999], "x"] = 2.0  # one across the edge of a piece
    assert changing(df, unit, "x") == 2
    df["x"] = np.nan
    assert changing(df, unit, "x") == 0
    when[65_537] = when[65_536]
    assert repeated(unit, when, grid) == 1


def test_a_share_is_told_from_other_values_wherever_they_are():
    values = np.zeros(200_000)
    values[::2] = np.nan
    assert unit_of(values) == "share"
    values[150_001] = 0.5
    assert unit_of(values) == "value"
    assert unit_of(np.array([np.nan])) == "share"
