"""Log-likelihood of the mixture with its exact gradient and Hessian (Louis 1982).

Parameters are, in this order: the active coefficients (transition by transition), log mass points
[C, J] (channel by channel) and the logits of the probabilities [J]. The model: Abbring & van den Berg
(2003, Econometrica 71, equation 1), with the discrete mixing distribution of Heckman & Singer (1984).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.density import (
    CHUNK,
    columns_of,
    densities,
    log_densities,
    log_likelihood,
    posteriors,
    with_ends,
)
from tiltakeval.estimators.duration.mixture.hazards import Hazards
from tiltakeval.estimators.duration.mixture.interval_likelihood import (
    evaluate_interval,
    interval_scores,
)
from tiltakeval.estimators.duration.mixture.mixing import ZERO, Mixing
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.duration.mixture.sums import Evaluation, Sums, point_scores

__all__ = [
    "CHUNK",
    "ZERO",
    "Evaluation",
    "Mixing",
    "densities",
    "evaluate",
    "log_densities",
    "log_likelihood",
    "unit_scores",
    "with_ends",
]
Floats = NDArray[np.float64]
#: From so many covariates on, products with them are worth forming fewer of, in single precision.
MANY = 16


def evaluate(
    panel: Panel,
    at: Hazards,
    mixing: Mixing,
    *,
    coefficients: bool = True,
    precise: bool = True,
    curvature: Floats | None = None,
) -> Evaluation:
    """Log-likelihood, gradient and Hessian at once.

    Without ``coefficients`` their derivatives are left at zero. Without ``precise`` the large products
    of the Hessian are in single precision, which a Newton step doesn't notice. With ``curvature`` [b, b]
    the Hessian by the coefficients among themselves is taken to be that.
    """
    if panel.ends is not None:
        return evaluate_interval(panel, at, mixing)
    many = panel.x_unit.shape[1] >= MANY
    sums = Sums(panel, at, mixing, coefficients, precise, many, curvature)
    for lo in range(0, panel.units, sums.chunk):
        sums.add(lo, min(lo + sums.chunk, panel.units))
    return sums.finish()


def unit_scores(panel: Panel, at: Hazards, mixing: Mixing, lo: int, hi: int) -> Floats:
    """[u, q] derivative of each unit's log density by all parameters."""
    if panel.ends is not None:
        return interval_scores(panel, at, mixing, lo, hi)
    a, d = at.a[lo:hi], at.d[lo:hi]
    post, _ = posteriors(panel, at, mixing, lo, hi)
    n, one = columns_of(panel.events, lo, hi), np.ones(hi - lo)
    points = point_scores(n, columns_of(at.a, lo, hi), mixing.v, post, one, one)
    scores, mean = points.scores.T, points.mean.T
    scores[:, mixing.mu.size :] -= mixing.p
    x = panel.x_unit[lo:hi]
    blocks = []
    for t in range(len(panel.transitions)):
        own = np.flatnonzero(panel.transition == t)
        excess = panel.event_unit[lo:hi, t] - (mean[:, own] * a[:, own]).sum(axis=1)
        rows = panel.x_events[lo:hi, t] - np.einsum("uc,ucq->uq", mean[:, own], d[:, own])
        blocks.append(np.concatenate([x * excess[:, None], rows], axis=1)[:, panel.active[t]])
    return np.concatenate([*blocks, scores], axis=1)
