"""Least squares with unit and period effects, where regressors depend on a unit's group and the period.

Every panel regression for roll-outs is of this kind: regressor k of unit i (in block g) in period t is
x_i,a(k) S_g[t, k], with x_i0 = 1. Unit effects are taken out in closed form (any pattern of missing
rows); period effects are columns. What the normal equations need of a block is then one T x T matrix
for every pair of covariates, so neither the regressors nor their demeaned values are ever laid out, and
scores of units are products of their T residuals with a T x r matrix.

Covariates that vary with time in their own way are columns of their own, with one slope each; they cost
a pass over their values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from tiltakeval.estimators.did.varying import over_time
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: An eigenvalue of the correlation of regressors below this share of the largest is zero.
SINGULAR = 1e-10
#: A sum of coefficients with more of its squared length than this in the null space can't be had.
_TOUCHED = 1e-9
#: Units worked on at a time.
_PIECE = 100_000


@dataclass(frozen=True)
class Block:
    """Units that share regressors: ``units`` [m] are rows of the panel, ``columns`` [T, K] are S_g.

    ``weight`` multiplies the units' own. ``seen`` [T] are the periods whose rows count (all if None).
    A unit may be in several blocks and has an effect of its own in each.
    """

    units: Ints
    columns: Floats
    weight: float = 1.0
    seen: Bools | None = None


@dataclass(frozen=True)
class Panel:
    """``y`` [n, T], NaN where there is no row; ``weight`` [n] > 0; ``x`` [n, q], a constant first;
    ``varying`` [n, T, p] covariates, if any, less the unit's mean over its rows, 0 where it has none."""

    y: Floats
    weight: Floats
    x: Floats
    varying: Floats | None = None

    @property
    def moving(self) -> int:
        """How many covariates vary with time."""
        return 0 if self.varying is None else self.varying.shape[2]


@dataclass(frozen=True)
class Regression:
    """``coef`` [K], one solution where ``identifies`` says no. ``bread`` [K, K] is the (pseudo-)inverse
    of the regressors' cross-products, ``inner`` holds every block's [q, q, T, T] cross-products of
    units seen, with unit effects taken out, ``beside`` its [q, T, p] cross-products with covariates that
    vary. There are ``rows`` unit-periods and ``units`` unit effects;
    ``rank`` is that of the regressors, period effects included. ``null`` [K, d] spans what can't be told
    apart, ``size`` [K] is each regressor's."""

    coef: Floats
    bread: Floats
    inner: tuple[Floats, ...]
    rows: int
    units: int
    rank: int
    owner: Ints
    null: Floats
    size: Floats
    gram: Floats
    beside: tuple[Floats, ...] = ()

    def identifies(self, maps: Floats) -> Bools:
        """[r] whether each of ``maps`` [K, r] of the coefficients can be had."""
        unit = np.divide(maps.T, self.size, out=np.zeros_like(maps.T), where=self.size > 0)
        length = (unit**2).sum(axis=1)
        absent = (np.abs(maps[self.size == 0]) > 0).any(axis=0)
        return ~absent & (((maps.T @ self.null) ** 2).sum(axis=1) < _TOUCHED * length)


def regress(panel: Panel, blocks: Sequence[Block], owner: Ints) -> Regression:
    """Least squares on the columns of ``blocks``, the k-th times covariate ``owner[k]`` [K], and an
    effect for every unit of every block. A column with owner -1 - j is the j-th covariate that varies
    with time: what blocks have there isn't used."""
    q, periods, k = panel.x.shape[1], panel.y.shape[1], owner.size
    at = [np.flatnonzero(owner == a) for a in range(q)]
    mine = moving_columns(owner)
    gram, right = np.zeros((k, k)), np.zeros(k)
    inner: list[Floats] = []
    beside: list[Floats] = []
    rows = units = 0
    for block in blocks:
        own, out = np.zeros((q, q, periods, periods)), np.zeros((q, periods))
        cross = np.zeros((q, periods, mine.size))
        for part, y, mask, count in _pieces(panel, block):
            wx = panel.x[part] * (panel.weight[part] * block.weight)[:, None]
            times = part.size if mask.shape[0] == 1 else 1
            units += int((count > 0).sum()) * times
            rows += int(count.sum()) * times
            out += wx.T @ y
            _add_inner(own, wx, panel.x[part], mask, count)
            if mine.size:
                v = _within(panel, block, part, mask, count)
                cross += (wx.T @ v.reshape(part.size, -1)).reshape(cross.shape)
                flat = (v * wx[:, :1, None]).reshape(-1, mine.size)
                gram[np.ix_(mine, mine)] += flat.T @ v.reshape(-1, mine.size)
                right[mine] += flat.T @ y.reshape(-1)
        for a in range(q):
            left = block.columns[:, at[a]]
            right[at[a]] += left.T @ out[a]
            for b in range(q):
                gram[np.ix_(at[a], at[b])] += left.T @ own[a, b] @ block.columns[:, at[b]]
            if mine.size:
                both = left.T @ cross[a]
                gram[np.ix_(at[a], mine)] += both
                gram[np.ix_(mine, at[a])] += both.T
        inner.append(own)
        beside.append(cross)
    bread, null, size = _invert(gram)
    coef = bread @ right
    coef += bread @ (right - gram @ coef)  # what rounding left of the solution
    rank = int((size > 0).sum()) - null.shape[1]
    return Regression(
        coef, bread, tuple(inner), rows, units, rank, owner, null, size, gram, tuple(beside)
    )


def moving_columns(owner: Ints) -> Ints:
    """[p] columns of the covariates that vary with time, in their order."""
    found = np.flatnonzero(owner < 0)
    return found[np.argsort(-owner[found], kind="stable")]


def collinear_moving(found: Regression, nuisance: int) -> Ints:
    """Numbers of the covariates that vary with time but are, in these rows, sums of unit effects, the
    other ones among the first ``nuisance`` columns (period effects) and covariates before them."""
    mine = moving_columns(found.owner)
    others = np.setdiff1d(np.arange(nuisance), mine)
    order = np.concatenate([others, mine])
    kept = np.array(independent(found.gram[np.ix_(order, order)]), dtype=np.int64)
    return np.setdiff1d(np.arange(mine.size), kept - others.size)


def scores(
    panel: Panel, blocks: Sequence[Block], found: Regression, maps: Floats
) -> Iterator[tuple[Ints, Floats]]:
    """Units [m] and their influence [m, r] on ``maps`` [K, r] of the coefficients, some at a time.

    w_i times bread x' e, summed over a unit's rows: what its weight does to the estimate, times the
    weight (residuals e with unit and period effects taken out). A unit in several blocks comes several
    times: add up.
    """
    turned = found.bread @ maps
    at = [np.flatnonzero(found.owner == a) for a in range(panel.x.shape[1])]
    mine = moving_columns(found.owner)
    for block in blocks:
        ways = [block.columns[:, k] @ turned[k] for k in at]
        paths = np.stack([block.columns[:, k] @ found.coef[k] for k in at])
        for part, y, mask, count in _pieces(panel, block):
            fit = panel.x[part] @ paths if len(at) > 1 else paths
            mean = (fit * mask).sum(axis=1) / np.maximum(count, 1)
            residual = y - (fit - mean[:, None]) * mask
            wx = panel.x[part] * (panel.weight[part] * block.weight)[:, None]
            z = np.zeros((part.size, maps.shape[1]))
            if mine.size:
                v = _within(panel, block, part, mask, count)
                residual -= v @ found.coef[mine]
                z += (np.einsum("mt,mtp->mp", residual, v) @ turned[mine]) * wx[:, :1]
            for a, way in enumerate(ways):
                if np.any(way):
                    z += (residual @ way) * wx[:, a : a + 1]
            yield part, z


def _within(panel: Panel, block: Block, part: Ints, mask: Bools, count: Ints) -> Floats:
    """[m, T, p] covariates that vary, less the unit's mean; 0 where there is no row."""
    assert panel.varying is not None
    v = panel.varying[part]
    if block.seen is None:
        return v
    if not mask.all():
        v = np.where(mask[:, :, None], v, 0.0)
    v -= (over_time(v) / np.maximum(count, 1)[:, None])[:, None, :]
    return v if mask.all() else v * mask[:, :, None]


def _pieces(panel: Panel, block: Block) -> Iterator[tuple[Ints, Floats, Bools, Ints]]:
    """The block's units some at a time: who; outcomes less the unit's mean (0 where there is no row);
    which rows there are ([1, T] where all units have the same); how many."""
    piece = _PIECE // (1 + panel.moving)
    for start in range(0, block.units.size, piece):
        part = block.units[start : start + piece]
        y = panel.y[part]
        if block.seen is not None:
            y[:, ~block.seen] = np.nan
        mask = np.isfinite(y)
        if (mask == mask[:1]).all():
            mask = mask[:1]
        if not mask.all():
            y = np.where(mask, y, 0.0)
        count = mask.sum(axis=1)
        y -= (y.sum(axis=1) / np.maximum(count, 1))[:, None]
        if not mask.all():
            y *= mask
        yield part, y, mask, count


def _add_inner(own: Floats, wx: Floats, x: Floats, mask: Bools, count: Ints) -> None:
    """Add sum_i w_i x_ia x_ib (diag(m_i) - m_i m_i' / |m_i|) to ``own`` [q, q, T, T]."""
    q, seen = x.shape[1], mask.astype(np.float64)
    share = 1.0 / np.maximum(count, 1)
    alike = mask.shape[0] == 1
    products = wx.T @ x if alike else None
    for a in range(q):
        for b in range(a, q):
            if products is not None:
                term = products[a, b] * (np.diag(seen[0]) - np.outer(seen, seen) * share[0])
            else:
                v = wx[:, a] * x[:, b]
                term = np.diag(v @ seen) - (seen * (v * share)[:, None]).T @ seen
            own[a, b] += term
            if b > a:
                own[b, a] += term


def _invert(gram: Floats) -> tuple[Floats, Floats, Floats]:
    """(Pseudo-)inverse [K, K], null space [K, d] (of unit length after scaling), size [K] of each
    regressor, 0 where it doesn't vary."""
    k = gram.shape[0]
    size = np.sqrt(np.clip(np.diag(gram), 0.0, None))
    live = np.flatnonzero(size > 1e-12 * max(float(size.max(initial=0.0)), 1e-300))
    bread = np.zeros((k, k))
    scale = size[live]
    size = np.where(np.isin(np.arange(k), live), size, 0.0)
    if not live.size:
        return bread, np.zeros((k, 0)), size
    corr = gram[np.ix_(live, live)] / np.outer(scale, scale)
    values, vectors = linalg.eigh(corr)
    lost = values <= SINGULAR * values[-1]
    if lost.any():
        inverse = (vectors[:, ~lost] / values[~lost]) @ vectors[:, ~lost].T
    else:
        inverse = linalg.cho_solve(linalg.cho_factor(corr), np.eye(live.size))
    bread[np.ix_(live, live)] = inverse / np.outer(scale, scale)
    null = np.zeros((k, int(lost.sum())))
    null[live] = vectors[:, lost] / scale[:, None]
    return bread, null, size
