"""Untreated outcomes, predicted from untreated rows: unit effects and period effects that may differ
with a unit's covariates, period by period or along a line.

With z_i = (1, covariates) [q], u_it whether the row is untreated and seen, and w_i the weight, the model
is y_it = a_i + z_i' b_t. Unit effects are eliminated (what is left of z_i for period t is
c_it = z_i x (e_t - u_i / sum u_i)), which leaves qT equations whatever the number of units. They are
singular by construction (q directions, the same for all periods, are the unit effects'); further
directions that untreated rows say nothing about are found, and rows that depend on them aren't imputed.

Covariates v_it that vary with time add v_it' s, with slopes s from the same rows: p more equations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from tiltakeval.estimators.did.varying import over_time
from tiltakeval.estimators.numerics.groups import Groups
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: Units handled at once: their rows stay in the processor's cache.
BLOCK = 2048
#: A row depends on a direction that isn't known when it moves by more than this share of it.
MOVED = 1e-6
#: A covariate of variance 1 has less than this in used rows when it doesn't vary in them.
STILL = 1e-20


@dataclass(frozen=True)
class Equations:
    """The normal equations of b [q, T] and s [p], unit effects eliminated, in the parameters r that
    ``basis`` [qT + p, r] makes (b, s) of: the factor of the parameters ``kept`` (others are zero, which
    is no restriction), and directions ``unknown`` [d, qT + p] that the untreated rows say nothing about,
    beside those of the unit effects. ``slopes`` are the s among ``kept``."""

    basis: Floats
    kept: Ints
    factor: Floats
    shape: tuple[int, int]
    unknown: Floats
    slopes: Ints

    def solve(self, right: Floats) -> Floats:
        """[qT + p, k] solutions for right-hand sides of that shape, each a sum of rows (c_it, v_it)."""
        if not self.kept.size:
            return np.zeros(right.shape)
        basis = self.basis[:, self.kept]
        return np.asarray(basis @ linalg.cho_solve((self.factor, True), basis.T @ right))


@dataclass(frozen=True)
class Baseline:
    """The fit on the rows ``used`` [m, T] of units with ``z`` [m, q] and ``weight`` [m].

    ``gap`` [m, T] is the outcome less its prediction: a residual in used rows, an effect in others; NaN
    where there is no row, the unit has no used row, or the prediction isn't identified. ``count`` [m]
    are the used rows of each unit (1 where there is none). ``v`` [m, T, p] are covariates that vary with
    time and ``slope`` [p] theirs; ``lost`` are those whose slope used rows don't tell though it matters.
    """

    equations: Equations
    used: Bools
    z: Floats
    weight: Floats
    count: Floats
    gap: Floats
    v: Floats | None = None
    slope: Floats = field(default_factory=lambda: np.zeros(0))
    lost: tuple[int, ...] = ()

    def scores(self, groups: Groups, units: Ints) -> Floats:
        """[size, qT + p] sums over groups of w_i (z_i, v_it) x residuals: the derivative of the fit's
        criterion."""
        left = np.where(self.used, self.gap, 0.0)
        left *= self.weight[:, None]
        parts = [groups.add_up(left, units)]
        parts += [groups.add_up(left * z[:, None], units) for z in self.z.T[1:]]
        if self.v is not None:
            parts.append(groups.add_up(np.einsum("mt,mtp->mp", left, self.v), units))
        return np.concatenate(parts, axis=1)

    def idle(self, names: Sequence[str]) -> tuple[str, ...]:
        """The covariates that vary with time but in used rows only as the rest of the model does, and in
        others too, so that they change nothing; ``names`` [p] are all of them."""
        told = {*self.equations.slopes.tolist(), *self.lost}
        return tuple(name for j, name in enumerate(names) if j not in told)

    @cached_property
    def level(self) -> Floats:
        """[m, p] the means of covariates that vary over units' used rows."""
        assert self.v is not None
        return over_time(self.v * self.used[:, :, None]) / self.count[:, None]


def fit_baseline(
    y: Floats,
    used: Bools,
    weight: Floats,
    z: Floats,
    basis: Floats | None = None,
    v: Floats | None = None,
) -> Baseline:
    """Weighted least squares of ``y`` [m, T] (NaN where there is no row) on the rows ``used`` [m, T].

    Borusyak, Jaravel & Spiess (2024, Review of Economic Studies 91:3253-3285), steps 1 and 2 of their
    theorem 2. ``z`` [m, q] begins with a constant. Period effects are free unless a ``basis`` of b is
    given (`along_line`). ``v`` [m, T, p] are covariates that vary with time, on a scale near 1, with
    finite values in every row that has an outcome.
    """
    m, periods = y.shape
    q, p = z.shape[1], 0 if v is None else v.shape[2]
    count = np.maximum(used.sum(axis=1), 1).astype(np.float64)
    gram = np.zeros((q * periods, q * periods))
    own = np.zeros((q * q, periods))
    right = np.zeros((q, periods))
    cross, square, along = np.zeros((q, periods, p)), np.zeros((p, p)), np.zeros(p)
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
        if v is not None:
            vb = _within(v[rows], used[rows], c)
            cross += (zw.T @ vb.reshape(c.size, -1)).reshape(cross.shape)
            vw = (vb * w[:, None, None]).reshape(-1, p)
            square += vw.T @ vb.reshape(-1, p)
            along += vw.T @ level.reshape(-1)
    at = np.arange(periods)
    gram.reshape(q, periods, q, periods)[:, at, :, at] += own.reshape(q, q, periods).transpose(
        2, 0, 1
    )
    still = np.diag(square) <= STILL * (
        weight @ used.sum(axis=1)
    )  # what rounding leaves of nothing
    square[still], square[:, still], along[still], cross[:, :, still] = 0.0, 0.0, 0.0, 0.0
    flat = cross.reshape(q * periods, p)
    full = np.block([[gram, flat], [flat.T, square]])
    basis = np.eye(q * periods) if basis is None else basis
    equations = _factorise(full, (q, periods), linalg.block_diag(basis, np.eye(p)))
    solved = equations.solve(np.concatenate([right.ravel(), along])[:, None])[:, 0]
    b, slope = solved[: q * periods].reshape(q, periods), solved[q * periods :]
    gap = np.empty((m, periods))
    for rows in blocks(m):
        block = np.subtract(y[rows], z[rows] @ b, out=gap[rows])
        if v is not None:
            block -= v[rows] @ slope
        block -= (np.where(used[rows], block, 0.0).sum(axis=1) / count[rows])[:, None]
    gap[~used.any(axis=1)] = np.nan
    lost = _forget(gap, equations, used, count, z, v)
    return Baseline(equations, used, z, weight, count, gap, v, slope, lost)


def _forget(
    gap: Floats, equations: Equations, used: Bools, count: Floats, z: Floats, v: Floats | None
) -> tuple[int, ...]:
    """Make ``gap`` NaN in rows that depend on an unknown direction; the covariates that vary with time
    (by number) whose slope such a direction moves."""
    q, periods = equations.shape
    lost: set[int] = set()
    for direction in equations.unknown:
        b, s = direction[: q * periods].reshape(q, periods), direction[q * periods :]
        moved = z @ b
        if v is not None:
            moved += v @ s
        moved -= (np.where(used, moved, 0.0).sum(axis=1) / count)[:, None]
        far = np.abs(moved) > MOVED * np.abs(direction).max()
        if (far & np.isfinite(gap)).any():
            lost |= set(np.flatnonzero(np.abs(s) > MOVED * np.abs(direction).max()).tolist())
        gap[far] = np.nan
    return tuple(sorted(lost))


def along_line(q: int, when: Floats) -> Floats:
    """A basis of b [qT, T + q - 1]: free period effects, and what covariates change of them a straight
    line in ``when`` [T]."""
    line = (when - when.mean()) / max(float(np.ptp(when)), 1.0)
    return linalg.block_diag(np.eye(when.size), *[line[:, None]] * (q - 1))


def blocks(m: int) -> Iterator[slice]:
    """Slices of at most ``BLOCK`` units."""
    return (slice(i, min(i + BLOCK, m)) for i in range(0, m, BLOCK))


def _within(v: Floats, used: Bools, count: Floats) -> Floats:
    """[m, T, p] covariates less the unit's mean over used rows, 0 in others."""
    out = np.where(used[:, :, None], v, 0.0)
    out -= (over_time(out) / count[:, None])[:, None, :]
    out *= used[:, :, None]
    return np.asarray(out)


def _factorise(full: Floats, shape: tuple[int, int], basis: Floats) -> Equations:
    q, periods = shape
    gram = basis.T @ full @ basis
    size = gram.shape[0]
    own = np.diag(gram).copy()
    # constants before covariates, and periods with many untreated rows last: those are the ones left
    # out; covariates that vary with time after all of these, in their order
    place = basis.argmax(axis=0)
    slopes = place >= q * periods
    order = np.lexsort((np.where(slopes, place, own), place // periods))
    kept = order[independent(gram[np.ix_(order, order)])].astype(np.int64)
    lost = np.setdiff1d(np.arange(size), kept)
    factor = np.zeros((0, 0))
    if kept.size:
        factor = linalg.cholesky(gram[np.ix_(kept, kept)], lower=True)
    # the same for all periods: what unit effects take up, one for each z that is free over periods
    expected = q if size - slopes.sum() == q * periods else 1
    unknown = np.zeros((0, size))
    if lost.size > expected:
        unknown = np.zeros((lost.size, size))
        unknown[np.arange(lost.size), lost] = 1.0
        if kept.size:
            unknown[:, kept] = -linalg.cho_solve((factor, True), gram[np.ix_(kept, lost)]).T
    mine = place[kept[slopes[kept]]] - q * periods
    return Equations(basis, kept, factor, shape, unknown @ basis.T, mine)
