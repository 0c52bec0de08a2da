"""Hazards on a grid of times given covariates, out of fold: the nuisances of durations.

Proportional hazards with a free jump at every time of the grid (Cox 1972; jumps as Breslow 1974), a
ridge on the coefficients, one model an arm and stretch of time (up to ``STRETCHES``, with as many
leaving in each): what matters early needn't matter late. Without covariates a jump is the share leaving
of those at risk, so that products of what remains are Kaplan and Meier's. With r_i = w_i exp(eta_i),
D_k the weight leaving at k, S_k the sum of r_i at risk at k and H(l) the sum of D_k / S_k up to l, the
second derivative is sum r_i H(l_i) x_i x_i' less sum D_k m_k m_k' (m_k the mean of x at risk): no sum
over persons and times is ever taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.numerics.odds import PENALTIES, scaled

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
_LARGEST = 15.0  # of a linear predictor
#: Stretches of time with coefficients of their own, and how many must leave in each.
STRETCHES, LEAVING = 3, 100


@dataclass(frozen=True)
class Risk:
    """Who is at risk of what: ``last`` [n] the last time of the grid (1..K) at which a unit is at risk
    (0: never), ``leaves`` [n] whether it leaves then."""

    last: Ints
    leaves: NDArray[np.bool_]

    def take(self, keep: NDArray) -> Risk:
        """Some of the units."""
        return Risk(self.last[keep], self.leaves[keep])


@dataclass(frozen=True)
class Hazards:
    """``jumps`` [folds, K] of the baseline, ``relative`` [n, S] hazards of every unit in each stretch of
    time, ``stretch`` [K] of every time."""

    jumps: NDArray[np.float64]
    relative: NDArray[np.float64]
    stretch: NDArray[np.int64]

    def of(self, rows: slice, fold: Ints) -> NDArray[np.float64]:
        """[rows, K] hazards of some units held out in ``fold`` [rows], at most 1."""
        found = self.jumps[fold] * self.relative[rows][:, self.stretch]
        return np.asarray(np.minimum(found, 1.0))


def cross_fit_hazards(
    x: Floats,
    risk: Risk,
    *,
    weight: Floats,
    fold: Ints,
    folds: int,
    times: int,
    penalties: Sequence[float] = PENALTIES,
) -> Hazards:
    """The hazards of the units of one arm, from other folds' units (``folds`` = 1: from all).

    ``x`` [n, p], ``weight`` [n]. The penalty of a stretch is the one of ``penalties`` with the highest
    partial likelihood in the folds held out.
    """
    z = scaled(x)
    ends = _ends(risk, times) if z.shape[1] else np.array([times])
    jumps, relative = np.zeros((folds, times)), np.ones((risk.last.size, ends.size))
    start = 0
    for s, end in enumerate(ends):
        inside = risk.last > start
        part = Risk(
            np.minimum(risk.last, end)[inside] - start, (risk.leaves & (risk.last <= end))[inside]
        )
        size = int(end - start)
        betas = _coefficients(z[inside], part, weight[inside], fold[inside], folds, size, penalties)
        for f in range(folds):
            test = fold == f if folds > 1 else fold >= 0
            train = ~test[inside] if folds > 1 else test[inside]
            r = np.exp(np.clip(z @ betas[f], -_LARGEST, _LARGEST))
            jumps[f, start:end] = _jumps(
                r[inside][train], part.take(train), weight[inside][train], size
            )
            relative[test, s] = r[test]
        start = int(end)
    return Hazards(jumps, relative, np.repeat(np.arange(ends.size), np.diff(ends, prepend=0)))


def _ends(risk: Risk, times: int) -> NDArray[np.int64]:
    """Last times of the stretches."""
    leaving = np.sort(risk.last[risk.leaves])
    many = min(STRETCHES, leaving.size // LEAVING)
    cuts = [int(leaving[leaving.size * s // many]) for s in range(1, many)]
    return np.unique([*cuts, times]).astype(np.int64)


def _coefficients(
    z: Floats,
    risk: Risk,
    weight: Floats,
    fold: Ints,
    folds: int,
    times: int,
    penalties: Sequence[float],
) -> NDArray[np.float64]:
    """[folds, p] coefficients of the penalty that holds up best."""
    out = np.zeros((len(penalties), folds, z.shape[1]))
    if not z.shape[1] or not risk.leaves.any():
        return out[0]
    if folds == 1:
        return fit_coefficients(z, risk, weight, times, penalty=penalties[-1])[None]
    held = np.zeros(len(penalties))
    for f in range(folds):
        train, test = fold != f, fold == f
        start = np.zeros(z.shape[1])
        for i, penalty in enumerate(penalties):
            start = fit_coefficients(
                z[train], risk.take(train), weight[train], times, penalty=penalty, start=start
            )
            out[i, f] = start
            held[i] += _likelihood(z[test] @ start, risk.take(test), weight[test], times)
    return np.asarray(out[int(np.argmax(held))])


def fit_coefficients(
    z: Floats,
    risk: Risk,
    weight: Floats,
    times: int,
    *,
    penalty: float,
    start: Floats | None = None,
    iterations: int = 30,
) -> NDArray[np.float64]:
    """Coefficients [p] of ``z`` [n, p] that maximise the penalised partial likelihood (Newton)."""
    beta = np.zeros(z.shape[1]) if start is None else np.asarray(start, dtype=np.float64)
    if not risk.leaves.any():
        return beta
    leaving = weight * risk.leaves
    d = np.bincount(risk.last, weights=leaving, minlength=times + 1)
    moved = leaving @ z
    now = _likelihood(z @ beta, risk, weight, times) - 0.5 * penalty * float(beta @ beta)
    for _ in range(iterations):
        r = weight * np.exp(np.clip(z @ beta, -_LARGEST, _LARGEST))
        s = _at_risk(r, risk.last, times)
        s1 = np.stack([_at_risk(r * column, risk.last, times) for column in z.T], axis=1)
        share = np.where(s > 0, d / np.where(s > 0, s, 1.0), 0.0)
        mean = s1 / np.where(s > 0, s, 1.0)[:, None]
        gradient = moved - d @ mean - penalty * beta
        gathered = np.cumsum(share)[risk.last]
        hessian = (z * (r * gathered)[:, None]).T @ z - (mean * d[:, None]).T @ mean
        hessian[np.diag_indices_from(hessian)] += penalty + 1e-10
        step = np.linalg.solve(hessian, gradient)
        if gradient @ step < 1e-7:
            break
        size = 1.0
        while size > 1e-6:
            tried = beta + size * step
            new = _likelihood(z @ tried, risk, weight, times) - 0.5 * penalty * float(tried @ tried)
            if new >= now:
                break
            size /= 2
        else:
            break
        beta, now = tried, new
    return beta


def _likelihood(eta: Floats, risk: Risk, weight: Floats, times: int) -> float:
    """The log partial likelihood (ties as Breslow)."""
    eta = np.clip(eta, -_LARGEST, _LARGEST)
    s = _at_risk(weight * np.exp(eta), risk.last, times)[risk.last]
    out = risk.leaves & (weight > 0)
    return float((weight[out] * (eta[out] - np.log(s[out]))).sum())


def _at_risk(values: Floats, last: Ints, times: int) -> NDArray[np.float64]:
    """[times + 1] sums of ``values`` over the units at risk at each time (0: of all)."""
    by_last = np.bincount(last, weights=values, minlength=times + 1)
    return np.asarray(by_last[::-1].cumsum()[::-1])


def _jumps(relative: Floats, risk: Risk, weight: Floats, times: int) -> NDArray[np.float64]:
    """[times] the baseline's jumps: the weight leaving over the relative hazard at risk."""
    d = np.bincount(risk.last, weights=weight * risk.leaves, minlength=times + 1)[1:]
    s = _at_risk(weight * relative, risk.last, times)[1:]
    return np.asarray(np.where(s > 0, d / np.where(s > 0, s, 1.0), 0.0))
