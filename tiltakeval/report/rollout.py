"""Sections on a roll-out: who starts when, effects by time since the start, by cohort, and for whom."""

from __future__ import annotations

from typing import Any

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para, Table
from tiltakeval.report.canvas import shared_limits
from tiltakeval.report.profiles import legend
from tiltakeval.report.rollout_figures import POINTS, event_panel, heat_map, starts_panel
from tiltakeval.report.rollout_names import cohort_name, short_names
from tiltakeval.report.tables import absent, cell, gaps, month_table, with_interval
from tiltakeval.report.view import View, number, upper_first

OVERALL, BY_EVENT, BY_COHORT = "effect_overall", "effect_by_event_time", "effect_by_cohort"
PATH = "cumulated_path"


def main_rows(view: View, population: str, **where: Any) -> Released:
    """The rows of the first analysis of a population; that of the base period says nothing."""
    gate = view.material.estimates.select(population=population)
    first = gate.table["analysis"].iloc[0]
    shown = [status for status in dict.fromkeys(gate.table["status"]) if status != "reference"]
    return gate.select(**{"analysis": first, "subgroup": "all", "status": shown, **where})


def starts(view: View) -> list[Block]:
    """Who is treated from when: the sizes of the cohorts, and who decides when they start."""
    if not view.rollout:
        return []
    words, spec = view.words, view.material.spec
    blocks: list[Block] = []
    entry = f"rollout.{spec.get('rollout_entry')}"
    if words.has(entry):
        blocks.append(Para(words(entry)))
    if spec.get("override"):
        blocks.append(Para(words("rollout.overridden", reason=spec["override"])))
    for population in view.populations:
        gate = _sizes(view, population)
        if gate is None:
            continue
        table = gate.table
        names = [cohort_name(view, str(c)) for c in table["cohort"]]
        said = ", ".join(
            f"{name}: {cell(row, 'n_treated', view, 'units')}"
            for name, (_, row) in zip(names, table.iterrows())
        )
        title = view.population(population)
        drawing = starts_panel(
            gate,
            names,
            words=words,
            look=view.look(view.programmes[0]),
            key=view.key("starts"),
            alt=words("alt.starts", title=title, text=said),
        )
        rows = [
            [
                name,
                *(cell(row, n, view, "units") for n in ("n_treated", "n_comparison", "n_clusters")),
            ]
            for name, (_, row) in zip(names, table.iterrows())
        ]
        columns = ["start", "n_treated", "n_comparison", "n_clusters"]
        caption = words(view.text("rollout.caption_starts"), population=title)
        shown = Table(
            caption,
            [words(f"rollout.{name}") for name in columns],
            rows,
            folded=words("table.show_numbers"),
        )
        blocks.append(Panels(caption, [Panel(title, drawing, shown)]))
    blocks += [Para(text) for text in _left_out(view)]
    return blocks


def _sizes(view: View, population: str) -> Released | None:
    """A row a cohort with its size: mean effects by cohort, else effects in the first period they are
    measured in."""
    outcome = view.primary_outcome
    gate = main_rows(view, population, term=BY_COHORT, outcome=outcome)
    if len(gate):
        return gate
    gate = main_rows(view, population, term="effect", outcome=outcome)
    after = gate.table[(gate.table["horizon"] >= 0).fillna(False)]
    if after.empty or after["cohort"].eq("").any():
        return None
    first = gate.select(horizon=int(after["horizon"].min()))
    return first if len(first) else None


def _left_out(view: View) -> list[str]:
    """What is said of cohorts too small to report."""
    found = []
    for item in view.material.checks.items:
        if item.key == "small_cohorts" and item.statistic:
            found.append(
                view.words(
                    view.text("rollout.small"),
                    count=view.words.number(item.statistic),
                    total=view.words.number(item.message["cohorts"]),
                    limit=view.words.number(item.threshold),
                )
            )
    return list(dict.fromkeys(found))


def event_study(view: View) -> list[Block]:
    """Effects by time since the start, with the periods before it."""
    if not view.rollout:
        return []
    found = [by_time(view, p, BY_EVENT, "event_study") for p in view.populations]
    blocks: list[Block] = [block for block in found if block is not None]
    intro = [Para(view.words(view.text("event_study.intro"))), Para(view.words(_base_text(view)))]
    return [*intro, *blocks] if blocks else []


def _base_text(view: View) -> str:
    own = view.text("event_study.base")
    if view.words.has(own):
        return own
    return "event_study.base_universal" if _base(view) is not None else "event_study.base_varying"


def _base(view: View) -> int | None:
    """The period all effects are measured from: the one missing among those before the start."""
    seen = main_rows(view, view.populations[0], term=BY_EVENT, outcome=view.primary_outcome)
    horizons = set(seen.table["horizon"].dropna().astype(int))
    before = [h for h in horizons if h < 0]
    if not before:
        return None
    absent_ = [h for h in range(min(before), 0) if h not in horizons]
    return absent_[-1] if len(absent_) == 1 else None


def path(view: View) -> list[Block]:
    """Effects in sum from the start on."""
    if not view.rollout:
        return []
    found = [by_time(view, p, PATH, "path") for p in view.populations]
    blocks: list[Block] = [block for block in found if block is not None]
    return [Para(view.words("path.intro")), *blocks] if blocks else []


def by_time(view: View, population: str, term: str, stem: str) -> Panels | None:
    """A panel an outcome of the rows of ``term`` by time since the start; the caption is the text
    ``stem`` itself, or its ``caption``. None where there are no such rows."""
    words = view.words
    gates = {
        outcome: main_rows(view, population, term=term, outcome=outcome)
        for outcome in view.outcomes
    }
    gates = {outcome: gate for outcome, gate in gates.items() if len(gate)}
    if not gates:
        return None
    panels, truths = [], []
    for outcome, gate in gates.items():
        title = upper_first(view.outcome(outcome))
        unit = str(gate.table["unit"].iloc[0])
        if not gate.table["estimate"].notna().any():
            panels.append(Panel(title, None, note=absent(gate.table, view)))
            continue
        truth = view.truth(outcome=outcome, term=term, subgroup="all", population=population)
        truths.append(truth)
        drawing = event_panel(
            gate,
            words=words,
            look=view.look(view.programmes[0]),
            key=view.key(stem.replace(".", "_")),
            alt=_alt(view, gate, title),
            limits=shared_limits(gate, truth=truth),
            truth=truth,
            base=_base(view) if term == BY_EVENT else None,
            line=term == PATH,
            axis=view.text("figure.months_start"),
            before=view.text("figure.before"),
        )
        caption = f"{title} ({words.unit(unit)})"
        panels.append(Panel(caption, drawing, month_table(gate, view, caption=caption)))
    text = f"{stem}.caption" if words.has(f"{stem}.caption") else stem
    caption = words(view.text(text), population=view.population(population))
    first = next(iter(gates.values()))
    marks = legend(view, first, truth=any(t is not None for t in truths))
    if term != PATH and len(first) <= POINTS and (first.table["horizon"] < 0).any():
        marks[0] = ("solid", marks[0][1])
        marks.append(("hollow", words(view.text("event_study.legend_before"))))
    return Panels(caption, panels, marks, gaps(gates.values(), view))


def _alt(view: View, gate: Released, title: str) -> str:
    """Alternative text: what is before the start, and the effect at some times after it."""
    words, table = view.words, gate.table[gate.table["estimate"].notna()].sort_values("horizon")
    unit = str(table["unit"].iloc[0])
    before, after = table[table["horizon"] < 0], table[table["horizon"] >= 0]
    parts = []
    if len(before):
        parts.append(
            words(
                "alt.before",
                low=words.amount(before["estimate"].min(), unit),
                high=words.amount(before["estimate"].max(), unit),
            )
        )
    picked = after.iloc[sorted({0, len(after) // 2, len(after) - 1})] if len(after) else after
    for _, row in picked.iterrows():
        parts.append(
            words(
                "alt.at",
                month=words.number(number(row, "horizon")),
                value=words.amount(number(row, "estimate"), unit),
                interval=words.interval(number(row, "conf_low"), number(row, "conf_high"), unit),
            )
        )
    return words("alt.event_study", title=title, unit=words.unit(unit), text="; ".join(parts))


def cells(view: View) -> list[Block]:
    """The heat map of effects by cohort and period."""
    if not view.rollout:
        return []
    words = view.words
    blocks: list[Block] = []
    for population in view.populations:
        panels = []
        for outcome in view.outcomes:
            gate = main_rows(view, population, term="effect", outcome=outcome)
            table = gate.table
            if not len(gate) or table["cohort"].eq("").any():
                continue
            title = upper_first(view.outcome(outcome))
            if not table["estimate"].notna().any():
                panels.append(Panel(title, None, note=absent(table, view)))
                continue
            unit = str(table["unit"].iloc[0])
            alt = words(
                "alt.cells",
                title=title,
                cohorts=table["cohort"].nunique(),
                periods=table["period"].nunique(),
                low=words.amount(table["estimate"].min(), unit),
                high=words.amount(table["estimate"].max(), unit),
                unit=words.unit(unit),
            )
            drawing = heat_map(
                gate,
                words=words,
                key=view.key("cells"),
                alt=alt,
                names=short_names(view, [str(c) for c in dict.fromkeys(table["cohort"])]),
            )
            panels.append(Panel(title, drawing, _cell_table(view, gate, title)))
        if panels:
            caption = words(view.text("cells.caption"), population=view.population(population))
            blocks.append(Panels(caption, panels, note=words(view.text("cells.note"))))
    return [Para(words(view.text("cells.intro"))), *blocks] if blocks else []


def _cell_table(view: View, gate: Released, title: str) -> Table:
    words, table = view.words, gate.table
    cohorts = list(dict.fromkeys(table["cohort"]))
    periods = sorted(set(table["period"]))
    names = short_names(view, [str(c) for c in cohorts])
    rows = []
    for period in periods:
        line = [str(period)]
        for cohort in cohorts:
            one = table[(table["cohort"] == cohort) & (table["period"] == period)]
            unit = str(table["unit"].iloc[0])
            line.append("–" if one.empty else with_interval(one.iloc[0], view, unit))
        rows.append(line)
    heads = [words("cells.period"), *(words("cells.from", start=names[c]) for c in cohorts)]
    unit = words.unit(str(table["unit"].iloc[0]))
    return Table(f"{title} ({unit})", heads, rows, folded=words("table.show_numbers"))
