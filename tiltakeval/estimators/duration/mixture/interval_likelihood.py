"""The likelihood's derivatives with interval timing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.density import CHUNK, log_densities
from tiltakeval.estimators.duration.mixture.hazards import Hazards
from tiltakeval.estimators.duration.mixture.interval_sums import Block, add_block
from tiltakeval.estimators.duration.mixture.mixing import Mixing
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.duration.mixture.sums import Evaluation

Floats = NDArray[np.float64]


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
