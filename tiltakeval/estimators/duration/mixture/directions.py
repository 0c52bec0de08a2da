"""Where another mass point would raise the likelihood: the directional derivative and its maxima.

At mixing distribution G the derivative towards a point at v is D(v) = sum of w (l(v) / L - 1), with L
the density under G. G is the best mixing distribution for its coefficients if and only if D is nowhere
positive, and the log-likelihood can't rise by more than sup D (Lindsay 1983, Annals of Statistics 11).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.hazards import Hazards
from tiltakeval.estimators.duration.mixture.likelihood import ZERO, Mixing, densities, with_ends
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.duration.mixture.surface import Box, Surface, box_of

__all__ = ["Box", "Maxima", "box_of", "maxima"]
Floats = NDArray[np.float64]
CHUNK = 4096
FINE = (-6.0, 3.0)


@dataclass(frozen=True, kw_only=True)
class Maxima:
    """Local maxima of the directional derivative: ``mu`` [C, m] and ``value`` [m], best first."""

    mu: Floats
    value: Floats

    @property
    def largest(self) -> float:
        """The certificate: the largest derivative found in the box."""
        return float(self.value.max(initial=-np.inf))


def maxima(
    panel: Panel,
    at: Hazards,
    mixing: Mixing,
    box: Box,
    *,
    step: float = 0.22,
    slack: float = 1.0,
) -> Maxima:
    """Local maxima on a product grid, each refined by Newton's method between the grid points."""
    offset = at.base - densities(panel, at, mixing)
    surface = Surface(panel, at, offset, box)
    if panel.ends is not None:
        step = 2 * step
    axes = [_axis(box, c, step) for c in range(panel.channels)]
    starts: list[Floats] = []
    for mu in _grid_maxima(panel, at, mixing, offset, axes):
        if not any(_same(mu, other) for other in starts):
            starts.append(mu)
    found: list[tuple[float, Floats]] = []
    for value, better in surface.climb(starts, slack):
        if not any(_same(better, other) for _, other in found):
            found.append((value, better))
    found.sort(key=lambda pair: -pair[0])
    if not found:
        return Maxima(mu=np.zeros((panel.channels, 0)), value=np.zeros(0))
    return Maxima(
        mu=np.stack([mu for _, mu in found], axis=1), value=np.array([v for v, _ in found])
    )


def _axis(box: Box, c: int, step: float) -> Floats:
    """Grid of log hazards in one channel, the hazard of zero first."""
    fine = np.arange(box.middle[c] + FINE[0], min(box.middle[c] + FINE[1], box.high[c]), step)
    below = np.arange(box.low[c], fine[0], 1.0)
    above = np.arange(fine[-1] + 2 * step, box.high[c] + 2 * step, 2 * step)
    return np.concatenate([[ZERO], below, fine, np.minimum(above, box.high[c])])


def _same(left: Floats, right: Floats) -> bool:
    """Whether two points are one for practical purposes (hazards at or near zero are alike)."""
    close = np.abs(left - right) < 1e-3
    return bool((close | ((left <= ZERO) & (right <= ZERO))).all())


def _grid_maxima(
    panel: Panel, at: Hazards, mixing: Mixing, offset: Floats, axes: list[Floats]
) -> list[Floats]:
    """Grid points no neighbour exceeds: on the whole grid of one or two channels, else on planes.

    With more than two channels, every pair of channels spans a plane through each mass point.
    """
    c = panel.channels
    if c == 1:
        values = _table(panel, at, offset, axes, (0,), mixing.mu[:, 0])
        return [np.array([axes[0][i]]) for i in _peaks(values[:, None])[0]]
    starts: list[Floats] = []
    scores: list[float] = []
    for pair in combinations(range(c), 2):
        others = [b for b in range(c) if b not in pair]
        through = mixing.mu.T if others else mixing.mu.T[:1]
        for point in through:
            values = _table(panel, at, offset, axes, pair, point)
            for i, k in zip(*_peaks(values)):
                mu = point.copy()
                mu[pair[0]], mu[pair[1]] = axes[pair[0]][i], axes[pair[1]][k]
                starts.append(mu)
                scores.append(float(values[i, k]))
    order = np.argsort(scores)[::-1][:200]
    return [starts[i] for i in order]


def _table(
    panel: Panel,
    at: Hazards,
    offset: Floats,
    axes: list[Floats],
    pair: tuple[int, ...],
    point: Floats,
) -> Floats:
    """[g, g'] the derivative (plus total weight) on a plane through ``point``: one matrix product.

    Single precision: values only choose where to start climbing.
    """
    if panel.ends is not None:
        return _interval_table(panel, at, offset, axes, pair, point)
    others = [c for c in range(panel.channels) if c not in pair]
    tables: Floats = np.zeros([axes[c].size for c in pair])
    for lo in range(0, panel.units, CHUNK):
        hi = min(lo + CHUNK, panel.units)
        log_ratio = offset[lo:hi].copy()
        if others:
            log_ratio += panel.events[lo:hi, others] @ point[others]
            log_ratio -= at.a[lo:hi, others] @ np.exp(point[others])
        parts = []
        for c in pair:
            n, a, grid = panel.events[lo:hi, c], at.a[lo:hi, c], axes[c]
            with np.errstate(divide="ignore", invalid="ignore"):
                peak = np.where(n > 0, n * (np.log(n / a) - 1), 0.0)
            log_ratio += np.where(np.isfinite(peak), peak, 0.0)
            rows = np.stack([n, -a, -np.where(np.isfinite(peak), peak, 0.0)], axis=1)
            columns = np.stack([grid, np.exp(grid), np.ones(grid.size)])
            parts.append(np.exp((rows @ columns).astype(np.float32)))
        ratio = (panel.weight[lo:hi] * np.exp(np.minimum(log_ratio, 80.0))).astype(np.float32)
        if len(parts) == 1:
            tables += parts[0].T @ ratio
        else:
            tables += (parts[0] * ratio[:, None]).T @ parts[1]
    return tables


def _interval_table(
    panel: Panel,
    at: Hazards,
    offset: Floats,
    axes: list[Floats],
    pair: tuple[int, ...],
    point: Floats,
) -> Floats:
    """The same with interval timing, where nothing factors: every grid point for itself."""
    shape = [axes[c].size for c in pair]
    mesh = np.meshgrid(*(axes[c] for c in pair), indexing="ij")
    mu = np.repeat(point[:, None], mesh[0].size, axis=1)
    for c, values in zip(pair, mesh):
        mu[c] = values.ravel()
    v = np.exp(mu)
    out = np.zeros(mu.shape[1])
    block = max(16, 500_000 // mu.shape[1])
    for lo in range(0, panel.units, block):
        hi = min(lo + block, panel.units)
        logs = panel.events[lo:hi] @ mu - at.a[lo:hi] @ v
        off = with_ends(panel, at, v, lo, hi, logs)
        ratio = np.exp(np.minimum(offset[lo:hi] + off, 80.0)) * panel.weight[lo:hi]
        out += ratio @ np.exp(logs)
    return out.reshape(shape)


def _peaks(values: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions in a table that no neighbour (of eight) exceeds."""
    rows, columns = values.shape
    padded = np.full((rows + 2, columns + 2), -np.inf)
    padded[1:-1, 1:-1] = values
    peak = np.ones(values.shape, dtype=bool)
    for i in (-1, 0, 1):
        for k in (-1, 0, 1):
            if i or k:
                peak &= values >= padded[1 + i : 1 + i + rows, 1 + k : 1 + k + columns]
    row, column = np.nonzero(peak)
    return row.astype(np.int64), column.astype(np.int64)
