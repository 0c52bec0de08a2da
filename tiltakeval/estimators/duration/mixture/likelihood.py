"""Log-likelihood of the mixture with its exact gradient and Hessian (Louis 1982).

Parameters are, in this order: the active coefficients (transition by transition), log mass points
[C, J] (channel by channel) and the logits of the probabilities [J]. The model: Abbring & van den Berg
(2003, Econometrica 71, equation 1), with the discrete mixing distribution of Heckman & Singer (1984).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.hazards import Hazards
from tiltakeval.estimators.duration.mixture.interval import end_logs
from tiltakeval.estimators.duration.mixture.interval_sums import Block, add_block
from tiltakeval.estimators.duration.mixture.kernels import (
    component_logs,
    cross_scores,
    normalise,
    row_curvature,
    scored,
)
from tiltakeval.estimators.duration.mixture.panel import Panel

Floats = NDArray[np.float64]
CHUNK = 2048
#: From so many covariates on, products with them are worth forming fewer of, in single precision.
MANY = 16
#: Log of a hazard of zero: far enough below that the hazard underflows, finite so that 0 * it is 0.
ZERO = -700.0


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """A discrete distribution: ``mu`` [C, J] log mass points (``ZERO`` for none), ``p`` [J].

    ``top`` [C] bounds the log mass points from above; points on it stay there.
    """

    mu: Floats
    p: Floats
    top: Floats

    @property
    def points(self) -> int:
        """Number of mass points."""
        return int(self.p.shape[0])

    @cached_property
    def v(self) -> Floats:
        """[C, J] mass points as multipliers of the hazard."""
        return np.exp(self.mu)

    @cached_property
    def free(self) -> NDArray[np.bool_]:
        """[C, J] coordinates that are parameters: not those at a hazard of zero, nor at the top."""
        return (self.mu > ZERO) & (self.mu < self.top[:, None])

    def changed(self, mu: Floats, p: Floats) -> Mixing:
        """Other points and probabilities within the same bounds."""
        return Mixing(mu=np.minimum(mu, self.top[:, None]), p=p, top=self.top)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Log-likelihood with gradient [q] and Hessian [q, q] by all parameters, fixed ones included."""

    loglik: float
    gradient: Floats
    hessian: Floats


def log_densities(
    panel: Panel, at: Hazards, mixing: Mixing, lo: int, hi: int, out: Floats | None = None
) -> tuple[Floats, Floats]:
    """Posterior of the points [u, J] (in ``out`` if given) and log density [u] of units lo:hi."""
    n, a = panel.events[lo:hi], at.a[lo:hi]
    post = np.empty((hi - lo, mixing.points)) if out is None else out[: hi - lo]
    top, total = np.empty(hi - lo), np.empty(hi - lo)
    with np.errstate(divide="ignore"):
        component_logs(n, a, mixing.mu, mixing.v, np.log(mixing.p), post, top)
    top += with_ends(panel, at, mixing.v, lo, hi, post)
    np.exp(post, out=post)
    normalise(post, total)
    return post, top + np.log(total) + at.base[lo:hi]


def with_ends(
    panel: Panel, at: Hazards, v: Floats, lo: int, hi: int, logs: Floats
) -> Floats | float:
    """Add what interval-timed rows say to ``logs`` [u, J]; gives the [u] taken off to keep max 0."""
    if panel.ends is None or at.end_rate is None:
        return 0.0
    rows = panel.ends.between(lo, hi)
    np.add.at(logs, panel.ends.unit[rows] - lo, end_logs(panel.ends, at.end_rate, v, rows))
    off: Floats = logs.max(axis=1)
    logs -= off[:, None]
    return off


def densities(panel: Panel, at: Hazards, mixing: Mixing) -> Floats:
    """[U] log density of every unit."""
    space = np.empty((CHUNK, mixing.points))
    parts = [
        log_densities(panel, at, mixing, lo, min(lo + CHUNK, panel.units), space)[1]
        for lo in range(0, panel.units, CHUNK)
    ]
    return np.concatenate(parts)


def log_likelihood(panel: Panel, at: Hazards, mixing: Mixing) -> float:
    """Weighted sum of log densities."""
    return float(panel.weight @ densities(panel, at, mixing))


def evaluate(
    panel: Panel,
    at: Hazards,
    mixing: Mixing,
    *,
    coefficients: bool = True,
    precise: bool = True,
) -> Evaluation:
    """Log-likelihood, gradient and Hessian at once.

    Without ``coefficients`` their derivatives are left at zero. Without ``precise`` the large products
    of the Hessian are in single precision, which a Newton step doesn't notice.
    """
    if panel.ends is not None:
        return evaluate_interval(panel, at, mixing)
    sums = _Sums(panel, at, mixing, coefficients, precise)
    for lo in range(0, panel.units, CHUNK):
        sums.add(lo, min(lo + CHUNK, panel.units))
    return sums.finish()


def unit_scores(panel: Panel, at: Hazards, mixing: Mixing, lo: int, hi: int) -> Floats:
    """[u, q] derivative of each unit's log density by all parameters."""
    if panel.ends is not None:
        return interval_scores(panel, at, mixing, lo, hi)
    n, a, d = panel.events[lo:hi], at.a[lo:hi], at.d[lo:hi]
    post, _ = log_densities(panel, at, mixing, lo, hi)
    scores, mean, _ = _posterior(n, a, mixing, post)
    scores[:, mixing.mu.size :] -= mixing.p
    x = panel.x_unit[lo:hi]
    blocks = []
    for t in range(len(panel.transitions)):
        own = np.flatnonzero(panel.transition == t)
        excess = panel.event_unit[lo:hi, t] - (mean[:, own] * a[:, own]).sum(axis=1)
        rows = panel.x_events[lo:hi, t] - np.einsum("uc,ucq->uq", mean[:, own], d[:, own])
        blocks.append(np.concatenate([x * excess[:, None], rows], axis=1)[:, panel.active[t]])
    return np.concatenate([*blocks, scores], axis=1)


def _posterior(
    n: Floats, a: Floats, mixing: Mixing, post: Floats, out: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    c, j = mixing.mu.shape
    scores = np.empty((len(n), (c + 1) * j)) if out is None else out[: len(n)]
    mean, spread = np.empty((len(n), c)), np.empty((len(n), c, c))
    scored(n, a, mixing.v, post, scores, mean, spread)
    return scores, mean, spread


class _Sums:
    """Sums over units of what gradient and Hessian are made of."""

    def __init__(
        self, panel: Panel, at: Hazards, mixing: Mixing, coefficients: bool, precise: bool
    ) -> None:
        self.panel, self.at, self.mixing = panel, at, mixing
        self.with_coefficients = coefficients
        single = not precise and panel.x_unit.shape[1] >= MANY
        self.x = panel.x_single if single else panel.x_unit
        self.k, self.p = panel.active.shape
        self.p1 = panel.x_unit.shape[1]
        size = mixing.mu.size + mixing.points
        self.loglik = 0.0
        # written over for every block of units: new arrays of this size cost more than the arithmetic
        self.post = np.empty((CHUNK, mixing.points))
        self.scores, self.weighted = np.empty((CHUNK, size)), np.empty((CHUNK, size))
        self.grad_b = np.zeros((self.k, self.p))
        self.grad_m = np.zeros(size)
        self.bb = np.zeros((self.k, self.k, self.p, self.p))
        self.bm = np.zeros((self.k, self.p, size))
        self.mm = np.zeros((size, size))
        self.va = np.zeros((panel.channels, mixing.points))
        self.row = np.zeros((self.k, self.p - self.p1, self.p - self.p1))

    def add(self, lo: int, hi: int) -> None:
        panel, mixing = self.panel, self.mixing
        w = panel.weight[lo:hi]
        n, a, d = panel.events[lo:hi], self.at.a[lo:hi], self.at.d[lo:hi]
        post, logs = log_densities(panel, self.at, mixing, lo, hi, self.post)
        scores, mean, spread = _posterior(n, a, mixing, post, self.scores)
        self.loglik += float(w @ logs)
        self.mm -= scores.T @ np.multiply(scores, w[:, None], out=self.weighted[: hi - lo])
        c_count, j = mixing.mu.shape
        # one product with the scores for everything that is linear in them
        left = np.concatenate([np.ones((hi - lo, 1)), n, a], axis=1) * w[:, None]
        product = left.T @ scores
        by_n, by_a = product[1 : 1 + c_count], product[1 + c_count :]
        self.grad_m += product[0]
        for c in range(c_count):
            own = slice(c * j, (c + 1) * j)
            # within one point: outer products of its score over channels, and its own curvature
            for b in range(c, c_count):
                self._diagonal(c, b, by_n[b, own] - mixing.v[b] * by_a[b, own])
            self.va[c] += by_a[c, c_count * j :] * mixing.v[c]
        if self.with_coefficients:
            self._gradient(lo, hi, mean)
            self._cross(lo, hi, post, scores, mean)
            for t in range(self.k):
                for s in range(t, self.k):
                    self._coefficients(t, s, w, a, d, self.x[lo:hi], mean, spread)
            row_curvature(
                panel.first[lo : hi + 1],
                panel.length,
                panel.channel,
                panel.x_row,
                np.ascontiguousarray(self.at.beta[:, self.p1 :]),
                self.at.unit_scale[lo:hi],
                mean * w[:, None],
                self.row,
            )

    def _gradient(self, lo: int, hi: int, mean: Floats) -> None:
        """By the coefficients: what happened less what was expected."""
        panel, p1 = self.panel, self.p1
        w, a, d = panel.weight[lo:hi], self.at.a[lo:hi], self.at.d[lo:hi]
        for t in range(self.k):
            excess = w * panel.event_unit[lo:hi, t]
            self.grad_b[t, p1:] += w @ panel.x_events[lo:hi, t]
            for c in np.flatnonzero(panel.transition == t):
                excess -= w * mean[:, c] * a[:, c]
                self.grad_b[t, p1:] -= (w * mean[:, c]) @ d[:, c]
            self.grad_b[t, :p1] += excess @ panel.x_unit[lo:hi]

    def _cross(self, lo: int, hi: int, post: Floats, scores: Floats, mean: Floats) -> None:
        """Coefficients with mass points and probabilities (Louis 1982)."""
        panel, p1, v = self.panel, self.p1, self.mixing.v
        w, a, d = panel.weight[lo:hi], self.at.a[lo:hi], self.at.d[lo:hi]
        x = self.x[lo:hi]
        for c, t in enumerate(panel.transition):
            if p1 >= MANY:
                out = self.weighted[: hi - lo]
                cross_scores(c, v, post, scores, mean, w, out)
                self.bm[t, p1:] += d[:, c].T @ out
                out *= a[:, c, None]
                self.bm[t, :p1] += x.T @ out.astype(x.dtype, copy=False)
                continue
            integral = np.concatenate([x * a[:, c, None], d[:, c]], axis=1) * w[:, None]
            both = np.concatenate([integral, integral * mean[:, c, None]], axis=1).T @ scores
            plain, meant = both[: self.p], both[self.p :]
            points = self.mixing.points
            own = slice(c * points, (c + 1) * points)
            self.bm[t] += meant - plain * np.tile(v[c], len(v) + 1)
            self.bm[t][:, own] -= plain[:, len(v) * points :] * v[c]

    def _diagonal(self, c: int, b: int, values: Floats) -> None:
        j = self.mixing.points
        at = np.arange(j)
        self.mm[c * j + at, b * j + at] += values
        if b != c:
            self.mm[b * j + at, c * j + at] += values

    def _coefficients(
        self,
        t: int,
        s: int,
        w: Floats,
        a: Floats,
        d: Floats,
        x: NDArray[np.floating],
        mean: Floats,
        spread: Floats,
    ) -> None:
        """Coefficients of transition t with those of s: covariance of the point-wise scores."""
        p1, panel = self.p1, self.panel
        q = np.zeros(len(w))
        unit_row = np.zeros((len(w), self.p - p1))
        row_unit = np.zeros((len(w), self.p - p1))
        block = self.bb[t, s]
        for c in np.flatnonzero(panel.transition == t):
            for b in np.flatnonzero(panel.transition == s):
                v = w * spread[:, c, b]
                q += v * a[:, c] * a[:, b]
                unit_row += (v * a[:, c])[:, None] * d[:, b]
                row_unit += (v * a[:, b])[:, None] * d[:, c]
                block[p1:, p1:] += d[:, c].T @ (d[:, b] * v[:, None])
            if s == t:
                v = w * mean[:, c]
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
            self.mm[at_b, at_b] -= self.va[b]
            self.mm[at_b, size + at] += self.grad_m[at_b]
            self.mm[size + at, at_b] += self.grad_m[at_b]
        self.mm[size + at, size + at] += own
        prior = np.diag(mixing.p) - np.outer(mixing.p, mixing.p)
        self.mm[size:, size:] -= total * prior
        gradient = np.concatenate(
            [self.grad_b[panel.active], self.grad_m[:size], own - total * mixing.p]
        )
        flat = np.flatnonzero(panel.active.ravel())
        bb = self.bb.transpose(0, 2, 1, 3).reshape(self.k * self.p, self.k * self.p)
        bb = bb[np.ix_(flat, flat)]
        bm = self.bm.reshape(self.k * self.p, size + j)[flat]
        hessian = np.block([[bb, bm], [bm.T, self.mm]])
        return Evaluation(loglik=self.loglik, gradient=gradient, hessian=hessian)


def evaluate_interval(panel: Panel, at: Hazards, mixing: Mixing) -> Evaluation:
    """``evaluate`` with interval timing."""
    k, p = panel.active.shape
    j = mixing.points
    p1, size = panel.x_unit.shape[1], mixing.mu.size
    bb, bm = np.zeros((k * p, k * p)), np.zeros((k * p, size + j))
    mm = np.zeros((size + j, size + j))
    row = np.zeros((k, p - p1, p - p1))
    grad_b, grad_m, loglik = np.zeros(k * p), np.zeros(size + j), 0.0
    for lo in range(0, panel.units, CHUNK):
        hi = min(lo + CHUNK, panel.units)
        w = panel.weight[lo:hi]
        post, logs = log_densities(panel, at, mixing, lo, hi)
        loglik += float(w @ logs)
        by_b, by_m = add_block(Block(panel, at, mixing.v, post, lo, hi), w, bb, bm, mm, row)
        grad_b += by_b
        grad_m += by_m
    for t in range(k):
        upper = np.triu(row[t])
        own = slice(t * p + p1, (t + 1) * p)
        bb[own, own] -= upper + np.triu(upper, 1).T
    total = panel.total_weight
    mm[size:, size:] -= total * (np.diag(mixing.p) - np.outer(mixing.p, mixing.p))
    grad_m[size:] -= total * mixing.p
    flat = np.flatnonzero(panel.active.ravel())
    hessian = np.block([[bb[np.ix_(flat, flat)], bm[flat]], [bm[flat].T, mm]])
    return Evaluation(
        loglik=loglik, gradient=np.concatenate([grad_b[flat], grad_m]), hessian=hessian
    )


def interval_scores(panel: Panel, at: Hazards, mixing: Mixing, lo: int, hi: int) -> Floats:
    """``unit_scores`` with interval timing."""
    post, _ = log_densities(panel, at, mixing, lo, hi)
    block = Block(panel, at, mixing.v, post, lo, hi)
    flat = np.flatnonzero(panel.active.ravel())
    masses = [score * post for score in block.by_mass]
    return np.concatenate([block.mean()[:, flat], *masses, post - mixing.p], axis=1)
