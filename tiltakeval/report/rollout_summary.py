"""The short answer of a roll-out: the effect at one time and on average, and how sure it is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tiltakeval.report.blocks import Block, Bullets, Sub
from tiltakeval.report.rollout import BY_EVENT, OVERALL, main_rows
from tiltakeval.report.rollout_trends import found, target_name
from tiltakeval.report.view import View, number, upper_first

#: Checks that only some designs have, and what is said when they fail.
OWN_DOUBTS = {
    "pretrend": "doses_differ",
    "paths_cross": "crossing",
    "prediction_spread": "alike",
    "synthetic_fit": "fit",
}


def rollout_summary(view: View) -> list[Block]:
    """A list for each population: every outcome's effect, and what weakens the conclusion."""
    blocks: list[Block] = []
    for population in view.populations if view.rollout else []:
        items: list[str | tuple[str, str]] = []
        for outcome in view.outcomes:
            said = _effects(view, population, outcome)
            if said:
                items.append((upper_first(view.outcome(outcome)), " ".join(said)))
        doubts = _doubts(view, population)
        if doubts:
            items.append((view.words("rollout_answer.how_sure"), " ".join(doubts)))
        if items:
            blocks += [Sub(view.population(population)), Bullets(items)]
    return blocks


def _effects(view: View, population: str, outcome: str) -> list[str]:
    words = view.words
    out = []
    rows = main_rows(view, population, outcome=outcome, term=BY_EVENT).table
    at = view.month(rows)
    if at is not None:
        row = rows[rows["horizon"] == at].iloc[0]
        out.append(
            _sentence(
                view, row, words(view.text("rollout_answer.in_month"), month=words.number(at))
            )
        )
    mean = main_rows(view, population, outcome=outcome, term=OVERALL).table
    if len(mean):
        out.append(_sentence(view, mean.iloc[0], words(view.text("rollout_answer.on_average"))))
    return [text for text in out if text]


def _sentence(view: View, row: pd.Series, when: str) -> str:
    words, unit, said = view.words, str(row["unit"]), _verdict(row)
    if said == "unknown":
        key = "hidden" if row["status"] == "suppressed" else "unknown"
        return words(f"rollout_answer.{key}", when=when)
    value = number(row, "estimate")
    low, high = number(row, "conf_low"), number(row, "conf_high")
    kind = unit if unit in ("share", "log") else "level"
    size, ends = abs(value), (low, high)
    if unit == "log":  # in per cent, which is what is read
        size, ends = abs(100 * np.expm1(value)), (100 * np.expm1(low), 100 * np.expm1(high))
        unit = "percent"
    return words(
        view.text(f"rollout_answer.{kind}_{said}"),
        when=when,
        amount=words.amount(size, unit),
        unit=words.unit(unit),
        phrase=_phrase(view, str(row["outcome"])),
        outcome=view.outcome(str(row["outcome"])),
        range=words(
            "word.from_to", low=words.amount(ends[0], unit), high=words.amount(ends[1], unit)
        ),
    )


def _phrase(view: View, outcome: str) -> str:
    key = f"label.outcome_in.{outcome}"
    return view.words(key) if view.words.has(key) else view.outcome(outcome)


def _verdict(row: pd.Series) -> str:
    low, high = number(row, "conf_low"), number(row, "conf_high")
    if row["status"] in ("suppressed", "not_supported") or np.isnan(low) or np.isnan(high):
        return "unknown"
    return "up" if low > 0 else "down" if high < 0 else "unclear"


def _doubts(view: View, population: str) -> list[str]:
    """What weakens the conclusion on the primary outcome, by the checks."""
    words, outcome = view.words, view.primary_outcome
    out = []
    if found(view, population, "entry_overridden") is not None:
        out.append(words("rollout_answer.overridden"))
    test = found(view, population, "pretrend", outcome=outcome, over="event_time")
    if view.material.level == "synthetic":
        out.append(words("rollout_answer.fitted"))
    elif test is None or test.status == "not_evaluated":
        out.append(words("rollout_answer.not_tested"))
    elif test.status == "failed":
        out.append(words("rollout_answer.trends_differ"))
    for key, text in OWN_DOUBTS.items():
        scope = {"over": "dose"} if key == "pretrend" else {}
        one = found(view, population, key, **scope)
        if one is not None and one.status == "failed":
            out.append(words(f"rollout_answer.{text}"))
    mean = main_rows(view, population, outcome=outcome, term=OVERALL).table
    clear = len(mean) > 0 and _verdict(mean.iloc[0]) in ("up", "down")
    borne = found(view, population, "robust_to_trends", outcome=outcome, target="mean")
    what = upper_first(target_name(view, population, outcome, "mean"))
    if not clear:
        borne = None  # there is nothing to bear
    if borne is not None and borne.message.get("breakdown") == "value":
        value = words.number(borne.message["value"], 2)
        out.append(words(f"rollout_answer.bears_{borne.status}", of=what, value=value))
    elif borne is not None and borne.message.get("breakdown") == "beyond_grid":
        most = words.number(borne.message["searched"])
        out.append(words("rollout_answer.bears_all", of=what, value=most))
    elif borne is not None and borne.message.get("breakdown") == "none":
        out.append(words("trends.bears_none", of=what))
    few = found(view, population, "few_clusters", outcome=outcome)
    if few is not None and few.status == "failed" and few.statistic is not None:
        clusters, effective = words.number(few.message["clusters"]), words.number(few.statistic)
        key = "few_all" if effective == clusters else "few"
        out.append(words(f"rollout_answer.{key}", clusters=clusters, effective=effective))
    return out
