"""The loops over rows and persons that are worth compiling.

Notation: u units (persons), c channels (a transition, or a transition in a status with its own
heterogeneity), j mass points. ``a`` [u, c] is integrated hazard without heterogeneity, ``n`` [u, c]
events, ``mu`` [c, j] log of the mass points, ``v`` their exponential.
"""

from __future__ import annotations

import numpy as np

from tiltakeval.estimators.duration.mixture.compiled import compiled


@compiled
def integrate_rows(first, length, channel, x, beta, scale, transition, a, d):  # type: ignore
    """Fill a [u, c] and d [u, c, q]: sums over rows of length * exp(x beta_t) and that times x."""
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
                    continue
                eta = 0.0
                for k in range(q):
                    eta += x[r, k] * beta[t, k]
                h = length[r] * np.exp(eta)
                a[u, c] += h
                for k in range(q):
                    d[u, c, k] += h * x[r, k]
        for c in range(a.shape[1]):
            s = scale[u, transition[c]]
            a[u, c] *= s
            for k in range(q):
                d[u, c, k] *= s


@compiled
def row_curvature(first, length, channel, x, beta, scale, wv, out):  # type: ignore
    """Add to out [t, q, q]: sum over rows of wv[u, c] * length * exp(.) * x x' (upper triangle)."""
    q = x.shape[1]
    for u in range(first.shape[0] - 1):
        for r in range(first[u], first[u + 1]):
            for t in range(beta.shape[0]):
                c = channel[r, t]
                if c < 0:
                    continue
                eta = 0.0
                for k in range(q):
                    eta += x[r, k] * beta[t, k]
                h = length[r] * np.exp(eta) * scale[u, t] * wv[u, c]
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


@compiled
def scored(n, a, v, post, scores, mean, spread):  # type: ignore
    """Posterior-weighted scores [u, (C + 1) J]: post * (n - a v) by channel, then post.

    mean [u, c] is the posterior mean of v, spread [u, c, c'] its posterior covariance.
    """
    channels, points = v.shape
    for u in range(n.shape[0]):
        for c in range(channels):
            nn, aa, m = n[u, c], a[u, c], 0.0
            at = c * points
            for j in range(points):
                p = post[u, j]
                scores[u, at + j] = p * (nn - aa * v[c, j])
                m += p * v[c, j]
            mean[u, c] = m
        at = channels * points
        for j in range(points):
            scores[u, at + j] = post[u, j]
        for c in range(channels):
            for b in range(c, channels):
                s = 0.0
                for j in range(points):
                    s += post[u, j] * (v[c, j] - mean[u, c]) * (v[b, j] - mean[u, b])
                spread[u, c, b] = s
                spread[u, b, c] = s


@compiled
def cross_scores(c, v, post, scores, mean, weight, out):  # type: ignore
    """out [u, (C + 1) J]: minus weight times (v_c - its posterior mean) times each weighted score.

    With the term of the mass points' own derivative; the product with the covariates' integrals of
    channel c is the cross block of the Hessian (Louis 1982).
    """
    channels, points = v.shape
    for u in range(post.shape[0]):
        w, m = weight[u], mean[u, c]
        for k in range(channels + 1):
            at = k * points
            for j in range(points):
                out[u, at + j] = -w * (v[c, j] - m) * scores[u, at + j]
        at = c * points
        for j in range(points):
            out[u, at + j] -= w * post[u, j] * v[c, j]


@compiled
def directional(n, a, base, weight, mu, v, grad, hess):  # type: ignore
    """Sum over units of weight * exp(base + n mu - a v), with gradient and Hessian in mu [C]."""
    channels = mu.shape[0]
    for c in range(channels):
        grad[c] = 0.0
        for b in range(channels):
            hess[c, b] = 0.0
    total = 0.0
    for u in range(n.shape[0]):
        e = base[u]
        for c in range(channels):
            e += n[u, c] * mu[c] - a[u, c] * v[c]
        if e < -60.0:
            continue
        r = weight[u] * np.exp(e)
        total += r
        for c in range(channels):
            s = n[u, c] - a[u, c] * v[c]
            grad[c] += r * s
            for b in range(c + 1):
                hess[c, b] += r * s * (n[u, b] - a[u, b] * v[b])
            hess[c, c] -= r * a[u, c] * v[c]
    for c in range(channels):
        for b in range(c):
            hess[b, c] = hess[c, b]
    return total
