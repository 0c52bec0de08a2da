"""Sparse rows from the engine scattered into preallocated float32 arrays.

Zero is right only inside the months a source covers; outside them, and where a unit can't be
observed, the value is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ibis
import numpy as np
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.engine import Engine
from tiltakeval.errors import InputError
from tiltakeval.population.tables import Working
from tiltakeval.spells.outcomes import EDUCATION_PROGRAMMES, Outcome

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Clock:
    """k [n]: month of time zero. death, emigration [n]: months (``OPEN`` where neither)."""

    k: NDArray[np.int32]
    death: NDArray[np.int32]
    emigration: NDArray[np.int32]

    @property
    def n(self) -> int:
        """Number of units."""
        return len(self.k)


def outcome_array(
    work: Working,
    units: Table,
    clock: Clock,
    outcomes: tuple[Outcome, ...],
    sources: Mapping[str, Table],
    offsets: tuple[int, int],
    *,
    death: str,
) -> Floats:
    """[n, T, K] of the outcomes in months k + offsets[0] .. k + offsets[1].

    ``sources``: the person-months of "jobs" and "benefits". ``death``: "zero" or "censor".
    Raises InputError when a source's covered months aren't declared.
    """
    first, last = offsets
    months = last - first + 1
    out = np.zeros((clock.n, months, len(outcomes)), dtype=np.float32)
    for table in sorted({o.table for o in outcomes}):
        places = [(j, o) for j, o in enumerate(outcomes) if o.table == table]
        if table == "spells":
            found = _registered(work, units, clock.n, offsets)
            for j, _ in places:
                out[:, :, j] = found
        elif table == "participation":
            found = _education_entry(work, units, clock.n, offsets)
            for j, _ in places:
                out[:, :, j] = found
        else:
            _scatter(work.engine, units, sources[table], places, offsets, out)
        blank = ~observed(work, clock, table, offsets, death=death)
        after_death = _after(clock, clock.death, offsets) if death == "zero" else None
        for j, o in places:
            if after_death is not None and not o.lasting:
                out[:, :, j][after_death] = 0.0
            out[:, :, j][blank] = np.nan
    return out


def observed(
    work: Working, clock: Clock, table: str, offsets: tuple[int, int], *, death: str
) -> NDArray[np.bool_]:
    """[n, T]: whether the unit's months are known: covered by the table, before emigration, and
    before death where death censors."""
    if table not in work.coverage:
        raise InputError(
            f"the months '{table}' covers are not declared",
            where="last_observed",
            remedy="Add a row for the table.",
        )
    low, high = work.coverage[table]
    month = clock.k[:, None] + np.arange(offsets[0], offsets[1] + 1, dtype=np.int32)
    known = (month >= low) & (month <= high) & (month < clock.emigration[:, None])
    if death == "censor":
        known &= month < clock.death[:, None]
    return known


def _after(
    clock: Clock, event: NDArray[np.int32], offsets: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """[n, T]: months after the event's month; None when there are none."""
    if not (event <= clock.k + offsets[1]).any():
        return None
    month = clock.k[:, None] + np.arange(offsets[0], offsets[1] + 1, dtype=np.int32)
    found: NDArray[np.bool_] = month > event[:, None]
    return found


def _scatter(
    engine: Engine,
    units: Table,
    source: Table,
    places: list[tuple[int, Outcome]],
    offsets: tuple[int, int],
    out: Floats,
) -> None:
    first, last = offsets
    names = [o.column for _, o in places]
    rows = units.inner_join(
        source,
        ["person_id", source.month >= units.k + first, source.month <= units.k + last],
    )
    rows = rows.select(
        "unit",
        offset=(source.month - units.k - first).cast("int32"),
        **{name: source[name].cast("float32") for name in names},
    )
    flat = out.reshape(-1, out.shape[2])
    for batch in engine.arrow_batches(rows):
        at = batch.column("unit").to_numpy().astype(np.int64) * out.shape[1]
        at += batch.column("offset").to_numpy()
        for (j, _), name in zip(places, names):
            flat[at, j] = batch.column(name).to_numpy()


def _registered(work: Working, units: Table, n: int, offsets: tuple[int, int]) -> NDArray[np.bool_]:
    """Registered in either state through the end of the month, [n, T]."""
    first, last = offsets
    spells = work.segments.select("person_id", "spell_from", "spell_to").distinct()
    rows = units.select("unit", "person_id", "k").inner_join(spells, "person_id")
    rows = rows.select(
        "unit",
        lo=ibis.greatest(rows.spell_from - rows.k, first) - first,
        hi=ibis.least(rows.spell_to - rows.k, last) - first,
    )
    steps = np.zeros((n, last - first + 2), dtype=np.int16)
    for batch in work.engine.arrow_batches(rows.filter(rows.lo <= rows.hi)):
        unit = batch.column("unit").to_numpy()
        np.add.at(steps, (unit, batch.column("lo").to_numpy()), 1)
        np.add.at(steps, (unit, batch.column("hi").to_numpy() + 1), -1)
    found: NDArray[np.bool_] = np.cumsum(steps[:, :-1], axis=1) > 0
    return found


def _education_entry(
    work: Working, units: Table, n: int, offsets: tuple[int, int]
) -> NDArray[np.bool_]:
    """Has begun an education programme in k or later, by the month, [n, T]; False before k."""
    first, last = offsets
    p = work.parts
    p = p.filter(p.begun & p.programme.isin(list(EDUCATION_PROGRAMMES)))
    rows = units.inner_join(
        p, ["person_id", p.start_month >= units.k, p.start_month <= units.k + last]
    )
    rows = rows.select("unit", offset=(p.start_month - units.k - first).cast("int32"))
    found = np.zeros((n, last - first + 1), dtype=bool)
    for batch in work.engine.arrow_batches(rows.group_by("unit").agg(offset=rows.offset.min())):
        offset = batch.column("offset").to_numpy()
        inside = offset >= 0
        found[batch.column("unit").to_numpy()[inside], offset[inside]] = True
    result: NDArray[np.bool_] = np.maximum.accumulate(found, axis=1)
    return result
