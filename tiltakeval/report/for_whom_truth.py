"""The known truth behind the section on whom it works for, on invented data."""

from __future__ import annotations

from typing import Any

from tiltakeval.disclosure.release import Released
from tiltakeval.report.view import View, number


def known(view: View, part: Released, **where: Any) -> Released | None:
    """The true values of invented data behind the rows of a part, if there are any."""
    truth, table = view.material.truth, part.table
    if truth is None or table.empty:
        return None
    same = {name: table[name].iloc[0] for name in ("population", "analysis", "estimand")}
    found = truth.select(**same, term=str(table["term"].iloc[0]), **where)
    return found if len(found) else None


def true_text(view: View, true: Released, programme: str, unit: str, subgroup: str = "all") -> str:
    """The true value of one row; a dash where there is none."""
    rows = true.select(programme=programme, subgroup=subgroup).table
    return "–" if rows.empty else view.words.amount(number(rows.iloc[0], "estimate"), unit)
