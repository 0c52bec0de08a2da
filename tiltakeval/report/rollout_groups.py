"""Sections on a roll-out: mean effects by cohort and by subgroup."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para, Sub
from tiltakeval.report.figures import forest
from tiltakeval.report.profiles import joint_limits
from tiltakeval.report.rollout import BY_COHORT, OVERALL, main_rows
from tiltakeval.report.tables import absent, named_table, with_interval
from tiltakeval.report.view import View, upper_first


def cohorts(view: View) -> list[Block]:
    """The mean effect of every cohort, and of everybody."""
    if not view.rollout:
        return []
    return _forests(view, "cohorts", _cohort_rows)


def by_group(view: View) -> list[Block]:
    """The mean effect of every subgroup."""
    if not view.rollout or not view.table["subgroup"].str.contains("=").any():
        return []
    return _forests(view, "by_group", _group_rows)


def _cohort_rows(view: View, population: str, outcome: str) -> tuple[Released, list[str]]:
    gate = main_rows(view, population, term=[BY_COHORT, OVERALL], outcome=outcome)
    names = [
        view.words("cohorts.from", start=c) if c else view.words("cohorts.all")
        for c in gate.table["cohort"]
    ]
    return gate, names


def _group_rows(view: View, population: str, outcome: str) -> tuple[Released, list[str]]:
    everybody = main_rows(view, population, term=OVERALL, outcome=outcome)
    analysis = everybody.table["analysis"].iloc[0] if len(everybody) else ""
    gate = view.material.estimates.select(
        population=population, analysis=analysis, term=OVERALL, outcome=outcome
    )
    names = [upper_first(view.words.label("subgroup", str(s))) for s in gate.table["subgroup"]]
    return gate, names


def _forests(view: View, stem: str, rows_of: Any) -> list[Block]:
    words = view.words
    blocks: list[Block] = []
    for population in view.populations:
        panels = []
        for outcome in view.outcomes:
            gate, names = rows_of(view, population, outcome)
            table: pd.DataFrame = gate.table
            if len(gate) < 2:
                continue
            unit = str(table["unit"].iloc[0])
            title = f"{upper_first(view.outcome(outcome))} ({words.unit(unit)})"
            if not table["estimate"].notna().any():
                panels.append(Panel(title, None, note=absent(table, view)))
                continue
            said = "; ".join(
                f"{name}: {with_interval(row, view, unit)}"
                for name, (_, row) in zip(names, table.iterrows())
            )
            drawing = forest(
                gate,
                names,
                words=words,
                look=view.look(view.programmes[0]),
                key=view.key(stem),
                alt=words("alt.forest", title=title, count=len(table), text=said),
                limits=joint_limits([gate], [None]),
            )
            first = words("table.group") if stem == "by_group" else words("rollout.start")
            panels.append(
                Panel(title, drawing, named_table(gate, names, view, caption=title, first=first))
            )
        if panels:
            caption = words(f"{stem}.caption", population=view.population(population))
            many = len(view.populations) > 1
            blocks += [Sub(view.population(population))] if many else []
            blocks.append(Panels(caption, panels))
    return [Para(words(f"{stem}.intro")), *blocks] if blocks else []
