"""Months as whole numbers: ``year * 12 + month - 1``."""

from __future__ import annotations

import re
from datetime import date

from tiltakeval.errors import InputError

_MONTH = re.compile(r"^(\d{4})-(\d{2})(-\d{2})?$")


def month_index(day: date) -> int:
    """The month index of a date."""
    return day.year * 12 + day.month - 1


def parse_month(text: str) -> int:
    """The month index of ``"YYYY-MM"`` (a day, if given, is ignored). Raises InputError."""
    match = _MONTH.match(text.strip())
    if match is None or not 1 <= int(match[2]) <= 12:
        raise InputError(f"'{text}' is not a month", remedy="Write a month as YYYY-MM.")
    return int(match[1]) * 12 + int(match[2]) - 1


def month_label(index: int) -> str:
    """``"YYYY-MM"`` of a month index."""
    return f"{index // 12:04d}-{index % 12 + 1:02d}"


def first_day(index: int) -> date:
    """The first day of the month."""
    return date(index // 12, index % 12 + 1, 1)
