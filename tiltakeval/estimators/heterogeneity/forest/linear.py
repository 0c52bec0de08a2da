"""Regressions that the nuisance forests start from, cross-fitted by clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiltakeval.estimators.heterogeneity.forest.inputs import Units
from tiltakeval.estimators.numerics.groups import mix
from tiltakeval.estimators.numerics.threads import one_thread
from tiltakeval.numerics.logit import fit_multinomial, predict

Floats = NDArray[np.floating]
FOLDS = 5
RIDGE = 1e-3
RIDGE_ODDS = 1.0


def folds_of(units: Units, seed: int) -> NDArray[np.int64]:
    """[n] fold of each unit, whole clusters together, drawn from (seed, cluster)."""
    number = mix(seed + 17, np.arange(int(units.cluster.max()) + 1)) % np.uint64(FOLDS)
    return number.astype(np.int64)[units.cluster]


def standard_columns(x: ArrayLike, units: Units) -> NDArray[np.float64]:
    """[n, q] columns with mean 0 and deviation 1; missing values at the mean, with indicators."""
    z = np.asarray(x, dtype=np.float64)[units.order]
    w = units.weight
    blank = np.isnan(z)
    if blank.any():
        mean = (w @ np.where(blank, 0.0, z)) / np.maximum(w @ ~blank, np.finfo(float).tiny)
        z = np.column_stack([np.where(blank, mean, z), blank[:, blank.any(axis=0)]])
    z = z - w @ z / w.sum()
    spread = np.sqrt(w @ z**2 / w.sum())
    return np.asarray(z / np.where(spread > 1e-12, spread, 1.0))


def linear_means(z: Floats, fold: NDArray[np.int64], units: Units) -> NDArray[np.float64]:
    """[n, 1] outcome predicted from the other folds, with a slight ridge."""
    z, w, y = np.column_stack([np.ones(len(z)), z]), units.weight, units.y
    penalty = np.diag(np.concatenate([[0.0], np.full(z.shape[1] - 1, RIDGE * w.sum())]))
    out = np.empty((len(z), 1))
    with one_thread():
        parts = []
        for f in range(FOLDS):
            zw = z[fold == f] * w[fold == f][:, None]
            parts.append((zw.T @ z[fold == f], zw.T @ y[fold == f]))
        for f in range(FOLDS):
            a = sum(p[0] for g, p in enumerate(parts) if g != f) + penalty
            b = sum(p[1] for g, p in enumerate(parts) if g != f)
            out[fold == f, 0] = z[fold == f] @ np.linalg.lstsq(a, b, rcond=None)[0]
    return out


def odds(z: Floats, fold: NDArray[np.int64], units: Units) -> NDArray[np.float64]:
    """[n, A] probabilities of the arms, by multinomial logits fitted to the other folds."""
    out = np.empty((len(z), units.arms))
    arm, w = units.arm.astype(np.int64), units.weight
    start = fit_multinomial(z, arm, units.arms, weight=w, ridge=RIDGE_ODDS, tolerance=1e-4).coef
    for f in range(FOLDS):
        train = fold != f
        fit = fit_multinomial(
            z[train],
            arm[train],
            units.arms,
            weight=w[train],
            ridge=RIDGE_ODDS,
            start=start,
            tolerance=1e-6,
        )
        out[~train] = predict(fit, z[~train])
    return out
