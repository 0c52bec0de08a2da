"""Which months each table covers, where the supplier doesn't say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from ibis.expr.types import Table

from tiltakeval.engine import Engine
from tiltakeval.registers.convert import month_of

_TIME = {
    "residence": ("from_date",),
    "education": ("date",),
    "spells": ("start", "stop"),
    "participation": ("start", "decision_date"),
    "jobs": ("month",),
    "benefits": ("month",),
    "offices": ("month",),
}
"""Columns that tell when. A participation's end may be planned, so it does not count."""


def last_observed(
    engine: Engine, tables: Mapping[str, Table], declared: Mapping[str, tuple[int, int]]
) -> pa.Table:
    """The table ``last_observed``: declared months, else first and last month seen in each table."""
    names, first, last = [], [], []
    for name, columns in _TIME.items():
        months = declared.get(name) or _seen(engine, tables.get(name), columns)
        if months is not None:
            names.append(name)
            first.append(months[0])
            last.append(months[1])
    return pa.table(
        {
            "table_name": pa.array(names, pa.string()),
            "first_month": pa.array(first, pa.int32()),
            "last_month": pa.array(last, pa.int32()),
        }
    )


def _seen(engine: Engine, table: Table | None, columns: tuple[str, ...]) -> tuple[int, int] | None:
    if table is None:
        return None
    measures: dict[str, Any] = {}
    for column in columns:
        value = table[column]
        month = value if column == "month" else month_of(value)
        measures[f"low_{column}"], measures[f"high_{column}"] = month.min(), month.max()
    row = engine.arrow(table.aggregate(**measures)).to_pylist()[0]
    low = [value for key, value in row.items() if key.startswith("low_") and value is not None]
    high = [value for key, value in row.items() if key.startswith("high_") and value is not None]
    return (min(low), max(high)) if low and high else None
