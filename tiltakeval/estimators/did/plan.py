"""Which cohorts are compared in which periods, from which base, with whom: before any outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.did.reasons import Reason, Why

Floats = NDArray[np.float64]
Kind = Literal["before", "anticipated", "effect"]
Comparison = Literal["never", "not_yet", "last"]
Base = Literal["varying", "universal"]
#: Who a cohort is compared with, by the names that users may write.
OTHERS: Mapping[str, Comparison] = {
    "never": "never",
    "not_yet": "not_yet",
    "never_treated": "never",
    "not_yet_treated": "not_yet",
}
COMPARISONS: Mapping[str, Comparison] = {**OTHERS, "last": "last"}
NOT_YET = "Say comparison=not_yet to compare with units treated later."


@dataclass(frozen=True)
class Cell:
    """A cohort (its first treated period) in the period ``t``, against the period ``b`` (positions).

    ``kind`` is ``before`` (a placebo), ``anticipated`` (treatment is known, not begun) or ``effect``.
    Comparison units are first treated later than ``after``; with ``only``, in that period. ``reason``
    tells why there is no base.
    """

    cohort: float
    t: int
    b: int
    kind: Kind
    after: float
    reason: str = ""
    only: float | None = None


def cells(
    design: StaggeredPanel, *, comparison: Comparison, base: Base, anticipation: int
) -> Iterator[Cell]:
    """Every cohort and period, in order. Callaway & Sant'Anna (2021, Journal of Econometrics 225).

    Effects and anticipated periods are measured from the last period more than ``anticipation`` before
    the start; periods before that from the period just before them (``varying``) or from the same base
    (``universal``, whose base period is zero by definition and no cell). The first period has no
    varying cell. Units first treated more than ``anticipation`` after the last period are never treated
    as far as the panel goes; units treated between are no cohort, but are not yet treated. With
    ``last`` the cohort treated last is the comparison, and no cohort: there are cells until it may be
    affected, and units never treated aren't used.
    """
    grid = design.periods
    edge = float(grid[-1]) + anticipation
    last = float(design.cohorts[-1]) if comparison == "last" and design.cohorts.size else None
    if last is not None:
        grid = grid[grid < last - anticipation]
    for g in design.cohorts:
        if not grid.size or g > grid[-1] or g == last:
            continue
        clear = np.flatnonzero(grid < g - anticipation)
        for t in range(grid.size):
            kind: Kind = "effect" if grid[t] >= g else "anticipated"
            b = int(clear[-1]) if clear.size else -1
            if grid[t] < g - anticipation:
                kind = "before"
                if base == "varying":
                    b = t - 1
                if b in (-1, t):
                    continue
            if b < 0:
                if kind == "effect":
                    why = "no period before treatment"
                    if anticipation:
                        why += " and its anticipation"
                    yield Cell(float(g), t, b, kind, edge, Reason(Why.NO_PERIOD_BEFORE, why))
                continue
            after = edge
            if comparison == "not_yet":
                after = min(edge, float(max(grid[t], grid[b])) + anticipation)
            yield Cell(float(g), t, b, kind, after, only=last)


def compared(starts: Floats, cell: Cell) -> tuple[int, tuple[int, ...]]:
    """Positions among ``starts`` (first treated periods in order) of the cell's cohort, -1 when it
    isn't among them, and of the cohorts it is compared with."""
    own = np.flatnonzero(starts == cell.cohort)
    found = starts > cell.after if cell.only is None else starts == cell.only
    others = np.flatnonzero(found & (starts != cell.cohort))
    return int(own[0]) if own.size else -1, tuple(int(c) for c in others)


def planned(
    design: StaggeredPanel, *, comparison: Comparison, base: Base, anticipation: int
) -> list[Cell]:
    """The cells of `cells`. Raises InputError where there are none."""
    plan = list(cells(design, comparison=comparison, base=base, anticipation=anticipation))
    if not plan:
        raise InputError(
            "no cohort is treated before the comparison is",
            where="comparison",
            remedy="Say comparison=not_yet, or leave out what comes before the last cohort.",
        )
    return plan


def refuse_no_never(design: StaggeredPanel, anticipation: int, remedy: str = NOT_YET) -> None:
    """Raise InputError unless some unit is untreated, and doesn't anticipate, in all periods."""
    if not (design.first > float(design.periods[-1]) + anticipation).any():
        raise InputError("no unit is never treated", where="comparison", remedy=remedy)


def check_options(
    estimator: Any, choices: Mapping[str, Sequence[str]], least: Mapping[str, int]
) -> None:
    """Raise InputError for an option that isn't among its choices, a number below its least, or a
    level that is none."""
    for name, valid in choices.items():
        if getattr(estimator, name) not in valid:
            raise unknown("choice", str(getattr(estimator, name)), valid, where=name)
    for name, low in least.items():
        if getattr(estimator, name) < low:
            raise InputError(f"{name} is a whole number, at least {low}", where=name)
    if not 0.5 < estimator.level < 1:
        raise InputError("the level must lie between 0.5 and 1", where="level")
