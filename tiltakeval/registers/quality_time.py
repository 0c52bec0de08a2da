"""Quality rules on persons and time: order, windows, overlaps, coverage, links between tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ibis
from ibis.expr.types import Table

from tiltakeval.errors import counted
from tiltakeval.estimates.check import Check
from tiltakeval.months import month_label
from tiltakeval.registers.convert import FAR, month_of
from tiltakeval.registers.finding import finding, month_text, shown
from tiltakeval.registers.quality_values import counts
from tiltakeval.registers.read import Registers
from tiltakeval.registers.schema import Schema

_TIME = {"spells": "start", "participation": "start", "jobs": "month", "benefits": "month",
         "offices": "month"}  # fmt: skip


def _first(registers: Registers, rows: Table, month: Any) -> str | None:
    """The first month among the rows, as an example."""
    value = registers.engine.arrow(rows.aggregate(m=month.min())).to_pylist()[0]["m"]
    return month_text(value)


def reversed_dates(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Ends before starts, empty periods, death before birth."""
    for name, table in registers.tables.items():
        period = schema[name].period
        if period is None:
            continue
        start, stop = table[period[0]], table[period[1]]
        wrong = (stop < start).fill_null(False)
        empty = (stop == start).fill_null(False)
        found = counts(registers, table, {"reversed": wrong, "empty": empty})
        if "reversed" in found:
            rows = table.filter(wrong)
            yield finding(
                "reversed_dates", "error", f"{period[1]} is before {period[0]}", table=name,
                column=period[1], rows=found["reversed"],
                example=_first(registers, rows, month_of(rows[period[0]])),
                remedy="Swap or drop them; such rows are left out of every period. If there are "
                "many, the end convention in the source may be wrong.",
            )  # fmt: skip
        if "empty" in found:
            yield finding(
                "reversed_dates", "info", "periods without a day (start and end are the same)",
                table=name, column=period[1], rows=found["empty"],
                remedy="Is the end the last day? Then end_date is 'inclusive' in the source.",
            )  # fmt: skip
    if "persons" in registers:
        table = registers["persons"]
        wrong = (table.death_date < table.birth_date).fill_null(False)
        for rows_wrong in counts(registers, table, {"": wrong}).values():
            yield finding(
                "reversed_dates", "error", "death before birth", table="persons",
                column="death_date", rows=rows_wrong, remedy="Correct the dates.",
            )  # fmt: skip


def order_of_events(registers: Registers, schema: Schema) -> Iterator[Check]:
    """A place that starts before its decision, or is decided before it is applied for."""
    if "participation" not in registers:
        return
    table = registers["participation"]
    conditions = {
        "start before decision_date": table.start < table.decision_date,
        "decision_date before application_date": table.decision_date < table.application_date,
    }
    found = counts(registers, table, {k: c.fill_null(False) for k, c in conditions.items()})
    for text, rows in found.items():
        yield finding(
            "order_of_events", "warning", text, table="participation", column=text.split(" ")[0],
            rows=rows,
            remedy="Decisions registered late move time zero: decide which date a study uses.",
        )  # fmt: skip


def outside_window(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Rows outside the months last_observed says the table covers."""
    if "last_observed" not in registers:
        return
    for row in _windows(registers):
        name, first, last = row["table_name"], row["first_month"], row["last_month"]
        if name not in registers or name not in _TIME or first is None or last is None:
            continue
        table, column = registers[name], _TIME[name]
        value: Any = table[column]
        month = value if column == "month" else month_of(value)
        conditions = {"after": (month > last).fill_null(False)}
        if column == "month":
            conditions["before"] = (month < first).fill_null(False)
        planned = name == "participation"
        for side, rows in counts(registers, table, conditions).items():
            edge = month_label(last if side == "after" else first)
            yield finding(
                "outside_window", "info" if planned else "error",
                f"{'planned starts' if planned else 'rows'} {side} {edge}", table=name,
                column=column, rows=rows,
                remedy="Not used." if planned else "Correct last_observed, or drop the rows.",
            )  # fmt: skip


def coverage(registers: Registers, schema: Schema) -> Iterator[Check]:
    """What the tables cover, months in between without any row, tables without rows."""
    for name, table in registers.tables.items():
        reading = registers.reading.get(name)
        absent = reading is not None and reading.absent
        if absent and registers.lacks(name, *table.columns):
            continue
        if absent or registers.engine.count(table) == 0:
            yield finding(
                "coverage", "warning",
                "not in the extract" if absent else "the table has no rows", table=name,
                remedy="Nothing can be said of what it would hold; is that meant?",
            )  # fmt: skip
    window = ("table_name", "first_month", "last_month")
    if "last_observed" not in registers or registers.lacks("last_observed", *window):
        return
    windows = {row["table_name"]: row for row in _windows(registers)}
    reading = registers.reading.get("last_observed")
    if reading is not None and reading.derived:
        yield finding(
            "coverage", "warning", "worked out from the first and last month seen",
            table="last_observed",
            remedy="Declare [coverage] in the source: a table may cover months without rows.",
        )  # fmt: skip
    for name, column in _TIME.items():
        if registers.lacks(name, column):
            continue
        if name in registers and name not in windows:
            yield finding(
                "coverage", "error", "last_observed has no row for it", table=name,
                remedy="Add its first and last month: outside them nothing is known.",
            )  # fmt: skip
        if name not in windows or name not in registers or column != "month":
            continue
        first, last = windows[name]["first_month"], windows[name]["last_month"]
        if first is None or last is None or first > last:
            yield finding(
                "coverage", "error", "first_month is after last_month", table="last_observed",
                example=name, remedy="Correct the row.",
            )  # fmt: skip
            continue
        table = registers[name]
        found = registers.engine.arrow(table.select("month").distinct()).column(0).to_pylist()
        gaps = sorted(set(range(first, last + 1)) - set(found))
        if gaps and found:
            yield finding(
                "coverage", "warning",
                counted(len(gaps), "covered month has no row", "covered months have no row"),
                table=name, column="month", example=month_label(gaps[0]),
                remedy="Is a month's file missing from the extract?",
            )  # fmt: skip


def orphans(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Rows of people who aren't in persons."""
    if "persons" not in registers or registers.lacks("persons", "person_id"):
        return
    persons = registers["persons"].select("person_id").distinct()
    for name, table in registers.tables.items():
        if name == "persons" or "person_id" not in table.columns:
            continue
        lost = table.filter(table.person_id.notnull()).anti_join(persons, "person_id")
        rows = registers.engine.count(lost)
        if rows:
            people = registers.engine.count(lost.select("person_id").distinct())
            yield finding(
                "orphans", "error", f"rows of {shown(people)} people who aren't in persons",
                table=name, column="person_id", rows=rows,
                remedy="The keys may come from different deliveries; else add the people.",
            )  # fmt: skip


def overlapping_spells(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Spells of one state that begin before an earlier one has ended; they are merged later."""
    if "spells" not in registers or registers.lacks(
        "spells", "person_id", "state", "start", "stop"
    ):
        return
    table = registers["spells"].mutate(until=lambda t: t.stop.fill_null(ibis.literal(FAR)))
    earlier = table.until.max().over(
        ibis.window(
            group_by=["person_id", "state"], order_by=["start", "until"], preceding=(None, 1)
        )
    )
    flagged = table.mutate(overlaps=(table.start < earlier).fill_null(False))
    for rows in counts(registers, flagged, {"": flagged.overlaps}).values():
        yield finding(
            "overlapping_spells", "info", "spells that overlap an earlier one of the same state",
            table="spells", rows=rows, remedy="They are merged into one when spells are built.",
        )  # fmt: skip


def after_death(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Work or benefits in months after the month of death."""
    if "persons" not in registers:
        return
    persons = registers["persons"]
    dead = persons.filter(persons.death_date.notnull()).select(
        person=persons.person_id, death_month=month_of(persons.death_date)
    )
    for name in ("jobs", "benefits"):
        if name not in registers:
            continue
        table = registers[name]
        joined = table.join(dead, table.person_id == dead.person)
        late = joined.filter(joined.month > joined.death_month)
        rows = registers.engine.count(late)
        if rows:
            yield finding(
                "after_death", "warning", "months after the month of death", table=name,
                column="month", rows=rows, example=_first(registers, late, late.month),
                remedy="Late payments are normal for a month or two; else check the keys.",
            )  # fmt: skip


def _windows(registers: Registers) -> list[dict[str, Any]]:
    return registers.engine.arrow(registers["last_observed"]).to_pylist()
