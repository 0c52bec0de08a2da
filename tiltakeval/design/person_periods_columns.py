"""Categories of person-periods: their levels, what is wrong with them, and 0/1 columns from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ibis.expr.types import StringValue, Table
from numpy.typing import NDArray

from tiltakeval.engine import Engine
from tiltakeval.errors import InputError, InputErrors, unknown

MAX_LEVELS = 1000


@dataclass(frozen=True)
class Factor:
    """A category: its levels, whether the column holds text, whether it is programme status, and the
    position of the reference level (None: the first that occurs)."""

    name: str
    levels: tuple[str, ...]
    text: bool
    status: bool
    reference: int | None


def refuse_bad_rows(
    engine: Engine,
    table: Table,
    names: tuple[str, str, str, str | None, str | None],
    others: Sequence[str | None],
    transitions: Sequence[str],
    *,
    where: str,
) -> None:
    """Raise InputError for missing values (by column, counted), a time below 0, an event that is no
    transition, an exposure outside (0, 1] or a weight below 0, or no rows. One pass over the table."""
    _, time, event, exposure, weight = names
    used = [name for name in dict.fromkeys((*names, *others)) if name is not None]
    wanted = {f"null_{i}": table[name].isnull().sum() for i, name in enumerate(used)}
    wanted["rows"] = table.count()
    wanted["early"] = (table[time] < 0).sum()
    wanted["odd"] = ((table[event] < 0) | (table[event] > len(transitions))).sum()
    if exposure is not None:
        wanted["outside"] = ((table[exposure] <= 0) | (table[exposure] > 1)).sum()
    if weight is not None:
        wanted["negative"] = (table[weight] < 0).sum()
    counted = engine.arrow(table.agg(**wanted)).to_pylist()[0]
    found = {key: int(value or 0) for key, value in counted.items()}
    if found["rows"] == 0:
        raise InputError("there are no person-periods", where=where)
    faults = [
        InputError(f"{found[f'null_{i}']:,} values are missing", where=f"{where}, '{name}'")
        for i, name in enumerate(used)
        if found[f"null_{i}"]
    ]
    said = {
        "early": (time, "times are below 0"),
        "odd": (event, f"events are none of 0..{len(transitions)}"),
        "outside": (exposure, "exposures are not above 0 and at most 1"),
        "negative": (weight, "weights are below 0"),
    }
    faults += [
        InputError(f"{found[key]:,} {text}", where=f"{where}, '{name}'")
        for key, (name, text) in said.items()
        if found.get(key)
    ]
    if faults:
        raise InputErrors(faults, title="The person-periods can't be used as they are.")


def factors_of(
    engine: Engine,
    table: Table,
    categories: Mapping[str, Sequence[str] | None],
    status: Sequence[str],
    reference: Mapping[str, str],
    *,
    where: str,
) -> list[Factor]:
    """The categories with their levels. Raises InputError for levels that aren't declared, too many,
    or more combinations than a key can hold."""
    found = []
    for name, declared in categories.items():
        place = f"{where}, '{name}'"
        text = not table[name].type().is_integer()
        column = table[name] if declared is not None and not text else as_text(table, name, place)
        if declared is not None and not text:
            levels = tuple(str(level) for level in declared)
            wrong = table.agg(n=((column < 0) | (column >= len(levels))).sum())
            outside = int(engine.arrow(wrong).to_pylist()[0]["n"] or 0)
            if outside:
                raise InputError(
                    f"{outside:,} values are no position in its {len(levels)} levels",
                    where=place,
                )
        else:
            seen = engine.frame(table.select(value=column).distinct())["value"]
            if len(seen) > MAX_LEVELS:
                raise InputError(
                    f"{len(seen):,} levels: more than {MAX_LEVELS:,}",
                    where=place,
                    remedy="Join levels, or take it as continuous.",
                )
            levels = tuple(sorted((str(v) for v in seen), key=_natural))
            text = True
            if declared is not None:
                strange = sorted(set(levels) - {str(level) for level in declared})
                if strange:
                    raise unknown("level", strange[0], declared, where=place)
                levels = tuple(str(level) for level in declared)
        at = None
        if name in reference:
            if reference[name] not in levels:
                raise unknown("level", reference[name], levels, where=f"{place}, reference")
            at = levels.index(reference[name])
        found.append(Factor(name, levels, text, name in status, 0 if name in status else at))
    size = 1
    for factor in found:
        size *= len(factor.levels)
    if size >= 2**62:
        raise InputError(
            f"{len(found)} categories have more combinations than can be numbered",
            where=where,
            remedy="Use fewer categories, or fewer levels of the largest.",
        )
    return found


def as_text(table: Table, name: str, where: str) -> StringValue:
    """A category's values as text. Raises InputError for a type that can't be a category."""
    column = table[name]
    kind = column.type()
    if kind.is_string():
        return column
    if kind.is_boolean():
        column = column.cast("int8")
    elif not kind.is_integer():
        raise InputError(
            f"is {kind}, not whole numbers or text", where=where, remedy="Take it as continuous."
        )
    return column.cast("string")


def _natural(text: str) -> tuple[int, float, str]:
    """Numbers in order of size, before text."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def dummies(
    factors: Sequence[Factor],
    levels: Sequence[NDArray[np.int64]],
    interactions: Sequence[tuple[str, str]],
    *,
    codes: int,
    where: str,
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """[codes, p] 0/1 columns ``column_level`` of every level that occurs but the reference, and of the
    pairs of such levels for each interaction (``a_level:b_level``); and their names."""
    columns: list[NDArray[np.bool_]] = []
    names: list[str] = []
    single: dict[str, list[tuple[str, NDArray[np.bool_]]]] = {}
    for factor, code in zip(factors, levels):
        seen = np.flatnonzero(np.bincount(code, minlength=len(factor.levels)))
        base = factor.reference if factor.reference is not None else int(seen[0])
        if base not in seen:
            raise InputError(
                f"the reference level '{factor.levels[base]}' never occurs",
                where=f"{where}, '{factor.name}'",
            )
        own = [(f"{factor.name}_{factor.levels[i]}", code == i) for i in seen if i != base]
        single[factor.name] = own
        names += [name for name, _ in own]
        columns += [flag for _, flag in own]
    for left, right in interactions:
        for name_a, a in single[left]:
            for name_b, b in single[right]:
                both = a & b
                if both.any():
                    names.append(f"{name_a}:{name_b}")
                    columns.append(both)
    x = np.empty((codes, len(columns)), dtype=np.uint8)
    for j, flag in enumerate(columns):
        x[:, j] = flag
    return x, tuple(names)
