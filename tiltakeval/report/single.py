"""Effects of studies with one outcome date."""

from __future__ import annotations

import pandas as pd

from tiltakeval.report.blocks import Block, Panel, Panels, Para, Sub
from tiltakeval.report.figures import forest
from tiltakeval.report.profiles import joint_limits
from tiltakeval.report.tables import cell, named_table
from tiltakeval.report.view import View, upper_first


def single_date(view: View) -> list[Block]:
    """Effects of studies with one outcome date, beside published figures."""
    words, table = view.words, view.single
    if table.empty:
        return []
    blocks: list[Block] = [Para(words(view.text("single.intro")))]
    for outcome in dict.fromkeys(table["outcome"]):
        gates = [view.material.estimates] + [g for g in (view.material.published,) if g is not None]
        wanted = {
            "outcome": outcome,
            "term": "effect",
            "subgroup": "all",
            "period": "",
            "horizon": None,
            "status": ["ok", "suppressed"],
        }
        shown = [gate.select(**wanted) for gate in gates]
        panels, tables = [], []
        for place, gate in enumerate(shown):
            if not len(gate):
                continue
            rows = gate.table
            names = [_analysis_name(view, row) for _, row in rows.iterrows()]
            key = "single.own" if place == 0 else "single.published"
            caption = words(
                key, outcome=view.outcome(outcome), unit=words.unit(str(rows["unit"].iloc[0]))
            )
            tables.append(
                named_table(
                    gate,
                    names,
                    view,
                    caption=caption,
                    first=words("table.analysis"),
                    folded=False,
                    extra=2,
                    source=place == 1,
                )
            )
            drawn = rows["conf_low"].notna().any() or rows["estimate"].notna().any()
            if drawn:
                alt = words(
                    "alt.forest",
                    title=caption,
                    count=len(rows),
                    text="; ".join(
                        f"{n}: {cell(r, 'estimate', view, str(r['unit']))}"
                        for n, (_, r) in zip(names, rows.iterrows())
                    ),
                )
                limits = joint_limits([g for g in shown if len(g)], [None] * len(shown))
                drawing = forest(
                    gate,
                    names,
                    words=words,
                    look=view.look(str(place)),
                    key=view.key("single"),
                    alt=alt,
                    limits=limits,
                )
                panels.append(Panel(upper_first(words(f"single.panel_{place}")), drawing))
        heading: list[Block] = [Sub(upper_first(view.outcome(outcome))), *tables]
        blocks += [*heading, Panels(words("single.caption", outcome=view.outcome(outcome)), panels)]
    return blocks


def _analysis_name(view: View, row: pd.Series) -> str:
    name = upper_first(view.words.label("analysis", str(row["analysis"]) or str(row["study"])))
    many = len(view.programmes) > 1
    return f"{name}: {view.programme(str(row['programme']))}" if many else name
