"""Curves of leaving, by arm: out of the register, or out of prepared spells."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para, Table
from tiltakeval.report.figures import curves
from tiltakeval.report.profiles import joint_limits
from tiltakeval.report.tables import with_interval
from tiltakeval.report.view import View, number, upper_first

STEMS = ("survival", "cumulative_incidence")
TIMES = ("time_in_state", "time_lost")
WITHOUT = ("none", "comparison", "control")


def exits(view: View) -> list[Block]:
    """Kaplan-Meier and Aalen-Johansen curves: each programme's arm beside the arm without; for a study
    of spells also the numbers at one time, and mean times."""
    words, table = view.words, view.table
    rows = table[table["term"].isin(STEMS)]
    blocks: list[Block] = []
    for base in _families(rows, "outcome"):
        panels = _panels(view, base)
        if not panels:
            continue
        caption = words(
            view.text(f"exits.caption_{base['term']}"),
            outcome=upper_first(view.outcome(base["outcome"])),
            population=view.population(base["population"]),
        )
        if len(set(rows["analysis"])) > 1 and view.spells:
            caption = f"{upper_first(words.label('analysis', base['analysis']))}. {caption}"
        blocks.append(Panels(caption, panels, _legend(view, base)))
    if view.spells:
        blocks += [*_at_one_time(view, rows), *_mean_times(view)]
    return [Para(words(view.text("exits.intro"))), *blocks] if blocks else []


def _families(rows: pd.DataFrame, *more: str) -> list[dict[str, Any]]:
    """The distinct combinations of what curves are of, in order."""
    names = ["analysis", "population", "term", *more]
    return [
        {**dict(zip(names, key)), "subgroup": "all"}
        for key in dict.fromkeys(rows[names].itertuples(index=False, name=None))
    ]


def comparison_name(view: View) -> str:
    """What the arm without is called: the study's own name for it, or the comparison."""
    own = view.words.label("programme", "none")
    builtin = view.words("label.programme.none")
    return own if own != builtin else view.words("figure.comparison")


def _legend(view: View, base: dict[str, Any]) -> list[tuple[str, str]]:
    words, table = view.words, view.part(**base).table
    level = words.number(100 * float(table["conf_level"].fillna(0.95).iloc[0]))
    several = table["programme"].nunique() > 1
    out = []
    if several:
        solid = words("legend.arm") if view.spells else words("legend.participants")
        out = [("line", solid), ("dashed", upper_first(comparison_name(view)))]
    if view.spells:
        out.append(("dark", words("legend.interval", level=level)))
        if table["band_low"].notna().any():
            out.append(("light", words("legend.band", level=level)))
    return out


def _without(view: View, base: dict[str, Any], programme: str) -> Released | None:
    """The curve a programme is held against: one weighted to be like its arm, or the arm without."""
    wanted = [{**base, "programme": programme, "term": f"{base['term']}_comparison"}]
    wanted += [{**base, "programme": name} for name in WITHOUT]
    for where in wanted:
        gate = view.part(**where)
        if gate.table["estimate"].notna().any():
            return gate
    return None


def _panels(view: View, base: dict[str, Any]) -> list[Panel]:
    words = view.words
    curve = {p: view.part(**base, programme=p) for p in view.programmes}
    curve = {p: gate for p, gate in curve.items() if gate.table["estimate"].notna().any()}
    beside = {p: _without(view, base, p) for p in curve}
    gates = [*curve.values(), *(gate for gate in beside.values() if gate is not None)]
    limits = joint_limits(gates, [None] * len(gates))
    if limits is not None and base["term"] == "survival":
        limits = limits[0], max(limits[1], 102.0)  # the curve begins at 100 per cent
    panels = []
    for programme in curve:
        name = view.programme(programme)
        arms = [(curve[programme], view.short(programme))]
        other = beside[programme]
        if other is not None:
            arms.append((other, comparison_name(view)))
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


def _at_one_time(view: View, rows: pd.DataFrame) -> list[Block]:
    """All arms and their differences at the summary time, by exit and subgroup."""
    blocks: list[Block] = []
    for base in _families(rows):
        terms = [base["term"], f"{base['term']}_difference"]
        where = {name: base[name] for name in ("analysis", "population", "subgroup")}
        at = view.shown_month(view.material.estimates.select(**where, term=terms).table)
        if at is None:
            continue
        caption = view.words(
            f"exits.at_{base['term']}",
            month=view.words.number(at),
            population=view.population(base["population"]),
        )
        blocks += _arms_table(view, {**base, "horizon": at}, caption, ("outcome", "subgroup"))
    return blocks


def _mean_times(view: View) -> list[Block]:
    """Mean times in the state and lost to each exit, by horizon."""
    rows = view.table[view.table["term"].isin(TIMES)]
    blocks: list[Block] = []
    for base in _families(rows):
        caption = view.words(
            f"exits.mean_{base['term']}", population=view.population(base["population"])
        )
        blocks += _arms_table(view, base, caption, ("outcome", "subgroup", "horizon"))
    return blocks


def _arms_table(
    view: View, base: dict[str, Any], caption: str, lines: tuple[str, ...]
) -> list[Block]:
    """A row for each combination of ``lines``; a column for each arm and each difference."""
    words, term = view.words, base["term"]
    where = {name: value for name, value in base.items() if name not in ("subgroup", "term")}
    terms = [term, f"{term}_comparison", f"{term}_difference"]
    table = view.material.estimates.select(**where, term=terms).table
    if table.empty:
        return []
    columns: dict[tuple[str, str], str] = {}
    for programme, kind in dict.fromkeys(zip(table["programme"], table["term"])):
        name = comparison_name(view) if programme in WITHOUT else view.short(programme)
        if kind.endswith("_difference"):
            name = words("exits.difference", arm=name, other=comparison_name(view))
        elif kind.endswith("_comparison"):
            name = words("exits.weighted", arm=name, other=comparison_name(view))
        unit = words.unit(str(table["unit"].iloc[0]), difference=kind.endswith("_difference"))
        columns[(programme, kind)] = f"{upper_first(name)} ({unit})"
    found = []
    for key in dict.fromkeys(table[list(lines)].itertuples(index=False, name=None)):
        part = table
        for name, value in zip(lines, key):
            part = part[part[name] == value]
        line = [_line_name(view, dict(zip(lines, key)))]
        for programme, kind in columns:
            one = part[(part["programme"] == programme) & (part["term"] == kind)]
            line.append(
                "–" if one.empty else with_interval(one.iloc[0], view, str(one["unit"].iloc[0]))
            )
        found.append(line)
    return [Table(caption, [words("exits.which"), *columns.values()], found)]


def _line_name(view: View, what: dict[str, Any]) -> str:
    words = view.words
    name = view.outcome(str(what["outcome"]))
    if what["subgroup"] != "all":
        name += f", {words.label('subgroup', str(what['subgroup']))}"
    if "horizon" in what:
        name += f", {words('exits.up_to', month=words.number(int(what['horizon'])))}"
    return upper_first(name)
