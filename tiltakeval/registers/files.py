"""Files of an extract: finding them, opening them in the engine, matching column names."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from ibis.expr.types import Table

from tiltakeval.engine import Engine
from tiltakeval.errors import InputError, nearest
from tiltakeval.registers.source import ColumnMap, Source

_NAME = re.compile(r"^[^\W\d]")
_LINE = re.compile(r"(?:on Line|Line|line)[: ]+(\d+)")


def find(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """The files of a table: the first name that exists, or every file one pattern fits.

    A name may hold ``*`` (``jobs_*.parquet``). All files of one table have the same columns.
    """
    for name in names:
        found = tuple(sorted(p for p in folder.glob(name) if p.is_file()))
        if found:
            return found
    lower = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_file()}
    for name in names:
        if name.lower() in lower:
            return (lower[name.lower()],)
    return ()


def missing(table: str, names: Sequence[str], folder: Path) -> InputError:
    """The fault of a table without a file, with the nearest file name there is."""
    there = [p.name for p in folder.iterdir() if p.is_file()]
    guesses = [g for g in (nearest(name, there) for name in names) if g]
    hint = f"Is '{guesses[0]}' it? " if guesses else ""
    return InputError(
        "no file found",
        where=f"table {table}",
        remedy=f"{hint}Looked for: {', '.join(names)}. Rename the file or correct the source.",
    )


def open_table(engine: Engine, paths: Sequence[Path], source: Source, name: str) -> Table:
    """The files as one table. Text is read as text and copied in. Raises InputError if unreadable;
    the message never holds a line of the file."""
    kinds = {p.suffix.lower() for p in paths}
    where = paths[0].name
    if len(kinds) > 1:
        raise InputError(
            "parquet and text files are mixed in one table", where=where, remedy="Use one of them."
        )
    try:
        if kinds == {".parquet"}:
            return engine.backend.read_parquet([str(p) for p in paths], table_name=name)
        columns = _header(paths, source)
        # Nothing is guessed: DuckDB would otherwise skip lines, or take a line of data as names.
        view = engine.backend.read_csv(
            [str(p) for p in paths],
            table_name=f"{name}_text",
            auto_detect=False,
            header=True,
            columns=dict.fromkeys(columns, "VARCHAR"),
            delim=source.delimiter,
            quote='"',
            escape='"',
            encoding=source.encoding,
        )
        return engine.materialise(view, name)
    except InputError:
        raise
    except Exception as error:
        line = _LINE.search(str(error))
        at = f" at line {line[1]}" if line else ""
        raise InputError(
            f"can't be read{at} ({type(error).__name__})",
            where=where,
            remedy=f"Expected {'parquet' if kinds == {'.parquet'} else _text(source)}.",
        ) from None


def _header(paths: Sequence[Path], source: Source) -> list[str]:
    """Column names of the text files. Raises InputError if a first line is no header, without
    showing the line: it may be a person's."""
    found: list[str] | None = None
    for path in paths:
        with path.open(
            encoding=source.encoding.replace("utf-8", "utf-8-sig"), newline=""
        ) as stream:
            names = next(csv.reader(stream, delimiter=source.delimiter), [])
        if not any(names):
            raise InputError("is empty", where=path.name, remedy="It needs a header line.")
        if not all(_NAME.match(n) for n in names) or len({n.lower() for n in names}) < len(names):
            raise InputError(
                "the first line is no header: a name is empty, repeated, or begins with a digit",
                where=path.name,
                remedy=f"Expected {_text(source)}.",
            )
        if found is not None and names != found:
            raise InputError(
                f"has other columns than {paths[0].name}",
                where=path.name,
                remedy="Files of one table need the same columns in the same order.",
            )
        found = names
    return found or []


def _text(source: Source) -> str:
    return (
        f"text in {source.encoding}, a header line, fields separated by '{source.delimiter}' "
        "and as many on every line"
    )


def join(
    engine: Engine, raw: Table, other: Table, on: str, names: list[str], faults: list[InputError]
) -> Table:
    """``raw`` with the columns of ``other`` it lacks, by the column ``on`` of both."""
    left, right = _named(raw, on), _named(other, on)
    if left is None or right is None:
        faults.append(
            InputError(
                f"column '{on}' is missing",
                where=names[0],
                remedy="Both files of the join need it; correct 'on' in the source.",
            )
        )
        return raw
    counts = engine.frame(other.aggregate(n=other.count(), keys=other[right].nunique()))
    if int(counts["n"][0]) != int(counts["keys"][0]):
        faults.append(
            InputError(
                f"'{on}' is repeated or missing in the file joined on",
                where=names[0],
                remedy="It must name one row only.",
            )
        )
        return raw
    have = {c.lower() for c in raw.columns}
    extra = [c for c in other.columns if c.lower() not in have]
    added = other.select(**{c: other[c] for c in extra}, join_key=other[right])
    return raw.left_join(added, raw[left] == added.join_key).drop("join_key")


def resolve(
    raw: Table, spec: ColumnMap, column: str, where: str, faults: list[InputError]
) -> str | None:
    """The supplier's column for ``spec``; None when it has none, which is a fault unless optional."""
    if spec.column is not None:
        found = _named(raw, spec.column)
        if found is not None:
            return found
    elif spec.pattern is not None:
        fits = [c for c in raw.columns if re.fullmatch(spec.pattern, c, re.IGNORECASE)]
        if len(fits) == 1:
            return fits[0]
        if len(fits) > 1:
            faults.append(
                InputError(
                    f"{len(fits)} columns fit {spec.describe()}: {', '.join(fits[:5])}",
                    where=f"{where}: {column}",
                    remedy="Make the pattern in the source more exact.",
                )
            )
            return None
    if spec.constant is not None or spec.optional:
        return None
    faults.append(_no_column(raw, spec, column, where))
    return None


def _no_column(raw: Table, spec: ColumnMap, column: str, where: str) -> InputError:
    columns = list(raw.columns)
    lower = {c.lower(): c for c in columns}
    guess = nearest((spec.column or column).lower(), lower)
    hint = f"Is '{lower[guess]}' it? " if guess else ""
    if len(columns) == 1 and any(mark in columns[0] for mark in ";,\t|"):
        hint = "The whole line was read as one column: declare the delimiter in the source. "
    shown = ", ".join(columns[:12]) + (", …" if len(columns) > 12 else "")
    return InputError(
        f"column {spec.describe()} for '{column}' is missing",
        where=where,
        remedy=f"{hint}The file has: {shown}.",
    )


def _named(table: Table, name: str) -> str | None:
    if name in table.columns:
        return name
    return next((c for c in table.columns if c.lower() == name.lower()), None)
