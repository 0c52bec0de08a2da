"""Omitted-variable bias of least squares (Cinelli & Hazlett 2020, JRSS B 82:39-67).

From a coefficient, its (homoskedastic) standard error and degrees of freedom alone. Shares are partial
R^2: of the unseen factor with the outcome given treatment and covariates (``y``), and with the
treatment given covariates (``d``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tiltakeval.diagnostics.sensitivity.strength import check_shares
from tiltakeval.errors import InputError


@dataclass(frozen=True)
class Coefficient:
    """A least-squares coefficient of a treatment: estimate, standard error, residual degrees of freedom.

    Raises InputError for an error that isn't positive or fewer than 2 degrees of freedom.
    """

    estimate: float
    std_error: float
    df: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.estimate) and np.isfinite(self.std_error) and self.std_error > 0):
            raise InputError("a coefficient needs a finite estimate and a positive standard error")
        if not self.df >= 2:
            raise InputError("at least 2 residual degrees of freedom are needed", where="df")

    @property
    def partial_r2(self) -> float:
        """Share of the outcome's residual variance that the treatment explains."""
        t2 = (self.estimate / self.std_error) ** 2
        return float(t2 / (t2 + self.df))

    def robustness_value(self, *, q: float = 1.0, level: float | None = None) -> float:
        """Equal shares y = d that bring the estimate down by ``q`` of itself; with ``level``, that bring
        its two-sided interval at that level to hold the estimate less ``q`` of itself."""
        f = q * abs(self.estimate / self.std_error) / np.sqrt(self.df)
        critical = 0.0
        if level is not None:
            t = stats.t.ppf(0.5 + level / 2, self.df - 1)
            critical = float(t / np.sqrt(self.df - 1))
        gap = f - critical
        if gap <= 0:
            return 0.0
        if critical and f > 1 / critical:  # beyond this the factor explains the outcome best
            return float((f**2 - critical**2) / (1 + f**2))
        return float((np.sqrt(gap**4 + 4 * gap**2) - gap**2) / 2)

    def bias(self, *, y: float, d: float) -> float:
        """Largest bias from a factor with partial R^2 ``y`` and ``d``. Raises InputError."""
        check_shares(y=y, d=d)
        return float(np.sqrt(y * d / (1 - d)) * self.std_error * np.sqrt(self.df))

    def adjusted(self, *, y: float, d: float) -> Coefficient:
        """The coefficient nearest, or past, zero that such a factor in the regression would leave."""
        side = 1.0 if self.estimate >= 0 else -1.0
        error = self.std_error * np.sqrt((1 - y) / (1 - d) * self.df / (self.df - 1))
        return Coefficient(
            self.estimate - side * self.bias(y=y, d=d), max(float(error), 1e-300), self.df - 1
        )


def as_strong_as(
    *, y: float, d: float, times: float = 1.0, times_outcome: float | None = None
) -> tuple[float, float]:
    """Largest shares (y, d) of a factor ``times`` as strong as a covariate whose partial R^2 are ``y``
    (with the outcome, given treatment and the rest) and ``d`` (with the treatment, given the rest).

    Cinelli & Hazlett (2020), section 4.4. Raises InputError when no factor can be that strong.
    """
    check_shares(y=y, d=d)
    k_d, k_y = times, times if times_outcome is None else times_outcome
    weights = k_d * d / (1 - d)
    if weights >= 1:
        raise InputError(
            f"no factor is {k_d:g} times as strong: it would explain all of the treatment",
            where="times",
        )
    between = k_d * d**2 / ((1 - k_d * d) * (1 - d))
    if between >= 1:
        raise InputError("no factor can be that strong", where="times")
    eta = (np.sqrt(k_y) + np.sqrt(between)) / np.sqrt(1 - between)
    return min(float(eta**2 * y / (1 - y)), 1.0), float(weights)
