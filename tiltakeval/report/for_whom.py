"""What works for whom: effects by group on the same people, and which parts follow. Decision support:
about groups, never about one person."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Bullets, Panel, Panels, Para, Sub, Table
from tiltakeval.report.for_whom_figures import group_forest
from tiltakeval.report.for_whom_policy import needed, rules
from tiltakeval.report.for_whom_predicted import of_whom, predicted
from tiltakeval.report.for_whom_truth import known, true_text
from tiltakeval.report.hidden import KEY as HIDDEN
from tiltakeval.report.hidden import contours, sentences
from tiltakeval.report.profiles import joint_limits
from tiltakeval.report.tables import cell, interval, with_interval
from tiltakeval.report.view import View, number, upper_first
from tiltakeval.report.words import SCALE

EQUAL, BALANCED = "test_equal_effects", "test_equal_effects_balanced"
#: Tests below this are called signs of a difference.
LEVEL = 0.05
NOT_MADE, LEFT_OUT = "for_whom_not_made", "for_whom_programmes"


def for_whom(view: View) -> list[Block]:
    """Effects by group, by predicted effect, targeting, rules, and what is needed before one is used."""
    gate, words = view.material.for_whom, view.words
    if gate is None or not len(gate):
        return []
    blocks: list[Block] = []
    table = gate.table
    several = table["analysis"].nunique() > 1
    for population, analysis in dict.fromkeys(zip(table["population"], table["analysis"])):
        part = gate.select(population=population, analysis=analysis)
        head = upper_first(view.population(str(population)))
        if several:
            head = f"{head}: {words.label('analysis', str(analysis))}"
        base = str(population).split(":")[0]
        blocks += [
            Sub(head),
            *_about(view, part, base, str(analysis)),
            *_hidden(view, part, base, str(analysis)),
            *_groups(view, part),
            *predicted(view, part),
            *rules(view, part, base, str(analysis)),
        ]
    made = [Para(text) for text in _not_made(view)]
    kinds = [of_whom(gate.select(population=p), "for_whom.intro") for p in set(table["population"])]
    intro = [Para(words("for_whom.label"), "lead"), Para(words(max(kinds)))]
    return [*intro, *blocks, *made, *needed(view)]


def for_whom_answer(view: View) -> list[Block]:
    """One sentence for the short answer: whether effects differ between the groups looked at."""
    gate, words = view.material.for_whom, view.words
    if gate is None:
        return []
    tests = gate.select(term=EQUAL, programme="all", subgroup="all").table
    tests = tests[tests["p_value"].notna()]
    if tests.empty:
        return []
    found = tests.loc[tests["p_value"] < LEVEL, "population"]
    who = [view.words.label("population", str(p).split(":")[0]) for p in dict.fromkeys(found)]
    section = words("section.for_whom")
    if who:
        return [Para(words("for_whom.answer_some", who=words.listed(who), section=section))]
    return [Para(words("for_whom.answer_none", section=section))]


def programmes(view: View, part: Released) -> list[str]:
    """Programmes of the part, in the study's order."""
    there = set(part.select(term="effect", subgroup="all").table["programme"])
    known = [key for key in view.programmes if key in there]
    return known + sorted(there - set(known))


def when(view: View, table: pd.DataFrame) -> str:
    """``24 months after the decision``, ``months 0-24 added up``, or nothing."""
    words, row = view.words, table.iloc[0]
    origin = words.label("origin", str(row["time_origin"]))
    if row["period"]:
        return words("for_whom.when_sum", last=str(row["period"]).rsplit("-", 1)[-1], origin=origin)
    if pd.isna(row["horizon"]):
        return ""
    return words("for_whom.when", month=words.number(number(row, "horizon")), origin=origin)


def title_of(view: View, part: Released) -> str:
    """Outcome and time, as captions have them."""
    table = part.select(term="effect", subgroup="all").table
    name = upper_first(view.outcome(str(table["outcome"].iloc[0])))
    return ", ".join(text for text in (name, when(view, table)) if text)


def _about(view: View, part: Released, base: str, analysis: str) -> list[Block]:
    """Whom the numbers are about, and the average effects among them."""
    words, keys = view.words, programmes(view, part)
    average = part.select(term="effect", subgroup="all")
    table = average.table.set_index("programme", drop=False)
    key = of_whom(part, "for_whom.about" if len(keys) > 1 else "for_whom.about_one")
    names = words.listed([view.short(p) for p in keys])
    blocks: list[Block] = [Para(words(key, programmes=names))]
    few = [
        view.short(str(item.scope["programme"]))
        for item in view.material.checks.items
        if item.key == LEFT_OUT
        and (item.scope.get("population"), item.scope.get("analysis")) == (base, analysis)
    ]
    if few:
        blocks.append(Para(words("for_whom.left_out", programmes=words.listed(few)), "note"))
    unit = str(table["unit"].iloc[0])
    lines = [
        [
            upper_first(view.programme(key)),
            with_interval(table.loc[key], view, unit),
            cell(table.loc[key], "n_treated", view, unit),
        ]
        for key in keys
    ]
    true = known(view, average)
    if true is not None:
        lines = [
            [*line[:2], true_text(view, true, key, unit), line[2]] for key, line in zip(keys, lines)
        ]
    columns = ["table.programme", "for_whom.average", "table.n_treated"]
    columns[2:2] = [] if true is None else ["for_whom.truth"]
    heads = [words(view.text(name), unit=words.unit(unit)) for name in columns]
    caption = words(of_whom(part, "for_whom.caption_average"), title=title_of(view, part))
    return [*blocks, Table(caption, heads, lines)]


def _hidden(view: View, part: Released, base: str, analysis: str) -> list[Block]:
    """How strong an unseen factor would have to be for the average effects."""
    places = [
        i
        for i, item in enumerate(view.material.checks.items)
        if item.key == HIDDEN
        and (item.scope.get("population"), item.scope.get("analysis")) == (base, analysis)
    ]
    said = sentences(view, places, population=False)
    if not said:
        return []
    head, text = (view.words(f"for_whom.hidden{name}") for name in ("_head", ""))
    drawn = contours(view, places, part, population=False)
    return [Sub(head, 4), Para(text), Bullets(said), *drawn]


def _groups(view: View, part: Released) -> list[Block]:
    """Effects by declared group, a panel per programme, with the tests in words."""
    words = view.words
    gates = {
        key: gate
        for key in programmes(view, part)
        if len(gate := _levels(part, key, "effect")) and gate.table["estimate"].notna().any()
    }
    if not gates:
        return []
    true = {key: known(view, gate, programme=key) for key, gate in gates.items()}
    limits = joint_limits(list(gates.values()), list(true.values()))
    panels, said = [], []
    for key, gate in gates.items():
        table, name = gate.table, view.programme(key)
        names = [words.label("subgroup", str(s)) for s in table["subgroup"]]
        text = _tests(view, part, key)
        if text:
            said.append((upper_first(name), text))
        average = part.select(programme=key, term="effect", subgroup="all").table.iloc[0]
        unit = str(average["unit"])
        drawing = group_forest(
            gate,
            _levels(part, key, "effect_shrunk"),
            names,
            average=number(average, "estimate") * SCALE.get(unit, 1.0),
            words=words,
            look=view.look(key),
            key=view.key("groups"),
            alt=words("alt.forest", title=name, count=len(table), text=_spread(view, table, names)),
            limits=limits,
            truth=true[key],
        )
        numbers = _numbers(view, part, key, gate, names)
        panels.append(Panel(name, drawing, numbers))
    legend = [
        ("bar", words("for_whom.legend_own")),
        ("line", words("for_whom.legend_joint")),
        ("diamond", words("for_whom.legend_shrunk")),
        ("dashed", words(of_whom(part, "for_whom.legend_average"))),
    ]
    if any(found is not None for found in true.values()):
        legend.append(("tick", words("for_whom.legend_truth")))
    caption = words("for_whom.caption_groups", title=title_of(view, part))
    joint = part.select(term=EQUAL, programme="all", subgroup="all").table
    blocks: list[Block] = [Sub(words("for_whom.groups_head"), 4)]
    if len(joint) and np.isfinite(number(joint.iloc[0], "p_value")):
        differs = number(joint.iloc[0], "p_value") < LEVEL
        blocks.append(Para(words(f"for_whom.joint_{'some' if differs else 'none'}")))
    blocks += [Panels(caption, panels, legend)]
    if said:
        blocks.append(Bullets(said))
    return [*blocks, Para(words("for_whom.groups_note"), "note")]


def _levels(part: Released, programme: str, term: str) -> Released:
    """Rows of declared groups."""
    rows = part.select(programme=programme, term=term).table["subgroup"].astype(str)
    wanted = [s for s in rows if "=" in s and not s.startswith("predicted_")]
    return part.select(programme=programme, term=term, subgroup=wanted)


def _tests(view: View, part: Released, programme: str) -> str:
    """Which groupings the effect differs by, and whether it still does with the others held alike."""
    words = view.words
    plain = _p_values(part, programme, EQUAL)
    alike = _p_values(part, programme, BALANCED)
    if not plain:
        return ""
    names = {key: words.label("grouping", key) for key in plain}
    some = [key for key, p in plain.items() if p < LEVEL]
    none = [names[key] for key in plain if key not in some]
    texts = []
    kept = [names[k] for k in some if alike.get(k, 1.0) < LEVEL]
    lost = [names[k] for k in some if k in alike and not alike[k] < LEVEL]
    rest = [names[k] for k in some if k not in alike]
    for key, found in (("kept", kept), ("lost", lost), ("some", rest), ("none", none)):
        if found:
            texts.append(words(f"for_whom.test_{key}", groups=words.listed(found)))
    return " ".join(texts)


def _p_values(part: Released, programme: str, term: str) -> dict[str, float]:
    table = part.select(programme=programme, term=term).table
    rows = table[(table["subgroup"] != "all") & table["p_value"].notna()]
    return dict(zip(rows["subgroup"].astype(str), rows["p_value"].astype(float)))


def _spread(view: View, table: pd.DataFrame, names: list[str]) -> str:
    """The lowest and the highest group, for the alternative text."""
    words, unit = view.words, str(table["unit"].iloc[0])
    seen = table["estimate"].notna().to_numpy()
    if not seen.any():
        return ""
    values = table["estimate"].astype(float).to_numpy()
    low, high = int(np.nanargmin(values)), int(np.nanargmax(values))
    return words(
        "for_whom.spread",
        low=words.amount(float(values[low]), unit),
        low_group=names[low],
        high=words.amount(float(values[high]), unit),
        high_group=names[high],
        unit=words.unit(unit),
    )


def _numbers(view: View, part: Released, key: str, gate: Released, names: list[str]) -> Table:
    """The numbers behind a panel: effect, joint interval, drawn towards the average, held alike."""
    words, table = view.words, gate.table
    unit = str(table["unit"].iloc[0])
    beside = {
        term: _levels(part, key, term).table.set_index("subgroup")
        for term in ("effect_shrunk", "effect_balanced")
    }
    beside = {term: rows for term, rows in beside.items() if len(rows)}
    columns = ["table.group", "for_whom.effect", "for_whom.joint_interval"]
    heads = [words(name, unit=words.unit(unit)) for name in columns]
    heads += [words(f"for_whom.{term}") for term in beside]
    heads += [words(view.text("table.n_treated"))]
    true = known(view, gate, programme=key)
    heads[1:1] = [] if true is None else [words("for_whom.truth", unit=words.unit(unit))]
    lines = []
    for name, (_, row) in zip(names, table.iterrows()):
        line = [name, with_interval(row, view, unit), interval(row, "band", view, unit)]
        for rows in beside.values():
            own = row["subgroup"]
            line.append(with_interval(rows.loc[own], view, unit) if own in rows.index else "–")
        if true is not None:
            line.insert(1, true_text(view, true, key, unit, str(row["subgroup"])))
        lines.append([*line, cell(row, "n_treated", view, unit)])
    caption = f"{upper_first(view.programme(key))}: {title_of(view, part)}"
    return Table(caption, heads, lines, folded=words("table.show_numbers"))


def _not_made(view: View) -> list[str]:
    """What the data couldn't carry."""
    words = view.words
    found = [item.scope for item in view.material.checks.items if item.key == NOT_MADE]
    return [
        words("for_whom.not_made", population=words.label("population", str(scope["population"])))
        for scope in found
    ]
