"""Densities, posteriors and scores of units, point by point over blocks of units that stay cached.

Notation as in ``kernels``, with units last: n, a [c, u], post [j, u], so that the innermost loops are
long and vectorise whatever the number of channels and points.
"""

from __future__ import annotations

import numpy as np

from tiltakeval.estimators.duration.mixture.compiled import compiled
from tiltakeval.estimators.duration.mixture.exponential_kernels import exponential

BLOCK = 128


@compiled
def relative_densities(n, a, mu, v, logp, out, top, total):  # type: ignore
    """out [j, u] = p_j exp(sum_c n mu - a v - top), with top [u] the largest log; total [u] sums."""
    channels, points = mu.shape
    for lo in range(0, n.shape[1], BLOCK):
        hi = min(lo + BLOCK, n.shape[1])
        size = hi - lo
        best, sums = top[lo:hi], total[lo:hi]
        for j in range(points):
            row, first = out[j, lo:hi], logp[j]
            for i in range(size):
                row[i] = first
            for c in range(channels):
                nc, ac, m, x = n[c, lo:hi], a[c, lo:hi], mu[c, j], v[c, j]
                for i in range(size):
                    row[i] += nc[i] * m - ac[i] * x
            if j == 0:
                for i in range(size):
                    best[i] = row[i]
            else:
                for i in range(size):
                    best[i] = row[i] if row[i] > best[i] else best[i]
        for i in range(size):
            sums[i] = 0.0
        for j in range(points):
            row = out[j, lo:hi]
            for i in range(size):
                e = exponential(row[i] - best[i])
                row[i] = e
                sums[i] += e


@compiled
def scored(n, a, v, post, weight, root, scores, mean, spread, total, diagonal, level):  # type: ignore
    """Posterior-weighted scores of the points and their sums.

    scores [(C + 1) J, u]: post * (n - a v) by channel, then post, all times ``root``. mean [c, u] is
    the posterior mean of v, spread [c, c' >= c, u] its posterior covariance. Added to, with the
    weight: total [(C + 1) J] the scores; diagonal [c, c' >= c, j] products of two channels' scores at
    a point; level [c, j] a v times the posterior.
    """
    channels, points = v.shape
    mass, slope = np.empty(BLOCK), np.empty((channels, BLOCK))
    for lo in range(0, n.shape[1], BLOCK):
        hi = min(lo + BLOCK, n.shape[1])
        size = hi - lo
        w, r = weight[lo:hi], root[lo:hi]
        for c in range(channels):
            m = mean[c, lo:hi]
            for i in range(size):
                m[i] = 0.0
            for j in range(points):
                p, x = post[j, lo:hi], v[c, j]
                for i in range(size):
                    m[i] += p[i] * x
            for b in range(c, channels):
                s = spread[c, b, lo:hi]
                for i in range(size):
                    s[i] = 0.0
        for j in range(points):
            p, own = post[j, lo:hi], scores[channels * points + j, lo:hi]
            s = 0.0
            for i in range(size):
                own[i] = r[i] * p[i]
                mass[i] = w[i] * p[i]
                s += mass[i]
            total[channels * points + j] += s
            for c in range(channels):
                nc, ac, x = n[c, lo:hi], a[c, lo:hi], v[c, j]
                own, to = scores[c * points + j, lo:hi], slope[c]
                s, height = 0.0, 0.0
                for i in range(size):
                    to[i] = nc[i] - ac[i] * x
                    s += mass[i] * to[i]
                    height += mass[i] * ac[i]
                for i in range(size):
                    own[i] = r[i] * p[i] * to[i]
                total[c * points + j] += s
                level[c, j] += height * x
            for c in range(channels):
                mc, x, left = mean[c, lo:hi], v[c, j], slope[c]
                for b in range(c, channels):
                    mb, y, right = mean[b, lo:hi], v[b, j], slope[b]
                    both, out = 0.0, spread[c, b, lo:hi]
                    for i in range(size):
                        both += mass[i] * left[i] * right[i]
                    for i in range(size):
                        out[i] += p[i] * (x - mc[i]) * (y - mb[i])
                    diagonal[c, b, j] += both


@compiled
def cross_scores(c, v, post, scores, mean, weight, root, out):  # type: ignore
    """out [(C + 1) J, u]: minus weight times (v_c - its posterior mean) times each weighted score.

    With the term of the mass points' own derivative; the product with the covariates' integrals of
    channel c is the cross block of the Hessian (Louis 1982). ``scores`` are those of ``scored``.
    """
    channels, points = v.shape
    for lo in range(0, post.shape[1], BLOCK):
        hi = min(lo + BLOCK, post.shape[1])
        size = hi - lo
        w, r, m = weight[lo:hi], root[lo:hi], mean[c, lo:hi]
        for k in range(channels + 1):
            for j in range(points):
                row, to, x = scores[k * points + j, lo:hi], out[k * points + j, lo:hi], v[c, j]
                for i in range(size):
                    to[i] = (m[i] - x) * row[i] * (w[i] / r[i] if r[i] > 0.0 else 0.0)
        for j in range(points):
            p, to, x = post[j, lo:hi], out[c * points + j, lo:hi], v[c, j]
            for i in range(size):
                to[i] -= w[i] * p[i] * x


@compiled
def directional(n, a, base, weight, mu, v, value, grad, hess):  # type: ignore
    """value [m]: sums over units of weight * exp(base + n mu - a v) at m points mu [C, m].

    With gradient [C, m] and Hessian [C, C, m] in mu.
    """
    channels, points = mu.shape
    value[:], grad[:], hess[:] = 0.0, 0.0, 0.0
    ratio, slope = np.empty(BLOCK), np.empty((channels, BLOCK))
    for lo in range(0, n.shape[1], BLOCK):
        hi = min(lo + BLOCK, n.shape[1])
        size = hi - lo
        level, w = base[lo:hi], weight[lo:hi]
        for k in range(points):
            for i in range(size):
                ratio[i] = level[i]
            for c in range(channels):
                nc, ac, s, m, x = n[c, lo:hi], a[c, lo:hi], slope[c], mu[c, k], v[c, k]
                for i in range(size):
                    ratio[i] += nc[i] * m - ac[i] * x
                    s[i] = nc[i] - ac[i] * x
            total = 0.0
            for i in range(size):
                e = w[i] * exponential(min(ratio[i], 700.0))
                ratio[i] = e
                total += e
            value[k] += total
            for c in range(channels):
                ac, s, x = a[c, lo:hi], slope[c], v[c, k]
                first, own = 0.0, 0.0
                for i in range(size):
                    first += ratio[i] * s[i]
                    own += ratio[i] * ac[i]
                grad[c, k] += first
                hess[c, c, k] -= own * x
                for b in range(c + 1):
                    other, second = slope[b], 0.0
                    for i in range(size):
                        second += ratio[i] * s[i] * other[i]
                    hess[c, b, k] += second
    for c in range(channels):
        for b in range(c):
            hess[b, c] = hess[c, b]
