"""Regressors of panel regressions: columns by cohort and period, and units gathered by cohort."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.level import standard_covariates
from tiltakeval.estimators.did.two_way.fit import Block, Panel, Regression, collinear_moving
from tiltakeval.estimators.did.varying import known_rows, standard_varying

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """The units of a regression. ``start`` [n]: first treated period, infinite where treatment begins
    after the last one. ``cohorts`` [C] those of the units, in order; ``members`` their units. ``names``
    [q - 1] of the covariates in ``panel.x``, ``moving`` [p] of those that vary with time; ``dropped``
    are collinear among the units, or constant in all of them though said to vary."""

    panel: Panel
    periods: Ints
    start: Floats
    cohorts: Floats
    members: tuple[Ints, ...]
    names: tuple[str, ...]
    dropped: tuple[str, ...]
    moving: tuple[str, ...] = ()

    @cached_property
    def seen(self) -> Bools:
        """[n, T] unit-periods with an outcome."""
        return np.isfinite(self.panel.y)

    @cached_property
    def complete(self) -> bool:
        """Whether every unit has an outcome in every period."""
        return all(bool(self.seen[units].all()) for units in self.members)


def sample_of(
    design: StaggeredPanel, inside: Bools, outcome: int, covariates: bool = True
) -> Sample:
    """The units ``inside`` [n] that have any outcome, in the rows with a value of every covariate that
    varies with time."""
    y = np.ascontiguousarray(design.outcomes[:, :, outcome])
    known = known_rows(design) if covariates else None
    if known is not None:
        y = np.where(known, y, np.nan)
    inside = inside & np.isfinite(y).any(axis=1)
    x = np.zeros((design.n, 0))
    names: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    if covariates:
        x, names, dropped = standard_covariates(design, inside)
    start = np.where(design.first > design.periods[-1], np.inf, design.first)
    cohorts = np.unique(start[inside])
    v: Floats | None = None
    moving: tuple[str, ...] = ()
    if known is not None:
        assert design.varying is not None
        seen = np.isfinite(y) & inside[:, None]
        found = standard_varying(design.varying, seen, design.weight, design.varying_names)
        v, moving = found.values, found.names
        dropped += found.constant
    return Sample(
        panel=Panel(y, design.weight, np.concatenate([np.ones((design.n, 1)), x], axis=1), v),
        periods=design.periods,
        start=start,
        cohorts=cohorts,
        members=tuple(np.flatnonzero(inside & (start == g)) for g in cohorts),
        names=names,
        dropped=dropped,
        moving=moving,
    )


def dropped_of(sample: Sample, found: Regression, nuisance: int) -> tuple[str, ...]:
    """Covariates that say nothing: the sample's, and those that vary with time but only as unit effects
    and the first ``nuisance`` columns of the regression do."""
    return sample.dropped + tuple(sample.moving[j] for j in collinear_moving(found, nuisance))


@dataclass(frozen=True)
class Columns:
    """Regressors in order: ``by_cohort`` maps a cohort to its [T, K] columns, ``owner`` [K] is the
    covariate that multiplies each (-1 - j: the column is the j-th covariate that varies with time). The
    first ``nuisance`` columns are those covariates and period effects."""

    by_cohort: Callable[[float], Floats]
    owner: Ints
    nuisance: int


def with_periods(
    sample: Sample, effects: Callable[[float], Floats], owner: Ints | None = None
) -> Columns:
    """Covariates that vary with time, period effects, those times each covariate, then
    ``effects(cohort)`` [T, m], owned by ``owner`` [m] (default: the constant)."""
    periods, q, p = sample.periods.size, sample.panel.x.shape[1], sample.panel.moving
    dummies = np.tile(np.eye(periods)[:, 1:], (1, q))
    nuisance = np.hstack([np.zeros((periods, p)), dummies]) if p else dummies
    m = effects(float(sample.cohorts[0])).shape[1]
    own = np.zeros(m, dtype=np.int64) if owner is None else owner
    return Columns(
        by_cohort=lambda g: np.hstack([nuisance, effects(g)]),
        owner=np.concatenate([-1 - np.arange(p), np.repeat(np.arange(q), periods - 1), own]),
        nuisance=nuisance.shape[1],
    )


def blocks_of(sample: Sample, columns: Columns, seen: Bools | None = None) -> list[Block]:
    """A block a cohort; ``seen`` [T] limits the periods."""
    return [
        Block(units, columns.by_cohort(float(g)), seen=seen)
        for g, units in zip(sample.cohorts, sample.members)
    ]


def static_columns(sample: Sample) -> Columns:
    """One column: the unit is treated in the period."""
    return with_periods(sample, lambda g: (sample.periods >= g)[:, None].astype(np.float64))


def event_columns(sample: Sample, events: Ints, low: int, high: int) -> Columns:
    """A column for each of ``events`` (periods since the start, the reference left out); periods before
    ``low`` count as ``low``, those after ``high`` as ``high``."""

    def effects(g: float) -> Floats:
        if not np.isfinite(g):
            return np.zeros((sample.periods.size, events.size))
        held = np.clip(sample.periods - int(g), low, high)
        return (held[:, None] == events[None, :]).astype(np.float64)

    return with_periods(sample, effects)


def cell_columns(
    sample: Sample, cells: list[tuple[float, int]], *, centred: bool = False
) -> Columns:
    """A column for each of ``cells`` (cohort, position of its period); with ``centred``, after them the
    same times every covariate (centred at the cohort's mean by the caller's arithmetic)."""

    def effects(g: float) -> Floats:
        out = np.zeros((sample.periods.size, len(cells)))
        for k, (cohort, t) in enumerate(cells):
            if cohort == g:
                out[t, k] = 1.0
        return np.tile(out, (1, q if centred else 1))

    q = sample.panel.x.shape[1]
    owner = np.repeat(np.arange(q if centred else 1), len(cells))
    return with_periods(sample, effects, owner)
