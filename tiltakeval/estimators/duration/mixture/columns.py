"""What the panel must know of the covariates, in blocks of rows: no room for copies of a register."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROWS = 32_768


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Of p columns: ``fixed`` [p] constant within units, ``centre`` and ``scale`` [p].

    A 0/1 column keeps centre 0 and scale 1; others have their mean and standard deviation over rows.
    """

    fixed: NDArray[np.bool_]
    centre: Floats
    scale: Floats

    def take(self, order: NDArray[np.int64]) -> Columns:
        """Some of the columns, in another order."""
        return Columns(fixed=self.fixed[order], centre=self.centre[order], scale=self.scale[order])


def columns_of(x: Floats, opens: NDArray[np.bool_]) -> Columns:
    """``opens`` [R]: the rows that begin a unit."""
    rows, p = x.shape
    fixed, binary = np.ones(p, dtype=bool), np.ones(p, dtype=bool)
    total, square = np.zeros(p), np.zeros(p)
    for lo in range(0, rows, ROWS):
        part = x[lo : lo + ROWS]
        binary &= ((part == 0.0) | (part == 1.0)).all(axis=0)
        total += part.sum(axis=0)
        above = x[lo : min(lo + ROWS, rows - 1)]
        below = x[lo + 1 : lo + 1 + len(above)]
        fixed &= ~((above != below) & ~opens[lo + 1 : lo + 1 + len(above), None]).any(axis=0)
    mean = total / max(rows, 1)
    for lo in range(0, rows, ROWS):
        square += ((x[lo : lo + ROWS] - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(square / max(rows, 1))
    return Columns(
        fixed=fixed,
        centre=np.where(binary, 0.0, mean),
        scale=np.where(binary, 1.0, deviation),
    )


def scaled(
    x: Floats, rows: NDArray[np.int64] | None, which: NDArray[np.int64], columns: Columns
) -> Floats:
    """Some rows (all: None) and columns of x, centred and scaled; ``columns`` are of all of x."""
    count = len(x) if rows is None else rows.size
    out = np.empty((count, which.size))
    for lo in range(0, count, ROWS):
        hi = min(lo + ROWS, count)
        part = x[lo:hi] if rows is None else x[rows[lo:hi]]
        out[lo:hi] = (part[:, which] - columns.centre[which]) / columns.scale[which]
    return out
