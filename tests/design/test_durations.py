"""Spells from prepared files: layouts, names of exits, and clear refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.durations import durations_from_frame
from tiltakeval.errors import InputError


def rows() -> pd.DataFrame:
    """Three persons in the layout of several rows a spell."""
    return pd.DataFrame(
        {
            "id": [7, 7, 3, 9, 9, 9],
            "length": [2.0, 3.0, 4.0, 1.0, 1.5, 2.0],
            "d": [2, 1, 0, 0, 1, 0],
            "alpha": [0, 1, 0, 0, 0, 0],
            "x": [0.5, 0.5, 1.0, 2.0, 2.0, 2.0],
        }
    )


def test_rows_of_a_person_are_joined_up_to_the_first_exit() -> None:
    design = durations_from_frame(
        rows(), id="id", duration="length", event="d", exits="1:job,2:programme"
    )
    np.testing.assert_allclose(design.duration, [2.0, 4.0, 2.5])
    assert design.event.tolist() == [2, 0, 1]
    assert design.event_names == ("job", "programme") and design.person.tolist() == [1, 0, 2]
    assert design.attrition.steps["units"].tolist() == [6, 3]


def test_equal_lengths_stay_tied_however_long_the_file() -> None:
    df = pd.DataFrame({"id": np.arange(5000).repeat(2), "length": 0.1, "d": [0, 1] * 5000})
    design = durations_from_frame(df, id="id", duration="length", event="d")
    assert np.unique(design.duration).size == 1


def test_exits_are_named_in_the_declared_order() -> None:
    df = pd.DataFrame({"t": [1, 2, 3, 4], "d": [2, 1, 0, 2]})
    design = durations_from_frame(df, duration="t", event="d", exits="2:out,1:job,3:none_yet")
    assert design.event_names == ("out", "job", "none_yet")
    assert design.event.tolist() == [1, 2, 0, 1]


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        ({"length": [2.0, -3, 4, 1, 0, 2]}, {}, "2 rows have no length"),
        ({"id": [7, 3, 7, 9, 9, 9]}, {}, "1 spells aren't together"),
        ({}, {"exits": "1:job"}, "exit"),
        ({}, {"exits": "1job"}, "value:name"),
        ({"d": 0}, {}, "every spell is censored"),
        ({"length": [2.0, np.nan, 4, 1, 1, 2]}, {}, "1 of 6 rows"),
        ({"length": list("abcdef")}, {}, "numbers"),
        ({"length": [2.0, np.inf, 4, 1, 1, 2]}, {}, "1 values are infinite"),
        ({"w": [1, 1, -1, 1, 1, 1]}, {"weight": "w"}, "1 weights are below 0"),
        ({}, {"programme": "alfa"}, "alpha"),
    ],
)
def test_bad_input_names_the_column_and_the_count(change, settings, words) -> None:
    df = rows().assign(**change)
    with pytest.raises(InputError, match=words):
        durations_from_frame(df, **{"id": "id", "duration": "length", "event": "d", **settings})


def test_spells_must_last_beyond_their_entry() -> None:
    df = pd.DataFrame({"t": [1, 2, 0], "d": [1, 0, 1], "e": [0, 2, -1]})
    with pytest.raises(InputError, match="2 spells"):
        durations_from_frame(df, duration="t", event="d", entry="e")
