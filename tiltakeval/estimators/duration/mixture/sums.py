"""Sums over units of what the gradient and the Hessian of the log-likelihood are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.coefficient_kernels import (
    coefficient_products,
    integrals,
)
from tiltakeval.estimators.duration.mixture.density import (
    block_of,
    chunk_of,
    columns_of,
    posteriors,
)
from tiltakeval.estimators.duration.mixture.hazards import Hazards
from tiltakeval.estimators.duration.mixture.kernels import row_curvature
from tiltakeval.estimators.duration.mixture.mixing import Mixing
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.duration.mixture.posterior_kernels import cross_scores, scored

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Log-likelihood with gradient [q] and Hessian [q, q] by all parameters, fixed ones included."""

    loglik: float
    gradient: Floats
    hessian: Floats


@dataclass(frozen=True, kw_only=True)
class PointScores:
    """Of u units: ``scores`` [(C + 1) J, u], posterior ``mean`` [C, u] of the mass points, ``spread``
    [C, C, u] their covariance (upper triangle), and the sums ``scored`` describes."""

    scores: Floats
    mean: Floats
    spread: Floats
    total: Floats
    diagonal: Floats
    level: Floats


def point_scores(
    n: Floats,
    a: Floats,
    v: Floats,
    post: Floats,
    weight: Floats,
    root: Floats,
    space: Floats | None = None,
) -> PointScores:
    """Scores of the points: n, a [C, u], post [J, u]; they carry the factor ``root`` [u]."""
    c, j = v.shape
    units = len(weight)
    out = PointScores(
        scores=block_of(space, (c + 1) * j, units),
        mean=np.empty((c, units)),
        spread=np.empty((c, c, units)),
        total=np.zeros((c + 1) * j),
        diagonal=np.zeros((c, c, j)),
        level=np.zeros((c, j)),
    )
    sums = (out.total, out.diagonal, out.level)
    scored(n, a, v, post, weight, root, out.scores, out.mean, out.spread, *sums)
    return out


class Sums:
    """``add`` blocks of units, then ``finish``."""

    def __init__(
        self,
        panel: Panel,
        at: Hazards,
        mixing: Mixing,
        coefficients: bool,
        precise: bool,
        many: bool,
        curvature: Floats | None = None,
    ) -> None:
        self.panel, self.at, self.mixing = panel, at, mixing
        self.with_coefficients, self.many, self.curvature = coefficients, many, curvature
        self.x: NDArray[np.floating] = panel.x_single if many and not precise else panel.x_unit
        self.k, self.p = panel.active.shape
        self.p1 = panel.x_unit.shape[1]
        size = mixing.mu.size + mixing.points
        self.loglik = 0.0
        # written over for every block of units: new arrays of this size cost more than the arithmetic
        self.chunk = chunk_of(size)
        self.post = np.empty(self.chunk * mixing.points)
        self.scores, self.crossed = np.empty(self.chunk * size), np.empty(self.chunk * size)
        self.expected = np.zeros((self.k, self.p))
        self.grad_m = np.zeros(size)
        self.bb = np.zeros((self.k, self.k, self.p, self.p))
        self.bm = np.zeros((self.k, self.p, size))
        self.mm = np.zeros((size, size))
        self.va = np.zeros((panel.channels, mixing.points))
        self.diagonal = np.zeros((panel.channels, panel.channels, mixing.points))
        self.row = np.zeros((self.k, self.p - self.p1, self.p - self.p1))

    def add(self, lo: int, hi: int) -> None:
        """Units lo:hi, at most ``chunk``."""
        panel = self.panel
        w = panel.weight[lo:hi]
        root = np.sqrt(np.abs(w))
        n, a = columns_of(panel.events, lo, hi), columns_of(self.at.a, lo, hi)
        post, logs = posteriors(panel, self.at, self.mixing, lo, hi, self.post)
        points = point_scores(n, a, self.mixing.v, post, w, root, self.scores)
        self.loglik += float(w @ logs)
        self.grad_m += points.total
        self.diagonal += points.diagonal
        self.va += points.level
        # a matrix with its own transpose: half the arithmetic of two matrices
        self.mm -= points.scores @ points.scores.T
        negative = np.flatnonzero(w < 0)
        if negative.size:
            taken = points.scores[:, negative]
            self.mm += 2 * (taken @ taken.T)
        if self.with_coefficients:
            if self.many:
                self._gradient(lo, hi, points.mean)
                self._cross(lo, hi, post, points, root)
                if self.curvature is None:
                    self._coefficients(lo, hi, points)
            else:
                self._few(lo, hi, a, points, root)
            if self.curvature is not None:
                return
            row_curvature(
                panel.first[lo : hi + 1],
                panel.channel,
                panel.x_row,
                self.at.row,
                np.ascontiguousarray((points.mean * w).T),
                self.row,
            )

    def _few(self, lo: int, hi: int, a: Floats, points: PointScores, root: Floats) -> None:
        """All with the coefficients, of few covariates."""
        panel, v = self.panel, self.mixing.v
        w, x, j = panel.weight[lo:hi], panel.x_unit[lo:hi], self.mixing.points
        z = np.empty((panel.channels, self.p, hi - lo))
        integrals(x, a, self.at.d[lo:hi], z)
        sums = (self.expected, self.bb)
        coefficient_products(x, z, w, points.mean, points.spread, panel.transition, *sums)
        # the scores carry the root of the absolute weight
        half = np.divide(w, root, out=np.zeros_like(w), where=root > 0)
        for c, t in enumerate(panel.transition):
            z[c] *= half
            both = points.scores @ np.concatenate([z[c], z[c] * points.mean[c]]).T
            plain, meant = both[:, : self.p].T, both[:, self.p :].T
            own = slice(c * j, (c + 1) * j)
            self.bm[t] += meant - plain * np.tile(v[c], len(v) + 1)
            self.bm[t][:, own] -= plain[:, len(v) * j :] * v[c]

    def _gradient(self, lo: int, hi: int, mean: Floats) -> None:
        """By the coefficients: what is expected to happen."""
        panel, p1 = self.panel, self.p1
        w, a, d = panel.weight[lo:hi], self.at.a[lo:hi], self.at.d[lo:hi]
        for c, t in enumerate(panel.transition):
            expected = w * mean[c]
            self.expected[t, p1:] += expected @ d[:, c]
            self.expected[t, :p1] += (expected * a[:, c]) @ panel.x_unit[lo:hi]

    def _cross(self, lo: int, hi: int, post: Floats, points: PointScores, root: Floats) -> None:
        """Coefficients with mass points and probabilities (Louis 1982)."""
        panel, p1, v = self.panel, self.p1, self.mixing.v
        w, a, d = panel.weight[lo:hi], self.at.a[lo:hi], self.at.d[lo:hi]
        x = self.x[lo:hi]
        for c, t in enumerate(panel.transition):
            out = block_of(self.crossed, len(points.scores), hi - lo)
            cross_scores(c, v, post, points.scores, points.mean, w, root, out)
            self.bm[t, p1:] += (out @ d[:, c]).T
            out *= a[:, c]
            self.bm[t, :p1] += (out.astype(x.dtype, copy=False) @ x).T

    def _coefficients(self, lo: int, hi: int, points: PointScores) -> None:
        """Coefficients with one another: covariance of the point-wise scores."""
        for t in range(self.k):
            for s in range(t, self.k):
                self._pair(t, s, lo, hi, points)

    def _pair(self, t: int, s: int, lo: int, hi: int, points: PointScores) -> None:
        """Coefficients of transition t with those of s."""
        p1, panel = self.p1, self.panel
        w, a, d = panel.weight[lo:hi], self.at.a[lo:hi], self.at.d[lo:hi]
        x = self.x[lo:hi]
        q = np.zeros(len(w))
        unit_row = np.zeros((len(w), self.p - p1))
        row_unit = np.zeros((len(w), self.p - p1))
        block = self.bb[t, s]
        for c in np.flatnonzero(panel.transition == t):
            for b in np.flatnonzero(panel.transition == s):
                v = w * points.spread[min(c, b), max(c, b)]
                q += v * a[:, c] * a[:, b]
                unit_row += (v * a[:, c])[:, None] * d[:, b]
                row_unit += (v * a[:, b])[:, None] * d[:, c]
                block[p1:, p1:] += d[:, c].T @ (d[:, b] * v[:, None])
            if s == t:
                v = w * points.mean[c]
                q -= v * a[:, c]
                unit_row -= v[:, None] * d[:, c]
                row_unit -= v[:, None] * d[:, c]
        block[:p1, :p1] += x.T @ (x * q.astype(x.dtype, copy=False)[:, None])
        block[:p1, p1:] += x.T @ unit_row.astype(x.dtype, copy=False)
        block[p1:, :p1] += row_unit.astype(x.dtype, copy=False).T @ x

    def finish(self) -> Evaluation:
        panel, mixing, p1 = self.panel, self.mixing, self.p1
        c, j = mixing.mu.shape
        total = panel.total_weight
        size = mixing.mu.size
        for t in range(self.k):
            upper = np.triu(self.row[t])
            self.bb[t, t, p1:, p1:] -= upper + np.triu(upper, 1).T
            for s in range(t):
                self.bb[t, s] = self.bb[s, t].T
        # the posterior sums, and what each point's score adds beside its own probability
        own = self.grad_m[size:].copy()
        at = np.arange(j)
        for b in range(c):
            at_b = b * j + at
            # within one point: outer products of its score over channels, and its own curvature
            self.mm[at_b, at_b] += self.diagonal[b, b]
            for e in range(b + 1, c):
                self.mm[at_b, e * j + at] += self.diagonal[b, e]
                self.mm[e * j + at, at_b] += self.diagonal[b, e]
            self.mm[at_b, at_b] -= self.va[b]
            self.mm[at_b, size + at] += self.grad_m[at_b]
            self.mm[size + at, at_b] += self.grad_m[at_b]
        self.mm[size + at, size + at] += own
        prior = np.diag(mixing.p) - np.outer(mixing.p, mixing.p)
        self.mm[size:, size:] -= total * prior
        gradient = np.concatenate(
            [
                (panel.event_totals - self.expected)[panel.active],
                self.grad_m[:size],
                own - total * mixing.p,
            ]
        )
        flat = np.flatnonzero(panel.active.ravel())
        bb = self.bb.transpose(0, 2, 1, 3).reshape(self.k * self.p, self.k * self.p)
        bb = bb[np.ix_(flat, flat)] if self.curvature is None else self.curvature
        bm = self.bm.reshape(self.k * self.p, size + j)[flat]
        hessian = np.block([[bb, bm], [bm.T, self.mm]])
        return Evaluation(loglik=self.loglik, gradient=gradient, hessian=hessian)
