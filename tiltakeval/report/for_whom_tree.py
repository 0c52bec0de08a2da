"""A rule's tree from the check that holds it: drawn, and as a list."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from tiltakeval.report.blocks import Block, Bullets, Panel, Panels, Para, Sub
from tiltakeval.report.canvas import Look
from tiltakeval.report.tree_figure import Box, ordered, tree_drawing
from tiltakeval.report.view import View, upper_first

TREE = "policy_tree"
#: Columns of a register that are shares of a window of months, and what they are shares of.
WINDOW = re.compile(r"^(?!earnings|programmes|unbegun)[a-z]+_(\d+)$")
EARNINGS = re.compile(r"^earnings_\d+$")


def tree_blocks(view: View, position: int) -> list[Block]:
    """The tree of the check at ``position``; a sentence where it makes no difference between people."""
    words, gate = view.words, view.material.checks
    item = gate.items[position]
    if item.detail is None or item.detail.empty:
        return []
    detail = item.detail
    nodes = {
        int(row["node"]): {"left": int(row["left"]), "right": int(row["right"])}
        for _, row in detail.iterrows()
    }
    rows = {int(node): part for node, part in detail.groupby("node", sort=False)}
    head: list[Block] = [Sub(words("for_whom.tree_head"), 4)]
    order = ordered(nodes)
    if len(order) == 1:
        return [*head, Para(words("for_whom.tree_none", offer=_offer(view, rows[0])))]
    boxes, sides = [], _sides(nodes)
    for node, depth, parent in order:
        part = rows[node]
        answer = "" if parent < 0 else words(f"word.{_answer(rows, sides[node])}")
        share = _share(view, part)
        if nodes[node]["left"] >= 0:
            boxes.append(Box(_question(view, part), answer, depth, parent))
        else:
            text = f"{upper_first(_offer(view, part))}{share}"
            boxes.append(Box(text, answer, depth, parent, _look(view, part)))
    lines = _paths(view, rows, nodes)
    alt = words("alt.tree", text="; ".join(f"{start}: {rest}" for start, rest in lines))
    drawing = tree_drawing(gate, boxes, alt=alt)
    caption = words("for_whom.caption_tree")
    said = item.statistic
    stable = [] if said is None else [Para(words("for_whom.stable", share=_percent(view, said)))]
    return [
        *head,
        Panels(caption, [Panel(words("for_whom.tree_title"), drawing)]),
        Para(words("for_whom.tree_list")),
        Bullets([(start, f"{upper_first(rest)}.") for start, rest in lines]),
        *stable,
    ]


def _percent(view: View, share: float) -> str:
    return view.words("number.percent", value=view.words.number(100 * share)).replace(" ", "\u00a0")


def _sides(nodes: dict[int, dict[str, int]]) -> dict[int, tuple[int, str]]:
    """Of every node but the root: its parent and the side it is on."""
    return {
        child: (node, side)
        for node, own in nodes.items()
        for side, child in own.items()
        if child >= 0
    }


def _answer(rows: dict[int, pd.DataFrame], where: tuple[int, str]) -> str:
    """Yes or no: the right side of an indicator has it, the left side of a number is at most it."""
    parent, side = where
    indicator = str(rows[parent]["kind"].iloc[0]) == "indicator"
    return "yes" if (side == "right") == indicator else "no"


def _question(view: View, part: pd.DataFrame) -> str:
    name = upper_first(_name(view, part))
    if str(part["kind"].iloc[0]) == "indicator":
        return f"{name}?"
    at, unit = _cut(view, part)
    return view.words(f"for_whom.{'cut_none' if at == '0' else 'cut'}", name=name, at=at, unit=unit)


def _condition(view: View, part: pd.DataFrame, answer: str) -> str:
    """What is true of those on a side."""
    words = view.words
    name = _name(view, part)
    if str(part["kind"].iloc[0]) == "indicator":
        return name if answer == "yes" else words("for_whom.without", name=name)
    at, unit = _cut(view, part)
    return words(f"for_whom.{'up_to' if answer == 'yes' else 'above'}", name=name, at=at, unit=unit)


def _said(view: View, cuts: dict[str, pd.DataFrame]) -> str:
    """What a path's cuts of one covariate come to: between two of them as one range."""
    if len(cuts) == 1:
        ((answer, part),) = cuts.items()
        return _condition(view, part, answer)
    above, up_to = (_whole(view, cuts[answer]) for answer in ("no", "yes"))
    (low, _), (high, unit) = (_cut(view, cuts[answer]) for answer in ("no", "yes"))
    name = _name(view, cuts["yes"])
    if above is None or up_to is None:
        return view.words("for_whom.between", name=name, low=low, high=high, unit=unit)
    low = view.words.number(above + 1)
    at = low if low == high else view.words("word.from_to", low=low, high=high)
    return view.words("for_whom.within", name=name, at=at, unit=unit)


def _name(view: View, part: pd.DataFrame) -> str:
    name = str(part["covariate"].iloc[0])
    if name == "registered_years" and view.material.level == "register":
        return view.words("for_whom.registered")  # told in months
    return view.words.label("covariate", name)


def _cut(view: View, part: pd.DataFrame) -> tuple[str, str]:
    """The threshold as one would say it, and its unit with a space before it."""
    words, name = view.words, str(part["covariate"].iloc[0])
    value, unit = float(part["threshold"].iloc[0]), ""
    if view.material.level == "register":
        if EARNINGS.match(name):
            return words.number(round(value * 100_000, -3)), _unit(view, "nok")
        in_months = WINDOW.match(name) or name == "registered_years"
        unit = _unit(view, "months") if in_months else unit
        unit = _unit(view, "years") if name == "age" else unit
    whole = _whole(view, part)
    if whole is not None:
        return words.number(whole), unit
    decimals = (
        0 if value == round(value) else min(4, max(1, 2 - int(np.floor(np.log10(abs(value))))))
    )
    return words.number(value, decimals), unit


def _whole(view: View, part: pd.DataFrame) -> int | None:
    """The highest whole number at most the threshold, of what is told in whole numbers (months of a
    window, months registered, whole values); None for others."""
    name, value = str(part["covariate"].iloc[0]), float(part["threshold"].iloc[0])
    if view.material.level == "register":
        window = WINDOW.match(name)
        months = int(window[1]) if window else 12 if name == "registered_years" else None
        if months is not None:
            return int(np.floor(value * months + 1e-9))
    return int(np.floor(value)) if str(part["kind"].iloc[0]) == "whole" else None


def _unit(view: View, unit: str) -> str:
    return f" {view.words.unit(unit, difference=False)}"


def _offer(view: View, part: pd.DataFrame) -> str:
    """``AMO``, or ``by lot: no programme 90 %, AMO 10 %``."""
    words = view.words
    kept = part[part["programme"].astype(str) != ""]
    if kept.empty:
        return words("for_whom.few")
    named = [
        (words("for_whom.no_programme") if p == "none" else view.short(str(p)), float(q))
        for p, q in zip(kept["programme"], kept["part"])
    ]
    if len(named) == 1 and named[0][1] > 0.995:
        return named[0][0]
    listed = words.listed([f"{name} {_percent(view, q)}" for name, q in named])
    return words("for_whom.by_lot", offers=listed)


def _share(view: View, part: pd.DataFrame) -> str:
    share = float(part["share"].iloc[0])
    if np.isnan(share):
        return ""
    text = _percent(view, share)
    if share < 0.01:
        text = view.words("number.below", value=_percent(view, 0.01))
    return f" ({view.words('for_whom.of_all', share=text)})"


def _look(view: View, part: pd.DataFrame) -> Look:
    """That of the programme of which a leaf offers most; grey for none."""
    own = [str(p) for p in part["programme"] if str(p) not in ("", "none")]
    return view.look(own[0]) if own else Look("#6f7785", "o")


def _paths(
    view: View, rows: dict[int, pd.DataFrame], nodes: dict[int, dict[str, int]]
) -> list[tuple[str, str]]:
    """For every leaf: what is true of those who come to it, and what they are offered."""
    out: list[tuple[str, str]] = []

    def walk(node: int, said: dict[str, dict[str, pd.DataFrame]]) -> None:
        if nodes[node]["left"] < 0:
            offer = f"{_offer(view, rows[node])}{_share(view, rows[node])}"
            told = [_said(view, cuts) for cuts in said.values()]
            out.append((upper_first(view.words.listed(told)), offer))
            return
        name = str(rows[node]["covariate"].iloc[0])
        for side in ("left", "right"):
            # a second cut of a covariate on the same side says all that the first did
            cuts = {**said.get(name, {}), _answer(rows, (node, side)): rows[node]}
            walk(nodes[node][side], {**said, name: cuts})

    walk(0, {})
    return out
