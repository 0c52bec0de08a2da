"""Negative controls in words: effects that can't be there, and whether one was found."""

from __future__ import annotations

import numpy as np

from tiltakeval.disclosure.release import ReleasedCheck
from tiltakeval.report.blocks import Block, Bullets, Para, Sub
from tiltakeval.report.tables import scope_text
from tiltakeval.report.view import View, upper_first

NO_EFFECT, DRAWN = "negative_control", "drawn_programme"


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
        one = "controls.first" if last == 0 else one
        when = words(one, first=words.number(first), last=words.number(last))
    return {"outcome": view.outcome(str(message["outcome"])), "when": when}


def _no_effect(view: View, item: ReleasedCheck) -> str:
    """The reason, and the mean effect found, as far as it may be shown."""
    words, facts = view.words, _facts(view, item)
    reason = view.material.labels.get(f"reason:{item.scope.get('control', '')}", {})
    start = f"{reason.get(view.language, '')} ".lstrip()
    detail = item.detail
    shown = detail is not None and len(detail) and detail["estimate"].notna().all()
    if item.status == "not_evaluated" or not shown or detail is None:
        return start + words("controls.not_evaluated", **facts)
    unit = str(detail["unit"].iloc[0])
    value = words.amount(float(np.mean(detail["estimate"])), unit, signed=True)
    key = "no_effect_found" if item.status == "failed" else "no_effect_none"
    return start + words(f"controls.{key}", value=value, unit=words.unit(unit), **facts)


def _drawn(view: View, item: ReleasedCheck) -> str:
    words, facts = view.words, _facts(view, item)
    if item.status == "not_evaluated":
        return words("controls.drawn_not_evaluated", **facts)
    numbers = {name: words.number(item.message[name]) for name in ("found", "draws")}
    found = "often" if item.status == "failed" else "seldom"
    found = "never" if item.message["found"] == 0 else found
    start = words("controls.drawn", **numbers, **facts)
    return f"{start} {words(f'controls.drawn_{found}', **numbers)}"
