"""Files of a register extract to lazy canonical tables on one connection."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
from ibis.expr.types import Table

from tiltakeval.engine import Engine
from tiltakeval.errors import InputError, InputErrors, counted
from tiltakeval.registers import convert, files
from tiltakeval.registers import schema as register_schema
from tiltakeval.registers import source as register_source
from tiltakeval.registers.coverage import last_observed
from tiltakeval.registers.schema import Schema
from tiltakeval.registers.source import Source, StartedRule, TableMap

if TYPE_CHECKING:
    from tiltakeval.programmes.catalogue import Catalogue


@dataclass(frozen=True)
class Reading:
    """What reading one table left to be judged: all expressions are lazy.

    ``raw``: the rows as supplied. ``failed``: by column, whether a value was given that can't be
    read. ``left_out``: whether a row is no part of the table by the source's rule. ``lacking``:
    columns that are missing or of a wrong type, which is a fault of its own.
    """

    files: tuple[str, ...] = ()
    raw: Table | None = None
    failed: Mapping[str, Any] = field(default_factory=dict)
    left_out: Any | None = None
    absent: bool = False
    derived: bool = False
    lacking: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Registers:
    """The canonical tables, lazy, on ``engine``'s connection.

    ``fingerprint`` changes when a byte of any file read does. ``rule`` is the started rule used.
    ``faults`` is empty unless read with ``strict=False``.
    """

    engine: Engine
    tables: Mapping[str, Table]
    fingerprint: str
    source: str
    rule: StartedRule | None = None
    catalogue: Catalogue | None = None
    reading: Mapping[str, Reading] = field(default_factory=dict)
    faults: tuple[InputError, ...] = ()
    layout: Source | None = None

    def __getitem__(self, name: str) -> Table:
        """The table of that name. Raises InputError when the extract has none."""
        if name not in self.tables:
            raise InputError(
                f"the extract has no table '{name}'",
                where=f"source {self.source}",
                remedy=f"It has: {', '.join(self.tables)}.",
            )
        return self.tables[name]

    def lacks(self, name: str, *columns: str) -> bool:
        """Whether one of the columns, or the table, was missed by the reader: what a rule finds in its
        place is only the consequence."""
        reading = self.reading.get(name)
        return reading is not None and not reading.lacking.isdisjoint(columns)

    def __contains__(self, name: object) -> bool:
        return name in self.tables


def read_registers(
    path: Path | str,
    *,
    engine: Engine,
    catalogue: Catalogue,
    source: str | Path | Source = "canonical",
    started_rule: str | StartedRule | None = None,
    as_of: dt.date | None = None,
    strict: bool = True,
) -> Registers:
    """The extract in the folder ``path`` as canonical tables (see ``schema.toml``).

    ``source`` names the supplier's layout: one shipped, a TOML file, or a Source. ``started_rule``
    overrides when a participation counts as started; ``as_of`` is the extraction date, after which
    a planned start does not count. Text files are copied into the engine, parquet stays on disk.

    Raises InputErrors with every missing file and column at once, each with the nearest name found.
    With ``strict=False`` they go to ``Registers.faults``, and what is missing is read as missing.
    """
    schema = register_schema.load()
    layout = source if isinstance(source, Source) else register_source.load(source, schema)
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(
            "is not a folder",
            where=str(path),
            remedy="Give the folder that holds the extract's files.",
        )
    rule = layout.rule(started_rule)
    if rule is not None and as_of is not None:
        rule = dataclasses.replace(rule, as_of=as_of)
    faults: list[InputError] = []
    found = {name: files.find(folder, table.file) for name, table in layout.tables.items()}
    joined = {
        name: [files.find(folder, join.file) for join in table.joins]
        for name, table in layout.tables.items()
    }
    used = {p for paths in found.values() for p in paths}
    used |= {p for groups in joined.values() for paths in groups for p in paths}
    fingerprint = _fingerprint(folder, used)
    place = f"{folder.resolve()}{fingerprint}{layout}"
    stem = hashlib.blake2b(place.encode(), digest_size=8).hexdigest()
    tables: dict[str, Table] = {}
    reading: dict[str, Reading] = {}
    for name, table_map in layout.tables.items():
        if table_map.derive and not found[name]:
            continue
        if not found[name]:
            _absent(name, table_map, folder, faults, engine, schema, stem, tables, reading)
            continue
        raw = files.open_table(engine, found[name], layout, f"raw_{name}_{stem}")
        for number, (join, paths) in enumerate(zip(table_map.joins, joined[name])):
            if paths:
                other = files.open_table(engine, paths, layout, f"raw_{name}_{number}_{stem}")
                raw = files.join(engine, raw, other, join.on, [p.name for p in paths], faults)
            elif join.required:
                faults.append(files.missing(name, join.file, folder))
        where = ", ".join(p.name for p in found[name][:3])
        tables[name], reading[name] = _table(
            raw, table_map, name, where, schema, layout, rule, catalogue, engine, stem, faults
        )
    if faults and strict:
        several = counted(len(faults), "fault")
        raise InputErrors(faults, title=f"The extract can't be read as '{layout.name}': {several}.")
    if "last_observed" not in tables and "last_observed" in layout.tables:
        rows = last_observed(engine, tables, layout.coverage)
        tables["last_observed"] = engine.memory_table(rows, f"last_observed_{stem}")
        reading["last_observed"] = Reading(derived=True)
    return Registers(
        engine, tables, fingerprint, layout.name, rule, catalogue, reading, tuple(faults), layout
    )


def _absent(
    name: str,
    table_map: TableMap,
    folder: Path,
    faults: list[InputError],
    engine: Engine,
    schema: Schema,
    stem: str,
    tables: dict[str, Table],
    reading: dict[str, Reading],
) -> None:
    """A table without a file: a fault, an empty table, or (optional in the schema) no table."""
    missed: frozenset[str] = frozenset()
    if table_map.required:
        faults.append(files.missing(name, table_map.file, folder))
        missed = frozenset(schema[name].columns)
    if not schema[name].optional:
        tables[name] = engine.memory_table(schema[name].empty(), f"empty_{name}_{stem}")
        reading[name] = Reading(absent=True, lacking=missed)


def _table(
    raw: Table,
    table_map: TableMap,
    name: str,
    where: str,
    schema: Schema,
    layout: Source,
    rule: StartedRule | None,
    catalogue: Catalogue,
    engine: Engine,
    stem: str,
    faults: list[InputError],
) -> tuple[Table, Reading]:
    """The canonical table over ``raw``, and what reading it left to be judged."""
    values: dict[str, Any] = {}
    failed: dict[str, Any] = {}
    left_out: Any | None = None
    lacking: set[str] = set()
    for column in schema[name].columns.values():
        before = len(faults)
        derived = name == "participation" and column.name in ("programme", "started")
        spec = table_map.columns.get(column.name)
        supplied = None if spec is None else files.resolve(
            raw, spec, column.name, where, [] if derived else faults
        )  # fmt: skip
        if spec is None or (
            derived and (supplied is None or rule_given(column.name, rule, layout))
        ):
            continue
        given = None if supplied is None else raw[supplied]
        if given is not None and not convert.readable(given, spec, column):
            faults.append(
                InputError(
                    f"column {supplied} has type {given.type()}, "
                    f"'{column.name}' needs {column.unit or column.type}",
                    where=where,
                    remedy="Convert it in the file, or name another column in the source.",
                )
            )
            given = None
        if len(faults) > before:
            lacking.add(column.name)
        result = convert.column(given, spec, column, layout)
        values[column.name] = result.value
        if result.failed is not None:
            failed[column.name] = result.failed
        if result.left_out is not None:
            left_out = result.left_out if left_out is None else left_out | result.left_out
    rows = raw if left_out is None else raw.filter(~left_out)
    table = rows.select(**values)
    if name == "participation":
        if "programme" not in values:
            table = with_programme(table, catalogue, engine, f"codes_{stem}")
        if "started" not in values:
            table = table.mutate(started=started(table, rule))
    table = table.select(list(schema[name].columns))
    names = tuple(where.split(", "))
    return table, Reading(names, raw, failed, left_out, lacking=frozenset(lacking))


def rule_given(column: str, rule: StartedRule | None, layout: Source) -> bool:
    """Whether ``started`` must be worked out although the file has it: another rule was asked for."""
    return column == "started" and rule is not None and rule != layout.rule(None)


def with_programme(participation: Table, catalogue: Catalogue, engine: Engine, name: str) -> Table:
    """Adds ``programme``: the catalogue's key for the code at the decision (else start, else
    application); missing where no programme has the code."""
    rows = catalogue.code_rows()
    lookup = engine.memory_table(
        pa.table(
            {
                "code_known": pa.array([r[0] for r in rows], pa.string()),
                "valid_from": pa.array([r[1] or dt.date.min for r in rows], pa.date32()),
                "valid_to": pa.array([r[2] or dt.date.max for r in rows], pa.date32()),
                "programme": pa.array([r[3] for r in rows], pa.string()),
            }
        ).group_by(["code_known", "valid_from", "valid_to", "programme"]).aggregate([]),
        name,
    )  # fmt: skip
    dated = participation.mutate(
        code_day=ibis.coalesce(
            participation.decision_date,
            participation.start,
            participation.application_date,
            ibis.literal(convert.FAR),
        )
    )
    return dated.left_join(
        lookup,
        [
            dated.code == lookup.code_known,
            dated.code_day >= lookup.valid_from,
            dated.code_day < lookup.valid_to,
        ],
    ).drop("code_day", "code_known", "valid_from", "valid_to")


def started(participation: Table, rule: StartedRule | None) -> Any:
    """Whether a place was taken up, by the rule; False for all without one."""
    if rule is None or not rule.statuses:
        return ibis.literal(False)
    taken = participation.status.isin(list(rule.statuses)).fill_null(False)
    if rule.needs_start_date:
        taken = taken & participation.start.notnull()
    if rule.as_of is not None:
        taken = taken & (participation.start <= ibis.literal(rule.as_of)).fill_null(True)
    return taken


def _fingerprint(folder: Path, paths: set[Path]) -> str:
    """blake2b over name and bytes of every file, in order of name."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(paths):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.stat().st_size.to_bytes(8, "little"))
        with path.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
