"""Products of few coefficients' integrals, where matrix products would spend their time on overhead.

Notation as in ``posterior_kernels``; q coefficients by channel, those of unit covariates first.
"""

from __future__ import annotations

import numpy as np

from tiltakeval.estimators.duration.mixture.compiled import compiled

BLOCK = 128


@compiled
def integrals(x, a, d, out):  # type: ignore
    """out [c, q, u]: integrated hazard times covariate, x [u, q1] constant in the unit, d [u, c, q2]."""
    first, second = x.shape[1], d.shape[2]
    for c in range(out.shape[0]):
        for k in range(first):
            to, h = out[c, k], a[c]
            for u in range(x.shape[0]):
                to[u] = h[u] * x[u, k]
        for k in range(second):
            to = out[c, first + k]
            for u in range(x.shape[0]):
                to[u] = d[u, c, k]


@compiled
def coefficient_products(x, z, weight, mean, spread, transition, expected, bb):  # type: ignore
    """Add to expected [t, q] and to the Hessian bb [t, t' >= t, q, q] by the coefficients.

    z [c, q, u] are ``integrals``; mean, spread as ``scored`` gives them. Rows' own curvature isn't in.
    """
    channels, size_q = z.shape[0], z.shape[1]
    first, units = x.shape[1], z.shape[2]
    left, plain = np.empty(BLOCK), np.empty(BLOCK)
    for lo in range(0, units, BLOCK):
        hi = min(lo + BLOCK, units)
        size = hi - lo
        w = weight[lo:hi]
        for c in range(channels):
            t, m = transition[c], mean[c, lo:hi]
            for k in range(size_q):
                zk, s = z[c, k, lo:hi], 0.0
                for i in range(size):
                    s += w[i] * m[i] * zk[i]
                expected[t, k] += s
                if k < first:
                    for i in range(size):
                        plain[i] = w[i] * m[i] * x[lo + i, k]
                    for r in range(k, size_q):
                        zr, s = z[c, r, lo:hi], 0.0
                        for i in range(size):
                            s += plain[i] * zr[i]
                        bb[t, t, k, r] -= s
                        if r > k:
                            bb[t, t, r, k] -= s
                for b in range(c, channels):
                    e, both = transition[b], spread[c, b, lo:hi]
                    for i in range(size):
                        left[i] = w[i] * both[i] * zk[i]
                    for r in range(size_q):
                        zr, s = z[b, r, lo:hi], 0.0
                        for i in range(size):
                            s += left[i] * zr[i]
                        if t <= e:
                            bb[t, e, k, r] += s
                        else:
                            bb[e, t, r, k] += s
                        if t == e and b != c:
                            bb[t, t, r, k] += s
