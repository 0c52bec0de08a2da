"""The columns of an event history, read and checked: times, codes, risk sets, order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import as_text, listed, refuse_missing
from tiltakeval.errors import InputError

NOTHING = ("0", "none")


def numbers(df: pd.DataFrame, name: str, *, what: str, where: str) -> NDArray[np.float64]:
    """A complete, finite numeric column. Raises InputError with the column and the count."""
    refuse_missing(df[name], column=name, what=what, where=where)
    values = pd.to_numeric(df[name], errors="coerce").to_numpy(dtype=np.float64)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise InputError(
            f"{bad} of {len(df)} rows have a {what} that isn't a finite number",
            where=f"{where}, column '{name}'",
        )
    return values


def refuse_broken_order(
    values: pd.Series, *, column: str, what: str, where: str
) -> NDArray[np.int64]:
    """A dense number per row, in order of appearance. Raises InputError unless rows are adjacent."""
    code = pd.factorize(values)[0].astype(np.int64)
    blocks = np.bincount(code[np.r_[True, np.diff(code) != 0]])
    if (blocks > 1).any():
        broken = int((blocks > 1).sum())
        raise InputError(
            f"the rows of {broken} {what}(s) are not adjacent",
            where=f"{where}, column '{column}'",
            remedy=f"Sort the file by {what} and time.",
        )
    return code


def row_times(
    df: pd.DataFrame,
    part: NDArray[np.int64],
    *,
    duration: str | None,
    start: str | None,
    stop: str | None,
    restarts: bool,
    where: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and stop of every row, from row lengths or from the two columns. Raises InputError."""
    if (duration is None) == (stop is None) or (duration is not None and start is not None):
        raise InputError(
            "times must be given once",
            where=where,
            remedy="Say duration = the length of each row, or start and stop.",
        )
    first = np.r_[True, np.diff(part) != 0]
    if duration is not None:
        length = numbers(df, duration, what="duration", where=where)
        _refuse_short(length, column=duration, where=where)
        end = _running_sums(length, first)
        begin = np.where(first, 0.0, np.r_[0.0, end[:-1]])
        return begin, end
    end = numbers(df, str(stop), what="stop", where=where)
    begin = np.zeros(len(df))
    if start is not None:
        begin = numbers(df, start, what="start", where=where)
    if (begin < 0).any():
        raise InputError(
            f"{int((begin < 0).sum())} rows start before the spell's origin (time 0)",
            where=f"{where}, column '{start}'",
        )
    _refuse_short(end - begin, column=str(stop), where=where)
    overlap = int((begin[1:] < end[:-1])[~first[1:]].sum())
    if overlap:
        raise InputError(
            f"{overlap} rows start before the person's row above has ended",
            where=f"{where}, column '{start or stop}'",
            remedy="Sort by person and time; rows must not overlap."
            + ("" if restarts else " With several spells a person, say spell = a column."),
        )
    return begin, end


def _running_sums(length: NDArray[np.float64], first: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sums from each ``first`` on, added one by one, so that equal rows give exactly equal times."""
    opens = np.flatnonzero(first)
    rows = np.diff(np.r_[opens, length.size])
    end = length.copy()
    for place in range(1, int(rows.max())):
        at = opens[rows > place] + place
        end[at] += end[at - 1]
    return end


def _refuse_short(length: NDArray[np.float64], *, column: str, where: str) -> None:
    zero, negative = int((length == 0).sum()), int((length < 0).sum())
    if zero or negative:
        raise InputError(
            f"{zero} rows have zero duration and {negative} a negative one",
            where=f"{where}, column '{column}'",
            remedy="Every row must last. With dates in whole units, let a row last at least one.",
        )


def exits_of(
    exits: str | Mapping[str, str], *, where: str
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Code text -> transition number (from 1), and the transitions' names. Raises InputError."""
    pairs = exits.items() if isinstance(exits, Mapping) else code_pairs(exits, where=where)
    codes: dict[str, int] = {}
    names: list[str] = []
    for code, name in pairs:
        key = as_text(code).strip()
        if key in NOTHING:
            raise InputError(f"code {key} means that nothing happens", where=where)
        if key in codes:
            raise InputError(f"code {key} is named twice", where=where)
        if name not in names:
            names.append(name)
        codes[key] = names.index(name) + 1
    if not names:
        raise InputError("no exit is named", where=where, remedy="For example: exits=1:job")
    return codes, tuple(names)


def code_pairs(text: str, *, where: str) -> list[tuple[str, str]]:
    """Parts of "1:job,2:programme". Raises InputError."""
    found = []
    for piece in listed(text):
        code, colon, name = (part.strip() for part in piece.partition(":"))
        if not colon or not code or not name:
            raise InputError(
                f"'{piece}' isn't code:name", where=where, remedy="For example: 1:job,2:programme"
            )
        found.append((code, name))
    return found


def event_codes(
    values: pd.Series, codes: Mapping[str, int], transitions: Sequence[str], *, where: str
) -> NDArray[np.int16]:
    """Transition number per row, 0 for none. Raises InputError for a code that isn't named."""
    place = f"{where}, column '{values.name}'"
    levels = pd.factorize(values)
    text = [as_text(level) for level in levels[1]]
    lost = [i for i, name in enumerate(text) if name not in codes and name not in NOTHING]
    if lost:
        count = int(np.isin(levels[0], lost).sum())
        listed_codes = ", ".join(sorted(text[i] for i in lost)[:10])
        raise InputError(
            f"{count} rows have event code(s) that aren't named: {listed_codes}",
            where=place,
            remedy="Name every code in exits, for example exits=1:job,2:programme; 0 is none.",
        )
    table = np.array([codes.get(name, 0) for name in text], dtype=np.int16)
    found: NDArray[np.int16] = table[levels[0]]
    counts = np.bincount(found, minlength=len(transitions) + 1)
    never = [name for name, count in zip(transitions, counts[1:]) if not count]
    if never:
        raise InputError(
            f"{', '.join(never)} never happens in {len(found)} rows",
            where=place,
            remedy="Leave the exit out, or check its code.",
        )
    return found


def status_columns(df: pd.DataFrame, names: Sequence[str], *, where: str) -> NDArray[np.float64]:
    """[R, q] programme status. Raises InputError unless every value is 0 or 1."""
    columns = []
    for name in names:
        values = numbers(df, name, what="programme status", where=where)
        odd = int((~np.isin(values, (0.0, 1.0))).sum())
        if odd:
            raise InputError(
                f"{odd} of {len(df)} rows have a programme status that is neither 0 nor 1",
                where=f"{where}, column '{name}'",
                remedy="Make one 0/1 column for each status.",
            )
        columns.append(values)
    return np.stack(columns, axis=1) if columns else np.zeros((len(df), 0))


def refuse_varying(
    values: NDArray, unit: NDArray[np.int64], *, column: str | None, where: str
) -> None:
    """Raise InputError when a column isn't constant within a person (or spell)."""
    changes = (values[1:] != values[:-1]) & (unit[1:] == unit[:-1])
    if changes.any():
        count = int(np.unique(unit[1:][changes]).size)
        raise InputError(
            f"the value changes within {count} person(s)",
            where=f"{where}, column '{column}'",
            remedy="It must be the same in all rows of a person.",
        )


def refuse_constant(
    x: NDArray[np.float64],
    at_risk: NDArray[np.bool_],
    enters: NDArray[np.bool_],
    names: Sequence[str],
    transitions: Sequence[str],
    where: str,
) -> None:
    """Raise InputError when a covariate has one value wherever a transition it enters is possible."""
    for j, transition in enumerate(transitions):
        if at_risk[:, j].all():
            low, high = x.min(axis=0, initial=np.inf), x.max(axis=0, initial=-np.inf)
        else:
            inside = x[at_risk[:, j]]
            low, high = inside.min(axis=0, initial=np.inf), inside.max(axis=0, initial=-np.inf)
        flat = [name for name, use, same in zip(names, enters[j], low >= high) if use and same]
        if flat:
            raise InputError(
                f"the covariate is constant in all {int(at_risk[:, j].sum())} rows "
                f"where {transition} is possible",
                where=f"{where}, column {', '.join(repr(name) for name in flat)}",
                remedy="Leave it out: its effect can't be told from the level.",
            )


def split_at(
    columns: Mapping[str, NDArray], origin: NDArray[np.float64], *, column: str, where: str
) -> tuple[dict[str, Any], dict[str, Any], NDArray[np.int64]]:
    """Rows from ``origin`` on and rows before it, a row across it cut in two; and the former's rows.

    Persons are renumbered alike in both. Raises InputError when someone isn't observed at all.
    """
    start, stop, person = columns["start"], columns["stop"], columns["person"]
    if (origin < 0).any():
        raise InputError(
            f"{int((origin < 0).sum())} rows have a negative time",
            where=f"{where}, column '{column}'",
        )
    late = np.ones(int(person[-1]) + 1, dtype=bool)
    late[person[stop > origin]] = False
    if late.any():
        raise InputError(
            f"{int(late.sum())} persons have no row after they come under observation",
            where=f"{where}, column '{column}'",
            remedy="Leave these persons out: they are not observed.",
        )
    after, before = np.flatnonzero(stop > origin), np.flatnonzero(start < origin)
    kept: dict[str, Any] = {name: values[after] for name, values in columns.items()}
    kept["start"] = np.maximum(kept["start"], origin[after])
    earlier: dict[str, Any] = {name: values[before] for name, values in columns.items()}
    cut = earlier["stop"] > origin[before]
    earlier["stop"] = np.minimum(earlier["stop"], origin[before])
    earlier["event"] = np.where(cut, 0, earlier["event"]).astype(np.int16)
    return kept, earlier, after
