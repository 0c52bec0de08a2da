"""Groups by predicted effect, who is in the first and the last, and what ranking people would find."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Bullets, Panel, Panels, Para, Sub, Table
from tiltakeval.report.canvas import Limits, shared_limits
from tiltakeval.report.for_whom_figures import predicted_panel, targeting_panel
from tiltakeval.report.for_whom_tree import EARNINGS, WINDOW
from tiltakeval.report.tables import with_interval
from tiltakeval.report.view import View, number, upper_first
from tiltakeval.report.words import SCALE

#: Most rows in the table of who is most and least affected.
MOST = 10
LEVEL = 0.05
#: Columns of a register that are yes or no.
_INDICATOR = re.compile(
    r"^(female|earlier_registration|other_state_before|running|pending)$"
    r"|^(landgruppe|education|diagnosis|innsatsgruppe|last)_"
)


def predicted(view: View, part: Released) -> list[Block]:
    """What rests on predicted effects: shown where they beat the average, said where they don't."""
    blocks = _sorted(view, part)
    blocks += _who(view, part)
    blocks += _targeting(view, part)
    return [Sub(view.words("for_whom.predicted_head"), 4), *blocks] if blocks else []


def of_whom(part: Released, key: str) -> str:
    """The key of a text that says whom the numbers are about: all, or participants."""
    treated = part.table["population"].astype(str).str.endswith(":treated").any()
    return f"{key}_treated" if treated else key


def _programmes(view: View, table: pd.DataFrame) -> list[str]:
    there = set(table["programme"]) - {"all"}
    known = [key for key in view.programmes if key in there]
    return known + sorted(there - set(known))


def _sorted(view: View, part: Released) -> list[Block]:
    words = view.words
    asked = _programmes(view, part.select(term="calibration_gain").table)
    if not asked:
        return []
    shown = _programmes(view, part.select(term="sorted_effect").table)
    blocks: list[Block] = []
    silent = [view.short(key) for key in asked if key not in shown]
    if silent:
        blocks.append(Para(words("for_whom.not_better", programmes=words.listed(silent))))
    if not shown:
        return blocks
    gates = {key: part.select(programme=key, term="sorted_effect") for key in shown}
    limits = _limits(list(gates.values()))
    panels = []
    for key, gate in gates.items():
        table, name = gate.table, view.programme(key)
        unit = str(table["unit"].iloc[0])
        average = part.select(programme=key, term="effect", subgroup="all").table.iloc[0]
        gap = part.select(programme=key, term="sorted_effect_difference").table
        seen = table[table["estimate"].notna()]
        if seen.empty:
            panels.append(Panel(name, None, note=words("figure.cannot_show")))
            continue
        alt = words(
            "alt.predicted",
            title=name,
            count=len(table),
            first=words.amount(number(seen.iloc[0], "estimate"), unit),
            last=words.amount(number(seen.iloc[-1], "estimate"), unit),
            unit=words.unit(unit),
        )
        drawing = predicted_panel(
            gate,
            average=number(average, "estimate") * SCALE.get(unit, 1.0),
            words=words,
            look=view.look(key),
            key=view.key("predicted"),
            alt=alt,
            limits=limits,
        )
        lines = [
            [words("for_whom.fifth", place=i, count=len(table)), with_interval(row, view, unit)]
            for i, (_, row) in enumerate(table.iterrows(), 1)
        ]
        if len(gap):
            difference = with_interval(gap.iloc[0], view, unit)
            lines.append([words("for_whom.last_first"), difference])
        heads = [words("table.group"), words("for_whom.effect", unit=words.unit(unit))]
        caption = f"{upper_first(name)}: {words('for_whom.caption_predicted')}"
        table_of = Table(caption, heads, lines, folded=words("table.show_numbers"))
        panels.append(Panel(name, drawing, table_of))
    names = words.listed([view.short(key) for key in shown])
    blocks.append(Para(words("for_whom.better", programmes=names)))
    unit = words.unit(str(next(iter(gates.values())).table["unit"].iloc[0]))
    caption = f"{words('for_whom.caption_predicted')}. {upper_first(unit)}."
    legend = [
        ("bar", words("for_whom.legend_own")),
        ("dashed", words(of_whom(part, "for_whom.legend_average"))),
    ]
    return [*blocks, Panels(caption, panels, legend)]


def _who(view: View, part: Released) -> list[Block]:
    """Mean characteristics of the most and the least affected, those that differ most first."""
    words = view.words
    blocks: list[Block] = []
    for key in _programmes(view, part.select(term="mean_difference").table):
        rows = part.select(programme=key)
        gap = rows.select(term="mean_difference").table.dropna(subset=["estimate"])
        size = (gap["estimate"] / gap["std_error"].replace(0.0, np.nan)).abs()
        gap = gap.loc[size.sort_values(ascending=False, kind="stable").index[:MOST]]
        if gap.empty:
            continue
        means = {
            term: rows.select(term=term).table.set_index("outcome")["estimate"]
            for term in ("mean_most", "mean_least")
        }
        lines = []
        for name in gap["outcome"].astype(str):
            pair = [float(means[t].get(name, np.nan)) for t in ("mean_most", "mean_least")]
            shown = [mean_text(view, name, value) for value in pair]
            lines.append([upper_first(words.label("covariate", name)), *shown])
        heads = [words(f"for_whom.{name}") for name in ("trait", "most", "least")]
        caption = words("for_whom.caption_who", programme=upper_first(view.programme(key)))
        blocks.append(Table(caption, heads, lines))
    if blocks:
        blocks.append(Para(words("for_whom.who_note"), "note"))
    return blocks


def mean_text(view: View, name: str, value: float) -> str:
    """A mean of a characteristic: shares of people or of months in per cent, pay in kroner."""
    words = view.words
    if view.material.level == "register":
        if EARNINGS.match(name):
            return f"{words.number(round(value * 100_000, -3))} {words.unit('nok')}"
        if WINDOW.match(name) or _INDICATOR.match(name):
            return words("number.percent", value=words.number(100 * value))
    return words.number(value, 2 if abs(value) < 10 else 1)


def _targeting(view: View, part: Released) -> list[Block]:
    words = view.words
    gates = {
        key: gate
        for key in _programmes(view, part.select(term="toc").table)
        if (gate := part.select(programme=key, term="toc")).table["estimate"].notna().sum() > 1
    }
    if not gates:
        return []
    limits, panels, said = _limits(list(gates.values())), [], []
    for key, gate in gates.items():
        table, name = gate.table, view.programme(key)
        unit = str(table["unit"].iloc[0])
        shares = [float(str(s).rsplit("=", 1)[-1].rstrip("%")) for s in table["subgroup"]]
        seen = table[table["estimate"].notna()].iloc[0]
        alt = words(
            "alt.targeting",
            title=name,
            share=str(seen["subgroup"]).rsplit("=", 1)[-1].rstrip("%"),
            value=words.amount(number(seen, "estimate"), unit),
            interval=words.interval(number(seen, "conf_low"), number(seen, "conf_high"), unit),
            unit=words.unit(unit),
        )
        drawing = targeting_panel(
            gate, shares, words=words, look=view.look(key), key=view.key("targeting"), alt=alt,
            limits=limits,
        )  # fmt: skip
        heads = [words("for_whom.ranked"), words("for_whom.more_than", unit=words.unit(unit))]
        lines = [
            [words("number.percent", value=words.number(s)), with_interval(row, view, unit)]
            for s, (_, row) in zip(shares, table.iterrows())
        ]
        caption = f"{upper_first(name)}: {words('for_whom.caption_targeting')}"
        panels.append(
            Panel(name, drawing, Table(caption, heads, lines, words("table.show_numbers")))
        )
        test = part.select(programme=key, term="test_autoc").table
        if len(test) and np.isfinite(number(test.iloc[0], "p_value")):
            good = number(test.iloc[0], "p_value") < LEVEL
            said.append((upper_first(name), words(f"for_whom.ranking_{'yes' if good else 'no'}")))
    unit = words.unit(str(next(iter(gates.values())).table["unit"].iloc[0]))
    caption = f"{words('for_whom.caption_targeting')}. {upper_first(unit)}."
    blocks: list[Block] = [
        Para(words(of_whom(part, "for_whom.targeting"))),
        Panels(caption, panels),
    ]
    return [*blocks, *([Bullets(said)] if said else [])]


def _limits(gates: list[Released]) -> Limits | None:
    found = [limits for gate in gates if (limits := shared_limits(gate)) is not None]
    return (min(a for a, _ in found), max(b for _, b in found)) if found else None
