"""Periods as whole numbers: years and counts as they are, months, quarters and half-years as text."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.months import parse_month

Floats = NDArray[np.float64]

#: Periods in a year, by what they are; 1 are whole numbers, years or any other count.
PARTS = {1: "whole numbers", 2: "half-years", 4: "quarters", 12: "months"}
_HOW = "a whole number, a month YYYY-MM, a quarter YYYYQ1 or a half-year YYYYH1"
#: 2019Q3, 2019-Q3, 2019 q3, and Statistics Norway's 2019K3 (quarter) and 2019M07 (month).
_PART = re.compile(r"^(\d{4})[ -]?([QKHqkh])([1-4])$")
_MONTH = re.compile(r"^(\d{4})[Mm](\d{2})$")


def parse_period(text: str) -> tuple[int, int] | None:
    """A period's number and how many of them a year has; None for what is no period."""
    text = text.strip()
    if text.lstrip("-").isdigit():
        return int(text), 1
    found = _PART.match(text)
    if found is not None:
        parts = 2 if found[2] in "Hh" else 4
        part = int(found[3])
        return (int(found[1]) * parts + part - 1, parts) if part <= parts else None
    month = _MONTH.match(text)
    try:
        return parse_month(f"{month[1]}-{month[2]}" if month else text), 12
    except InputError:
        return None


def whole(values: pd.Series, *, where: str, what: str = "values") -> tuple[Floats, int]:
    """Periods as numbers (infinite values stay, missing are NaN), and what they are (`PARTS`).

    Raises InputError, with counts, for values that are no period, or periods of several kinds.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        values = values.dt.strftime("%Y-%m")
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        array = values.to_numpy(dtype=np.float64, na_value=np.nan)
        if pd.api.types.is_integer_dtype(values):
            return array, 1
        bad = int((np.isfinite(array) & (array != np.round(array))).sum())
        if bad:
            raise InputError(f"{bad} of {len(values)} {what} aren't whole numbers", where=where)
        return array, 1
    read = {text: _read(text) for text in values.dropna().unique()}
    bad = int(values.map(lambda text: text in read and read[text] is None).sum())
    if bad:
        raise InputError(f"{bad} of {len(values)} {what} are neither {_neither()}", where=where)
    kinds = sorted({found[1] for found in read.values() if found is not None})
    if len(kinds) > 1:
        raise InputError(
            f"{what} are written as {' and as '.join(PARTS[kind] for kind in kinds)}",
            where=where,
            remedy="Write all of them alike.",
        )
    numbers = {text: found[0] for text, found in read.items() if found is not None}
    return values.map(numbers).to_numpy(dtype=np.float64), kinds[0] if kinds else 1


def one_period(value: int | str, parts: int, *, where: str) -> int:
    """A period given by itself, as the file's (``parts`` a year). A month that begins a quarter or
    half-year is that. Raises InputError for one that lies inside a period, or of another kind."""
    found = parse_period(str(value))
    if found is None:
        raise InputError(f"'{value}' is not a period", where=where, remedy=f"Write {_HOW}.")
    number, written = found
    if written == 12 and parts in (2, 4):
        step = 12 // parts
        if number % step:
            raise InputError(
                f"{value} lies inside one of the file's {PARTS[parts]}",
                where=where,
                remedy="Give the first period wholly under the rule, and an anticipation of 1 for the "
                "one it begins in.",
            )
        return number // step
    if written != parts:
        raise InputError(
            f"{value} is written as {PARTS[written]}, the file's periods as {PARTS[parts]}",
            where=where,
            remedy="Write both alike.",
        )
    return number


def _read(text: object) -> tuple[float, int] | None:
    """A value of a column that isn't numeric; numbers may be written 2004.0, and infinity inf."""
    if isinstance(text, bool | np.bool_):
        return None
    found = parse_period(str(text))
    if found is not None:
        return found
    try:
        number = float(str(text))
    except ValueError:
        return None
    return (number, 1) if np.isinf(number) or number.is_integer() else None


def _neither() -> str:
    return "a whole number nor a month YYYY-MM, quarter YYYYQ1 or half-year YYYYH1"
