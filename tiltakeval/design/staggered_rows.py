"""The rows of a roll-out panel: periods, first treated periods, what must be constant in a unit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import pieces, refuse_missing
from tiltakeval.design.panel_rows import Errors, refuse_changing
from tiltakeval.design.periods import one_period, whole
from tiltakeval.design.staggered_declared import Declared
from tiltakeval.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: More different periods than this is a coding error (days, not months), not a panel.
MAX_PERIODS = 1200


def numbered(values: pd.Series) -> Ints:
    """[rows] units' numbers in order of appearance, in few bytes where that costs nothing."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iu":
        plain = values.to_numpy()
        begins = np.concatenate([[0], 1 + np.flatnonzero(plain[1:] != plain[:-1])])
        if pd.unique(plain[begins]).size == begins.size:  # sorted by unit: nothing to look up
            small = np.arange(begins.size, dtype=np.int32 if begins.size < 2**31 else np.int64)
            return np.repeat(small, np.diff(begins, append=plain.size))  # type: ignore[return-value]
    return pd.factorize(values)[0].astype(np.int64, copy=False)


def periods_of(df: pd.DataFrame, column: str, *, where: str) -> tuple[Ints, Ints, int]:
    """Every row's period (in the file's integers where it has them), the periods there are in order, and
    what they are (`periods.PARTS`).

    Raises InputError for missing values, or any that is neither a whole number nor part of a year.
    """
    place = f"{where}, column '{column}'"
    refuse_missing(df[column], column=column, what="period", where=where)
    own = df[column]
    if isinstance(own.dtype, np.dtype) and own.dtype.kind == "i":
        when, parts = own.to_numpy(), 1  # as the file has them: no copy
    else:
        values, parts = whole(own, where=place)
        infinite = int((~np.isfinite(values)).sum())
        if infinite:
            raise InputError(f"{infinite} periods are infinite", where=place)
        when = values.astype(np.int64)
    low, high = int(when.min()), int(when.max())
    if high - low < 100 * MAX_PERIODS:  # marking is faster than sorting
        there = np.zeros(high - low + 1, dtype=bool)
        for rows in pieces(when.size):
            there[when[rows].astype(np.int64) - low] = True
        grid = low + np.flatnonzero(there)
    else:
        grid = np.unique(when)
    if grid.size > MAX_PERIODS:
        raise InputError(f"{grid.size} different periods: more than {MAX_PERIODS}", where=place)
    return when, grid, parts


def places(when: Ints, grid: Ints) -> Ints:
    """Position of every period in the grid."""
    if grid.size == grid[-1] - grid[0] + 1:
        return when - grid[0]
    return np.searchsorted(grid, when).astype(np.int64)


def fingerprint_of(names: Sequence[str], *arrays: NDArray) -> str:
    """A short hash of columns' names and of the arrays read from them."""
    digest = hashlib.sha256("|".join(names).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def repeated(unit: Ints, when: Ints, grid: Ints) -> int:
    """How many rows repeat a unit and period."""
    seen = np.zeros((int(unit.max()) + 1) * grid.size, dtype=bool)
    for rows in pieces(unit.size):
        seen[unit[rows].astype(np.int64) * grid.size + places(when[rows], grid)] = True
    return int(unit.size - np.count_nonzero(seen))


def laid_out(
    columns: Sequence[Floats | None], unit: Ints, when: Ints, grid: Ints, row_of: Ints
) -> Floats:
    """[m, T, K] the columns [rows] by unit and period, NaN where there is no row. ``row_of`` [n] is the
    place of each unit, -1 for those left out."""
    m, periods = int(row_of.max()) + 1, grid.size
    out = np.full((m * periods, len(columns)), np.nan)
    for rows in pieces(unit.size):
        target = row_of[unit[rows]]
        place = target * periods + places(when[rows], grid)
        inside = target >= 0
        everybody = bool(inside.all())
        for k, column in enumerate(columns):
            assert column is not None
            if everybody:
                out[place, k] = column[rows]
            else:
                out[place[inside], k] = column[rows][inside]
    return out.reshape(m, periods, len(columns))


def number_column(df: pd.DataFrame, name: str, *, where: str, what: str = "an outcome") -> Floats:
    """[rows] a numeric outcome (or ``what``) as float64 (or the file's float32), NaN where missing.
    Raises InputError."""
    values = df[name]
    place = f"{where}, column '{name}'"
    the = "the " + what.split(" ", 1)[1]
    if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
        raise InputError(
            f"{what} must be a number",
            where=place,
            remedy="Code it as a number (0/1 for a share).",
        )
    if values.dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        array = values.to_numpy()
    else:
        array = values.astype("float64").to_numpy(dtype=np.float64)
    infinite = int(np.isinf(array).sum())
    if infinite:
        raise InputError(
            f"{infinite} of {len(array)} values of {the} are infinite",
            where=place,
            remedy="A logarithm of zero? Leave these values empty, or use another scale.",
        )
    if not np.isfinite(array).any():
        raise InputError(f"no value of {the} is observed", where=place)
    return array


def constant_or_read(
    df: pd.DataFrame,
    unit: Ints,
    when: Ints,
    columns: Sequence[str],
    period: int | str | None,
    *,
    parts: int,
    where: str,
) -> Ints:
    """[n] the row of each unit in which its constant columns are read, -1 for none.

    Without a ``period`` the columns must not change within a unit. Raises InputError.
    """
    if not columns or period is None:
        for column in dict.fromkeys(columns):
            count = changing(df, unit, column)
            if count:
                raise InputError(
                    f"the values change within {count} units",
                    where=f"{where}, column '{column}'",
                    remedy="Say covariate_period = the period whose values count, before anybody "
                    "is treated.",
                )
        return first_rows(unit)
    at = one_period(period, parts, where=f"{where}, covariate_period")
    rows = np.full(int(unit.max()) + 1, -1, dtype=np.int64)
    here = np.flatnonzero(when == at)
    if not here.size:
        raise InputError(
            f"no unit has a row in period {period}", where=f"{where}, covariate_period"
        )
    rows[unit[here]] = here
    return rows


def first_rows(unit: Ints) -> Ints:
    """[n] the first row of every unit, units numbered in order of appearance."""
    step = unit[1:] != unit[:-1]
    if np.count_nonzero(step) == unit.max():  # the file is sorted by unit
        return np.concatenate([[0], np.flatnonzero(step) + 1])
    rows = np.empty(int(unit.max()) + 1, dtype=np.int64)
    rows[unit[::-1]] = np.arange(unit.size - 1, -1, -1)
    return rows


def changing(df: pd.DataFrame, unit: Ints, column: str) -> int:
    """In how many units the column isn't the same in all rows (missing equals missing)."""
    values = df[column]
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iufb":
        codes = values.to_numpy()
    else:
        codes = pd.factorize(values, use_na_sentinel=False)[0]
    # neighbours that differ: none in most files that are sorted by unit, which costs one pass
    begun, other = 1, False
    for rows in pieces(unit.size - 1):
        behind = slice(rows.start + 1, rows.stop + 1)
        same = unit[behind] == unit[rows]
        begun += int(same.size - np.count_nonzero(same))
        other = other or bool((same & (codes[behind] != codes[rows])).any())
    if not other and begun == 1 + int(unit.max()):
        return 0
    start = first_rows(unit)
    first = codes[start][unit]
    differs = codes != first
    if codes.dtype.kind == "f":
        differs &= ~(np.isnan(codes) & np.isnan(first))
    return int(np.unique(unit[differs]).size)


def weights_of(own: pd.DataFrame, column: str, placed: NDArray[np.bool_], *, where: str) -> Floats:
    """[n] weights, at least 0; 0 for units without a row to read them in. Raises InputError."""
    place = f"{where}, column '{column}'"
    values = own[column]
    if not pd.api.types.is_numeric_dtype(values):
        raise InputError("weights must be numbers", where=place)
    array = values.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = int((~np.isfinite(array[placed])).sum())
    if bad:
        raise InputError(f"{bad} of {int(placed.sum())} units have no weight", where=place)
    negative = int((array[placed] < 0).sum())
    if negative:
        raise InputError(
            f"{negative} of {int(placed.sum())} weights are negative",
            where=place,
            remedy="A weight is the number of units that a unit stands for, at least 0.",
        )
    if not (array[placed] > 0).any():
        raise InputError("every weight is zero", where=place)
    return np.where(placed, array, 0.0)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Every row's ``unit`` and period (``when``), the periods there are (``grid``) and what they are
    ``parts`` of, outcomes and covariates that vary by name."""

    unit: Ints
    when: Ints
    grid: Ints
    parts: int
    outcomes: Mapping[str, Floats]
    varying: Mapping[str, Floats]


def rows_of(
    errors: Errors, df: pd.DataFrame, said: Declared, unit: str, period: str, *, where: str
) -> Rows:
    """What has a value in every row. Raises InputErrors: a unit missing, a unit and period twice,
    outcomes that aren't numbers, clusters that change in a unit; one period is added to ``errors``."""
    errors.attempt(lambda: refuse_missing(df[unit], column=unit, what="unit", where=where))
    errors.stop(where)
    number = numbered(df[unit])
    found = errors.attempt(lambda: periods_of(df, period, where=where))
    twice = 0 if found is None else repeated(number, found[0], found[1])
    if twice:
        errors.add(
            f"{twice} rows repeat a unit and period",
            where=f"{where}, columns '{unit}' and '{period}'",
            remedy="A panel has one row for each: add them up, or drop the copies.",
        )

    def numbers(names: Sequence[str], what: str) -> dict[str, Floats]:
        read: dict[str, Floats] = {}
        for name in names:
            values = errors.attempt(partial(number_column, df, name, where=where, what=what))
            if values is not None:
                read[name] = values
        return read

    outcomes = numbers(said.outcomes, "an outcome")
    varying = numbers(said.varying, "a covariate that varies")
    for name in said.clusters:
        errors.attempt(lambda c=name: refuse_changing(df, number, c, "cluster", where))  # type: ignore[misc]
    errors.stop(where)
    assert found is not None
    when, grid, parts = found
    if grid.size < 2:
        errors.add("there is only one period", where=f"{where}, column '{period}'")
    return Rows(unit=number, when=when, grid=grid, parts=parts, outcomes=outcomes, varying=varying)
