"""A censored duration as an outcome: the doubly robust censoring-unbiased transformation.

Y is what a duration T with exit J is worth at a horizon: min(T, h), 1{T > h}, ... With G the chance of
still being followed, dM the jumps of the censoring martingale and Q(k) = E[Y | T > k, A, X],

    Y* = 1{known} Y / G(u-) + sum_{k < h, at risk} Q(k) dM(k) / G(k),      u = min(time followed, h),

has E[Y* | A, X] = E[Y | A, X] when either G or Q is right (Rubin & van der Laan 2007, International
Journal of Biostatistics 3:4; Robins & Rotnitzky 1992). Put in the place of Y in doubly robust scores it
gives those of Cui, Kosorok, Sverdrup, Wager & Zhu (2023, Journal of the Royal Statistical Society B
85:179-211). As the error of G multiplies that of Q, cross-fitted G and Q add nothing to the influence.
Pseudo-observations (Andersen, Klein & Rosthoej 2003) need censoring that covariates have no say in.

Times are a grid 1..K; at a time of the grid exits come first, then censoring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Worth:
    """What a duration is worth at a horizon ``h`` (place in the grid): ``exit`` [h, 2] by time of exit,
    for the exit that counts and for others, and ``none`` for no exit by then."""

    h: int
    exit: NDArray[np.float64]
    none: float


def worth(measure: str, h: int, step: float, *, competing: bool, middle: bool = False) -> Worth:
    """The values of ``measure`` at place ``h`` of a grid with times ``step`` apart.

    restricted_mean: time to any exit, at most h; survival: 1 without exit by h; incidence: 1 with the
    exit that counts by h; time_lost: time from that exit to h. ``competing``: other exits aren't that.
    ``middle``: exits at k are of times between k - 1 and k, on average in the middle.
    """
    k = np.arange(1, h + 1) - 0.5 * middle
    other = 0.0 if competing else 1.0
    if measure == "restricted_mean":
        return Worth(h, np.stack([k * step, k * step], axis=1), h * step)
    if measure == "survival":
        return Worth(h, np.zeros((h, 2)), 1.0)
    lost = np.ones(h) if measure == "incidence" else (h - k) * step
    return Worth(h, np.stack([lost, other * lost], axis=1), 0.0)


def kept_from_zero(c: Floats, least: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hazards of censoring [n, K] lowered so that the chance of being followed G [n, K + 1] stays at
    ``least`` or above, and that G.

    Lowering the hazard with G keeps the transformation right where Q is.
    """
    out, g = np.empty(c.shape), np.ones((len(c), c.shape[1] + 1))
    for k in range(c.shape[1]):
        out[:, k] = np.clip(np.minimum(c[:, k], 1.0 - least / g[:, k]), 0.0, None)
        g[:, k + 1] = g[:, k] * (1.0 - out[:, k])
    return out, g


def transformed(
    time: Ints,
    event: Ints,
    value: Floats,
    *,
    exit_hazard: Floats,
    censoring: Floats,
    followed: Floats,
    of: Worth,
) -> NDArray[np.float64]:
    """Y* [n] at one horizon.

    ``time`` [n] place in the grid of the end of follow-up, ``event`` [n] 0 censored, 1 the exit that
    counts, 2 another; ``value`` [n] what an exit at ``time`` is worth (used where it is known).
    ``exit_hazard`` [n, K, 2], ``censoring`` [n, K] and ``followed`` [n, K + 1] of `kept_from_zero`.
    """
    n, h = time.size, of.h
    q = np.empty((n, h + 1))  # q[:, k]: expected worth, no exit up to k
    q[:, h] = of.none
    for k in range(h, 0, -1):
        lam = exit_hazard[:, k - 1]
        q[:, k - 1] = lam @ of.exit[k - 1] + (1.0 - lam.sum(axis=1)) * q[:, k]
    row = np.arange(n)
    u = np.minimum(time, h)
    exits = (event > 0) & (time <= h)
    known = exits | (time >= h)
    y = np.where(exits, value, of.none)
    out = np.where(known, y / followed[row, u - 1], 0.0)
    # sum of Q c / G over the times before h at which the unit is at risk of censoring
    running = np.zeros((n, h))
    if h > 1:
        np.cumsum(q[:, 1:h] * censoring[:, : h - 1] / followed[:, 1:h], axis=1, out=running[:, 1:])
    last = np.minimum(np.where(event > 0, time - 1, time), h - 1)
    out -= running[row, last]
    lost = (event == 0) & (time < h)
    at = np.minimum(time, h - 1)
    return np.asarray(out + np.where(lost, q[row, at] / followed[row, at], 0.0))
