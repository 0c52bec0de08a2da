"""Simultaneous bands where rows rest on few clusters, and not on the same number of them.

A row's t statistic has an error of its own below the line. Errors of two rows are known from the same
clusters but from other numbers: with normal numbers of correlation r, two sums of squares correlate as
r^2. Draws with one common error for all rows make large t's come together, and bands too narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from tiltakeval.estimates.inference import correlation, sums_by_stratum

Floats = NDArray[np.floating]

#: Normal quantiles at which quantiles of chi-square are tabulated; between them they are smooth.
_GRID = np.linspace(-6.0, 6.0, 121)


def balanced_critical_values(
    z: Floats,
    strata: NDArray[np.int64],
    *,
    df: Floats,
    level: float,
    draws: int = 999,
    seed: int = 0,
) -> Floats:
    """[k] critical values of a simultaneous band over columns of ``z`` [G, k] that are known unequally
    well: every row gets the quantile of its own t distribution (``df`` [k]) at one common level, so that
    a row resting on few clusters doesn't widen the others (Beran 1988, Journal of the American
    Statistical Association 83:679-686).

    ``strata`` [G] are clusters that are alike, from which the correlations' own uncertainty follows.
    """
    pointwise = stats.t.ppf(0.5 + level / 2, df)
    parts, less_one = sums_by_stratum(z, strata)
    total = parts.sum(axis=0)
    used = total > 1e-24 * max(float(total.max(initial=0.0)), 1e-300)
    if used.sum() <= 1:
        return np.asarray(pointwise)
    behind = total[used] ** 2 / (parts[:, used] ** 2 / less_one[:, None]).sum(axis=0)
    rho = less_correlated(correlation(z[:, used]), behind)
    common = joint_level(rho, df[used], level=level, draws=draws, seed=seed)
    return np.maximum(pointwise, stats.t.isf(common / 2, df))


def less_correlated(matrix: Floats, behind: Floats) -> Floats:
    """The correlation ``matrix`` [k, k], estimated from ``behind`` [k] degrees of freedom, without what
    noise adds to it: E r^2 is about rho^2 + (1 - rho^2)^2 / df (Fisher 1915), so that with few clusters
    rows look more alike than they are. Positive semidefinite."""
    square = np.asarray(matrix, dtype=np.float64) ** 2
    noise = (1 - square) ** 2 / np.sqrt(np.outer(behind, behind))
    out = np.sign(matrix) * np.sqrt(np.clip(square - noise, 0.0, None))
    np.fill_diagonal(out, 1.0)
    values, vectors = np.linalg.eigh(out)
    if values[0] < 0:
        out = (vectors * np.clip(values, 0.0, None)) @ vectors.T
        d = np.sqrt(np.diag(out))
        out = out / np.outer(d, d)
    return np.asarray(out)


def joint_level(
    matrix: Floats, df: Floats, *, level: float, draws: int = 999, seed: int = 0
) -> float:
    """The level of each row's test (two-sided p) at which all rows of correlation ``matrix`` [k, k] pass
    together with probability ``level``, row j being t with ``df`` [k] degrees of freedom.

    Normal draws are divided by errors drawn with them: chi-squares whose normal scores correlate as the
    squares of ``matrix``, so that every row's t has exactly its own distribution.
    """
    root, other = _root(matrix), _root(matrix**2)
    rng = np.random.default_rng(seed)
    above = rng.standard_normal((draws, root.shape[1])) @ root.T
    below = rng.standard_normal((draws, root.shape[1])) @ other.T
    smallest = np.ones(draws)
    share = special.ndtr(_GRID)
    for j, nu in enumerate(df):
        # quantiles on a log scale, on which they are nearly straight in both tails
        table = np.log(2 * special.gammaincinv(nu / 2, share) / nu)
        t = np.abs(above[:, j]) * np.exp(-np.interp(below[:, j], _GRID, table) / 2)
        np.minimum(smallest, 2 * special.stdtr(nu, -t), out=smallest)
    return float(np.quantile(smallest, 1 - level))


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.clip(values, 0.0, None)))
