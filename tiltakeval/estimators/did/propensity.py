"""The logit of being in a cohort: small, exact to the last digits, honest about separation.

Cells are many and small, so this fit spares what ``numerics.logit`` does for large ones (blocks, a
ridge, control of threads).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: A column is collinear when less than this share of its variance is left by those before it.
COLLINEAR = 1e-10
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


def independent(gram: Floats) -> list[int]:
    """Columns that aren't linear combinations of those before them, from their Gram matrix [p, p].

    Pivots of a Cholesky factorisation in the given order, relative to each column's sum of squares.
    """
    left = np.array(gram, dtype=np.float64)
    own = np.diag(left).copy()
    kept: list[int] = []
    for j in range(left.shape[0]):
        if own[j] > 0 and left[j, j] > COLLINEAR * own[j]:
            kept.append(j)
            left -= np.outer(left[:, j], left[j, :]) / left[j, j]
    return kept


def fit_propensity(
    basis: Floats, treated: Bools, weight: Floats, start: Floats | None = None
) -> Propensity:
    """Maximum-likelihood logit of ``treated`` [m] on ``basis`` [m, p], a constant first, by Newton.

    ``weight`` [m] > 0. Two plain steps after convergence take the fit to the last digits.
    """
    share = float(weight @ treated / weight.sum())
    coef = np.zeros(basis.shape[1])
    coef[0] = np.log(share / (1 - share))
    total = float(weight.sum())
    null = total * float(share * np.log(share) + (1 - share) * np.log(1 - share))
    coef = coef if start is None else start
    eta = basis @ coef
    value = _likelihood(eta, treated, weight)
    polished = 0
    for _ in range(_ITERATIONS):
        score, information = _information(basis, eta, weight)
        if len(independent(information)) < basis.shape[1]:
            break
        gradient = basis.T @ (weight * (treated - score))
        step = np.linalg.solve(information, gradient)
        if gradient @ step < 1e-9:
            polished += 1
            coef = coef + step
            eta = basis @ coef
            if polished == 2:  # enough: each step doubles the digits
                return _judged(basis, coef, treated, weight, null)
            continue
        for _ in range(30):
            trial = basis @ (coef + step)
            found = _likelihood(trial, treated, weight)
            if found >= value - 1e-12 * abs(value):
                break
            step = step / 2
        coef, eta, value = coef + step, trial, found
    return _failed("the covariates separate the cohort from the comparison units")


def _judged(basis: Floats, coef: Floats, treated: Bools, weight: Floats, null: float) -> Propensity:
    eta = basis @ coef
    score, information = _information(basis, eta, weight)
    if _likelihood(eta, treated, weight) > 1e-3 * null:
        return _failed("the covariates separate the cohort from the comparison units")
    certain = int((score[treated] > CERTAIN).sum())
    if certain:
        return _failed("units of the cohort have a propensity of 1: nobody is like them")
    return Propensity(np.minimum(score, CERTAIN), information, coef)


def _failed(reason: str) -> Propensity:
    return Propensity(np.empty(0), np.empty(0), np.empty(0), reason)


def _information(basis: Floats, eta: Floats, weight: Floats) -> tuple[Floats, Floats]:
    score = 1 / (1 + np.exp(-np.clip(eta, -700, 700)))
    return score, basis.T @ (basis * (weight * score * (1 - score))[:, None])


def _likelihood(eta: Floats, treated: Bools, weight: Floats) -> float:
    return float(-(weight @ np.logaddexp(0.0, np.where(treated, -eta, eta))))
