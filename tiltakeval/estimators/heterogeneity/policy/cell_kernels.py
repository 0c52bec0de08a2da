"""Exact search for shallow trees over declared cuts: everything a tree can use is in tables of sums.

With units binned by cuts, the sums of rewards by pairs of covariates hold every tree of depth 2, so
that the search costs p^2 B^2 A after one pass over the units; depth 3 sweeps the root through the units
of each covariate and searches both sides anew, p^3 B^3 A. Nothing is left out: the trees found are the
best there are over those cuts. Ties go to the split and arm met first.
"""

from __future__ import annotations

import numpy as np
from numba import njit

EMPTY = -np.inf


@njit(cache=True, nogil=True)
def pair_sums(bins, rewards, units, p, size):  # type: ignore[no-untyped-def]
    """[p, p, B, B, A + 1] sums of rewards, and counts last, by the bins of each pair of covariates.

    ``bins`` [n, p] int16, ``rewards`` [n, A], ``units`` [m] rows to add up.
    """
    arms = rewards.shape[1]
    out = np.zeros((p, p, size, size, arms + 1))
    for i in units:
        for j in range(p):
            for k in range(j, p):
                cell = out[j, k, bins[i, j], bins[i, k]]
                for a in range(arms):
                    cell[a] += rewards[i, a]
                cell[arms] += 1.0
    for j in range(p):
        for k in range(j + 1, p):
            for b in range(size):
                for d in range(size):
                    out[k, j, d, b] = out[j, k, b, d]
    return out


@njit(cache=True, nogil=True)
def best_arm(total, floor):  # type: ignore[no-untyped-def]
    """(value, arm) of one leaf; no arm below ``floor`` units."""
    arms = total.shape[0] - 1
    if total[arms] < floor:
        return EMPTY, 0
    arm = 0
    for a in range(1, arms):
        if total[a] > total[arm]:
            arm = a
    return total[arm], arm


@njit(cache=True, nogil=True)
def _two_leaves(first, total, floor):  # type: ignore[no-untyped-def]
    """Value of two leaves, ``first`` [A + 1] and ``total`` - ``first``."""
    arms = total.shape[0] - 1
    if first[arms] < floor or total[arms] - first[arms] < floor:
        return EMPTY
    left, right = first[0], total[0] - first[0]
    for a in range(1, arms):
        left = max(left, first[a])
        right = max(right, total[a] - first[a])
    return left + right


@njit(cache=True, nogil=True)
def best_pair(sums, n_bins, floor):  # type: ignore[no-untyped-def]
    """Best tree of depth 2 from ``pair_sums``: (value, root covariate, cut, [2, 2] covariate and cut of
    the left and right child; covariate -1: a leaf)."""
    p, _, size, _, width = sums.shape
    total = np.zeros(width)
    for b in range(size):
        total += sums[0, 0, b, b]
    best, _ = best_arm(total, floor)
    root, cut = -1, -1
    children = np.full((2, 2), -1, dtype=np.int64)
    left = np.empty(size)
    right = np.empty(size)
    split_left = np.empty((size, 2), dtype=np.int64)
    split_right = np.empty((size, 2), dtype=np.int64)
    upto = np.empty((size, width))
    rest = np.empty((size, width))
    sum_left = np.empty(width)
    sum_right = np.empty(width)
    low = np.empty(width)
    high = np.empty(width)
    for j in range(p):
        last = n_bins[j] - 1
        if last < 1:
            continue
        low[:] = 0.0
        for t in range(last):
            low += sums[j, j, t, t]
            high[:] = total - low
            left[t], _ = best_arm(low, floor)
            right[t], _ = best_arm(high, floor)
            split_left[t] = -1
            split_right[t] = -1
        for k in range(p):
            many = n_bins[k]
            if many < 2:
                continue
            upto[:many] = 0.0
            for s in range(many):
                rest[s] = 0.0
                for t in range(n_bins[j]):
                    for c in range(width):
                        rest[s, c] += sums[j, k, t, s, c]
            sum_left[:] = 0.0
            for t in range(last):
                for s in range(many):
                    for c in range(width):
                        moved = sums[j, k, t, s, c]
                        upto[s, c] += moved
                        rest[s, c] -= moved
                        sum_left[c] += moved
                if left[t] == EMPTY or right[t] == EMPTY:
                    continue
                for c in range(width):
                    sum_right[c] = total[c] - sum_left[c]
                    low[c] = 0.0
                    high[c] = 0.0
                for s in range(many - 1):
                    for c in range(width):
                        low[c] += upto[s, c]
                        high[c] += rest[s, c]
                    value = _two_leaves(low, sum_left, floor)
                    if value > left[t]:
                        left[t] = value
                        split_left[t, 0], split_left[t, 1] = k, s
                    value = _two_leaves(high, sum_right, floor)
                    if value > right[t]:
                        right[t] = value
                        split_right[t, 0], split_right[t, 1] = k, s
        for t in range(last):
            if left[t] + right[t] > best:
                best = left[t] + right[t]
                root, cut = j, t
                children[0] = split_left[t]
                children[1] = split_right[t]
    return best, root, cut, children


@njit(cache=True, nogil=True)
def best_triple_root(bins, rewards, units, n_bins, size, floor):  # type: ignore[no-untyped-def]
    """(value, root covariate, cut) of the best tree of depth 3 among ``units``; covariate -1: the best
    tree of depth 2 is as good."""
    p = bins.shape[1]
    every = pair_sums(bins, rewards, units, p, size)
    best, _, _, _ = best_pair(every, n_bins, floor)
    root, cut = -1, -1
    arms = rewards.shape[1]
    for j in range(p):
        below = np.zeros_like(every)
        above = every.copy()
        order = units[np.argsort(bins[units, j], kind="mergesort")]
        place = 0
        for t in range(n_bins[j] - 1):
            moved = False
            while place < order.size and bins[order[place], j] <= t:
                i = order[place]
                for k in range(p):
                    for l in range(p):
                        to = below[k, l, bins[i, k], bins[i, l]]
                        fro = above[k, l, bins[i, k], bins[i, l]]
                        for a in range(arms):
                            to[a] += rewards[i, a]
                            fro[a] -= rewards[i, a]
                        to[arms] += 1.0
                        fro[arms] -= 1.0
                place += 1
                moved = True
            if not moved or place < floor or order.size - place < floor:
                continue
            left, _, _, _ = best_pair(below, n_bins, floor)
            right, _, _, _ = best_pair(above, n_bins, floor)
            if left + right > best:
                best = left + right
                root, cut = j, t
    return best, root, cut
