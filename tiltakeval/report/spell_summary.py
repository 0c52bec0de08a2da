"""The short answer of a study of spells."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tiltakeval.report.blocks import Block, Bullets, Sub
from tiltakeval.report.exits import WITHOUT, comparison_name
from tiltakeval.report.hazard_ratios import stage_name
from tiltakeval.report.view import View, number, upper_first


def spell_summary(view: View) -> list[Block]:
    """How many have left by the summary time, how the arms differ, and what moves the hazards."""
    if not view.spells:
        return []
    table = view.table[view.table["subgroup"] == "all"]
    blocks: list[Block] = []
    left = table[table["term"].isin(["cumulative_incidence", "survival"])]
    for population in dict.fromkeys(left["population"]):
        part = left[left["population"] == population]
        for term in ("cumulative_incidence", "survival"):
            rows = part[part["term"] == term]
            items = _by_exit(view, rows) if len(rows) else []
            if items:
                blocks += [Sub(upper_first(view.population(str(population)))), Bullets(items)]
                break
    ratios = table[(table["term"] == "log_hazard_ratio") & table["estimate"].notna()]
    whole = ratios["horizon"].isna() | (ratios["horizon"].eq(0) & ratios["period"].isin(["", "0-"]))
    items = [_ratio(view, row) for _, row in ratios[whole.fillna(False)].iterrows()]
    return [*blocks, Bullets(items)] if items else blocks


def _by_exit(view: View, rows: pd.DataFrame) -> list[tuple[str, str]]:
    items = []
    rows = rows[rows["analysis"] == rows["analysis"].iloc[0]]
    for outcome in dict.fromkeys(rows["outcome"]):
        here = rows[rows["outcome"] == outcome]
        here = here[(here["horizon"] == view.shown_month(here)) & here["estimate"].notna()]
        if here.empty:
            continue
        said = [_share(view, row) for _, row in here.iterrows()]
        said += [_gap(view, row) for _, row in _differences(view, here.iloc[0]).iterrows()]
        items.append((upper_first(view.outcome(str(outcome))), " ".join(said)))
    return items


def _differences(view: View, like: pd.Series) -> pd.DataFrame:
    table = view.table
    keep = (table["term"] == f"{like['term']}_difference") & table["estimate"].notna()
    for name in ("analysis", "population", "outcome", "horizon", "subgroup"):
        keep &= table[name] == like[name]
    return table[keep]


def _arm(view: View, key: str) -> str:
    return comparison_name(view) if key in WITHOUT else view.short(key)


def _range(view: View, row: pd.Series) -> str:
    low, high = (view.words.amount(number(row, end), "share") for end in ("conf_low", "conf_high"))
    return view.words("summary.range_same", low=low, high=high)


def _share(view: View, row: pd.Series) -> str:
    arm = str(row["programme"])
    return view.words(
        f"spells.{row['term']}{'' if arm == 'all' else '_arm'}",
        month=view.words.number(number(row, "horizon")),
        amount=view.words.amount(number(row, "estimate"), "share"),
        arm=upper_first(_arm(view, arm)),
        range=_range(view, row),
    )


def _gap(view: View, row: pd.Series) -> str:
    low, high = number(row, "conf_low"), number(row, "conf_high")
    if np.isnan(low) or np.isnan(high):
        return ""
    said = "up" if low > 0 else "down" if high < 0 else "unclear"
    size = view.words.amount(abs(number(row, "estimate")), "share")
    ends = [view.words.amount(end, "share") for end in (low, high)]
    if said != "unclear":
        ends = [view.words.amount(end, "share") for end in sorted((abs(low), abs(high)))]
    return view.words(
        f"spells.gap_{said}",
        arm=_arm(view, str(row["programme"])),
        other=_arm(view, str(row["comparator"])),
        amount=size,
        low=ends[0],
        high=ends[1],
    )


def _ratio(view: View, row: pd.Series) -> tuple[str, str]:
    words = view.words
    low, mid, high = (
        float(np.exp(number(row, name))) for name in ("conf_low", "estimate", "conf_high")
    )
    said = "up" if low > 1 else "down" if high < 1 else "unclear"
    text = words(
        f"spells.ratio_{said}",
        outcome=upper_first(view.outcome(str(row["outcome"]))),
        ratio=words.number(mid, 2),
        low=words.number(low, 2),
        high=words.number(high, 2),
    )
    parts = [view.short(str(row["programme"])), stage_name(row, view)]
    name = ", ".join(part for part in parts if part)
    return f"{upper_first(name)} ({words.label('analysis', str(row['analysis']))})", text
