"""Released tables as plain values for files."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd


def as_json(value: Any) -> str:
    """One line of JSON; what JSON has no form for becomes text."""
    return json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table as plain objects, missing values None."""
    return table.astype(object).where(table.notna(), None)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A mapping per row."""
    return [{str(k): v for k, v in row.items()} for row in plain(table).to_dict(orient="records")]


def tally(log: pd.DataFrame) -> list[dict[str, Any]]:
    """The log with months, cohorts and periods counted rather than listed."""
    keys = [name for name in log.columns if name not in ("horizon", "cohort", "period", "unit")]
    if log.empty or "horizon" not in log.columns:
        return records(log)
    return records(log.groupby(keys, sort=False, dropna=False).size().reset_index(name="rows"))
