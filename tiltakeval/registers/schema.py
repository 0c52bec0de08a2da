"""The canonical register tables, loaded from ``schema.toml``: the one declaration of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import ibis
import pyarrow as pa

from tiltakeval.errors import InputError, InputErrors, counted, unknown

FILE = Path(__file__).parent / "schema.toml"

ColumnType = Literal["int64", "int32", "float64", "string", "date", "bool"]
Sensitivity = Literal["identifier", "quasi", "health", "value", "area", "none"]

ARROW: Mapping[str, pa.DataType] = {
    "int64": pa.int64(),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "bool": pa.bool_(),
}
IBIS: Mapping[str, str] = {k: ("boolean" if k == "bool" else k) for k in ARROW}
SENSITIVITIES = ("identifier", "quasi", "health", "value", "area", "none")
END_COLUMNS = ("stop", "to_date")
"""Columns that hold the end of a half-open period."""


@dataclass(frozen=True)
class Column:
    """One column. ``unit`` None: the type says it all. ``minimum`` and ``maximum`` are inclusive."""

    name: str
    type: ColumnType
    meaning: str
    sensitivity: Sensitivity
    nullable: bool = False
    unit: str | None = None
    levels: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def is_end(self) -> bool:
        """Whether the column is the end of a half-open period."""
        return self.name in END_COLUMNS


@dataclass(frozen=True)
class Table:
    """One table. ``key``: the columns that together name a row. ``optional``: may be absent."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: Mapping[str, Column]
    optional: bool = False

    def arrow(self) -> pa.Schema:
        """The Arrow schema."""
        return pa.schema(
            [pa.field(c.name, ARROW[c.type], nullable=c.nullable) for c in self.columns.values()]
        )

    def ibis(self) -> ibis.Schema:
        """The Ibis schema."""
        return ibis.schema({c.name: IBIS[c.type] for c in self.columns.values()})

    def empty(self) -> pa.Table:
        """The table without rows."""
        return self.arrow().empty_table()

    @property
    def period(self) -> tuple[str, str] | None:
        """Names of the columns (start, end) of a half-open period, when the table has one."""
        end = next((c for c in self.columns if c in END_COLUMNS), None)
        if end is None:
            return None
        return ("start" if end == "stop" else "from_date", end)


@dataclass(frozen=True)
class Schema:
    """All tables, in the order declared."""

    tables: Mapping[str, Table]

    def __getitem__(self, name: str) -> Table:
        """The table of that name. Raises InputError with the nearest name."""
        if name not in self.tables:
            raise unknown("table", name, self.tables, where="register schema")
        return self.tables[name]

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the tables that must be there."""
        return tuple(name for name, table in self.tables.items() if not table.optional)

    def markdown(self) -> str:
        """The tables as documentation."""
        parts: list[str] = []
        for table in self.tables.values():
            optional = " Optional." if table.optional else ""
            parts += [f"### `{table.name}`", "", f"{table.meaning}{optional}", ""]
            parts += [f"Key: {', '.join(f'`{k}`' for k in table.key)}.", ""]
            parts += ["| Column | Type | May be missing | Unit | Sensitivity | Meaning |"]
            parts += ["|---|---|---|---|---|---|"]
            for c in table.columns.values():
                meaning = c.meaning
                if c.levels:
                    meaning += f" One of {', '.join(f'`{level}`' for level in c.levels)}."
                if c.minimum is not None and c.maximum is not None:
                    meaning += f" {c.minimum:g} to {c.maximum:g}."
                elif c.minimum is not None:
                    meaning += f" At least {c.minimum:g}."
                missing = "yes" if c.nullable else "no"
                cells = (f"`{c.name}`", c.type, missing, c.unit or "", c.sensitivity, meaning)
                parts.append(f"| {' | '.join(cells)} |")
            parts.append("")
        return "\n".join(parts)


def load(path: Path = FILE) -> Schema:
    """The schema in a file. Raises InputErrors with all faults of the declaration."""
    return _load(path)


@lru_cache(maxsize=4)
def _load(path: Path) -> Schema:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"can't be read ({type(error).__name__}: {error})",
            where=path.name,
            remedy="Correct the file.",
        ) from None
    faults: list[InputError] = []
    tables = {name: _table(name, table, path.name, faults) for name, table in values.items()}
    if faults:
        raise InputErrors(faults, title=f"The register schema has {counted(len(faults), 'fault')}.")
    return Schema(tables)


def _table(name: str, values: Mapping[str, Any], file: str, faults: list[InputError]) -> Table:
    where = f"{file}: {name}"
    for key in set(values) - {"meaning", "key", "columns", "optional"}:
        faults.append(unknown("key", key, ("meaning", "key", "columns", "optional"), where=where))
    columns = {
        column: _column(column, given, f"{where}.{column}", faults)
        for column, given in values.get("columns", {}).items()
    }
    for part in values.get("key", []):
        if part not in columns:
            faults.append(unknown("key column", part, columns, where=where))
    if not columns or not values.get("meaning"):
        faults.append(InputError("needs a meaning and columns", where=where, remedy="Add them."))
    return Table(
        name=name,
        meaning=str(values.get("meaning", "")),
        key=tuple(values.get("key", ())),
        columns=columns,
        optional=bool(values.get("optional", False)),
    )


def _column(name: str, values: Mapping[str, Any], where: str, faults: list[InputError]) -> Column:
    fields = set(Column.__dataclass_fields__) - {"name"}
    for key in set(values) - fields:
        faults.append(unknown("key", key, fields, where=where))
    if values.get("type") not in ARROW:
        faults.append(unknown("type", str(values.get("type")), ARROW, where=where))
    if values.get("sensitivity") not in SENSITIVITIES:
        faults.append(
            unknown("sensitivity", str(values.get("sensitivity")), SENSITIVITIES, where=where)
        )
    return Column(
        name=name,
        type=values.get("type", "string"),
        meaning=str(values.get("meaning", "")),
        sensitivity=values.get("sensitivity", "value"),
        nullable=bool(values.get("nullable", False)),
        unit=values.get("unit"),
        levels=tuple(values.get("levels", ())),
        minimum=values.get("minimum"),
        maximum=values.get("maximum"),
    )
