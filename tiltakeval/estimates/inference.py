"""From influence to standard errors, intervals, p values and joint bands: written once.

An estimate's influence is kept as sums over clusters, already divided by its target count, so that
with G clusters ``Cov(a, b) = z_a' z_b * G / (G - 1)``. With more than ``MAX_GROUPS`` clusters they
are dealt at random into that many groups (no cluster is split), which bounds memory whatever the
number of persons; the relative error this adds to a standard error is about sqrt(1 / 2G).

Errors clustered two ways (persons and offices) are a sum of such terms with signs: see ``Form``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MAX_GROUPS = 2_000
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Form:
    """How R rows of summed influence become a covariance when clusters cross (persons, offices).

    Cameron, Gelbach & Miller (2011, Journal of Business & Economic Statistics 29:238-249), eq. 2.11:
    V = V_office + V_person - V_(person x office), each term a sum of squares of cluster sums. The
    first ``main`` rows are the sums of the clusters that are fewest (G = ``main``), the last
    ``minus`` rows are subtracted, those between are added; all get the factor G / (G - 1). Persons
    met in one office only cancel between the second and third term and have no rows.
    """

    main: int
    minus: int


@dataclass(frozen=True)
class Influence:
    """Summed influence in blocks (one per family of rows, usually programme x outcome).

    ``values[block]`` is [G, k] ([R, k] with a ``form``); ``rows[block]`` gives the k positions in the
    result table. ``frame`` fingerprints how clusters were dealt: influences with unequal frames come
    from other units, or another grouping, and must not be combined. ``n_clusters`` counts clusters
    before grouping. ``strata`` [G] may say which clusters are alike (start together): the variance of a
    few alike is known no better than that of so many numbers, see ``satterthwaite``.
    """

    frame: str
    kind: str
    n_clusters: int
    values: Mapping[str, Floats]
    rows: Mapping[str, NDArray[np.int64]]
    form: Form | None = None
    strata: NDArray[np.int64] | None = None

    @property
    def size(self) -> int:
        """Number of rows of sums, G or R."""
        return next(iter(self.values.values())).shape[0]

    @property
    def groups(self) -> int:
        """Number of groups G the clusters were dealt into (with a ``form``: the fewer clusters)."""
        return self.size if self.form is None else self.form.main

    def columns(self, positions: Sequence[int] | NDArray[np.int64]) -> Floats:
        """Influence [G or R, len(positions)] of table rows. Raises KeyError for a row without."""
        wanted = np.asarray(positions, dtype=np.int64)
        names, block_of, column_of = self._index
        inside = wanted < block_of.size
        block = np.where(inside, block_of[np.where(inside, wanted, 0)], -1)
        if (block < 0).any():
            raise KeyError(f"{int((block < 0).sum())} row(s) have no influence")
        out = np.empty((self.size, wanted.size))
        for number in np.unique(block):
            hit = np.flatnonzero(block == number)
            out[:, hit] = self.values[names[number]][:, column_of[wanted[hit]]]
        return out

    @cached_property
    def _index(self) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
        """Block names, and for every table row its block (-1 for none) and column in it."""
        names = tuple(self.rows)
        size = 1 + max((int(rows.max(initial=0)) for rows in self.rows.values()), default=0)
        block_of = np.full(size, -1, dtype=np.int64)
        column_of = np.zeros(size, dtype=np.int64)
        for number, rows in enumerate(self.rows.values()):
            block_of[rows] = number
            column_of[rows] = np.arange(rows.size)
        return names, block_of, column_of

    def covered(self, n_rows: int) -> NDArray[np.bool_]:
        """Which of the table's rows have influence."""
        mask = np.zeros(n_rows, dtype=bool)
        for rows in self.rows.values():
            mask[rows] = True
        return mask


def correction(groups: int) -> float:
    """G / (G - 1): the small-sample factor of the group-sum variance."""
    return groups / (groups - 1)


def covariance(z: Floats, form: Form | None = None) -> Floats:
    """[k, k] covariance of estimates whose influence sums are the columns of ``z`` [G, k].

    A ``form`` needn't give a positive semidefinite matrix: then its correlation's negative
    eigenvalues are set to zero (Cameron, Gelbach & Miller 2011, section 2.3), and the variances are
    those of ``standard_errors``.
    """
    z = np.asarray(z, dtype=np.float64)
    if form is None:
        return z.T @ z * correction(z.shape[0])
    se = standard_errors(z, form)
    return correlation(z, form) * np.outer(se, se)


def standard_errors(z: Floats, form: Form | None = None) -> Floats:
    """[k] standard errors of the columns of ``z`` [G, k].

    Where a ``form``'s signed sum isn't positive, the error is that of its main clusters alone.
    """
    if form is None:
        return np.sqrt(_squares(z) * correction(z.shape[0]))
    stop = z.shape[0] - form.minus
    first = _squares(z[: form.main])
    found = first + _squares(z[form.main : stop]) - _squares(z[stop:])
    # what is left of equal sums of squares is rounding, not variance
    found = np.where(found > 1e-9 * first, found, first)
    return np.sqrt(found * correction(form.main))


def correlation(z: Floats, form: Form | None = None) -> Floats:
    """[k, k] correlation of the columns of ``z`` [G, k], positive semidefinite; no column may be 0."""
    if form is None:
        scaled = z / np.sqrt(_squares(z))
        return scaled.T @ scaled
    se = standard_errors(z, form)
    scaled = z * (np.sqrt(correction(form.main)) / np.where(se > 0, se, 1.0))
    stop = z.shape[0] - form.minus
    matrix = scaled[:stop].T @ scaled[:stop] - scaled[stop:].T @ scaled[stop:]
    values, vectors = np.linalg.eigh(matrix)
    if values.size and values[0] < 0:
        matrix = (vectors * np.clip(values, 0.0, None)) @ vectors.T
    diagonal = np.sqrt(np.clip(np.diag(matrix), 1e-300, None))
    return matrix / np.outer(diagonal, diagonal)


def _squares(z: Floats) -> Floats:
    return np.einsum("gk,gk->k", z, z, dtype=np.float64)


def degrees_of_freedom(groups: int, *supports: Floats) -> Floats:
    """Of the reference t distribution: G - 1, or one less than the smallest arm where that is fewer.

    ``supports`` are units per arm behind each estimate (NaN where not counted). An error that rests
    on 40 participants is known no better than a variance of 40 numbers, however many the groups.
    """
    least = np.fmin.reduce(np.broadcast_arrays(float(groups), *supports))
    return np.maximum(least - 1.0, 1.0)


def satterthwaite(z: Floats, strata: NDArray[np.int64]) -> Floats:
    """[k] degrees of freedom of the columns of ``z`` [G, k] when clusters differ by stratum.

    Welch (1947, Biometrika 34:28-35): with v_s a stratum's part of the variance, known from its clusters
    less one, (sum v_s)^2 / sum v_s^2 / (G_s - 1).
    """
    parts, less_one = sums_by_stratum(z, strata)
    down = (parts**2 / less_one[:, None]).sum(axis=0)
    total = parts.sum(axis=0) ** 2
    return np.where(down > 0, total / np.where(down > 0, down, 1.0), z.shape[0] - 1.0)


def sums_by_stratum(z: Floats, strata: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """[S, k] sums of squares by stratum, and clusters less one (at least 1)."""
    codes = np.unique(strata, return_inverse=True)[1].reshape(-1)
    size = np.bincount(codes)
    parts = np.zeros((size.size, z.shape[1]))
    np.add.at(parts, codes, np.asarray(z, dtype=np.float64) ** 2)
    return parts, np.maximum(size - 1.0, 1.0)


def intervals(
    estimate: Floats, std_error: Floats, *, level: float, df: Floats | float
) -> tuple[Floats, Floats, Floats]:
    """Pointwise (low, high, two-sided p) from the t distribution with ``df`` degrees of freedom."""
    half = stats.t.ppf(0.5 + level / 2, df) * std_error
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(std_error > 0, np.abs(estimate) / std_error, np.nan)
    return estimate - half, estimate + half, 2 * stats.t.sf(t, df)


def band_critical_value(
    z: Floats,
    *,
    level: float,
    draws: int = 999,
    seed: int = 0,
    df: float | None = None,
    form: Form | None = None,
) -> float:
    """Critical value of max |t| over the columns of ``z`` [G, k]: a simultaneous band.

    Gaussian draws with the correlation of ``z``, which is the Gaussian multiplier bootstrap of the
    group sums; columns without variance are left out. The draws are divided by an independent chi so
    that max |t| has the heavier tails of ``df`` degrees of freedom (default G - 1).
    """
    z = np.asarray(z, dtype=np.float64)
    norms = np.sqrt(np.einsum("gk,gk->k", z, z))
    used = norms > 1e-12 * max(float(norms.max(initial=0.0)), 1e-300)
    groups = z.shape[0] if form is None else form.main
    df = float(groups - 1) if df is None else df
    pointwise = float(stats.t.ppf(0.5 + level / 2, df))
    if used.sum() <= 1:
        return pointwise
    values, vectors = np.linalg.eigh(correlation(z[:, used], form))
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    normal, scale = _draws(draws, root.shape[1], df, seed)
    largest = np.abs(normal @ root.T).max(axis=1) / scale
    return max(pointwise, float(np.quantile(largest, level)))


@lru_cache(maxsize=64)
def _draws(draws: int, size: int, df: float, seed: int) -> tuple[Floats, Floats]:
    """Standard normals [draws, size] and sqrt(chi-square / df) [draws], the same for every family."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((draws, size))
    return normal, np.sqrt(rng.chisquare(df, size=draws) / df)
