"""Units sorted by when they start, so that cohorts and comparison groups are slices, not lookups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.cells.propensity import weighted_gram
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SortedUnits:
    """m units; cohort c (first treated in ``starts[c]``) is ``bounds[c]:bounds[c + 1]``.

    ``by_unit`` [m, T] outcomes, ``y`` [T, m] the same laid out by period, ``x`` [1 + p, m] a row of
    ones and covariates, ``weight``, ``cluster`` and ``label`` [m] as in the design and its groups.
    ``varying`` [q, T, m] are standardised covariates that change over time; a cell takes their values
    in its base period, and with ``changes`` what they changed by since.
    """

    starts: Floats
    bounds: Ints
    by_unit: Floats
    y: Floats
    x: Floats
    weight: Floats
    cluster: Ints
    label: Ints
    n_clusters: int
    varying: Floats | None = None
    changes: bool = False

    @cached_property
    def complete(self) -> Bools:
        """[T] whether everybody is seen in the period."""
        return np.array([bool(np.isfinite(row).all()) for row in self.y])

    def of_cell(self, t: int, b: int) -> Floats | None:
        """[q or 2 q, m] the covariates of a cell that vary with time, NaN where not known."""
        if self.varying is None:
            return None
        base = self.varying[:, b]
        return np.concatenate([base, self.varying[:, t] - base]) if self.changes else base

    @cached_property
    def grams(self) -> Floats:
        """[cohorts, 1 + p, 1 + p] weighted Gram matrices of x, to be added up over cohorts."""
        return np.array([weighted_gram(self.x[:, s], self.weight[s]) for s in self._all()])

    @cached_property
    def products(self) -> Floats:
        """[cohorts, T, 1 + p] weighted products of outcomes and x, for periods that are complete."""
        out = np.full((self.starts.size, self.y.shape[0], self.x.shape[0]), np.nan)
        for c, s in enumerate(self._all()):
            weighted = (self.x[:, s] * self.weight[s]).T
            for t in np.flatnonzero(self.complete):
                out[c, t] = self.y[t, s] @ weighted
        return out

    def slices(self, cohorts: Sequence[int]) -> list[slice]:
        """The units of some cohorts, neighbours joined."""
        out: list[slice] = []
        for c in sorted(cohorts):
            low, high = int(self.bounds[c]), int(self.bounds[c + 1])
            if out and out[-1].stop == low:
                out[-1] = slice(out[-1].start, high)
            elif high > low:
                out.append(slice(low, high))
        return out

    def _all(self) -> list[slice]:
        return [slice(int(a), int(b)) for a, b in zip(self.bounds[:-1], self.bounds[1:])]


def take(values: NDArray, where: Sequence[slice]) -> NDArray:
    """The given columns, side by side."""
    return np.concatenate([values[..., s] for s in where], axis=-1)


def sort_units(
    design: StaggeredPanel,
    inside: Bools,
    outcome: int,
    x: Floats,
    groups: Groups,
    changes: bool = False,
) -> SortedUnits:
    """The units ``inside`` [n] with their standard covariates ``x`` [n, p]."""
    order = np.flatnonzero(inside)
    order = order[np.argsort(design.first[order], kind="stable")]
    first = design.first[order]
    starts = np.unique(first)
    bounds = np.append(np.searchsorted(first, starts), first.size).astype(np.int64)
    by_unit = np.take(design.outcomes[:, :, outcome], order, axis=0)
    basis = np.ones((1 + x.shape[1], order.size))
    for j in range(x.shape[1]):
        np.take(x[:, j], order, out=basis[1 + j])
    varying = None
    if design.varying is not None:
        varying = np.ascontiguousarray(design.varying[order].transpose(2, 1, 0))
        for one in varying:
            seen = np.isfinite(one)
            one -= one[seen].mean() if seen.any() else 0.0
            one /= (one[seen].std() if seen.any() else 1.0) or 1.0
    return SortedUnits(
        starts=starts,
        bounds=bounds,
        by_unit=by_unit,
        y=np.ascontiguousarray(by_unit.T),
        x=basis,
        weight=design.weight[order],
        cluster=design.cluster[order],
        label=groups.label[order].astype(np.int64),
        n_clusters=int(design.cluster.max()) + 1,
        varying=varying,
        changes=changes,
    )
