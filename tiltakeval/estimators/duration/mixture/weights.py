"""Probabilities of given mass points: a concave problem, solved by constrained least squares steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from tiltakeval.estimators.duration.mixture.hazards import Hazards
from tiltakeval.estimators.duration.mixture.kernels import component_logs
from tiltakeval.estimators.duration.mixture.likelihood import CHUNK, Mixing, with_ends
from tiltakeval.estimators.duration.mixture.panel import Panel

Floats = NDArray[np.float64]


def best_weights(
    panel: Panel, at: Hazards, mixing: Mixing, *, rounds: int = 20, tolerance: float = 1e-4
) -> Mixing:
    """The mixing distribution on the same points with the best probabilities; empty points are gone.

    Wang (2007, JRSS B 69): around p the log-likelihood is a quadratic whose maximum over the simplex
    is a non-negative least squares problem; a line search does the rest. Weights must be positive.
    """
    density = _densities(panel, at, mixing)
    w, p = panel.weight, mixing.p.copy()
    total = panel.total_weight
    level = density @ p
    current = float(w @ np.log(level))
    for _ in range(rounds):
        ratio = density / level[:, None]
        gradient = w @ ratio
        if float(gradient.max() - total) < tolerance:
            break
        ratio -= 2.0
        target = _nearest_in_simplex(ratio.T @ (ratio * w[:, None]) / total)
        step = 1.0
        for _ in range(30):
            trial = p + step * (target - p)
            new_level = density @ trial
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


def _densities(panel: Panel, at: Hazards, mixing: Mixing) -> Floats:
    """[U, J] densities of the units at each point, relative to each unit's largest."""
    out = np.empty((panel.units, mixing.points))
    top = np.empty(panel.units)
    zero = np.zeros(mixing.points)
    for lo in range(0, panel.units, CHUNK):
        part = slice(lo, min(lo + CHUNK, panel.units))
        component_logs(
            panel.events[part], at.a[part], mixing.mu, mixing.v, zero, out[part], top[part]
        )
        with_ends(panel, at, mixing.v, part.start, part.stop, out[part])
    return np.exp(out, out=out)


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
