"""Critical values of intervals for shrunk estimates that hold whatever the distribution shrunk from.

Armstrong, Kolesar & Plagborg-Moller (2022, Econometrica 90:2567-2602): an estimate with normal error of
standard deviation 1 and a bias b drawn from any distribution with E b^2 = m2 and E b^4 = kappa m2^2
misses an interval of half-length chi with at most the chance rho(m2, kappa, chi) (section 3.1,
appendix B). The interval's coverage is an average over the estimates shrunk together.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import ndtr

Floats = NDArray[np.floating]
GRID, TOUCHING, POINTS = 160, 30, 9


def missed(t: Floats, chi: float) -> NDArray[np.float64]:
    """r(t): chance that |Z + sqrt(t)| > chi."""
    b = np.sqrt(t)
    return np.asarray(ndtr(b - chi) + ndtr(-b - chi))


def missed_slope(t: Floats, chi: float) -> NDArray[np.float64]:
    """r'(t), with its limit chi phi(chi) at 0."""
    b = np.sqrt(np.maximum(t, 1e-16))
    found = (_density(b - chi) - _density(b + chi)) / (2 * b)
    return np.asarray(np.where(t < 1e-8, chi * _density(np.asarray(chi)), found))


def _density(x: Floats) -> NDArray[np.float64]:
    """The standard normal's, without what a distribution object checks on every call."""
    return np.asarray(np.exp(-(x**2) / 2.0) / np.sqrt(2.0 * np.pi))


def _tangent(chi: float) -> float:
    """The t at which the line from (0, r(0)) touches r: r is concave beyond; 0 for chi <= sqrt(3)."""
    if chi <= np.sqrt(3.0):
        return 0.0

    def gap(t: float) -> float:
        here = np.array([t])
        start = missed(np.array([0.0]), chi)[0]
        return float(missed(here, chi)[0] - t * missed_slope(here, chi)[0] - start)

    low, high = 1e-3, (chi + 1.0) ** 2 + 10.0
    while gap(high) < 0:
        high *= 2
    return float(optimize.brentq(gap, low, high)) if gap(low) < 0 else 0.0


def worst_missed(m2: float, kappa: float, chi: float) -> float:
    """rho(m2, kappa, chi); ``kappa`` may be infinite."""
    touch = _tangent(chi)
    if m2 >= touch:
        return float(missed(np.array([m2]), chi)[0])
    zero = missed(np.array([0.0]), chi)[0]
    line = float(zero + m2 / touch * (missed(np.array([touch]), chi)[0] - zero))
    if not np.isfinite(kappa):
        return line
    # quadratics that lie above r and touch it at x0: the least value at the two moments is the bound
    x0 = touch * np.linspace(1e-4, 1.0, TOUCHING)
    x = np.concatenate([[0.0], np.geomspace(1e-4, (np.sqrt(touch) + chi + 6.0) ** 2, GRID)])
    r0, slope = missed(x0, chi), missed_slope(x0, chi)
    gap = x[None, :] - x0[:, None]
    over = missed(x, chi)[None, :] - r0[:, None] - gap * slope[:, None]
    near = np.abs(gap) < 1e-3 * np.maximum(x0[:, None], 1e-3)
    steep = np.where(near, -np.inf, over / np.where(near, 1.0, gap) ** 2).max(axis=1)
    bound = r0 + (m2 - x0) * slope + ((x0 - m2) ** 2 + (kappa - 1.0) * m2**2) * np.maximum(steep, 0)
    return min(line, float(bound.min()))


@lru_cache(maxsize=4096)
def critical_value(m2: float, kappa: float, level: float) -> float:
    """cva: the half-length, in standard deviations, at which ``worst_missed`` is 1 - ``level``."""
    plain = float(stats.norm.ppf(0.5 + level / 2))
    if m2 <= 0:
        return plain
    high = plain + np.sqrt((1.0 + m2) / (1.0 - level))

    def gap(chi: float) -> float:
        return worst_missed(m2, kappa, chi) - (1.0 - level)

    return float(optimize.brentq(gap, plain - 1e-9, high, xtol=1e-4)) if gap(plain) > 0 else plain


def critical_values(m2: Floats, kappa: float, level: float) -> NDArray[np.float64]:
    """[m] ``critical_value`` of every ``m2``; for many, interpolated between ``POINTS`` of them."""
    m2 = np.asarray(m2, dtype=np.float64)
    at = np.unique(m2)
    if at.size > POINTS:
        at = np.linspace(np.sqrt(at[0]), np.sqrt(at[-1]), POINTS) ** 2
    found = [critical_value(float(value), float(kappa), level) for value in at]
    return np.asarray(np.interp(np.sqrt(m2), np.sqrt(at), found))


def moments(error: Floats, variance: Floats, weight: Floats) -> tuple[float, float, float]:
    """mu2, kappa and the error of mu2, from deviations ``error`` [m] with sampling ``variance`` [m].

    Both are kept from below by the paper's truncation (section 4.1 and appendix A.1), which is about
    their posterior mean under a flat prior. The error takes the deviations as normal.
    """
    w = weight / weight.sum()
    s2 = variance
    raw2 = float(w @ (error**2 - s2))
    least2 = float(2 * (w**2 @ s2**2) / (w @ s2))
    mu2 = max(raw2, least2)
    raw4 = float(w @ (error**4 - 6 * s2 * error**2 + 3 * s2**2))
    least4 = 1.0 + float(32 * (w**2 @ s2**4) / (mu2**2 * (w @ s2**2)))
    error_of = float(np.sqrt(2 * (w**2 @ (mu2 + s2) ** 2)))
    return mu2, max(raw4 / mu2**2, least4), error_of
