"""Least squares by cluster: all that few-cluster inference needs of a regression, in K x K matrices.

Rows are only met once, so the cost of jackknives and bootstraps doesn't depend on their number
(MacKinnon, Nielsen & Webb 2023, Journal of Applied Econometrics 38:671-694; Roodman et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Eigenvalues (of correlations) below this share of the largest are zero.
SINGULAR = 1e-10


@dataclass(frozen=True)
class Moments:
    """``gram`` [G, K, K] = X_g'X_g and ``right`` [G, K] = X_g'y_g of G clusters.

    Rows are multiplied by the root of their weight, and effects of units that lie within clusters are
    taken out beforehand (which changes no cluster-robust error: Pustejovsky & Tipton 2018, theorem 2).
    """

    gram: Floats
    right: Floats

    @property
    def clusters(self) -> int:
        """Number of clusters G."""
        return int(self.gram.shape[0])

    @cached_property
    def bread(self) -> Floats:
        """[K, K] (pseudo-)inverse of X'X."""
        return invert(self.gram.sum(axis=0))

    @cached_property
    def coef(self) -> Floats:
        """[K] least-squares coefficients (of least length where not all are identified)."""
        return np.asarray(self.bread @ self.right.sum(axis=0))

    @cached_property
    def scores(self) -> Floats:
        """[G, K] X_g' e_g, e the residuals."""
        return self.right - self.gram @ self.coef


def invert(gram: Floats) -> Floats:
    """(Pseudo-)inverse of a sum of squares [K, K], judged on the scale of correlations."""
    size = np.sqrt(np.clip(np.diag(gram), 0.0, None))
    live = np.flatnonzero(size > 1e-12 * max(float(size.max(initial=0.0)), 1e-300))
    out = np.zeros(gram.shape)
    if live.size:
        scale = np.outer(size[live], size[live])
        values, vectors = np.linalg.eigh(gram[np.ix_(live, live)] / scale)
        good = values > SINGULAR * values[-1]
        kept = vectors[:, good]
        out[np.ix_(live, live)] = (kept / values[good]) @ kept.T / scale
    return out


def identified(gram: Floats, bread: Floats, combination: Floats) -> bool:
    """Whether ``combination`` [K] of the coefficients is estimable: it lies in the rows' space."""
    back = gram @ (bread @ combination)
    return bool(np.abs(back - combination).max() < 1e-6 * max(np.abs(combination).max(), 1e-300))


def moments_of_rows(
    x: Floats, y: Floats, cluster: Ints, *, weight: Floats | None = None, unit: Ints | None = None
) -> Moments:
    """From rows ``x`` [N, K], ``y`` [N]; ``unit`` [N] are effects to take out, each in one cluster.

    Raises InputError where a value isn't finite, a weight isn't positive, or a unit is in several
    clusters.
    """
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("regressors and outcomes must be finite numbers")
    w = np.ones(y.size) if weight is None else np.asarray(weight, dtype=np.float64)
    if not (w > 0).all():
        raise InputError(f"{int((~(w > 0)).sum())} weights aren't positive")
    both = np.column_stack([x, y])
    if unit is not None:
        names, number = np.unique(unit, return_inverse=True)
        pairs = np.unique(np.column_stack([number, cluster]), axis=0)
        if len(pairs) > names.size:
            raise InputError("effects to take out must lie within clusters")
        total = np.bincount(number, weights=w)
        for k in range(both.shape[1]):
            both[:, k] -= (np.bincount(number, weights=w * both[:, k]) / total)[number]
    both *= np.sqrt(w)[:, None]
    groups, of_row = np.unique(cluster, return_inverse=True)
    k = x.shape[1]
    gram, right = np.zeros((groups.size, k, k)), np.zeros((groups.size, k))
    order = np.argsort(of_row, kind="stable")
    for g, rows in enumerate(np.split(order, np.cumsum(np.bincount(of_row))[:-1])):
        part = both[rows]
        gram[g] = part[:, :k].T @ part[:, :k]
        right[g] = part[:, :k].T @ part[:, k]
    return Moments(gram, right)
