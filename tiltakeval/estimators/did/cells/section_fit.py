"""Effects from repeated cross-sections: rows of one cohort and of others, before and after.

Sant'Anna & Zhao (2020, Journal of Econometrics 219:101-122): the locally efficient doubly robust
estimate for repeated cross-sections (their tau_2, eq. 3.4), with the outcome regressed in each of the
four groups; outcome regression; normalised weights. Who is sampled must not differ between the two
periods.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.cells.fit import Method
from tiltakeval.estimators.did.cells.propensity import fit_propensity, weighted_gram
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
#: Cohort or comparison, after or before.
Part = tuple[int, int]


@dataclass(frozen=True)
class SectionFit:
    """An effect, each row's influence ``z`` [m] and the comparison's weights ``odds``; or a reason."""

    att: float = np.nan
    z: Floats | None = None
    odds: Floats | None = None
    trimmed: int = 0
    reason: str = ""


@dataclass(frozen=True)
class _Mean:
    """``sign`` times the mean of y (if ``outcome``) less ``fitted`` regressions, by ``weight`` [m]."""

    sign: float
    weight: Floats
    outcome: bool
    fitted: dict[Part, float]
    odds: bool = False


def fit_section(
    *,
    y: Floats,
    after: Bools,
    treated: int,
    x: Floats,
    weight: Floats,
    method: Method,
    names: tuple[str, ...],
    max_propensity: float,
) -> SectionFit:
    """The effect on the cohort: its rows are the first ``treated`` of m; ``after`` [m] are those in the
    later period. ``x`` [1 + p, m] a row of ones and covariates."""
    m = y.size
    cohort = np.arange(m) < treated
    part = {(d, s): (cohort == bool(d)) & (after == bool(s)) for d in (0, 1) for s in (0, 1)}
    if x.shape[0] == 1:
        method = "reg"
    betas: dict[Part, Floats] = {}
    inverses: dict[Part, Floats] = {}
    needed = {"dr": list(part), "reg": [(0, 0), (0, 1)], "ipw": []}[method]
    for key in needed:
        xs, ws = x[:, part[key]], weight[part[key]]
        gram = weighted_gram(xs, ws)
        sound = independent(gram)
        if len(sound) < x.shape[0]:
            said = ", ".join(names[j - 1] for j in range(1, x.shape[0]) if j not in sound)
            side = (
                f"{'the cohort' if key[0] else 'the comparison'} {'after' if key[1] else 'before'}"
            )
            return SectionFit(
                reason=Reason(Why.COLLINEAR, f"covariates are collinear in {side}: {said}")
            )
        inverses[key] = np.asarray(np.linalg.inv(gram), dtype=np.float64)
        betas[key] = inverses[key] @ (xs @ (ws * y[part[key]]))
    odds = np.where(cohort, 0.0, weight)
    trimmed = 0
    if method != "reg":
        fit = fit_propensity(x, treated, weight)
        if fit.reason:
            return SectionFit(reason=fit.reason)
        used = fit.score < max_propensity
        odds = np.where(~cohort & used, weight * fit.score / (1 - fit.score), 0.0)
        trimmed = int((~used & ~cohort).sum())
        if not all(odds[part[0, s]].sum() > 0 for s in (0, 1)):
            return SectionFit(
                reason=Reason(
                    Why.SEPARATED, "no comparison unit is like the cohort (propensities near 1)"
                )
            )
    own = {s: np.where(part[1, s], weight, 0.0) for s in (0, 1)}
    means = _means(method, own, {s: np.where(part[0, s], odds, 0.0) for s in (0, 1)})
    att, z = 0.0, np.zeros(m)
    lean = np.zeros(x.shape[0])
    slope = {key: np.zeros(x.shape[0]) for key in betas}
    for mean in means:
        q = y.copy() if mean.outcome else np.zeros(m)
        for key, k in mean.fitted.items():
            q -= k * (betas[key] @ x)
        share = mean.sign * mean.weight / mean.weight.sum()
        value = float(share @ q) * mean.sign
        att += mean.sign * value
        gap = share * (q - value)
        z += gap
        if mean.odds:  # the odds move with the logit by x
            lean += x @ gap
        for key, k in mean.fitted.items():
            slope[key] -= k * (x @ share)
    for key, by in slope.items():
        here = part[key]
        error = weight[here] * (y[here] - betas[key] @ x[:, here])
        z[here] += error * ((inverses[key] @ by) @ x[:, here])
    if method != "reg":
        surprise = weight * (cohort - fit.score)
        z += surprise * (np.linalg.solve(fit.information, lean) @ x)
    return SectionFit(att, z, odds[treated:], trimmed)


def _means(method: Method, own: dict[int, Floats], other: dict[int, Floats]) -> list[_Mean]:
    """The means an effect is made of."""
    both = own[0] + own[1]
    if method == "reg":
        return [
            _Mean(1, own[1], True, {}),
            _Mean(-1, own[0], True, {}),
            _Mean(1, both, False, {(0, 1): 1, (0, 0): -1}),
        ]
    if method == "ipw":
        return [
            _Mean(1, own[1], True, {}),
            _Mean(-1, own[0], True, {}),
            _Mean(-1, other[1], True, {}, odds=True),
            _Mean(1, other[0], True, {}, odds=True),
        ]
    # minus in fitted: a mean of fitted values, not of what they leave
    gain = {s: {(1, s): -1.0, (0, s): 1.0} for s in (0, 1)}
    return [
        _Mean(1, own[1], True, {(0, 1): 1}),
        _Mean(-1, own[0], True, {(0, 0): 1}),
        _Mean(-1, other[1], True, {(0, 1): 1}, odds=True),
        _Mean(1, other[0], True, {(0, 0): 1}, odds=True),
        _Mean(1, both, False, gain[1]),
        _Mean(-1, own[1], False, gain[1]),
        _Mean(-1, both, False, gain[0]),
        _Mean(1, own[0], False, gain[0]),
    ]
