"""Canonical tables back to a supplier's names, codes and date convention."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ibis
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tiltakeval.errors import InputError
from tiltakeval.registers import convert
from tiltakeval.registers import schema as register_schema
from tiltakeval.registers import source as register_source
from tiltakeval.registers.read import Registers
from tiltakeval.registers.schema import Column
from tiltakeval.registers.source import ColumnMap, Source


def write_registers(
    registers: Registers, folder: Path, source: str | Path | Source = "canonical"
) -> list[Path]:
    """Write the tables as the supplier lays them out; returns the files.

    Reading them with the same source gives the same tables back. A file name ending in ``.csv`` is
    written as text, the others as parquet. A level several codes stand for gets the first of them;
    a column known by pattern only is written under the canonical name if that fits the pattern;
    where two columns come from one of the supplier's, the later one is written if it is there.
    Rows go through memory one table at a time: for samples and tests, not for whole registers.
    """
    schema = register_schema.load()
    layout = source if isinstance(source, Source) else register_source.load(source, schema)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, table_map in layout.tables.items():
        if name not in registers or table_map.derive:
            continue
        table = registers[name]
        text = table_map.file[0].endswith(".csv")
        columns: dict[str, Any] = {}
        for column in schema[name].columns.values():
            spec = table_map.columns.get(column.name)
            if spec is None or (spec.column is None and spec.pattern is None):
                continue
            value = _supplier(table[column.name], spec, column, layout)
            if text:
                value = _text(value, layout)
            at = _name(spec, column)
            columns[at] = ibis.coalesce(value, columns[at]) if at in columns else value
        rows = registers.engine.arrow(
            table.select(**columns).order_by([_name(table_map.columns[k], schema[name].columns[k])
                                              for k in schema[name].key])
        )  # fmt: skip
        path = folder / table_map.file[0].replace("*", "")
        if text:
            if layout.encoding.lower() != "utf-8":
                raise InputError(
                    f"text can't be written in {layout.encoding}",
                    where=f"source {layout.name}",
                    remedy="Write parquet, or set the encoding to utf-8.",
                )
            options = pacsv.WriteOptions(delimiter=layout.delimiter, quoting_style="needed")
            pacsv.write_csv(rows, path, options)
        else:
            pq.write_table(rows, path, compression="zstd")
        written.append(path)
    return written


def _name(spec: ColumnMap, column: Column) -> str:
    if spec.column is not None:
        return spec.column
    if spec.pattern is None or not re.fullmatch(spec.pattern, column.name, re.IGNORECASE):
        raise InputError(
            f"the pattern {spec.describe()} doesn't say what to call the column",
            where=column.name,
            remedy=f"Let the pattern also fit '{column.name}', or name the column.",
        )
    return column.name


def _supplier(value: Any, spec: ColumnMap, column: Column, layout: Source) -> Any:
    if column.is_end:
        value = convert.end_to_supplier(value, spec, layout)
    if spec.codes:
        back: dict[str, str] = {}
        for code, level in spec.codes.items():
            if level:
                back.setdefault(level, code)
        value = value.cases(*back.items(), else_=value)
    if column.unit == "month index" and spec.month != "index":
        year, month = (value / 12).floor().cast("int32"), value % 12 + 1
        if spec.month == "yyyymm":
            return (year * 100 + month).cast("int32")
        padded = year.cast("string") + "-" + month.cast("string").lpad(2, "0")
        return padded if spec.month == "yyyy-mm" else (padded + "-01").cast("date")
    if column.type == "date" and spec.date_format is not None:
        return value.strftime(spec.date_format)
    return value


def _text(value: Any, layout: Source) -> Any:
    """As text, with the supplier's decimal mark; missing stays missing (an empty field)."""
    if value.type().is_floating() and layout.decimal != ".":
        return value.cast("string").replace(".", layout.decimal)
    if value.type().is_date():
        return ibis.coalesce(value.cast("string"), ibis.null("string"))
    return value.cast("string")
