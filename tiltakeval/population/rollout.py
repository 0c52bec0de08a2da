"""Offices by period: how many eligible persons, their summed outcomes, when the programme came.

Everything about persons is counted and summed in the engine; what comes out are sums over the persons
of an office. Nothing dated after the base month decides who is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.months import month_label
from tiltakeval.population.rollout_eligible import benefits_of, eligible
from tiltakeval.population.rollout_participation import participation
from tiltakeval.population.rollout_spec import RolloutSpec
from tiltakeval.population.rollout_starts import office_starts, regions_of
from tiltakeval.population.tables import Working, prepare
from tiltakeval.programmes.catalogue import Catalogue
from tiltakeval.registers import prices
from tiltakeval.registers.read import Registers
from tiltakeval.spells.outcomes import benefit_months, job_months, outcome

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: What is averaged to see whether the eligible change: known in the base month.
CHARACTERISTICS = (
    "age_years", "female", "landgruppe_3", "mental_diagnosis", "months_registered",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OfficePeriods:
    """U units, S levels of the split, T periods, K outcomes, C characteristics.

    ``starts`` [U]: month of the unit's start, infinite where it never has one. ``periods`` [T]: month
    index over ``spec.step``. ``persons`` [U, S]: persons ever counted. ``counts`` [U, S, T]:
    person-months with a known outcome. ``sums`` [U, S, T, K] of the outcomes over them. ``made_of``
    [U, S, T, C]: sums of ``CHARACTERISTICS`` over them. ``attrition``: persons and base months left
    after each rule. With predictors ``exposed`` and ``took`` [U, S] are as in
    `rollout_participation.participation`.
    """

    spec: RolloutSpec
    units: tuple[str, ...]
    starts: Floats
    periods: Ints
    persons: Ints
    counts: Ints
    sums: Floats
    made_of: Floats
    attrition: Attrition
    fingerprint: str
    exposed: Floats | None = None
    took: Floats | None = None

    def whole(self) -> OfficePeriods:
        """The same with the predictors' profiles of each unit added up."""
        if not self.spec.predictors:
            return self
        spec = replace(self.spec, predictors=())
        outer = len(spec.levels)

        def added(values: Any) -> Any:
            cut = values.reshape(values.shape[0], outer, -1, *values.shape[2:])
            return cut.sum(axis=2)

        return replace(
            self,
            spec=spec,
            persons=added(self.persons),
            counts=added(self.counts),
            sums=added(self.sums),
            made_of=added(self.made_of),
            exposed=None,
            took=None,
        )


def office_periods(
    registers: Registers,
    catalogue: Catalogue,
    spec: RolloutSpec,
    *,
    regions: Mapping[str, str] | None = None,
) -> OfficePeriods:
    """The sums of a roll-out. ``regions``: office to region, needed where units are regions.

    Raises InputError: an unknown programme, months that the extract doesn't cover, no office with a
    start, offices without a region, or of one region with starts in different periods, nobody eligible.
    """
    catalogue[spec.programme]
    work = prepare(registers, catalogue, seed=0)
    try:
        _require_covered(work, spec)
        starts = office_starts(work, spec)
        people, attrition = eligible(work, spec)
        unit_of = regions_of(work, spec, people, starts, regions)
        return _summed(work, spec, people, attrition, unit_of)
    finally:
        work.close()


def _require_covered(work: Working, spec: RolloutSpec) -> None:
    """Every month that is read must be covered: an absent row is a zero only inside the coverage."""
    first, last = spec.base_months
    needed = {"spells": (first, last)}
    if spec.without or spec.receiving or benefits_of(spec):
        needed["benefits"] = (first, last)
    for name in spec.outcomes:
        table = outcome(name).table
        low, high = needed.get(table, spec.window)
        needed[table] = (min(low, spec.window[0]), max(high, spec.window[1]))
    for table, (low, high) in needed.items():
        if table not in work.coverage:
            raise InputError(
                f"the months '{table}' covers are not declared",
                where="last_observed",
                remedy="Add a row for the table.",
            )
        known = work.coverage[table]
        if low < known[0] or high > known[1]:
            raise InputError(
                f"the months {month_label(low)} to {month_label(high)} aren't all covered: "
                f"the extract has {month_label(known[0])} to {month_label(known[1])}",
                where=f"roll-out, table {table}",
                remedy="Narrow the window, or supply a longer extract.",
            )


def _summed(
    work: Working, spec: RolloutSpec, people: Table, attrition: Attrition, unit_of: pd.DataFrame
) -> OfficePeriods:
    """Counts and sums by unit, level and period. ``unit_of``: office, unit (number), name, start."""
    lookup = work.small(
        {"at_office": unit_of["office"].tolist(), "unit": unit_of["unit"].tolist()}, "units"
    )
    rows = people.inner_join(lookup, people.office == lookup.at_office).drop("at_office", "office")
    rows = work.keep(rows, "placed")
    first, last = spec.window
    grid = np.arange(first // spec.step, last // spec.step + 1)
    named = unit_of.drop_duplicates("unit").sort_values("unit")
    shape = (len(named), len(spec.levels), grid.size)
    keys = ["unit", "level"]
    persons = np.zeros(shape[:2], dtype=np.int64)
    found = work.engine.frame(rows.group_by(keys).agg(n=rows.person_id.nunique()))
    persons[found["unit"], found["level"]] = found["n"]
    counts = np.zeros(shape, dtype=np.int64)
    made_of = np.zeros((*shape, len(CHARACTERISTICS)))
    if spec.who == "fixed":
        # the group is the same all along: count once, by the month from which nothing is known
        cut = rows.mutate(until=rows.until.clip(first, last + 1).cast("int32"))
        found = work.engine.frame(_total(cut, [*keys, "until"]))
        for m in range(first, last + 1):
            seen = found[found["until"] > m]
            at = (seen["unit"].to_numpy(), seen["level"].to_numpy(), m // spec.step - grid[0])
            np.add.at(counts, at, seen["n"].to_numpy())
            np.add.at(made_of, at, seen[list(CHARACTERISTICS)].to_numpy())
    else:
        seen = rows.mutate(month=(rows.k + spec.after).cast("int32"))
        seen = seen.filter(seen.month < seen.until)
        seen = seen.mutate(period=(seen.month // spec.step - int(grid[0])).cast("int32"))
        found = work.engine.frame(_total(seen, [*keys, "period"]))
        at = (found["unit"].to_numpy(), found["level"].to_numpy(), found["period"].to_numpy())
        counts[at] = found["n"]
        made_of[at] = found[list(CHARACTERISTICS)]
    sums = np.zeros((*shape, len(spec.outcomes)))
    for table in sorted({outcome(name).table for name in spec.outcomes}):
        mine = [(j, outcome(n)) for j, n in enumerate(spec.outcomes) if outcome(n).table == table]
        months = _months(work, spec, rows, table)
        found = work.engine.frame(_outcome_sums(spec, rows, months, [o.column for _, o in mine]))
        at = (
            found["unit"].to_numpy(), found["level"].to_numpy(),
            found["period"].to_numpy() - grid[0],
        )  # fmt: skip
        for j, one in mine:
            sums[(*at, j)] = found[one.column]
    exposed = took = None
    if spec.predictors:
        exposed, took = participation(work, spec, rows, unit_of, shape[:2])
    return OfficePeriods(
        exposed=exposed,
        took=took,
        spec=spec,
        units=tuple(str(name) for name in named["name"]),
        starts=named["start"].to_numpy(dtype=np.float64),
        periods=grid.astype(np.int64),
        persons=persons,
        counts=counts,
        sums=sums,
        made_of=made_of,
        attrition=attrition,
        fingerprint=f"{work.registers.fingerprint}:{spec}",
    )


def _total(rows: Table, keys: list[str]) -> Table:
    return rows.group_by(keys).agg(
        n=rows.count(), **{name: rows[name].sum() for name in CHARACTERISTICS}
    )


def _months(work: Working, spec: RolloutSpec, rows: Table, table: str) -> Table:
    """Person-months with jobs or benefits of those counted, in the window."""
    factors = None if spec.price_year is None else prices.load().deflators(spec.price_year)
    raw = work.registers[table]
    raw = raw.filter((raw.month >= spec.window[0]) & (raw.month <= spec.window[1]))
    raw = raw.semi_join(rows, "person_id")
    if table == "jobs":
        return job_months(raw, work.parts, subsidising=work.catalogue.subsidised(), factors=factors)
    return benefit_months(raw, factors=factors)


def _outcome_sums(spec: RolloutSpec, rows: Table, months: Table, columns: list[str]) -> Table:
    """unit, level, period and the columns' sums over months with a row; the other months are zero."""
    base = rows.select("person_id", "k", "until", "unit", "level")
    joined = months.inner_join(base, "person_id")
    joined = joined.filter(joined.month < joined.until)
    if spec.who != "fixed":
        joined = joined.filter(joined.month == joined.k + spec.after)
    joined = joined.mutate(period=(joined.month // spec.step).cast("int32"))
    return joined.group_by("unit", "level", "period").agg(
        **{name: joined[name].cast("float64").sum() for name in columns}
    )
