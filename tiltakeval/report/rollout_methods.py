"""The mean effect of a roll-out by every method of the study, and published figures beside it."""

from __future__ import annotations

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para, Sub
from tiltakeval.report.figures import forest
from tiltakeval.report.profiles import joint_limits
from tiltakeval.report.rollout import OVERALL
from tiltakeval.report.tables import named_table, with_interval
from tiltakeval.report.view import View, upper_first


def methods(view: View) -> list[Block]:
    """A row for each analysis with a mean effect in the unit of the first, by outcome; effects on those
    who take part and on all units apart."""
    if not view.rollout:
        return []
    blocks: list[Block] = []
    for outcome in view.outcomes:
        own = view.material.estimates.select(term=OVERALL, outcome=outcome, subgroup="all")
        published = view.material.published
        figures = None if published is None else published.select(outcome=outcome)
        if len(own) + (0 if figures is None else len(figures)) < 2:
            continue
        own = own.select(unit=own.table["unit"].iloc[0])
        parts = _parts(own)
        for place, (of, keys) in enumerate(parts):
            name = upper_first(view.outcome(outcome))
            name += f": {view.words(f'methods.{of}')}" if len(parts) > 1 else ""
            told = figures if place == 0 else None
            blocks += _outcome(view, outcome, own.select(analysis=keys), told, name)
    return [Para(view.words("methods.intro")), *blocks] if blocks else []


def _parts(own: Released) -> list[tuple[str, list[str]]]:
    """Analyses by whom their effects are on: participants (`intensity`) or all units; the first one's
    come first."""
    table = own.table
    part = (
        table["source"].str.endswith(" intensity").map({True: "on_participants", False: "on_all"})
    )
    return [(of, list(table.loc[part == of, "analysis"])) for of in dict.fromkeys(part)]


def _outcome(
    view: View, outcome: str, own: Released, figures: Released | None, title: str
) -> list[Block]:
    words = view.words
    unit = words.unit(str(own.table["unit"].iloc[0]))
    gates = [own] + ([figures] if figures is not None and len(figures) else [])
    limits = joint_limits(gates, [None] * len(gates))
    blocks: list[Block] = [Sub(title)]
    tables: list[Block] = []
    panels = []
    for place, gate in enumerate(gates):
        names = _names(view, gate)
        key = "methods.own" if place == 0 else "methods.published"
        caption = words(key, outcome=view.outcome(outcome), unit=unit)
        tables.append(
            named_table(
                gate,
                names,
                view,
                caption=caption,
                first=words("table.analysis"),
                folded=False,
                source=place == 1,
            )
        )
        rows = gate.table
        if not (rows["conf_low"].notna() | rows["estimate"].notna()).any():
            continue
        said = "; ".join(
            f"{name}: {with_interval(row, view, str(row['unit']))}"
            for name, (_, row) in zip(names, rows.iterrows())
        )
        drawing = forest(
            gate,
            names,
            words=words,
            look=view.look(view.programmes[0]),
            key=view.key("methods"),
            alt=words("alt.forest", title=caption, count=len(rows), text=said),
            limits=limits,
        )
        panels.append(Panel(upper_first(words(f"single.panel_{place}")), drawing))
    return [*blocks, *tables, Panels(words("methods.caption"), panels)]


def _names(view: View, gate: Released) -> list[str]:
    """The analyses, with what they are of where there are several populations."""
    words, table = view.words, gate.table
    many = table["population"].str.split(":").str[0].nunique() > 1
    return [
        upper_first(words.label("analysis", str(row["analysis"])))
        + (f" ({view.population(str(row['population']))})" if many else "")
        for _, row in table.iterrows()
    ]
