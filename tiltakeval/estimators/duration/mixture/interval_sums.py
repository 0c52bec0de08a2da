"""Gradient, Hessian and scores with interval timing: every point's score of every unit is formed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.hazards import Hazards
from tiltakeval.estimators.duration.mixture.interval import EndTerms, end_terms
from tiltakeval.estimators.duration.mixture.kernels import row_curvature
from tiltakeval.estimators.duration.mixture.panel import Panel

Floats = NDArray[np.float64]


class Block:
    """Scores of units lo:hi at every point, given the posterior ``post`` [u, J].

    ``by_mass`` [C, u, J] by log mass points; coefficients' scores are formed point by point.
    """

    def __init__(
        self, panel: Panel, at: Hazards, v: Floats, post: Floats, lo: int, hi: int
    ) -> None:
        assert panel.ends is not None and at.end_rate is not None
        self.panel, self.at, self.v, self.post, self.lo, self.hi = panel, at, v, post, lo, hi
        self.rows = panel.ends.between(lo, hi)
        self.x = panel.ends.x[self.rows]
        self.channel = panel.ends.channel[self.rows]
        self.terms: EndTerms = end_terms(panel.ends, at.end_rate, v, lo, hi)
        n, a = panel.events[lo:hi], at.a[lo:hi]
        self.by_mass = n.T[:, :, None] - a.T[:, :, None] * v[:, None, :]
        for t in range(len(panel.transitions)):
            for c in np.unique(self.channel[:, t]):
                if c >= 0:
                    inside = self.channel[:, t] == c
                    np.add.at(self.by_mass[c], self.terms.unit[inside], self.terms.first[t, inside])

    def coefficient_scores(self, multiplier: Floats, first: Floats) -> Floats:
        """[u, K p] scores with v replaced by ``multiplier`` [u, C] and rows' slopes ``first`` [K, E]."""
        panel, lo, hi = self.panel, self.lo, self.hi
        p1 = panel.x_unit.shape[1]
        x, k = panel.x_unit[lo:hi], len(panel.transitions)
        out = np.zeros((hi - lo, k, len(panel.names)))
        out[:, :, :p1] = panel.event_unit[lo:hi, :, None] * x[:, None, :]
        out[:, :, p1:] = panel.x_events[lo:hi]
        for c, t in enumerate(panel.transition):
            m = multiplier[:, c]
            out[:, t, :p1] -= (m * self.at.a[lo:hi, c])[:, None] * x
            out[:, t, p1:] -= m[:, None] * self.at.d[lo:hi, c]
        for t in range(k):
            np.add.at(out[:, t], self.terms.unit, first[t][:, None] * self.x)
        return out.reshape(hi - lo, -1)

    def at_point(self, j: int) -> Floats:
        """[u, K p] coefficients' scores at point j."""
        v = np.broadcast_to(self.v[:, j], (self.hi - self.lo, len(self.v)))
        return self.coefficient_scores(v, self.terms.first[:, :, j])

    def mean(self) -> Floats:
        """[u, K p] their posterior mean."""
        first = np.einsum("kej,ej->ke", self.terms.first, self.post[self.terms.unit])
        return self.coefficient_scores(self.post @ self.v.T, first)


def add_block(
    block: Block, w: Floats, bb: Floats, bm: Floats, mm: Floats, row: Floats
) -> tuple[Floats, Floats]:
    """Add a block's part of the Hessian; gives its part of the gradient (coefficients, masses).

    bb [Kp, Kp], bm [Kp, (C+1) J], mm [(C+1) J, (C+1) J], row [K, p2, p2] (see ``row_curvature``).
    The prior's part is left out.
    """
    post, v = block.post, block.v
    c_count, points = v.shape
    weighted = w[:, None] * post
    mean = block.mean()
    scores = np.concatenate([*(s * post for s in block.by_mass), post], axis=1)
    mm -= scores.T @ (scores * w[:, None])
    logits = c_count * points
    for j in range(points):
        gap = block.at_point(j) - mean
        bb += gap.T @ (gap * weighted[:, j, None])
        own = np.stack([s[:, j] for s in block.by_mass], axis=1) * weighted[:, j, None]
        at = np.arange(c_count) * points + j
        bm[:, at] += gap.T @ own
        bm[:, logits + j] += gap.T @ weighted[:, j]
        mm[np.ix_(at, at)] += own.T @ np.stack([s[:, j] for s in block.by_mass], axis=1)
        mm[at, logits + j] += own.sum(axis=0)
        mm[logits + j, at] += own.sum(axis=0)
        mm[logits + j, logits + j] += weighted[:, j].sum()
    _own_curvature(block, w, bb, bm, mm, row)
    return w @ mean, w @ scores


def _own_curvature(
    block: Block, w: Floats, bb: Floats, bm: Floats, mm: Floats, row: Floats
) -> None:
    """Second derivatives of the points' log densities, weighted by the posterior."""
    panel, at, v, lo, hi = block.panel, block.at, block.v, block.lo, block.hi
    points = v.shape[1]
    p, p1 = len(panel.names), panel.x_unit.shape[1]
    x, a, d = panel.x_unit[lo:hi], at.a[lo:hi], at.d[lo:hi]
    weighted = w[:, None] * block.post
    mean = (block.post @ v.T) * w[:, None]
    for c, t in enumerate(panel.transition):
        base = t * p
        q = mean[:, c] * a[:, c]
        bb[base : base + p1, base : base + p1] -= x.T @ (x * q[:, None])
        side = x.T @ (mean[:, c, None] * d[:, c])
        bb[base : base + p1, base + p1 : base + p] -= side
        bb[base + p1 : base + p, base : base + p1] -= side.T
        each = weighted * v[c]
        own = slice(c * points, (c + 1) * points)
        bm[base : base + p1, own] -= x.T @ (each * a[:, c, None])
        bm[base + p1 : base + p, own] -= d[:, c].T @ each
        at_c = np.arange(points) + c * points
        mm[at_c, at_c] -= a[:, c] @ each
    row_curvature(
        panel.first[lo : hi + 1],
        panel.channel,
        panel.x_row,
        at.row,
        mean,
        row,
    )
    terms, ends_x = block.terms, block.x
    by_row = weighted[terms.unit]
    for t in range(len(panel.transitions)):
        for s in range(len(panel.transitions)):
            value = terms.second[t, s] * by_row
            total = value.sum(axis=1)
            bb[t * p : (t + 1) * p, s * p : (s + 1) * p] += ends_x.T @ (ends_x * total[:, None])
            for c in np.unique(block.channel[:, s]):
                if c < 0:
                    continue
                inside = block.channel[:, s] == c
                own = slice(c * points, (c + 1) * points)
                bm[t * p : (t + 1) * p, own] += ends_x[inside].T @ value[inside]
                for b in np.unique(block.channel[inside, t]):
                    if b >= 0:
                        both = inside & (block.channel[:, t] == b)
                        at_b, at_c = np.arange(points) + b * points, np.arange(points) + c * points
                        mm[at_b, at_c] += value[both].sum(axis=0)
