"""From monthly hazards to who has left, month by month, with a programme and without.

A participant waits (decided, not begun), is in the programme, and has been in it. The length of each
stage is random with its own hazard, so that long programmes don't stand for those who never left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Steps a month is followed in.
STEPS = 2
#: Mass points that count for less than this of a participant are left out.
NEGLIGIBLE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Hazards a month that N participants (or kinds of them) face from month zero, H months on.

    ``base`` [N, J, H, E]: hazard of each exit without programme, under each of J mass points.
    ``share`` [N, J]: what each counts for; sums to one. ``waiting``, ``inside``, ``after`` [H, E]:
    factor on the hazards in the m-th month since the decision, the programme's start, its end.
    ``begin`` [H], ``leave`` [H]: hazard of starting in the m-th month of waiting, of the programme's end
    in its m-th month. With ``waits`` False month zero is the programme's start.
    """

    base: Floats
    share: Floats
    waiting: Floats
    inside: Floats
    after: Floats
    begin: Floats
    leave: Floats
    waits: bool = True


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Shares that have left by each exit by the end of month h, [..., H + 1, E], with and without the
    programme, and with its stages but nothing after it (``locked_in``); ``running`` [..., H + 1] in it.
    """

    with_programme: Floats
    locked_in: Floats
    without: Floats
    running: Floats


def paths(rates: Rates) -> Paths:
    """Follow everyone through the stages, in steps of half a month; means over all.

    Of those who change stage in a step, half face the next stage's hazards for all of it and half for
    none of it.
    """
    one = paths_of_each(rates)
    return Paths(**{name: np.tensordot(rates.share, value, 2) for name, value in vars(one).items()})


def paths_of_each(rates: Rates) -> Paths:
    """The paths of every participant under every mass point: arrays begin with [N, J].

    Zero where a mass point counts for next to nothing of a participant.
    """
    n, points, months, exits = rates.base.shape
    base = np.ascontiguousarray(rates.base.reshape(n * points, months, exits)) / STEPS
    used = (rates.share >= NEGLIGIBLE / n).reshape(n * points)
    waits, shape = rates.waits, (n, points, months + 1)
    waiting = _stage(rates.waiting, rates.begin if waits else np.zeros(months))
    inside = _stage(rates.inside, rates.leave)
    after = _stage(rates.after, np.zeros(months))
    nothing = _stage(np.ones((months, exits)), np.zeros(months))
    stays = _stay(base, used, *nothing, STEPS)
    left, locked, running = _follow(base, used, waits, *waiting, *inside, *after, *nothing, STEPS)
    left, locked, without = (x.reshape(*shape, exits) for x in (left, locked, stays))
    return Paths(
        with_programme=left, locked_in=locked, without=without, running=running.reshape(shape)
    )


def _stage(factor: Floats, change: Floats) -> tuple[Floats, Floats, Floats]:
    """By age in a stage, in steps: factor on hazards, hazard of its end, share that doesn't end then.

    Ends with the age from which on nothing changes any more, so that older count as one.
    """
    by_age = np.column_stack([factor, change / STEPS])
    differs = (by_age != by_age[-1]).any(axis=1)
    ages = (int(np.flatnonzero(differs)[-1]) + 1) * STEPS if differs.any() else 0
    by_age = np.repeat(by_age, STEPS, axis=0)[: ages + 1]
    ends = np.ascontiguousarray(by_age[:, -1])
    return np.ascontiguousarray(by_age[:, :-1]), ends, np.exp(-ends)


@njit(cache=True)
def _stay(base, used, factor, change, kept, steps):  # type: ignore[no-untyped-def]
    """Who has left [n, months + 1, exits], of those ``used``, in one stage that doesn't end."""
    n, months, exits = base.shape
    left = np.zeros((n, months + 1, exits))
    mass, gone = np.zeros(len(change)), np.zeros(exits)
    for i in range(n):
        if not used[i]:
            continue
        mass[:] = 0.0
        mass[0] = 1.0
        gone[:] = 0.0
        for u in range(months):
            for _ in range(steps):
                _step(mass, base[i, u], factor, change, kept, gone)
            left[i, u + 1] = gone
    return left


@njit(cache=True)
def _follow(  # type: ignore[no-untyped-def]
    base, used, waits,
    waiting, begin, kept_waiting, inside, leave, kept_inside,
    after, never, kept_after, nothing, never_, kept_nothing, steps,
):  # fmt: skip
    """Who has left [n, months + 1, exits], with the programme and with nothing after it, and who is in
    the programme [n, months + 1], of those ``used``. Stages as `_stage` gives them."""
    n, months, exits = base.shape
    left = np.zeros((n, months + 1, exits))
    locked = np.zeros((n, months + 1, exits))
    running = np.zeros((n, months + 1))
    w = np.zeros(len(begin))  # by time waited
    p = np.zeros(len(leave))  # by time in the programme
    a = np.zeros(len(never))  # by time since it ended
    b = np.zeros(len(never_))  # the same, were there nothing after it
    gone, gone_after, gone_nothing = np.zeros(exits), np.zeros(exits), np.zeros(exits)
    for i in range(n):
        if not used[i]:
            continue
        w[:] = 0.0
        p[:] = 0.0
        a[:] = 0.0
        b[:] = 0.0
        if waits:
            w[0] = 1.0
        else:
            p[0] = 1.0
            running[i, 0] = 1.0
        gone[:] = 0.0
        gone_after[:] = 0.0
        gone_nothing[:] = 0.0
        for u in range(months):
            hazard = base[i, u]
            for _ in range(steps):
                starting = 0.0
                if waits:
                    starting = _step(w, hazard, waiting, begin, kept_waiting, gone)
                p[0] += 0.5 * starting
                ending = _step(p, hazard, inside, leave, kept_inside, gone)
                p[0] += 0.5 * starting
                a[0] += 0.5 * ending
                _step(a, hazard, after, never, kept_after, gone_after)
                a[0] += 0.5 * ending
                b[0] += 0.5 * ending
                _step(b, hazard, nothing, never_, kept_nothing, gone_nothing)
                b[0] += 0.5 * ending
            for e in range(exits):
                left[i, u + 1, e] = gone[e] + gone_after[e]
                locked[i, u + 1, e] = gone[e] + gone_nothing[e]
            running[i, u + 1] = p.sum()
    return left, locked, running


@njit(cache=True)
def _step(mass, hazard, factor, change, kept, gone):  # type: ignore[no-untyped-def]
    """Move a stage (``mass`` by age) one step on; returns what changes stage and adds to ``gone``."""
    oldest, exits = mass.shape[0] - 1, hazard.shape[0]
    moved, leaving, staying, last = 0.0, 0.0, 1.0, -1
    for m in range(oldest, -1, -1):
        here = mass[m]
        if here <= 0.0:
            continue
        known = last >= 0  # whether the age before had the same hazards
        if known:
            for e in range(exits):
                known = known and factor[m, e] == factor[last, e]
        if not known:
            leaving = 0.0
            for e in range(exits):
                leaving += hazard[e] * factor[m, e]
            staying = np.exp(-leaving)
        last = m
        rate = leaving + change[m]
        stay = here * staying
        stay *= kept[m]
        lost = here - stay
        mass[m] = 0.0
        mass[min(m + 1, oldest)] += stay
        if rate > 0.0:
            moved += lost * change[m] / rate
            for e in range(exits):
                gone[e] += lost * hazard[e] * factor[m, e] / rate
    return moved
