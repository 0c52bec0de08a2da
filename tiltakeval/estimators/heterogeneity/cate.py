"""Predicted individual effects, out of fold: the scores regressed on covariates (DR-learner)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.scores import UnitScores
from tiltakeval.estimators.numerics.threads import one_thread

Floats = NDArray[np.floating]
CateLearner = Literal["ridge", "boosting"]
#: Penalties tried, per unit of weight on standardised columns; the last leaves the average effect.
PENALTIES = (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 1e6)


def dr_learner(
    scores: UnitScores,
    *,
    learner: CateLearner = "ridge",
    sequential: bool = False,
    rounds: int = 100,
    seed: int = 0,
) -> NDArray[np.float64]:
    """[n, A - 1] predictions of every unit's effects from units of other folds (Kennedy 2023,
    Electronic Journal of Statistics 17:3008-3049).

    ``ridge`` on the standardised covariates, the penalty by held-out error inside the training folds;
    ``boosting`` shallow trees (scikit-learn). ``sequential``: a fold's predictions come from the folds
    before it, so that what is tested on it is independent of what it is tested with (Luedtke & van der
    Laan 2016; Wager 2024); units of the first fold have NaN.
    """
    if learner not in ("ridge", "boosting"):
        raise unknown("learner", learner, ("ridge", "boosting"), where="cate")
    if scores.folds < 3:
        raise InputError("predicted effects need at least 3 folds", where="folds")
    out = np.full((scores.n, len(scores.arms) - 1), np.nan)
    y, w = scores.effects, scores.weight
    with one_thread():
        for f in range(scores.folds):
            test = scores.fold == f
            train = scores.fold < f if sequential else ~test
            if not train.any() or not test.any():
                continue
            if learner == "ridge":
                out[test] = penalised(
                    scores.x[train], y[train], w[train], scores.fold[train], scores.x[test]
                )
            else:
                out[test] = _boosting(
                    scores.x[train], y[train], w[train], scores.x[test], rounds=rounds, seed=seed
                )
    return out


def penalised(x: Floats, y: Floats, w: Floats, fold: NDArray, new: Floats) -> NDArray[np.float64]:
    """Predictions [k, m] for ``new`` [k, p]; one penalty per column of ``y``."""
    mean = w @ x / w.sum()
    sd = np.sqrt(w @ (x - mean) ** 2 / w.sum())
    keep = sd > 1e-10 * np.maximum(np.abs(mean), 1e-30)
    x, new = (x[:, keep] - mean[keep]) / sd[keep], (new[:, keep] - mean[keep]) / sd[keep]
    names = np.unique(fold)
    # a single training fold is halved by order, to choose the penalty on what wasn't fitted
    part = np.searchsorted(names, fold) if names.size > 1 else np.arange(len(x)) % 2
    middle = w @ y / w.sum()
    moments = _moments(np.hstack([np.ones((len(x), 1)), x, y - middle]), w, part)
    total, width = moments.sum(axis=0), x.shape[1] + 1
    error = np.zeros((len(PENALTIES), y.shape[1]))
    for own in moments:
        for i, beta in enumerate(_path(total - own, width)):
            miss = np.vstack([-beta, np.eye(y.shape[1])])
            error[i] += np.einsum("qj,qj->j", miss, own @ miss)
    path = _path(total, width)
    beta = np.stack([path[i][:, j] for j, i in enumerate(error.argmin(axis=0))], axis=1)
    return np.asarray(middle + beta[0] + new @ beta[1:])


def _moments(z: Floats, w: Floats, part: NDArray) -> NDArray[np.float64]:
    """[K, q, q] weighted cross products of the columns of ``z`` [n, q] in each of K parts."""
    own = [part == g for g in np.unique(part)]
    return np.stack([(z[at] * w[at, None]).T @ z[at] for at in own])


def _path(moments: Floats, width: int) -> list[NDArray[np.float64]]:
    """Coefficients [width, m], the constant first, for every penalty, from cross products of the
    constant and covariates (``width`` columns) and m outcomes."""
    total = moments[0, 0]
    mean = moments[0] / total
    centred = moments - total * np.outer(mean, mean)
    values, vectors = np.linalg.eigh(centred[1:width, 1:width])
    rotated = vectors.T @ centred[1:width, width:]
    out = []
    for penalty in PENALTIES:
        slope = vectors @ (rotated / (np.clip(values, 0, None) + penalty * total)[:, None])
        out.append(np.vstack([mean[width:] - mean[1:width] @ slope, slope]))
    return out


def _boosting(
    x: Floats, y: Floats, w: Floats, new: Floats, *, rounds: int, seed: int
) -> NDArray[np.float64]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    out = np.empty((len(new), y.shape[1]))
    for j in range(y.shape[1]):
        model = HistGradientBoostingRegressor(
            learning_rate=0.05,
            max_iter=rounds,
            max_leaf_nodes=4,
            min_samples_leaf=max(20, len(x) // 50),
            early_stopping=False,
            random_state=seed,
        )
        out[:, j] = model.fit(x, y[:, j], sample_weight=w).predict(new)
    return out
