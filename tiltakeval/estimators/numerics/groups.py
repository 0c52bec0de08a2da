"""Clusters dealt into groups, and groups into folds: what cross-fitting and errors share.

Up to ``MAX_GROUPS`` clusters are groups of their own; more are dealt at random, in equal numbers,
into that many. Groups are dealt into folds, so that no cluster is ever split over folds, and the
groups stay the same whatever the fold seed. All draws come from a mix of (seed, cluster number), so
the order of units doesn't matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import MAX_GROUPS

Ints = NDArray[np.integer]
_GROUP_SEED = 0x5EED


def mix(seed: int, numbers: Ints) -> NDArray[np.uint64]:
    """A 64-bit hash of (seed, number) for every number: SplitMix64 (Steele, Lea & Flood 2014)."""
    with np.errstate(over="ignore"):
        x = numbers.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
        for _ in range(2):
            x = x + np.uint64(0x9E3779B97F4A7C15)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
    return x


@dataclass(frozen=True)
class Groups:
    """``group`` [n] in 0..count-1; ``cluster`` [n] dense; ``frame`` fingerprints the dealing."""

    group: NDArray[np.int32]
    cluster: NDArray[np.int64]
    count: int
    n_clusters: int
    frame: str


def deal_groups(cluster: Ints, *, kind: str, max_groups: int = MAX_GROUPS) -> Groups:
    """Deal the units' clusters [n] into groups. Raises InputError with fewer than two clusters."""
    names, dense = np.unique(cluster, return_inverse=True)
    if names.size < 2:
        raise InputError(
            f"only {names.size} cluster ({kind}), so no error can be computed",
            remedy="Cluster by person, or use data with more of them.",
        )
    dense = dense.astype(np.int64).reshape(-1)
    if names.size <= max_groups:
        of_cluster = np.arange(names.size, dtype=np.int32)
    else:
        order = np.lexsort((names, mix(_GROUP_SEED, names)))
        of_cluster = np.empty(names.size, dtype=np.int32)
        of_cluster[order] = (np.arange(names.size) * max_groups) // names.size
    digest = hashlib.sha256(kind.encode())
    digest.update(np.ascontiguousarray(names, dtype=np.int64).tobytes())
    digest.update(of_cluster.tobytes())
    return Groups(
        group=of_cluster[dense],
        cluster=dense,
        count=int(of_cluster.max()) + 1,
        n_clusters=int(names.size),
        frame=digest.hexdigest()[:16],
    )


def deal_folds(
    groups: Groups,
    *,
    arm: Ints,
    arms: Sequence[str],
    weight: NDArray[np.floating],
    folds: int,
    seed: int,
) -> NDArray[np.int16]:
    """[n] fold of every unit: groups dealt in turn, sorted by the arm they hold most of.

    "Most" is relative to the arm's share of all units, so that every fold gets its part of a small
    arm. Raises InputError when there are fewer groups than folds.
    """
    if groups.count < folds:
        raise InputError(
            f"{groups.count} clusters can't be dealt into {folds} folds",
            where="folds",
            remedy="Ask for fewer folds.",
        )
    held = np.zeros((groups.count, len(arms)))
    np.add.at(held, (groups.group, arm), weight)
    total = held.sum(axis=0)
    held = held / np.where(total > 0, total, 1.0)
    by_name = np.argsort(np.asarray(arms, dtype=object).astype(str), kind="stable")
    most = held[:, by_name].argmax(axis=1)
    numbers = np.arange(groups.count, dtype=np.int64)
    order = np.lexsort((mix(seed + 1, numbers), most))
    of_group = np.empty(groups.count, dtype=np.int16)
    of_group[order] = np.arange(groups.count) % folds
    return of_group[groups.group]
