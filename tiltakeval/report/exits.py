"""Curves of leaving the register, by arm."""

from __future__ import annotations

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para, Table
from tiltakeval.report.figures import curves
from tiltakeval.report.profiles import joint_limits
from tiltakeval.report.tables import with_interval
from tiltakeval.report.view import View, number, upper_first


def exits(view: View) -> list[Block]:
    """Kaplan-Meier and Aalen-Johansen curves by arm."""
    words, table = view.words, view.table
    rows = table[table["term"].str.startswith(("survival", "incidence"))]
    blocks: list[Block] = []
    for population in dict.fromkeys(rows["population"]):
        part = rows[rows["population"] == population]
        for outcome in dict.fromkeys(part["outcome"]):
            panels = []
            one = part[part["outcome"] == outcome]
            stem = "survival" if one["term"].str.startswith("survival").any() else "incidence"
            for programme in [p for p in view.programmes if p in set(one["programme"])]:
                base = {
                    "population": population,
                    "outcome": outcome,
                    "programme": programme,
                    "subgroup": "all",
                }
                name = view.programme(programme)
                arms = [
                    (view.part(**base, term=f"{stem}_treated"), name),
                    (view.part(**base, term=f"{stem}_comparison"), words("figure.comparison")),
                    (view.part(**base, term=stem), name),
                ]
                arms = [
                    (gate, label) for gate, label in arms if gate.table["estimate"].notna().any()
                ]
                if not arms:
                    continue
                ends = [
                    words("alt.curve_end", arm=label, **_last(view, gate)) for gate, label in arms
                ]
                alt = words(
                    "alt.curves", title=name, outcome=view.outcome(outcome), ends="; ".join(ends)
                )
                limits = joint_limits(
                    [
                        g
                        for p in view.programmes
                        for t in ("treated", "comparison")
                        if len(g := view.part(**{**base, "programme": p}, term=f"{stem}_{t}"))
                    ],
                    [None] * 99,
                )
                drawing = curves(
                    arms,
                    words=words,
                    look=view.look(programme),
                    key=view.key("curve"),
                    alt=alt,
                    limits=limits,
                )
                panels.append(Panel(upper_first(name), drawing, _curve_table(view, arms, name)))
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
