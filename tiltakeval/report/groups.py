"""Programmes by subgroup, and programme against programme."""

from __future__ import annotations

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Bullets, Panel, Panels, Para, Sub, Table
from tiltakeval.report.figures import forest
from tiltakeval.report.profiles import joint_limits, month_panels
from tiltakeval.report.summary import verdict
from tiltakeval.report.tables import named_table, with_interval
from tiltakeval.report.view import EFFECTS, View, upper_first


def subgroups(view: View) -> list[Block]:
    """Effects by subgroup: primary outcome at the summary month, a panel per programme."""
    words, outcome = view.words, view.primary_outcome
    if view.rollout:
        return []
    blocks: list[Block] = []
    for population in view.populations:
        base = {"estimand": view.estimands[0], "population": population, "outcome": outcome}
        gates: dict[str, Released] = {}
        for programme in view.programmes:
            gate = view.part(**base, comparator="none", programme=programme, term="effect")
            month = view.month(gate.table)
            if month is None or not gate.table["subgroup"].str.contains("=").any():
                continue
            gates[programme] = gate.select(horizon=month)
        if not gates:
            continue
        limits = joint_limits(list(gates.values()), [None] * len(gates))
        panels, said = [], []
        for programme, gate in gates.items():
            table = gate.table
            names = [words.label("subgroup", str(s)) for s in table["subgroup"]]
            name = view.programme(programme)
            clear = {
                v: [
                    n
                    for n, (_, r) in zip(names, table.iterrows())
                    if verdict(r) == v and r["subgroup"] != "all"
                ]
                for v in ("up", "down", "unclear", "unknown")
            }
            parts = [
                words("subgroups.every_" + v)
                if len(g) == len(names) - 1
                else words(f"subgroups.{v}", groups=words.listed(g))
                for v, g in clear.items()
                if g
            ]
            said.append((upper_first(name), f"{upper_first('; '.join(parts))}."))
            alt = words("alt.forest", title=name, count=len(table), text="; ".join(parts))
            drawing = forest(
                gate,
                names,
                words=words,
                look=view.look(programme),
                key=view.key("forest"),
                alt=alt,
                limits=limits,
            )
            caption = f"{name}: {view.outcome(outcome)}, {view.population(population)}"
            panels.append(
                Panel(
                    name,
                    drawing,
                    named_table(gate, names, view, caption=caption, first=words("table.group")),
                )
            )
        at = int(next(iter(gates.values())).table["horizon"].iloc[0])
        caption = words(
            "subgroups.caption",
            outcome=upper_first(view.outcome(outcome)),
            month=at,
            population=view.population(population),
        )
        blocks += [
            Sub(upper_first(view.population(population))),
            Panels(caption, panels),
            Bullets(said),
        ]
    return [Para(words("subgroups.intro")), *blocks] if blocks else []


def contrasts(view: View) -> list[Block]:
    """Programme against programme, on the people who could have entered either."""
    words, table = view.words, view.table
    rows = table[(table["comparator"] != "none") & (table["subgroup"] == "all")]
    rows = rows[rows["term"] == "effect"]
    if rows.empty:
        return []
    blocks: list[Block] = [Para(words("contrasts.intro"))]
    for population in dict.fromkeys(rows["population"]):
        part = rows[rows["population"] == population]
        lines = []
        pairs = list(dict.fromkeys(zip(part["programme"], part["comparator"])))
        outcomes = [o for o in view.outcomes if o in set(part["outcome"])]
        for programme, other in pairs:
            line = [
                words(
                    "contrasts.pair",
                    left=upper_first(view.short(programme)),
                    right=view.short(other),
                )
            ]
            for outcome in outcomes:
                found = view.part(
                    population=population,
                    programme=programme,
                    comparator=other,
                    outcome=outcome,
                    term="effect",
                    subgroup="all",
                ).table
                at = view.month(found)
                one = found if at is None else found[found["horizon"] == at]
                line.append(
                    "–" if one.empty else with_interval(one.iloc[0], view, str(one["unit"].iloc[0]))
                )
            lines.append(line)
        month = view.month(part)
        units = {str(o): str(u) for o, u in zip(part["outcome"], part["unit"])}
        heads = [f"{upper_first(view.outcome(o))} ({words.unit(units[o])})" for o in outcomes]
        key = "contrasts.caption" if month is not None else "contrasts.caption_plain"
        caption = words(key, population=view.population(population), month=month)
        blocks += [
            Sub(upper_first(view.population(population))),
            Table(caption, [words("contrasts.which"), *heads], lines),
        ]
        outcome = view.primary_outcome
        for programme in dict.fromkeys(p for p, _ in pairs):
            gates = {}
            for _, other in (pair for pair in pairs if pair[0] == programme):
                gate = view.part(
                    population=population,
                    programme=programme,
                    comparator=other,
                    outcome=outcome,
                    subgroup="all",
                    term=list(EFFECTS),
                )
                if gate.table["horizon"].notna().any():
                    gates[other] = gate
            if not gates:
                continue
            titles = {
                o: words(
                    "contrasts.pair", left=upper_first(view.short(programme)), right=view.short(o)
                )
                for o in gates
            }
            caption = words(
                "profiles.caption",
                outcome=upper_first(view.outcome(outcome)),
                population=view.population(population),
            )
            truths = {
                other: view.truth(
                    population=population,
                    programme=programme,
                    comparator=other,
                    outcome=outcome,
                    subgroup="all",
                    term="effect",
                )
                for other in gates
            }
            blocks.append(month_panels(view, gates, truths, titles, caption))
    return blocks
