"""Cells that share their units: one cohort against the same others, weighed once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.cells.fit import Weighing
from tiltakeval.estimators.did.cells.sorted_units import SortedUnits, take
from tiltakeval.estimators.did.plan import Cell, compared

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bits = NDArray[np.uint8]

#: Differences held at once, in numbers: the memory of a batch of cells.
AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Support:
    """Who carries a cell, as bits over units (in any order that a level keeps) and clusters."""

    treated: Bits
    comparison: Bits
    clusters: Bits
    effective: float
    trimmed: int


@dataclass(frozen=True)
class Batch:
    """Cells (``members``, places in the plan) on the same units, the cohort's first: ``x`` [1 + p, m],
    ``weight`` and ``cluster`` [m]; ``at`` [m] are the units' places among the sorted ones. ``where``
    (slices of them) and ``grams`` are known where nobody is missing, ``others`` are the cohorts compared
    with."""

    units: SortedUnits
    cells: tuple[Cell, ...]
    members: tuple[int, ...]
    treated: int
    at: Ints
    where: tuple[slice, ...] | None
    x: Floats
    weight: Floats
    cluster: Ints
    grams: tuple[Floats, Floats] | None = None
    others: tuple[int, ...] = ()

    @property
    def log_odds(self) -> float:
        """Of being in the cohort."""
        own = self.weight[: self.treated].sum()
        return float(np.log(own / self.weight[self.treated :].sum()))

    def known_products(self) -> Floats:
        """[k, 1 + p] the cells' weighted products of differences with x among the comparison units,
        where nobody is missing."""
        summed = self.units.products[list(self.others)].sum(axis=0)
        now, then = [cell.t for cell in self.cells], [cell.b for cell in self.cells]
        return np.asarray(summed[now] - summed[then])

    def differences(self) -> Iterator[tuple[list[int], Floats, Floats | None]]:
        """Positions in the plan, long differences [k, m], and their weighted products with x [k, 1 + p]
        among the comparison units where known; few periods at a time."""
        y, step = self.units.y, max(1, AT_ONCE // max(self.at.size, 1))
        for low in range(0, len(self.cells), step):
            cells = self.cells[low : low + step]
            dy = np.empty((len(cells), self.at.size))
            for row, cell in zip(dy, cells):
                if self.where is None:
                    np.subtract(y[cell.t, self.at], y[cell.b, self.at], out=row)
                    continue
                done = 0
                for s in self.where:
                    size = s.stop - s.start
                    np.subtract(y[cell.t, s], y[cell.b, s], out=row[done : done + size])
                    done += size
            known = None
            if self.grams is not None:
                summed = self.units.products[list(self.others)].sum(axis=0)
                known = summed[[cell.t for cell in cells]] - summed[[cell.b for cell in cells]]
            yield list(self.members[low : low + step]), dy, known

    def support(self, sides: Weighing) -> Support:
        """Who carries the cells, given how units weigh."""
        used = sides.odds > 0
        carry = np.concatenate([np.ones(self.treated, dtype=bool), used])
        mask = np.zeros(self.units.weight.size, dtype=bool)
        mask[self.at[: self.treated]] = True
        treated = np.packbits(mask)
        mask[self.at[: self.treated]] = False
        mask[self.at[self.treated :][used]] = True
        clusters = np.zeros(self.units.n_clusters, dtype=bool)
        clusters[self.cluster[carry]] = True
        return Support(
            treated=treated,
            comparison=np.packbits(mask),
            clusters=np.packbits(clusters),
            effective=float(sides.odds.sum() ** 2 / (sides.odds @ sides.odds)),
            trimmed=sides.trimmed,
        )


def batches(plan: Sequence[Cell], units: SortedUnits) -> Iterator[Batch]:
    """The plan's cells that have a base, by units: together where nobody is missing."""
    # without covariates that vary, cells against the same others share their units and covariates
    together: dict[tuple[int, tuple[int, ...], int], list[int]] = defaultdict(list)
    for i, cell in enumerate(plan):
        if not cell.reason:
            complete = units.complete[cell.t] and units.complete[cell.b] and units.varying is None
            own, others = compared(units.starts, cell)
            together[(own, others, -1 if complete else i)].append(i)
    for (own, others, alone), members in together.items():
        yield _batch(plan, units, members, own, others, complete=alone < 0)


def _batch(
    plan: Sequence[Cell],
    units: SortedUnits,
    members: Sequence[int],
    own: int,
    others: tuple[int, ...],
    *,
    complete: bool,
) -> Batch:
    mine = units.slices([own] if own >= 0 else [])
    where = [*mine, *units.slices(others)]
    treated = sum(s.stop - s.start for s in mine)
    at = np.concatenate(
        [np.arange(s.start, s.stop) for s in where] or [np.empty(0, dtype=np.int64)]
    )
    cells = tuple(plan[i] for i in members)
    grams = None
    if complete and own >= 0:
        grams = units.grams[own], units.grams[list(others)].sum(axis=0)
    if not complete:
        t, b = cells[0].t, cells[0].b
        seen = np.isfinite(units.y[t, at] - units.y[b, at])
        moving = units.of_cell(t, b)
        if moving is not None:
            seen &= np.isfinite(moving[:, at]).all(axis=0)
        treated = int(seen[:treated].sum())
        at = at[seen]
    pick = (lambda a: take(a, where)) if complete and where else (lambda a: a[..., at])
    x = pick(units.x)
    if units.varying is not None:
        moving = units.of_cell(cells[0].t, cells[0].b)
        assert moving is not None
        x = np.concatenate([x, moving[:, at]])
    return Batch(
        units=units,
        cells=cells,
        members=tuple(members),
        treated=treated,
        at=at,
        where=tuple(where) if complete else None,
        x=x,
        weight=pick(units.weight),
        cluster=pick(units.cluster),
        grams=grams,
        others=others,
    )
