"""The lock-in section: what is lost while the programme runs, and when it is earned back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para, Sub, Table
from tiltakeval.report.canvas import shared_limits
from tiltakeval.report.figures import path_panel
from tiltakeval.report.profiles import legend
from tiltakeval.report.summary import follow_up
from tiltakeval.report.tables import absent, gaps, month_table, not_shown, with_interval
from tiltakeval.report.view import View, number, upper_first


def lock_in(view: View) -> list[Block]:
    """Cumulated effects at the declared windows, paths with break-even sets, depth and length."""
    words = view.words
    if view.rollout:  # effects in sum have a section of their own
        return []
    blocks: list[Block] = []
    for population in view.populations:
        base = {
            "estimand": view.estimands[0],
            "population": population,
            "comparator": "none",
            "subgroup": "all",
        }
        parts: list[Block] = [
            table
            for outcome in view.outcomes
            if (table := _windows(view, base, outcome)) is not None
        ]
        paths = [p for o in view.outcomes[:1] if (p := _paths(view, base, o)) is not None]
        shape = _shape(view, base, view.primary_outcome)
        found: list[Block] = [*parts, *paths, *([shape] if shape else [])]
        if found:
            blocks += [Sub(upper_first(view.population(population))), *found]
    if not blocks:
        return []
    return [Para(words("lockin.intro")), Para(words("lockin.sets")), *blocks]


def _windows(view: View, base: dict[str, str], outcome: str) -> Table | None:
    words = view.words
    gate = view.part(**base, outcome=outcome, term="cumulated")
    table = gate.table
    if table.empty:
        return None
    periods = sorted(dict.fromkeys(table["period"]), key=lambda p: int(str(p).rsplit("-", 1)[-1]))
    rows = []
    for programme in view.programmes:
        part = table[table["programme"] == programme].set_index("period")
        if part.empty:
            continue
        line = [upper_first(view.programme(programme))]
        for period in periods:
            known = period in part.index
            line.append(
                with_interval(part.loc[period], view, str(part["unit"].iloc[0])) if known else "–"
            )
        rows.append(line)
    unit = str(table["unit"].iloc[0])
    level = words.number(100 * float(table["conf_level"].fillna(0.95).iloc[0]))
    caption = words(
        "lockin.caption_windows",
        outcome=upper_first(view.outcome(outcome)),
        unit=words.unit(unit),
        population=view.population(base["population"]),
        level=level,
    )
    heads = [words("lockin.window", last=str(p).rsplit("-", 1)[-1]) for p in periods]
    return Table(caption, [words("table.programme"), *heads], rows)


def _paths(view: View, base: dict[str, str], outcome: str) -> Panels | None:
    words = view.words
    gates: dict[str, Released] = {}
    for programme in view.programmes:
        gate = view.part(**base, outcome=outcome, programme=programme, term="cumulated_path")
        if len(gate):
            gates[programme] = gate
    if not gates:
        return None
    truths = {
        key: view.truth(**base, outcome=outcome, programme=key, term="cumulated_path")
        for key in gates
    }
    seen = {k: int(g.table["estimate"].notna().sum()) > 1 for k, g in gates.items()}
    found = [shared_limits(g, truth=truths[k]) for k, g in gates.items() if seen[k]]
    kept = [limit for limit in found if limit is not None]
    limits = (min(a for a, _ in kept), max(b for _, b in kept)) if kept else None
    panels = []
    for programme, gate in gates.items():
        spot = view.part(**base, outcome=outcome, programme=programme, term="break_even")
        name = view.programme(programme)
        if not seen[programme]:
            panels.append(Panel(upper_first(name), None, note=absent(gate.table, view)))
            continue
        unit = str(gate.table["unit"].iloc[0])
        end = gate.table.dropna(subset=["estimate"]).sort_values("horizon")
        said = crossing_text(view, spot.table.iloc[0]) if len(spot) else "–"
        alt = words(
            "alt.path",
            title=name,
            unit=words.unit(unit),
            crossing=said,
            month=words.number(number(end.iloc[-1], "horizon")) if len(end) else "–",
            value=words.amount(number(end.iloc[-1], "estimate"), unit) if len(end) else "–",
        )
        drawing = path_panel(
            gate,
            spot,
            words=words,
            look=view.look(programme),
            key=view.key("path"),
            alt=alt,
            limits=limits,
            truth=truths[programme],
        )
        caption = f"{name}: {words('lockin.path_numbers')}"
        panels.append(Panel(upper_first(name), drawing, month_table(gate, view, caption=caption)))
    first = next((g for k, g in gates.items() if seen[k]), next(iter(gates.values())))
    swatches = legend(view, first, truth=any(t is not None for t in truths.values()))
    swatches.append(("bar", words("legend.break_even")))
    caption = words(
        "lockin.caption_path",
        outcome=upper_first(view.outcome(outcome)),
        unit=words.unit(str(first.table["unit"].iloc[0])),
        population=view.population(base["population"]),
    )
    missing = gaps((gate for key, gate in gates.items() if seen[key]), view)
    return Panels(caption, panels, swatches if any(seen.values()) else (), missing)


def _shape(view: View, base: dict[str, str], outcome: str) -> Table | None:
    words = view.words
    rows = []
    window = ""
    for programme in view.programmes:
        terms = {
            term: view.part(**base, outcome=outcome, programme=programme, term=term).table
            for term in ("depth", "length", "break_even")
        }
        if all(table.empty for table in terms.values()):
            continue
        line = [upper_first(view.programme(programme))]
        depth = terms["depth"]
        if depth.empty:
            line.append("–")
        else:
            window = str(depth["period"].iloc[0]) or window
            line.append(with_interval(depth.iloc[0], view, str(depth["unit"].iloc[0])))
        for term in ("length", "break_even"):
            table = terms[term]
            line.append("–" if table.empty else crossing_text(view, table.iloc[0], term))
        rows.append(line)
    if not rows:
        return None
    low, _, high = window.rpartition("-")
    columns = [
        words("table.programme"),
        words("lockin.depth", low=low, high=high) if low else words("lockin.depth_plain"),
        words("lockin.length"),
        words("lockin.break_even"),
    ]
    caption = words(
        "lockin.caption_shape",
        outcome=upper_first(view.outcome(outcome)),
        population=view.population(base["population"]),
    )
    return Table(caption, columns, rows, text_columns=(2, 3))


def crossing_text(view: View, row: pd.Series, term: str = "break_even") -> str:
    """A month and its confidence set in words, open ends said as such."""
    words, status = view.words, str(row["status"])
    low, high, estimate = (number(row, n) for n in ("conf_low", "conf_high", "estimate"))
    if status in ("suppressed", "not_supported"):
        return not_shown(row, view)
    last = follow_up(row)
    if status == "not_reached":
        return words(f"crossing.{term}_never", last=last)
    if status == "no_loss":
        return words("crossing.no_loss_open" if np.isnan(high) else "crossing.no_loss", last=last)
    if status == "open":
        key = "crossing.open_unknown" if np.isnan(estimate) else "crossing.open"
        if np.isnan(low):
            low = 0.0
        return words(key, month=words.number(estimate), low=words.number(low), last=last)
    if np.isnan(estimate):
        return "–"
    key = "crossing.from_zero" if low <= 0 else "crossing.between"
    return words(key, month=words.number(estimate), low=words.number(low), high=words.number(high))
