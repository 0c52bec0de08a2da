"""What a forest is fitted to: checked arrays, whole clusters side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiltakeval.errors import InputError, counted
from tiltakeval.estimators.heterogeneity.forest.binning import Bins, make_bins

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Units:
    """n units in the order of their clusters, those without weight last; ``order`` [n] their position
    in the data, ``used`` how many have weight. ``first`` [C + 1] where each cluster's used rows begin;
    ``cluster`` [n] its number. ``coded`` [n, p] bytes."""

    coded: NDArray[np.uint8]
    bins: Bins
    arm: NDArray[np.uint8]
    y: NDArray[np.float64]
    weight: NDArray[np.float64]
    cluster: NDArray[np.int64]
    first: NDArray[np.int64]
    order: NDArray[np.int64]
    used: int
    arms: int
    missing: int

    @property
    def n(self) -> int:
        return len(self.y)

    def back(self, values: NDArray) -> NDArray:
        """Rows in the order of the data."""
        out = np.empty_like(values)
        out[self.order] = values
        return out


def numbers(values: ArrayLike, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Finite numbers of a shape. Raises InputError."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            "not numbers", where=name, remedy="Code categories as 0/1 columns or as numbers."
        ) from None
    if found.shape != shape:
        raise InputError(f"shape {found.shape} where {shape} is needed", where=name)
    bad = int((~np.isfinite(found)).sum())
    if bad:
        raise InputError(
            f"{counted(bad, 'value')} missing or not finite",
            where=name,
            remedy="Leave out the units whose outcome isn't observed; covariates may be missing.",
        )
    return found


def check_arm(arm: ArrayLike, n: int, *, least: int, weight: Floats) -> tuple[NDArray, int]:
    """Arms [n] as 0..A-1 and A; every arm has ``least`` units with weight."""
    values = np.asarray(arm)
    if values.shape != (n,):
        raise InputError(f"shape {values.shape} where {(n,)} is needed", where="arm")
    if values.dtype.kind not in "iub":
        whole = values.dtype.kind == "f" and bool(np.all(values == np.floor(values)))
        if not whole:
            raise InputError("arms must be whole numbers from 0", where="arm")
    if n and values.min() < 0:
        raise InputError("arms must be numbered from 0", where="arm")
    values = values.astype(np.int64)
    arms = int(values.max(initial=0)) + 1
    if not 2 <= arms <= 64:
        raise InputError(f"{counted(arms, 'arm')}; between 2 and 64 are possible", where="arm")
    found = np.bincount(values[weight > 0], minlength=arms)
    short = np.flatnonzero(found < least)
    if short.size:
        raise InputError(
            "; ".join(f"arm {a} has {counted(int(found[a]), 'unit')}" for a in short),
            where="arm",
            remedy=f"A forest needs {least} of every arm: pool programmes, or leave the arm out.",
        )
    return values.astype(np.uint8), arms


def check_weight(weight: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Weights [n], 1 by default, none negative and some positive."""
    if weight is None:
        return np.ones(n)
    found = numbers(weight, "weight", (n,))
    negative = int((found < 0).sum())
    if negative:
        raise InputError(f"{counted(negative, 'unit')} with a negative weight", where="weight")
    if not found.any():
        raise InputError("no unit has a positive weight", where="weight")
    return found


def make_units(
    x: ArrayLike,
    arm: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None,
    cluster: ArrayLike | None,
    *,
    names: Sequence[str] | None,
    bins: int,
    least: int,
) -> Units:
    """Check and order the data. Raises InputError."""
    try:
        values = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            "covariates that aren't numbers",
            where="x",
            remedy="Code categories as 0/1 columns or as numbers.",
        ) from None
    if values.ndim != 2 or not values.shape[1]:
        raise InputError("covariates must be a table with at least one column", where="x")
    n, p = values.shape
    labels = tuple(names) if names is not None else tuple(f"x{j}" for j in range(p))
    if len(labels) != p:
        raise InputError(f"{counted(len(labels), 'name')} for {p} columns", where="names")
    outcome = numbers(y, "y", (n,))
    w = check_weight(weight, n)
    arms, number = check_arm(arm, n, least=least, weight=w)
    if float(np.ptp(outcome[w > 0])) == 0.0:
        raise InputError(
            "the outcome is the same for all units, so there is no effect to look for",
            where="y",
            remedy="Choose an outcome that varies.",
        )
    dense = np.arange(n) if cluster is None else _clusters(cluster, n)
    alive = w > 0
    # clusters with used rows first, numbered as they come
    found, renumbered = np.unique(dense[alive], return_inverse=True)
    if found.size < 20:
        raise InputError(
            f"{counted(found.size, 'cluster')} with weight; half of them must make a tree",
            where="cluster",
            remedy="At least 20 are needed: cluster by person.",
        )
    of = np.full(int(dense.max()) + 1, found.size)
    of[found] = np.arange(found.size)
    known = of[dense]
    order = np.lexsort((known, ~alive)) if cluster is not None or not alive.all() else np.arange(n)
    used = int(alive.sum())
    binned = make_bins(values[alive], bins=bins, names=labels)
    return Units(
        coded=binned.encode(values)[order],
        bins=binned,
        arm=arms[order],
        y=outcome[order],
        weight=w[order],
        cluster=known[order],
        first=np.concatenate([[0], np.cumsum(np.bincount(renumbered))]).astype(np.int64),
        order=order,
        used=used,
        arms=number,
        missing=int(np.isnan(values).sum()),
    )


def _clusters(cluster: ArrayLike, n: int) -> NDArray[np.int64]:
    values = np.asarray(cluster)
    if values.shape != (n,):
        raise InputError(f"shape {values.shape} where {(n,)} is needed", where="cluster")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(
            f"{counted(int((~np.isfinite(values)).sum()), 'unit')} without a cluster",
            where="cluster",
        )
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def check_nuisances(
    m: ArrayLike, e: ArrayLike, n: int, arms: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """m [n], e [n, A] strictly positive and adding up to one."""
    mean, odds = numbers(m, "m", (n,)), numbers(e, "e", (n, arms))
    low = int((odds <= 0).any(axis=1).sum())
    if low:
        raise InputError(
            f"{counted(low, 'unit')} with a propensity of zero or less",
            where="e",
            remedy="Keep to units that could have entered every arm, or clip propensities.",
        )
    off = int((np.abs(odds.sum(axis=1) - 1) > 1e-3).sum())
    if off:
        raise InputError(
            f"{counted(off, 'unit')} whose propensities don't add up to one",
            where="e",
            remedy="Give the propensities of all arms, the comparison first.",
        )
    return mean, odds
