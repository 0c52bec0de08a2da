"""Models of the hazard of leaving: how it moves while a programme runs and after, and what that comes to
in months of work."""

from __future__ import annotations

import pandas as pd

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para, Sub, Table
from tiltakeval.report.canvas import shared_limits
from tiltakeval.report.figures import path_panel
from tiltakeval.report.hazard_ratios import RATIO, by_points, compared, ratios
from tiltakeval.report.lockin import crossing_text
from tiltakeval.report.tables import month_table, with_interval
from tiltakeval.report.view import View, number, upper_first

INCOME = "income_nok"
PARTS = ("cumulated_lock_in", "cumulated_after", "cumulated")


def hazards(view: View) -> list[Block]:
    """Ratios by elapsed time, months of work lost and gained, and effects by number of mass points."""
    gate = view.hazards
    if gate is None or not len(gate):
        return []
    words, blocks = view.words, []
    for population in dict.fromkeys(gate.table["population"]):
        here = gate.select(population=population, subgroup="all")
        exits = [o for o in dict.fromkeys(here.table["outcome"]) if o]
        leaving = exits[0]  # the study's first exit is the one it is about
        part = here.select(outcome=leaving)
        programmes = _programmes(view, here)
        found: list[Block] = [
            block
            for block in (
                ratios(view, part, programmes, population, leaving),
                compared(view, part, programmes, population, leaving),
                _months(view, part, programmes, population, leaving),
                _income(view, here.select(outcome=INCOME), programmes, population),
                _paths(view, part, programmes, population, leaving),
                by_points(view, part, programmes, population, leaving),
            )
            if block is not None
        ]
        if found:
            blocks += [Sub(upper_first(view.population(str(population)))), *found]
    if not blocks:
        return []
    return [
        Para(words(view.text("hazards.intro"))),
        Para(words("hazards.assumes"), "note"),
        *blocks,
    ]


def _programmes(view: View, gate: Released) -> list[str]:
    """Programmes in the study's order; the others, last, are in the models alone."""
    there = set(gate.table.loc[gate.table["term"] == RATIO, "programme"])
    return [key for key in view.programmes if key in there]


def _months(
    view: View, part: Released, programmes: list[str], population: str, leaving: str
) -> Table | None:
    """Months of work lost in the programme, gained after it, and net, with the main estimate below."""
    words = view.words
    sums = part.select(term=list(PARTS))
    table = sums.table
    if table.empty:
        return None
    windows = sorted(_by_window(table))
    lines = []
    for programme in programmes:
        own = table[table["programme"] == programme]
        found = {f"hazards.{term}": _by_window(own[own["term"] == term]) for term in PARTS}
        found["hazards.beside"] = _main_sums(view, population, programme)
        name = upper_first(view.short(programme))
        lines += [
            [f"{name}: {words(key)}", *_cells(view, at, windows, "months")]
            for key, at in found.items()
            if at
        ]
    heads = [words("hazards.window", months=w) for w in windows]
    caption = words(
        "hazards.caption_months",
        origin=_origin(view, table),
        outcome=view.outcome(leaving),
        population=view.population(population),
    )
    return Table(caption, [words("table.programme"), *heads], lines) if lines else None


def _income(view: View, part: Released, programmes: list[str], population: str) -> Table | None:
    """Pay and benefits that the months come to, net."""
    words = view.words
    table = part.select(term="cumulated").table
    if table.empty:
        return None
    windows = sorted(_by_window(table))
    lines = [
        [upper_first(view.programme(programme)), *_cells(view, at, windows, "NOK")]
        for programme in programmes
        if (at := _by_window(table[table["programme"] == programme]))
    ]
    heads = [words("hazards.window", months=w) for w in windows]
    caption = words(
        view.text("hazards.caption_income"),
        origin=_origin(view, table),
        population=view.population(population),
    )
    return Table(caption, [words("table.programme"), *heads], lines) if lines else None


def _origin(view: View, table: pd.DataFrame) -> str:
    """What months are counted from: the first programme's decision or start."""
    return view.words.label("origin", str(table["time_origin"].iloc[0]))


def _main_sums(view: View, population: str, programme: str) -> dict[int, pd.Series]:
    """The target trials' months of work, by window: against no programme where that is estimated."""
    wanted = {"programme": programme, "subgroup": "all", "comparator": "none", "term": "cumulated"}
    wanted["outcome"] = view.primary_outcome
    if view.spells:
        return {}
    known = [p for p in view.populations if p.split(":")[0] == population]
    estimands = [e for e in ("vs_no_programme", *view.estimands[:1]) if e in view.estimands]
    if not known or not estimands:
        return {}
    table = view.part(**wanted, population=known[0], estimand=estimands[0]).table
    return _by_window(table)


def _by_window(table: pd.DataFrame) -> dict[int, pd.Series]:
    """Sums by the last month of what they sum over."""
    return {int(str(row["period"]).rsplit("-", 1)[-1]): row for _, row in table.iterrows()}


def _cells(view: View, at: dict[int, pd.Series], windows: list[int], unit: str) -> list[str]:
    return [with_interval(at[w], view, unit) if w in at else "–" for w in windows]


def _paths(
    view: View, part: Released, programmes: list[str], population: str, leaving: str
) -> Panels | None:
    words = view.words
    gates = {
        key: gate
        for key in programmes
        if len(gate := part.select(programme=key, term="cumulated_path"))
    }
    if not gates:
        return None
    kept = [limits for g in gates.values() if (limits := shared_limits(g)) is not None]
    limits = (min(a for a, _ in kept), max(b for _, b in kept)) if kept else None
    panels = []
    for programme, gate in gates.items():
        spot = part.select(programme=programme, term="break_even")
        name = view.programme(programme)
        end = gate.table.dropna(subset=["estimate"]).sort_values("horizon")
        if len(end) < 2:
            panels.append(Panel(upper_first(name), None, note=words("hazards.too_few")))
            continue
        alt = words(
            "alt.path",
            title=name,
            unit=words.unit("months"),
            crossing=crossing_text(view, spot.table.iloc[0]) if len(spot) else "–",
            month=words.number(number(end.iloc[-1], "horizon")),
            value=words.amount(number(end.iloc[-1], "estimate"), "months"),
        )
        drawing = path_panel(
            gate,
            spot,
            words=words,
            look=view.look(programme),
            key=view.key("months"),
            alt=alt,
            limits=limits,
        )
        table = month_table(gate, view, caption=f"{name}: {words('lockin.path_numbers')}")
        panels.append(Panel(upper_first(name), drawing, table))
    caption = words(
        "hazards.caption_path",
        outcome=view.outcome(leaving),
        population=view.population(population),
    )
    return Panels(caption, panels)
