"""Interval timing: a transition is known to have happened some time within its row.

A row of length d that ends in transition t has probability h_t / H (1 - exp(-d H)), H the sum of the
hazards possible in it; other rows are as in continuous time. What such a row says about a mass point
depends on all its coordinates together, so these rows are read once for each point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Below this, series replace differences of nearly equal numbers.
SMALL = 1e-2


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The E rows that end in a transition: ``unit`` [E] in order, ``length`` [E], ``x`` [E, p].

    ``channel`` [E, K]: of each transition, -1 where it isn't possible.
    """

    unit: NDArray[np.int64]
    length: Floats
    x: Floats
    channel: NDArray[np.int16]

    def between(self, lo: int, hi: int) -> slice:
        """The rows of units lo:hi."""
        return slice(*np.searchsorted(self.unit, (lo, hi)))

    def take(self, rows: NDArray[np.int64], unit: NDArray[np.int64]) -> Ends:
        """Some of the rows, of the units ``unit`` (in order)."""
        return Ends(unit=unit, length=self.length[rows], x=self.x[rows], channel=self.channel[rows])


def log_shape(z: Floats) -> Floats:
    """log((1 - exp(-z)) / z)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        plain = np.log(-np.expm1(-z) / z)
    return np.where(z < SMALL, -z / 2 + z**2 / 24, plain)


def slopes(z: Floats) -> tuple[Floats, Floats]:
    """First and second derivative of ``log_shape``."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        grown = np.expm1(z)
        first = 1 / grown - 1 / z
        second = 1 / z**2 - 1 / (grown * -np.expm1(-z))
    return (
        np.where(z < SMALL, -0.5 + z / 12 - z**3 / 720, first),
        np.where(z < SMALL, 1 / 12 - z**2 / 240, second),
    )


@dataclass(frozen=True, kw_only=True)
class EndTerms:
    """Of E rows at J points: ``log`` [E, J], ``first`` [K, E, J] derivative by each log hazard,
    ``second`` [K, K, E, J]; ``unit`` [E] within the block of units."""

    unit: NDArray[np.int64]
    log: Floats
    first: Floats
    second: Floats


def rates_at(rate: Floats, channel: NDArray[np.int16], v: Floats) -> Floats:
    """[K, E, J] hazards of the rows at each point; 0 where not possible. ``v`` is [C, J]."""
    return np.stack(
        [
            np.where(channel[:, t, None] >= 0, rate[:, t, None] * v[channel[:, t]], 0.0)
            for t in range(channel.shape[1])
        ]
    )


def end_logs(ends: Ends, rate: Floats, v: Floats, rows: slice) -> Floats:
    """[E, J] what the rows add to the log density beside log h_t: log((1 - exp(-dH)) / H)."""
    length = ends.length[rows, None]
    total = rates_at(rate[rows], ends.channel[rows], v).sum(axis=0)
    return log_shape(length * total) + np.log(length)


def end_terms(ends: Ends, rate: Floats, v: Floats, lo: int, hi: int) -> EndTerms:
    """Values and derivatives for units lo:hi."""
    rows = ends.between(lo, hi)
    length = ends.length[rows, None]
    h = rates_at(rate[rows], ends.channel[rows], v)
    total = h.sum(axis=0)
    one, two = slopes(length * total)
    one, two = one * length, two * length**2
    first = one * h
    second = two * h[:, None] * h[None]
    for t in range(len(h)):
        second[t, t] += first[t]
    return EndTerms(
        unit=ends.unit[rows] - lo,
        log=log_shape(length * total) + np.log(length),
        first=first,
        second=second,
    )
