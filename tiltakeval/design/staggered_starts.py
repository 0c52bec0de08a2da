"""From when each unit of a roll-out is treated: dates, a status, or a group and its date."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import as_text, refuse_missing
from tiltakeval.design.periods import one_period, whole
from tiltakeval.design.staggered_rows import changing, first_rows
from tiltakeval.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def first_treated(
    df: pd.DataFrame,
    unit: Ints,
    when: Ints,
    *,
    first: str | None,
    treated: str | None,
    never: int | str | None,
    parts: int,
    where: str,
) -> Floats:
    """[n] first treated period of every unit, infinite for never. Raises InputError."""
    if treated is not None:
        return _from_status(df, unit, when, treated, where=where)
    assert first is not None
    place = f"{where}, column '{first}'"
    count = changing(df, unit, first)
    if count:
        raise InputError(
            f"the first treated period changes within {count} units",
            where=place,
            remedy="A unit is first treated once: the column is the same in all its rows.",
        )
    own = df[first].iloc[first_rows(unit)]
    said = own.map(as_text) == as_text(never) if never is not None else own.isna()
    own = own.where(~said)
    if parts > 1:  # a month, quarter or half-year is never 0
        own = own.where(own.map(as_text) != "0")
    if own.isna().all():
        return np.full(own.size, np.inf)
    values, written = whole(own, where=place, what="first treated periods")
    if written != parts:
        raise InputError(
            "first treated periods and periods are written differently",
            where=place,
            remedy="Write both as whole numbers, or both as months YYYY-MM (or quarters YYYYQ1).",
        )
    zero_is_never = bool((when > 0).all())
    values = np.where(np.isnan(values) | ((values == 0) & zero_is_never), np.inf, values)
    if np.isneginf(values).any():
        raise InputError("a first treated period is minus infinity", where=place)
    return values


def group_declared(
    first: str | None,
    treated: str | None,
    group: str | None,
    date: int | str | None,
    *,
    where: str,
) -> None:
    """Raise InputError unless when units are first treated is declared in one way."""
    if (group is None) != (date is None):
        raise InputError(
            "a group needs the date its rule holds from, and a date a group",
            where=where,
            remedy="Say group = a 0/1 column and date = a period.",
        )
    if sum(one is not None for one in (first, treated, group)) != 1:
        raise InputError(
            "when units are first treated isn't declared, or declared twice",
            where=where,
            remedy="Say first = the column of the first treated period, treated = a 0/1 column, or "
            "group = a 0/1 column and date = a period.",
        )


def first_by_group(
    df: pd.DataFrame, unit: Ints, group: str, date: int | str, *, parts: int, where: str
) -> Floats:
    """[n] the period ``date`` for units of the ``group`` (a 0/1 column, constant in a unit), infinite
    for others: a rule that changes once, for some. Raises InputError."""
    place = f"{where}, column '{group}'"
    refuse_missing(df[group], column=group, what="group", where=where)
    plain = df[group].isin([0, 1])
    if not plain.all():
        raise InputError(
            f"{int((~plain).sum())} of {len(df)} values are neither 0 nor 1",
            where=place,
            remedy="1 are those the rule is for, 0 the others.",
        )
    count = changing(df, unit, group)
    if count:
        raise InputError(
            f"the group changes within {count} units",
            where=place,
            remedy="Who the rule is for is decided before it, once.",
        )
    start = one_period(date, parts, where=f"{where}, date")
    inside = df[group].astype("float64").to_numpy()[first_rows(unit)] == 1
    return np.where(inside, float(start), np.inf)


def _from_status(df: pd.DataFrame, unit: Ints, when: Ints, column: str, *, where: str) -> Floats:
    """First period with status 1. Raises InputError when a unit goes back to 0."""
    place = f"{where}, column '{column}'"
    refuse_missing(df[column], column=column, what="treatment status", where=where)
    values = df[column]
    plain = values.isin([0, 1])
    if not plain.all():
        raise InputError(
            f"{int((~plain).sum())} of {len(values)} values are neither 0 nor 1",
            where=place,
            remedy="The status is 0 until the unit is treated and 1 from then on.",
        )
    on = values.astype("float64").to_numpy() == 1
    start = np.full(int(unit.max()) + 1, np.inf)
    np.minimum.at(start, unit[on], when[on].astype(np.float64))
    back = np.unique(unit[~on & (when > start[unit])]).size
    if back:
        raise InputError(
            f"{back} treated units become untreated again",
            where=place,
            remedy="This design is for treatment that lasts. Count from the first start (first = a "
            "column) if what follows it is meant as part of the effect.",
        )
    return start
