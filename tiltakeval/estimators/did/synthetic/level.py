"""One outcome in one subgroup: cohorts' effects as cells, what the fit left, what the run tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError
from tiltakeval.estimators.did.beside import Beside
from tiltakeval.estimators.did.cells.batches import Support
from tiltakeval.estimators.did.level import Fitted, Level, standard_covariates
from tiltakeval.estimators.did.plan import Cell
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.synthetic.cohort import CohortFit, Method, Solver
from tiltakeval.estimators.did.synthetic.errors import bootstrapped, left_out, placebos
from tiltakeval.estimators.did.synthetic.problem import Problem, Span, fits
from tiltakeval.estimators.did.synthetic.told import left_before, support_of, told_of
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
How = Literal["jackknife", "placebo", "bootstrap"]


@dataclass(frozen=True)
class Plan:
    """Which periods are used [T], which units compare [n], and the cohorts, those with too few periods
    before treatment apart."""

    used: Bools
    others: Bools
    spans: tuple[Span, ...]
    short: tuple[float, ...]


@dataclass(frozen=True)
class Choices:
    """How effects and errors are had; see `SyntheticDiD`."""

    method: Method
    solver: Solver
    zeta: float | None
    how: How
    resamples: int
    seed: int
    leave_out: bool


@dataclass(frozen=True)
class Found:
    """The cells, the rows beside them, what the run tells; ``df`` of errors that come from draws."""

    level: Level
    beside: tuple[Beside, ...] = ()
    told: tuple[dict[str, Any], ...] = ()
    df: float = np.nan
    p_value: float = np.nan


def plan_of(design: StaggeredPanel, *, comparison: str, anticipation: int, least: int) -> Plan:
    """Periods, comparison units and cohorts. Raises InputError where nobody is left to compare with."""
    grid = design.periods
    edge = float(grid[-1]) + anticipation
    used = np.ones(grid.size, dtype=bool)
    others = design.first > edge
    cohorts = design.cohorts[design.cohorts <= grid[-1]]
    if comparison == "last":
        last = cohorts[-1]
        used = grid < last - anticipation
        others, cohorts = design.first == last, cohorts[:-1]
        cohorts = cohorts[cohorts <= grid[used][-1]] if used.any() else cohorts[:0]
        if not cohorts.size:
            raise InputError(
                "no cohort is treated before the last one may be affected", where="comparison"
            )
    elif not others.any():
        raise InputError(
            "no unit is never treated",
            where="comparison",
            remedy="Say comparison=last: the cohort treated last, until it is.",
        )
    spans, short = [], []
    for g in cohorts:
        before = used & (grid < g - anticipation)
        if before.sum() < least:
            short.append(float(g))
            continue
        spans.append(Span(float(g), before[used], (grid >= g)[used]))
    return Plan(used, others, tuple(spans), tuple(short))


def estimate_level(
    design: StaggeredPanel,
    plan: Plan,
    inside: Bools,
    outcome: int,
    groups: Groups,
    choices: Choices,
    *,
    anticipation: int,
    stream: int,
) -> Found:
    """The cohorts' cells among the units ``inside`` [n]; ``stream`` sets draws of levels apart."""
    grid = np.flatnonzero(plan.used)
    ahead = {s.cohort: [int(t) for t in grid if s.cohort - anticipation <= design.periods[t] < s.cohort]
             for s in plan.spans}  # fmt: skip
    reason: dict[float, str] = {
        g: Reason(Why.NO_PERIOD_BEFORE, "fewer than two periods before treatment")
        for g in plan.short
    }
    at, gone = _complete(design, plan, inside, outcome, leave_out=choices.leave_out)
    seen = set(design.first[at][~plan.others[at]])
    spans = [s for s in plan.spans if s.cohort in seen]
    reason |= {
        s.cohort: Reason(Why.NOT_SEEN, "no unit of the cohort")
        for s in plan.spans
        if s not in spans
    }
    used = np.zeros(design.n, dtype=bool)
    used[at] = True
    x, _, dropped = standard_covariates(design, used)
    if plan.others[at].sum() < x.shape[1] + 2:
        why = Reason(Why.TOO_FEW, f"fewer than {x.shape[1] + 2} units to compare with")
        reason |= {s.cohort: why for s in spans}
        spans = []
    nothing = Level(_cells(design, plan, {}, reason, ahead), dropped, ())
    if not spans:
        return Found(nothing)
    code = np.full(at.size, -1, dtype=np.int64)
    for c, span in enumerate(spans):
        code[(design.first[at] == span.cohort) & ~plan.others[at]] = c
    problem = Problem(
        y=design.outcomes[np.ix_(at, grid)][:, :, outcome],
        weight=_relative(design.weight[at], code),
        code=code,
        spans=tuple(spans),
        x=x[at],
        varying=None if design.varying is None else design.varying[np.ix_(at, grid)],
        method=choices.method,
        solver=choices.solver,
        zeta=choices.zeta,
    )
    try:
        found = fits(problem)
        z, draws = _errors(design, groups, problem, found, at, choices, stream)
    except InputError as error:
        if stream == 0:  # all units: nothing else is estimated either
            raise
        reason |= {s.cohort: Reason(Why.TOO_FEW, error.what) for s in spans}
        return Found(Level(_cells(design, plan, {}, reason, ahead), dropped, ()))
    df = np.nan
    if choices.how == "placebo":
        df = float(np.unique(design.cluster[at[code < 0]]).size - 1)
    done: dict[float, tuple[CohortFit, Floats | None, Support]] = {}
    for c, span in enumerate(spans):
        own = z[c]
        if isinstance(own, str):
            reason[span.cohort] = own
        done[span.cohort] = (
            found[c],
            None if isinstance(own, str) else own,
            support_of(design, at, code, c, found[c], problem.weight),
        )
    cells = _cells(design, plan, done, reason, ahead)
    size = {s.cohort: float(design.weight[at[code == c]].sum()) for c, s in enumerate(spans)}
    good = [one for one in cells if one.z is not None]
    mass = np.array([size[one.cell.cohort] for one in good])
    zs = np.stack([one.z for one in good if one.z is not None], axis=1) if good else None
    level = Level(
        cells,
        dropped,
        (),
        mass=mass,
        combine=None if zs is None else lambda row: zs @ row.cells,
    )
    p_value = np.nan
    if draws is not None:
        post = np.stack([s.after for s in spans]) * np.array([[size[s.cohort]] for s in spans])
        share = post / post.sum()
        point = sum(float(share[c] @ fit.effects) for c, fit in enumerate(found))
        drawn = np.einsum("bct,ct->b", draws, share)
        p_value = float((1 + (np.abs(drawn) >= abs(point)).sum()) / (1 + drawn.size))
    told = tuple(told_of(design, problem, at, grid, c, found[c], gone) for c in range(len(spans)))
    return Found(level, left_before(design, grid, spans, done, size), told, df, p_value)


def _errors(
    design: StaggeredPanel,
    groups: Groups,
    problem: Problem,
    found: Sequence[CohortFit],
    at: Ints,
    choices: Choices,
    stream: int,
) -> tuple[list[Floats | str], Floats | None]:
    """By cohort what errors are made of (influence by cluster, or draws less their mean), or why there
    is nothing; and the draws [B, cohorts, T]."""
    if choices.how == "jackknife":
        label = groups.label[at].astype(np.int64)
        return left_out(problem, found, label, groups.count), None
    seed = int(np.random.SeedSequence([choices.seed, stream]).generate_state(1)[0])
    if choices.how == "placebo":
        draws, _ = placebos(problem, found, design.cluster[at], draws=choices.resamples, seed=seed)
    else:
        draws = bootstrapped(problem, found, design.cluster[at], draws=choices.resamples, seed=seed)
    away = (draws - draws.mean(axis=0)) * (np.sqrt(draws.shape[0] - 1) / draws.shape[0])
    few, most = draws.shape[0], choices.resamples
    if few < most:  # every way there is: as many rows as elsewhere, the same variance
        fill = np.zeros((most - few, *away.shape[1:]))
        away = np.concatenate([away, fill]) * np.sqrt(few / (few - 1) * (most - 1) / most)
    return [away[:, c] for c in range(len(problem.spans))], draws


def _relative(weight: Floats, code: Ints) -> Floats:
    """Weights with mean one among the units compared with: what a weight means to the penalty."""
    return np.asarray(weight / weight[code < 0].mean(), dtype=np.float64)


def _complete(
    design: StaggeredPanel,
    plan: Plan,
    inside: Bools,
    outcome: int,
    *,
    leave_out: bool,
) -> tuple[Ints, int]:
    """The units used, and how many were left out for gaps. Raises InputError where there are some."""
    treated = np.isin(design.first, [s.cohort for s in plan.spans])
    at = np.flatnonzero(inside & (plan.others | treated))
    y = design.outcomes[np.ix_(at, np.flatnonzero(plan.used))][:, :, outcome]
    complete = np.isfinite(y).all(axis=1)
    if design.varying is not None:
        complete &= np.isfinite(design.varying[np.ix_(at, np.flatnonzero(plan.used))]).all(
            axis=(1, 2)
        )
    gone = int((~complete).sum())
    if gone and not leave_out:
        raise InputError(
            f"{gone} of {at.size} units have no value in one of {int(plan.used.sum())} periods",
            where=f"outcome '{design.outcome_names[outcome]}'",
            remedy="Synthetic weights need every unit in every period: say incomplete=leave_out to "
            "leave these units out, or use group_time_att.",
        )
    return at[complete], gone


def _cells(
    design: StaggeredPanel,
    plan: Plan,
    done: dict[float, tuple[CohortFit, Floats | None, Support]],
    reason: dict[float, str],
    ahead: dict[float, list[int]],
) -> tuple[Fitted, ...]:
    """Every cohort and period from its start (or what comes ahead of it), in order."""
    grid = np.flatnonzero(plan.used)
    out = []
    for g in sorted({*plan.short, *(s.cohort for s in plan.spans)}):
        for place, t in enumerate(grid):
            early = t in ahead.get(g, [])
            if design.periods[t] < g and not early:
                continue
            why = reason.get(g, "")
            cell = Cell(g, int(t), -1, "anticipated" if early else "effect", np.inf, why)
            if why or g not in done:
                out.append(Fitted(cell, reason=why))
                continue
            fit, z, support = done[g]
            own = None if z is None else z[:, place]
            out.append(Fitted(cell, float(fit.effects[place]), own, support))
    return tuple(out)
