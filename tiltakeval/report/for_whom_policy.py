"""Rules that deal places: what they would be worth, who would gain or lose a place, and what is needed
before one is used on people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.disclosure.release import Released
from tiltakeval.estimators.heterogeneity.policy.statement import NEEDS
from tiltakeval.report.blocks import Block, Bullets, Panel, Panels, Para, Sub, Table
from tiltakeval.report.canvas import Look
from tiltakeval.report.for_whom_figures import values_panel
from tiltakeval.report.for_whom_tree import TREE, tree_blocks
from tiltakeval.report.for_whom_truth import known
from tiltakeval.report.view import View, number, upper_first

TODAY, LIMITED, EVERYONE = "today", "_limited", "rule_everyone_"
KINDS = ("place_gained", "place_lost", "programme_changed", "unchanged")
#: Shares and months are told per so many persons.
PER = 1_000


def rules(view: View, part: Released, base: str, analysis: str) -> list[Block]:
    """Values, tree and moves of one population; nothing where no rules were asked for."""
    words = view.words
    values = part.select(term="policy_value", subgroup="all")
    if not len(values):
        return []
    position = next(
        (
            i
            for i, item in enumerate(view.material.checks.items)
            if item.key == TREE
            and (item.scope.get("population"), item.scope.get("analysis")) == (base, analysis)
        ),
        None,
    )
    tables = values.table
    main = _main(view, position, set(tables["programme"]))
    return [
        Sub(words("for_whom.rules_head"), 4),
        Para(words("for_whom.rules")),
        *_values(view, part, main),
        *([] if position is None else tree_blocks(view, position)),
        *_moves(view, part, main),
        *_by_group(view, part, main),
    ]


def needed(view: View) -> list[Block]:
    """What must be in place before a rule is used, if rules are shown."""
    items = [item for item in view.material.checks.items if item.key == TREE]
    gate = view.material.for_whom
    if gate is None or not (gate.table["term"] == "policy_value").any():
        return []
    words = view.words
    listed: list[str | tuple[str, str]] = [
        (title, upper_first(text)) for title, text in NEEDS[view.language]
    ]
    uses = dict.fromkeys(str(u) for item in items for u in item.message.get("uses", ()))
    if uses:
        names = words.listed([words.label("grouping", name) for name in uses])
        listed.append((words("for_whom.uses_head"), words("for_whom.uses", names=names)))
    return [
        Sub(words("for_whom.needed_head")),
        Para(words("for_whom.needed")),
        Bullets(listed),
    ]


def _main(view: View, position: int | None, known: set[str]) -> str:
    """The rule whose moves are told."""
    if position is not None:
        return str(view.material.checks.items[position].message["main"])
    return next(n for n in (f"rule_tree{LIMITED}", "rule_tree", *sorted(known)) if n in known)


def rule_name(view: View, rule: str, *, limited: bool) -> str:
    """A rule in words; ``limited``: the study has rules within places, which go by the short names."""
    words = view.words
    if rule.startswith(EVERYONE):
        arm = rule.removeprefix(EVERYONE)
        key = "everyone_none" if arm == "none" else "everyone"
        return words(f"for_whom.{key}", programme=view.short(arm))
    stem = rule.removesuffix(LIMITED)
    free = limited and stem in ("rule_tree", "rule_individual") and not rule.endswith(LIMITED)
    return words(f"for_whom.{stem}{'_free' if free else ''}")


def _scaled(unit: str) -> tuple[float, int]:
    """The factor a value is told with, and decimals."""
    return (
        (float(PER), 0)
        if unit in ("share", "months")
        else (1.0, 0 if unit in ("nok", "usd") else 2)
    )


def _in_words(view: View, row: pd.Series, *, unit: str, extra: int = 0) -> str:
    """A value with its interval, per thousand where it is a share."""
    factor, decimals = _scaled(unit)
    words, more = view.words, decimals + extra
    if np.isnan(number(row, "estimate")):
        return view.rules_symbol if row["status"] == "suppressed" else "–"
    mark = "; " if view.language == "nb" else ", "
    low, high = (words.number(factor * number(row, n), more) for n in ("conf_low", "conf_high"))
    return f"{words.number(factor * number(row, 'estimate'), more)} [{low}{mark}{high}]"


def unit_words(view: View, unit: str) -> str:
    """``per 1 000 persons``, or the unit."""
    if unit in ("share", "months"):
        return view.words(f"for_whom.per_{unit}", per=view.words.number(PER))
    return view.words.unit(unit)


def _values(view: View, part: Released, main: str) -> list[Block]:
    words = view.words
    gate = part.select(term="policy_value", subgroup="all")
    values = gate.table.set_index("programme")
    gains = part.select(term="policy_gain", subgroup="all", comparator=TODAY)
    unit = str(values["unit"].iloc[0])
    limited = main.endswith(LIMITED)
    ends = LIMITED if limited else ""
    first = ["rule_random", f"rule_tree{ends}", f"rule_individual{ends}"]
    order = [TODAY, *first, *(r for r in values.index if r not in (TODAY, *first))]
    order = [rule for rule in order if rule in values.index]
    names = {rule: upper_first(rule_name(view, rule, limited=limited)) for rule in order}
    by_rule = gains.table.set_index("programme")
    lines = [
        [
            names[rule],
            _in_words(view, values.loc[rule], unit=unit),
            _in_words(view, by_rule.loc[rule], unit=unit, extra=1)
            if rule in by_rule.index
            else "–",
        ]
        for rule in order
    ]
    unit_text = unit_words(view, unit)
    heads = [words("for_whom.rule"), words("for_whom.value", unit=unit_text)]
    heads.append(words("for_whom.gain", unit=unit_text))
    true, better = (_true(view, gate) for gate in (gate, gains))
    if true:
        factor, decimals = _scaled(unit)
        shown_at = ((true, decimals), (better, decimals + 1))
        for rule, line in zip(order, lines):
            line += [
                words.number(factor * of[rule], k) if rule in of else "–" for of, k in shown_at
            ]
        heads += [words(f"for_whom.truth_{name}", unit=unit_text) for name in ("value", "gain")]
    shown = [rule for rule in first if rule in by_rule.index]
    own = gains.select(programme=shown)
    factor, decimals = _scaled(unit)
    drawn = list(own.table["programme"])
    said = [f"{names[rule]}: {line[2]}" for rule, line in zip(order, lines) if rule in shown]
    drawing = values_panel(
        own,
        [names[rule] for rule in drawn],
        factor=factor,
        words=words,
        look=Look.of(0),
        key=view.key("values"),
        alt=words("alt.values", text="; ".join(said)),
        label=upper_first(unit_text),
        truth=known(view, own) if better else None,
    )
    table = Table(words("for_whom.caption_values"), heads, lines)
    row = by_rule.loc[main]
    low, high = number(row, "conf_low"), number(row, "conf_high")
    verdict = "up" if low > 0 else "down" if high < 0 else "unclear"
    text = words(
        f"for_whom.rule_{verdict}",
        value=words.number(abs(factor * number(row, "estimate")), decimals + 1),
        interval=_in_words(view, row, unit=unit, extra=1).partition(" ")[2],
        unit=unit_text,
    )
    panel = Panel(words("for_whom.over_today"), drawing)
    legend = [("tick", words("for_whom.legend_truth"))] if better else []
    note = [Para(words("for_whom.truth_note"), "note")] if true else []
    return [Para(text), Panels(words("for_whom.caption_gains"), [panel], legend), table, *note]


def _true(view: View, part: Released) -> dict[str, float]:
    """True values by rule, on invented data."""
    found = known(view, part)
    return {} if found is None else dict(zip(found.table["programme"], found.table["estimate"]))


def _per(view: View, row: pd.Series) -> str:
    """A share per thousand; none, few, or the rule's symbol."""
    value = number(row, "estimate")
    if not np.isnan(value):
        return view.words.number(PER * value, 1 if PER * value < 100 else 0)
    if row["status"] == "suppressed":
        return view.rules_symbol
    count = number(row, "n_treated")
    return view.words.number(0) if count == 0 else view.words("for_whom.few")


def _moves(view: View, part: Released, main: str) -> list[Block]:
    """From today's programmes (rows) to the rule's (columns), per thousand of all."""
    words = view.words
    table = part.select(term="transition", subgroup="all").table
    if table.empty:
        return []
    at = {(str(r["comparator"]), str(r["programme"])): r for _, r in table.iterrows()}
    there = list(dict.fromkeys(table["comparator"].astype(str)))
    names = {arm: _arm(view, arm) for arm in there}
    lines = [
        [upper_first(names[start]), *(_per(view, at[start, end]) for end in there)]
        for start in there
    ]
    moved = [at[a, b] for a in there for b in there if a != b]
    hidden = [np.isnan(number(row, "estimate")) and number(row, "n_treated") != 0 for row in moved]
    if 2 * sum(hidden) > len(moved):
        head: list[Block] = [Sub(words("for_whom.moves_head"), 4)]
        head.append(Para(words("for_whom.moves_hidden")))
        return [*head, *_places(view, part, main, there)]
    heads = [words("for_whom.today_to_rule"), *(upper_first(names[end]) for end in there)]
    caption = words("for_whom.caption_moves", per=words.number(PER))
    blocks: list[Block] = [Sub(words("for_whom.moves_head"), 4), Table(caption, heads, lines)]
    if any(words("for_whom.few") in line for line in lines):
        blocks.append(Para(words("for_whom.few_note", few=words("for_whom.few")), "note"))
    return blocks


def _places(view: View, part: Released, main: str, arms: list[str]) -> list[Block]:
    """Places by programme today and under the rule, per thousand of all: what is told where moves from
    one programme to another are too few."""
    words = view.words
    shares = part.select(term="policy_share", subgroup="all", comparator=[TODAY, main]).table
    at = {(str(r["comparator"]), str(r["programme"])): r for _, r in shares.iterrows()}
    if any((rule, arm) not in at for rule in (TODAY, main) for arm in arms):
        return []
    lines = [
        [upper_first(_arm(view, arm)), *(_per(view, at[rule, arm]) for rule in (TODAY, main))]
        for arm in arms
    ]
    heads = [
        words(f"for_whom.{name}") for name in ("places_programme", "places_today", "places_rule")
    ]
    return [Table(words("for_whom.caption_places", per=words.number(PER)), heads, lines)]


def _arm(view: View, arm: str) -> str:
    return view.words("for_whom.no_programme") if arm == "none" else view.short(arm)


def _by_group(view: View, part: Released, main: str) -> list[Block]:
    """Who would gain or lose a place, by declared group."""
    words = view.words
    kinds = {kind: part.select(term=kind, programme=main).table for kind in KINDS[:3]}
    kinds = {kind: table for kind, table in kinds.items() if len(table)}
    groups = list(dict.fromkeys(s for table in kinds.values() for s in table["subgroup"]))
    by: dict[str, dict[str, Any]] = {
        kind: {str(r["subgroup"]): r for _, r in table.iterrows()} for kind, table in kinds.items()
    }
    lines = [
        [
            upper_first(words.label("subgroup", str(group))),
            *(_per(view, by[kind][group]) if group in by[kind] else "–" for kind in kinds),
        ]
        for group in groups
    ]
    shown = [row for row in lines if any(any(c.isdigit() for c in cell) for cell in row[1:])]
    if not shown:
        return [Para(words("for_whom.by_group_hidden"))] if groups else []
    heads = [words("table.group"), *(words(f"for_whom.{kind}") for kind in kinds)]
    caption = words("for_whom.caption_by_group", per=words.number(PER))
    notes = [Para(words("for_whom.by_group_note"), "note")]
    if KINDS[2] not in kinds:
        notes.insert(0, Para(words("for_whom.changed_few"), "note"))
    return [Table(caption, heads, lines), *notes]
