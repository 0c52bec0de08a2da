"""Compiled loops of the partial likelihood, over rows sorted by stratum and stop.

Everything compiled lies in this file, so that numba's cache on disk notices every change.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray


@njit(cache=True, nogil=True)
def exit_grid(
    stratum: Array, stop: Array, event: Array, by_start: Array, start: Array
) -> tuple[Array, Array, Array, Array]:
    """The grid of distinct (stratum, time) with an exit, and every row's place on it.

    Rows sorted by (stratum, stop, event); ``by_start`` sorts them by (stratum, start). Returns first
    and last [n] (the row is at risk of grid points first <= k < last) and low, high [K], the range of
    rows whose exits are grid point k.
    """
    n = stop.size
    last = np.empty(n, dtype=np.int32)
    first = np.empty(n, dtype=np.int32)
    low = np.empty(n, dtype=np.int64)
    high = np.empty(n, dtype=np.int64)
    count = 0
    i = 0
    while i < n:
        end = i
        exits = 0
        while end < n and stratum[end] == stratum[i] and stop[end] == stop[i]:
            exits += event[end]
            end += 1
        if exits > 0:
            low[count] = end - exits
            high[count] = end
            count += 1
        last[i:end] = count
        i = end
    k = 0
    for u in range(n):
        i = by_start[u]
        while k < count and (
            stratum[low[k]] < stratum[i]
            or (stratum[low[k]] == stratum[i] and stop[low[k]] <= start[i])
        ):
            k += 1
        first[i] = k
    return first, last, low[:count].copy(), high[:count].copy()


@njit(cache=True, nogil=True)
def risk_sums(
    x: Array,
    r: Array,
    first: Array,
    last: Array,
    leaving: Array,
    low: Array,
    high: Array,
    base: Array,
    s0: Array,
    s1: Array,
    d0: Array,
    d1: Array,
) -> None:
    """Fill s0 [K] = sum r and s1 [K, p] = sum r x over the rows at risk, d0, d1 over the exits.

    From the last grid point backwards: rows come in at ``last`` and go out at ``first``; ``leaving``
    are the rows that must go out before their stratum's first grid point ``base`` [K], by descending
    ``first``. d1 may have no rows, when no exits are tied.
    """
    p = x.shape[1]
    sum0 = 0.0
    lost0 = 0.0
    sum1 = np.zeros(p)
    i = last.size - 1
    u = 0
    for k in range(low.size - 1, -1, -1):
        if k == low.size - 1 or base[k] != base[k + 1]:
            sum0 = 0.0
            lost0 = 0.0
            sum1[:] = 0.0
        while i >= 0 and last[i] > k:
            # compensated (Neumaier 1974): rows come and go
            new = sum0 + r[i]
            lost0 += (sum0 - new) + r[i] if abs(sum0) >= abs(r[i]) else (r[i] - new) + sum0
            sum0 = new
            for c in range(p):
                sum1[c] += r[i] * x[i, c]
            i -= 1
        while u < leaving.size and first[leaving[u]] > k:
            j = leaving[u]
            new = sum0 - r[j]
            lost0 += (sum0 - new) - r[j] if abs(sum0) >= abs(r[j]) else (-r[j] - new) + sum0
            sum0 = new
            for c in range(p):
                sum1[c] -= r[j] * x[j, c]
            u += 1
        s0[k] = sum0 + lost0
        for c in range(p):
            s1[k, c] = sum1[c]
        d = 0.0
        for j in range(low[k], high[k]):
            d += r[j]
        d0[k] = d
        if d1.shape[0] > 0:
            for c in range(p):
                d1[k, c] = 0.0
            for j in range(low[k], high[k]):
                for c in range(p):
                    d1[k, c] += r[j] * x[j, c]


@njit(cache=True, nogil=True)
def tie_sums(
    s0: Array, d0: Array, weight: Array, low: Array, high: Array, efron: bool, out: Array
) -> float:
    """Fill out [K, 5] with the sums over a tie's exits l of wbar times 1/v, a/v, 1/v^2, a/v^2, a^2/v^2.

    v = s0 - a d0 with a = l / d for Efron's ties and 0 for Breslow's. Returns sum of wbar log v.
    """
    total = 0.0
    for k in range(low.size):
        d = high[k] - low[k]
        w = 0.0
        for j in range(low[k], high[k]):
            w += weight[j]
        w /= d
        out[k, :] = 0.0
        for l in range(d):
            a = l / d if efron else 0.0
            v = s0[k] - a * d0[k]
            total += w * np.log(v)
            out[k, 0] += w / v
            out[k, 1] += w * a / v
            out[k, 2] += w / v**2
            out[k, 3] += w * a / v**2
            out[k, 4] += w * a * a / v**2
    return total


@njit(cache=True, nogil=True)
def score_sums(
    x: Array,
    r: Array,
    c: Array,
    weight: Array,
    first: Array,
    last: Array,
    low: Array,
    high: Array,
    running: Array,
    mean: Array,
    tied: Array,
    group: Array,
    out: Array,
) -> None:
    """Add every row's score residual to its group's sum ``out`` [G, p].

    ``c`` [n] expected exits of the row, ``running`` [K + 1, p] cumulated r-weighted compensator of the
    means, ``mean`` [K, p] the mean at the exits, ``tied`` [K, p] Efron's correction (or no rows).
    """
    p = x.shape[1]
    for i in range(r.size):
        g = group[i]
        for j in range(p):
            out[g, j] += r[i] * (running[last[i], j] - running[first[i], j]) - c[i] * x[i, j]
    for k in range(low.size):
        for i in range(low[k], high[k]):
            g = group[i]
            for j in range(p):
                out[g, j] += weight[i] * (x[i, j] - mean[k, j])
                if tied.shape[0] > 0:
                    out[g, j] -= r[i] * tied[k, j]
