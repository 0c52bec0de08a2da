"""Kaplan-Meier, Aalen-Johansen and restricted means with exact ties, weights, late entry, influence.

At an exit time k with W_k the weight at risk, h_jk the weight leaving by exit j over W_k and
h_k = sum_j h_jk: S(t) = prod (1 - h_k), F_j(t) = sum S(k-) h_jk. Exits of different kinds at the same
time are taken together as they are, never parted by random jitter. Influence (Gill & Johansen 1990's
derivative of the product limit), for unit i at risk in (entry, T]:

    u_ik = w_i (dN_ik - h_k Y_ik) / ((1 - h_k) W_k),   v_ijk = S(k-) w_i (dN_ijk - h_jk Y_ik) / W_k
    dS(t)   = -S(t) sum_{k<=t} u_ik
    dF_j(t) = sum_{k<=t} v_ijk - sum_{k<=t} u_ik (F_j(t) - F_j(k))

and, integrated to t, with M = int S and L_j = int F_j:

    dM(t)   = -sum_{k<=t} u_ik (M(t) - M(k))
    dL_j(t) = sum_{k<=t} v_ijk (t - k) - sum_{k<=t} u_ik (L_j(t) - L_j(k) - F_j(k) (t - k))

Every sum is a value at the unit's own exit less a cumulative function read at min(t, T) and at entry
(a "channel"). Sorted once, n units cost O(n log n) in all, whatever the number of times, and the sums
by group are gathered without an array of n x times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.curve_kernels import (
    exit_grid,
    sums_by_group,
    sums_by_loading,
)

Floats = NDArray[np.floating]
Ties = Literal["exits_first", "censoring_first"]
Quantity = Literal["survival", "incidence", "time_in_state", "time_lost"]


@dataclass(frozen=True)
class Spells:
    """One arm's spells [n] sorted by duration, with their places on the grid of exit times."""

    order: NDArray[np.intp]
    duration: NDArray[np.float64]
    entry: NDArray[np.float64]
    event: NDArray[np.integer]
    weight: NDArray[np.float64]
    place: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]


@dataclass(frozen=True)
class Curve:
    """The product limit on its grid [K]: weight at risk, hazards [J, K], S and F_j just after k.

    ``sound_until`` is the time up to which somebody was at risk without a break since the first
    spell was followed: beyond, the curve isn't known.
    """

    spells: Spells
    grid: NDArray[np.float64]
    risk: NDArray[np.float64]
    hazard: NDArray[np.float64]
    survival: NDArray[np.float64]
    incidence: NDArray[np.float64]
    sound_until: float

    @property
    def exits(self) -> int:
        """Number of kinds of exit J."""
        return int(self.hazard.shape[0])


@dataclass(frozen=True)
class Reading:
    """Quantities at the requested times [t]: ``value`` [m, t], ``z`` [m, G, t] influence by group.

    m is 1 for ``survival`` and ``time_in_state``, J for ``incidence`` and ``time_lost``.
    ``slope`` [m, Q, t] is the derivative along the loadings [n, Q], when given.
    """

    value: NDArray[np.float64]
    z: NDArray[np.float64]
    slope: NDArray[np.float64] | None = None


def fit_curve(
    *,
    duration: Floats,
    event: NDArray[np.integer],
    exits: int,
    weight: Floats,
    entry: Floats,
    ties: Ties = "exits_first",
) -> Curve:
    """The curve of n spells with exits 1..``exits`` (event 0 is censoring).

    A unit is at risk in (entry, duration]. Units censored at k count as at risk of the exits at k
    (``exits_first``), or don't (``censoring_first``).
    """
    order = np.argsort(duration)
    length = np.ascontiguousarray(duration[order], dtype=np.float64)
    code = np.ascontiguousarray(event[order])
    w = np.ascontiguousarray(weight[order], dtype=np.float64)
    start = np.ascontiguousarray(entry[order], dtype=np.float64)
    grid, jumps, held, place, last = exit_grid(length, code, w, exits, ties == "exits_first")
    first = np.zeros(length.size, dtype=np.int32)
    sound_until = np.inf
    if start.size and start.max() > start.min():
        by_entry = np.argsort(start)
        entering = np.concatenate([[0.0], np.cumsum(w[by_entry])])
        below = np.searchsorted(start[by_entry], grid, side="left")
        held = held - (entering[-1] - entering[below])
        first = np.searchsorted(grid, start, side="right").astype(np.int32)
        sound_until = _first_gap(length, start[by_entry])
    risk = np.maximum(held, jumps.sum(axis=0))
    safe = np.where(risk > 0, risk, 1.0)
    hazard = jumps / safe
    survival = np.cumprod(1 - np.minimum(hazard.sum(axis=0), 1.0))
    incidence = np.cumsum(_before(survival) * hazard, axis=1)
    last = np.maximum(last, first)  # nothing is gathered by a unit censored just as it enters
    spells = Spells(order, length, start, code, w, place, first, last)
    return Curve(spells, grid, safe, hazard, survival, incidence, sound_until)


def _before(survival: Floats) -> NDArray[np.float64]:
    """S just before each time of the grid."""
    return np.concatenate([[1.0], survival[:-1]])


def _first_gap(duration: Floats, entry: Floats) -> float:
    """The first time, after follow-up began, at which nobody is followed though others enter later.

    Both sorted. Nobody is at risk just after duration d when as many have left by d as have entered.
    """
    entered = np.searchsorted(entry, duration, side="right")
    left = np.arange(1, duration.size + 1)
    gaps = np.flatnonzero((entered == left) & (left < duration.size))
    return float(duration[gaps[0]]) if gaps.size else np.inf


def followed(curve: Curve, times: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """At each time: units still followed (0 where the curve isn't known), and exits [J, t] by then."""
    s = curve.spells
    upto = np.searchsorted(s.duration, times, side="left")
    entry = np.sort(s.entry) if s.entry.any() else s.entry
    waiting = s.entry.size - np.searchsorted(entry, times, side="left")
    here = np.where(times > curve.sound_until, 0, s.duration.size - upto - waiting)
    right = np.searchsorted(s.duration, times, side="right")
    events = np.stack(
        [
            np.concatenate([[0], np.cumsum((s.event == j + 1) & (s.weight > 0))])[right]
            for j in range(curve.exits)
        ]
    )
    return np.maximum(here, 0).astype(np.int64), events.astype(np.int64)


def read(
    curve: Curve,
    quantity: Quantity,
    times: Floats,
    *,
    group: NDArray[np.integer],
    groups: int,
    loading: Floats | None = None,
) -> Reading:
    """The quantity at ``times`` (sorted) with influence summed over ``group`` [n] (unsorted spells).

    ``loading`` [n, Q] are derivatives of the spells' weights: the answer's ``slope`` is then the
    quantity's derivative by the Q parameters the weights depend on.
    """
    channels = _Channels(curve, times)
    value, parts = _parts(channels, quantity)
    which, at_exit, running = channels.arrays()
    s = curve.spells
    at = channels.at
    entry_bin = np.searchsorted(times, s.entry, side="left")
    place = (s.place, s.first, s.last, which, at_exit, running, at)
    sums = sums_by_group(
        s.duration, entry_bin, times, s.event, s.weight, group[s.order], groups, *place
    )
    z = np.stack([_combined(sums, part) for part in parts])
    slope = None
    if loading is not None:
        along = sums_by_loading(s.duration, entry_bin, times, s.event, loading[s.order], *place)
        slope = np.stack([_combined(along, part) for part in parts])
    return Reading(np.asarray(value, dtype=np.float64), z, slope)


class _Channels:
    """Functions on the grid whose sums make up the influence, numbered as they are asked for."""

    def __init__(self, curve: Curve, times: Floats) -> None:
        self.curve = curve
        self.times = times
        self.at = np.searchsorted(curve.grid, times, side="right")
        self.before = _before(curve.survival)
        total = np.minimum(curve.hazard.sum(axis=0), 1.0)
        stay = np.where(1 - total > 1e-12, 1 - total, np.inf)
        self._all = 1 / (stay * curve.risk)
        self._total = total
        width = 2 + 4 * curve.exits
        self._which = np.zeros(width, dtype=np.int64)
        self._value = np.empty((width, curve.grid.size))
        self._running = np.zeros((width, curve.grid.size + 1))
        self._count = 0

    def any_exit(self, factor: Floats | float = 1.0) -> int:
        """sum u_ik factor(k); returns the channel's number."""
        return self._add(0, self._all * factor, self._total)

    def own_exit(self, j: int, factor: Floats | float = 1.0) -> int:
        """sum v_ijk factor(k)."""
        return self._add(j + 1, self.before / self.curve.risk * factor, self.curve.hazard[j])

    def _add(self, which: int, value: Floats, hazard: Floats) -> int:
        c = self._count
        self._which[c] = which
        self._value[c] = value
        np.cumsum(self._value[c] * hazard, out=self._running[c, 1:])
        self._count += 1
        return c

    def arrays(self) -> tuple[NDArray[np.int64], Floats, Floats]:
        """which [C], values [C, K], running sums [C, K + 1]."""
        c = self._count
        return self._which[:c], self._value[:c], self._running[:c]


def _parts(channels: _Channels, quantity: Quantity) -> tuple[Floats, list[Mapping[int, Floats]]]:
    """Values [m, t] and, for each, the factor [t] of every channel in its influence."""
    curve, times, at = channels.curve, channels.times, channels.at
    one = np.ones(times.size)
    u = channels.any_exit()
    if quantity == "survival":
        s = np.concatenate([[1.0], curve.survival])[at]
        return s[None], [{u: -s}]
    if quantity == "time_in_state":
        on_grid, m = integral(curve.grid, channels.before, curve.survival, times, at, 1.0)
        return m[None], [{u: -m, channels.any_exit(on_grid): one}]
    values: list[Floats] = []
    parts: list[Mapping[int, Floats]] = []
    for j, f_grid in enumerate(curve.incidence):
        v, uf = channels.own_exit(j), channels.any_exit(f_grid)
        if quantity == "incidence":
            f = np.concatenate([[0.0], f_grid])[at]
            values.append(f)
            parts.append({v: one, u: -f, uf: one})
            continue
        f_before = np.concatenate([[0.0], f_grid[:-1]])
        on_grid, lost = integral(curve.grid, f_before, f_grid, times, at, 0.0)
        values.append(lost)
        vk = channels.own_exit(j, curve.grid)
        rest = channels.any_exit(on_grid - curve.grid * f_grid)
        parts.append({v: times, vk: -one, u: -lost, rest: one, uf: times})
    return np.stack(values), parts


def integral(
    grid: Floats, before: Floats, after: Floats, times: Floats, at: NDArray[np.intp], start: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Integral from 0 of a step function that is ``before`` [K] up to each grid point, ``after`` from
    it, and ``start`` before the first: on the grid [K] and at ``times`` whose grid count is ``at``."""
    on_grid = np.cumsum(np.diff(grid, prepend=0.0) * before)
    left = np.concatenate([[0.0], grid])[at]
    height = np.concatenate([[start], after])[at]
    return on_grid, np.concatenate([[0.0], on_grid])[at] + (times - left) * height


def _combined(sums: Floats, part: Mapping[int, Floats]) -> NDArray[np.float64]:
    out = np.zeros(sums.shape[:2])
    for channel, factor in part.items():
        out += sums[:, :, channel] * factor
    return out
