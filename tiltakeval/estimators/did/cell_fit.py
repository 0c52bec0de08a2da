"""Effects on one cohort against one comparison group, in several periods at once, with influence.

Sant'Anna & Zhao (2020, Journal of Econometrics 219:101-122): doubly robust for panels (their eq. 3.1
with a logit by maximum likelihood and least squares, weights normalised), outcome regression (Heckman,
Ichimura & Todd 1997) and normalised inverse probability weighting (Abadie 2005, Hajek weights).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.propensity import fit_propensity, independent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Method = Literal["dr", "ipw", "reg"]


@dataclass(frozen=True)
class CellFit:
    """``att`` [k] and ``z`` [m, k], each unit's influence (what its weight does to the effect, times
    the weight): the sums of squares of z over clusters are the variance. ``odds`` [m] are the comparison
    units' weights, ``trimmed`` how many had too high a propensity. ``reason`` is set, and the rest
    empty, when the effects can't be had. ``dropped`` are columns that were no use in these units."""

    att: Floats
    z: Floats
    odds: Floats
    trimmed: int = 0
    dropped: tuple[int, ...] = ()
    reason: str = ""


def fit_cells(
    *,
    dy: Floats,
    treated: Bools,
    x: Floats,
    weight: Floats,
    method: Method,
    names: tuple[str, ...],
    max_propensity: float,
) -> CellFit:
    """Effects on the ``treated`` [m] for k differences ``dy`` [m, k] against all other units.

    ``x`` [m, p] holds covariates without a constant, on any scale near 1 (centred helps); ``names``
    [p] are theirs. Comparison units with a propensity above ``max_propensity`` get no weight.
    """
    ones = np.ones((len(treated), 1))
    basis = np.concatenate([ones, x], axis=1)
    dropped: tuple[int, ...] = ()
    if x.shape[1]:
        kept = independent(basis.T @ (basis * weight[:, None]))
        dropped = tuple(j - 1 for j in range(basis.shape[1]) if j not in kept)
        basis = basis[:, kept]
        names = tuple(names[j - 1] for j in kept[1:])
    if basis.shape[1] == 1:
        method = "reg"  # all three are then the difference of two means
    control = ~treated
    wt, wc = weight[treated], weight[control]
    xc = basis[control]
    if method != "ipw":
        short = xc.shape[0] - xc.shape[1]
        if short < 0 or (short == 0 and xc.shape[1] > 1):
            return _none(
                f"{xc.shape[0]} comparison units are too few for {xc.shape[1]} coefficients",
                dropped,
            )
        gram = xc.T @ (xc * wc[:, None])
        fixed = [j for j in range(xc.shape[1]) if j not in independent(gram)]
        if fixed:
            said = ", ".join(names[j - 1] for j in fixed)
            return _none(f"covariates are collinear among the comparison units: {said}", dropped)
        inverse = np.linalg.inv(gram)
        slope = inverse @ (xc.T @ (wc[:, None] * dy[control]))
        residual = dy - basis @ slope
    else:
        residual = dy
    total = wt.sum()
    eta_t = wt @ residual[treated] / total
    z = np.zeros_like(dy)
    z[treated] = (wt / total)[:, None] * (residual[treated] - eta_t)
    along = wt @ basis[treated] / total  # M1
    if method == "reg":
        z[control] = -(wc * (xc @ (inverse @ along)))[:, None] * residual[control]
        return CellFit(eta_t, z, np.where(control, weight, 0.0), dropped=dropped)
    fit = fit_propensity(basis, treated, weight)
    if fit.reason:
        return _none(fit.reason, dropped)
    score = fit.score
    used = score[control] < max_propensity
    odds = np.where(used, wc * score[control] / (1 - score[control]), 0.0)
    if not used.any() or not (odds.sum() > 0):
        return _none("no comparison unit is like the cohort (propensities near 1)", dropped)
    share = odds / odds.sum()
    eta_c = share @ residual[control]
    gap = share[:, None] * (residual[control] - eta_c)
    z[control] -= gap
    lean = np.linalg.solve(fit.information, xc.T @ gap)  # [p, k]
    z -= (weight * (treated - score))[:, None] * (basis @ lean)
    if method == "dr":
        pull = wc * (xc @ (inverse @ (along - share @ xc)))
        z[control] -= pull[:, None] * residual[control]
    everyone = np.zeros(len(treated))
    everyone[control] = odds
    return CellFit(eta_t - eta_c, z, everyone, int((~used).sum()), dropped)


def _none(reason: str, dropped: tuple[int, ...]) -> CellFit:
    empty = np.empty(0)
    return CellFit(empty, empty, empty, dropped=dropped, reason=reason)
