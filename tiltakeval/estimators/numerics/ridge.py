"""Outcome regressions for all outcomes and months at once, from summed cross-products.

For every (arm, fold) the sums X'X, X'Y, Y'Y are taken once; the training sums of a fold are the total
less the fold's own, so F-fold cross-fitting costs one pass over the data. The ridge is chosen by the
held-out error y'y - 2 b'c + b'Gb from the same sums. Coefficients of a programme's arm are shrunk
towards those of the comparison arm, its intercept free, so that a small arm borrows slopes. The
comparison's regression is undersmoothed: it predicts for people chosen into programmes, far from its own
mean, where shrinkage that pays on average is bias, and its arm is large enough to afford the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.numerics.layout import Layout, OutcomeBlock

Floats = NDArray[np.floating]
#: Ridge penalties tried, per unit of training weight and on standardised columns.
PENALTIES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e2)
#: The comparison's regression takes the smallest penalty with held-out error this close to the least.
SLACK = 0.01
CHUNK = 4_096
MONTHS_TO_CHOOSE_BY = 6


@dataclass(frozen=True)
class Regression:
    """One outcome regression: the arm it is fitted in and, for the comparison, its censoring weights.

    ``censor`` [n, T] float32 (sorted like the layout) multiplies the sampling weights per horizon.
    """

    arm: int
    censor: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Predictions:
    """Cross-fitted outcome predictions for each regression, linear or tabulated.

    ``x`` [n, q+1] with the constant first and ``beta[m][f]`` [q+1, C]; or ``values[m]`` [n, C].
    ``penalty`` [m, K'] are the penalties chosen, per column.
    """

    x: NDArray[np.float64] | None = None
    beta: Sequence[Sequence[NDArray[np.float64]]] = ()
    values: Sequence[NDArray[np.float32]] = ()
    penalty: Sequence[NDArray[np.float64]] = ()

    @property
    def linear(self) -> bool:
        return self.x is not None

    def of(self, model: int, fold: int, rows: slice) -> NDArray[np.float64]:
        """[rows, C] predictions of regression ``model`` for rows that lie in ``fold``."""
        if self.x is None:
            return self.values[model][rows].astype(np.float64)
        return self.x[rows] @ self.beta[model][fold]


@dataclass
class _Sums:
    """Sums of one regression: gram [P, F, q, q], cross [F, q, C], square [F, C]."""

    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    square: NDArray[np.float64]
    which: NDArray[np.int64]  # [C] the gram each column uses


def _gram(x: Floats, v: Floats) -> NDArray[np.float64]:
    out = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, x.shape[0], CHUNK):
        part = x[start : start + CHUNK]
        out += part.T @ (part * v[start : start + CHUNK, None])
    return out


def _sums(
    regression: Regression, *, x: Floats, w: Floats, block: OutcomeBlock, layout: Layout
) -> _Sums:
    q, columns, folds = x.shape[1], block.y.shape[1], layout.folds
    censor = regression.censor
    if censor is None:
        kinds, which = np.unique(block.pattern, return_inverse=True)
    else:
        pairs = block.pattern * (block.horizon.max() + 1) + block.horizon
        kinds, first, which = np.unique(pairs, return_index=True, return_inverse=True)
    gram = np.zeros((kinds.size, folds, q, q))
    cross, square = np.zeros((folds, q, columns)), np.zeros((folds, columns))
    for f in range(folds):
        rows = layout.rows(f, regression.arm)
        xf, wf = x[rows], w[rows]
        for start in range(rows.start, rows.stop, CHUNK):
            part = slice(start, min(start + CHUNK, rows.stop))
            y = block.y[part].astype(np.float64)
            vy = y * w[part, None]
            if censor is not None:
                vy *= censor[part][:, block.horizon]
            cross[f] += x[part].T @ vy
            square[f] += np.einsum("ij,ij->j", vy, y)
        whole = _gram(xf, wf) if censor is None else None
        for i in range(kinds.size):
            if censor is not None:
                v = wf * censor[rows, block.horizon[first[i]]]
                if block.observed is not None:
                    v = v * block.observed[rows, block.pattern[first[i]]]
                gram[i, f] = _gram(xf, v)
                continue
            assert whole is not None
            if block.observed is None:
                gram[i, f] = whole
                continue
            gone = ~block.observed[rows, kinds[i]]
            if gone.mean() <= 0.5 if gone.size else True:
                gram[i, f] = whole - _gram(xf[gone], wf[gone])
            else:
                gram[i, f] = _gram(xf[~gone], wf[~gone])
    return _Sums(gram=gram, cross=cross, square=square, which=which.reshape(-1))


def _solve(
    sums: _Sums, *, prior: Sequence[NDArray[np.float64]] | None, names: int, scale: Floats
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Coefficients per fold [q, C] and the penalty chosen per column [C]."""
    folds, q, columns = sums.cross.shape
    chosen = _choose(sums, prior=prior, names=names, scale=scale)
    beta = [np.zeros((q, columns)) for _ in range(folds)]
    for f in range(folds):
        cross = sums.cross.sum(axis=0) - sums.cross[f]
        for i in range(sums.gram.shape[0]):
            at = np.flatnonzero(sums.which == i)
            part = _centred(sums.gram[i].sum(axis=0) - sums.gram[i, f], cross[:, at], prior, f, at)
            if part is None:
                continue
            for penalty in np.unique(chosen[at]):
                mine = chosen[at] == penalty
                ridge = part.g + penalty * part.total * np.eye(q - 1)
                slope = part.start[:, mine] + np.linalg.solve(ridge, part.c[:, mine])
                beta[f][0, at[mine]] = part.mean_y[mine] - part.mean_x @ slope
                beta[f][1:, at[mine]] = slope
    return beta, chosen


@dataclass(frozen=True)
class _Centred:
    """Training sums of one fold without their means, and the slopes they are shrunk towards."""

    g: Floats
    c: Floats
    start: Floats
    mean_x: Floats
    mean_y: Floats
    total: float


def _centred(
    gram: Floats,
    cross: Floats,
    prior: Sequence[NDArray[np.float64]] | None,
    fold: int,
    at: NDArray[np.int64],
) -> _Centred | None:
    """The centred sums of the columns ``at`` ([q, len(at)] ``cross``); None without training units."""
    total = float(gram[0, 0])
    if total <= 0:
        return None
    mean_x, mean_y = gram[0, 1:] / total, cross[0] / total
    g = gram[1:, 1:] - total * np.outer(mean_x, mean_x)
    start = np.zeros((len(mean_x), at.size)) if prior is None else prior[fold][1:, at]
    c = cross[1:] - total * np.outer(mean_x, mean_y) - g @ start
    return _Centred(g, c, start, mean_x, mean_y, total)


def _choose(
    sums: _Sums, *, prior: Sequence[NDArray[np.float64]] | None, names: int, scale: Floats
) -> NDArray[np.float64]:
    """The penalty of each column [C]: one per outcome, by held-out error pooled over months; without
    ``prior`` (the comparison) the smallest within ``SLACK`` of the least.

    Where months differ in who is observed, each with its own cross-products, every few of them
    are enough to choose by.
    """
    folds, _, columns = sums.cross.shape
    kinds = sums.gram.shape[0]
    looked_at = range(0, kinds, max(1, kinds // MONTHS_TO_CHOOSE_BY))
    error = np.zeros((len(PENALTIES), columns))
    for f in range(folds):
        cross = sums.cross.sum(axis=0) - sums.cross[f]
        for i in looked_at:
            at = np.flatnonzero(sums.which == i)
            part = _centred(sums.gram[i].sum(axis=0) - sums.gram[i, f], cross[:, at], prior, f, at)
            if part is None:
                continue
            values, vectors = np.linalg.eigh(part.g)
            values = np.clip(values, 0.0, None)
            rotated = vectors.T @ part.c
            held, held_cross = sums.gram[i, f], sums.cross[f][:, at]
            for j, penalty in enumerate(PENALTIES):
                shrunk = rotated / (values + penalty * part.total)[:, None]
                slope = part.start + vectors @ shrunk
                b = np.vstack([part.mean_y - part.mean_x @ slope, slope])
                error[j, at] += (
                    sums.square[f, at]
                    - 2 * np.einsum("ij,ij->j", b, held_cross)
                    + np.einsum("ij,ij->j", b, held @ b)
                )
    relative = error / scale**2
    slack = SLACK if prior is None else 0.0
    chosen = np.zeros(columns)
    for k in range(names):
        at = np.arange(k, columns, names)
        pooled = relative[:, at].sum(axis=1)
        chosen[at] = PENALTIES[int(np.argmax(pooled <= pooled.min() * (1 + slack)))]
    return chosen


def fit_ridge(
    regressions: Sequence[Regression],
    *,
    x: Floats,
    w: Floats,
    block: OutcomeBlock,
    layout: Layout,
    names: int,
) -> Predictions:
    """Cross-fitted ridge of all columns for every regression; the first must be the comparison's.

    ``x`` [n, q] standardised and ``w`` [n] are sorted like the layout; ``names`` is the number of
    outcomes (the penalty is chosen per arm and outcome, pooled over months). A fold without training
    units in an arm gets coefficients of zero.
    """
    return RidgeSums(regressions, x=x, w=w, block=block, layout=layout, names=names).fit()


class RidgeSums:
    """The cross-products of ``fit_ridge``, from which it can be fitted again without some columns."""

    def __init__(
        self,
        regressions: Sequence[Regression],
        *,
        x: Floats,
        w: Floats,
        block: OutcomeBlock,
        layout: Layout,
        names: int,
    ) -> None:
        full = np.empty((x.shape[0], x.shape[1] + 1))
        full[:, 0] = 1.0
        full[:, 1:] = x
        self.x, self.names, self.scale = full, names, block.scale
        self.arms = [regression.arm for regression in regressions]
        self.sums = [_sums(r, x=full, w=w, block=block, layout=layout) for r in regressions]

    def fit(self, without: Sequence[int] = ()) -> Predictions:
        """Predictions from all columns but those of ``x`` numbered in ``without`` (coefficient 0)."""
        kept = np.setdiff1d(np.arange(self.x.shape[1]), np.asarray(without, dtype=np.int64) + 1)
        found: list[list[NDArray[np.float64]]] = []
        beta: list[list[NDArray[np.float64]]] = []
        penalty: list[NDArray[np.float64]] = []
        for arm, whole in zip(self.arms, self.sums):
            sums = whole
            if kept.size < self.x.shape[1]:
                gram = whole.gram[:, :, kept[:, None], kept[None, :]]
                sums = _Sums(gram, whole.cross[:, kept], whole.square, whole.which)
            prior = None if arm == 0 or not found else found[0]
            b, chosen = _solve(sums, prior=prior, names=self.names, scale=self.scale)
            found.append(b)
            padded = [np.zeros((self.x.shape[1], part.shape[1])) for part in b]
            for full, part in zip(padded, b):
                full[kept] = part
            beta.append(padded)
            penalty.append(chosen)
        return Predictions(x=self.x, beta=beta, penalty=penalty)
