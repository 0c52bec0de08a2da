"""Whom `[[for_whom]]` is about: one outcome, the programmes compared, and fewer units for rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.lockin import CUMULATED_UNIT
from tiltakeval.estimators.heterogeneity.scores import UnitScores
from tiltakeval.study.for_whom_asked import Asked
from tiltakeval.study.spec_for_whom import ForWhom


def one_outcome(asked: Asked, design: CrossSection) -> CrossSection:
    """The design with the outcome asked for alone: at the horizon, or its sum up to it."""
    spec, month = asked.spec, asked.horizon
    if spec.outcome not in design.outcome_names:
        raise unknown("outcome", spec.outcome, design.outcome_names, where="outcome")
    k = design.outcome_names.index(spec.outcome)
    if month is not None and month not in design.horizons:
        raise InputError(
            f"the design has no month {month}",
            where="horizon",
            remedy="Say horizon = a month that is followed.",
        )
    groups = {name: design.subgroups[name] for name in spec.subgroups or design.subgroups}
    own: dict[str, Any] = {
        "outcome_names": (spec.outcome,),
        "subgroups": groups,
        "placebo": None,
        "placebo_names": (),
        "placebo_horizons": (),
    }
    unit = design.units[k]
    if spec.cumulated:
        if design.censor_weight is not None:
            raise InputError(
                "months are censored one by one, so that they can't be added up for each person",
                where=design.estimand,
                remedy="Use the estimand now_vs_wait, or a single month.",
            )
        at = [t for t, h in enumerate(design.horizons) if h is not None and 0 <= h <= (month or 0)]
        total = design.outcomes[:, at, k].astype(np.float64).sum(axis=1)
        own |= {"horizons": (None,), "units": (CUMULATED_UNIT.get(unit, unit),)}
        return replace(design, outcomes=total[:, None, None].astype(np.float32), **own)
    t = 0 if month is None else design.horizons.index(month)
    censor = design.censor_weight
    return replace(
        design,
        outcomes=design.outcomes[:, t : t + 1, k : k + 1],
        horizons=(design.horizons[t],),
        units=(unit,),
        censor_weight=None if censor is None else censor[:, t : t + 1],
        **own,
    )


def compared(design: CrossSection, spec: ForWhom) -> tuple[tuple[str, ...], list[str]]:
    """The arms compared, none first, and programmes left out as too few could have entered all.

    Leaving one out makes those who could have entered all the others more, so one goes at a time.
    """
    wanted = [name for name in design.arms[1:] if name in (spec.programmes or design.arms)]
    if not wanted:
        raise InputError(
            f"none of the programmes is an arm in {design.population}", where="programmes"
        )
    seen = np.isfinite(design.outcomes[:, 0, 0]) & (design.weight > 0)
    few: list[str] = []
    while wanted:
        at = [0, *(design.arms.index(name) for name in wanted)]
        inside = seen & design.eligible[:, at].all(axis=1)
        counts = {n: int((inside & (design.arm == a)).sum()) for n, a in zip(wanted, at[1:])}
        least = min(counts, key=counts.__getitem__)
        if counts[least] >= spec.least:
            return (design.arms[0], *wanted), few
        wanted.remove(least)
        few.append(least)
    raise InputError(
        f"no programme has {spec.least} participants among those who could have entered all",
        where=f"{design.population}, least",
    )


def fewer(scores: UnitScores, units: int | None, seed: int) -> UnitScores:
    """The scores with about ``units`` of those without a programme, drawn by ``seed`` whoever they are,
    their weights raised so that they stand for all: errors come from the participants."""
    without = np.flatnonzero(scores.arm == 0)
    if units is None or without.size <= units:
        return scores
    drawn = np.random.default_rng(seed).permutation(without.size)[:units]
    keep = scores.arm > 0
    keep[without[drawn]] = True
    total, part = scores.weight[without].sum(), scores.weight[without[drawn]].sum()
    out = scores.take(keep)
    raised = np.where(out.arm == 0, total / part, 1.0)
    splits = tuple(replace(one, weight=one.weight * raised) for one in out.splits)
    return replace(out, weight=out.weight * raised, splits=splits)
