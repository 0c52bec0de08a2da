"""Quality rules on values: what is missing, unreadable, repeated, not a level, out of range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ibis.expr.types import Table

from tiltakeval.errors import InputError, nearest
from tiltakeval.estimates.check import Check
from tiltakeval.registers.finding import finding, masked
from tiltakeval.registers.read import Registers
from tiltakeval.registers.schema import Schema


def counts(registers: Registers, table: Table, conditions: dict[str, Any]) -> dict[str, int]:
    """Rows of ``table`` in which each condition holds; conditions that never hold are left out."""
    if not conditions:
        return {}
    sums = {f"n{i}": c.cast("int64").sum() for i, c in enumerate(conditions.values())}
    row = registers.engine.arrow(table.aggregate(**sums)).to_pylist()[0]
    found = {name: int(row[f"n{i}"] or 0) for i, name in enumerate(conditions)}
    return {name: n for name, n in found.items() if n > 0}


def by_value(registers: Registers, table: Table, column: str) -> tuple[list[Any], list[int]]:
    """Each value of a column and its number of rows."""
    grouped = table.group_by(column).aggregate(rows=lambda t: t.count())
    rows = registers.engine.arrow(grouped).to_pylist()
    return [r[column] for r in rows], [int(r["rows"]) for r in rows]


def structure(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Files and columns that aren't there, as the reader met them."""
    for fault in registers.faults:
        yield fault_finding(fault)
    for name in schema.required:
        if name not in registers:
            yield finding(
                "structure", "error", "the table is missing", table=name,
                remedy="Supply it, or map it in the source.",
            )  # fmt: skip


def fault_finding(fault: InputError) -> Check:
    """A fault of the reader as a finding."""
    return finding(
        "structure", "error", fault.what, table=fault.where or "", remedy=fault.remedy or ""
    )


def types(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Columns whose type isn't the schema's: only possible in tables made by hand."""
    for name, table in registers.tables.items():
        for column, kind in schema[name].ibis().items():
            if column not in table.columns:
                guess = nearest(column, table.columns)
                yield finding(
                    "types", "error", "the column is missing", table=name, column=column,
                    remedy=f"Is '{guess}' it?" if guess else "Add it.",
                )  # fmt: skip
            elif str(table[column].type().copy(nullable=True)) != str(kind):
                yield finding(
                    "types", "error", f"is {table[column].type()}, should be {kind}",
                    table=name, column=column, remedy="Convert it.",
                )  # fmt: skip


def unreadable_values(registers: Registers, schema: Schema) -> Iterator[Check]:
    """A value was given that can't be read as the column's type; it became missing."""
    for name, reading in registers.reading.items():
        if reading.raw is None:
            continue
        for column, rows in counts(registers, reading.raw, dict(reading.failed)).items():
            kind = schema[name].columns[column]
            yield finding(
                "unreadable_values", "error", f"values that are no {kind.unit or kind.type}",
                table=name, column=column, rows=rows,
                remedy="Correct them, or the format, unit or decimal mark declared in the source.",
            )  # fmt: skip


def missing_values(registers: Registers, schema: Schema) -> Iterator[Check]:
    """A column that may not be missing is."""
    for name, table in registers.tables.items():
        needed = [c for c in schema[name].columns.values() if not c.nullable]
        conditions = {
            c.name: table[c.name].isnull()
            for c in needed
            if c.name in table.columns and not registers.lacks(name, c.name)
        }
        for column, rows in counts(registers, table, conditions).items():
            yield finding(
                "missing_values", "error", "may not be missing, but is", table=name,
                column=column, rows=rows,
                remedy="Complete it, or take the rows out before the extract is made.",
            )  # fmt: skip


def left_out(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Rows that by the source's rule are no part of the table."""
    for name, reading in registers.reading.items():
        if reading.raw is None or reading.left_out is None:
            continue
        for rows in counts(registers, reading.raw, {"": reading.left_out}).values():
            yield finding(
                "left_out", "info", "rows left out because their code stands for no level",
                table=name, rows=rows, remedy="See the codes of the table in the source.",
            )  # fmt: skip


def duplicate_keys(registers: Registers, schema: Schema) -> Iterator[Check]:
    """More than one row with the same key."""
    for name, table in registers.tables.items():
        key = list(schema[name].key)
        if not key or registers.lacks(name, *key):
            continue
        grouped = table.group_by(key).aggregate(times=lambda t: t.count())
        repeated = grouped.filter(grouped.times > 1)
        row = registers.engine.arrow(
            repeated.aggregate(keys=repeated.count(), rows=repeated.times.sum())
        ).to_pylist()[0]
        if row["keys"]:
            yield finding(
                "duplicate_keys", "error", f"rows share their key ({', '.join(key)}) with another",
                table=name, rows=int(row["rows"]),
                remedy="Keep one row a key: drop exact copies, join the others.",
            )  # fmt: skip


def levels(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Values that aren't among a column's levels."""
    for name, table in registers.tables.items():
        for column in schema[name].columns.values():
            if not column.levels:
                continue
            value = table[column.name]
            strange = table.filter(value.notnull() & ~value.isin(list(column.levels)))
            values, rows = by_value(registers, strange, column.name)
            if values:
                guess = nearest(str(values[0]), column.levels)
                hint = f" ('{values[0]}' may be '{guess}')" if guess else ""
                yield finding(
                    "levels", "error", f"values that are no level{hint}", table=name,
                    column=column.name, rows=sum(rows), detail=masked(values, rows, "value"),
                    remedy=f"Map them in the source to one of: {', '.join(column.levels)}.",
                )  # fmt: skip


def ranges(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Numbers outside the declared range."""
    for name, table in registers.tables.items():
        conditions: dict[str, Any] = {}
        for column in schema[name].columns.values():
            value = table[column.name]
            if column.minimum is not None:
                conditions[f"{column.name} below"] = (value < column.minimum).fill_null(False)
            if column.maximum is not None:
                conditions[f"{column.name} above"] = (value > column.maximum).fill_null(False)
        for text, rows in counts(registers, table, conditions).items():
            column_name, side = text.split(" ")
            limits = schema[name].columns[column_name]
            bound = limits.minimum if side == "below" else limits.maximum
            yield finding(
                "ranges", "error", f"values {side} {bound:g}", table=name, column=column_name,
                rows=rows, remedy=f"Check the unit: it is {limits.unit or limits.type} here.",
            )  # fmt: skip


def negative_amounts(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Negative kroner: corrections of earlier months, or a sign error."""
    for name, column in (("jobs", "earnings_nok"), ("benefits", "amount_nok")):
        if name in registers:
            table = registers[name]
            for rows in counts(
                registers, table, {"": (table[column] < 0).fill_null(False)}
            ).values():
                yield finding(
                    "negative_amounts", "warning", "amounts below zero", table=name, column=column,
                    rows=rows,
                    remedy="Corrections belong to the month they correct; else check the sign.",
                )  # fmt: skip


def unknown_codes(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Participation without a programme, or with one its code doesn't stand for."""
    if "participation" not in registers or registers.lacks("participation", "code"):
        return
    table = registers["participation"]
    catalogue = registers.catalogue
    codes, rows = by_value(registers, table.filter(table.programme.isnull()), "code")
    if codes:
        detail = masked(codes, rows, "code")
        known = {} if catalogue is None else catalogue.unclaimed
        detail["label"] = [known.get(code, "") for code in detail["code"]]
        yield finding(
            "unknown_codes", "warning", "codes that stand for no programme in the catalogue",
            table="participation", column="code", rows=sum(rows), detail=detail,
            remedy="Add the code to a programme file, or accept that these are of no programme.",
        )  # fmt: skip
    if catalogue is None:
        return
    strange = table.filter(table.programme.notnull() & ~table.programme.isin(list(catalogue)))
    values, rows = by_value(registers, strange, "programme")
    if values:
        yield finding(
            "unknown_codes", "error", "programmes that aren't in the catalogue",
            table="participation", column="programme", rows=sum(rows),
            detail=masked(values, rows, "programme"),
            remedy="Use a catalogue key, or add a file for the programme.",
        )  # fmt: skip
    stands_for: dict[str, set[str]] = {}
    for code, _, _, programme in catalogue.code_rows():
        stands_for.setdefault(code, set()).add(programme)
    pairs = table.mutate(pair=table.code + " as " + table.programme.fill_null("no programme"))
    agreed = [f"{code} as {key}" for code, keys in stands_for.items() for key in keys]
    differs = pairs.filter(pairs.code.isin(list(stands_for)) & ~pairs.pair.isin(agreed))
    values, rows = by_value(registers, differs, "pair")
    if values:
        yield finding(
            "unknown_codes", "warning", "the programme isn't the one the catalogue has for the code",
            table="participation", column="programme", rows=sum(rows),
            detail=masked(values, rows, "code and programme"),
            remedy="Drop the column to have it worked out, or correct the catalogue.",
        )  # fmt: skip


def statuses(registers: Registers, schema: Schema) -> Iterator[Check]:
    """Which statuses count as started, and which ones the source says nothing of."""
    if "participation" not in registers:
        return
    table = registers["participation"]
    rule = registers.rule
    for rows in counts(registers, table, {"": table.started.fill_null(False)}).values():
        name = "as supplied" if rule is None else f"by rule '{rule.name}'"
        yield finding(
            "statuses", "info", f"participations count as started, {name}",
            table="participation", column="started", rows=rows,
            remedy="Another rule can be chosen when the extract is read.",
        )  # fmt: skip
    known = [] if registers.layout is None else list(registers.layout.statuses.values())
    sets = [status for group in known for status in group]
    if sets:
        strange = table.filter(table.status.notnull() & ~table.status.isin(sets))
        values, rows_each = by_value(registers, strange, "status")
        if values:
            yield finding(
                "statuses", "warning", "statuses in none of the source's sets; not started",
                table="participation", column="status", rows=sum(rows_each),
                detail=masked(values, rows_each, "status"),
                remedy="Put them in a set under [status] in the source.",
            )  # fmt: skip
