"""Kaplan-Meier and Aalen-Johansen with exact ties, weights, late entry and influence.

At an event time k with W_k the weight at risk, h_jk the weight leaving by exit j over W_k and
h_k = sum_j h_jk: S(t) = prod (1 - h_k), F_j(t) = sum S(k-) h_jk. Exits of different kinds at the same
time are taken together as they are, never parted by random jitter. Influence (Gill & Johansen 1990's
derivative of the product limit), for unit i at risk in (entry, T]:

    dS(t)   = -S(t) sum_{k<=t} u_ik,   u_ik = w_i (dN_ik - h_k Y_ik) / ((1 - h_k) W_k)
    dF_j(t) = sum_{k<=t} S(k-) w_i (dN_ijk - h_jk Y_ik) / W_k - sum_{k<=t} u_ik (F_j(t) - F_j(k))

Each sum is a term at T and a cumulative function read at min(t, T) and at entry: O(n log n).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class ProductLimit:
    """At the requested times [t]: survival, incidence [J, t], and influence sums by group.

    ``survival_z`` [G, t], ``incidence_z`` [J, G, t]; ``at_risk`` [t] units still followed at the time,
    ``events`` [J, t] units that left by then (unweighted).
    """

    survival: NDArray[np.float64]
    incidence: NDArray[np.float64]
    survival_z: NDArray[np.float64]
    incidence_z: NDArray[np.float64]
    at_risk: NDArray[np.int64]
    events: NDArray[np.int64]


def product_limit(
    *,
    duration: Floats,
    event: NDArray[np.integer],
    exits: int,
    times: Floats,
    weight: Floats,
    entry: Floats,
    group: NDArray[np.integer],
    groups: int,
) -> ProductLimit:
    """Survival and cumulative incidence of exits 1..``exits`` (event 0 is censoring) at ``times``.

    A unit is at risk in (entry, duration]; units censored at k are at risk of the exits at k.
    """
    order = np.argsort(duration, kind="stable")
    grid = np.unique(duration[event > 0])
    sorted_w = np.concatenate([[0.0], np.cumsum(weight[order])])
    leaving = sorted_w[-1] - sorted_w[np.searchsorted(duration[order], grid, side="left")]
    by_entry = np.argsort(entry, kind="stable")
    entering = np.concatenate([[0.0], np.cumsum(weight[by_entry])])
    not_yet = entering[-1] - entering[np.searchsorted(entry[by_entry], grid, side="left")]
    risk = leaving - not_yet  # weight with duration >= k, less those entering at or after k
    place = np.searchsorted(grid, duration)
    jumps = np.zeros((exits, grid.size))
    for j in range(exits):
        rows = event == j + 1
        np.add.at(jumps[j], place[rows], weight[rows])
    safe = np.where(risk > 0, risk, 1.0)
    hazard = jumps / safe
    total = np.minimum(hazard.sum(axis=0), 1.0)
    survival = np.cumprod(1 - total)
    before = np.concatenate([[1.0], survival[:-1]])
    incidence = np.cumsum(before * hazard, axis=1)
    stay = np.where(1 - total > 1e-12, 1 - total, np.inf)
    a = _cumulated(total / (stay * safe))
    b = [_cumulated(before * hazard[j] / safe) for j in range(exits)]
    c = [_cumulated(total * incidence[j] / (stay * safe)) for j in range(exits)]
    at = np.searchsorted(grid, times, side="right")
    start = np.searchsorted(grid, entry, side="right")
    own = np.minimum(place, grid.size - 1)
    gone = event > 0
    out_s = np.zeros((groups, times.size))
    out_f = np.zeros((exits, groups, times.size))
    s_at = np.concatenate([[1.0], survival])[at]
    f_at = np.concatenate([np.zeros((exits, 1)), incidence], axis=1)[:, at]
    events = np.zeros((exits, times.size), dtype=np.int64)
    at_risk = np.zeros(times.size, dtype=np.int64)
    last = np.searchsorted(grid, duration, side="right")
    for t, time in enumerate(times):
        upto = np.minimum(last, at[t])
        seen = start < upto
        left = gone & (duration <= time)
        u = np.where(left, 1 / (stay[own] * safe[own]), 0.0)
        u -= np.where(seen, a[upto] - a[start], 0.0)
        out_s[:, t] = np.bincount(group, weights=-s_at[t] * weight * u, minlength=groups)
        for j in range(exits):
            mine = left & (event == j + 1)
            first_part = np.where(mine, before[own] / safe[own], 0.0)
            first_part -= np.where(seen, b[j][upto] - b[j][start], 0.0)
            second = np.where(left, (f_at[j, t] - incidence[j][own]) / (stay[own] * safe[own]), 0.0)
            second -= np.where(
                seen, f_at[j, t] * (a[upto] - a[start]) - (c[j][upto] - c[j][start]), 0.0
            )
            out_f[j, :, t] = np.bincount(
                group, weights=weight * (first_part - second), minlength=groups
            )
            events[j, t] = int(mine.sum())
        at_risk[t] = int(((duration >= time) & (entry < time)).sum())
    return ProductLimit(s_at, f_at, out_s, out_f, at_risk, events)


def _cumulated(values: Floats) -> NDArray[np.float64]:
    """Sums of the first 0, 1, … values."""
    return np.concatenate([[0.0], np.cumsum(values)])
