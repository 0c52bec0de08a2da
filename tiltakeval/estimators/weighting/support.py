"""How many units, effective units and clusters carry each estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Support:
    """Counts [L, C] per subgroup level and outcome column."""

    treated: NDArray[np.int64]
    comparison: NDArray[np.int64]
    effective: NDArray[np.float64]
    clusters: NDArray[np.int64]


def level_matrix(design: CrossSection) -> tuple[list[str], NDArray[np.float64]]:
    """Labels and membership [n, L] of "all" and of every level of every subgroup."""
    labels, columns = ["all"], [np.ones(design.n)]
    for name, group in design.subgroups.items():
        for level in range(len(group.levels)):
            labels.append(group.label(name, level))
            columns.append((group.codes == level).astype(np.float64))
    return labels, np.stack(columns, axis=1)


def count_support(
    *,
    arm: NDArray,
    pair: tuple[int, int],
    open_to: NDArray[np.bool_],
    weight: Floats,
    cluster: NDArray,
    levels: Floats,
    observed: NDArray[np.bool_] | None,
    pattern: NDArray,
    horizon: NDArray,
    censor: Floats | None,
) -> Support:
    """Support of a pair (a, b): ``weight`` [n] the weights of units of b; others as in the scores."""
    a, b = pair
    rows = np.flatnonzero(open_to & ((arm == a) | (arm == b)))
    rows = rows[np.argsort(cluster[rows], kind="stable")]
    treated = arm[rows] == a
    if censor is None:
        kinds, which = np.unique(pattern, return_inverse=True)
        at = kinds, np.zeros_like(kinds)
    else:
        code = pattern * (horizon.max() + 1) + horizon
        kinds, first, which = np.unique(code, return_index=True, return_inverse=True)
        at = pattern[first], horizon[first]
    which = which.reshape(-1)
    seen = np.ones((rows.size, kinds.size), dtype=bool)
    if observed is not None:
        seen = observed[rows][:, at[0]]
    v = np.repeat(weight[rows][:, None], kinds.size, axis=1)
    if censor is not None:
        c = censor[rows][:, at[1]]
        seen = seen & (treated[:, None] | (c > 0))
        v = v * c
    member = levels[rows]
    v = np.where(seen & ~treated[:, None], v, 0.0)
    total, square = member.T @ v, member.T @ v**2
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(square > 0, total**2 / square, 0.0)
    n_treated = member[treated].T @ seen[treated].astype(np.float64)
    n_other = member[~treated].T @ seen[~treated].astype(np.float64)
    n_clusters = np.zeros((levels.shape[1], kinds.size), dtype=np.int64)
    if rows.size:
        starts = np.flatnonzero(np.r_[True, np.diff(cluster[rows]) != 0])
        for level in range(levels.shape[1]):
            inside = seen & (member[:, level] > 0)[:, None]
            n_clusters[level] = np.logical_or.reduceat(inside, starts, axis=0).sum(axis=0)
    return Support(
        treated=np.rint(n_treated).astype(np.int64)[:, which],
        comparison=np.rint(n_other).astype(np.int64)[:, which],
        effective=effective[:, which],
        clusters=n_clusters[:, which],
    )
