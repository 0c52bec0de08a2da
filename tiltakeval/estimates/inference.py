"""From influence to standard errors, intervals, p values and joint bands: written once.

An estimate's influence is kept as sums over clusters, already divided by its target count, so that
with G clusters ``Cov(a, b) = z_a' z_b * G / (G - 1)``. With more than ``MAX_GROUPS`` clusters they
are dealt at random into that many groups (no cluster is split), which bounds memory whatever the
number of persons; the relative error this adds to a standard error is about sqrt(1 / 2G).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MAX_GROUPS = 2_000
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Influence:
    """Summed influence in blocks (one per family of rows, usually programme x outcome).

    ``values[block]`` is [G, k]; ``rows[block]`` gives the k positions in the result table. ``frame``
    fingerprints how clusters were dealt: influences with unequal frames come from other units, or
    another grouping, and must not be combined. ``n_clusters`` counts clusters before grouping.
    """

    frame: str
    kind: str
    n_clusters: int
    values: Mapping[str, Floats]
    rows: Mapping[str, NDArray[np.int64]]

    @property
    def groups(self) -> int:
        """Number of groups G the clusters were dealt into."""
        return next(iter(self.values.values())).shape[0]

    def columns(self, positions: Sequence[int] | NDArray[np.int64]) -> Floats:
        """Influence [G, len(positions)] of the given table rows. Raises KeyError for a row without."""
        wanted = np.asarray(positions, dtype=np.int64)
        out = np.empty((self.groups, wanted.size))
        filled = np.zeros(wanted.size, dtype=bool)
        for block, rows in self.rows.items():
            order = np.argsort(rows, kind="stable")
            found = np.searchsorted(rows[order], wanted)
            found = np.minimum(found, rows.size - 1)
            hit = rows[order][found] == wanted
            if hit.any():
                out[:, hit] = self.values[block][:, order[found[hit]]]
                filled |= hit
        if not filled.all():
            raise KeyError(f"{int((~filled).sum())} row(s) have no influence")
        return out

    def covered(self, n_rows: int) -> NDArray[np.bool_]:
        """Which of the table's rows have influence."""
        mask = np.zeros(n_rows, dtype=bool)
        for rows in self.rows.values():
            mask[rows] = True
        return mask


def correction(groups: int) -> float:
    """G / (G - 1): the small-sample factor of the group-sum variance."""
    return groups / (groups - 1)


def covariance(z: Floats) -> Floats:
    """[k, k] covariance of estimates whose influence sums are the columns of ``z`` [G, k]."""
    z = np.asarray(z, dtype=np.float64)
    return z.T @ z * correction(z.shape[0])


def standard_errors(z: Floats) -> Floats:
    """[k] standard errors of the columns of ``z`` [G, k]."""
    return np.sqrt(np.einsum("gk,gk->k", z, z, dtype=np.float64) * correction(z.shape[0]))


def degrees_of_freedom(groups: int) -> float:
    """G - 1, the reference t distribution's degrees of freedom."""
    return float(groups - 1)


def intervals(
    estimate: Floats, std_error: Floats, *, level: float, groups: int
) -> tuple[Floats, Floats, Floats]:
    """Pointwise (low, high, two-sided p) from the t distribution with G - 1 degrees of freedom."""
    df = degrees_of_freedom(groups)
    half = stats.t.ppf(0.5 + level / 2, df) * std_error
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(std_error > 0, np.abs(estimate) / std_error, np.nan)
    return estimate - half, estimate + half, 2 * stats.t.sf(t, df)


def band_critical_value(z: Floats, *, level: float, draws: int = 999, seed: int = 0) -> float:
    """Critical value of max |t| over the columns of ``z`` [G, k]: a simultaneous band.

    Gaussian draws with the correlation of ``z``, which is the Gaussian multiplier bootstrap of the
    group sums; columns without variance are left out. With few groups the draws are divided by an
    independent chi so that max |t| has the heavier tails of G - 1 degrees of freedom.
    """
    z = np.asarray(z, dtype=np.float64)
    norms = np.sqrt(np.einsum("gk,gk->k", z, z))
    used = norms > 1e-12 * max(float(norms.max(initial=0.0)), 1e-300)
    groups = z.shape[0]
    pointwise = float(stats.t.ppf(0.5 + level / 2, degrees_of_freedom(groups)))
    if used.sum() <= 1:
        return pointwise
    correlation = (z[:, used] / norms[used]).T @ (z[:, used] / norms[used])
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((draws, root.shape[1])) @ root.T
    scale = np.sqrt(rng.chisquare(groups - 1, size=draws) / (groups - 1))
    largest = np.abs(normal).max(axis=1) / scale
    return max(pointwise, float(np.quantile(largest, level)))
