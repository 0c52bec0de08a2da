"""Splits of one node: targets, histograms over bins, the best cut of every covariate.

Bin 0 holds what is missing, bins 1, 2, ... the values in order; a cut c sends bins 1..c to the left,
and what is missing to the side that is better (Twala, Jones & Hand 2008), or, where the node has
nothing missing, to the larger one. K targets (one an effect), A arms.
"""

from __future__ import annotations

import numpy as np

from tiltakeval.estimators.heterogeneity.forest.compiled import compiled

WIDTH = 8
TINY = 1e-10
#: A variance below this share of the mean square is rounding (moments are kept in single precision).
LOST = 1e-6


@compiled
def cholesky(a, k):  # type: ignore
    """Lower triangle of a [k, k] in place; False where it isn't positive definite."""
    for i in range(k):
        scale = a[i, i]
        for j in range(i + 1):
            s = a[i, j]
            for l in range(j):
                s -= a[i, l] * a[j, l]
            if i == j:
                if not s > TINY * scale or not scale > 0.0:
                    return False
                a[i, i] = np.sqrt(s)
            else:
                a[i, j] = s / a[j, j]
    return True


@compiled
def forward(lower, b, k):  # type: ignore
    """b := L^-1 b."""
    for i in range(k):
        s = b[i]
        for j in range(i):
            s -= lower[i, j] * b[j]
        b[i] = s / lower[i, i]


@compiled
def backward(lower, b, k):  # type: ignore
    """b := L'^-1 b."""
    for i in range(k - 1, -1, -1):
        s = b[i]
        for j in range(i + 1, k):
            s -= lower[j, i] * b[j]
        b[i] = s / lower[i, i]


@compiled
def mean_targets(rows, lo, hi, y, weight, rho):  # type: ignore
    """rho [m, >= K + 1]: weight times deviation from the node's mean, y [n, K]; then the weight."""
    k = y.shape[1]
    mean, total = np.zeros(k), 0.0
    for r in range(lo, hi):
        i = rows[r]
        total += weight[i]
        for j in range(k):
            mean[j] += weight[i] * y[i, j]
    mean /= total
    for r in range(lo, hi):
        i = rows[r]
        for j in range(k):
            rho[r - lo, j] = weight[i] * (y[i, j] - mean[j])
        rho[r - lo, k] = weight[i]
    return True


@compiled
def effect_targets(rows, lo, hi, treat, outcome, weight, standard, only, rho):  # type: ignore
    """Gradient of the node's effects by each unit (Athey, Tibshirani & Wager 2019, eqs. 7 and 20).

    With w the residual treatment [K], y the residual outcome, A = E[(w - mean)(w - mean)'] = L L' and
    r the residual of y regressed on w in the node: rho = A^-1 (w - mean) r, or, ``standard``,
    L^-1 (w - mean) r, whose squared sums measure what a split takes off the squared residuals.
    ``only`` >= 0: the component of A^-1 (w - mean) r that is one effect's, as the only target. Times the
    weight, which stands in the column after the targets. False where A is singular.
    """
    k = treat.shape[1]
    a, b, mean, centre, total = np.zeros((k, k)), np.zeros(k), np.zeros(k), 0.0, 0.0
    for r in range(lo, hi):
        i = rows[r]
        g = weight[i]
        total += g
        centre += g * outcome[i]
        for j in range(k):
            v = g * treat[i, j]
            mean[j] += v
            b[j] += v * outcome[i]
            for l in range(j + 1):
                a[j, l] += v * treat[i, l]
    if not total > 0.0:
        return False
    centre /= total
    for j in range(k):
        mean[j] /= total
    for j in range(k):
        b[j] = b[j] / total - mean[j] * centre
        square = a[j, j] / total
        for l in range(j + 1):
            a[j, l] = a[j, l] / total - mean[j] * mean[l]
        if not a[j, j] > LOST * square:
            return False
    if not cholesky(a, k):
        return False
    forward(a, b, k)
    backward(a, b, k)
    v = np.empty(k)
    for r in range(lo, hi):
        i = rows[r]
        residual = outcome[i] - centre
        for j in range(k):
            v[j] = treat[i, j] - mean[j]
            residual -= v[j] * b[j]
        forward(a, v, k)
        if only >= 0 or not standard:
            backward(a, v, k)
        residual *= weight[i]
        if only >= 0:
            rho[r - lo, 0] = v[only] * residual
            rho[r - lo, 1] = weight[i]
            continue
        for j in range(k):
            rho[r - lo, j] = v[j] * residual
        rho[r - lo, k] = weight[i]
    return True


@compiled
def histograms(rows, lo, hi, bins, arm, chosen, m, rho, sums, counts):  # type: ignore
    """sums [m, bins, width] of rho and counts [m, bins, A] by bin of the ``m`` chosen covariates."""
    blocks = sums.shape[2] // WIDTH
    for r in range(lo, hi):
        i = rows[r]
        a = arm[i]
        x, value = bins[i], rho[r - lo]
        for j in range(m):
            b = x[chosen[j]]
            counts[j, b, a] += 1
            record = sums[j, b]
            if blocks == 1:
                for l in range(WIDTH):
                    record[l] += value[l]
            else:
                for l in range(blocks * WIDTH):
                    record[l] += value[l]


@compiled
def best_cuts(m, used, k, total, arms, least_arm, least, penalty, sums, counts, gain, cut, left):  # type: ignore
    """Best cut of each of ``m`` covariates: gain [m] (-1 without any), cut [m], missing to the left.

    used [m] bins in use; total [K + 1] and arms [A] of the node. Both sides have ``least`` units, and
    ``least_arm`` of every arm. The gain is the sum over sides and targets of (sum of rho)^2 /
    (weight + penalty): minus the squared error of two constants, up to the penalty.
    """
    side, seen = np.empty(k + 1), np.empty(len(arms), np.int64)
    units = 0
    for a in range(len(arms)):
        units += arms[a]
    for j in range(m):
        gain[j], cut[j], left[j] = -1.0, 0, False
        missing = 0
        for a in range(len(arms)):
            missing += counts[j, 0, a]
        for turn in range(2 if missing > 0 else 1):
            side[:] = 0.0
            seen[:] = 0
            taken = 0
            for b in range(0 if turn else 1, used[j] - 1):
                here = 0
                for a in range(len(arms)):
                    here += counts[j, b, a]
                    seen[a] += counts[j, b, a]
                if here == 0:
                    continue
                taken += here
                for l in range(k + 1):
                    side[l] += sums[j, b, l]
                if units - taken < least:
                    break
                if taken < least:
                    continue
                enough, ever = True, True
                for a in range(len(arms)):
                    enough = enough and seen[a] >= least_arm
                    ever = ever and arms[a] - seen[a] >= least_arm
                if not ever:
                    break
                if not enough:
                    continue
                one, two = side[k] + penalty, total[k] - side[k] + penalty
                if not (side[k] > 0.0 and total[k] - side[k] > 0.0):
                    continue
                found = 0.0
                for l in range(k):
                    other = total[l] - side[l]
                    found += side[l] * side[l] / one + other * other / two
                if found > gain[j]:
                    gain[j], cut[j], left[j] = found, b, turn == 1
        if missing == 0 and gain[j] >= 0.0:
            below = 0
            for b in range(1, cut[j] + 1):
                for a in range(len(arms)):
                    below += counts[j, b, a]
            left[j] = 2 * below >= units


@compiled
def goes_left(b, cut, left):  # type: ignore
    """Whether bin ``b`` goes to the left."""
    return left if b == 0 else b <= cut


@compiled
def enough_of_every_arm(rows, lo, hi, bins, arm, f, cut, left, least_arm, side, both):  # type: ignore
    """Whether both sides of a cut have ``least_arm`` units of every arm among the given rows."""
    side[:] = 0
    both[:] = 0
    for r in range(lo, hi):
        i = rows[r]
        both[arm[i]] += 1
        if goes_left(bins[i, f], cut, left):
            side[arm[i]] += 1
    enough = True
    for a in range(len(side)):
        enough = enough and side[a] >= least_arm and both[a] - side[a] >= least_arm
    return enough


@compiled
def partition(rows, lo, hi, bins, f, cut, left, spare):  # type: ignore
    """Rows of a node in the order left, right, each in its own order; returns where right begins."""
    a, b = lo, 0
    for r in range(lo, hi):
        i = rows[r]
        if goes_left(bins[i, f], cut, left):
            rows[a] = i
            a += 1
        else:
            spare[b] = i
            b += 1
    for r in range(b):
        rows[a + r] = spare[r]
    return a


@compiled
def honest_gain(rows, lo, hi, bins, f, cut, left, rho, k):  # type: ignore
    """What a cut takes off the squared residuals of rows that didn't choose it, in units of the noise.

    rho [m, K + 1] are their standard targets and weights. Each target's gain is divided by what it
    would be on average if the cut were unrelated to it, so that the result, K taken off, is about 0 for
    a covariate that doesn't matter.
    """
    side, total, noise = np.zeros(k + 1), np.zeros(k + 1), np.zeros(k)
    for r in range(lo, hi):
        value = rho[r - lo]
        for l in range(k + 1):
            total[l] += value[l]
        for l in range(k):
            noise[l] += value[l] * value[l]
        if goes_left(bins[rows[r], f], cut, left):
            for l in range(k + 1):
                side[l] += value[l]
    one, two = side[k], total[k] - side[k]
    if not (one > 0.0 and two > 0.0):
        return 0.0
    gain = 0.0
    for l in range(k):
        if noise[l] > 0.0:
            other = total[l] - side[l]
            gain += (side[l] * side[l] / one + other * other / two) * total[k] / noise[l] - 1.0
    return gain
