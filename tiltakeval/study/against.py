"""Programmes against one another on one common population: the estimand ``vs_programme_b``.

The units are participants of any of the programmes compared who could by law have entered all of
them. A single pair is a ``[[contrast]]``: it rides along with an analysis' first estimand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.design.from_population import usable
from tiltakeval.diagnostics.placebo import placebo_outcomes, placebo_together
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators import ESTIMATORS
from tiltakeval.study.against_checks import alike
from tiltakeval.study.estimator import Checked, counted
from tiltakeval.study.spec_parts import Thresholds
from tiltakeval.study.spec_register import AGAINST, Analysis, Base, RegisterStudy

Pairs = tuple[tuple[str, str], ...]
#: What the estimator calls the common population, and what one of two programmes is called.
COMMON, PAIR = "programmes", "either"


def common_pairs(analysis: Analysis, base: Base) -> Pairs:
    """The pairs an analysis compares on one population of a base: those declared, or every pair."""
    if AGAINST not in analysis.estimands:
        return ()
    if analysis.pairs:
        return tuple(pair for pair in analysis.pairs if set(pair) <= set(base.arms))
    return tuple(combinations(base.arms, 2))


def named(pairs: Pairs) -> tuple[str, ...]:
    """The programmes of the pairs, in order."""
    return tuple(dict.fromkeys(key for pair in pairs for key in pair))


def own_pairs(spec: RegisterStudy, analysis: Analysis, base: Base) -> Pairs:
    """The pairs compared on populations of their own, in the pass of the first estimand.

    The ``[[contrast]]`` pairs of the base, and the analysis' common pair when it is the only one and
    the estimator is about participants: the rows would be the same.
    """
    pairs = [(pair.programme, pair.against) for pair in spec.contrast]
    common = common_pairs(analysis, base)
    if common and not takes_a_pass(analysis, base):
        pairs = [*common, *(p for p in pairs if set(p) != set(common[0]))]
    return tuple(pair for pair in pairs if set(pair) <= set(base.arms))


def takes_a_pass(analysis: Analysis, base: Base) -> bool:
    """Whether the common comparison of an analysis is estimated apart from its other estimands."""
    common = common_pairs(analysis, base)
    rides = len(common) == 1 and set(analysis.estimands) != {AGAINST}
    about = ESTIMATORS[analysis.estimator].fixed.get("target")
    return bool(common) and not (rides and about == "att")


def all_pairs(spec: RegisterStudy, base: Base) -> dict[tuple[str, ...], Pairs]:
    """Every set of programmes compared in a base, with the pairs that are reported of it."""
    found: dict[tuple[str, ...], Pairs] = {}
    for analysis in spec.analysis:
        common = common_pairs(analysis, base)
        for pairs in (common, *((pair,) for pair in own_pairs(spec, analysis, base))):
            if pairs:
                found[named(pairs)] = pairs
    return found


def among(design: CrossSection, programmes: Sequence[str]) -> CrossSection:
    """The design with the comparison and these programmes only; covariates they make useless go."""
    kept = [0, *(design.arms.index(key) for key in programmes if key in design.arms)]
    if len(kept) == len(design.arms):
        return design
    part = design.take(np.isin(design.arm, kept))
    code = np.full(len(design.arms), -1, dtype=np.int16)
    code[kept] = np.arange(len(kept), dtype=np.int16)
    x, names, _ = usable(part.covariates, part.covariate_names)
    person = np.unique(part.person, return_inverse=True)[1].astype(np.int64)
    return replace(
        part,
        arms=tuple(design.arms[a] for a in kept),
        arm=code[part.arm],
        eligible=part.eligible[:, kept],
        person=person,
        covariates=x,
        covariate_names=names,
    )


def compare(estimator: Any, design: CrossSection, pairs: Pairs, limits: Thresholds) -> Checked:
    """The pairs on their common population, with checks. Raises InputError when nobody is in it."""
    programmes = named(pairs)
    part = among(design, programmes)
    chosen = replace(estimator, target=COMMON, contrasts=pairs)
    nuisance = chosen.nuisance(part)
    all_rows = chosen.estimate(part, nuisance)
    keep = np.flatnonzero((all_rows.table["comparator"] != design.arms[0]).to_numpy())
    label = f"{design.population}:{COMMON if len(programmes) > 2 else PAIR}"
    found = all_rows.take(keep).assign(population=label)
    checks = [
        *alike(part, nuisance, pairs, limits, label),
        *counted(found, limits),
        *placebo_outcomes(estimates=found, placebo_level=limits.placebo_level),
        *placebo_together(estimates=found, placebo_level=limits.placebo_level),
    ]
    attrition = Attrition.concat([design.attrition, who(part, programmes, label)])
    found = replace(found, attrition=attrition)
    return Checked(with_absent(found, pairs, design, label), checks, nuisance)


def who(design: CrossSection, programmes: Sequence[str], label: str) -> Attrition:
    """Participants of any of the programmes, and those of them who could have entered all."""
    arms = [design.arms.index(key) for key in programmes if key in design.arms]
    inside = np.isin(design.arm, arms)
    rows = []
    for step, mask in (
        ("in_any_compared", inside),
        ("could_enter_all", inside & design.eligible[:, arms].all(axis=1)),
    ):
        rows.append((step, int(np.unique(design.person[mask]).size), int(mask.sum())))
    return Attrition.of(label, rows)


def with_absent(found: Estimates, pairs: Pairs, design: CrossSection, label: str) -> Estimates:
    """The estimates, with a row per outcome for each pair that has too few units to be compared."""
    there = set(zip(found.table["programme"], found.table["comparator"]))
    counts = design.counts()
    rows = [
        {
            "population": label,
            "estimand": design.estimand,
            "programme": one,
            "comparator": other,
            "outcome": outcome,
            "unit": unit,
            "time_origin": design.time_origin,
            "status": "not_supported",
            "n_treated": counts.get(one, 0),
            "n_comparison": counts.get(other, 0),
        }
        for one, other in pairs
        if (one, other) not in there
        for outcome, unit in zip(design.outcome_names, design.units)
    ]
    if not rows:
        return found
    table = pd.concat([found.table, tidy(rows)], ignore_index=True)
    return replace(found, table=table)
