"""One cohort against units that are never treated: weights of units and periods, effects by period.

Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021, American Economic Review 111:4088-4118), their
eqs. 4 to 6 and Algorithm 1. Weights of units make the comparison's path before treatment parallel to the
cohort's, weights of periods make the comparison's level before treatment like that after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.synthetic.simplex import OnSimplex, frank_wolfe, on_simplex

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Method = Literal["sdid", "sc", "did"]
Solver = Literal["exact", "frank_wolfe"]

#: The ridge of the periods' weights, and of synthetic control's units', relative to the noise (paper).
TINY = 1e-6
#: A ridge relative to outcomes' squares that keeps weights unique where there is no noise at all.
_FLOOR = 1e-14
#: R's synthdid stops where the root of the fall in the mean square is less than this times the noise.
_STOP = 1e-5


@dataclass(frozen=True)
class CohortFit:
    """``omega`` [comparison units] and ``lam`` [periods before] add up to one. ``effects`` [T] are the
    cohort's path less the comparison's, less that difference before treatment by ``lam`` (before
    treatment: what the fit left). ``noise`` is the standard deviation of changes before treatment,
    ``zeta`` the penalty; ``gaps`` bound what the two problems' objectives leave, relative to their size.
    """

    omega: Floats
    lam: Floats
    effects: Floats
    noise: float
    zeta: float
    gaps: tuple[float, float]


def fit_cohort(
    mean: Floats,
    others: Floats,
    weight: Floats,
    before: Bools,
    after: Bools,
    *,
    method: Method,
    treated: float,
    zeta: float | None = None,
    noise: float | None = None,
    start: Floats | None = None,
    solver: Solver = "exact",
) -> CohortFit:
    """Weights and effects for a cohort with mean path ``mean`` [T] against ``others`` [N, T].

    ``weight`` [N] > 0 counts comparison units: a unit of weight 2 is two units (a draw of the bootstrap
    has such). ``before`` and ``after`` [T] are the periods the weights look at, ``treated`` the number
    of treated units. ``noise`` and ``zeta`` may be those of another sample, ``start`` its weights of
    periods, from which the search for these goes out. ``solver``: the exact weights, or those R's
    synthdid stops at.
    """
    pre, post = others[:, before], others[:, after]
    periods = pre.shape[1]
    if noise is None:
        noise = _noise(pre, weight)
    if zeta is None:
        zeta = (treated * after.sum()) ** 0.25 * noise if method != "sc" else TINY * noise
    plain = weight / weight.sum()
    gaps = [0.0, 0.0]
    usual = max(float(np.mean(others**2)), 1e-100)  # of a ridge where nothing varies
    omega, lam = plain, np.full(periods, 1.0 / periods)
    if method != "did":
        a, b = pre.T, mean[before]
        if method == "sdid":
            a, b = a - a.mean(axis=0), b - b.mean()
        floor = _FLOOR * max(float((a * a).sum(axis=0).max()), usual)
        ridge = np.maximum(periods * zeta**2 / weight, floor)
        found = _solved(a, b, ridge, None, solver, noise, periods)
        omega, gaps[0] = found.weights, found.gap
    if method == "sdid":
        target = post.mean(axis=1)
        root = np.sqrt(plain)
        a = (pre - plain @ pre) * root[:, None]
        b = (target - plain @ target) * root
        floor = _FLOOR * max(float((a * a).sum(axis=0).max()), usual)
        ridge = np.full(periods, max((TINY * noise) ** 2, floor))
        found = _solved(a, b, ridge, start, solver, noise, 1)
        lam, gaps[1] = found.weights, found.gap
    if method == "sc":
        lam = np.zeros(periods)
    path = mean - omega @ others
    return CohortFit(omega, lam, path - path[before] @ lam, noise, float(zeta), (gaps[0], gaps[1]))


def _solved(
    a: Floats,
    b: Floats,
    ridge: Floats,
    start: Floats | None,
    solver: Solver,
    noise: float,
    rows: int,
) -> OnSimplex:
    if solver == "frank_wolfe":
        return frank_wolfe(a, b, ridge, stop=rows * (_STOP * noise) ** 2)
    return on_simplex(a, b, ridge, None if start is None else start > 0)


def _noise(pre: Floats, weight: Floats) -> float:
    """Standard deviation of changes from one period to the next, all units and periods together."""
    if pre.shape[1] < 2:
        return 0.0
    change = np.diff(pre, axis=1)
    w = np.broadcast_to(weight[:, None], change.shape)
    total = float(w.sum())
    if total <= 1:
        return 0.0
    centre = float((w * change).sum() / total)
    return float(np.sqrt((w * (change - centre) ** 2).sum() / (total - 1)))
