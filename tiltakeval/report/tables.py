"""Released numbers as tables of words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from tiltakeval.disclosure.release import (
    COARSE_SHARES,
    Released,
    ReleasedChecks,
    require_released,
)
from tiltakeval.report.blocks import Table
from tiltakeval.report.view import View, number, upper_first
from tiltakeval.report.words import Words

MAX_DETAIL_ROWS = 80


def cell(row: pd.Series, name: str, view: View, unit: str, *, extra: int = 0) -> str:
    """A value or count of a row: the rule's symbol when suppressed, a dash when there is none."""
    value = number(row, name)
    if np.isnan(value):
        counted = name.startswith("n_")
        return view.rules_symbol if counted or row["status"] == "suppressed" else "–"
    if name.startswith("n_"):
        return view.words.number(value)
    return view.words.amount(value, unit, extra=extra)


def interval(row: pd.Series, kind: str, view: View, unit: str, *, extra: int = 0) -> str:
    """The ``conf`` or ``band`` interval of a row."""
    low, high = number(row, f"{kind}_low"), number(row, f"{kind}_high")
    if np.isnan(low) and np.isnan(high):
        return view.rules_symbol if row["status"] == "suppressed" else "–"
    return view.words.interval(low, high, unit, extra=extra)


def with_interval(row: pd.Series, view: View, unit: str) -> str:
    """Estimate and interval in one cell."""
    if np.isnan(number(row, "estimate")):
        return not_shown(row, view)
    return f"{cell(row, 'estimate', view, unit)} {interval(row, 'conf', view, unit)}"


def not_shown(row: pd.Series, view: View) -> str:
    """Why there is no number."""
    if row["status"] == "suppressed":
        return view.rules_symbol
    if row["status"] == "not_supported":
        return view.words("table.not_supported")
    return "–"


def absent(table: pd.DataFrame, view: View) -> str:
    """The words in a figure's place: nothing of it may be shown, or nothing could be estimated."""
    hidden = (table["status"] == "suppressed").any()
    return view.words("figure.cannot_show" if hidden else "figure.cannot_measure")


def gaps(released: Iterable[Released | None], view: View) -> str:
    """The note of a figure in which some months are missing, empty when none is."""
    hidden = any((g.table["status"] == "suppressed").any() for g in released if g is not None)
    return view.words("figure.gaps") if hidden else ""


def month_table(released: Released, view: View, *, caption: str) -> Table:
    """The numbers behind one profile: month, effect, interval, band, units in each arm."""
    table = require_released(released, Released, "month_table").table.sort_values("horizon")
    words, unit = view.words, str(table["unit"].iloc[0])
    level = words.number(100 * float(table["conf_level"].fillna(0.95).iloc[0]))
    has_band = bool(table["band_low"].notna().any())
    has_counts = bool(table[["n_treated", "n_comparison"]].notna().any(axis=None))
    columns = [
        words("table.month"),
        words("table.effect", unit=words.unit(unit)),
        words("table.interval", level=level),
    ]
    if has_band:
        columns.append(words("table.band", level=level))
    if has_counts:
        columns += [words(view.text("table.n_treated")), words("table.n_comparison")]
    rows = []
    for _, row in table.iterrows():
        line = [words.number(number(row, "horizon")), cell(row, "estimate", view, unit)]
        line.append(interval(row, "conf", view, unit))
        if has_band:
            line.append(interval(row, "band", view, unit))
        if has_counts:
            line += [cell(row, name, view, unit) for name in ("n_treated", "n_comparison")]
        rows.append(line)
    return Table(caption, columns, rows, folded=words("table.show_numbers"))


def named_table(
    released: Released,
    names: Sequence[str],
    view: View,
    *,
    caption: str,
    first: str,
    folded: bool = True,
    extra: int = 0,
    source: bool = False,
) -> Table:
    """One row per estimate, named by ``names``: estimate, error, interval, units, perhaps source."""
    table = require_released(released, Released, "named_table").table
    words = view.words
    level = words.number(100 * float(table["conf_level"].fillna(0.95).iloc[0]))
    columns = [first, words("table.estimate"), words("table.std_error")]
    columns += [words("table.interval", level=level)]
    columns += [words(view.text("table.n_treated")), words("table.n_comparison")]
    counted = table[["n_treated", "n_comparison"]].notna().any(axis=None)
    if not counted:
        columns = columns[:4]
    if source:
        columns.append(words("table.source"))
    rows = []
    for name, (_, row) in zip(names, table.iterrows()):
        unit = str(row["unit"])
        line = [name, cell(row, "estimate", view, unit, extra=extra)]
        line += [cell(row, "std_error", view, unit, extra=extra)]
        line.append(interval(row, "conf", view, unit, extra=extra))
        if counted:
            bare = pd.isna(row["n_treated"]) and row["status"] != "suppressed"
            if bare and pd.isna(row["n_comparison"]):
                line += ["–", "–"]
            else:
                line += [cell(row, n, view, unit) for n in ("n_treated", "n_comparison")]
        if source:
            line.append(words.label("source", str(row["source"])) or "–")
        rows.append(line)
    texts = (len(columns) - 1,) if source else ()
    return Table(
        caption,
        columns,
        rows,
        folded=words("table.show_numbers") if folded else "",
        text_columns=texts,
    )


def detail_table(
    checks: ReleasedChecks, position: int, view: View, *, folded: str = ""
) -> Table | None:
    """The detail of one check, folded under its title and scope, or the words ``folded``; None when it
    has none, holds no number, or is too long to print."""
    item = require_released(checks, ReleasedChecks, "detail_table").items[position]
    if item.detail is None or item.detail.empty or len(item.detail) > MAX_DETAIL_ROWS:
        return None
    words, detail = view.words, item.detail
    names = [str(name) for name in detail.columns if name != "status"]
    if set(names) <= KEYS:
        return None
    hidden = (
        (detail["status"] == "suppressed").to_numpy()
        if "status" in detail.columns
        else np.zeros(len(detail), dtype=bool)
    )
    rows = [
        [plain(detail[name].iloc[i], words, name, bool(hidden[i]), view) for name in names]
        for i in range(len(detail))
    ]
    texts = tuple(i for i, name in enumerate(names) if detail[name].dtype == object)
    caption = f"{check_title(item.key, words)}: {scope_text(item.scope, view)}".rstrip(": ")
    columns = [upper_first(words.label("column", name)) for name in names]
    return Table(caption, columns, rows, folded=folded or caption, text_columns=texts)


def plain(value: object, words: Words, kind: str, hidden: bool, view: View) -> str:
    """A detail's value as shown."""
    if isinstance(value, str):
        return words.label(_KINDS.get(kind, kind), str(value))
    if isinstance(value, bool | np.bool_):
        return words("word.yes") if value else words("word.no")
    if value is None or value is pd.NA or not np.isfinite(float(value)):  # type: ignore[arg-type]
        return view.rules_symbol if hidden else "–"
    figure = float(value)  # type: ignore[arg-type]
    return small_or_number(figure, words)


def _fact(value: object, kind: str, view: View) -> str:
    """A value of a check's message. Some shares are released to the nearest per cent: 0 is all below
    half a per cent."""
    words = view.words
    known = isinstance(value, int | float) and np.isfinite(value)
    if kind not in COARSE_SHARES or not known:
        return plain(value, words, _KINDS.get(kind, kind), value is not None, view)
    percent = round(100 * float(value))  # type: ignore[arg-type]
    shown = words.number(percent) if percent else words("number.below", value=words.number(0.5, 1))
    return words("number.percent", value=shown)


def small_or_number(value: float, words: Words, *, whole_from: float = np.inf) -> str:
    """A number with three decimals (none when whole, or from ``whole_from``), and one that would be
    rounded to nothing as below the least shown."""
    if value and abs(value) < 0.0005:
        least = words.number(np.copysign(0.001, value), 3)
        return words("number.below" if value > 0 else "number.above", value=least)
    return words.number(value, 0 if value == round(value) or abs(value) >= whole_from else 3)


_KINDS = {"variable": "covariate", "benchmark": "covariate", "arm": "programme", "term": "term"}
KEYS = {"outcome", "horizon", "programme", "comparator", "covariate", "arm", "population"}


def check_title(key: str, words: Words) -> str:
    """A check's name."""
    return (
        words(f"check.{key}.title")
        if words.has(f"check.{key}.title")
        else words.label("check", key)
    )


def scope_text(scope: Mapping[str, str], view: View) -> str:
    """``nedsatt arbeidsevne, AFT mot IPS`` of a scope mapping."""
    parts = [_scope_part(name, value, scope, view) for name, value in scope.items()]
    return ", ".join(part for part in parts if part)


def _scope_part(name: str, value: str, scope: Mapping[str, str], view: View) -> str:
    words = view.words
    other = scope.get("comparator", "none")
    if view.rollout and name in ("programme", "population", "restriction", "cluster"):
        return ""  # there is one
    if name in ("programme", "arm"):
        if value in ("none", "all"):
            return words("scope.all_programmes") if value == "all" else ""
        if other != "none":
            return words("exits.difference", arm=view.short(value), other=view.short(other))
        return view.short(value)
    if name == "comparator":
        alone = value != "none" and "programme" not in scope
        return words("scope.against", other=view.short(value)) if alone else ""
    if name == "state":
        return words("scope.state", population=words.label("population", value))
    return words.label({"column": "field"}.get(name, name), value)


def message_table(
    checks: ReleasedChecks, key: str, names: Sequence[str], view: View
) -> Table | None:
    """The named facts of all checks of one key, a row each; None when there are none."""
    words = view.words
    gate = require_released(checks, ReleasedChecks, "message_table")
    items = [i for i in gate.items if i.key == key and any(n in i.message for n in names)]
    if not items:
        return None
    rows = [
        [
            upper_first(scope_text(item.scope, view)) or "–",
            *(_fact(item.message.get(n), n, view) for n in names),
        ]
        for item in items
    ]
    columns = [words("checks.scope"), *(upper_first(words.label("column", n)) for n in names)]
    texts = tuple(
        i + 1 for i, n in enumerate(names) if any(isinstance(x.message.get(n), str) for x in items)
    )
    return Table(words(f"check.{key}.facts"), columns, rows, text_columns=texts)
