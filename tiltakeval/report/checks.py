"""The section on checks: every verdict, the threshold fixed in advance, and the numbers behind it."""

from __future__ import annotations

import numpy as np

from tiltakeval.disclosure.release import ReleasedCheck
from tiltakeval.report.balance import OVERLAP
from tiltakeval.report.blocks import Block, Bullets, Para, Sub, Table
from tiltakeval.report.tables import (
    check_title,
    detail_table,
    message_table,
    scope_text,
    small_or_number,
)
from tiltakeval.report.view import View, upper_first

HIDDEN = (
    "robustness_value_interval",
    "benchmark",
    "benchmark_outcome_share",
    "benchmark_treatment_share",
    "odds_ratio",
)
STATUSES = ("passed", "failed", "informative", "not_evaluated")


def checks(view: View) -> list[Block]:
    """Every check with its verdict in words and the threshold fixed in advance."""
    words, gate = view.words, view.material.checks
    if not gate.items:
        return []
    rows, texts, details = [], {}, []
    sound = _sound(view)
    if sound:
        rows.append(_folded(view, sound))
    for position, item in enumerate(gate.items):
        if position in sound:
            continue
        title = check_title(item.key, words)
        if words.has(f"check.{item.key}.asks"):
            texts[title] = words(f"check.{item.key}.asks")
        rows.append(
            [
                title,
                upper_first(scope_text(item.scope, view)) or "–",
                words(f"verdict.{item.status}"),
                _figure(view, item.statistic),
                _figure(view, item.threshold),
            ]
        )
        if not item.key.startswith(("balance", "support", "policy_tree", *OVERLAP)):
            table = detail_table(gate, position, view)
            details += [table] if table else []
    tally = {status: sum(i.status == status for i in gate.items) for status in STATUSES}
    said = [words(f"checks.count_{k}", count=v) for k, v in tally.items() if v]
    columns = [words(f"checks.{name}") for name in ("check", "scope", "verdict", "value", "limit")]
    blocks: list[Block] = [Para(words("checks.intro", tally=words.listed(said)))]
    if texts:
        blocks.append(Bullets(list(texts.items())))
    blocks.append(Table(words("checks.caption"), columns, rows, text_columns=(1, 2)))
    blocks += _hidden(view)
    if details:
        blocks += [Sub(words("checks.details_head")), *details]
    return blocks


def _hidden(view: View) -> list[Block]:
    """How strong an unseen factor would have to be: in words for each programme, and the figures."""
    words, gate = view.words, view.material.checks
    table = message_table(gate, "sensitivity", HIDDEN, view)
    if table is None:
        return []
    said: list[str | tuple[str, str]] = []
    unclear: dict[str, list[str]] = {}
    asked = {item.scope.get("estimand") for item in gate.items if item.key == "sensitivity"}
    for item in gate.items:
        text, clear = hidden_line(view, item)
        scope = {k: v for k, v in item.scope.items() if k != "estimand" or len(asked) > 1}
        name = scope_text(scope, view) or "–"
        if text and clear:
            said.append((upper_first(name), text))
        elif text:
            unclear.setdefault(text, []).append(name)
    said += [(upper_first("; ".join(names)), text) for text, names in unclear.items()]
    blocks: list[Block] = [Sub(words("checks.hidden_head")), Para(words("checks.hidden"))]
    return [*blocks, *([Bullets(said)] if said else []), table]


def hidden_line(view: View, item: ReleasedCheck) -> tuple[str, bool]:
    """The sentence on one programme, and whether its effect is clear to begin with.

    Empty when there is none, or the effect isn't shown.
    """
    words, message = view.words, item.message
    if item.key != "sensitivity" or not {"outcome", "robustness_value_interval"} <= set(message):
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
    facts["block"] = words.label("covariate", str(message["benchmark"]))
    if times < 0.995:
        return words("checks.hidden_part", percent=_percent(times, view), **facts), True
    shown = words.number(times, 1 if times < 10 else 0)
    return words("checks.hidden_times", times=shown, **facts), True


def _percent(share: float, view: View) -> str:
    """A share in per cent, one decimal below ten."""
    return view.words.number(100 * share, 1 if share < 0.1 else 0)


def _sound(view: View) -> list[int]:
    """Positions of the checks of a whole extract that found nothing and have no number to show."""
    if view.material.level != "register":
        return []
    found = [
        position
        for position, item in enumerate(view.material.checks.items)
        if item.status == "passed" and not item.scope and item.statistic is None
    ]
    return found if len(found) > 1 else []


def _folded(view: View, sound: list[int]) -> list[str]:
    """One row for all of them."""
    words, items = view.words, view.material.checks.items
    names = [check_title(items[position].key, words) for position in sound]
    names[1:] = [name[:1].lower() + name[1:] for name in names[1:]]
    title = words("checks.extract", count=len(sound))
    return [title, words.listed(names), words("verdict.passed"), "–", "–"]


def _figure(view: View, value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return small_or_number(value, view.words, whole_from=100)
