"""Trees within limits: a shallow tree, and in each leaf what part of it is offered which arm.

A leaf that would take more places than there are is shared out by lot. Given the tree, the shares are
a small linear programme. Which tree is best depends on what places are worth: the dual charges prices,
finds the best tree at them (exactly) and moves the prices, and every tree met is tried with its own
shares. The dual's value bounds what any tree, or lottery over trees, can reach: the gap is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.heterogeneity.policy.cuts import Cuts
from tiltakeval.estimators.heterogeneity.policy.limits import Codes, Limit, bounds, loads
from tiltakeval.estimators.heterogeneity.policy.programme import divide
from tiltakeval.estimators.heterogeneity.policy.tree import Search, Tree, fit_tree

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class LimitedTree:
    """``tree``; ``mean`` [m, A] mean reward of every arm in every leaf (NaN in other nodes) where it was
    learnt; ``share`` [m, A] what part of a leaf gets each arm there; ``prices`` [K]; ``value`` mean
    reward where it was learnt; ``gap`` by how much no tree of that depth can be better."""

    tree: Tree
    mean: NDArray[np.float64]
    share: NDArray[np.float64]
    prices: NDArray[np.float64]
    value: float
    excess: NDArray[np.float64]
    gap: float = float("nan")


def fit_limited_tree(
    x: Floats,
    rewards: Floats,
    *,
    weight: Floats,
    eligible: NDArray[np.bool_],
    limits: Sequence[Limit],
    codes: Codes,
    depth: int,
    cuts: Cuts | None = None,
    min_leaf: int = 1,
    search: Search = "auto",
    start: Floats | None = None,
    steps: int = 20,
    enough: float = 1e-3,
    patience: int = 6,
) -> LimitedTree:
    """The best tree met within ``limits``, with the shares of its leaves.

    ``rewards`` [n, A] per unit (not yet weighted), with arm 0's where a unit can't enter an arm;
    ``start`` the prices to begin with; ``steps`` how often prices are moved (Polyak's step), fewer when
    the gap is below ``enough`` of the value's distance to that of no programme, or ``patience`` steps
    in a row have found nothing better. Raises InputError.
    """
    w = weight / weight.sum()
    load, bound = loads(limits, codes, eligible), bounds(limits)
    prices = np.zeros(bound.size) if start is None else np.asarray(start, dtype=np.float64).copy()
    none = float(w @ rewards[:, 0])
    best: LimitedTree | None = None
    ceiling, idle, seen = np.inf, 0, set()
    tried = [prices]
    for step in range(steps if limits else 1):
        charged = rewards - np.tensordot(prices, load, axes=1) if limits else rewards
        tree = fit_tree(
            x, charged * w[:, None], depth=depth, cuts=cuts, min_leaf=min_leaf, search=search
        )
        ceiling = min(ceiling, tree.value + float(prices @ bound))
        node = tree.node(x)
        key = node.tobytes()
        idle += 1
        if key not in seen:
            seen.add(key)
            mean = leaf_means(tree, node, rewards, w)
            found = share_out(tree, node, mean, w, eligible, load, bound)
            if best is None or _better(found, best):
                best, idle = found, 0
                if limits:
                    tried.append(best.prices)
        assert best is not None
        gap = ceiling - best.value
        if gap <= enough * max(abs(best.value - none), 1e-12) or not limits or idle >= patience:
            break
        if step == 0 and len(tried) > 1:
            prices = tried[-1]  # the first tree's own prices are a good second start
            continue
        used = np.einsum("i,kia,ia->k", w, load, np.eye(rewards.shape[1])[tree.assign(x)])
        slope = bound - used
        norm = float((slope / _size(load)) @ (slope / _size(load)))
        if norm <= 1e-20:
            break
        value = tree.value + float(prices @ bound)
        move = max(value - best.value, 1e-12) / norm
        prices = np.maximum(prices - move * slope / _size(load) ** 2, 0.0)
    assert best is not None
    return replace(best, gap=max(ceiling - best.value, 0.0))


def _size(load: Floats) -> NDArray[np.float64]:
    return np.maximum(np.abs(load).reshape(len(load), -1).max(axis=1), 1e-12)


def _better(found: LimitedTree, best: LimitedTree) -> bool:
    """More is better, but keeping the limits comes first."""
    passed, before = float(found.excess.sum()), float(best.excess.sum())
    if abs(passed - before) > 1e-9:
        return passed < before
    return found.value > best.value


def leaf_means(tree: Tree, node: NDArray[np.int64], rewards: Floats, w: Floats) -> Floats:
    """[m, A] weighted mean rewards of the leaves; NaN in other nodes and leaves nobody is in."""
    size = np.bincount(node, weights=w, minlength=tree.feature.size)
    out = np.full((tree.feature.size, rewards.shape[1]), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        for a in range(rewards.shape[1]):
            out[:, a] = np.bincount(node, weights=w * rewards[:, a], minlength=size.size) / size
    return out


def share_out(
    tree: Tree,
    node: NDArray[np.int64],
    mean: Floats,
    w: Floats,
    eligible: NDArray[np.bool_],
    load: Floats,
    bound: Floats,
) -> LimitedTree:
    """The tree with the shares best for units in leaves ``node`` [n] with weights ``w`` (sum 1).

    ``mean`` [m, A] are the leaves' mean rewards where the tree was learnt; units and loads are those of
    the people to be shared out, whose outcomes aren't looked at.
    """
    leaves = tree.leaves
    size = np.bincount(node, weights=w, minlength=tree.feature.size)[leaves]

    def by_leaf(values: Floats) -> Floats:
        sums = [
            np.bincount(node, weights=w * values[:, a], minlength=tree.feature.size)[leaves]
            for a in range(values.shape[1])
        ]
        return np.stack(sums, axis=1)

    charged = np.zeros((len(bound), leaves.size, mean.shape[1]))
    for k, one in enumerate(load):
        charged[k] = by_leaf(one)
    anybody = by_leaf(eligible.astype(np.float64))
    allowed = (anybody > 0) | (np.arange(mean.shape[1]) == 0)
    known = np.where(np.isfinite(mean[leaves]), mean[leaves], 0.0)
    if len(bound):
        found = divide(known * size[:, None], charged, bound, allowed)
        part, prices, excess = found.share, found.prices, found.excess
    else:
        own = np.where(allowed, known, -np.inf).argmax(axis=1)
        part, prices, excess = np.eye(mean.shape[1])[own], np.empty(0), np.empty(0)
    share = np.zeros(mean.shape, dtype=np.float64)
    share[leaves] = part
    value = float((size[:, None] * part * known).sum())
    return LimitedTree(tree, np.asarray(mean, dtype=np.float64), share, prices, value, excess)
