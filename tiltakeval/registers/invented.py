"""Random tables that fit the schema, for trying out readers and checks. No effects, no sense.

The synthetic register has people with histories and known effects; this only has rows, among them
the awkward ones: overlapping and nested spells, open ends, one person without any rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tiltakeval.registers.schema import Column, Schema, Table

FIRST_MONTH, LAST_MONTH = 2014 * 12, 2023 * 12 + 11
_FIRST_DAY = (dt.date(2014, 1, 1) - dt.date(1970, 1, 1)).days
_DAYS = 3652
_COUNTRIES = ("NOR", "NOR", "NOR", "SWE", "POL", "SOM", "SYR", "XXX")
_CODES = {
    "ARBFORB": "aft",
    "MIDLONTIL": "lonnstilskudd_midlertidig",
    "GRUPPEAMO": "amo",
    "INDJOBSTOT": "ips",
    "ARBTREN": "arbeidstrening",
    "PRAKSKJERM": "arbeidspraksis_skjermet",
    "UKJENTKODE": None,
}
_STATUS = ("GJENN", "FULLF", "DELAVB", "IKKEM", "AVSLAG")
_OFFICES = ("0101", "0202 Ås", "0303 Bodø")
_ROWS_PER_PERSON = {
    "persons": 1, "residence": 1, "education": 1, "spells": 3, "participation": 2, "jobs": 24,
    "benefits": 18, "randomisation": 1,
}  # fmt: skip


def invent(schema: Schema, persons: int, seed: int) -> dict[str, pa.Table]:
    """Every table of the schema for persons 1..``persons``; the last one has no rows but his own.

    The same seed gives the same tables. Persons 1 and 2 have an overlapping and a nested spell.
    """
    tables: dict[str, pa.Table] = {}
    for number, table in enumerate(schema.tables.values()):
        draw = np.random.Generator(np.random.Philox(key=(seed, number)))
        if table.name == "last_observed":
            tables[table.name] = _coverage(table, schema)
            continue
        if "person_id" in table.columns:
            owners = _owners(table, persons, draw)
        else:
            owners = np.zeros(len(_OFFICES) * 12, dtype=np.int64)
        columns = {c.name: _column(c, table, owners, draw) for c in table.columns.values()}
        arrow = pa.table(columns).cast(table.arrow())
        if table.name == "participation":
            arrow = _coded(arrow)
        if table.name == "spells":
            arrow = _awkward(arrow)
        tables[table.name] = _unique(arrow, table.key)
    return tables


def _owners(table: Table, persons: int, draw: np.random.Generator) -> np.ndarray:
    if table.name == "persons":
        return np.arange(1, persons + 1, dtype=np.int64)
    rows = max(0, persons - 1) * _ROWS_PER_PERSON.get(table.name, 1)
    return np.sort(draw.integers(1, max(2, persons), rows))


def _column(column: Column, table: Table, owners: np.ndarray, draw: np.random.Generator) -> Any:
    rows = len(owners)
    missing = draw.random(rows) < 0.2 if column.nullable else np.zeros(rows, dtype=bool)
    if column.name == "person_id":
        return pa.array(owners, pa.int64())
    if column.name == "participation_id":
        return pa.array(np.arange(1, rows + 1), pa.int64())
    if column.type == "date":
        return pa.array(_days(column, table, owners, draw), pa.int32(), mask=missing).cast(
            pa.date32()
        )
    if column.unit == "month index":
        return pa.array(draw.integers(FIRST_MONTH, LAST_MONTH + 1, rows), pa.int32(), mask=missing)
    if column.type == "string":
        chosen = draw.choice(np.array(_texts(column), dtype=object), rows)
        return pa.array(chosen.tolist(), pa.string(), mask=missing)
    if column.type == "bool":
        return pa.array(draw.random(rows) < 0.8, mask=missing)
    if column.type == "float64":
        low, high = column.minimum or 0.0, column.maximum or 160.0
        return pa.array(np.round(draw.uniform(low, high, rows), 1), mask=missing)
    high = 100 if column.sensitivity == "identifier" else 50_000
    return pa.array(draw.integers(1, high, rows), pa.int64(), mask=missing)


def _days(
    column: Column, table: Table, owners: np.ndarray, draw: np.random.Generator
) -> np.ndarray:
    """Days since 1970. Ends lie after starts, decisions before them, whatever the column order."""
    if column.name == "birth_date":
        return draw.integers(-12_000, 10_000, len(owners)).astype(np.int32)
    base = np.random.Generator(np.random.Philox(key=(len(owners), 7))).integers(
        0, _DAYS - 400, len(owners)
    )
    shift = {"application_date": -40, "decision_date": -20}.get(column.name, 0)
    if table.name == "spells" and column.name == "decision_date":
        shift = 10
    days = base + 60 + shift
    if column.is_end:
        days = days + draw.integers(1, 300, len(owners))
    if column.name in ("death_date", "emigration_date"):
        days = np.where(draw.random(len(owners)) < 0.5, days + 300, days)
    return (_FIRST_DAY + days).astype(np.int32)


def _texts(column: Column) -> Sequence[str]:
    if column.levels:
        return column.levels
    fixed: dict[str, Sequence[str]] = {
        "country_of_birth": _COUNTRIES,
        "code": tuple(_CODES),
        "status": _STATUS,
        "office": _OFFICES,
        "programme": ("aft", "amo", "ips"),
        "municipality": ("0301", "1103", "4601"),
        "provider": ("Arrangør Æ", "Arrangør Ø"),
        "trial": ("ips_trial",),
    }
    return fixed.get(column.name, ("a", "b"))


def _coded(participation: pa.Table) -> pa.Table:
    """The programme as its code says, and a start for every place that was started."""
    programmes = [_CODES[code] for code in participation["code"].to_pylist()]
    statuses = zip(participation["status"].to_pylist(), participation["start"].to_pylist())
    begun = [s in ("GJENN", "FULLF", "DELAVB") and day is not None for s, day in statuses]
    for name, values, kind in (
        ("programme", programmes, pa.string()),
        ("started", begun, pa.bool_()),
    ):
        at = participation.schema.get_field_index(name)
        participation = participation.set_column(
            at, participation.schema.field(at), pa.array(values, kind)
        )
    return participation


def _awkward(spells: pa.Table) -> pa.Table:
    """Adds, for person 1, two overlapping jobseeker spells and an open one; for 2, a nested one."""
    day = dt.date

    def row(person: int, start: dt.date, stop: dt.date | None) -> dict[str, Any]:
        return {
            "person_id": person, "state": "jobseeker", "start": start, "stop": stop,
            "innsatsgruppe": "BFORM", "decision_date": None, "office": _OFFICES[0],
            "diagnosis_group": None,
        }  # fmt: skip

    rows = [
        row(1, day(2015, 1, 1), day(2015, 7, 1)),
        row(1, day(2015, 6, 1), day(2015, 9, 1)),
        row(1, day(2022, 1, 1), None),
        row(2, day(2016, 1, 1), day(2018, 1, 1)),
        row(2, day(2016, 6, 1), day(2016, 7, 1)),
    ]
    return pa.concat_tables([spells, pa.Table.from_pylist(rows, schema=spells.schema)])


def _unique(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """The rows whose key is met for the first time."""
    seen: set[tuple[Any, ...]] = set()
    keep = []
    for values in zip(*(table[k].to_pylist() for k in key)):
        keep.append(values not in seen)
        seen.add(values)
    return table.filter(pa.array(keep, pa.bool_()))


def _coverage(table: Table, schema: Schema) -> pa.Table:
    names = [n for n in schema.tables if n not in ("last_observed", "persons")]
    rows = [{"table_name": n, "first_month": FIRST_MONTH, "last_month": LAST_MONTH} for n in names]
    return pa.Table.from_pylist(rows, schema=table.arrow())
