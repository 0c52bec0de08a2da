"""Densities of units under a mixture, and the posterior of its points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.hazards import Hazards
from tiltakeval.estimators.duration.mixture.interval import end_logs
from tiltakeval.estimators.duration.mixture.kernels import component_logs, normalise
from tiltakeval.estimators.duration.mixture.mixing import Mixing
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.duration.mixture.posterior_kernels import relative_densities

Floats = NDArray[np.float64]
#: Units at a time, and numbers of each: so many stay in the processor's cache.
CHUNK, CACHED = 1024, 65_536


def log_densities(
    panel: Panel, at: Hazards, mixing: Mixing, lo: int, hi: int
) -> tuple[Floats, Floats]:
    """Posterior of the points [u, J] and log density [u] of units lo:hi."""
    if panel.ends is None:
        post, logs = posteriors(panel, at, mixing, lo, hi)
        return post.T, logs
    post = np.empty((hi - lo, mixing.points))
    top, total = np.empty(hi - lo), np.empty(hi - lo)
    with np.errstate(divide="ignore"):
        log_p = np.log(mixing.p)
    component_logs(panel.events[lo:hi], at.a[lo:hi], mixing.mu, mixing.v, log_p, post, top)
    top += with_ends(panel, at, mixing.v, lo, hi, post)
    np.exp(post, out=post)
    normalise(post, total)
    return post, top + np.log(total) + at.base[lo:hi]


def posteriors(
    panel: Panel, at: Hazards, mixing: Mixing, lo: int, hi: int, space: Floats | None = None
) -> tuple[Floats, Floats]:
    """``log_densities`` with exact timing and points first: [J, u], written to ``space`` if given."""
    post, top, total = _relative(panel, at, mixing, lo, hi, space)
    post /= total
    return post, top + np.log(total) + at.base[lo:hi]


def chunk_of(numbers: int) -> int:
    """Units at a time, with so many numbers of each: a multiple of ``CHUNK``, at most eight."""
    return CHUNK * min(8, max(1, CACHED // (CHUNK * numbers)))


def block_of(space: Floats | None, rows: int, columns: int) -> Floats:
    """[rows, columns] in the first elements of ``space`` [>= rows * columns], or new."""
    if space is None:
        return np.empty((rows, columns))
    return space[: rows * columns].reshape(rows, columns)


def columns_of(values: Floats, lo: int, hi: int) -> Floats:
    """[C, u] rows lo:hi of ``values`` [U, C], each column contiguous."""
    return np.ascontiguousarray(values[lo:hi].T)


def _relative(
    panel: Panel, at: Hazards, mixing: Mixing, lo: int, hi: int, space: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """[J, u] joint densities over the unit's largest, the largest's log [u] and their sum [u]."""
    out = block_of(space, mixing.points, hi - lo)
    top, total = np.empty(hi - lo), np.empty(hi - lo)
    with np.errstate(divide="ignore"):
        log_p = np.log(mixing.p)
    n, a = columns_of(panel.events, lo, hi), columns_of(at.a, lo, hi)
    relative_densities(n, a, mixing.mu, mixing.v, log_p, out, top, total)
    return out, top, total


def with_ends(
    panel: Panel, at: Hazards, v: Floats, lo: int, hi: int, logs: Floats
) -> Floats | float:
    """Add what interval-timed rows say to ``logs`` [u, J]; gives the [u] taken off to keep max 0."""
    if panel.ends is None or at.end_rate is None:
        return 0.0
    rows = panel.ends.between(lo, hi)
    np.add.at(logs, panel.ends.unit[rows] - lo, end_logs(panel.ends, at.end_rate, v, rows))
    off: Floats = logs.max(axis=1)
    logs -= off[:, None]
    return off


def densities(panel: Panel, at: Hazards, mixing: Mixing) -> Floats:
    """[U] log density of every unit."""
    out = np.empty(panel.units)
    chunk = chunk_of(mixing.points)
    space = np.empty(chunk * mixing.points)
    for lo in range(0, panel.units, chunk):
        hi = min(lo + chunk, panel.units)
        if panel.ends is not None:
            out[lo:hi] = log_densities(panel, at, mixing, lo, hi)[1]
            continue
        _, top, total = _relative(panel, at, mixing, lo, hi, space)
        out[lo:hi] = top + np.log(total) + at.base[lo:hi]
    return out


def log_likelihood(panel: Panel, at: Hazards, mixing: Mixing) -> float:
    """Weighted sum of log densities."""
    return float(panel.weight @ densities(panel, at, mixing))
