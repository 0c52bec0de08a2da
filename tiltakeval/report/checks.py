"""The section on checks: every verdict, the threshold fixed in advance, and the numbers behind it."""

from __future__ import annotations

import numpy as np

from tiltakeval.disclosure.release import ReleasedCheck
from tiltakeval.report.balance import OVERLAP
from tiltakeval.report.blocks import Block, Bullets, Para, Sub, Table
from tiltakeval.report.controls import controls
from tiltakeval.report.hidden import hidden
from tiltakeval.report.tables import (
    check_title,
    detail_table,
    scope_text,
    small_or_number,
)
from tiltakeval.report.view import View, upper_first

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
                upper_first(_scope(view, item)) or "–",
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
    blocks += hidden(view)
    blocks += controls(view)
    if details:
        blocks += [Sub(words("checks.details_head")), *details]
    return blocks


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


def _scope(view: View, item: ReleasedCheck) -> str:
    """What the check is of; a negative control has its outcome there, its key is for the study file."""
    text = scope_text({k: v for k, v in item.scope.items() if k != "control"}, view)
    if "control" not in item.scope or "outcome" not in item.message:
        return text
    return f"{text}: {view.outcome(str(item.message['outcome']))}"


def _figure(view: View, value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return small_or_number(value, view.words, whole_from=100)
