"""A supplier's column to a canonical one, as an expression; and what could not be read."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.datatypes as dtypes
from ibis.expr.types import BooleanValue, Value

from tiltakeval.registers.schema import IBIS, Column
from tiltakeval.registers.source import ColumnMap, Source


@dataclass(frozen=True)
class Converted:
    """``value`` has the canonical type. ``failed``: the supplier gave a value that can't be read
    as it; None when that can't happen. ``left_out``: the row is not part of the table."""

    value: Any
    failed: Any | None = None
    left_out: Any | None = None


@ibis.udf.scalar.builtin(
    name="try_strptime", signature=((dtypes.string, dtypes.string), dtypes.timestamp)
)
def _try_strptime(text, form):  # type: ignore[no-untyped-def]
    """DuckDB's function of that name."""


@ibis.udf.scalar.builtin(name="md5_number_lower", signature=((dtypes.string,), dtypes.uint64))
def _md5(text):  # type: ignore[no-untyped-def]
    """DuckDB's function of that name."""


def column(raw: Value | None, spec: ColumnMap, column: Column, source: Source) -> Converted:
    """The canonical column made of the supplier's ``raw`` (None: always missing or constant)."""
    kind = IBIS[column.type]
    if raw is None:
        value = ibis.null(kind) if spec.constant is None else ibis.literal(spec.constant, type=kind)
        return Converted(value)
    if not spec.codes and not column.is_end and _same(raw, kind, spec):
        return Converted(raw)
    given, left_out = raw, None
    if raw.type().is_string():
        given = raw.strip().nullif("")
    if spec.codes:
        text = given.cast("string")
        given = text.cases(*[(k, v) for k, v in spec.codes.items() if v], else_=text)
        outside = [k for k, v in spec.codes.items() if not v]
        if outside and column.nullable:
            given = text.isin(outside).ifelse(ibis.null("string"), given)
        elif outside:
            left_out = text.isin(outside).fill_null(False)
    value = _typed(given, spec, column, source)
    failed = given.notnull() & value.isnull()
    if column.is_end:
        value = _end(value, spec, source)
    return Converted(value.cast(kind), failed, left_out)


def readable(raw: Value, spec: ColumnMap, column: Column) -> bool:
    """Whether values of the supplier's type can at all be read as the column's."""
    kind = raw.type()
    if kind.is_string() or kind.is_null():
        return True
    day = kind.is_date() or kind.is_timestamp()
    if column.type == "date":
        return day or (kind.is_integer() and spec.date_format is not None)
    if column.unit == "month index":
        return (
            kind.is_numeric() and not kind.is_boolean()
            if spec.month in ("index", "yyyymm")
            else day
        )
    if column.type == "string":
        return kind.is_primitive() or kind.is_decimal()
    if column.type == "bool":
        return kind.is_boolean() or kind.is_integer()
    return kind.is_numeric() and not kind.is_boolean()


def _same(raw: Value, kind: str, spec: ColumnMap) -> bool:
    return (
        str(raw.type().copy(nullable=True)) == kind
        and spec.month == "index"
        and spec.key == "number"
    )


def _typed(given: Any, spec: ColumnMap, column: Column, source: Source) -> Any:
    if column.type == "string":
        return given.cast("string")
    if column.type == "date":
        return _date(given, spec)
    if column.type == "bool":
        return given.try_cast("boolean")
    if column.unit == "month index":
        return _month(given, spec)
    if spec.key == "text":
        # 63 bits of a portable hash: a clash would show up as a repeated key among the persons.
        return (_md5(given.cast("string")) >> 1).cast("int64")
    if column.type == "int64" and column.sensitivity == "identifier":
        return _whole(given)
    number = given
    if given.type().is_string() and source.decimal != ".":
        number = given.replace(source.decimal, ".")
    number = number.try_cast("float64")
    number = number.isnan().ifelse(ibis.null("float64"), number)
    return number if column.type == "float64" else number.round().try_cast("int64")


def _whole(given: Any) -> Any:
    """A whole number; text with decimals, or a fraction, is not one."""
    if given.type().is_string():
        return (
            given.re_search(r"^[+-]?[0-9]+$").ifelse(given, ibis.null("string")).try_cast("int64")
        )
    whole = given.try_cast("int64")
    return (whole.cast("float64") == given.cast("float64")).ifelse(whole, ibis.null("int64"))


def _date(given: Any, spec: ColumnMap) -> Any:
    if given.type().is_date() or given.type().is_timestamp():
        return given.cast("date")
    text = given.cast("string")
    if spec.date_format is not None:
        return _try_strptime(text, spec.date_format).cast("date")
    return text.try_cast("timestamp").cast("date")


def _month(given: Any, spec: ColumnMap) -> Any:
    if spec.month == "index":
        return _whole(given).try_cast("int32")
    if spec.month == "date":
        day = _date(given, spec)
        return (day.year() * 12 + day.month() - 1).cast("int32")
    pattern = r"^([0-9]{4})([0-9]{2})$" if spec.month == "yyyymm" else r"^([0-9]{4})-([0-9]{2})"
    text = given.cast("string")
    year = text.re_extract(pattern, 1).try_cast("int32")
    month = text.re_extract(pattern, 2).try_cast("int32")
    return month.between(1, 12).ifelse(year * 12 + month - 1, ibis.null("int32")).cast("int32")


def _end(value: Any, spec: ColumnMap, source: Source) -> Any:
    """The first day no longer covered; an end far in the future is an open one."""
    if source.open_end_from is not None:
        far: BooleanValue = value >= ibis.literal(source.open_end_from)
        value = far.ifelse(ibis.null("date"), value)
    if (spec.end or source.end) == "inclusive":
        # Adding an interval gives a timestamp in DuckDB, whatever Ibis says.
        value = (value + ibis.interval(days=1)).cast("date")
    return value


def end_to_supplier(value: Any, spec: ColumnMap, source: Source) -> Any:
    """The inverse of the end convention: a half-open end as the supplier would write it."""
    if (spec.end or source.end) == "inclusive":
        return (value - ibis.interval(days=1)).cast("date")
    return value


def month_of(day: Any) -> Any:
    """Month index of a date column."""
    return (day.year() * 12 + day.month() - 1).cast("int32")


FAR = dt.date(9998, 12, 31)
"""Stands for a date not known when a code's period is looked up: only open periods hold it."""
