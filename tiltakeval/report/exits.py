"""Curves of leaving, by arm: out of the register, or out of prepared spells."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para, Table
from tiltakeval.report.canvas import Limits, start_of
from tiltakeval.report.figures import curves
from tiltakeval.report.profiles import joint_limits
from tiltakeval.report.tables import absent, gaps, with_interval
from tiltakeval.report.view import View, number, upper_first

STEMS = ("survival", "cumulative_incidence")
TIMES = ("time_in_state", "time_lost")
Seen = Literal["curve", "flat", "hidden"]
WITHOUT = ("none", "comparison", "control")


def exits(view: View) -> list[Block]:
    """Kaplan-Meier and Aalen-Johansen curves: each programme's arm beside the arm without; for a study
    of spells also the numbers at one time, and mean times."""
    words, table = view.words, view.table
    rows = table[table["term"].isin(STEMS)]
    blocks: list[Block] = []
    for base in _families(rows, "outcome"):
        panels, note = _panels(view, base)
        if not panels:
            continue
        caption = words(
            view.text(f"exits.caption_{base['term']}"),
            outcome=upper_first(view.outcome(base["outcome"])),
            population=view.population(base["population"]),
        )
        if len(set(rows["analysis"])) > 1 and view.spells:
            caption = f"{upper_first(words.label('analysis', base['analysis']))}. {caption}"
        drawn = any(panel.drawing is not None for panel in panels)
        blocks.append(Panels(caption, panels, _legend(view, base) if drawn else (), note))
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


def _panels(view: View, base: dict[str, Any]) -> tuple[list[Panel], str]:
    """A panel for each programme, and the note of them all."""
    curve = {p: view.part(**base, programme=p) for p in view.programmes}
    curve = {p: gate for p, gate in curve.items() if len(gate)}
    pairs = {p: (gate, _without(view, base, p)) for p, gate in curve.items()}
    drawn = [gate for pair in pairs.values() if _drawable(*pair) for gate in pair]
    gates = [gate for gate in drawn if gate is not None and _seen(gate) == "curve"]
    limits = joint_limits(gates, [None] * len(gates))
    if limits is not None and base["term"] == "survival":
        limits = limits[0], max(limits[1], 102.0)  # the curve begins at 100 per cent
    outcome = view.outcome(base["outcome"])
    panels = [_panel(view, p, outcome, *pair, limits) for p, pair in pairs.items()]
    return panels, gaps(gates, view)


def _panel(
    view: View,
    programme: str,
    outcome: str,
    gate: Released,
    other: Released | None,
    limits: Limits | None,
) -> Panel:
    """A programme's curve beside the one without, or what there is to say in its place."""
    words, name = view.words, view.programme(programme)
    if _seen(gate) == "hidden":
        return Panel(upper_first(name), None, note=absent(gate.table, view))
    arms = [(gate, view.short(programme))]
    if other is not None:
        arms.append((other, comparison_name(view)))
    table = _curve_table(view, arms, name)
    note = _note(view, gate, other)
    if not _drawable(gate, other):
        return Panel(upper_first(name), None, table, note)
    arms = [arm for arm in arms if _seen(arm[0]) != "hidden"]
    ends = [words("alt.curve_end", arm=label, **_last(view, g)) for g, label in arms]
    alt = words("alt.curves", title=name, outcome=outcome, ends="; ".join(ends))
    look, key = view.look(programme), view.key("curve")
    drawing = curves(arms, words=words, look=look, key=key, alt=alt, limits=limits)
    return Panel(upper_first(name), drawing, table, note)


def _drawable(gate: Released, other: Released | None) -> bool:
    """Whether a panel shows a curve that moves; two that stay at their start are said in words."""
    seen = _seen(gate)
    return seen == "curve" or (seen == "flat" and other is not None and _seen(other) == "curve")


def _seen(gate: Released) -> Seen:
    """What there is to draw: a curve that moves, one that stays at its start in every month, or nothing:
    a curve whose only months shown are those before anybody left tells nothing of the others."""
    table = gate.table
    shown = table["estimate"].dropna()
    if len(shown) and (shown != start_of(table)).any():
        return "curve"
    return "flat" if len(shown) and table["estimate"].notna().all() else "hidden"


def _note(view: View, gate: Released, other: Released | None) -> str:
    """What can't be seen in a panel, and why."""
    words = view.words
    said = [words("exits.nobody")] if _seen(gate) == "flat" else []
    if other is not None and _seen(other) == "hidden":
        said.append(words("exits.other_hidden", arm=upper_first(comparison_name(view))))
    elif other is not None and not _drawable(gate, other):
        said.append(words("exits.nobody_either"))
    return " ".join(said)


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
