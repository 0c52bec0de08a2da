"""Negative controls in words: effects that can't be there, and whether one was found."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from tiltakeval.disclosure.release import ReleasedCheck
from tiltakeval.report.blocks import Block, Bullets, Para, Sub
from tiltakeval.report.tables import scope_text
from tiltakeval.report.view import View, upper_first

NO_EFFECT, DRAWN = "negative_control", "drawn_programme"
SAME = "same_for_all"


def controls(view: View) -> list[Block]:
    """A sentence for each control; nothing where the study has none."""
    words = view.words
    items = [i for i in view.material.checks.items if i.key in (NO_EFFECT, DRAWN)]
    if not items:
        return []
    said: list[str | tuple[str, str]] = []
    for item in items:
        scope = {k: v for k, v in item.scope.items() if k not in ("control", "estimand")}
        text = _drawn(view, item) if item.key == DRAWN else _no_effect(view, item)
        said.append((upper_first(scope_text(scope, view)), text))
    return [Sub(words("controls.head")), Para(words("controls.intro")), Bullets(said)]


def _facts(view: View, item: ReleasedCheck) -> dict[str, str]:
    words, message = view.words, item.message
    first, last = message.get("month_from"), message.get("month_to")
    when = ""
    if first is not None and last is not None:
        one = "controls.after" if first == last != 0 else "controls.between"
        one = view.text("controls.first") if last == 0 else one
        when = words(one, first=words.number(first), last=words.number(last))
    return {"outcome": view.outcome(str(message["outcome"])), "when": when}


def _no_effect(view: View, item: ReleasedCheck) -> str:
    """The reason, and the mean effect found with its interval, as far as it may be shown."""
    words, facts = view.words, _facts(view, item)
    reason = view.material.labels.get(f"reason:{item.scope.get('control', '')}", {})
    start = f"{reason.get(view.language, '')} ".lstrip()
    if item.message.get("reason") == SAME:
        return start + words("controls.same_for_all", **facts)
    rows = _effects(view, item)
    if item.status == "not_evaluated" or rows.empty or (rows["status"] == "suppressed").any():
        return start + words("controls.not_evaluated", **facts)
    rows = rows[rows["estimate"].notna()]
    unit, level = str(rows["unit"].iloc[0]), float(rows["conf_level"].fillna(0.95).iloc[0])
    mean = float(rows["estimate"].mean())
    facts |= {"value": words.amount(mean, unit, signed=True), "unit": words.unit(unit)}
    facts["interval"] = words.interval(*_interval(mean, item, level), unit)
    found = "no_effect_found" if item.status == "failed" else "no_effect_none"
    return start + words(f"controls.{found}", **facts)


def _effects(view: View, item: ReleasedCheck) -> pd.DataFrame:
    """The released effects whose mean was tested."""
    message, scope = item.message, item.scope
    found = view.material.estimates.select(
        term="effect",
        analysis=message["analysis"],
        estimand=message["estimand"],
        programme=scope["programme"],
        comparator="none",
        outcome=message["outcome"],
        subgroup=scope.get("subgroup", "all"),
    ).table
    if "month_from" in message:
        months = found["horizon"].between(message["month_from"], message["month_to"])
        found = found[months.fillna(False)]
    population, base = found["population"].astype(str), scope["population"]
    return found[(population == base) | population.str.startswith(f"{base}:")]


def _interval(mean: float, item: ReleasedCheck, level: float) -> tuple[float, float]:
    """The interval of the mean, by the p value of the test that it is nothing."""
    p, df = item.statistic, item.message.get("df_residual")
    if p is None or df is None or not 0 < p < 1 or mean == 0:
        return np.nan, np.nan
    half = abs(mean) * stats.t.isf((1 - level) / 2, df) / stats.t.isf(p / 2, df)
    return mean - half, mean + half


def _drawn(view: View, item: ReleasedCheck) -> str:
    words, facts = view.words, _facts(view, item)
    if item.message.get("reason") == SAME:
        return words("controls.same_for_all", **facts)
    if item.status == "not_evaluated":
        return words("controls.drawn_not_evaluated", **facts)
    numbers = {name: words.number(item.message[name]) for name in ("found", "draws")}
    found = "often" if item.status == "failed" else "seldom"
    found = "never" if item.message["found"] == 0 else found
    start = words("controls.drawn", **numbers, **facts)
    return f"{start} {words(f'controls.drawn_{found}', **numbers)}"
