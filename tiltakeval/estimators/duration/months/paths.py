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
    one = np.ones((months * STEPS, exits))
    never = np.zeros(months * STEPS)
    waiting, inside, after = (_finer(f) for f in (rates.waiting, rates.inside, rates.after))
    begin, leave = _finer(rates.begin) / STEPS, _finer(rates.leave) / STEPS

    def follow(after: Floats, *stages: Floats, waits: bool) -> tuple[Floats, Floats]:
        waiting, inside, begin, leave = stages
        ages = max(_varies_until(f) for f in (*stages, after))
        left, running = _follow(
            base, used, waiting, inside, after, begin, leave, waits, ages, STEPS
        )
        shape = (n, points, months + 1)
        return left.reshape(*shape, exits), running.reshape(shape)

    stages = (waiting, inside, begin, leave)
    left, running = follow(after, *stages, waits=rates.waits)
    locked, _ = follow(one, *stages, waits=rates.waits)
    without, _ = follow(one, one, one, never, never, waits=True)
    return Paths(with_programme=left, locked_in=locked, without=without, running=running)


def _finer(by_month: Floats) -> Floats:
    return np.repeat(np.asarray(by_month, dtype=np.float64), STEPS, axis=0)


def _varies_until(by_age: Floats) -> int:
    """The first age from which on nothing changes any more."""
    differs = (by_age != by_age[-1]).reshape(len(by_age), -1).any(axis=1)
    return int(np.flatnonzero(differs)[-1]) + 1 if differs.any() else 0


@njit(cache=True)
def _follow(  # type: ignore[no-untyped-def]
    base, used, waiting, inside, after, begin, leave, waits, ages, steps
):
    """Who has left [n, months + 1, exits] and is in the programme [n, months + 1], of those ``used``.

    ``ages``: the age in a stage, in steps, from which on hazards no longer change, so that older count
    as one.
    """
    n, months, exits = base.shape
    left = np.zeros((n, months + 1, exits))
    running = np.zeros((n, months + 1))
    w = np.zeros(ages + 1)  # by time waited
    p = np.zeros(ages + 1)  # by time in the programme
    a = np.zeros(ages + 1)  # by time since it ended
    never, ever = np.zeros(ages + 1), np.ones(ages + 1)
    kept_waiting, kept_inside = np.exp(-begin), np.exp(-leave)
    gone = np.zeros(exits)
    for i in range(n):
        if not used[i]:
            continue
        w[:] = 0.0
        p[:] = 0.0
        a[:] = 0.0
        if waits:
            w[0] = 1.0
        else:
            p[0] = 1.0
            running[i, 0] = 1.0
        gone[:] = 0.0
        for u in range(months):
            hazard = base[i, u]
            for _ in range(steps):
                starting = _step(w, hazard, waiting, begin, kept_waiting, gone)
                p[0] += 0.5 * starting
                ending = _step(p, hazard, inside, leave, kept_inside, gone)
                p[0] += 0.5 * starting
                a[0] += 0.5 * ending
                _step(a, hazard, after, never, ever, gone)
                a[0] += 0.5 * ending
            for e in range(exits):
                left[i, u + 1, e] = gone[e]
            running[i, u + 1] = p.sum()
    return left, running


@njit(cache=True)
def _step(mass, hazard, factor, change, kept, gone):  # type: ignore[no-untyped-def]
    """Move a stage (``mass`` by age) one step on; returns what changes stage and adds to ``gone``."""
    oldest, exits = mass.shape[0] - 1, hazard.shape[0]
    moved, leaving, staying = 0.0, 0.0, 1.0
    for m in range(oldest, -1, -1):
        known = m < oldest  # whether the age above had the same hazards
        for e in range(exits):
            known = known and factor[m, e] == factor[m + 1, e]
        if not known:
            leaving = 0.0
            for e in range(exits):
                leaving += hazard[e] * factor[m, e]
            staying = np.exp(-leaving)
        if mass[m] <= 0.0:
            continue
        rate = leaving + change[m]
        stay = mass[m] * staying
        stay *= kept[m]
        lost = mass[m] - stay
        mass[m] = 0.0
        mass[min(m + 1, oldest)] += stay
        if rate > 0.0:
            moved += lost * change[m] / rate
            for e in range(exits):
                gone[e] += lost * hazard[e] * factor[m, e] / rate
    return moved
