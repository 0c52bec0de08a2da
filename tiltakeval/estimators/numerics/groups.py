"""Clusters dealt into groups, and groups into folds: what cross-fitting and errors share.

Up to ``MAX_GROUPS`` clusters are groups of their own; more are dealt at random, in equal numbers,
into that many. Groups are dealt into folds, so that no cluster is ever split over folds, and the
groups stay the same whatever the fold seed. All draws come from a mix of (seed, cluster number), so
the order of units doesn't matter.

``cross_groups`` deals units by two crossing clusterings (``inference.Form``): beside a row of sums for
each office there are rows for the persons met in several offices, and for each such person's part in
each office. Those persons are dealt into groups too; the parts of a group are kept apart by their
rank (first office, second office, ...), so that what is subtracted is part of what is added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import MAX_GROUPS, Form

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]
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
    """``group`` [n] in 0..count-1; ``cluster`` [n] dense; ``frame`` fingerprints the dealing.

    With two crossing clusterings these are those of the fewer clusters. Units of one ``label`` [n]
    add to the same rows of sums, ``into[label]`` (one row, or three for a person met in several);
    ``size`` is the number of rows and ``form`` says how they make a covariance.
    """

    group: NDArray[np.int32]
    cluster: NDArray[np.int64]
    count: int
    n_clusters: int
    frame: str
    size: int
    label: NDArray[np.int32]
    into: tuple[NDArray[np.int64], ...] | None = None
    form: Form | None = None

    @property
    def labels(self) -> int:
        """Number of labels."""
        return self.size if self.into is None else len(self.into)

    def gather(self, sums: Floats) -> Floats:
        """[size, k] rows of sums from ``sums`` [labels, k] of the units of each label."""
        if self.into is None:
            return sums
        row = np.concatenate(self.into)
        label = np.repeat(np.arange(self.labels), [rows.size for rows in self.into])
        adding = sparse.csr_matrix((np.ones(row.size), (row, label)), (self.size, self.labels))
        return np.asarray(adding @ sums)

    def add_up(self, values: Floats, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """[size, k] sums of ``values`` [m, k] of the given units over the rows they add to."""
        label = self.label[units]
        adding = sparse.csr_matrix(
            (np.ones(label.size), (label, np.arange(label.size))), (self.labels, label.size)
        )
        return np.asarray(self.gather(adding @ values))


def deal_groups(cluster: Ints, *, kind: str, max_groups: int = MAX_GROUPS) -> Groups:
    """Deal the units' clusters [n] into groups. Raises InputError with fewer than two clusters."""
    names, dense = np.unique(cluster, return_inverse=True)
    if names.size < 2:
        raise InputError(
            f"only {names.size} cluster ({kind}), so no error can be computed",
            remedy="Cluster by person, or use data with more of them.",
        )
    dense = dense.astype(np.int64).reshape(-1)
    of_cluster = _dealt(names, max_groups)
    digest = hashlib.sha256(kind.encode())
    digest.update(np.ascontiguousarray(names, dtype=np.int64).tobytes())
    digest.update(of_cluster.tobytes())
    count = int(of_cluster.max()) + 1
    return Groups(
        group=of_cluster[dense],
        cluster=dense,
        count=count,
        n_clusters=int(names.size),
        frame=digest.hexdigest()[:16],
        size=count,
        label=of_cluster[dense],
    )


def _dealt(names: Ints, count: int) -> NDArray[np.int32]:
    """Group of each name: its own while there are at most ``count``, else dealt at random."""
    if names.size <= count:
        return np.arange(names.size, dtype=np.int32)
    order = np.lexsort((names, mix(_GROUP_SEED, names)))
    of_name = np.empty(names.size, dtype=np.int32)
    of_name[order] = (np.arange(names.size) * count) // names.size
    return of_name


def cross_groups(
    person: Ints, office: Ints, *, kinds: tuple[str, str], max_groups: int = MAX_GROUPS
) -> Groups:
    """Deal units [n] by two crossing clusterings; see the module's text and ``inference.Form``.

    The clustering with fewer clusters has a row a cluster (dealt beyond ``max_groups``). Members of
    the other that are met in one of them only add nothing to the difference of the two other terms,
    and have no row. The rows added for the rest are about 2 ``max_groups``, or 100 groups' if more.
    """
    if np.unique(person).size < np.unique(office).size:
        person, office, kinds = office, person, (kinds[1], kinds[0])
    main = deal_groups(office, kind=kinds[1], max_groups=max_groups)
    other = deal_groups(person, kind=kinds[0], max_groups=person.size)
    pairs, of_unit = np.unique(
        other.cluster * main.count + main.group, return_inverse=True
    )  # sorted by person, then office
    who = pairs // main.count
    first = np.searchsorted(who, who, side="left")
    offices = np.bincount(who)[who]
    crossing = np.flatnonzero(offices > 1)
    names, mover = np.unique(who[crossing], return_inverse=True)
    rank = (np.arange(pairs.size) - first)[crossing]
    ranks = int(rank.max(initial=0)) + 1
    dealt = _dealt(names, max(100, 2 * max_groups // (1 + ranks)))[mover]
    parts, part = np.unique(dealt.astype(np.int64) * ranks + rank, return_inverse=True)
    movers = int(dealt.max(initial=-1)) + 1
    # a label for every office, and one for every pair of a person met in several
    label = (pairs % main.count).astype(np.int64)
    label[crossing] = main.count + np.arange(crossing.size)
    into = [np.array([g], dtype=np.int64) for g in range(main.count)]
    rows = np.stack([pairs[crossing] % main.count, main.count + dealt, main.count + movers + part])
    into += list(rows.T.astype(np.int64))
    digest = hashlib.sha256(f"{main.frame} {other.frame}".encode())
    digest.update(np.ascontiguousarray(pairs, dtype=np.int64).tobytes())
    return Groups(
        group=main.group,
        cluster=main.cluster,
        count=main.count,
        n_clusters=main.n_clusters,
        frame=digest.hexdigest()[:16],
        size=main.count + movers + parts.size,
        label=label[of_unit.reshape(-1)].astype(np.int32),
        into=tuple(into),
        form=Form(main=main.count, minus=int(parts.size)),
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
