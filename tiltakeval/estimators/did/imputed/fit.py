"""Untreated outcomes, predicted from untreated rows: unit effects and period effects that may differ
with a unit's covariates, period by period or along a line.

With z_i = (1, covariates) [q], u_it whether the row is untreated and seen, and w_i the weight, the model
is y_it = a_i + z_i' b_t. Unit effects are eliminated (what is left of z_i for period t is
c_it = z_i x (e_t - u_i / sum u_i)), which leaves qT equations whatever the number of units. They are
singular by construction (q directions, the same for all periods, are the unit effects'); further
directions that untreated rows say nothing about are found, and rows that depend on them aren't imputed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from tiltakeval.estimators.numerics.groups import Groups
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: Units handled at once: their rows stay in the processor's cache.
BLOCK = 2048
#: A row depends on a direction that isn't known when it moves by more than this share of it.
MOVED = 1e-6


@dataclass(frozen=True)
class Equations:
    """The normal equations of b [q, T], unit effects eliminated, in the parameters r that ``basis``
    [qT, r] makes b of: the factor of the parameters ``kept`` (others are zero, which is no restriction),
    and directions ``unknown`` [d, q, T] of b that the untreated rows say nothing about, beside those of
    the unit effects."""

    basis: Floats
    kept: Ints
    factor: Floats
    shape: tuple[int, int]
    unknown: Floats

    def solve(self, right: Floats) -> Floats:
        """[qT, k] solutions for right-hand sides [qT, k], each a sum of rows c_it."""
        if not self.kept.size:
            return np.zeros(right.shape)
        basis = self.basis[:, self.kept]
        return np.asarray(basis @ linalg.cho_solve((self.factor, True), basis.T @ right))


@dataclass(frozen=True)
class Baseline:
    """The fit on the rows ``used`` [m, T] of units with ``z`` [m, q] and ``weight`` [m].

    ``gap`` [m, T] is the outcome less its prediction: a residual in used rows, an effect in others; NaN
    where there is no row, the unit has no used row, or the prediction isn't identified. ``count`` [m]
    are the used rows of each unit (1 where there is none).
    """

    equations: Equations
    used: Bools
    z: Floats
    weight: Floats
    count: Floats
    gap: Floats

    def scores(self, groups: Groups, units: Ints) -> Floats:
        """[size, qT] sums over groups of w_i z_i x residuals: the derivative of the fit's criterion."""
        left = np.where(self.used, self.gap, 0.0)
        left *= self.weight[:, None]
        parts = [groups.add_up(left, units)]
        parts += [groups.add_up(left * z[:, None], units) for z in self.z.T[1:]]
        return np.concatenate(parts, axis=1)


def fit_baseline(
    y: Floats, used: Bools, weight: Floats, z: Floats, basis: Floats | None = None
) -> Baseline:
    """Weighted least squares of ``y`` [m, T] (NaN where there is no row) on the rows ``used`` [m, T].

    Borusyak, Jaravel & Spiess (2024, Review of Economic Studies 91:3253-3285), steps 1 and 2 of their
    theorem 2. ``z`` [m, q] begins with a constant. Period effects are free unless a ``basis`` of b is
    given (`along_line`).
    """
    m, periods = y.shape
    q = z.shape[1]
    count = np.maximum(used.sum(axis=1), 1).astype(np.float64)
    gram = np.zeros((q * periods, q * periods))
    own = np.zeros((q * q, periods))
    right = np.zeros((q, periods))
    for rows in blocks(m):
        u = used[rows].astype(np.float64)
        zb, w, c = z[rows], weight[rows], count[rows]
        level = np.where(used[rows], y[rows], 0.0)
        level -= (level.sum(axis=1) / c)[:, None] * u
        zw = zb * w[:, None]
        right += zw.T @ level
        own += (zb[:, :, None] * zw[:, None, :]).reshape(u.shape[0], q * q).T @ u
        spread = (zb * np.sqrt(w / c)[:, None])[:, :, None] * u[:, None, :]
        flat = spread.reshape(u.shape[0], q * periods)
        gram -= flat.T @ flat
    at = np.arange(periods)
    gram.reshape(q, periods, q, periods)[:, at, :, at] += own.reshape(q, q, periods).transpose(
        2, 0, 1
    )
    equations = _factorise(gram, q, np.eye(q * periods) if basis is None else basis)
    b = equations.solve(right.reshape(-1, 1)).reshape(q, periods)
    gap = np.empty((m, periods))
    for rows in blocks(m):
        block = np.subtract(y[rows], z[rows] @ b, out=gap[rows])
        block -= (np.where(used[rows], block, 0.0).sum(axis=1) / count[rows])[:, None]
    gap[~used.any(axis=1)] = np.nan
    for direction in equations.unknown:
        moved = z @ direction
        moved -= (np.where(used, moved, 0.0).sum(axis=1) / count)[:, None]
        gap[np.abs(moved) > MOVED * np.abs(direction).max()] = np.nan
    return Baseline(equations, used, z, weight, count, gap)


def along_line(q: int, when: Floats) -> Floats:
    """A basis of b [qT, T + q - 1]: free period effects, and what covariates change of them a straight
    line in ``when`` [T]."""
    line = (when - when.mean()) / max(float(np.ptp(when)), 1.0)
    return linalg.block_diag(np.eye(when.size), *[line[:, None]] * (q - 1))


def blocks(m: int) -> Iterator[slice]:
    """Slices of at most ``BLOCK`` units."""
    return (slice(i, min(i + BLOCK, m)) for i in range(0, m, BLOCK))


def _factorise(full: Floats, q: int, basis: Floats) -> Equations:
    periods = full.shape[0] // q
    gram = basis.T @ full @ basis
    size = gram.shape[0]
    own = np.diag(gram).copy()
    # constants before covariates, and periods with many untreated rows last: those are the ones left out
    order = np.lexsort((own, basis.argmax(axis=0) // periods))
    kept = order[independent(gram[np.ix_(order, order)])].astype(np.int64)
    lost = np.setdiff1d(np.arange(size), kept)
    factor = np.zeros((0, 0))
    if kept.size:
        factor = linalg.cholesky(gram[np.ix_(kept, kept)], lower=True)
    # the same for all periods: what unit effects take up, one for each z that is free over periods
    expected = q if size == full.shape[0] else 1
    unknown = np.zeros((0, size))
    if lost.size > expected:
        unknown = np.zeros((lost.size, size))
        unknown[np.arange(lost.size), lost] = 1.0
        if kept.size:
            unknown[:, kept] = -linalg.cho_solve((factor, True), gram[np.ix_(kept, lost)]).T
    return Equations(basis, kept, factor, (q, periods), (unknown @ basis.T).reshape(-1, q, periods))
