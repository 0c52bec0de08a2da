"""The section on a roll-out that comes in doses: the curve, groups of doses, the mean slope."""

from __future__ import annotations

from typing import Any

import numpy as np

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para
from tiltakeval.report.canvas import shared_limits
from tiltakeval.report.figures import forest
from tiltakeval.report.profiles import joint_limits, legend
from tiltakeval.report.rollout import main_rows
from tiltakeval.report.rollout_curves import dose_panel
from tiltakeval.report.rollout_names import dose_name, dose_of
from tiltakeval.report.tables import absent, named_table, with_interval
from tiltakeval.report.view import View, number, upper_first

CURVE, BINS, SLOPE = "effect_at_dose", "effect_by_dose", "slope_overall"


def doses(view: View) -> list[Block]:
    """Effects by dose of the first analysis, where it has them."""
    blocks: list[Block] = []
    for population in view.populations if view.rollout else []:
        if not len(main_rows(view, population, term=[CURVE, BINS])):
            continue
        said = [_slope(view, population, outcome) for outcome in view.outcomes]
        blocks += _figures(view, population, CURVE, "doses.curve")
        blocks += _figures(view, population, BINS, "doses.bins")
        blocks += [Para(text) for text in said if text]
    return [Para(view.words("doses.intro")), *blocks] if blocks else []


def _figures(view: View, population: str, term: str, caption: str) -> list[Block]:
    words = view.words
    panels, first = [], None
    for outcome in view.outcomes:
        gate = main_rows(view, population, term=term, outcome=outcome)
        if not len(gate):
            continue
        unit = str(gate.table["unit"].iloc[0])
        title = f"{upper_first(view.outcome(outcome))} ({words.unit(unit)})"
        if not gate.table["estimate"].notna().any():
            panels.append(Panel(title, None, note=absent(gate.table, view)))
            continue
        first = first or gate
        panels.append(_panel(view, gate, title, unit, curve=term == CURVE))
    if not panels:
        return []
    marks = _legend(view, first) if term == CURVE and first is not None else []
    return [Panels(words(caption, population=view.population(population)), panels, marks)]


def _legend(view: View, gate: Released) -> list[tuple[str, str]]:
    """What line and areas of the curve mean."""
    level = view.words.number(100 * float(gate.table["conf_level"].fillna(0.95).iloc[0]))
    interval = ("dark", view.words("doses.legend_interval", level=level))
    return [
        interval if kind == "dark" else (kind, text)
        for kind, text in legend(view, gate, truth=False)
    ]


def _axis(view: View) -> str:
    """What the dose is called."""
    column = view.material.spec.get("dose_column")
    return (
        upper_first(view.words.label("column", str(column))) if column else view.words("doses.axis")
    )


def _panel(view: View, gate: Released, title: str, unit: str, *, curve: bool) -> Panel:
    words, table = view.words, gate.table
    names = [upper_first(dose_name(view, str(label))) for label in table["cohort"]]
    said = "; ".join(
        f"{name}: {with_interval(row, view, unit)}"
        for name, (_, row) in zip(names, table.iterrows())
    )
    common: dict[str, Any] = {
        "words": words,
        "look": view.look(view.programmes[0]),
        "key": view.key("doses"),
    }
    at = [dose_of(str(label)) for label in table["cohort"]]
    if curve:
        drawing = dose_panel(
            gate,
            [np.nan if dose is None else dose for dose in at],
            alt=words("alt.curve", title=title, text=said),
            limits=shared_limits(gate),
            axis=_axis(view),
            **common,
        )
    else:
        drawing = forest(
            gate,
            names,
            alt=words("alt.forest", title=title, count=len(table), text=said),
            limits=joint_limits([gate], [None]),
            **common,
        )
    first = _axis(view) if curve else words("doses.group")
    return Panel(title, drawing, named_table(gate, names, view, caption=title, first=first))


def _slope(view: View, population: str, outcome: str) -> str:
    """The mean slope at the doses received, in words; empty where it isn't known."""
    gate = main_rows(view, population, term=SLOPE, outcome=outcome)
    if not len(gate):
        return ""
    row = gate.table.iloc[0]
    value, unit = number(row, "estimate"), str(row["unit"]).removesuffix(" per dose")
    if np.isnan(value) or np.isnan(number(row, "conf_low")):
        return ""
    words = view.words
    ends = [words.amount(number(row, name), unit) for name in ("conf_low", "conf_high")]
    return words(
        "doses.slope" if value >= 0 else "doses.slope_down",
        outcome=upper_first(view.outcome(outcome)),
        value=words.amount(abs(value), unit),
        unit=words.unit(unit),
        range=words("word.from_to", low=ends[0], high=ends[1]),
    )
