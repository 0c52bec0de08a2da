"""Hazard models: ratios for programme status and characteristics, and whatever else a model gives."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tiltakeval.report.blocks import Block, Para, Sub, Table
from tiltakeval.report.exits import STEMS, TIMES
from tiltakeval.report.hazard_ratios import stage_name
from tiltakeval.report.tables import not_shown, with_interval
from tiltakeval.report.view import BY_POINTS, EFFECTS, View, number, upper_first

RATIOS = ("log_hazard_ratio", "coefficient")
BASELINE = "baseline"
#: Terms of the section on hazard models.
MONTHS = (
    BY_POINTS, "mean_treated", "mean_comparison", "cumulated", "cumulated_path", "cumulated_lock_in",
    "cumulated_after", "depth", "length", "break_even",
)  # fmt: skip


def coefficients(view: View) -> list[Block]:
    """A table of hazard ratios for each analysis and exit, the baseline folded, the rest below."""
    if not view.spells:
        return []
    words, table = view.words, view.table
    log = table[(table["unit"] == "log") & table["term"].isin([*RATIOS, BASELINE])]
    blocks: list[Block] = []
    for analysis in dict.fromkeys(log["analysis"]):
        part = log[log["analysis"] == analysis]
        blocks.append(Sub(upper_first(words.label("analysis", str(analysis)))))
        for outcome in dict.fromkeys(part["outcome"]):
            rows = part[part["outcome"] == outcome]
            name = upper_first(view.outcome(str(outcome)))
            status, known = (rows[rows["term"] == term] for term in RATIOS)
            if len(status):
                blocks.append(_table(view, status, words("coefficients.caption", outcome=name)))
            if len(known):  # next to a programme's, the ratios of characteristics are in the way
                caption = words("coefficients.known", outcome=name)
                blocks.append(_table(view, known, caption, folded=bool(len(status))))
            baseline = rows[rows["term"] == BASELINE]
            if len(baseline):
                caption = words("coefficients.baseline", outcome=name)
                blocks.append(_table(view, baseline, caption, folded=True))
    blocks += _others(view)
    return [Para(words("coefficients.intro")), *blocks] if blocks else []


def _table(view: View, rows: pd.DataFrame, caption: str, *, folded: bool = False) -> Table:
    words = view.words
    level = words.number(100 * float(rows["conf_level"].fillna(0.95).iloc[0]))
    baseline = bool((rows["term"] == BASELINE).all())
    columns = [
        words("table.month") if baseline else words("coefficients.what"),
        words("coefficients.hazard" if baseline else "coefficients.ratio"),
        words("table.interval", level=level),
        words("coefficients.log"),
        words("table.std_error"),
    ]
    lines = []
    for _, row in rows.iterrows():
        name = _name(view, row)
        if np.isnan(number(row, "estimate")):
            lines.append([name, not_shown(row, view), "–", "–", "–"])
            continue
        low, high = (float(np.exp(number(row, end))) for end in ("conf_low", "conf_high"))
        lines.append(
            [
                name,
                words.number(float(np.exp(number(row, "estimate"))), 3),
                words.interval(low, high, "ratio", extra=1),
                words.amount(number(row, "estimate"), "log"),
                words.amount(number(row, "std_error"), "log"),
            ]
        )
    return Table(caption, columns, lines, folded=words("table.show_numbers") if folded else "")


def _name(view: View, row: pd.Series) -> str:
    """What a coefficient is of: a status or characteristic, with its time and subgroup."""
    words, term = view.words, str(row["term"])
    period, horizon = str(row["period"]), row["horizon"]
    when = period.replace("-", "–") or ("" if pd.isna(horizon) else words.number(int(horizon)))
    if term == BASELINE:
        return when or "–"
    kind = "programme" if term == "log_hazard_ratio" else "covariate"
    parts = [upper_first(words.label(kind, str(row["programme"])))]
    if stage := stage_name(row, view):
        parts.append(stage)
    elif when:
        parts.append(words("coefficients.months", months=when))
    if row["subgroup"] != "all":
        parts.append(words.label("subgroup", str(row["subgroup"])))
    return ", ".join(parts)


def _others(view: View) -> list[Block]:
    """Rows of a model that no other part of the report shows, one table a term."""
    table = view.table
    shown = [*RATIOS, BASELINE, *EFFECTS]
    if view.hazards is not None:
        shown += MONTHS
    shown += [
        f"{stem}{end}" for stem in (*STEMS, *TIMES) for end in ("", "_difference", "_comparison")
    ]
    # means that effects are differences of stand in the files
    rest = table[~table["term"].isin(shown) & ~table["analysis"].isin(view.single["analysis"])]
    words = view.words
    blocks: list[Block] = []
    for analysis, term in dict.fromkeys(zip(rest["analysis"], rest["term"])):
        rows = rest[(rest["analysis"] == analysis) & (rest["term"] == term)]
        lines = []
        for _, row in rows.iterrows():
            what = [words.label("programme", str(row["programme"]))] if row["programme"] else []
            what += [view.outcome(str(row["outcome"]))] if row["outcome"] else []
            if row["subgroup"] != "all":
                what.append(words.label("subgroup", str(row["subgroup"])))
            when = str(row["period"]) or ("" if pd.isna(row["horizon"]) else str(row["horizon"]))
            lines.append(
                [
                    upper_first(", ".join(what)) or "–",
                    when.replace("-", "–") or "–",
                    with_interval(row, view, str(row["unit"])),
                ]
            )
        caption = f"{words.label('analysis', str(analysis))}: {words.label('term', str(term))}"
        columns = [words("coefficients.what"), words("table.month"), words("table.estimate")]
        blocks.append(Table(upper_first(caption), columns, lines))
    return blocks
