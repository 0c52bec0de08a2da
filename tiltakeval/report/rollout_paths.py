"""The section on treatment that ends, comes back or takes several values."""

from __future__ import annotations

from tiltakeval.report.blocks import Block, Panel, Panels, Para
from tiltakeval.report.figures import forest
from tiltakeval.report.profiles import joint_limits
from tiltakeval.report.rollout import OVERALL, by_time, main_rows
from tiltakeval.report.rollout_curves import received_panel
from tiltakeval.report.rollout_trends import found
from tiltakeval.report.tables import absent, named_table, with_interval
from tiltakeval.report.view import View, upper_first

PER_ONE, PER_ONE_BY_EVENT = "effect_per_treatment", "effect_per_treatment_by_event_time"
#: Mean effects and what they are of.
SIDES = {OVERALL: "all", f"{OVERALL}_up": "up", f"{OVERALL}_down": "down", PER_ONE: "per_one"}


def paths(view: View) -> list[Block]:
    """How much treatment there was, and what a unit of it did; up and down apart."""
    words = view.words
    blocks: list[Block] = []
    for population in view.populations if view.rollout else []:
        if not len(main_rows(view, population, term=PER_ONE)):
            continue
        one = by_time(view, population, PER_ONE_BY_EVENT, "paths.per_treatment")
        blocks += [part for part in (_received(view, population), one) if part is not None]
        if one is not None:
            blocks.append(Para(words("paths.per_treatment_note"), "note"))
        blocks += _sides(view, population)
    return [Para(words("paths.intro")), *blocks] if blocks else []


def _received(view: View, population: str) -> Panels | None:
    """Mean treatment by time since the change, from the check that tells it."""
    words = view.words
    for outcome in view.outcomes:
        check = found(view, population, "treatment_received", outcome=outcome)
        if check is None or check.detail is None:
            continue
        rows = check.detail[check.detail["now"].notna()]
        if len(rows) < 2:
            continue
        at, now = rows["horizon"].astype(float).tolist(), rows["now"].astype(float).tolist()
        title = upper_first(words("paths.received_now"))
        text = "; ".join(f"{words.number(e)}: {words.number(v, 2)}" for e, v in zip(at, now))
        drawing = received_panel(
            at,
            now,
            words=words,
            look=view.look(view.programmes[0]),
            key=view.key("received"),
            alt=words("alt.received", title=title, text=text),
        )
        caption = words("paths.received", population=view.population(population))
        return Panels(caption, [Panel(title, drawing)])
    return None


def _sides(view: View, population: str) -> list[Block]:
    words = view.words
    panels = []
    for outcome in view.outcomes:
        gate = main_rows(view, population, term=list(SIDES), outcome=outcome)
        table = gate.table
        if not len(gate):
            continue
        unit = str(table["unit"].iloc[0])
        title = f"{upper_first(view.outcome(outcome))} ({words.unit(unit)})"
        if not table["estimate"].notna().any():
            panels.append(Panel(title, None, note=absent(table, view)))
            continue
        names = [words(f"paths.{SIDES[str(term)]}") for term in table["term"]]
        said = "; ".join(
            f"{name}: {with_interval(row, view, unit)}"
            for name, (_, row) in zip(names, table.iterrows())
        )
        drawing = forest(
            gate,
            names,
            words=words,
            look=view.look(view.programmes[0]),
            key=view.key("sides"),
            alt=words("alt.forest", title=title, count=len(table), text=said),
            limits=joint_limits([gate], [None]),
        )
        shown = named_table(gate, names, view, caption=title, first=words("paths.what"))
        panels.append(Panel(title, drawing, shown))
    caption = words("paths.sides", population=view.population(population))
    return [Panels(caption, panels)] if panels else []
