"""Growing one tree, and what its leaves know."""

from __future__ import annotations

import numpy as np

from tiltakeval.estimators.heterogeneity.forest.compiled import compiled
from tiltakeval.estimators.heterogeneity.forest.sample_kernels import following, start
from tiltakeval.estimators.heterogeneity.forest.split_kernels import (
    best_cuts,
    effect_targets,
    enough_of_every_arm,
    histograms,
    honest_gain,
    mean_targets,
    partition,
)


@compiled
def grow(  # type: ignore
    seed,
    tree,
    rows,
    honest,
    bins,
    used,
    arm,
    treat,
    outcome,
    weight,
    causal,
    standard,
    only,
    columns,
    least_arm,
    least,
    share,
    depth,
    penalty,
    chance,
    feature,
    cut,
    left,
    child,
    span,
    rho,
    sums,
    counts,
    spare,
    levels,
    found,
):
    """Grow a tree on ``rows``; ``honest`` rows follow, and are put in the order of its nodes.

    bins [n, p] uint8, used [p] number of bins (bin 0 included), arm [n] int, treat [n, K], outcome,
    weight [n]. ``causal``: targets are effects (or the one effect ``only``), else the columns of
    ``treat``. ``columns`` are tried a node, drawn with ``chance`` [p] as relative odds. Both sides of a
    split have ``least_arm`` units of every arm (in rows and in honest), ``least`` units and a ``share``
    of the node's. Writes feature [nodes] (-1: leaf), cut, left (missing goes left), child (the left
    one; the right one follows it), span [nodes, 2] of honest rows. Returns the number of nodes.

    In nodes less than ``levels`` deep, found [p, 2] takes up what the cut of every covariate tried
    gains among the honest rows beyond what noise would (``honest_gain``), and how often it was tried.
    """
    state = start(seed, 3, tree)
    n, p = len(rows), bins.shape[1]
    k = 1 if causal and only >= 0 else treat.shape[1]
    arms = counts.shape[2]
    order, chosen = np.empty(p, np.int64), np.empty(p, np.int64)
    live = 0
    for f in range(p):
        if used[f] > 2 and chance[f] > 0.0:
            order[live] = f
            live += 1
    gain, cuts, lefts = np.empty(p), np.empty(p, np.int64), np.empty(p, np.bool_)
    bounds, total = np.empty(p, np.int64), np.empty(k + 1)
    here, side, both = np.empty(arms, np.int64), np.empty(arms, np.int64), np.empty(arms, np.int64)
    stack = np.empty((2 * (depth + 2) if depth < 60 else 4096, 4), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, 0, n, 0
    span[0, 0], span[0, 1] = 0, len(honest)
    nodes, waiting = 1, 1
    while waiting > 0:
        waiting -= 1
        node, lo, hi, level = stack[waiting]
        feature[node], child[node], cut[node], left[node] = -1, -1, 0, False
        minimum = max(least, np.int64(np.ceil(share * (hi - lo))))
        here[:] = 0
        for r in range(lo, hi):
            here[arm[rows[r]]] += 1
        fits = level < depth and hi - lo >= 2 * minimum and waiting + 2 <= len(stack)
        for a in range(arms):
            fits = fits and here[a] >= 2 * least_arm
        if not fits or live == 0:
            continue
        if causal:
            if not effect_targets(rows, lo, hi, treat, outcome, weight, standard, only, rho):
                continue
        else:
            mean_targets(rows, lo, hi, treat, weight, rho)
        m = min(columns, live)
        odds = 0.0
        for j in range(live):
            odds += chance[order[j]]
        for j in range(m):
            if m == live:
                chosen[j], bounds[j] = order[j], used[order[j]]
                sums[j, : bounds[j]] = 0.0
                counts[j, : bounds[j]] = 0
                continue
            u = np.float64(following(state) >> np.uint64(11)) / 9007199254740992.0 * odds
            q = j
            while q < live - 1 and u >= chance[order[q]]:
                u -= chance[order[q]]
                q += 1
            order[j], order[q] = order[q], order[j]
            odds -= chance[order[j]]
            chosen[j], bounds[j] = order[j], used[order[j]]
            sums[j, : bounds[j]] = 0.0
            counts[j, : bounds[j]] = 0
        histograms(rows, lo, hi, bins, arm, chosen, m, rho, sums, counts)
        total[:] = 0.0
        for b in range(bounds[0]):
            for l in range(k + 1):
                total[l] += sums[0, b, l]
        best_cuts(
            m, bounds, k, total, here, least_arm, minimum, penalty, sums, counts, gain, cuts, lefts
        )
        first, last = span[node]
        if level < levels and effect_targets(
            honest, first, last, treat, outcome, weight, True, only, rho
        ):
            for j in range(m):
                if gain[j] > 0.0:
                    f = chosen[j]
                    found[f, 0] += honest_gain(
                        honest, first, last, bins, f, cuts[j], lefts[j], rho, k
                    )
                    found[f, 1] += 1.0
        while True:
            best = -1
            for j in range(m):
                if gain[j] > 0.0 and (best < 0 or gain[j] > gain[best]):
                    best = j
            if best < 0:
                break
            f, c, to = chosen[best], cuts[best], lefts[best]
            if enough_of_every_arm(honest, first, last, bins, arm, f, c, to, least_arm, side, both):
                break
            gain[best] = -1.0
        if best < 0:
            continue
        feature[node], cut[node], left[node], child[node] = f, c, to, nodes
        middle = partition(rows, lo, hi, bins, f, c, to, spare)
        half = partition(honest, first, last, bins, f, c, to, spare)
        span[nodes, 0], span[nodes, 1] = first, half
        span[nodes + 1, 0], span[nodes + 1, 1] = half, last
        stack[waiting] = np.array([nodes + 1, middle, hi, level + 1])
        stack[waiting + 1] = np.array([nodes, lo, middle, level + 1])
        waiting += 2
        nodes += 2
    return nodes


@compiled
def effect_moments(honest, span, child, nodes, treat, outcome, weight, out):  # type: ignore
    """out [nodes, 1 + 2K + K(K+1)/2]: weighted means over a node's honest rows of w, y, w w', w y."""
    k = treat.shape[1]
    size = 2 * k + 1 + k * (k + 1) // 2
    total = np.zeros(nodes)
    work = np.zeros((nodes, size))
    for node in range(nodes - 1, -1, -1):
        to = work[node]
        if child[node] >= 0:
            total[node] = total[child[node]] + total[child[node] + 1]
            for l in range(size):
                to[l] = work[child[node], l] + work[child[node] + 1, l]
            continue
        for r in range(span[node, 0], span[node, 1]):
            i = honest[r]
            g, y = weight[i], outcome[i]
            total[node] += g
            to[k] += g * y
            at = k + 1
            for j in range(k):
                v = g * treat[i, j]
                to[j] += v
                for l in range(j + 1):
                    to[at] += v * treat[i, l]
                    at += 1
                to[size - k + j] += v * y
    for node in range(nodes):
        for l in range(size):
            out[node, l] = work[node, l] / total[node]


@compiled
def mean_moments(honest, span, child, nodes, treat, weight, out):  # type: ignore
    """out [nodes, K]: weighted means of the columns of ``treat`` over a node's honest rows."""
    k = treat.shape[1]
    total, work = np.zeros(nodes), np.zeros((nodes, k))
    for node in range(nodes - 1, -1, -1):
        if child[node] >= 0:
            total[node] = total[child[node]] + total[child[node] + 1]
            for l in range(k):
                work[node, l] = work[child[node], l] + work[child[node] + 1, l]
            continue
        for r in range(span[node, 0], span[node, 1]):
            i = honest[r]
            total[node] += weight[i]
            for j in range(k):
                work[node, j] += weight[i] * treat[i, j]
    for node in range(nodes):
        for l in range(k):
            out[node, l] = work[node, l] / total[node]
