"""What a quality rule says: a Check with a sentence, a place, a number and a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from tiltakeval.estimates.check import Check
from tiltakeval.months import month_label

Severity = Literal["error", "warning", "info"]
SMALL = 5


def shown(count: int) -> str:
    """A count as text; below five only that it is."""
    return f"<{SMALL}" if 0 < count < SMALL else f"{count:,}".replace(",", " ")


def finding(
    rule: str,
    severity: Severity,
    what: str,
    *,
    table: str,
    remedy: str,
    column: str | None = None,
    rows: int | None = None,
    example: str | None = None,
    detail: pd.DataFrame | None = None,
) -> Check:
    """Something a rule found. Errors have status "failed", the rest "informative".

    ``example`` is a value or month to look for in the file, never a key of a person. A row count
    under five is neither shown nor kept.
    """
    scope = {"table": table} if column is None else {"table": table, "column": column}
    message = {"severity": severity, "what": what, "remedy": remedy}
    if rows is not None:
        message["rows"] = shown(rows)
    if example is not None:
        message["example"] = example
    return Check(
        key=rule,
        status="failed" if severity == "error" else "informative",
        scope=scope,
        statistic=float(rows) if rows is not None and rows >= SMALL else None,
        message=message,
        detail=detail,
    )


def masked(values: Sequence[str], counts: Sequence[int], name: str) -> pd.DataFrame:
    """A small table of values and their row counts as text, largest first, small ones as "<5"."""
    order = sorted(range(len(values)), key=lambda i: (-counts[i], str(values[i])))
    named = pd.Series([values[i] for i in order], dtype=object)  # a missing value stays None
    return pd.DataFrame({name: named, "rows": [shown(int(counts[i])) for i in order]})


def describe(check: Check) -> str:
    """A finding as text for a terminal: what, where, how many, an example, what to do."""
    message = check.message
    if check.status == "passed":
        return f"ok       {check.key}"
    severity = str(message.get("severity", "info"))
    where = ".".join(check.scope.values())
    rows = f" ({message['rows']} rows)" if "rows" in message else ""
    example = f" For instance {message['example']}." if "example" in message else ""
    lines = [f"{severity:<8} {check.key}: {where}: {message['what']}{rows}.{example}"]
    lines.append(f"         {message['remedy']}")
    if check.detail is not None:
        lines += [f"           {line}" for line in _rows(check.detail)]
    return "\n".join(lines)


def _rows(detail: pd.DataFrame, most: int = 15) -> list[str]:
    text = ["  ".join(str(v) for v in row if v is not None) for row in detail.head(most).values]
    return text + ([f"… and {len(detail) - most} more"] if len(detail) > most else [])


def month_text(month: int | None) -> str | None:
    """A month index as an example to look for."""
    return None if month is None else month_label(int(month))
