"""Trees that say who is offered what: exact to depth 2 and, over declared cuts, to depth 3."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.policy.cuts import Cuts
from tiltakeval.estimators.heterogeneity.policy.growers import (
    DeclaredCuts,
    EveryCut,
    Grower,
    Search,
)

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
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
    grower: Grower
    if cuts is None:
        grower = EveryCut(np.ascontiguousarray(x, dtype=np.float64), rewards, min_leaf)
    else:
        grower = DeclaredCuts(cuts, cuts.bins(x), rewards, min_leaf)
    exact = depth <= 2 or grower.affords(depth, search)
    grower.triple = exact and depth == 3
    root = grower.grow(everyone, depth if p else 0)
    assert root == 0
    return _packed(grower.growing.nodes, rewards, "exact" if exact else "hybrid", grower, everyone)


def _packed(
    nodes: list[list[float]], rewards: Floats, search: str, grower: Grower, units: Ints
) -> Tree:
    table = np.array(nodes)
    feature, left, right, arm, count = (table[:, k].astype(np.int64) for k in (0, 2, 3, 4, 5))
    tree = Tree(feature, table[:, 1], left, right, arm, count, search)
    arms = tree.assign(grower.values())
    return replace(tree, value=float(rewards[units, arms].sum()))
