"""Unit and period effects by weighted least squares on a dense panel, exactly.

Unit effects are eliminated, which leaves equations in the T period effects only: their matrix is the
Laplacian of the graph that joins two periods by the units seen in both. It is factorised once, and
singular once in every connected part of the panel, where the first period's effect is set to zero.
Nothing is iterated. Abowd, Creecy & Kramarz (2002) describe the connected parts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse.csgraph import connected_components

from tiltakeval.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: Units handled at once: their rows stay in the processor's cache.
BLOCK = 4096


class TwoWay:
    """Projections on unit and period effects over the rows ``used`` [n, T].

    ``weight`` is [n] (a unit's, in all its periods) or [n, T], positive in used rows; rows of weight 0
    don't count as used. ``unit_component`` [n] and ``period_component`` [T] number the connected parts
    (-1 where a unit or period has no row): effects are comparable within a part only. ``components``
    counts them, ``absorbed`` is the rank of the effects (units + periods - parts).
    Raises InputError where no row is used or a used row's weight is negative or missing.
    """

    def __init__(self, used: Bools, weight: Floats) -> None:
        self.used = np.asarray(used, dtype=bool)
        weight = np.asarray(weight, dtype=np.float64)
        n, periods = self.used.shape
        if weight.shape not in ((n,), (n, periods)):
            raise ValueError(f"weight has shape {weight.shape}, not {(n,)} or {(n, periods)}")
        whole = bool(self.used.all())
        checked = weight if whole or weight.ndim == 1 else weight[self.used]
        if weight.ndim == 1 and not whole:
            checked = weight[self.used.any(axis=1)]
        if not (checked >= 0).all():
            raise InputError(f"{int((~(checked >= 0)).sum())} weights are negative or missing")
        if (checked == 0).any():
            self.used = self.used & ((weight[:, None] if weight.ndim == 1 else weight) > 0)
            whole = False
        if not self.used.any():
            raise InputError("no row is left to fit unit and period effects to")
        self.balanced = whole and weight.ndim == 1
        self._unit_weight = weight if weight.ndim == 1 else np.zeros(0)
        self._row_weight = weight if weight.ndim == 2 else np.zeros((0, 0))
        self.total = self._totals()
        if self.balanced:
            self.unit_component = np.zeros(n, dtype=np.int64)
            self.period_component = np.zeros(periods, dtype=np.int64)
            self.components = 1
        else:
            self._factorise()
        seen = int((self.unit_component >= 0).sum() + (self.period_component >= 0).sum())
        self.absorbed = seen - self.components

    def demean(self, values: Floats, out: Floats | None = None) -> Floats:
        """[n, T, m] residuals of ``values`` [n, T, m], 0 in rows not used; ``out`` may be ``values``."""
        unit, period = self.effects(values)
        out = np.empty(values.shape) if out is None else out
        unit, period = np.nan_to_num(unit), np.nan_to_num(period)
        for rows in self._blocks():
            block = np.subtract(values[rows], unit[rows, None, :], out=out[rows])
            block -= period
            if not self.balanced:
                block[~self.used[rows]] = 0.0
        return out

    def effects(self, values: Floats) -> tuple[Floats, Floats]:
        """Least-squares effects of the units [n, m] and periods [T, m] on ``values`` [n, T, m].

        Their sum is the prediction for every unit and period of one connected part. The first period
        of each part has effect 0. NaN where a unit or period has no row.
        """
        mean = np.zeros((self.used.shape[0], values.shape[2]))
        right = np.zeros(values.shape[1:])
        for rows, weight in self._weighted():
            block = values[rows]
            if not self.balanced:
                block = np.where(self.used[rows, :, None], block, 0.0)
                mean[rows] = np.einsum("nt,ntm->nm", weight, block) / self.total[rows, None]
            else:
                np.einsum("ntm->nm", block, out=mean[rows])
                mean[rows] /= values.shape[1]
            block = block - mean[rows, None, :]
            if self.balanced:
                flat = block.reshape(block.shape[0], right.size)
                right += (self._unit_weight[rows] @ flat).reshape(right.shape)
            else:
                right += np.einsum("nt,ntm->tm", weight, block)
        period = self.solve(right)
        if self.balanced:
            mean -= period.mean(axis=0)
            return mean, period
        for rows, weight in self._weighted():
            mean[rows] -= weight @ period / self.total[rows, None]
        mean[self.unit_component < 0] = np.nan
        period[self.period_component < 0] = np.nan
        return mean, period

    def solve(self, right: Floats) -> Floats:
        """Period effects [T, m] that solve the normal equations, unit effects eliminated, for right-hand
        sides [T, m] (orthogonal to every part's constant); 0 in each part's first period."""
        if self.balanced:
            found = right / self._unit_weight.sum()
            return np.asarray(found - found[0])
        found = np.zeros(right.shape)
        if self._free.size:
            found[self._free] = linalg.cho_solve(self._factor, right[self._free])
        return found

    def predictable(self) -> Bools:
        """[n, T] whether unit and period are in one connected part, so that the sum is identified."""
        same = self.unit_component[:, None] == self.period_component[None, :]
        return np.asarray(same & (self.unit_component >= 0)[:, None])

    def weights(self, rows: slice) -> Floats:
        """[m, T] weights of the given units' rows, 0 where not used."""
        if self._unit_weight.size:
            return np.where(self.used[rows], self._unit_weight[rows, None], 0.0)
        return np.where(self.used[rows], self._row_weight[rows], 0.0)

    def _blocks(self) -> Iterator[slice]:
        n = self.used.shape[0]
        return (slice(i, min(i + BLOCK, n)) for i in range(0, n, BLOCK))

    def _weighted(self) -> Iterator[tuple[slice, Floats]]:
        empty = np.zeros((0, 0))
        return ((rows, empty if self.balanced else self.weights(rows)) for rows in self._blocks())

    def _totals(self) -> Floats:
        """[n] each unit's sum of weights, 1 where it has no row (a division that does no harm)."""
        if self.balanced:
            return self._unit_weight * self.used.shape[1]
        total = np.concatenate([self.weights(rows).sum(axis=1) for rows in self._blocks()])
        return np.where(total > 0, total, 1.0)

    def _factorise(self) -> None:
        """The period equations' Cholesky factor, and the connected parts."""
        periods = self.used.shape[1]
        laplacian = np.zeros((periods, periods))
        joined = np.zeros((periods, periods))
        for rows, weight in self._weighted():
            scaled = weight / np.sqrt(self.total[rows])[:, None]
            laplacian -= scaled.T @ scaled
            seen = self.used[rows].astype(np.float32)
            joined += seen.T @ seen
        # the diagonal from the rest of its row: rows then sum to zero whatever the rounding
        np.fill_diagonal(laplacian, 0.0)
        np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
        there = np.diag(joined) > 0
        label = connected_components(joined > 0, directed=False)[1].astype(np.int64)
        label[there] = np.unique(label[there], return_inverse=True)[1]
        label[~there] = -1
        self.period_component = label
        self.components = int(label.max()) + 1
        first = self.used.argmax(axis=1)
        self.unit_component = np.where(self.used.any(axis=1), label[first], -1)
        leading = {int(np.flatnonzero(label == c)[0]) for c in range(self.components)}
        self._free = np.array(
            [t for t in range(periods) if there[t] and t not in leading], dtype=np.int64
        )
        if self._free.size:
            self._factor = linalg.cho_factor(laplacian[np.ix_(self._free, self._free)], lower=True)
