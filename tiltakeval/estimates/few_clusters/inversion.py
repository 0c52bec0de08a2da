"""p values and intervals from statistics computed under every null value: tests inverted.

Wild bootstraps with the null imposed and permutations under a constant effect have one form. At the
null value r, with d = estimate - r, a replication's statistic is

    |n0 + d n1| / sqrt(q0 + 2 d q1 + d^2 q2),

and that of the sample |d| / sqrt(o0 + 2 d o1 + d^2 o2). So a p value at any r costs a pass over the
replications, and an interval some dozens of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Statistics that agree to this share are ties, counted as at least as large.
_TIE = 1e-9
#: Multiples of the scale at which a test is tried before its crossing is searched.
_GRID = np.concatenate([np.linspace(0.1, 12, 120), np.geomspace(12.5, 1e4, 60)])


@dataclass(frozen=True)
class Replications:
    """``estimate``; numerators ``n0``, ``n1`` [B] and squared errors ``q`` [3, B] of the replications,
    ``observed`` [3] those of the sample; ``exact``: they are all there are, that of the sample among
    them. ``scale`` > 0 is a standard error or the like, for the search."""

    estimate: float
    n0: Floats
    n1: Floats
    q: Floats
    observed: Floats
    exact: bool
    scale: float

    def p_value(self, null: float = 0.0) -> float:
        """Share of replications whose statistic is at least the sample's, the sample counted as one
        (Phipson & Smyth 2010) unless it is among them."""
        d = self.estimate - null
        if d == 0:
            return 1.0
        own = d**2 / _square(self.observed, d)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (self.n0 + d * self.n1) ** 2 / _square(self.q, d)
        # 0 / 0: no deviation and no error, as where all of a side has one sign; counts as large
        large = int((~(found < own * (1 - _TIE))).sum())
        return large / found.size if self.exact else (1 + large) / (1 + found.size)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The null values not rejected at 1 - ``level``, from the smallest to the largest of them.

        Infinite on a side where none is rejected: there are too few replications, or clusters.
        """
        return self._end(-1.0, 1 - level), self._end(1.0, 1 - level)

    def _end(self, side: float, alpha: float) -> float:
        def rejected(step: float) -> bool:
            # the estimate itself is never rejected; rounding of p aside
            return self.p_value(self.estimate + side * step) <= alpha + 1e-12

        steps = _GRID * self.scale
        kept = [i for i, step in enumerate(steps) if not rejected(float(step))]
        last = kept[-1] if kept else -1
        if last == steps.size - 1:
            return side * np.inf
        low, high = (float(steps[last]) if kept else 0.0), float(steps[last + 1])
        for _ in range(50):
            middle = (low + high) / 2
            if rejected(middle):
                high = middle
            else:
                low = middle
        return self.estimate + side * low


def _square(q: Floats, d: float) -> Floats:
    """The squared errors at ``d``; rounding below zero is zero."""
    return np.maximum(q[0] + 2 * d * q[1] + d**2 * q[2], 0.0)
