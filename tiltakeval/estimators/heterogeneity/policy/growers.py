"""Growing trees: where the exact search says to cut, over declared cuts or every one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.policy.cell_kernels import (
    best_pair,
    best_triple_root,
    pair_sums,
)
from tiltakeval.estimators.heterogeneity.policy.cuts import Cuts
from tiltakeval.estimators.heterogeneity.policy.sweep_kernels import best_cut, side_values

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Search = Literal["auto", "exact", "hybrid"]
#: Additions of the exact search of depth 3 beyond which "auto" takes the hybrid one.
MOST_STEPS = 4e9
#: Bytes the tables of sums may take.
MOST_BYTES = 1e9


@dataclass
class Nodes:
    """Nodes as they are added; only growers see them."""

    rewards: Floats
    cut: Callable[[int, int, NDArray[np.int64]], tuple[float, NDArray[np.bool_]]]
    nodes: list[list[float]] = field(default_factory=list)

    def leaf(self, units: NDArray[np.int64]) -> int:
        total = self.rewards[units].sum(axis=0)
        self.nodes.append([-1, np.nan, -1, -1, float(total.argmax()), units.size])
        return len(self.nodes) - 1

    def split(
        self,
        units: NDArray[np.int64],
        feature: int,
        place: int,
        first: Callable[[NDArray[np.int64]], int],
        second: Callable[[NDArray[np.int64]], int],
    ) -> int:
        if feature < 0:
            return self.leaf(units)
        threshold, goes_left = self.cut(feature, place, units)
        mine = len(self.nodes)
        self.nodes.append([feature, threshold, 0, 0, -1, units.size])
        self.nodes[mine][2] = first(units[goes_left])
        self.nodes[mine][3] = second(units[~goes_left])
        left, right = (self.nodes[int(self.nodes[mine][k])] for k in (2, 3))
        if left[0] < 0 and right[0] < 0 and left[4] == right[4]:
            # a cut whose sides are offered the same is none
            del self.nodes[mine:]
            return self.leaf(units)
        return mine


class Grower:
    """What the two ways of searching share: from the cuts found to nodes."""

    triple = False

    def __init__(self, rewards: Floats, min_leaf: int) -> None:
        self.rewards, self.min_leaf = rewards, min_leaf
        self.growing = Nodes(rewards, self.cut)

    def values(self) -> Floats:
        raise NotImplementedError

    def affords(self, depth: int, search: Search) -> bool:
        raise NotImplementedError

    def cut(self, feature: int, place: int, units: Ints) -> tuple[float, NDArray[np.bool_]]:
        raise NotImplementedError

    def one(self, units: Ints) -> tuple[int, int]:
        raise NotImplementedError

    def two(self, units: Ints) -> tuple[int, int, tuple[int, int], tuple[int, int]]:
        raise NotImplementedError

    def three(self, units: Ints) -> tuple[int, int]:
        raise NotImplementedError

    def grow(self, units: NDArray[np.int64], depth: int) -> int:
        leaf, split = self.growing.leaf, self.growing.split
        if depth == 0 or units.size < 2 * self.min_leaf:
            return leaf(units)
        if depth == 1:
            feature, place = self.one(units)
            return split(units, feature, place, leaf, leaf)
        if depth == 3 and self.triple:
            feature, place = self.three(units)
            if feature < 0:
                return self.grow(units, 2)
        else:
            feature, place, left, right = self.two(units)
            if depth == 2:
                return split(
                    units,
                    feature,
                    place,
                    lambda u: split(u, *left, leaf, leaf),
                    lambda u: split(u, *right, leaf, leaf),
                )
        below = lambda u: self.grow(u, depth - 1)  # noqa: E731
        return split(units, feature, place, below, below)


class DeclaredCuts(Grower):
    """Search over bins: tables of sums hold every tree of depth 2."""

    def __init__(self, cuts: Cuts, bins: NDArray[np.int16], rewards: Floats, floor: int) -> None:
        super().__init__(rewards, floor)
        self.cuts, self.binned, self.n_bins = cuts, np.ascontiguousarray(bins), cuts.n_bins
        self.size = int(self.n_bins.max(initial=1))
        p, arms = bins.shape[1], rewards.shape[1]
        if 8.0 * p**2 * self.size**2 * (arms + 1) > MOST_BYTES:
            raise InputError(
                f"{p} covariates with {self.size} bins are too many for an exact tree",
                where="covariates",
                remedy="Name the covariates the tree may use, or ask for fewer bins.",
            )

    def values(self) -> Floats:
        # any value of the bin: its upper cut, or beyond the last one
        out = np.empty(self.binned.shape)
        for j, points in enumerate(self.cuts.points):
            out[:, j] = np.append(points, np.inf)[self.binned[:, j]]
        return out

    def affords(self, depth: int, search: Search) -> bool:
        if depth != 3 or search == "hybrid":
            return False
        roots, pairs = (self.n_bins - 1).sum(), float(self.n_bins.sum()) ** 2
        steps = 2 * roots * pairs * (self.rewards.shape[1] + 1)
        return search == "exact" or steps <= MOST_STEPS

    def cut(self, feature: int, place: int, units: Ints) -> tuple[float, NDArray[np.bool_]]:
        return self.cuts.points[feature][place], self.binned[units, feature] <= place

    def one(self, units: Ints) -> tuple[int, int]:
        best, feature, place = float(self.rewards[units].sum(axis=0).max()), -1, -1
        for j in range(self.binned.shape[1]):
            order = units[np.argsort(self.binned[units, j], kind="stable")]
            rank = np.ascontiguousarray(self.binned[:, j])
            value, count = best_cut(order, rank, self.rewards, self.min_leaf)
            if count and value > best:
                best, feature, place = value, j, int(rank[order[count - 1]])
        return feature, place

    def two(self, units: Ints) -> tuple[int, int, tuple[int, int], tuple[int, int]]:
        p = self.binned.shape[1]
        sums = pair_sums(self.binned, self.rewards, units, p, self.size)
        _, feature, place, children = best_pair(sums, self.n_bins, self.min_leaf)
        left, right = (tuple(int(v) for v in side) for side in children)
        return int(feature), int(place), (left[0], left[1]), (right[0], right[1])

    def three(self, units: Ints) -> tuple[int, int]:
        _, feature, place = best_triple_root(
            self.binned, self.rewards, units, self.n_bins, self.size, self.min_leaf
        )
        return int(feature), int(place)


class EveryCut(Grower):
    """Search over every cut between two values: a place is how many units of the node go left."""

    def __init__(self, x: Floats, rewards: Floats, floor: int) -> None:
        super().__init__(rewards, floor)
        self.x = x

    def values(self) -> Floats:
        return self.x

    def affords(self, depth: int, search: Search) -> bool:
        return False

    def cut(self, feature: int, place: int, units: Ints) -> tuple[float, NDArray[np.bool_]]:
        values = np.sort(self.x[units, feature])
        threshold = float((values[place - 1] + values[place]) / 2)
        if threshold >= values[place]:  # neighbouring numbers have nothing between them
            threshold = float(values[place - 1])
        return threshold, self.x[units, feature] <= threshold

    def one(self, units: Ints) -> tuple[int, int]:
        best, feature, place = float(self.rewards[units].sum(axis=0).max()), -1, 0
        rewards = np.ascontiguousarray(self.rewards[units])
        for j in range(self.x.shape[1]):
            rank = np.unique(self.x[units, j], return_inverse=True)[1].reshape(-1)
            order = np.argsort(rank, kind="stable")
            value, count = best_cut(order, rank, rewards, self.min_leaf)
            if count and value > best:
                best, feature, place = value, j, count
        return feature, place

    def two(self, units: Ints) -> tuple[int, int, tuple[int, int], tuple[int, int]]:
        rewards = np.ascontiguousarray(self.rewards[units])
        n, p = units.size, self.x.shape[1]
        ranks = np.empty((n, p), dtype=np.int64)
        for j in range(p):
            ranks[:, j] = np.unique(self.x[units, j], return_inverse=True)[1].reshape(-1)
        n_values = ranks.max(axis=0) + 1
        best, feature, place = float(rewards.sum(axis=0).max()), -1, 0
        for j in range(p):
            if n_values[j] < 2:
                continue
            order = np.argsort(ranks[:, j], kind="stable")
            starts = np.searchsorted(ranks[order, j], np.arange(n_values[j] + 1))
            sides = (order, starts), (order[::-1].copy(), (n - starts)[::-1].copy())
            left, right = (
                side_values(o, s, ranks, n_values, rewards, self.min_leaf) for o, s in sides
            )
            both = left[:-1] + right[::-1][1:]
            t = int(both.argmax())
            if both[t] > best + 1e-9 * abs(best):
                best, feature, place = float(both[t]), j, int(starts[t + 1])
        if feature < 0:
            return -1, 0, (-1, 0), (-1, 0)
        goes_left = self.cut(feature, place, units)[1]
        return feature, place, self.one(units[goes_left]), self.one(units[~goes_left])
