"""Exact trees of depth 2 over every cut the data allow: a sweep with segment trees, p^2 A^2 n log n.

For a root covariate the units enter one side in the order of its values. For a second covariate, cut at
s, the two leaves of that side are worth max_a P_a(s) + max_b (T_b - P_b(s)) with P(s) the sums of
rewards up to s and T the side's total, so the best cut is, over pairs of arms, T_b plus the largest
prefix sum of r_a - r_b. A segment tree over the covariate's values keeps largest and smallest prefix
sums of every pair while units enter, a unit at a time, log n nodes each.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "arcp", "nsz", "nnan"}
LOW = -1e300


@njit(cache=True, nogil=True, fastmath=_FAST)
def _enter(total, most, least, leaf, change, row, pairs):  # type: ignore[no-untyped-def]
    """Add ``change[row]`` to a value's node and renew the nodes above it.

    Nodes are flat, ``pairs`` numbers to a node; positions are unsigned, so that numba needn't look for
    negative ones.
    """
    one, last = np.uint64(1), np.uint64(pairs)
    node = np.uint64(leaf)
    at = node * last
    for q in range(last):
        found = total[at + q] + change[row, q]
        total[at + q] = found
        most[at + q] = found
        least[at + q] = found
    node >>= one
    while node >= one:
        at = node * last
        a = at + at
        b = a + last
        for q in range(last):
            first = total[a + q]
            total[at + q] = first + total[b + q]
            most[at + q] = max(most[a + q], first + most[b + q])
            least[at + q] = min(least[a + q], first + least[b + q])
        node >>= one


@njit(cache=True, nogil=True)
def _position(count, width, wanted):  # type: ignore[no-untyped-def]
    """(value, units up to and with it) of the first value by which ``wanted`` units have entered."""
    node, before = 1, 0
    while node < width:
        node *= 2
        if before + count[node] < wanted:
            before += count[node]
            node += 1
    return node - width, before + count[node]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _range(total, most, least, width, low, high, pairs, out_most, out_least):  # type: ignore[no-untyped-def]
    """Largest and smallest sums up to s, s from ``low`` to ``high``, of every pair."""
    # sums before `low`, then the nodes of [low, high] from left to right
    before = np.zeros(pairs)
    node = low + width
    while node > 1:
        if node & 1:
            for q in range(pairs):
                before[q] += total[(node - 1) * pairs + q]
        node >>= 1
    for q in range(pairs):
        out_most[q] = LOW
        out_least[q] = -LOW
    at = low
    while at <= high:
        node, span = at + width, 1
        while (node & 1) == 0 and at + 2 * span - 1 <= high and node > 1:
            node >>= 1
            span *= 2
        for q in range(pairs):
            out_most[q] = max(out_most[q], before[q] + most[node * pairs + q])
            out_least[q] = min(out_least[q], before[q] + least[node * pairs + q])
            before[q] += total[node * pairs + q]
        at += span


@njit(cache=True, nogil=True, fastmath=_FAST)
def _best_of(first, second, row, most, least, start, pairs):  # type: ignore[no-untyped-def]
    """Value of two leaves from the side's totals (of a and b, by pair) and extreme sums of r_a - r_b."""
    best = LOW
    for q in range(pairs):
        one = second[row, q] + most[start + q]
        other = first[row, q] - least[start + q]
        best = max(best, max(one, other))
    return best


@njit(cache=True, nogil=True)
def side_values(order, starts, ranks, n_values, rewards, floor):  # type: ignore[no-untyped-def]
    """[m] best value of one side of a tree's root, in at most two leaves, after each root value.

    ``order`` [n] units as they enter; ``starts`` [m + 1] where each root value's units begin; ``ranks``
    [n, p] dense ranks of the second covariates, ``n_values`` [p]; ``rewards`` [n, A]; ``floor`` units in
    every leaf.
    """
    n, arms = rewards.shape
    p = ranks.shape[1]
    m = starts.size - 1
    pairs = arms * (arms - 1) // 2
    value = np.full(m, LOW)
    change = np.empty((n, pairs))
    first = np.empty((m, pairs))
    second = np.empty((m, pairs))
    sums = np.zeros(arms)
    for t in range(m):
        for place in range(starts[t], starts[t + 1]):
            q = 0
            for a in range(arms):
                sums[a] += rewards[order[place], a]
                for b in range(a + 1, arms):
                    change[place, q] = rewards[order[place], a] - rewards[order[place], b]
                    q += 1
        q = 0
        for a in range(arms):
            for b in range(a + 1, arms):
                first[t, q] = sums[a]
                second[t, q] = sums[b]
                q += 1
        if starts[t + 1] >= floor:
            value[t] = sums.max()
    high = np.empty(pairs)
    low = np.empty(pairs)
    widest = 1
    while widest < n_values.max():
        widest *= 2
    total = np.empty(2 * widest * pairs)
    most = np.empty(2 * widest * pairs)
    least = np.empty(2 * widest * pairs)
    count = np.empty(2 * widest, dtype=np.int64)
    for k in range(p):
        if n_values[k] < 2:
            continue
        width = 1
        while width < n_values[k]:
            width *= 2
        used = 2 * width * pairs
        total[:used] = 0.0
        most[:used] = 0.0
        least[:used] = 0.0
        count[: 2 * width] = 0
        for t in range(m):
            for place in range(starts[t], starts[t + 1]):
                leaf = width + ranks[order[place], k]
                _enter(total, most, least, leaf, change, place, pairs)
                if floor > 1:
                    while leaf >= 1:
                        count[leaf] += 1
                        leaf >>= 1
            entered = starts[t + 1]
            if entered < 2 * floor:
                continue
            # the bound over all cuts first: the search within the allowed ones is dearer
            bound = _best_of(first, second, t, most, least, pairs, pairs)
            if bound <= value[t]:
                continue
            if floor == 1:
                value[t] = bound
                continue
            start, _ = _position(count, width, floor)
            final, upto = _position(count, width, entered - floor)
            if upto > entered - floor:
                final -= 1
            if final < start:
                continue
            _range(total, most, least, width, start, final, pairs, high, low)
            value[t] = max(value[t], _best_of(first, second, t, high, low, 0, pairs))
    return value


@njit(cache=True, nogil=True)
def best_cut(order, rank, rewards, floor):  # type: ignore[no-untyped-def]
    """(value, place) of the best cut of the units in ``order`` (by ``rank``) into two leaves: the first
    ``place`` of them go left; place 0: one leaf."""
    n, arms = order.size, rewards.shape[1]
    total = np.zeros(arms)
    for i in order:
        total += rewards[i]
    best, place = LOW, 0
    if n >= floor:
        best = total.max()
    first = np.zeros(arms)
    for s in range(n - 1):
        i = order[s]
        first += rewards[i]
        if rank[order[s + 1]] == rank[i] or s + 1 < floor or n - s - 1 < floor:
            continue
        found = first.max() + (total - first).max()
        if found > best:
            best, place = found, s + 1
    return best, place
