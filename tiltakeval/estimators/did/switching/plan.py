"""Who is compared with whom when treatment switches: before any outcome.

Units that start from one baseline, first change in one period and in one direction are a group. It is
compared with units that started alike and have not changed yet. de Chaisemartin & D'Haultfoeuille (2024,
Review of Economics and Statistics), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.treatment_paths import TreatmentPaths

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Placebos = Literal["symmetric", "all", "none"]
Crossing = Literal["cut", "drop", "keep"]


@dataclass(frozen=True)
class Switchers:
    """``members`` [m] start from ``baseline`` and first change at position ``first``, up or down
    (``sign``); the last position before it (and anticipation) is ``base``, -1 where there is none.
    They are compared with units of the same ``set``."""

    baseline: float
    first: int
    sign: int
    base: int
    members: Ints
    set: int = 0


@dataclass(frozen=True)
class Cell:
    """Switchers in the period ``t`` against the period ``b`` (positions). Comparison units have not
    changed by ``after``. A placebo rests on the units of the effect in ``mirror`` (a position), if it
    is given. ``event`` counts periods from the first change."""

    who: Switchers
    t: int
    b: int
    event: int
    after: float
    mirror: int | None = None

    @property
    def effect(self) -> bool:
        """Whether it is an effect, not a placebo."""
        return self.t >= self.who.first

    @property
    def reach(self) -> int:
        """The position up to which its units must be seen: its own, or that of the effect it mirrors."""
        return self.t if self.mirror is None else self.mirror


def switchers_of(
    design: TreatmentPaths, anticipation: int, sets: Ints | None = None
) -> list[Switchers]:
    """Every group of switchers, by baseline, period of change and direction, and by ``sets`` [n] within
    which units are compared (-1: none)."""
    own = np.zeros(design.n, dtype=np.int64) if sets is None else sets
    moved = np.flatnonzero((design.first <= design.periods[-1]) & (own >= 0))
    place = np.searchsorted(design.periods, design.first[moved]).astype(np.int64)
    sign = np.sign(design.status[moved, place] - design.baseline[moved]).astype(np.int64)
    key = np.stack([design.baseline[moved], place, sign, own[moved]], axis=1)
    found, code = np.unique(key, axis=0, return_inverse=True)
    out = []
    for i, (baseline, first, direction, code_of_set) in enumerate(found):
        clear = np.flatnonzero(design.periods < design.periods[int(first)] - anticipation)
        base = int(clear[-1]) if clear.size else -1
        members = moved[code.reshape(-1) == i]
        who = Switchers(
            float(baseline), int(first), int(direction), base, members, int(code_of_set)
        )
        out.append(who)
    return out


def cells_of(
    design: TreatmentPaths, who: Switchers, anticipation: int, placebos: Placebos
) -> Iterator[Cell]:
    """The cells of one group of switchers, in order of time.

    ``symmetric`` placebos mirror an effect: as long, before the base, same units. ``all`` placebos are
    compared with all that started alike and change later.
    """
    grid, b = design.periods, who.base
    start = grid[who.first]
    for t in range(grid.size):
        event = int(grid[t] - start)
        if b < 0:
            if t >= who.first:
                yield Cell(who, t, b, event, np.inf)
            continue
        if t >= b and t != b and (t >= who.first or anticipation):
            yield Cell(who, t, b, event, float(grid[t] + anticipation))
        elif t < b and placebos == "symmetric":
            mirror = who.first + (b - t) - 1
            if mirror < grid.size:
                yield Cell(who, t, b, event, float(grid[mirror] + anticipation), mirror)
        elif t < b and placebos == "all":
            yield Cell(who, t, b, event, float(start))


def followed(design: TreatmentPaths, crossing: Crossing) -> Bools:
    """[n, T] whether a unit's treatment stays on one side of its baseline.

    From the period in which it is on both sides (``cut``), or throughout (``drop``), a mean of
    effects would subtract what less treatment does from what more treatment does.
    """
    gap = design.status - design.baseline[:, None]
    gap = np.where(np.isfinite(gap), gap, 0.0)
    above = np.maximum.accumulate(gap > 0, axis=1)
    below = np.maximum.accumulate(gap < 0, axis=1)
    both = above & below
    if crossing == "keep":
        return np.ones_like(both)
    if crossing == "drop":
        return np.broadcast_to(~both[:, -1:], both.shape)
    return np.asarray(~both)
