"""A supplier's names, codes and conventions, from ``sources/<name>.toml`` or a file of the user's."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tiltakeval.errors import InputError, InputErrors, counted, unknown
from tiltakeval.months import parse_month
from tiltakeval.registers import schema as register_schema
from tiltakeval.registers.schema import Schema

FOLDER = Path(__file__).parent / "sources"
MONTH_FORMATS = ("index", "yyyymm", "yyyy-mm", "date")


@dataclass(frozen=True)
class ColumnMap:
    """Where a canonical column comes from.

    One of ``column`` (the supplier's name, capitals ignored), ``pattern`` (a regular expression for
    the whole name), ``constant``, or none of them with ``optional`` (always missing). ``codes`` maps
    the supplier's values to levels; "" stands for no level: missing where the column may be
    missing, otherwise such rows are not part of the table. ``key`` "text" turns a text key into a
    number. ``end`` overrides the source's convention for this column.
    """

    column: str | None = None
    pattern: str | None = None
    constant: str | int | float | bool | None = None
    optional: bool = False
    codes: Mapping[str, str] = field(default_factory=dict)
    date_format: str | None = None
    month: str = "index"
    key: Literal["number", "text"] = "number"
    end: Literal["inclusive", "exclusive"] | None = None

    def describe(self) -> str:
        """The name looked for, for messages."""
        return self.column or (f"/{self.pattern}/" if self.pattern else "(none)")


@dataclass(frozen=True)
class Join:
    """A second file whose columns are joined on, each main row to at most one of its rows."""

    file: tuple[str, ...]
    on: str
    required: bool = True


@dataclass(frozen=True)
class TableMap:
    """Where a canonical table comes from: file names (or patterns between slashes) and columns."""

    file: tuple[str, ...]
    columns: Mapping[str, ColumnMap]
    joins: tuple[Join, ...] = ()
    required: bool = True
    derive: bool = False


@dataclass(frozen=True)
class StartedRule:
    """When a place counts as taken up: a status in ``statuses`` and, if ``needs_start_date``, a
    start. With ``as_of`` a start after that date does not count: never today's date, so that the
    same extract always gives the same answer."""

    name: str
    statuses: tuple[str, ...]
    needs_start_date: bool = True
    as_of: dt.date | None = None


@dataclass(frozen=True)
class Source:
    """A supplier. ``end``: whether an end date is the last day (inclusive) or the first day after."""

    name: str
    meaning: str
    end: Literal["inclusive", "exclusive"]
    tables: Mapping[str, TableMap]
    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    open_end_from: dt.date | None = None
    coverage: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    statuses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    started: Mapping[str, StartedRule] = field(default_factory=dict)
    default_rule: str | None = None

    def rule(self, wanted: str | StartedRule | None) -> StartedRule | None:
        """The started rule of that name, the default when None. Raises InputError."""
        if isinstance(wanted, StartedRule):
            return wanted
        name = wanted if wanted is not None else self.default_rule
        if name is None:
            return None
        if name not in self.started:
            raise unknown("started rule", name, self.started, where=f"source {self.name}")
        return self.started[name]


def shipped() -> tuple[str, ...]:
    """Names of the sources that come with the toolkit."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(source: str | Path, schema: Schema | None = None) -> Source:
    """A shipped source by name, or a TOML file by path. Raises InputErrors with every fault."""
    path = FOLDER / f"{source}.toml"
    if isinstance(source, Path) or str(source).endswith(".toml"):
        path = Path(source)
    elif not path.exists():
        raise unknown("source", str(source), shipped(), where="register sources")
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"can't be read ({type(error).__name__}: {error})",
            where=path.name,
            remedy="Correct the file.",
        ) from None
    faults: list[InputError] = []
    result = _source(path.stem, values, path.name, schema or register_schema.load(), faults)
    if faults:
        several = counted(len(faults), "fault")
        raise InputErrors(faults, title=f"The source {path.name} has {several}.")
    return result


_TOP = (
    "meaning", "end_date", "csv", "open_end_from", "tables", "coverage", "status", "started",
)  # fmt: skip
_COLUMN = tuple(ColumnMap.__dataclass_fields__)


def _source(
    name: str, values: Mapping[str, Any], file: str, schema: Schema, faults: list[InputError]
) -> Source:
    for key in values:
        if key not in _TOP:
            faults.append(unknown("key", key, _TOP, where=file))
    end = values.get("end_date", "exclusive")
    if end not in ("inclusive", "exclusive"):
        faults.append(unknown("end_date", str(end), ("inclusive", "exclusive"), where=file))
    csv = values.get("csv", {})
    for key in csv:
        if key not in ("delimiter", "decimal", "encoding"):
            faults.append(
                unknown("key", key, ("delimiter", "decimal", "encoding"), where=f"{file}: csv")
            )
    tables: dict[str, TableMap] = {}
    for table, given in values.get("tables", {}).items():
        if table not in schema.tables:
            faults.append(unknown("table", table, schema.tables, where=f"{file}: tables"))
            continue
        tables[table] = _table(table, given, f"{file}: tables.{table}", schema, faults)
    statuses = {k: tuple(v) for k, v in values.get("status", {}).items()}
    started = values.get("started", {})
    rules = {
        rule: _rule(rule, given, statuses, f"{file}: started.{rule}", faults)
        for rule, given in started.items()
        if isinstance(given, Mapping)
    }
    default = started.get("default")
    if default is not None and default not in rules:
        faults.append(unknown("started rule", str(default), rules, where=f"{file}: started"))
    coverage: dict[str, tuple[int, int]] = {}
    for table, months in values.get("coverage", {}).items():
        if table not in schema.tables:
            faults.append(unknown("table", table, schema.tables, where=f"{file}: coverage"))
        try:
            coverage[table] = (parse_month(months[0]), parse_month(months[1]))
        except (InputError, IndexError, TypeError, AttributeError):
            faults.append(
                InputError(
                    "needs a first and a last month",
                    where=f"{file}: coverage.{table}",
                    remedy='Write ["2014-01", "2023-12"].',
                )
            )
    return Source(
        name=name,
        meaning=str(values.get("meaning", "")),
        end=end if end == "inclusive" else "exclusive",
        tables=tables,
        delimiter=csv.get("delimiter", ","),
        decimal=csv.get("decimal", "."),
        encoding=csv.get("encoding", "utf-8"),
        open_end_from=values.get("open_end_from"),
        coverage=coverage,
        statuses=statuses,
        started=rules,
        default_rule=default,
    )


def _table(
    name: str, values: Mapping[str, Any], where: str, schema: Schema, faults: list[InputError]
) -> TableMap:
    known = ("file", "columns", "joins", "required", "derive")
    for key in values:
        if key not in known:
            faults.append(unknown("key", key, known, where=where))
    declared = schema.tables[name].columns
    columns: dict[str, ColumnMap] = {}
    for column, given in values.get("columns", {}).items():
        at = f"{where}.columns.{column}"
        if column not in declared:
            faults.append(unknown("column", column, declared, where=f"{where}.columns"))
            continue
        fields = {"column": given} if isinstance(given, str) else dict(given)
        for key in set(fields) - set(_COLUMN):
            faults.append(unknown("key", key, _COLUMN, where=at))
            fields.pop(key)
        _check_column(fields, at, declared[column].levels, faults)
        columns[column] = ColumnMap(**fields)
    if "columns" not in values:
        columns = {c: ColumnMap(column=c, optional=d.nullable) for c, d in declared.items()}
    else:
        for column in declared:
            if column not in columns and not _derived(name, column):
                faults.append(
                    InputError(
                        f"says nothing of column '{column}'",
                        where=f"{where}.columns",
                        remedy="Map it, or write { optional = true } where the supplier has none.",
                    )
                )
    joins = tuple(
        Join(_files(j.get("file", ())), str(j.get("on", "")), bool(j.get("required", True)))
        for j in values.get("joins", ())
    )
    return TableMap(
        file=_files(values.get("file", (f"{name}.parquet", f"{name}.csv"))),
        columns=columns,
        joins=joins,
        required=bool(values.get("required", not schema.tables[name].optional)),
        derive=bool(values.get("derive", False)),
    )


def _derived(table: str, column: str) -> bool:
    return table == "participation" and column in ("programme", "started")


def _files(given: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _check_column(
    fields: Mapping[str, Any], where: str, levels: tuple[str, ...], faults: list[InputError]
) -> None:
    named = [key for key in ("column", "pattern", "constant") if key in fields]
    if len(named) > 1 or (not named and not fields.get("optional")):
        faults.append(
            InputError(
                "needs exactly one of column, pattern, constant",
                where=where,
                remedy="Or { optional = true } where the supplier has none.",
            )
        )
    if "pattern" in fields:
        try:
            re.compile(fields["pattern"])
        except re.error as error:
            faults.append(
                InputError(f"the pattern is not valid: {error}", where=where, remedy="Correct it.")
            )
    if fields.get("month", "index") not in MONTH_FORMATS:
        faults.append(unknown("month format", str(fields["month"]), MONTH_FORMATS, where=where))
    if fields.get("key", "number") not in ("number", "text"):
        faults.append(unknown("key kind", str(fields["key"]), ("number", "text"), where=where))
    if fields.get("end") not in (None, "inclusive", "exclusive"):
        faults.append(unknown("end", str(fields["end"]), ("inclusive", "exclusive"), where=where))
    for level in set(fields.get("codes", {}).values()) - {""}:
        if levels and level not in levels:
            faults.append(unknown("level", level, levels, where=f"{where}.codes"))


def _rule(
    name: str,
    values: Mapping[str, Any],
    statuses: Mapping[str, tuple[str, ...]],
    where: str,
    faults: list[InputError],
) -> StartedRule:
    found: list[str] = []
    for group in values.get("status", ()):
        if group in statuses:
            found += statuses[group]
        else:
            faults.append(unknown("status set", group, statuses, where=where))
    return StartedRule(name, tuple(found), bool(values.get("needs_start_date", True)))
