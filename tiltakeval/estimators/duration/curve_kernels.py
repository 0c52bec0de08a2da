"""Compiled loops of the product limit: one pass over spells sorted by duration.

Everything compiled lies in this file, so that numba's cache on disk notices every change.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray


@njit(cache=True, nogil=True)
def exit_grid(
    duration: Array, event: Array, weight: Array, exits: int, exits_first: bool
) -> tuple[Array, Array, Array, Array, Array]:
    """Exit times and who is at risk of them, from spells [n] sorted by ``duration``.

    Returns grid [K] of distinct times with an exit, jumps [J, K] (weight leaving), held [K] (weight
    with the time at or before the duration), place [n] (own exit's number in the
    grid, -1 if censored) and last [n] (how many times of the grid the spell lasted through).
    """
    n = duration.size
    grid = np.empty(n)
    place = np.full(n, -1, dtype=np.int32)
    last = np.empty(n, dtype=np.int32)
    count = 0
    i = 0
    while i < n:
        stop = i
        any_exit = False
        while stop < n and duration[stop] == duration[i]:
            if event[stop] > 0:
                any_exit = True
            stop += 1
        if any_exit:
            grid[count] = duration[i]
            count += 1
        for u in range(i, stop):
            last[u] = count
            if event[u] > 0:
                place[u] = count - 1
            elif any_exit and not exits_first:
                last[u] = count - 1
        i = stop
    jumps = np.zeros((exits, count))
    held = np.zeros(count)
    for u in range(n):
        if place[u] >= 0:
            jumps[event[u] - 1, place[u]] += weight[u]
        if last[u] > 0:
            held[last[u] - 1] += weight[u]
    for k in range(count - 2, -1, -1):
        held[k] += held[k + 1]
    return grid[:count].copy(), jumps, held, place, last


@njit(cache=True, nogil=True)
def _over_time(out: Array, here: Array, running: Array, at: Array) -> Array:
    """From what begins and ends in each interval of times to sums by time [G, T, C].

    ``out`` [G, T + 1, C] and ``here`` [G, T + 1] (who is followed) are written over.
    """
    rows, size, width = out.shape[0], at.size, out.shape[2]
    for g in range(rows):
        for t in range(1, size):
            here[g, t] += here[g, t - 1]
            for c in range(width):
                out[g, t, c] += out[g, t - 1, c]
        for t in range(size):
            for c in range(width):
                out[g, t, c] -= running[c, at[t]] * here[g, t]
    return out[:, :size]


@njit(cache=True, nogil=True)
def sums_by_group(
    duration: Array,
    entry_bin: Array,
    times: Array,
    event: Array,
    weight: Array,
    group: Array,
    groups: int,
    place: Array,
    first: Array,
    last: Array,
    which: Array,
    value: Array,
    running: Array,
    at: Array,
) -> Array:
    """[G, T, C] sums over each group of the weighted channels up to each requested time.

    Spells sorted by duration. Channel c of a spell at time t: ``value[c]`` at its own exit (if
    ``which[c]`` is 0 or that exit, and it has happened), less ``running[c]`` gathered while at risk.
    """
    width = which.size
    size = times.size
    out = np.zeros((groups, size + 1, width))
    here = np.zeros((groups, size + 1))
    b = 0
    for i in range(duration.size):
        while b < size and times[b] < duration[i]:
            b += 1
        start = entry_bin[i]
        if start >= size:
            continue
        g, w, k = group[i], weight[i], place[i]
        here[g, start] += w
        here[g, b] -= w
        for c in range(width):
            x = -running[c, last[i]]
            if k >= 0 and (which[c] == 0 or which[c] == event[i]):
                x += value[c, k]
            out[g, b, c] += w * x
            if first[i] > 0:
                out[g, start, c] += w * running[c, first[i]]
    return _over_time(out, here, running, at)


@njit(cache=True, nogil=True)
def sums_by_loading(
    duration: Array,
    entry_bin: Array,
    times: Array,
    event: Array,
    loading: Array,
    place: Array,
    first: Array,
    last: Array,
    which: Array,
    value: Array,
    running: Array,
    at: Array,
) -> Array:
    """[Q, T, C]: as ``sums_by_group``, each spell counted with its ``loading`` [n, Q]."""
    width = which.size
    size = times.size
    q = loading.shape[1]
    out = np.zeros((q, size + 1, width))
    here = np.zeros((q, size + 1))
    b = 0
    for i in range(duration.size):
        while b < size and times[b] < duration[i]:
            b += 1
        start = entry_bin[i]
        if start >= size:
            continue
        k = place[i]
        for c in range(width):
            x = -running[c, last[i]]
            if k >= 0 and (which[c] == 0 or which[c] == event[i]):
                x += value[c, k]
            y = running[c, first[i]]
            for g in range(q):
                out[g, b, c] += loading[i, g] * x
                out[g, start, c] += loading[i, g] * y
        for g in range(q):
            here[g, start] += loading[i, g]
            here[g, b] -= loading[i, g]
    return _over_time(out, here, running, at)
