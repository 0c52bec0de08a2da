"""Sections on how the study was made: question, estimand, design, flow, limits, reproduction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tiltakeval.report.blocks import (
    Block,
    Bullets,
    Facts,
    Flow,
    FlowStep,
    Para,
    Sub,
)
from tiltakeval.report.view import View, number, upper_first


def question(view: View) -> list[Block]:
    """The question as the study file puts it, and notes."""
    blocks: list[Block] = [Para(view.material.question[view.language], "lead")]
    note = view.material.notes.get(view.language, "")
    return [*blocks, Para(note)] if note else blocks


def estimand(view: View) -> list[Block]:
    """What the numbers mean, for each estimand in the results."""
    words = view.words
    blocks: list[Block] = []
    told = set(view.single["estimand"]) if view.spells else set(view.estimands)
    for key in view.estimands:
        if not key or key not in told:
            continue
        known = words.has(f"estimand.{key}")
        blocks.append(Sub(upper_first(_estimand_name(view, key))))
        blocks.append(
            Para(words(view.text(f"estimand.{key}")) if known else words("estimand.other"))
        )
    if view.trials:
        origins = list(dict.fromkeys(view.table["time_origin"]))
        blocks += [Para(words(f"origin.{o}")) for o in origins if words.has(f"origin.{o}")]
        blocks.append(Para(words("estimand.chains")))
    own = view.text("estimand.level")
    if words.has(own):
        blocks.append(Para(words(own)))
    if view.spells and not view.single.empty:
        blocks.append(Para(words("estimand.spell_outcomes")))
    if view.material.level == "durations" and view.table["unit"].eq("log").any():
        blocks.append(Para(words("estimand.level_event_history")))
    if view.table["term"].isin(["effect", "placebo"]).any() or view.spells or view.rollout:
        blocks.append(Para(words("estimand.uncertainty")))
        if (view.populations or view.spells or view.trials) and view.table[
            "band_low"
        ].notna().any():
            blocks.append(Para(words("estimand.band")))
    return blocks


def _estimand_name(view: View, key: str) -> str:
    """An estimand's name, as it is for a roll-out where it has one of its own."""
    own = view.text(f"label.estimand.{key}")
    return view.words(own) if view.words.has(own) else view.words.label("estimand", key)


def design(view: View) -> list[Block]:
    """The protocol's facts, in the study's order."""
    words = view.words
    rows = [
        (upper_first(words.label("spec", key)), shown(view, key, value))
        for key, value in view.material.spec.items()
        if value not in (None, "", [], (), {})
    ]
    if not rows:
        return []
    blocks: list[Block] = [Para(words("design.intro"))] if view.trials else []
    own = view.text("design.level")
    if words.has(own):
        blocks.append(Para(words(own)))
    if view.trials:
        blocks.append(
            Bullets(
                [
                    (words(f"design.{k}_head"), words(f"design.{k}"))
                    for k in ("trial", "risk", "covariates", "censoring")
                ]
            )
        )
    return [*blocks, Sub(words("design.protocol")), Facts(rows)]


def shown(view: View, kind: str, value: Any) -> str:
    """A protocol value in words."""
    words = view.words
    if isinstance(value, Mapping):
        if view.language in value:
            return str(value[view.language])
        return "; ".join(f"{words.label('spec', k)}: {shown(view, k, v)}" for k, v in value.items())
    if isinstance(value, bool):
        return words("word.yes" if value else "word.no")
    if isinstance(value, list | tuple):
        if kind in ("entry", "ages", "depth_window", "columns_added") and len(value) == 2:
            return words("word.from_to", low=value[0], high=value[1])
        return ", ".join(shown(view, kind, item) for item in value)
    if isinstance(value, int | float):
        if kind in ("seed", "price_year"):
            return str(value)
        whole = float(value) == round(float(value))
        return words.number(value, 0 if whole else 2)
    text = str(value)
    for table in (kind, "value", "estimand", "covariate", "programme", "outcome", "population"):
        label = words.label(table, text)
        if label != text.replace("_", " "):
            return label
    return text


def flow(view: View) -> list[Block]:
    """Who is left after each filter, one flow per population."""
    table, words = view.material.attrition.table, view.words
    blocks: list[Block] = []
    for population in dict.fromkeys(table["population"]):
        part = table[table["population"] == population]
        steps = []
        for i, (_, row) in enumerate(part.iterrows()):
            left = [
                words(f"flow.{name}", count=words.number(number(row, name)))
                for name in ("persons", "units")
                if not np.isnan(number(row, name))
            ]
            lost = [
                words(f"flow.removed_{name}", count=words.number(number(row, f"removed_{name}")))
                for name in ("persons", "units")
                if number(row, f"removed_{name}") > 0
            ]
            if not left:
                left = [words("flow.hidden", symbol=view.rules_symbol)]
            text = words.label("step", str(row["step"]))
            steps.append(FlowStep(upper_first(text), "; ".join(left), "; ".join(lost) if i else ""))
        title = words("flow.caption", population=view.population(str(population)))
        blocks += [Sub(upper_first(view.population(str(population)))), Flow(title, steps)]
    if table["population"].astype(str).str.endswith(":spells").any():
        blocks.append(Para(words("flow.spells"), "note"))
    if blocks and (table["status"] == "suppressed").any():
        blocks.append(Para(words("flow.note", symbol=view.rules_symbol), "note"))
    return [Para(words(view.text("flow.intro"))), *blocks] if blocks else []


def limits(view: View) -> list[Block]:
    """What the study can't see, said plainly."""
    words = view.words
    randomised = set(view.estimands) <= {"itt_offer", "late"} and bool(view.estimands)
    keys = ["displacement", "cost_benefit", "average", "registers", "many"]
    if view.spells:
        keys = ["censoring", *keys]
    if not randomised:
        keys = ["hidden", *keys]
    if view.populations or view.spells:
        keys.append("beyond")
    if view.rollout:
        keys = ["trends", *(key for key in keys if key != "hidden")]
    if view.material.synthetic:
        keys = ["synthetic", *keys]
    return [Bullets([(words(f"limits.{key}_head"), words(f"limits.{key}")) for key in keys])]


def reproduction(view: View) -> list[Block]:
    """The manifest, and the disclosure rule the page was released under."""
    words, rules = view.words, view.material.estimates.rules
    rows = list(_flat(view.material.manifest, ""))
    rule = words(
        "reproduction.rule",
        name=rules.name,
        dated=rules.dated,
        threshold=rules.threshold,
        symbol=rules.symbol,
    )
    if rules.rounding:
        rule += " " + words("reproduction.rounding", base=rules.rounding)
    blocks: list[Block] = [Para(words("reproduction.intro"))] if rows else []
    said = {"True": words("word.yes"), "False": words("word.no")}
    named = [(upper_first(_manifest_name(view, k)), said.get(v, v)) for k, v in rows]
    blocks += [Facts(named, mono=True)] if named else []
    hidden = int((view.table["status"] == "suppressed").sum())
    share = words(
        "reproduction.hidden", hidden=words.number(hidden), total=words.number(len(view.table))
    )
    return [*blocks, Sub(words("reproduction.disclosure")), Para(f"{rule} {share}")]


def _manifest_name(view: View, key: str) -> str:
    head, _, name = key.partition(".")
    if head == "versions" and name:
        return view.words("reproduction.version", name=name)
    return view.words.label("manifest", key)


def _flat(values: Mapping[str, Any], prefix: str) -> Sequence[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            out += _flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            out.append((name, ", ".join(str(item) for item in value)))
        elif value is not None:
            out.append((name, str(value)))
    return out
