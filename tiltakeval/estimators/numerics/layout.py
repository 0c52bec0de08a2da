"""The arrays of one analysis, sorted once so that every (fold, arm, group) is a slice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
#: A row of sums, or several, that units add to.
Target = int | NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Where things are after sorting units by fold, arm, group.

    ``order`` [n] sorts the caller's units; ``block`` [F, A, 2] start and stop of each (fold, arm);
    ``segments[f][b]`` is (groups [s], starts [s+1]): the group of each slice within the block.
    ``into[group]`` are the rows of sums a group adds to, where that isn't its own number.
    """

    order: NDArray[np.int64]
    block: NDArray[np.int64]
    segments: tuple[tuple[tuple[NDArray[np.int32], NDArray[np.int64]], ...], ...]
    into: tuple[NDArray[np.int64], ...] | None = None

    def target(self, group: int) -> Target:
        """Row, or rows, of sums that a slice of ``group`` adds to."""
        return group if self.into is None else self.into[group]

    @property
    def folds(self) -> int:
        return self.block.shape[0]

    def rows(self, fold: int, arm: int) -> slice:
        """The slice of a (fold, arm)."""
        return slice(int(self.block[fold, arm, 0]), int(self.block[fold, arm, 1]))

    def chunks(
        self, fold: int, arm: int, *, size: int = 8_192
    ) -> Iterator[tuple[slice, list[tuple[Target, slice]]]]:
        """Slices of about ``size`` rows of whole segments: (rows, [(rows of sums, rows within)])."""
        groups, starts = self.segments[fold][arm]
        first = 0
        while first < groups.size:
            last = first + 1
            while last < groups.size and starts[last + 1] - starts[first] <= size:
                last += 1
            base = int(starts[first])
            inside = [
                (
                    self.target(int(groups[s])),
                    slice(int(starts[s]) - base, int(starts[s + 1]) - base),
                )
                for s in range(first, last)
            ]
            yield slice(base, int(starts[last])), inside
            first = last


def make_layout(
    *,
    fold: Ints,
    arm: Ints,
    group: Ints,
    folds: int,
    arms: int,
    tie: Ints | None = None,
    into: tuple[NDArray[np.int64], ...] | None = None,
) -> Layout:
    """Sort units [n] by fold, arm, group (then ``tie``); see ``Layout``."""
    keys = (group, arm, fold) if tie is None else (tie, group, arm, fold)
    order = np.lexsort(keys)
    code = fold[order].astype(np.int64) * arms + arm[order]
    edges = np.searchsorted(code, np.arange(folds * arms + 1))
    block = np.stack([edges[:-1], edges[1:]], axis=1).reshape(folds, arms, 2)
    sorted_group = group[order]
    segments = []
    for f in range(folds):
        row = []
        for b in range(arms):
            start, stop = block[f, b]
            part = sorted_group[start:stop]
            cut = np.flatnonzero(np.diff(part)) + 1
            starts = np.concatenate([[0], cut, [part.size]]).astype(np.int64) + start
            found = part[np.concatenate([[0], cut])] if part.size else part
            row.append((found.astype(np.int32), starts if part.size else starts[:1]))
        segments.append(tuple(row))
    return Layout(order=order, block=block, segments=tuple(segments), into=into)


@dataclass(frozen=True)
class OutcomeBlock:
    """Outcomes as columns: y [n, C] float32, centred, 0 where missing; ``centre`` [C] was taken off.

    Columns with the same units observed share a pattern: ``observed`` [n, P] (None when everything
    is observed), ``pattern`` [C]. ``horizon`` [C] is the position of each column's horizon, and
    ``scale`` [C] the root mean square of the centred column.
    """

    y: NDArray[np.float32]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    observed: NDArray[np.bool_] | None
    pattern: NDArray[np.int64]
    horizon: NDArray[np.int64]

    @property
    def patterns(self) -> int:
        return 1 if self.observed is None else self.observed.shape[1]


def outcome_block(outcomes: Floats, *, weight: Floats, order: Ints) -> OutcomeBlock:
    """Sorted, centred columns from outcomes [n, T, K] (NaN = not observed); k runs fastest."""
    n, (horizons, names) = order.size, outcomes.shape[1:]
    columns = horizons * names
    y = np.empty((n, columns), dtype=np.float32)
    w = weight[order].astype(np.float64)
    centre, scale = np.zeros(columns), np.ones(columns)
    masks: dict[bytes, int] = {}
    kept: list[NDArray[np.bool_]] = []
    pattern = np.zeros(columns, dtype=np.int64)
    complete = True
    for c in range(columns):
        values = outcomes[:, c // names, c % names][order].astype(np.float64)
        seen = np.isfinite(values)
        key = hashlib.blake2b(np.packbits(seen).tobytes(), digest_size=16).digest()
        if key not in masks:
            masks[key] = len(kept)
            kept.append(seen)
            complete = complete and bool(seen.all())
        pattern[c] = masks[key]
        total = w[seen].sum()
        if total > 0:
            centre[c] = w[seen] @ values[seen] / total
            values = np.where(seen, values - centre[c], 0.0)
            scale[c] = np.sqrt(w @ values**2 / total)
        else:
            values = np.zeros(n)
        y[:, c] = values
    return OutcomeBlock(
        y=y,
        centre=centre,
        scale=np.where(scale > 0, scale, 1.0),
        observed=None if complete else np.stack(kept, axis=1),
        pattern=pattern,
        horizon=np.arange(columns, dtype=np.int64) // names,
    )
