"""The rows of a prepared panel: units, periods counted from month zero, what can be wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import refuse_missing
from tiltakeval.errors import InputError, InputErrors
from tiltakeval.months import parse_month

Ints = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class PanelRows:
    """Every row's unit (dense, in order of first appearance) and its period relative to month zero;
    ``first`` [n] is a row of each unit."""

    unit: Ints
    offset: Ints
    first: Ints

    @property
    def n(self) -> int:
        return int(self.first.size)


class Errors:
    """Collects what is wrong, so that all of it is said at once."""

    def __init__(self) -> None:
        self.found: list[InputError] = []

    def add(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.found.append(InputError(what, where=where, remedy=remedy))

    def attempt(self, step: Callable[[], T]) -> T | None:
        """The step's value, or None when it found something wrong."""
        try:
            return step()
        except InputErrors as errors:
            self.found += errors.errors
        except InputError as error:
            self.found.append(error)
        return None

    def stop(self, where: str) -> None:
        """Raise what was found."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            raise InputErrors(self.found, title=f"{where} has {len(self.found)} errors")


def panel_rows(
    df: pd.DataFrame,
    number: Ints,
    columns: tuple[str, str, str | None],
    month_zero: int | str | None,
    errors: Errors,
    *,
    where: str,
) -> PanelRows | None:
    """The rows of a panel; None when something is wrong with its units, periods or month zero.

    ``number`` [rows] is the unit; ``columns`` are those of unit, period and start.
    """
    unit, period, start = columns
    said = len(errors.found)
    first = np.unique(number, return_index=True)[1].astype(np.int64)
    errors.attempt(lambda: refuse_missing(df[period], column=period, what="period", where=where))
    when = errors.attempt(lambda: _periods(df[period], where=f"{where}, column '{period}'"))
    twice = int(df.duplicated([unit, period]).sum())
    if twice:
        errors.add(
            f"{twice} rows repeat a unit and period",
            where=f"{where}, columns '{unit}' and '{period}'",
            remedy="A panel has one row for each: add them up, or drop the copies.",
        )
    zero = np.full(first.size, np.nan)
    read = True
    if start is not None:
        errors.attempt(lambda: refuse_changing(df, number, start, "start", where, missing=True))
        own = errors.attempt(
            lambda: _periods(df[start].iloc[first], where=f"{where}, column '{start}'")
        )
        read, zero = own is not None, zero if own is None else own
    if month_zero is not None:
        given = errors.attempt(lambda: _period(month_zero, where="month_zero"))
        read &= given is not None
        if given is not None:
            zero = np.where(np.isnan(zero), given, zero)
    none = int(np.isnan(zero).sum())
    if none and read:
        errors.add(
            f"{none} of {first.size} units have no month zero",
            where=f"{where}, column '{start}'",
            remedy="Say month_zero = the period that counts as theirs, or fill the column for the "
            "comparison units too.",
        )
    if when is None or len(errors.found) > said:
        return None
    return PanelRows(number, (when - zero[number]).astype(np.int64), first)


def _periods(values: pd.Series, *, where: str) -> NDArray[np.float64]:
    """Whole periods, months as numbers; NaN where missing. Raises InputError with the count."""
    present = values.dropna()
    if present.empty:
        return np.full(len(values), np.nan)
    if pd.api.types.is_datetime64_any_dtype(values):
        values = values.dt.strftime("%Y-%m")
        present = values.dropna()
    if not pd.api.types.is_numeric_dtype(values):
        months = {text: _month(text) for text in present.unique()}
        bad = int(present.map(lambda text: months[text] is None).sum())
        if bad:
            raise InputError(
                f"{bad} of {len(values)} values are neither a whole number nor a month YYYY-MM",
                where=where,
            )
        return values.map(months).to_numpy(dtype=np.float64)
    array = values.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = int((np.isinf(array) | (np.isfinite(array) & (array != np.round(array)))).sum())
    if bad:
        raise InputError(f"{bad} of {len(values)} values aren't whole numbers", where=where)
    return array


def _month(text: object) -> int | None:
    try:
        return parse_month(str(text))
    except InputError:
        return None


def _period(value: int | str, *, where: str) -> int:
    """``month_zero`` as a number: as it is, in text, or a month YYYY-MM. Raises InputError."""
    if isinstance(value, int):
        return value
    text = value.strip()
    return int(text) if text.lstrip("-").isdigit() else parse_month(text)


def refuse_changing(
    df: pd.DataFrame, unit: Ints, column: str, what: str, where: str, *, missing: bool = False
) -> None:
    """Raise InputError unless the column is complete (or ``missing``) and constant in a unit."""
    if not missing:
        refuse_missing(df[column], column=column, what=what, where=where)
    codes = pd.factorize(df[column], use_na_sentinel=False)[0]
    first = np.full(int(unit.max()) + 1, -1, dtype=np.int64)
    first[unit[::-1]] = codes[::-1]
    changing = int(np.unique(unit[codes != first[unit]]).size)
    if changing:
        hint = {
            "treatment": "Say which arm the unit is in, in all its rows, and name its first treated "
            "period in a column of its own (start).",
            "start": "A unit has one month zero, in all its rows.",
        }
        raise InputError(
            f"the {what} changes within {changing} units",
            where=f"{where}, column '{column}'",
            remedy=hint.get(what, "It must be the same in all rows of a unit."),
        )
