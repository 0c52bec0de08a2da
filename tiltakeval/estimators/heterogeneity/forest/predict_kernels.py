"""Predictions from leaf moments summed over trees, and their variances from little bags."""

from __future__ import annotations

import numpy as np

from tiltakeval.estimators.heterogeneity.forest.compiled import compiled
from tiltakeval.estimators.heterogeneity.forest.split_kernels import (
    LOST,
    backward,
    cholesky,
    forward,
)


@compiled
def holds(inside, bag, cluster):  # type: ignore
    """Whether the bag holds the cluster: inside [bags, bytes] is a set of bits."""
    return (inside[bag, cluster >> 3] >> np.uint8(cluster & 7)) & np.uint8(1) != 0


@compiled
def find_leaves(bins, first, feature, cut, left, child, level, out):  # type: ignore
    """out [n] int32: node of one tree (from ``first``) in which each row ends, at most ``level`` deep.

    Rows with out < 0 are left as they are.
    """
    for i in range(len(bins)):
        if out[i] < 0:
            continue
        node, deep, x = first, 0, bins[i]
        while feature[node] >= 0 and deep < level:
            f = feature[node]
            b = x[f]
            go = left[node] if b == 0 else b <= cut[node]
            node = first + child[node] + (0 if go else 1)
            deep += 1
        out[i] = node


@compiled
def visit(  # type: ignore
    bins, cluster, oob, inside, trees_a_bag, lo_tree, first, feature, cut, left, child, level, out
):
    """out [trees, n] int32: the node of every tree for every row, -1 where the bag held its cluster.

    ``oob``: leave out trees that saw a row (bit sets ``inside``; cluster [n]).
    """
    for t in range(len(out)):
        bag = (lo_tree + t) // trees_a_bag
        for i in range(len(bins)):
            out[t, i] = -1 if oob and holds(inside, bag, cluster[i]) else 0
        find_leaves(bins, first[lo_tree + t], feature, cut, left, child, level, out[t])


@compiled
def add_up(nodes, moments, sums, times):  # type: ignore
    """Add to sums [n, q] the moments [nodes, q] of the nodes [trees, n], and to times [n] how many."""
    q = moments.shape[1]
    for t in range(len(nodes)):
        for i in range(len(sums)):
            node = nodes[t, i]
            if node >= 0:
                times[i] += 1
                for l in range(q):
                    sums[i, l] += moments[node, l]


@compiled
def solve(sums, times, k, effect, lower):  # type: ignore
    """effect [n, K] = (sum of w w' about its mean)^-1 (sum of w y about it), by Cholesky.

    The factor goes to lower [n, K, K]. Rows without a tree, or singular, get NaN.
    """
    a, b = np.empty((k, k)), np.empty(k)
    for i in range(len(sums)):
        s, m = sums[i], np.float64(times[i])
        at = k + 1
        ok = times[i] > 0
        if ok:
            for j in range(k):
                for l in range(j + 1):
                    a[j, l] = s[at] / m - s[j] * s[l] / (m * m)
                    at += 1
                ok = ok and a[j, j] > LOST * s[at - 1] / m
            for j in range(k):
                b[j] = s[at + j] / m - s[j] * s[k] / (m * m)
            ok = ok and cholesky(a, k)
        if not ok:
            effect[i] = np.nan
            lower[i] = np.nan
            continue
        forward(a, b, k)
        backward(a, b, k)
        for j in range(k):
            effect[i, j] = b[j]
            for l in range(k):
                lower[i, j, l] = a[j, l]


@compiled
def bag_influence(nodes, bag_size, moments, sums, times, effect, lower, which, psi, within):  # type: ignore
    """Influence of every little bag on the effects ``which`` [m] of each row: psi [n, bags, m].

    The influence of a tree is A^-1 times its mean of (w - mean)(y - mean - (w - mean)'effect) (Athey,
    Tibshirani & Wager 2019, section 4.1), and a bag's is the mean over its trees; 0 for bags that held
    the row's cluster. within [n, m]: mean over trees of the squared deviation from the bag's mean.
    """
    trees, n = nodes.shape
    k, picked = effect.shape[1], len(which)
    size = 2 * k + 1 + k * (k + 1) // 2
    mean, v = np.empty(k + 1), np.empty(k)
    inverse, own = np.empty((picked, k)), np.empty((bag_size, picked))
    for i in range(n):
        within[i] = 0.0
        psi[i] = 0.0
        if times[i] == 0:
            continue
        for j in range(k + 1):
            mean[j] = sums[i, j] / times[i]
        for q in range(picked):
            inverse[q] = 0.0
            inverse[q, which[q]] = 1.0
            forward(lower[i], inverse[q], k)
            backward(lower[i], inverse[q], k)
        e, used = effect[i], 0
        for g in range(trees // bag_size):
            if nodes[g * bag_size, i] < 0:
                continue
            used += 1
            for t in range(bag_size):
                s = moments[nodes[g * bag_size + t, i]]
                inner = mean[k] - s[k]  # minus the leaf's mean residual
                for j in range(k):
                    inner += (s[j] - mean[j]) * e[j]
                at = k + 1
                for j in range(k):
                    v[j] = s[size - k + j] - s[j] * mean[k] + mean[j] * inner
                    for l in range(j + 1):
                        v[j] -= (s[at] - s[j] * mean[l]) * e[l]
                        if l < j:
                            v[l] -= (s[at] - s[l] * mean[j]) * e[j]
                        at += 1
                for q in range(picked):
                    own[t, q] = 0.0
                    for j in range(k):
                        own[t, q] += inverse[q, j] * v[j]
                    psi[i, g, q] += own[t, q]
            for q in range(picked):
                psi[i, g, q] /= bag_size
                for t in range(bag_size):
                    within[i, q] += (own[t, q] - psi[i, g, q]) ** 2
        for q in range(picked):
            within[i, q] /= used * bag_size


@compiled
def bag_products(psi, bags, between):  # type: ignore
    """between [n, K, K]: mean over each row's bags [n] of the products of their influence."""
    n, number, k = psi.shape
    for i in range(n):
        for j in range(k):
            for l in range(j + 1):
                s = 0.0
                for g in range(number):
                    s += psi[i, g, j] * psi[i, g, l]
                s /= max(bags[i], 1)
                between[i, j, l] = s
                between[i, l, j] = s


@compiled
def average(sums, times, out):  # type: ignore
    """out [n, q]: sums over the number of trees, NaN without any."""
    for i in range(len(sums)):
        for l in range(sums.shape[1]):
            out[i, l] = sums[i, l] / times[i] if times[i] > 0 else np.nan
