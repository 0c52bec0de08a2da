"""Effects by cohort and period as means of imputed effects, and their influence.

The error of a mean effect has two parts (Borusyak, Jaravel & Spiess 2024, theorem 3): what untreated
rows' residuals do to the predictions, exactly as the linear estimator weighs them, and how far treated
rows' effects lie from an average over rows like them, which stands for what can't be known: how much of
an imputed effect is noise. The average weighs rows by the square of their cluster's weight, which makes
the error smallest among those that are conservative.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.aggregate import Average
from tiltakeval.estimators.did.imputed.fit import Baseline
from tiltakeval.estimators.did.imputed.support import Comparison
from tiltakeval.estimators.did.level import Fitted
from tiltakeval.estimators.did.plan import Cell
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Covariates named in a reason.
NAMED = 5
#: The labels of cells [cells] that share an average, for a row of results; None where each has its own.
Sharing = Callable[[Average, Sequence[Cell]], Ints]


@dataclass(frozen=True)
class Cells:
    """The plan's cells in order, and of those estimated their ``mass`` [k] (weighted rows).

    ``combine`` gives an average's influence where it isn't the cells' (``sharing``). ``left_out`` are
    rows of a cell that are seen but can't be imputed.
    """

    fitted: tuple[Fitted, ...]
    mass: Floats
    combine: Callable[[Average], Floats] | None
    left_out: Mapping[Cell, int]


@dataclass
class _Cohort:
    """A cohort's estimated cells: ``tau`` and ``share`` [m, k] (weights that add up to one) by unit, and
    ``mass`` [k]."""

    cells: list[Cell]
    tau: Floats
    share: Floats
    mass: Floats
    units: Ints


class Imputed:
    """Gathers cells, cohort by cohort, over the units of one level (``units`` [m] in the design)."""

    def __init__(
        self,
        design: StaggeredPanel,
        groups: Groups,
        units: Ints,
        y: Floats,
        base: Baseline,
        *,
        min_clusters: int,
        leave_one_out: bool,
        plain_mean: bool,
        sharing: Sharing | None,
        moving: Sequence[str] = (),
    ) -> None:
        self.design, self.groups, self.units, self.y, self.base = design, groups, units, y, base
        self.min_clusters, self.leave_one_out = min_clusters, leave_one_out
        self.plain_mean, self.sharing, self.moving = plain_mean, sharing, moving
        self.clusters = int(design.cluster.max()) + 1
        self.own_clusters = bool(np.bincount(design.cluster[units], minlength=1).max() <= 1)
        self.support = Comparison(design, units, base.used)
        self.left_out: dict[Cell, int] = {}

    def estimate(self, plan: Sequence[Cell]) -> Cells:
        """The cells of ``plan``."""
        by_cohort: dict[float, list[Cell]] = defaultdict(list)
        for cell in plan:
            by_cohort[cell.cohort].append(cell)
        fitted: list[Fitted] = []
        parts: list[_Cohort] = []
        for cohort, cells in by_cohort.items():
            found, part = self._cohort(cohort, cells)
            fitted += found
            parts += [part] if part else []
        return self._with_influence(fitted, parts)

    def _cohort(self, cohort: float, cells: list[Cell]) -> tuple[list[Fitted], _Cohort | None]:
        own = np.flatnonzero(self.design.first[self.units] == cohort)
        columns = np.array([cell.t for cell in cells])
        tau = self.base.gap[own[:, None], columns]
        there = np.isfinite(tau)
        lost = np.isfinite(self.y[own[:, None], columns]).sum(axis=0) - there.sum(axis=0)
        weight = np.where(there, self.base.weight[own, None], 0.0)
        mass = weight.sum(axis=0)
        by_cluster = self._by_cluster(weight, own)
        clusters = (by_cluster > 0).sum(axis=0)
        reasons = [
            self._reason(cells[j], own, int(there[:, j].sum()), int(lost[j]), int(clusters[j]))
            for j in range(len(cells))
        ]
        for cell, count, why in zip(cells, lost, reasons, strict=True):
            if count and not why:
                self.left_out[cell] = int(count)
        good = [j for j, why in enumerate(reasons) if not why]
        out = [Fitted(cell, reason=why) for cell, why in zip(cells, reasons, strict=True)]
        if not good:
            return out, None
        share = weight[:, good] / mass[good]
        tau = np.where(there[:, good], tau[:, good], 0.0)
        att = np.einsum("mk,mk->k", share, tau)
        for place, j in enumerate(good):
            support = self.support.of(cells[j], self.units[own[there[:, j]]])
            out[j] = Fitted(cells[j], att=float(att[place]), support=support)
        return out, _Cohort([cells[j] for j in good], tau, share, mass[good], own)

    def _by_cluster(self, values: Floats, own: Ints) -> Floats:
        """[C, k] sums of ``values`` [m, k] by cluster; themselves where clusters are units."""
        if self.own_clusters:
            return values
        label = np.unique(self.design.cluster[self.units[own]], return_inverse=True)[1]
        adding = sparse.csr_matrix((np.ones(own.size), (label, np.arange(own.size))))
        return np.asarray(adding @ values)

    def _reason(self, cell: Cell, own: Ints, rows: int, lost: int, clusters: int) -> str:
        """Why a cell can't be had, or nothing."""
        used = self.base.used
        if not own.size or rows + lost == 0:
            return Reason(Why.NOT_SEEN, "no unit of the cohort is seen in the period")
        if rows == 0:
            if not used[own].any():
                return cell.reason or Reason(
                    Why.NO_PERIOD_BEFORE, "no unit of the cohort is seen before treatment"
                )
            if not used[:, cell.t].any():
                return Reason(Why.NO_COMPARISON, "no untreated unit is seen in the period")
            if self.base.lost:
                names = ", ".join(self.moving[j] for j in self.base.lost[:NAMED])
                more = len(self.base.lost) - NAMED
                names += f" and {more} more" if more > 0 else ""
                return Reason(
                    Why.COLLINEAR,
                    f"what {names} would do can't be told from untreated rows, in which it doesn't "
                    "vary in its own way",
                )
            if self.base.z.shape[1] > 1:
                return Reason(
                    Why.NO_COMPARISON,
                    "too few untreated units in the period for the covariates, or none connected",
                )
            return Reason(
                Why.NO_COMPARISON,
                "no untreated unit connects the period with the cohort's periods before treatment",
            )
        if clusters < max(self.min_clusters, 1 + self.leave_one_out):
            kind = self.design.cluster_kind
            what = "unit" if kind == "unit" else f"cluster ({kind})"
            return Reason(Why.TOO_FEW, f"only {clusters} {what} in the cohort")
        return ""

    def _with_influence(self, fitted: list[Fitted], parts: list[_Cohort]) -> Cells:
        good = [one for one in fitted if not one.reason]
        if not good:
            return Cells(tuple(fitted), np.zeros(0), None, self.left_out)
        base = self.base
        toward = np.concatenate([self._moved(part) for part in parts])
        z = -(base.scores(self.groups, self.units) @ base.equations.solve(toward.T))
        average, mass, at = np.empty(len(good)), np.empty(len(good)), 0
        for part in parts:
            k = slice(at, at + len(part.cells))
            at = k.stop
            weighed = self._by_cluster(part.share, part.units)
            effect = self._by_cluster(part.share * part.tau, part.units)
            square = np.einsum("ck,ck->k", weighed, weighed)
            average[k] = effect.sum(axis=0)
            if not self.plain_mean:
                average[k] = np.einsum("ck,ck->k", weighed, effect) / square
            mass[k] = part.mass
            apart = part.share * (part.tau - average[k])
            if self.leave_one_out:
                keep = 1 / (1 - weighed**2 / square)
                apart *= keep if self.own_clusters else keep[self._label(part.units)]
            z[:, k] += self.groups.add_up(apart, self.units[part.units])
        places = iter(range(len(good)))
        out = [
            one if one.reason else Fitted(one.cell, one.att, z[:, next(places)], one.support)
            for one in fitted
        ]
        combine = None
        if self.sharing is not None:
            combine = self._combined(parts, z, average)
        return Cells(tuple(out), mass, combine, self.left_out)

    def _label(self, own: Ints) -> Ints:
        return np.unique(self.design.cluster[self.units[own]], return_inverse=True)[1].astype(
            np.int64
        )

    def _moved(self, part: _Cohort) -> Floats:
        """[k, qT + p] mean of (c_it, v_it) over each cell's rows, unit effects eliminated."""
        q, periods = self.base.equations.shape
        k = len(part.cells)
        out = np.empty((k, q, periods))
        level = self.base.used[part.units] / self.base.count[part.units, None]
        own = np.arange(k)
        columns = np.array([cell.t for cell in part.cells])
        for a in range(q):
            weight = part.share if a == 0 else part.share * self.base.z[part.units, a][:, None]
            out[:, a] = -(weight.T @ level)
            out[own, a, columns] += weight.sum(axis=0)
        flat = out.reshape(k, q * periods)
        if self.base.v is None:
            return flat
        own_v = self.base.v[part.units[:, None], columns]
        moved = np.einsum("mk,mkp->kp", part.share, own_v)
        return np.hstack([flat, moved - part.share.T @ self.base.level[part.units]])

    def _combined(
        self, parts: list[_Cohort], z: Floats, average: Floats
    ) -> Callable[[Average], Floats]:
        """An average's influence when the effects its cells share are averaged together."""
        cells = [cell for part in parts for cell in part.cells]
        share = np.concatenate(
            [self.groups.add_up(part.share, self.units[part.units]) for part in parts], axis=1
        )
        att = np.concatenate([np.einsum("mk,mk->k", p.share, p.tau) for p in parts])
        sharing = self.sharing
        assert sharing is not None
        weighed, effect = (None, None) if self.plain_mean else self._products(parts)

        def influence(row: Average) -> Floats:
            label = sharing(row, cells)
            mean = np.zeros(len(cells))
            for one in np.unique(label[row.cells != 0]):
                inside = (label == one) & (row.cells != 0)
                a = row.cells[inside]
                if weighed is None or effect is None:
                    mean[inside] = a @ att[inside] / a.sum()
                else:
                    both = np.ix_(inside, inside)
                    mean[inside] = (a @ effect[both] @ a) / (a @ weighed[both] @ a)
            return np.asarray(z @ row.cells + share @ (row.cells * (average - mean)))

        return influence

    def _products(self, parts: list[_Cohort]) -> tuple[Floats, Floats]:
        """[k, k] sums over clusters of weight x weight, and weight x weighted effect."""
        weights, effects = [], []
        for part in parts:
            label = self.design.cluster[self.units[part.units]]
            adding = sparse.csr_matrix(
                (np.ones(label.size), (label, np.arange(label.size))), (self.clusters, label.size)
            )
            weights.append(sparse.csr_matrix(adding @ part.share))
            effects.append(sparse.csr_matrix(adding @ (part.share * part.tau)))
        weight, effect = sparse.hstack(weights).tocsr(), sparse.hstack(effects).tocsr()
        return (weight.T @ weight).toarray(), (weight.T @ effect).toarray()
