"""Stacks: a cohort, the units clean throughout its window, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.beside import Beside, reference_beside
from tiltakeval.estimators.did.level import Fitted, Level
from tiltakeval.estimators.did.plan import Cell
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.two_way.cells import cell_level
from tiltakeval.estimators.did.two_way.columns import Sample, dropped_of, sample_of
from tiltakeval.estimators.did.two_way.fit import Block, regress
from tiltakeval.estimators.did.two_way.kept import Fit, Regressed, joined
from tiltakeval.estimators.did.two_way.result import summed, support_of, too_few
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Stack:
    """``window`` are the positions of its periods, ``base`` that of the period left out among them;
    ``treated`` and ``clean`` [n] its units, clean first treated after ``clear``. ``reason`` says why
    there is no such stack."""

    cohort: float
    window: Ints
    base: int
    treated: Bools
    clean: Bools
    clear: float
    reason: str = ""


def stacks_of(
    design: StaggeredPanel, *, before: int, after: int, anticipation: int, never: bool
) -> list[Stack]:
    """The stack of every cohort treated inside the panel, or why there is none."""
    grid = design.periods
    found = []
    for g in design.cohorts[design.cohorts <= grid[-1]]:
        window = np.flatnonzero((grid >= g - before) & (grid <= g + after))
        base = np.flatnonzero(grid[window] == g - 1 - anticipation)
        clear = float(max(g + after, grid[-1] if never else -np.inf) + anticipation)
        treated, clean = design.first == g, design.first > clear
        reason = ""
        if grid[0] > g - before or grid[-1] < g + after:
            reason = Reason(
                Why.NO_WINDOW,
                f"its window from {before} before to {after} after isn't inside the panel",
            )
        elif not base.size:
            reason = Reason(Why.NO_PERIOD_BEFORE, "the panel doesn't have its base period")
        elif not clean.any():
            reason = Reason(Why.NO_COMPARISON, "no unit is untreated throughout its window")
        at = int(base[0]) if base.size else -1
        found.append(Stack(float(g), window, at, treated, clean, clear, reason))
    return found


def separate(
    design: StaggeredPanel,
    stacks: Sequence[Stack],
    inside: Bools,
    outcome: int,
    groups: Groups,
    least: int,
    fixed: bool,
) -> Level:
    """The effects in every stack, each from its own regression."""
    cells: list[Fitted] = []
    mass: list[Floats] = []
    dropped: set[str] = set()
    fits: list[Regressed] = []
    for stack in stacks:
        short = replace(
            design,
            outcomes=np.ascontiguousarray(design.outcomes[:, stack.window, outcome : outcome + 1]),
            periods=design.periods[stack.window],
            varying=None if design.varying is None else design.varying[:, stack.window],
        )
        sample = sample_of(short, inside & (stack.treated | stack.clean), 0)
        plan = _plan(short, stack)
        level, _ = cell_level(
            short,
            sample,
            plan,
            groups,
            errors="clustered",
            least=least,
            centred=False,
            fixed=fixed,
        )
        for one in level.cells:
            moved = replace(
                one.cell, t=int(stack.window[one.cell.t]), b=int(stack.window[one.cell.b])
            )
            cells.append(replace(one, cell=moved))
        if level.mass is not None:
            mass.append(level.mass)
        if level.regressed is not None:
            fits.append(level.regressed)
        dropped |= set(level.dropped)
    return Level(
        tuple(cells),
        tuple(sorted(dropped)),
        (),
        mass=np.concatenate(mass) if mass else None,
        regressed=joined(fits) if fits else None,
    )


def _plan(short: StaggeredPanel, stack: Stack) -> list[Cell]:
    """The cells of a stack, positions counted in its window."""
    plan = []
    ahead = short.periods[stack.base] - stack.cohort + 1  # -anticipation
    for t, period in enumerate(short.periods):
        if t == stack.base:
            continue
        since = period - stack.cohort
        kind = "effect" if since >= 0 else "anticipated" if since >= ahead else "before"
        plan.append(Cell(stack.cohort, t, stack.base, kind, stack.clear))  # type: ignore[arg-type]
    return plan


def pooled(
    design: StaggeredPanel,
    stacks: Sequence[Stack],
    inside: Bools,
    outcome: int,
    groups: Groups,
    least: int,
    common: bool,
) -> tuple[list[Beside], tuple[str, ...]]:
    """Coefficients by event time common to all stacks, and their mean after the start; with effects of
    periods by stack, or (``common``) by event time and weights. The second value are covariates that
    say nothing."""
    sample = sample_of(design, inside, outcome)
    stacks = [stack for stack in stacks if _carried(sample, stack, inside).all()]
    mean_labels = {"term": "effect_over_event_times"}
    if not stacks:
        nobody = np.zeros(design.n, dtype=bool)
        nothing = Reason(Why.NO_COMPARISON, "no stack has both treated and clean units")
        empty = Beside(mean_labels, support_of(design, nobody, nobody), reason=nothing)
        return [empty], sample.dropped
    blocks, owner, events = _blocks(sample, stacks, inside, common)
    sides = _sides(sample, stacks, inside, events)
    after = [side for e, side in zip(events, sides) if e >= 0]
    both = (
        np.logical_or.reduce([side[0] for side in after]),
        np.logical_or.reduce([side[1] for side in after]),
    )
    whole = support_of(design, *both)
    reason = too_few(design, *both, least)
    if reason:
        return [Beside(mean_labels, whole, reason=reason)], sample.dropped
    found = regress(sample.panel, blocks, owner)
    first = owner.size - events.size
    known = found.identifies(np.eye(owner.size))[first:]
    maps = np.zeros((owner.size, events.size + 1))
    maps[first:, : events.size] = np.eye(events.size)
    late = known & (events >= 0)
    maps[first:, -1] = late / max(late.sum(), 1)
    z = summed(sample, blocks, found, maps, groups)
    value = found.coef @ maps
    kept = Regressed((Fit(sample.panel, blocks, owner),), maps)
    rows = []
    reference = int(sample.periods[stacks[0].window[stacks[0].base]] - stacks[0].cohort)
    for j, e in enumerate(events):
        if j == int((events < reference).sum()):
            rows.append(reference_beside(reference, whole))
        labels = {"term": "effect_by_event_time", "horizon": int(e)}
        support = support_of(design, *sides[j])
        if known[j]:
            rows.append(Beside(labels, support, float(value[j]), z[:, j], of=kept.one(j)))
        else:
            said = Reason(
                Why.NO_COMPARISON, "no stack has treated and clean units in the event time"
            )
            rows.append(Beside(labels, support, reason=said))
    if late.any():
        of = kept.one(events.size)
        rows.append(Beside(mean_labels, whole, float(value[-1]), z[:, -1], of=of))
    return rows, dropped_of(sample, found, first)


def _blocks(
    sample: Sample, stacks: Sequence[Stack], inside: Bools, common: bool
) -> tuple[list[Block], Ints, Ints]:
    """Two blocks a stack (treated, clean), the owner of every column, the event times with a column.

    Columns: covariates that vary with time, periods by stack, or by event time where ``common`` (times
    each covariate), then event times of the treated. ``common`` blocks of clean units have the weights
    that make each stack count by its treated units, (D_a / D) / (C_a / C) with D, C the stacks' treated
    and clean units.
    """
    periods, q, p = sample.periods, sample.panel.x.shape[1], sample.panel.moving
    held = np.array([_carried(sample, stack, inside) for stack in stacks])
    share = held / held.sum(axis=0)
    events = np.unique(
        np.concatenate([np.delete(periods[s.window] - int(s.cohort), s.base) for s in stacks])
    ).astype(np.int64)
    starts = np.cumsum([0] + [s.window.size - 1 for s in stacks])
    width = events.size if common else int(starts[-1])
    blocks = []
    for i, stack in enumerate(stacks):
        columns = np.zeros((periods.size, p + q * width + events.size))
        since = periods - int(stack.cohort)
        seen = np.isin(np.arange(periods.size), stack.window)
        by_event = (since[:, None] == events[None, :]) & seen[:, None]
        for a in range(q):
            if common:
                columns[:, p + a * width : p + (a + 1) * width] = by_event
            else:
                at = p + a * width + starts[i] + np.arange(stack.window.size - 1)
                columns[stack.window[1:], at] = 1.0
        there = inside & sample.seen[:, stack.window].any(axis=1)
        clean = np.flatnonzero(there & stack.clean)
        weight = share[i, 0] / share[i, 1] if common else 1.0
        own = columns.copy()
        own[:, p + q * width :] = by_event
        treated = np.flatnonzero(there & stack.treated)
        blocks += [Block(treated, own, seen=seen), Block(clean, columns, weight, seen)]
    of_time = np.zeros(events.size, dtype=np.int64)
    owner = np.concatenate([-1 - np.arange(p), np.repeat(np.arange(q), width), of_time])
    return blocks, owner.astype(np.int64), events


def _carried(sample: Sample, stack: Stack, inside: Bools) -> Floats:
    """[2] weighted numbers of treated and clean units seen in the window."""
    there = inside & sample.seen[:, stack.window].any(axis=1)
    return np.array(
        [sample.panel.weight[there & side].sum() for side in (stack.treated, stack.clean)]
    )


def _sides(
    sample: Sample, stacks: Sequence[Stack], inside: Bools, events: Ints
) -> list[tuple[Bools, Bools]]:
    """[n] treated and clean units seen at each event time, over all stacks."""
    out = []
    seen = sample.seen
    for e in events:
        treated, clean = np.zeros(inside.size, dtype=bool), np.zeros(inside.size, dtype=bool)
        for stack in stacks:
            for t in np.flatnonzero(sample.periods - int(stack.cohort) == e):
                treated |= inside & stack.treated & seen[:, t]
                clean |= inside & stack.clean & seen[:, t]
        out.append((treated, clean))
    return out
