"""Effects on one cohort against one comparison group, in several periods at once, with influence.

Sant'Anna & Zhao (2020, Journal of Econometrics 219:101-122): doubly robust for panels (their eq. 3.1
with a logit by maximum likelihood and least squares, weights normalised), outcome regression (Heckman,
Ichimura & Todd 1997) and normalised inverse probability weighting (Abadie 2005, Hajek weights).

Weights depend on who is compared with whom only: `weigh` makes them once, for any number of periods.
Units are columns, those of the cohort first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.cells.propensity import fit_propensity, weighted_gram
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Method = Literal["dr", "ipw", "reg"]


@dataclass(frozen=True)
class Weighing:
    """How units weigh: ``odds`` [comparison units] are the weights of the comparison, ``trimmed`` how
    many had too high a propensity. ``reason`` is set, and the rest empty, when effects can't be had.
    ``dropped`` are covariates that were no use in these units, ``coef`` the logit's coefficients.
    ``kept`` are the rows of the basis that were of use.
    """

    odds: Floats
    trimmed: int = 0
    dropped: tuple[int, ...] = ()
    reason: str = ""
    coef: Floats | None = None
    kept: tuple[int, ...] = ()
    basis: Floats | None = None
    weight: Floats | None = None
    inverse: Floats | None = None
    # what a unit's residual weighs beside its share, its share, the logit's score and information
    centre: Floats | None = None
    share: Floats | None = None
    surprise: Floats | None = None
    information: Floats | None = None


def weigh(
    *,
    x: Floats,
    treated: int,
    weight: Floats,
    method: Method,
    names: tuple[str, ...],
    max_propensity: float,
    start: Floats | None = None,
    grams: tuple[Floats, Floats] | None = None,
) -> Weighing:
    """Weights of the first ``treated`` units and of the rest.

    ``x`` [1 + p, m] holds a row of ones and covariates on any scale near 1 (centred helps); ``names``
    [p] are theirs. Comparison units with a propensity above ``max_propensity`` get no weight.
    ``start`` are the logit's coefficients in a like cell, ``grams`` the weighted Gram matrices of the
    cohort and of the comparison, where they are known already.
    """
    own, other = grams or (
        weighted_gram(x[:, :treated], weight[:treated]),
        weighted_gram(x[:, treated:], weight[treated:]),
    )
    kept = independent(own + other)
    dropped = tuple(j - 1 for j in range(x.shape[0]) if j not in kept)
    if dropped:
        x, start = x[kept], None
        own, other = own[np.ix_(kept, kept)], other[np.ix_(kept, kept)]
        names = tuple(names[j - 1] for j in kept[1:])
    if x.shape[0] == 1:
        method = "reg"  # all three are then the difference of two means
    xt, xc = x[:, :treated], x[:, treated:]
    wt, wc = weight[:treated], weight[treated:]
    inverse = None
    if method != "ipw":
        short = xc.shape[1] - xc.shape[0]
        if short < 0 or (short == 0 and xc.shape[0] > 1):
            return _none(
                Reason(
                    Why.TOO_FEW,
                    f"{xc.shape[1]} comparison units are too few for {xc.shape[0]} coefficients",
                ),
                dropped,
            )
        sound = independent(other)
        if len(sound) < xc.shape[0]:
            said = ", ".join(names[j - 1] for j in range(1, xc.shape[0]) if j not in sound)
            return _none(
                Reason(
                    Why.COLLINEAR, f"covariates are collinear among the comparison units: {said}"
                ),
                dropped,
            )
        inverse = np.linalg.inv(other)
    along = xt @ wt / wt.sum()
    shared = {"kept": tuple(kept), "basis": x, "weight": weight, "inverse": inverse}
    if method == "reg":
        assert inverse is not None
        centre = wc * ((inverse @ along) @ xc)
        return Weighing(wc, 0, dropped, centre=centre, **shared)  # type: ignore[arg-type]
    fit = fit_propensity(x, treated, weight, start, (own, other))
    if fit.reason:
        return _none(fit.reason, dropped)
    score = fit.score[treated:]
    used = score < max_propensity
    odds = np.where(used, wc * score / (1 - score), 0.0)
    if not (odds.sum() > 0):
        return _none(
            Reason(Why.SEPARATED, "no comparison unit is like the cohort (propensities near 1)"),
            dropped,
        )
    share = odds / odds.sum()
    centre = np.zeros_like(share)
    if method == "dr":
        assert inverse is not None
        centre = wc * ((inverse @ (along - xc @ share)) @ xc)
    surprise = -weight * fit.score
    surprise[:treated] += wt
    return Weighing(
        odds,
        int((~used).sum()),
        dropped,
        coef=None if dropped else fit.coef,
        centre=centre,
        share=share,
        surprise=surprise,
        information=fit.information,
        **shared,  # type: ignore[arg-type]
    )


def effects(sides: Weighing, dy: Floats, xy: Floats | None = None) -> tuple[Floats, Floats]:
    """Effects [k] for k differences ``dy`` [k, m], which are overwritten by each unit's influence: what
    its weight does to the effect, times the weight. The sums of squares of these over clusters are the
    variance. ``xy`` [k, 1 + p] are the weighted products of dy and the basis over the comparison units,
    where they are known already.
    """
    assert sides.basis is not None and sides.weight is not None and sides.centre is not None
    x, treated = sides.basis, sides.basis.shape[1] - sides.odds.size
    xc, wt, wc = x[:, treated:], sides.weight[:treated], sides.weight[treated:]
    if sides.inverse is not None:
        xy = (dy[:, treated:] * wc) @ xc.T if xy is None else xy[:, sides.kept]
        dy -= (xy @ sides.inverse) @ x
    share_t = wt / wt.sum()
    eta = dy[:, :treated] @ share_t
    if sides.share is None:
        dy[:, :treated] -= eta[:, None]
        dy[:, :treated] *= share_t
        dy[:, treated:] *= -sides.centre
        return eta, dy
    assert sides.surprise is not None and sides.information is not None
    share = sides.share
    leaning = dy[:, treated:] * share
    eta_c = leaning.sum(axis=1)
    # own weight, and what the regression (in centre) and the propensity (in lean) owe to the unit
    lean = np.linalg.solve(sides.information, xc @ leaning.T - np.outer(xc @ share, eta_c))
    dy[:, :treated] -= eta[:, None]
    dy[:, :treated] *= share_t
    dy[:, treated:] *= -(share + sides.centre)
    dy[:, treated:] += np.multiply(share, eta_c[:, None], out=leaning)
    dy -= (lean.T @ x) * sides.surprise
    return eta - eta_c, dy


def _none(reason: str, dropped: tuple[int, ...]) -> Weighing:
    return Weighing(np.empty(0), dropped=dropped, reason=reason)
