"""Probabilities of given mass points: a concave problem, solved by constrained least squares steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from tiltakeval.estimators.duration.mixture.density import CHUNK, columns_of, with_ends
from tiltakeval.estimators.duration.mixture.hazards import Hazards
from tiltakeval.estimators.duration.mixture.mixing import Mixing
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.duration.mixture.posterior_kernels import relative_densities

Floats = NDArray[np.float64]


def best_weights(
    panel: Panel, at: Hazards, mixing: Mixing, *, rounds: int = 20, tolerance: float = 1e-4
) -> Mixing:
    """The mixing distribution on the same points with the best probabilities; empty points are gone.

    Wang (2007, JRSS B 69): around p the log-likelihood is a quadratic whose maximum over the simplex
    is a non-negative least squares problem; a line search does the rest. Weights must be positive.
    """
    blocks = _densities(panel, at, mixing)
    w, p = panel.weight, mixing.p.copy()
    total = panel.total_weight
    level = _levels(blocks, p)
    current = float(w @ np.log(level))
    for _ in range(rounds):
        gradient, gram = _products(blocks, level, w, np.sqrt(w))
        if float(gradient.max() - total) < tolerance:
            break
        # of densities over their mean less 2, as the least squares problem has it
        gram += 4 * total - 2 * (gradient + gradient[:, None])
        target = _nearest_in_simplex(gram / total)
        step = 1.0
        for _ in range(30):
            trial = p + step * (target - p)
            new_level = _levels(blocks, trial)
            new = float(w @ np.log(np.maximum(new_level, 1e-300)))
            if new > current:
                break
            step /= 3
        else:
            break
        gain, p, level, current = new - current, trial, new_level, new
        if gain < 1e-7:
            break
    keep = p > 1e-12
    return mixing.changed(np.ascontiguousarray(mixing.mu[:, keep]), p[keep] / p[keep].sum())


def _densities(panel: Panel, at: Hazards, mixing: Mixing) -> list[Floats]:
    """[J, u] densities of blocks of units at each point, relative to each unit's largest."""
    out = []
    nought = np.zeros(mixing.points)
    for lo in range(0, panel.units, CHUNK):
        hi = min(lo + CHUNK, panel.units)
        n, a = columns_of(panel.events, lo, hi), columns_of(at.a, lo, hi)
        values, top, total = (
            np.empty((mixing.points, hi - lo)),
            np.empty(hi - lo),
            np.empty(hi - lo),
        )
        if panel.ends is None:
            relative_densities(n, a, mixing.mu, mixing.v, nought, values, top, total)
        else:
            logs = n.T @ mixing.mu - a.T @ mixing.v
            with_ends(panel, at, mixing.v, lo, hi, logs)
            values = np.ascontiguousarray(np.exp(logs).T)
        out.append(values)
    return out


def _levels(blocks: list[Floats], p: Floats) -> Floats:
    """[U] densities of the mixture."""
    return np.concatenate([p @ block for block in blocks])


def _products(
    blocks: list[Floats], level: Floats, w: Floats, root: Floats
) -> tuple[Floats, Floats]:
    """Sums over units of the densities over their mean [J], and of the products of two [J, J]."""
    j = len(blocks[0])
    first, second = np.zeros(j), np.zeros((j, j))
    lo = 0
    for block in blocks:
        part = slice(lo, lo + block.shape[1])
        ratio = block / level[part]
        first += ratio @ w[part]
        ratio *= root[part]
        second += ratio @ ratio.T
        lo = part.stop
    return first, second


def _nearest_in_simplex(gram: Floats) -> Floats:
    """argmin p' gram p over p >= 0, sum p = 1, by non-negative least squares (Dax 1990)."""
    matrix = gram + 1.0
    scale = 1 / np.sqrt(np.diag(matrix))
    values, vectors = np.linalg.eigh(matrix * scale * scale[:, None])
    values = np.maximum(values, 1e-14 * values.max())
    root = (vectors * np.sqrt(values)).T
    found, _ = nnls(root, (vectors.T @ scale) / np.sqrt(values), maxiter=50 * scale.size)
    found = found * scale
    return found / found.sum() if found.sum() > 0 else np.full(scale.size, 1 / scale.size)
