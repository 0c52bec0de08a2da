"""Curves of leaving the register, by arm."""

from __future__ import annotations

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para, Table
from tiltakeval.report.figures import curves
from tiltakeval.report.profiles import joint_limits
from tiltakeval.report.tables import with_interval
from tiltakeval.report.view import View, number, upper_first

STEMS = ("survival", "cumulative_incidence")
WITHOUT = ("none", "comparison", "control")


def exits(view: View) -> list[Block]:
    """Kaplan-Meier and Aalen-Johansen curves: each programme's arm beside the arm without."""
    words, table = view.words, view.table
    rows = table[table["term"].isin(STEMS)]
    blocks: list[Block] = []
    for population in dict.fromkeys(rows["population"]):
        part = rows[rows["population"] == population]
        for stem, outcome in dict.fromkeys(zip(part["term"], part["outcome"])):
            base = {"population": population, "outcome": outcome, "term": stem, "subgroup": "all"}
            panels = _panels(view, base)
            if panels:
                caption = words(
                    f"exits.caption_{stem}",
                    outcome=upper_first(view.outcome(outcome)),
                    population=view.population(population),
                )
                swatches = [
                    ("line", words("legend.participants")),
                    ("dashed", words("legend.comparison")),
                ]
                blocks.append(Panels(caption, panels, swatches))
    return [Para(words("exits.intro")), *blocks] if blocks else []


def _panels(view: View, base: dict[str, str]) -> list[Panel]:
    words = view.words
    curve = {p: view.part(**base, programme=p) for p in (*view.programmes, *WITHOUT)}
    curve = {p: gate for p, gate in curve.items() if gate.table["estimate"].notna().any()}
    without = next((curve[p] for p in WITHOUT if p in curve), None)
    limits = joint_limits(list(curve.values()), [None] * len(curve))
    panels = []
    for programme in [p for p in curve if p not in WITHOUT]:
        name = view.programme(programme)
        arms = [(curve[programme], view.short(programme))]
        if without is not None:
            arms.append((without, words("figure.comparison")))
        ends = [words("alt.curve_end", arm=label, **_last(view, gate)) for gate, label in arms]
        outcome = view.outcome(base["outcome"])
        alt = words("alt.curves", title=name, outcome=outcome, ends="; ".join(ends))
        look, key = view.look(programme), view.key("curve")
        drawing = curves(arms, words=words, look=look, key=key, alt=alt, limits=limits)
        panels.append(Panel(upper_first(name), drawing, _curve_table(view, arms, name)))
    return panels


def _last(view: View, gate: Released) -> dict[str, str]:
    row = gate.table.dropna(subset=["estimate"]).sort_values("horizon").iloc[-1]
    return {
        "month": view.words.number(number(row, "horizon")),
        "value": view.words.amount(number(row, "estimate"), str(row["unit"])),
    }


def _curve_table(view: View, arms: list[tuple[Released, str]], title: str) -> Table:
    tables = [gate.table.set_index("horizon") for gate, _ in arms]
    months = sorted({int(m) for t in tables for m in t.index.dropna()})
    rows = []
    for month in months:
        line = [view.words.number(month)]
        for table in tables:
            if month not in table.index:
                line.append("–")
                continue
            line.append(with_interval(table.loc[month], view, str(table["unit"].iloc[0])))
        rows.append(line)
    unit = view.words.unit(str(tables[0]["unit"].iloc[0]), difference=False)
    columns = [view.words("table.month"), *(f"{upper_first(label)} ({unit})" for _, label in arms)]
    return Table(title, columns, rows, folded=view.words("table.show_numbers"))
