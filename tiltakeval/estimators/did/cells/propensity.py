"""The logit of being in a cohort: small, exact to the last digits, honest about separation.

Cells are many and small, so this fit spares what ``numerics.logit`` does for large ones (blocks, a
ridge, control of threads). Arrays hold a covariate a row, a unit a column: a pass over units is then a
pass over memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]

#: A fitted propensity above this is one: such a unit has nobody to be compared with.
CERTAIN = 1 - 1e-6
_ITERATIONS = 60


@dataclass(frozen=True)
class Propensity:
    """``score`` [m], ``information`` [p, p] and ``coef`` [p] at the maximum; or why there is none."""

    score: Floats
    information: Floats
    coef: Floats
    reason: str = ""


def weighted_gram(basis: Floats, weight: Floats) -> Floats:
    """[p, p] sums over units of basis [p, m] times basis, weighted by ``weight`` [m]."""
    return (basis * weight) @ basis.T


def fit_propensity(
    basis: Floats,
    treated: int,
    weight: Floats,
    start: Floats | None = None,
    grams: tuple[Floats, Floats] | None = None,
) -> Propensity:
    """Maximum-likelihood logit on ``basis`` [p, m], a constant first, by Newton: the first ``treated``
    units against the rest.

    ``weight`` [m] > 0. ``start`` [p] are the coefficients of a like fit; ``grams`` the weighted Gram
    matrices of the treated and of the rest, with which the first step from no slopes costs no pass over
    the units. Two steps after convergence take the fit to the last digits; the second needs no new
    information matrix, as a step's error is the product of its length and the matrix's error, both of
    which are already small.
    """
    total, own = float(weight.sum()), float(weight[:treated].sum())
    share = own / total
    null = own * np.log(share) + (total - own) * np.log(1 - share)
    coef = np.zeros(basis.shape[0])
    coef[0] = np.log(share / (1 - share))
    if grams is not None:
        coef = coef + _first_step(*grams, share)
    score, value = _at(basis, coef, treated, weight)
    if value < null:  # too long a step: begin before it
        coef[:] = 0.0
        coef[0] = np.log(share / (1 - share))
        score, value = _at(basis, coef, treated, weight)
    if start is not None:
        other, found = _at(basis, start, treated, weight)
        if found > value:
            coef, score, value = start, other, found
    for _ in range(_ITERATIONS):
        information = weighted_gram(basis, weight * score * (1 - score))
        if len(independent(information)) < basis.shape[0]:
            break
        step = np.linalg.solve(information, _gradient(basis, score, treated, weight))
        if step @ information @ step < 1e-9:
            coef = coef + step
            score, _ = _at(basis, coef, treated, weight)
            coef = coef + np.linalg.solve(information, _gradient(basis, score, treated, weight))
            return _judged(basis, coef, treated, weight, null)
        for _ in range(30):
            score, found = _at(basis, coef + step, treated, weight)
            if found >= value - 1e-12 * abs(value):
                break
            step = step / 2
        coef, value = coef + step, found
    return _failed("the covariates separate the cohort from the comparison units")


def _first_step(own: Floats, other: Floats, share: float) -> Floats:
    """Newton's step from a logit with a constant only, where everybody's score is ``share``."""
    both = own + other
    if len(independent(both)) < both.shape[0]:
        return np.zeros(both.shape[0])
    step = np.linalg.solve(both, own[:, 0] - share * both[:, 0])
    return np.asarray(step / (share * (1 - share)), dtype=np.float64)


def _judged(basis: Floats, coef: Floats, treated: int, weight: Floats, null: float) -> Propensity:
    score, value = _at(basis, coef, treated, weight)
    if value > 1e-3 * null:
        return _failed("the covariates separate the cohort from the comparison units")
    certain = int((score[:treated] > CERTAIN).sum())
    if certain:
        return _failed("units of the cohort have a propensity of 1: nobody is like them")
    information = weighted_gram(basis, weight * score * (1 - score))
    return Propensity(np.minimum(score, CERTAIN), information, coef)


def _failed(reason: str) -> Propensity:
    return Propensity(np.empty(0), np.empty(0), np.empty(0), Reason(Why.SEPARATED, reason))


def _gradient(basis: Floats, score: Floats, treated: int, weight: Floats) -> Floats:
    gap = -score
    gap[:treated] += 1
    gap *= weight
    return basis @ gap


def _at(basis: Floats, coef: Floats, treated: int, weight: Floats) -> tuple[Floats, float]:
    """Scores [m] and the log likelihood. One exponential serves both, and none can overflow."""
    eta = coef @ basis
    above = np.maximum(eta, 0.0)
    small = np.exp(eta - 2 * above)  # exp(-|eta|)
    below = small + 1
    value = float(weight[:treated] @ eta[:treated] - weight @ (above + np.log(below)))
    return np.where(eta > 0, 1.0, small) / below, value
