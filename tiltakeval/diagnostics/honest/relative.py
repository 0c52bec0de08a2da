"""Intervals where violations after treatment are at most Mbar times those seen before it.

Rambachan & Roth (2023, Review of Economic Studies 90:2555-2591), section 2.4.1. With delta the
difference in trends (zero in the base period),

    Delta^RM(Mbar) = {delta: |delta_t+1 - delta_t| <= Mbar max_s<0 |delta_s+1 - delta_s| for t >= 0}

is a union over the period s before treatment and the sign of its change v. For each, H0: l'tau =
theta has moments +-(D_t - w_t) - Mbar v <= 0, where D_t is the estimated change in period t after
the base and w_t the effect's, with sum c_t w_t = theta and c_t = sum of l over periods from t on.
They are studentised by their errors s_t+ and s_t-. The linear program min eta over w splits by t,
and its dual has the vertices

    [ +-(l'beta - theta) - Mbar v sum |c_t| ] / sum |c_t| s_t(+-sign c_t)
    -2 Mbar v / (s_t+ + s_t-)

so that neither programs nor draws are needed; of the last kind only the smallest and largest
denominator can matter. A theta is in the set when the hybrid test of `hybrid` accepts it for some
s and sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.diagnostics.honest.event_study import EventStudy
from tiltakeval.diagnostics.honest.hybrid import critical_values, rejects
from tiltakeval.errors import InputError

Floats = NDArray[np.floating]
KAPPA = 0.1
POINTS, ZOOM = 1001, 33


@dataclass(frozen=True)
class Interval:
    """A robust confidence interval: its ends, and the estimate it is built around with its error.

    ``weights`` [K + P] make that estimate from the event study. ``bias`` is the largest that the
    estimate can have under the restriction (NaN where unbounded by the data).
    """

    low: float
    high: float
    estimate: float
    std_error: float
    weights: Floats
    bias: float = np.nan

    def holds(self, value: float = 0.0) -> bool:
        """Whether ``value`` lies in it."""
        return self.low <= value <= self.high


def relative_interval(
    study: EventStudy, mbar: float, *, level: float = 0.95, tolerance: float = 1e-4
) -> Interval:
    """The confidence interval of the target under Delta^RM(``mbar``), by the C-LF hybrid test.

    The range of the accepted points among 1001 over 20 errors on either side (widened while an
    end is accepted), its ends then sharpened to ``tolerance`` errors. At mbar = 0 it is the usual
    normal interval.
    """
    test = _Test(study, mbar, level)
    centre, half = study.estimate, 20.0 * study.std_error
    for _ in range(60):
        grid = centre + half * np.linspace(-1.0, 1.0, POINTS)
        inside = test.accepts(grid)
        if not (inside[0] or inside[-1]):
            break
        half *= 2.0
    else:
        raise InputError("the interval has no end", where="relative magnitudes")
    at = np.flatnonzero(inside)
    if at.size == 0:  # the estimate itself is always accepted; rounding aside
        raise InputError("no value is accepted", where="relative magnitudes")
    ends = (grid[at[0]], grid[at[0] - 1]), (grid[at[-1]], grid[at[-1] + 1])
    near = tolerance * study.std_error
    low, high = (_sharpen(test, inner, outer, near) for inner, outer in ends)
    return Interval(low, high, centre, study.std_error, study.target)


def relative_accepts(
    study: EventStudy, mbar: float, values: Floats | float, *, level: float = 0.95
) -> NDArray[np.bool_]:
    """Whether the test accepts each of ``values`` [n] of the target under Delta^RM(``mbar``)."""
    return _Test(study, mbar, level).accepts(np.atleast_1d(np.asarray(values, dtype=np.float64)))


class _Test:
    """The hybrid tests of all periods and signs, prepared for any value of the target."""

    def __init__(self, study: EventStudy, mbar: float, level: float) -> None:
        if not (np.isfinite(mbar) and mbar >= 0):
            raise InputError("Mbar is a finite number, at least 0", where="Mbar")
        if not 0.5 < level < 1:
            raise InputError("the level must lie between 0.5 and 1", where="level")
        before, after = study.steps
        v = np.vstack([before, -before])  # [S, K + P]
        c = np.cumsum(study.weights[::-1])[::-1]
        size, total = np.abs(c), float(np.abs(c).sum())
        sv, sd = v @ study.sigma, after @ study.sigma
        var_v = np.einsum("sk,sk->s", sv, v)
        var_d = np.einsum("tk,tk->t", sd, after)
        cross = sv @ after.T  # [S, P]
        base = var_d + mbar**2 * var_v[:, None]
        up = np.sqrt(np.clip(base - 2 * mbar * cross, 0.0, None))
        down = np.sqrt(np.clip(base + 2 * mbar * cross, 0.0, None))
        positive = c >= 0
        first = np.where(positive, up, down) @ size
        second = np.where(positive, down, up) @ size
        width = up + down
        # coefficients [S, 4, 2] of the vertices on (l'beta - theta, v)
        one, m = np.ones(len(v)), np.full(len(v), mbar)
        self.coefficients = np.stack(
            [
                np.stack([one / first, -m * total / first], axis=1),
                np.stack([-one / second, -m * total / second], axis=1),
                np.stack([0 * one, -2 * m / width.min(axis=1)], axis=1),
                np.stack([0 * one, -2 * m / width.max(axis=1)], axis=1),
            ],
            axis=1,
        )
        error = study.std_error
        shared = sv @ study.target / error
        root = np.zeros((len(v), 2, 2))
        root[:, 0, 0] = error
        root[:, 1, 0] = shared
        root[:, 1, 1] = np.sqrt(np.clip(var_v - shared**2, 0.0, None))
        whitened = self.coefficients @ root
        self.covariance = whitened @ whitened.transpose(0, 2, 1)
        self.alpha = 1.0 - level
        self.kappa = KAPPA * self.alpha
        self.critical = critical_values(whitened, self.kappa)
        self.estimate, self.v = study.estimate, v @ study.beta

    def accepts(self, theta: Floats) -> NDArray[np.bool_]:
        """[n] whether each value is accepted for some period and sign."""
        x = (
            self.coefficients[:, None, :, 0] * (self.estimate - theta)[None, :, None]
            + (self.coefficients[:, :, 1] * self.v[:, None])[:, None, :]
        )
        out = rejects(x, self.covariance, self.critical, alpha=self.alpha, kappa=self.kappa)
        return np.asarray(~out.all(axis=0), dtype=bool)


def _sharpen(test: _Test, inner: float, outer: float, near: float) -> float:
    """The last accepted point on the way from ``inner`` (accepted) to ``outer`` (rejected)."""
    while abs(outer - inner) > near:
        grid = np.linspace(inner, outer, ZOOM)
        last = int(np.flatnonzero(test.accepts(grid[:-1])).max(initial=0))
        inner, outer = grid[last], grid[last + 1]
    return float(inner)
