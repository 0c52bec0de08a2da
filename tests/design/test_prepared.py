"""Prepared files: what is declared, what is refused and how."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.prepared import cross_section_from_frame, durations_from_frame
from tiltakeval.errors import InputError


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "treat": [1, 0, 1, 0, 0, 1],
            "arm": ["amo", "ingen", "aft", "ingen", "amo", "aft"],
            "y": [1.0, 2, 3, np.nan, 5, 6],
            "past": [0.0, 1, 0, 1, 0, 1],
            "age": [20, 30, 40, 50, 60, 30],
            "region": ["n", "s", "v", "n", "s", "v"],
            "w": [1.0, 2, 1, 2, 1, 2],
            "id": [7, 7, 8, 9, 10, 11],
            "spell": [1, 2, 3, 4, 5, 6],
            "exit": [1, 0, 1, 1, 0, 1],
        }
    )


def test_a_declared_file_becomes_a_cross_section() -> None:
    found = cross_section_from_frame(
        frame(),
        treatment="treat",
        outcome="y",
        covariates="age,region",
        weight="w",
        cluster="id",
        subgroups=["region"],
        placebo="past",
    )
    assert found.arms == ("none", "treat")
    assert found.arm.tolist() == [1, 0, 1, 0, 0, 1]
    assert found.covariate_names == ("age", "region=s", "region=v")
    assert np.isnan(found.outcomes[3, 0, 0])
    assert found.person.tolist() == [0, 0, 1, 2, 3, 4]
    assert found.subgroups["region"].levels == ("n", "s", "v")
    assert found.placebo is not None and found.placebo.shape == (6, 1, 1)
    assert found.attrition.steps.units.tolist() == [6]


def test_arms_are_named_by_their_values() -> None:
    found = cross_section_from_frame(frame(), treatment="arm", outcome="y", comparison="ingen")
    assert found.arms == ("none", "aft", "amo")
    numbered = frame().assign(arm=[0, 1, 2, 0, 1, 2])
    assert cross_section_from_frame(numbered, treatment="arm", outcome="y").arms == (
        "none",
        "arm=1",
        "arm=2",
    )


@pytest.mark.parametrize("kind", ["Int64", "boolean", "float", "category"])
def test_column_types_do_not_matter(kind: str) -> None:
    changed = frame().assign(treat=frame().treat.astype(kind))
    assert cross_section_from_frame(changed, treatment="treat", outcome="y").arm.sum() == 3


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({}, {"outcome": "yy"}, "'y'"),
        ({}, {"covariates": ["agee"]}, "'age'"),
        ({"age": [1, None, 3, None, 5, 6]}, {"covariates": ["age"]}, "2 of 6"),
        ({"age": [1, np.inf, 3, 4, 5, 6]}, {"covariates": ["age"]}, "infinite"),
        ({"treat": [1, 0, None, 0, 1, 0]}, {}, "1 of 6 rows have no treatment"),
        ({"treat": [1] * 6}, {}, "same treatment"),
        ({"treat": [1, 2, 1, 2, 2, 1]}, {}, "comparison"),
        ({}, {"treatment": "arm", "comparison": "igen"}, "'ingen'"),
        ({}, {"covariates": ["treat"]}, "both a covariate"),
        ({"y": ["a"] * 6}, {}, "must be a number"),
        ({"y": [np.nan] * 6}, {}, "no value"),
        ({}, {"outcome": ()}, "no outcome"),
        ({"w": [1, 2, None, 1, 1, 1]}, {"weight": "w"}, "no weight"),
        ({"w": [1, 2, -1, 1, 1, 1]}, {"weight": "w"}, "negative"),
    ],
)
def test_errors_teach(changes: dict, options: dict, said: str) -> None:
    with pytest.raises(InputError) as error:
        cross_section_from_frame(
            frame().assign(**changes), **{"treatment": "treat", "outcome": "y", **options}
        )
    assert said in str(error.value)


def test_every_missing_column_is_named_at_once() -> None:
    with pytest.raises(InputError) as error:
        cross_section_from_frame(frame(), treatment="treatt", outcome="yyy", covariates=["agge"])
    assert all(name in str(error.value) for name in ("treatt", "yyy", "agge"))


def test_spells_from_a_file() -> None:
    found = durations_from_frame(frame(), duration="spell", event="exit", treatment="treat")
    assert found.event_names == ("exit",) and found.event.tolist() == [1, 0, 1, 1, 0, 1]
    named = frame().assign(exit=["jobb", "0", "utd", "jobb", "0", "utd"])
    found = durations_from_frame(named, duration="spell", event="exit")
    assert found.event_names == ("jobb", "utd") and found.arms == ("all",)
    both = frame().assign(a=[1, 0, 0, 0, 0, 0], b=[0, 1, 0, 0, 0, 0])
    found = durations_from_frame(both, duration="spell", event="a,b")
    assert found.event.tolist() == [1, 2, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"spell": [0, 1, 2, 3, 4, 5]}, {}, "1 spells"),
        ({"exit": [0] * 6}, {}, "censored"),
        ({"b": [1] * 6}, {"event": ("exit", "b")}, "at most one"),
        ({"exit": [1, None, 1, 1, 1, 1]}, {}, "1 of 6"),
        ({}, {"event": "exitt"}, "'exit'"),
    ],
)
def test_bad_spells_are_refused(changes: dict, options: dict, said: str) -> None:
    with pytest.raises(InputError) as error:
        durations_from_frame(
            frame().assign(**changes), **{"duration": "spell", "event": "exit", **options}
        )
    assert said in str(error.value)
