"""Where trees may cut a covariate: round numbers that many share, never a person's value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Cuts:
    """``points[j]`` the ascending cuts of covariate j: a unit goes left of cut c when x <= c."""

    names: tuple[str, ...]
    points: tuple[NDArray[np.float64], ...]

    @property
    def n_bins(self) -> NDArray[np.int64]:
        """[p] bins of each covariate, one more than its cuts."""
        return np.array([len(c) + 1 for c in self.points], dtype=np.int64)

    def bins(self, x: Floats) -> NDArray[np.int16]:
        """[n, p] bin of every unit: how many cuts lie below its value."""
        out = np.empty(x.shape, dtype=np.int16)
        for j, points in enumerate(self.points):
            out[:, j] = np.searchsorted(points, x[:, j], side="left")
        return out


def choose_cuts(
    x: Floats, names: Sequence[str], *, bins: int = 32, least: int = 10, rounded: bool = True
) -> Cuts:
    """Cuts of every column of ``x`` [n, p]: at most ``bins`` - 1, with ``least`` units between them.

    A covariate with few values, each held by ``least`` units, is cut halfway between them; any other
    at quantiles rounded to 1, 2 or 5 times a power of ten, about as fine as the quantiles lie apart
    in the middle of the distribution, so that a cut is nobody's value but a round number near which
    at least ``least`` units lie on either side. ``rounded`` False leaves the quantiles as they are
    (for simulations). Raises InputError for bad options or values that aren't finite.
    """
    if bins < 2:
        raise InputError("a covariate needs at least 2 bins to be cut", where="bins")
    if not np.isfinite(x).all():
        raise InputError("missing or infinite values in a covariate", where="covariates")
    points = tuple(_cuts_of(x[:, j], bins, max(least, 1), rounded) for j in range(x.shape[1]))
    return Cuts(tuple(names), points)


def _cuts_of(values: Floats, bins: int, least: int, rounded: bool) -> NDArray[np.float64]:
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size < 2:
        return np.empty(0)
    if distinct.size <= bins and counts.min() >= least:
        return (distinct[1:] + distinct[:-1]) / 2
    wanted = np.quantile(values, np.arange(1, bins) / bins)
    if rounded:
        low, high = np.quantile(values, [0.1, 0.9])
        spread = high - low if high > low else distinct[-1] - distinct[0]
        step = _nice(spread / bins)
        wanted = np.round(np.round(wanted / step) * step, 12)
    wanted = np.unique(wanted)
    ordered = np.sort(values)
    kept, before = [], 0
    for cut in wanted:
        upto = int(np.searchsorted(ordered, cut, side="right"))
        if upto - before >= least and values.size - upto >= least:
            kept.append(float(cut))
            before = upto
    return np.array(kept)


def _nice(width: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is at most ``width``."""
    power = 10.0 ** np.floor(np.log10(width))
    return float(next(k * power for k in (5, 2, 1) if k * power <= width * (1 + 1e-9)))
