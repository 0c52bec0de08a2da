"""Fits of all transitions on one set of columns, and the scores by group behind their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tiltakeval.design.person_periods import PersonPeriods, StatusLabel
from tiltakeval.errors import InputError
from tiltakeval.estimators.duration.grouped_hazard_steps import Steps, steps_of
from tiltakeval.numerics.glm import HazardCells, HazardFit, Maximum, fit_hazard, fit_shared

Floats = NDArray[np.float64]

#: Codes whose covariates are multiplied at a time.
_CODES = 65536


@dataclass(frozen=True)
class Columns:
    """The columns of a model by code.

    ``x`` [C, p], ``names``, ``enters`` [K, p]; ``status`` [p] the label of programme status, None for
    others; ``within`` [p] the subgroup the column is of, "all" for the whole. ``droppable`` [p] may be
    left out, with the rows in which they are on, when no event or fewer than ``least`` persons are
    behind them; ``on`` and ``off`` [p] count persons ever with it, and ever without any status (-1
    not counted). ``keep`` [C]: codes that take part. ``levels`` [L, C]: the codes of each subgroup
    level; one without events, or ``least`` persons, outside any status tells nothing about status.
    """

    x: NDArray
    names: tuple[str, ...]
    enters: NDArray[np.bool_]
    status: tuple[StatusLabel | None, ...]
    within: tuple[str, ...]
    droppable: NDArray[np.bool_]
    on: NDArray[np.int64]
    off: NDArray[np.int64]
    keep: NDArray[np.bool_]
    least: int = 0
    levels: tuple[NDArray[np.bool_], ...] = ()


@dataclass(frozen=True)
class Transition:
    """One transition's model: its number, columns (positions), steps, columns left out, fit, and the
    place of its coefficients among those fitted together."""

    number: int
    columns: NDArray[np.int64]
    steps: Steps
    left_out: tuple[int, ...]
    fit: HazardFit
    maximum: Maximum
    cells: NDArray[np.int64]
    first: int

    @property
    def width(self) -> int:
        """Number of coefficients."""
        return self.steps.count + self.columns.size


@dataclass(frozen=True)
class Model:
    """How hazards are modelled: ``link``, whether exits share intervals exactly, and the steps."""

    link: str
    shared: bool
    steps: Floats
    step_events: int


def fit_columns(
    periods: PersonPeriods, columns: Columns, model: Model, wanted: Sequence[int]
) -> list[Transition]:
    """Fit the wanted transitions on the columns. Raises InputError (see ``numerics.glm``)."""
    plans = [_plan(periods, columns, model, j) for j in wanted]
    if not model.shared:
        found = []
        for plan in plans:
            maximum = fit_hazard(_cells(periods, columns, model, plan, plan.cells), model.link)
            found.append(_done(periods, plan, maximum, 0, 0, plan.cells))
        return found
    together = np.unique(np.concatenate([plan.cells for plan in plans]))
    maximum = fit_shared([_cells(periods, columns, model, plan, together) for plan in plans])
    found, first = [], 0
    for position, plan in enumerate(plans):
        found.append(_done(periods, plan, maximum, position, first, together))
        first += found[-1].width
    return found


@dataclass(frozen=True)
class _Plan:
    number: int
    columns: NDArray[np.int64]
    left_out: tuple[int, ...]
    steps: Steps
    cells: NDArray[np.int64]


def _plan(periods: PersonPeriods, columns: Columns, model: Model, j: int) -> _Plan:
    at_risk = periods.at_risk[:, j] & columns.keep
    events = periods.events[:, j]
    entering = np.flatnonzero(columns.enters[j])
    codes = columns.x.shape[0]
    by_code = np.bincount(periods.code, weights=events, minlength=codes) * at_risk
    if columns.levels:
        flags = [c for c, label in enumerate(columns.status) if label is not None]
        calm = ~(np.asarray(columns.x[:, flags]) != 0).any(axis=1)
        for inside in columns.levels:
            if by_code[inside & calm].sum() <= 0:
                at_risk = at_risk & ~inside
    left_out = []
    for c in entering[columns.droppable[entering]]:
        on = np.asarray(columns.x[:, c]) != 0
        few = 0 <= columns.on[c] < columns.least or 0 <= columns.off[c] < columns.least
        if few or by_code[on & at_risk].sum() <= 0:
            left_out.append(int(c))
            at_risk = at_risk & ~on
    for c in entering[columns.droppable[entering]]:
        if c not in left_out and (np.asarray(columns.x[at_risk, c]) != 0).all():
            left_out.append(int(c))
    inside = at_risk[periods.code] & (periods.trials > 0)
    cells = np.flatnonzero(inside)
    if not cells.size:
        raise InputError("nobody is ever at risk", where=f"exit '{periods.transitions[j]}'")
    of_time = periods.time[cells]
    steps = steps_of(
        periods.edges,
        np.bincount(of_time, weights=periods.trials[cells], minlength=periods.periods),
        np.bincount(of_time, weights=periods.counts[cells, j], minlength=periods.periods),
        steps=model.steps,
        least=model.step_events,
    )
    used = entering[~np.isin(entering, left_out)]
    return _Plan(j, used, tuple(left_out), steps, cells)


def _cells(
    periods: PersonPeriods, columns: Columns, model: Model, plan: _Plan, cells: NDArray[np.int64]
) -> HazardCells:
    at_risk = periods.exposure if model.link == "exponential" else periods.trials
    inside = np.isin(cells, plan.cells, assume_unique=True) if cells is not plan.cells else True
    x = columns.x
    if plan.columns.size < x.shape[1]:
        x = x[:, plan.columns]
    step = plan.steps.of_time[periods.time[cells]]
    return HazardCells(
        x=x,
        code=periods.code[cells],
        step=np.maximum(step, 0),
        steps=plan.steps.count,
        trials=np.where(inside, at_risk[cells], 0.0),
        events=np.where(inside, periods.events[cells, plan.number], 0.0),
        names=tuple(columns.names[c] for c in plan.columns),
        labels=tuple(plan.steps.label(s) for s in range(plan.steps.count)),
        exit=periods.transitions[plan.number],
    )


def _done(
    periods: PersonPeriods,
    plan: _Plan,
    maximum: Maximum,
    position: int,
    first: int,
    cells: NDArray[np.int64],
) -> Transition:
    return Transition(
        number=plan.number,
        columns=plan.columns,
        steps=plan.steps,
        left_out=plan.left_out,
        fit=maximum.fits[position],
        maximum=maximum,
        cells=cells,
        first=first,
    )


def influence(
    periods: PersonPeriods,
    columns: Columns,
    fitted: Sequence[Transition],
    group: NDArray[np.integer],
    groups: int,
    *,
    exponential: bool,
) -> list[Floats]:
    """Influence [groups, width] of each transition's coefficients: scores summed by the group of each
    cluster (``group`` [clusters]), times the inverse of minus the Hessian. One pass over the rows.

    A row's score is (its cell's row score) x (step, covariates), so summing residuals to (group, code)
    and (group, time) sparse sums first leaves one matrix product with the covariates by code.
    """
    m, t = periods.cells, periods.periods
    scores = [np.zeros((groups, tr.width)) for tr in fitted]
    full = []
    for tr in fitted:
        own = np.zeros((3, m))
        own[:, tr.cells] = tr.fit.a, tr.fit.d, tr.fit.b
        full.append(own)
    times = [np.zeros(groups * t) for _ in fitted]
    for batch in periods.batches():
        of_row = group[batch.cluster].astype(np.int64)
        code, at = periods.code[batch.cell], of_row * t + periods.time[batch.cell]
        trials = batch.exposure if exponential else batch.weight
        happened = np.where(batch.event > 0, batch.weight, 0.0)
        for k, tr in enumerate(fitted):
            a, d, b = full[k]
            residual = trials * b[batch.cell]
            mine = np.flatnonzero(happened)
            hit = batch.event[mine] == tr.number + 1
            residual[mine] += happened[mine] * (
                d[batch.cell[mine]] + np.where(hit, a[batch.cell[mine]], 0.0)
            )
            if tr.columns.size:
                summed = _by_group(residual, code, of_row, groups, columns.x)
                scores[k][:, tr.steps.count :] += summed[:, tr.columns]
            times[k] += np.bincount(at, weights=residual, minlength=groups * t)
    for k, tr in enumerate(fitted):
        by_time = times[k].reshape(groups, t)
        for step in range(tr.steps.count):
            scores[k][:, step] = by_time[:, tr.steps.of_time == step].sum(axis=1)
    found = []
    for tr in fitted:
        with_it = [k for k, other in enumerate(fitted) if other.maximum is tr.maximum]
        joint = np.concatenate([scores[k] for k in with_it], axis=1)
        place = slice(tr.first, tr.first + tr.width)
        found.append(joint @ tr.maximum.covariance[:, place])
    return found


def _by_group(
    residual: Floats,
    code: NDArray[np.int64],
    group: NDArray[np.int64],
    groups: int,
    x: NDArray,
) -> Floats:
    """[groups, p] sums of residual x covariates of the code; ``x`` may be of any type."""
    codes = x.shape[0]
    spread = sparse.csr_array((residual, (code, group)), (codes, groups))
    out = np.zeros((groups, x.shape[1]))
    for i in range(0, codes, _CODES):
        part = spread[i : i + _CODES]
        if part.nnz:
            out += part.T @ np.asarray(x[i : i + _CODES], dtype=np.float64)
    return out
