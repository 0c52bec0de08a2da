"""How strong an unseen factor would have to be: sentences, a drawing for each programme, figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tiltakeval.disclosure.release import Released, ReleasedCheck
from tiltakeval.report.blocks import Block, Bullets, Panel, Panels, Para, Sub, Table
from tiltakeval.report.hidden_figure import Known, Strength, strength_contour
from tiltakeval.report.tables import message_table, scope_text
from tiltakeval.report.view import View, number, upper_first

KEY = "sensitivity"
FACTS = (
    "robustness_value_interval",
    "benchmark",
    "benchmark_outcome_share",
    "benchmark_treatment_share",
    "odds_ratio",
)
#: Blocks that say nothing of persons: no yardstick for motivation or health.
NO_YARDSTICK = ("calendar",)
#: Outside these a factor's strength is told as less or more: nobody can tell 40 times from 120.
LITTLE, MANY = 0.05, 20
#: Most yardsticks in the table below a drawing.
MOST = 12
_BENCHMARK = ["benchmark", "benchmark_treatment_share", "benchmark_outcome_share"]


def hidden(view: View) -> list[Block]:
    """In words for each programme, as drawings, and the figures: of the main analyses."""
    words, gate = view.words, view.material.checks
    table = message_table(gate, KEY, FACTS, view)
    if table is None:
        return []
    beside = _beside(view)
    places = [
        i
        for i, item in enumerate(gate.items)
        if item.key == KEY and item.scope.get("analysis") not in beside
    ]
    blocks: list[Block] = [Sub(words("checks.hidden_head")), Para(words("checks.hidden"))]
    said = sentences(view, places)
    drawn = contours(view, places)
    return [*blocks, *([Bullets(said)] if said else []), *drawn, table]


def _beside(view: View) -> set[str]:
    """Analyses whose sentences stand in the section on whom it works for."""
    gate = view.material.for_whom
    return set() if gate is None else set(gate.table["analysis"].astype(str))


def sentences(
    view: View, places: Sequence[int], *, population: bool = True
) -> list[str | tuple[str, str]]:
    """The sentence on each programme; those that aren't clear to begin with share one. Without
    ``population`` it isn't named."""
    items = [view.material.checks.items[i] for i in places]
    said: list[str | tuple[str, str]] = []
    unclear: dict[str, list[str]] = {}
    asked = {item.scope.get("estimand") for item in items}
    for item in items:
        text, clear = hidden_line(view, item)
        scope = {k: v for k, v in item.scope.items() if k != "estimand" or len(asked) > 1}
        if not population:
            scope = {k: v for k, v in scope.items() if k not in ("population", "analysis")}
        name = scope_text(scope, view) or "–"
        if text and clear:
            said.append((upper_first(name), text))
        elif text:
            unclear.setdefault(text, []).append(name)
    return said + [(upper_first("; ".join(names)), text) for text, names in unclear.items()]


def hidden_line(view: View, item: ReleasedCheck) -> tuple[str, bool]:
    """The sentence on one programme, and whether its effect is clear to begin with.

    Empty when there is none, or the effect isn't shown.
    """
    words, message = view.words, item.message
    if not {"outcome", "robustness_value_interval"} <= set(message) or item.key != KEY:
        return "", False
    if item.detail is not None and "status" in item.detail.columns:
        rows = item.detail[item.detail["outcome"] == message["outcome"]]
        if (rows["status"] == "suppressed").any():
            return "", False
    month = message.get("horizon")
    when = "" if month is None else words("checks.hidden_after", month=words.number(month))
    facts = {"outcome": view.outcome(str(message["outcome"])), "when": when}
    share = float(message["robustness_value_interval"])
    if share <= 0:
        return words("checks.hidden_unclear", **facts), False
    if not message.get("benchmark"):
        return words("checks.hidden_share", percent=_percent(share, view), **facts), True
    times = float(message["times"])
    facts["block"] = _block(view, str(message["benchmark"]))
    if times < LITTLE:
        return words("checks.hidden_little", percent=view.words.number(100 * LITTLE), **facts), True
    if times < 0.995:
        return words("checks.hidden_part", percent=_percent(times, view), **facts), True
    if times > MANY:
        return words("checks.hidden_many", times=words.number(MANY), **facts), True
    shown = words.number(times, 1 if times < 10 else 0)
    return words("checks.hidden_times", times=shown, **facts), True


def contours(
    view: View,
    places: Sequence[int],
    estimates: Released | None = None,
    *,
    population: bool = True,
) -> list[Block]:
    """A drawing for every programme whose effect is clear to begin with and shown.

    ``estimates`` holds the effects the checks at ``places`` are of (left out: the main ones).
    """
    words = view.words
    named = ("population", "programme", "comparator")[0 if population else 1 :]
    drawn = [found for i in places if (found := _panel(view, i, estimates, named)) is not None]
    if not drawn:
        return []
    panels = [panel for panel, _ in drawn]
    unit = words.unit(drawn[0][1])
    legend = [
        ("line", words("hidden.legend_zero")),
        ("dashed", words("hidden.legend_unclear")),
        ("solid", words("hidden.legend_known")),
    ]
    return [Panels(words("hidden.caption"), panels, legend, words("hidden.note", unit=unit))]


def _panel(
    view: View, place: int, estimates: Released | None, named: Sequence[str]
) -> tuple[Panel, str] | None:
    """The drawing of one check with the figures behind it, and its unit."""
    words, item = view.words, view.material.checks.items[place]
    text, clear = hidden_line(view, item)
    row = _effect(view, item, estimates)
    if not text or not clear or row is None or item.detail is None:
        return None
    rows = item.detail[item.detail["outcome"] == item.message["outcome"]]
    value, value_interval = (
        float(rows.iloc[0][name]) for name in ("robustness_value", "robustness_value_interval")
    )
    if not 0 < value < 1 or number(row, "estimate") == 0:
        return None
    unit, programme = str(row["unit"]), str(item.scope["programme"])
    strength = Strength.of(number(row, "estimate"), value, value_interval)
    known = _known(view, rows)
    title = scope_text(
        {k: item.scope[k] for k in named if k in item.scope},
        view,
    )
    alt = words(
        "alt.hidden",
        title=upper_first(title),
        effect=words.amount(strength.estimate, unit),
        unit=words.unit(unit),
        zero=_percent(value, view),
        unclear=_percent(value_interval, view),
    )
    drawing = strength_contour(
        view.material.checks,
        strength,
        known,
        unit=unit,
        words=words,
        look=view.look(programme),
        key=view.key("hidden"),
        alt=alt,
    )
    caption = f"{upper_first(title)}: {words('hidden.caption_table')}"
    heads = [
        words("hidden.known"),
        words("hidden.explains_weights"),
        words("hidden.explains_outcome"),
        words("hidden.left", unit=words.unit(unit)),
    ]
    lines = [
        [
            upper_first(one.name),
            *(f"{_percent(s, view)}" for s in (one.weights, one.outcome)),
            words.amount(strength.left(one.weights, one.outcome), unit),
        ]
        for one in known[:MOST]
    ]
    table = Table(caption, heads, lines, folded=words("table.show_numbers")) if lines else None
    return Panel(upper_first(title), drawing, table), unit


def _known(view: View, rows: pd.DataFrame) -> list[Known]:
    """The yardsticks of one effect, those that would move it most first."""
    if not set(_BENCHMARK) <= set(rows.columns):
        return []
    kept = rows[_BENCHMARK].dropna()
    kept = kept[~kept["benchmark"].isin(NO_YARDSTICK)]
    known = [
        Known(_block(view, str(name)), max(float(d), 0.0), max(float(y), 0.0))
        for name, d, y in kept.to_numpy()
    ]
    return sorted(known, key=lambda one: -one.weights * one.outcome)


def _block(view: View, name: str) -> str:
    """A block of covariates; on a prepared file some have other members than on a register."""
    key = f"label.covariate.{name}"
    own = view.text(key)
    return view.words(own) if own != key else view.words.label("covariate", name)


def _effect(view: View, item: ReleasedCheck, estimates: Released | None) -> pd.Series | None:
    """The released effect a check is of; None where it isn't shown."""
    if estimates is None:
        estimates = view.material.estimates
    message, scope = item.message, item.scope
    if not {"outcome"} <= set(message) or "programme" not in scope:
        return None
    found = estimates.select(
        term="effect",
        subgroup="all",
        programme=scope["programme"],
        comparator=scope.get("comparator", "none"),
        outcome=message["outcome"],
    ).table
    month = message.get("horizon")
    found = found[found["horizon"].isna() if month is None else found["horizon"] == month]
    base = scope.get("population", "")
    population = found["population"].astype(str)
    found = found[(population == base) | population.str.startswith(f"{base}:")]
    for name in ("analysis", "estimand"):
        if name in scope and (found[name] == scope[name]).any():
            found = found[found[name] == scope[name]]
    found = found[found["estimate"].notna()]
    return None if found.empty else found.iloc[0]


def _percent(share: float, view: View) -> str:
    """A share in per cent, one decimal below ten."""
    return view.words.number(100 * share, 1 if share < 0.1 else 0) if np.isfinite(share) else "–"
