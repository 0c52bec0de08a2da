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
Method = Literal["dr", "ipw", "reg"]


@dataclass(frozen=True)
class CellFit:
    """``att`` [k] and ``z`` [m, k], each unit's influence (what its weight does to the effect, times
    the weight): the sums of squares of z over clusters are the variance. ``odds`` are the weights of
    the comparison units, ``trimmed`` how many had too high a propensity. ``reason`` is set, and the
    rest empty, when the effects can't be had. ``dropped`` are columns that were no use in these units,
    ``coef`` the logit's coefficients where none was."""

    att: Floats
    z: Floats
    odds: Floats
    trimmed: int = 0
    dropped: tuple[int, ...] = ()
    reason: str = ""
    coef: Floats | None = None


def fit_cells(
    *,
    dy: Floats,
    treated: int,
    x: Floats,
    weight: Floats,
    method: Method,
    names: tuple[str, ...],
    max_propensity: float,
    start: Floats | None = None,
) -> CellFit:
    """Effects on a cohort for k differences ``dy`` [m, k]: the first ``treated`` rows against the rest.

    ``x`` [m, p] holds covariates without a constant, on any scale near 1 (centred helps); ``names``
    [p] are theirs. Comparison units with a propensity above ``max_propensity`` get no weight.
    ``start`` are the logit's coefficients in a like cell.
    """
    basis = np.concatenate([np.ones((dy.shape[0], 1)), x], axis=1)
    dropped: tuple[int, ...] = ()
    if x.shape[1]:
        kept = independent(basis.T @ (basis * weight[:, None]))
        dropped = tuple(j - 1 for j in range(basis.shape[1]) if j not in kept)
        if dropped:
            basis, start = basis[:, kept], None
            names = tuple(names[j - 1] for j in kept[1:])
    if basis.shape[1] == 1:
        method = "reg"  # all three are then the difference of two means
    xt, xc = basis[:treated], basis[treated:]
    wt, wc = weight[:treated], weight[treated:]
    residual = dy
    if method != "ipw":
        short = xc.shape[0] - xc.shape[1]
        if short < 0 or (short == 0 and xc.shape[1] > 1):
            return _none(
                f"{xc.shape[0]} comparison units are too few for {xc.shape[1]} coefficients",
                dropped,
            )
        gram = xc.T @ (xc * wc[:, None])
        sound = independent(gram)
        if len(sound) < xc.shape[1]:
            said = ", ".join(names[j - 1] for j in range(1, xc.shape[1]) if j not in sound)
            return _none(f"covariates are collinear among the comparison units: {said}", dropped)
        inverse = np.linalg.inv(gram)
        residual = dy - basis @ (inverse @ ((xc * wc[:, None]).T @ dy[treated:]))
    total = wt.sum()
    eta_t = wt @ residual[:treated] / total
    z = np.empty_like(dy)
    np.multiply(residual[:treated] - eta_t, (wt / total)[:, None], out=z[:treated])
    along = wt @ xt / total  # M1
    if method == "reg":
        np.multiply(residual[treated:], -(wc * (xc @ (inverse @ along)))[:, None], out=z[treated:])
        return CellFit(eta_t, z, wc, dropped=dropped)
    own = np.arange(dy.shape[0]) < treated
    fit = fit_propensity(basis, own, weight, start)
    if fit.reason:
        return _none(fit.reason, dropped)
    score = fit.score[treated:]
    used = score < max_propensity
    odds = np.where(used, wc * score / (1 - score), 0.0)
    if not (odds.sum() > 0):
        return _none("no comparison unit is like the cohort (propensities near 1)", dropped)
    share = odds / odds.sum()
    eta_c = share @ residual[treated:]
    centre = np.zeros_like(share)
    if method == "dr":
        centre = wc * (xc @ (inverse @ (along - share @ xc)))
    # own weight, and what the regression (first term) and the propensity (last) owe to the unit
    lean = np.linalg.solve(
        fit.information, (xc * share[:, None]).T @ residual[treated:] - np.outer(share @ xc, eta_c)
    )
    np.multiply(residual[treated:], -(share + centre)[:, None], out=z[treated:])
    z[treated:] += share[:, None] * eta_c
    z -= (basis * (weight * (own - fit.score))[:, None]) @ lean
    return CellFit(
        eta_t - eta_c, z, odds, int((~used).sum()), dropped, coef=fit.coef if not dropped else None
    )


def _none(reason: str, dropped: tuple[int, ...]) -> CellFit:
    empty = np.empty(0)
    return CellFit(empty, empty, empty, dropped=dropped, reason=reason)
