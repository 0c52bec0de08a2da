"""Order of units by a prediction, fold by fold: those of different folds come from different fits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]


def check_cate(scores: UnitScores, cate: Floats) -> NDArray[np.float64]:
    """``cate`` as [n, A - 1] floats. Raises InputError for another shape, or nothing predicted.

    NaN (units without prediction) must cover whole rows.
    """
    found = np.asarray(cate, dtype=np.float64)
    wanted = (scores.n, len(scores.arms) - 1)
    if found.shape != wanted:
        raise InputError(
            f"predicted effects are {found.shape}, not {wanted}: one row a unit scored, one column a "
            "programme",
            where="cate",
        )
    known = np.isfinite(found)
    if not known.any() or (known.any(axis=1) != known.all(axis=1)).any():
        raise InputError("predicted effects are missing for some programmes only", where="cate")
    return found


def share_above(scores: UnitScores, value: Floats, weight: Floats) -> NDArray[np.float64]:
    """[n] weighted share of the unit's own fold with at least its ``value`` (0 < u < 1), those with the
    same value counted half. NaN where the value is."""
    return np.asarray(shares_between(scores, value, weight).mean(axis=1))


def shares_between(scores: UnitScores, value: Floats, weight: Floats) -> NDArray[np.float64]:
    """[n, 2] weighted shares of the unit's own fold with more than its ``value``, and with at least it:
    where those of the same value lie in the order. NaN where the value is."""
    out = np.full((scores.n, 2), np.nan)
    known = np.isfinite(value)
    for f in np.unique(scores.fold[known]):
        rows = np.flatnonzero(known & (scores.fold == f))
        levels, which = np.unique(-value[rows], return_inverse=True)
        mass = np.bincount(which.reshape(-1), weights=weight[rows], minlength=levels.size)
        total = mass.sum()
        if total > 0:
            upto = np.cumsum(mass) / total
            out[rows] = np.stack([upto - mass / total, upto], axis=1)[which.reshape(-1)]
    return out


def centred_by_fold(scores: UnitScores, value: Floats, weight: Floats) -> NDArray[np.float64]:
    """``value`` [n] less its weighted mean in the unit's fold: what differs between units, not fits."""
    out = np.full(scores.n, np.nan)
    known = np.isfinite(value)
    for f in np.unique(scores.fold[known]):
        rows = known & (scores.fold == f)
        if weight[rows].sum() > 0:
            out[rows] = value[rows] - weight[rows] @ value[rows] / weight[rows].sum()
    return out
