"""How many units, effective units and clusters carry each estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection

Floats = NDArray[np.floating]
#: A column with more non-zero outcomes than this share has no zeros to speak of.
ALMOST_ALL = 0.99


@dataclass(frozen=True)
class Support:
    """Counts [L, C] per subgroup level and outcome column; ``events`` are treated units with a
    non-zero outcome, ``added`` the variance that few of them call for (``few_events``)."""

    treated: NDArray[np.int64]
    comparison: NDArray[np.int64]
    effective: NDArray[np.float64]
    clusters: NDArray[np.int64]
    events: NDArray[np.int64]
    added: NDArray[np.float64]


def few_events(events: Floats, units: Floats, mean: Floats, square: Floats) -> NDArray[np.float64]:
    """Variance missing from the sample variance of a mean with few non-zero outcomes, [L, C].

    With x of n outcomes non-zero the sample variance of the mean vanishes as x goes to 0 or n, and
    a normal interval with it. Adding two of each (Agresti & Coull 1998, The American Statistician
    52:119-126) keeps its coverage: the variance of the mean at (x + 2) / (n + 4) less that at x / n,
    where ``mean`` and ``square`` [C] are those of a non-zero outcome (1 and 1 for a share; 0 and 0
    for an outcome that isn't zero for anybody in particular, which is left alone).
    """
    n = np.maximum(units, 1.0)

    def variance(p: Floats) -> Floats:
        return p * square - (p * mean) ** 2

    gap = variance((events + 2.0) / (n + 4.0)) - variance(events / n)
    return np.asarray(np.maximum(gap, 0.0) / n, dtype=np.float64)


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
    y: Floats,
    zero: Floats,
) -> Support:
    """Support of a pair (a, b): ``weight`` [n] the weights of units of b; others as in the scores.

    ``y`` [n, C] are outcomes in which ``zero`` [C] stands for 0.
    """
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
    v: Floats = np.repeat(weight[rows][:, None], kinds.size, axis=1)
    if censor is not None:
        c = censor[rows][:, at[1]]
        seen = seen & (treated[:, None] | (c > 0))
        v = v * c
    member = levels[rows]
    v = np.where(seen & ~treated[:, None], v, 0.0)
    total, squares = member.T @ v, member.T @ v**2
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(squares > 0, total**2 / squares, 0.0)
    n_treated = member[treated].T @ seen[treated].astype(np.float64)
    n_other = member[~treated].T @ seen[~treated].astype(np.float64)
    n_clusters = _clusters(seen, member > 0, cluster[rows])
    units = np.rint(n_treated).astype(np.int64)[:, which]
    happened = (y[rows[treated]] != zero) & seen[treated][:, which]
    events = np.rint(member[treated].T @ happened.astype(np.float64)).astype(np.int64)
    mean, square = _nonzero_moments(y, zero)
    return Support(
        events=events,
        added=np.where(units > 0, few_events(events, units, mean, square), 0.0),
        treated=units,
        comparison=np.rint(n_other).astype(np.int64)[:, which],
        effective=effective[:, which],
        clusters=n_clusters[:, which],
    )


def _clusters(
    seen: NDArray[np.bool_], member: NDArray[np.bool_], cluster: NDArray
) -> NDArray[np.int64]:
    """[L, K] how many clusters have a unit of a level that is ``seen`` [m, K]; ``cluster`` [m] in order.

    Eight columns are one byte, and each level goes through its own units alone.
    """
    out = np.zeros((member.shape[1], seen.shape[1]), dtype=np.int64)
    packed = np.packbits(seen, axis=1)
    for level in range(len(out)):
        own = np.flatnonzero(member[:, level])
        if own.size:
            starts = np.flatnonzero(np.r_[True, np.diff(cluster[own]) != 0])
            any_seen = np.bitwise_or.reduceat(packed[own], starts, axis=0)
            out[level] = np.unpackbits(any_seen, axis=1, count=seen.shape[1]).sum(
                axis=0, dtype=np.int64
            )
    return out


def _nonzero_moments(y: Floats, zero: Floats, rows: int = 20_000) -> tuple[Floats, Floats]:
    """Mean and mean square [C] of the outcomes that aren't zero, over about ``rows`` units.

    Both are 0 for a column in which hardly any outcome (or every one) is zero.
    """
    part = y[:: max(1, len(y) // rows)].astype(np.float64) - zero
    other = (part != 0.0).sum(axis=0)
    mixed = (other > 0) & (other < ALMOST_ALL * len(part))
    count = np.maximum(other, 1)
    return (
        np.asarray(mixed * part.sum(axis=0) / count),
        np.asarray(mixed * (part**2).sum(axis=0) / count),
    )
