"""The conditional least-favourable hybrid test where moments rest on two normal numbers.

Andrews, Roth & Pakes (2023, Review of Economic Studies 90:2763-2791), sections 4-6. H0: the mean of
some linear functions x_1, ..., x_m of jointly normal numbers is at most 0, the nuisance
parameters having been removed (the functions are the vertices of the dual linear program). The
statistic is eta = max x_j. Given which x_j is the largest, and what of the others is independent
of it, x_j is a normal number cut off at both ends, and eta is compared with that distribution at
mean 0 (conditional). The hybrid rejects first where eta exceeds the 1 - kappa quantile of the
maximum at mean 0 (least favourable), and then uses that quantile as another upper end, with size
(alpha - kappa) / (1 - kappa).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.floating]
ANGLES = 720


def critical_values(whitened: Floats, kappa: float) -> Floats:
    """[S] 1 - ``kappa`` quantiles of max_j a_j'z for S sets of m vectors a_j in ``whitened`` [S,
    m, 2].

    z is standard normal in the plane: in polar coordinates P(max > c) is the mean over directions
    of exp(-(c / h)^2 / 2) where h = max_j a_j'(direction) is positive. By quadrature and
    bisection: exact to about 1e-5, without draws.
    """
    largest = np.maximum((whitened @ _directions()).max(axis=1), 0.0)
    with np.errstate(divide="ignore"):
        inverse = 0.5 / largest**2
    low = np.zeros(len(whitened))
    high = 40.0 * largest.max(axis=1)
    for _ in range(50):
        middle = (low + high) / 2
        with np.errstate(invalid="ignore", over="ignore"):
            above = np.exp(-(middle[:, None] ** 2) * inverse)
        over = np.nan_to_num(above).mean(axis=1) > kappa
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    return high


@cache
def _directions() -> Floats:
    angle = 2 * np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
    return np.stack([np.cos(angle), np.sin(angle)])


def rejects(
    x: Floats, covariance: Floats, critical: Floats, *, alpha: float, kappa: float
) -> NDArray[np.bool_]:
    """[S, n] whether the test rejects: ``x`` [S, n, m], ``covariance`` [S, m, m], ``critical`` [S].

    The size is ``alpha``, of which ``kappa`` is spent on the least-favourable first stage.
    """
    sets = np.arange(len(x))[:, None]
    best = x.argmax(axis=2)
    eta = np.take_along_axis(x, best[..., None], axis=2)[..., 0]
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    v = variance[sets, best]
    tiny = 1e-18 * variance.max(axis=1)[:, None]
    fixed = v <= tiny  # a number without variance: rejected where it is positive
    ratio = covariance[sets, best] / np.where(fixed, 1.0, v)[..., None]
    rest = x - ratio * eta[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = rest / (1.0 - ratio)
    same = np.abs(1.0 - ratio) < 1e-9  # itself and its copies
    low = np.where((ratio < 1) & ~same, bound, -np.inf).max(axis=2)
    high = np.where((ratio > 1) & ~same, bound, np.inf).min(axis=2)
    high = np.minimum(high, critical[:, None])
    sd = np.sqrt(np.where(fixed, 1.0, v))
    share = (alpha - kappa) / (1.0 - kappa)
    cut = np.maximum(upper_quantile(low / sd, high / sd, share), 0.0)
    second = np.where(fixed, eta > 1e-9 * np.sqrt(variance.max(axis=1))[:, None], eta / sd > cut)
    return (eta > critical[:, None]) | second


def upper_quantile(low: Floats, high: Floats, share: float) -> Floats:
    """The point a standard normal number cut to [low, high] exceeds with probability ``share``."""
    tail = np.logaddexp(
        np.log1p(-share) + special.log_ndtr(-high), np.log(share) + special.log_ndtr(-low)
    )
    return -special.ndtri_exp(tail)
