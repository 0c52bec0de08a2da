"""The short answer: sentences made from the numbers, each word following its interval."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from tiltakeval.report.blocks import Block, Bullets, Para, Sub
from tiltakeval.report.for_whom import for_whom_answer
from tiltakeval.report.rollout_summary import rollout_summary
from tiltakeval.report.spell_summary import spell_summary
from tiltakeval.report.view import View, number, upper_first

Verdict = Literal["up", "down", "unclear", "unknown"]
VERDICTS: tuple[Verdict, ...] = ("up", "down", "unclear", "unknown")
LEAD_WINDOW = 24


def verdict(row: pd.Series) -> Verdict:
    """What the interval says: above zero, below zero, neither, or nothing can be said."""
    low, high = number(row, "conf_low"), number(row, "conf_high")
    if row["status"] in ("suppressed", "not_supported") or np.isnan(low) or np.isnan(high):
        return "unknown"
    return "up" if low > 0 else "down" if high < 0 else "unclear"


def summary(view: View) -> list[Block]:
    """Blocks of the answer box."""
    blocks: list[Block] = []
    for population in () if view.rollout else view.populations:
        blocks += _population(view, population)
    blocks += rollout_summary(view)
    blocks += _against(view)
    blocks += spell_summary(view)
    blocks += _without_months(view)
    blocks += for_whom_answer(view)
    if not blocks:
        return []
    checks = view.material.checks.items
    failed = sum(item.status == "failed" for item in checks)
    closing = [view.words("summary.assumption")]
    if failed:
        words = "summary.checks_one" if failed == 1 else "summary.checks_many"
        closing.append(view.words(words, failed=failed, total=len(checks)))
    return [*blocks, Para(" ".join(closing), "note")]


def _population(view: View, population: str) -> list[Block]:
    words, outcome, estimand = view.words, view.primary_outcome, view.estimands[0]
    base = {"population": population, "estimand": estimand, "comparator": "none", "subgroup": "all"}
    items: list[tuple[str, str]] = []
    groups: dict[str, list[str]] = {name: [] for name in (*VERDICTS, "hidden")}
    month, origin = None, "none"
    for programme in view.programmes:
        rows = view.part(**base, outcome=outcome, programme=programme, term="effect").table
        at = view.month(rows)
        if at is None:
            continue
        row = rows[rows["horizon"] == at].iloc[0]
        month, origin = at, str(row["time_origin"])
        hidden = row["status"] == "suppressed"
        groups["hidden" if hidden else verdict(row)].append(view.short(programme))
        sentences = [monthly_sentence(view, row), *lock_in_sentences(view, base, programme)]
        sentences.append(money_sentence(view, base, programme))
        items.append((upper_first(view.programme(programme)), " ".join(s for s in sentences if s)))
    if month is None:
        return []
    for programme in view.unsupported(population, estimand):
        groups["unknown"].append(view.short(programme))
        items.append((upper_first(view.programme(programme)), words("summary.too_few")))
    phrase = _phrase(view, outcome)
    lead = [
        words(f"summary.lead_{name}", programmes=words.listed(names), phrase=phrase)
        for name, names in groups.items()
        if names
    ]
    intro = words("summary.lead_month", month=month, origin=words.label("origin", origin))
    head = upper_first(view.population(population))
    text = " ".join([intro, *(upper_first(text) for text in lead)])
    return [Sub(head), Para(text, "lead"), Bullets(items)]


def _against(view: View) -> list[Block]:
    """Programme against programme, where the study leads with it."""
    if view.material.primary_estimand != "vs_programme_b":
        return []
    table, outcome = view.table, view.primary_outcome
    rows = table[(table["comparator"] != "none") & (table["term"] == "effect")]
    rows = rows[(rows["subgroup"] == "all") & (rows["outcome"] == outcome)]
    blocks: list[Block] = []
    for population in dict.fromkeys(rows["population"]):
        items = []
        here = rows[rows["population"] == population]
        for programme, other in dict.fromkeys(zip(here["programme"], here["comparator"])):
            keys = {"population": population, "programme": programme, "comparator": other}
            found = view.part(**keys, outcome=outcome, subgroup="all", term="effect").table
            at = view.month(found)
            name = view.words(
                "contrasts.pair",
                left=upper_first(view.short(str(programme))),
                right=view.short(str(other)),
            )
            one = found if at is None else found[found["horizon"] == at]
            items.append((name, monthly_sentence(view, one.iloc[0])))
        blocks += [Sub(upper_first(view.population(str(population)))), Bullets(items)]
    return blocks


def _phrase(view: View, outcome: str) -> str:
    """``in work without wage subsidy``: what a share is a share of."""
    key = f"label.outcome_in.{outcome}"
    return view.words(key) if view.words.has(key) else view.outcome(outcome)


def _said(view: View, value: float, unit: str) -> str:
    """A size in words: kroner to the nearest hundred, more would be false precision."""
    size = abs(value)
    if unit.lower() == "nok" and size >= 1_000:
        size = round(size, -2)
    return view.words.amount(size, unit)


def _range(view: View, row: pd.Series, unit: str) -> str:
    """The interval in plain words; the sign is in the sentence when both ends share it."""
    words = view.words
    low, high = number(row, "conf_low"), number(row, "conf_high")
    if low * high >= 0:
        first, second = sorted((abs(low), abs(high)))
        return words(
            "summary.range_same",
            low=_said(view, first, unit),
            high=_said(view, second, unit),
        )
    return words(
        f"summary.range_{'people' if unit == 'share' else 'amount'}",
        low=_said(view, low, unit),
        high=_said(view, high, unit),
        unit=words.unit(unit),
    )


def monthly_sentence(view: View, row: pd.Series) -> str:
    """``24 months after the decision, 4.2 more of every 100 are in work than if they had waited …``"""
    words, unit, said = view.words, str(row["unit"]), verdict(row)
    if said == "unknown":
        return words("summary.hidden" if row["status"] == "suppressed" else "summary.too_few")
    kind = "share" if unit == "share" else "level"
    return words(
        f"summary.{kind}_{said}",
        month=words.number(number(row, "horizon")),
        origin=words.label("origin", str(row["time_origin"])),
        amount=_said(view, number(row, "estimate"), unit),
        unit=words.unit(unit),
        phrase=_phrase(view, str(row["outcome"])),
        outcome=view.outcome(str(row["outcome"])),
        than=words.label("than", str(row["estimand"])),
        range=_range(view, row, unit),
    )


def _cumulated(view: View, base: dict[str, str], programme: str, outcome: str) -> pd.DataFrame:
    found = view.part(**base, outcome=outcome, programme=programme, term="cumulated").table
    last = found["period"].str.extract(r"-(\d+)$", expand=False).astype("float64")
    return found.assign(last=last).dropna(subset=["last"]).sort_values("last")


def lock_in_sentences(view: View, base: dict[str, str], programme: str) -> list[str]:
    """What is lost early, whether it is earned back, and the total at the lead window."""
    words, outcome = view.words, view.primary_outcome
    windows = _cumulated(view, base, programme, outcome)
    windows = windows[windows["unit"] == "months"]
    if windows.empty:
        return []
    in_time = windows[windows["last"] <= max(LEAD_WINDOW, windows["last"].min())]
    losses = in_time[[verdict(row) == "down" for _, row in in_time.iterrows()]]
    total = in_time.iloc[-1]
    out = []
    name = view.short(programme)
    if len(losses):
        row = losses.iloc[-1]
        spot = view.part(**base, outcome=outcome, programme=programme, term="break_even").table
        clause = break_even_clause(view, spot.iloc[0]) if len(spot) else ""
        out.append(
            words(
                "summary.costs",
                programme=upper_first(name),
                amount=_said(view, number(row, "estimate"), "months"),
                window=words.number(number(row, "last")),
                range=_range(view, row, "months"),
                clause=clause,
            )
        )
    if not len(losses) or losses.iloc[-1]["period"] != total["period"]:
        said = verdict(total)
        if said == "unknown":
            key = "total_hidden" if total["status"] == "suppressed" else "total_unknown"
            out.append(words(f"summary.{key}", window=words.number(number(total, "last"))))
        else:
            out.append(
                words(
                    f"summary.total_{said}",
                    amount=_said(view, number(total, "estimate"), "months"),
                    window=words.number(number(total, "last")),
                    range=_range(view, total, "months"),
                )
            )
    return out


def follow_up(row: pd.Series) -> str:
    """The last month of a crossing's follow-up, from its period ("0-36")."""
    return str(row["period"]).rsplit("-", 1)[-1]


def break_even_clause(view: View, row: pd.Series) -> str:
    """``, and has not earned it back within 36 months``, by the confidence set."""
    words, status = view.words, str(row["status"])
    low, high = number(row, "conf_low"), number(row, "conf_high")
    estimate, last = number(row, "estimate"), follow_up(row)
    if status == "ok" and not np.isnan(high) and not np.isnan(estimate):
        key = "summary.back_between" if low > 0 else "summary.back_by"
    elif status == "open":
        key = "summary.back_open" if np.isnan(estimate) else "summary.back_maybe"
    elif status == "not_reached":
        key = "summary.back_never"
    else:
        return ""
    return words(
        key,
        month=words.number(estimate),
        low=words.number(low),
        high=words.number(high),
        last=last,
    )


def money_sentence(view: View, base: dict[str, str], programme: str) -> str:
    """Kroner in sum over the longest window, for each amount that has one."""
    words, parts, longest = view.words, [], ""
    for outcome in view.outcomes:
        windows = _cumulated(view, base, programme, outcome)
        windows = windows[windows["unit"].str.lower() == "nok"]
        if windows.empty:
            continue
        row = windows.iloc[-1]
        said = verdict(row)
        own = words.has(f"label.outcome_sum.{outcome}")
        name = words.label("outcome_sum", outcome) if own else view.outcome(outcome)
        if said == "unknown" and row["status"] != "suppressed":
            continue
        longest = words.number(number(row, "last"))
        if said == "unknown":
            parts.append(words("summary.money_hidden", outcome=name))
            continue
        parts.append(
            words(
                f"summary.money_{said}",
                outcome=name,
                amount=_said(view, number(row, "estimate"), "nok"),
                range=_range(view, row, "nok"),
            )
        )
    if not parts:
        return ""
    return words("summary.money", window=longest, parts="; ".join(parts))


def _without_months(view: View) -> list[Block]:
    """Answers of studies with one outcome date: a sentence per analysis."""
    rows = view.single
    items = []
    for _, row in rows.iterrows():
        said, unit = verdict(row), str(row["unit"])
        name = upper_first(view.words.label("analysis", str(row["analysis"])))
        if said == "unknown":
            hidden = row["status"] == "suppressed"
            items.append((name, view.words("summary.hidden" if hidden else "summary.too_few")))
            continue
        kind: str = said
        if view.spells and unit == view.material.time_unit:  # a length of time
            kind = {"up": "more", "down": "less"}.get(said, said)
        text = view.words(
            f"summary.plain_{kind}",
            outcome=view.outcome(str(row["outcome"])),
            amount=_said(view, number(row, "estimate"), unit),
            unit=view.words.unit(unit),
            than=view.words.label("than", str(row["estimand"])),
            range=_range(view, row, unit),
        )
        items.append((name, text))
    return [Bullets(items)] if items else []
