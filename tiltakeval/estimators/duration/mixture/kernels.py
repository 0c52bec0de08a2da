"""The loops over rows and persons that are worth compiling.

Notation: u units (persons), c channels (a transition, or a transition in a status with its own
heterogeneity), j mass points. ``a`` [u, c] is integrated hazard without heterogeneity, ``n`` [u, c]
events, ``mu`` [c, j] log of the mass points, ``v`` their exponential.
"""

from __future__ import annotations

import numpy as np

from tiltakeval.estimators.duration.mixture.compiled import compiled


@compiled
def integrate_rows(first, length, channel, x, beta, scale, transition, a, d, row):  # type: ignore
    """Fill a [u, c] and d [u, c, q]: sums over rows of length * exp(x beta_t) and that times x.

    With row [r, t] the terms of a.
    """
    q = x.shape[1]
    for u in range(first.shape[0] - 1):
        for c in range(a.shape[1]):
            a[u, c] = 0.0
            for k in range(q):
                d[u, c, k] = 0.0
        for r in range(first[u], first[u + 1]):
            for t in range(beta.shape[0]):
                c = channel[r, t]
                if c < 0:
                    row[r, t] = 0.0
                    continue
                eta = 0.0
                for k in range(q):
                    eta += x[r, k] * beta[t, k]
                h = length[r] * np.exp(eta)
                row[r, t] = h * scale[u, t]
                a[u, c] += h
                for k in range(q):
                    d[u, c, k] += h * x[r, k]
        for c in range(a.shape[1]):
            s = scale[u, transition[c]]
            a[u, c] *= s
            for k in range(q):
                d[u, c, k] *= s


@compiled
def row_curvature(first, channel, x, row, wv, out):  # type: ignore
    """Add to out [t, q, q]: sum over rows of wv[u, c] * row[r, t] * x x' (upper triangle)."""
    q = x.shape[1]
    for u in range(first.shape[0] - 1):
        for r in range(first[u], first[u + 1]):
            for t in range(row.shape[1]):
                c = channel[r, t]
                if c < 0:
                    continue
                h = row[r, t] * wv[u, c]
                for k in range(q):
                    hx = h * x[r, k]
                    if hx != 0.0:
                        for m in range(k, q):
                            out[t, k, m] += hx * x[r, m]


@compiled
def component_logs(n, a, mu, v, logp, f, top):  # type: ignore
    """f [u, j] = log p_j + sum_c n mu - a v, less its largest over j, which goes to top [u]."""
    channels, points = mu.shape
    for u in range(n.shape[0]):
        for j in range(points):
            f[u, j] = logp[j]
        for c in range(channels):
            nn, aa = n[u, c], a[u, c]
            for j in range(points):
                f[u, j] += nn * mu[c, j] - aa * v[c, j]
        best = f[u, 0]
        for j in range(1, points):
            best = max(best, f[u, j])
        top[u] = best
        for j in range(points):
            f[u, j] -= best


@compiled
def normalise(f, total):  # type: ignore
    """f [u, j] divided by its sum over j, which goes to total [u]."""
    for u in range(f.shape[0]):
        s = 0.0
        for j in range(f.shape[1]):
            s += f[u, j]
        total[u] = s
        inverse = 1.0 / s
        for j in range(f.shape[1]):
            f[u, j] *= inverse
