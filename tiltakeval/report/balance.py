"""The section on balance: were the groups alike before, and was there anybody to compare with."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tiltakeval.report.blocks import Block, Panel, Panels, Para, Sub
from tiltakeval.report.figures import love
from tiltakeval.report.tables import check_title, detail_table, message_table, scope_text
from tiltakeval.report.view import View, upper_first

SMD_COLUMNS = (("difference_before", "difference_after"), ("smd_before", "smd_after"))
LOVE_ROWS = 20
OVERLAP = ("overlap", "trimming", "effective_units", "common_support")


def balance(view: View) -> list[Block]:
    """Whether the groups compared were alike before, and overlapped."""
    words, checks = view.words, view.material.checks
    panels = []
    threshold = None
    for position, item in enumerate(checks.items):
        names = _smd(item.detail)
        if names is None or not item.key.startswith("balance"):
            continue
        if view.populations and item.scope.get("estimand", view.estimands[0]) != view.estimands[0]:
            continue
        detail = item.detail
        assert detail is not None
        threshold = item.threshold
        label_column = "covariate" if "covariate" in detail.columns else detail.columns[0]
        size = np.maximum(*(np.abs(detail[n].to_numpy(dtype="float64")) for n in names))
        chosen = np.argsort(-np.nan_to_num(size, nan=-1), kind="stable")[:LOVE_ROWS]
        labels = [words.label("covariate", str(detail[label_column].iloc[i])) for i in chosen]
        programme = str(item.scope.get("programme", item.scope.get("arm", "")))
        scope = scope_text(item.scope, view) or check_title(item.key, words)
        after = np.abs(detail[names[1]].to_numpy(dtype="float64"))
        alt = words(
            "alt.love",
            scope=scope,
            count=len(chosen),
            largest=words.number(float(np.nanmax(after)), 2),
        )
        drawing = love(
            checks,
            position,
            labels,
            chosen.tolist(),
            words=words,
            look=view.look(programme),
            key=view.key("love"),
            alt=alt,
            columns=names,
        )
        table = detail_table(checks, position, view, folded=words("table.show_detail"))
        panels.append(Panel(upper_first(scope), drawing, table))
    blocks: list[Block] = []
    if panels:
        legend = [("hollow", words("legend.before")), ("solid", words("legend.after"))]
        if threshold is not None:
            legend.append(("dashed", words("legend.threshold", value=words.number(threshold, 2))))
        blocks += [
            Para(words("balance.intro")),
            Panels(words("balance.caption", count=LOVE_ROWS), panels, legend),
        ]
    facts = message_table(
        checks, "overlap", ("outside", "clipped", "trimmed_treated", "largest_weight"), view
    )
    overlap: list[Block] = [facts] if facts else []
    for position, item in enumerate(checks.items):
        if item.key.startswith(OVERLAP):
            table = detail_table(checks, position, view)
            overlap += [table] if table else []
    if overlap:
        blocks += [Sub(words("balance.overlap")), Para(words("balance.overlap_text")), *overlap]
    return blocks


def _smd(detail: pd.DataFrame | None) -> tuple[str, str] | None:
    if detail is None or detail.empty:
        return None
    return next((pair for pair in SMD_COLUMNS if set(pair) <= set(detail.columns)), None)
