"""Trees that say who is offered what: exact to depth 2 and, over declared cuts, to depth 3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
MAX_DEPTH = 5


@dataclass(frozen=True)
class Tree:
    """Nodes in the order they are read: covariate [m] (-1: a leaf), threshold [m] (x <= it goes left),
    left and right [m] positions of the children, arm [m] of the leaves, count [m] units it was learnt
    on. ``search`` tells how it was found, ``value`` the rewards it adds up to where it was learnt."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    arm: NDArray[np.int64]
    count: NDArray[np.int64]
    search: str = "exact"
    value: float = float("nan")

    def node(self, x: Floats) -> NDArray[np.int64]:
        """[n] the leaf (a position among the nodes) every row of ``x`` [n, p] ends in."""
        at = np.zeros(x.shape[0], dtype=np.int64)
        for _ in range(MAX_DEPTH + 1):
            split = self.feature[at]
            inner = split >= 0
            if not inner.any():
                break
            rows = np.flatnonzero(inner)
            goes_left = x[rows, split[rows]] <= self.threshold[at[rows]]
            at[rows] = np.where(goes_left, self.left[at[rows]], self.right[at[rows]])
        return at

    def assign(self, x: Floats) -> NDArray[np.int64]:
        """[n] the arm of every row's leaf."""
        return self.arm[self.node(x)]

    @property
    def leaves(self) -> NDArray[np.int64]:
        """Positions of the leaves."""
        return np.flatnonzero(self.feature < 0)


@dataclass
class _Growing:
    """Nodes as they are added; only ``fit_tree`` sees one."""

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


def fit_tree(
    x: Floats,
    rewards: Floats,
    *,
    depth: int,
    cuts: Cuts | None = None,
    min_leaf: int = 1,
    search: Search = "auto",
) -> Tree:
    """The tree of at most ``depth`` cuts in a row with the largest sum of rewards.

    ``x`` [n, p] covariates; ``rewards`` [n, A] what each unit adds to the sum under each arm (doubly
    robust score less cost, times weight; where a unit can't enter an arm, what it gets instead). With
    ``cuts`` the search is exact to depth 2, and to depth 3 where it takes at most ``MOST_STEPS``
    additions ("auto") or whatever it takes ("exact"); without, every cut between two values is tried,
    exact to depth 2. Beyond that, and with "hybrid", a node is cut where the exact tree of depth 2 among
    its units is, down to the last two depths, which are exact; ``Tree.search`` says which it was.
    Zhou, Athey & Wager (2023, Operations Research 71:148-183); the search is our own. Raises InputError.
    """
    n, p = x.shape
    if rewards.ndim != 2 or rewards.shape[0] != n or rewards.shape[1] < 2:
        raise InputError(f"rewards of shape {rewards.shape} for {n} units", where="rewards")
    if not (np.isfinite(x).all() and np.isfinite(rewards).all()):
        raise InputError("missing or infinite values among covariates or rewards", where="tree")
    if not 0 <= depth <= MAX_DEPTH:
        raise InputError(f"depth must be 0 to {MAX_DEPTH}", where="depth")
    if not 1 <= min_leaf <= n:
        raise InputError(f"leaves of {min_leaf} among {n} units", where="min_leaf")
    rewards = np.ascontiguousarray(rewards, dtype=np.float64)
    everyone = np.arange(n)
    grower: _Grower
    if cuts is None:
        grower = _EveryCut(np.ascontiguousarray(x, dtype=np.float64), rewards, min_leaf)
    else:
        need = 8.0 * p**2 * float(cuts.n_bins.max(initial=1)) ** 2 * (rewards.shape[1] + 1)
        if depth >= 2 and need > MOST_BYTES:
            raise InputError(
                f"{p} covariates with {cuts.n_bins.max()} bins are too many for an exact tree",
                where="covariates",
                remedy="Name the covariates the tree may use, or ask for fewer bins.",
            )
        grower = _DeclaredCuts(cuts, cuts.bins(x), rewards, min_leaf)
    exact = depth <= 2 or grower.affords(depth, search)
    grower.triple = exact and depth == 3
    root = grower.grow(everyone, depth if p else 0)
    assert root == 0
    return _packed(grower.growing.nodes, rewards, "exact" if exact else "hybrid", grower, everyone)


def _packed(
    nodes: list[list[float]], rewards: Floats, search: str, grower: _Grower, units: Ints
) -> Tree:
    table = np.array(nodes)
    feature, left, right, arm, count = (table[:, k].astype(np.int64) for k in (0, 2, 3, 4, 5))
    tree = Tree(feature, table[:, 1], left, right, arm, count, search)
    arms = tree.assign(grower.values())
    return replace(tree, value=float(rewards[units, arms].sum()))


class _Grower:
    """What the two ways of searching share: from the cuts found to nodes."""

    triple = False

    def __init__(self, rewards: Floats, min_leaf: int) -> None:
        self.rewards, self.min_leaf = rewards, min_leaf
        self.growing = _Growing(rewards, self.cut)

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


class _DeclaredCuts(_Grower):
    """Search over bins: tables of sums hold every tree of depth 2."""

    def __init__(self, cuts: Cuts, bins: NDArray[np.int16], rewards: Floats, floor: int) -> None:
        super().__init__(rewards, floor)
        self.cuts, self.binned, self.n_bins = cuts, np.ascontiguousarray(bins), cuts.n_bins
        self.size = int(self.n_bins.max(initial=1))

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


class _EveryCut(_Grower):
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
