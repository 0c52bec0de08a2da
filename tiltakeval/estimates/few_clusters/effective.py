"""How many clusters a cluster-robust error rests on, in effect: known before any outcome is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def effective_number(share: Floats) -> float:
    """(sum of ``share``)^2 / sum of share^2, for what each cluster [G] adds to the expected variance.

    Carter, Schnepel & Steigerwald (2017, Review of Economics and Statistics 99:698-709): G / (1 + the
    squared coefficient of variation of the shares), which is the same. NaN where all are zero.
    """
    total = float((share**2).sum())
    return float(share.sum() ** 2 / total) if total > 0 else float("nan")


@dataclass(frozen=True)
class Sides:
    """Clusters of a comparison of two sides: all, with units of either side, with units of both.

    ``effective`` is the effective number for the difference of the sides' means (of changes), with
    units of a cluster perfectly alike, the worst case (Lee & Steigerwald 2018, Stata Journal 18),
    or independent where a cluster has units of both sides. ``largest`` is the largest
    share of a cluster in its side's weight.
    """

    clusters: int
    treated: int
    comparison: int
    both: int
    effective: float
    largest: float


def count_sides(treated: Bools, cluster: Ints, weight: Floats) -> Sides:
    """The clusters of units of which ``treated`` [n] are on one side, the others on the other.

    ``cluster`` [n] numbers clusters, ``weight`` [n] > 0. Both sides must have units.
    """
    names, number = np.unique(cluster, return_inverse=True)
    held = np.zeros((names.size, 2))
    np.add.at(held, (number.reshape(-1), treated.astype(np.int64)), weight)
    share = held / held.sum(axis=0)
    there = held > 0
    mixed = int(there.all(axis=1).sum())
    if mixed:
        squares = np.zeros((names.size, 2))
        np.add.at(squares, (number.reshape(-1), treated.astype(np.int64)), weight**2)
        gamma = (squares / held.sum(axis=0) ** 2).sum(axis=1)
    else:
        gamma = (share**2).sum(axis=1)
    return Sides(
        clusters=int(names.size),
        treated=int(there[:, 1].sum()),
        comparison=int(there[:, 0].sum()),
        both=mixed,
        effective=effective_number(gamma),
        largest=float(share.max()),
    )
