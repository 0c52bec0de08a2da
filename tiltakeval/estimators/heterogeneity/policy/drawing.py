"""A tree as it may be drawn: round cuts, shares to the nearest per cent, nobody's value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.heterogeneity.policy.rules import Learnt, LearntTree

Floats = NDArray[np.floating]


def drawn(
    learnt: LearntTree,
    x: Floats,
    weight: Floats,
    arms: Sequence[str],
    names: Sequence[str],
    least: int,
) -> list[dict[str, Any]]:
    """Nodes in the order they are read, JSON-ready, the root first.

    A node has ``id``, ``share`` of all units that come to it, and either ``covariate``, ``threshold``
    (x <= it goes ``left``), ``left``, ``right`` (ids), or ``offers``: arm and part of the leaf, largest
    first. Parts of fewer than ``least`` units are left out, as is a leaf's share below that (None).
    """
    tree, share = learnt.found.tree, learnt.found.share
    at = tree.node(x)
    size = np.bincount(at, weights=weight / weight.sum(), minlength=tree.feature.size)
    count = np.bincount(at, minlength=tree.feature.size)
    for node in range(tree.feature.size - 1, -1, -1):
        if tree.feature[node] >= 0:
            for child in (tree.left[node], tree.right[node]):
                size[node] += size[child]
                count[node] += count[child]
    out: list[dict[str, Any]] = []
    for node in range(tree.feature.size):
        shown = None if count[node] < least else round(float(size[node]), 2)
        row: dict[str, Any] = {"id": node, "share": shown}
        if tree.feature[node] >= 0:
            row["covariate"] = names[tree.feature[node]]
            row["threshold"] = float(f"{tree.threshold[node]:.6g}")
            row["left"], row["right"] = int(tree.left[node]), int(tree.right[node])
        else:
            row["offers"] = [
                {"arm": arms[a], "part": round(float(share[node, a]), 2)}
                for a in np.argsort(-share[node], kind="stable")
                if share[node, a] * count[node] >= least and share[node, a] >= 0.005
            ]
        out.append(row)
    return out


def stability(learnt: Sequence[Learnt], names: Sequence[str]) -> dict[str, float]:
    """Share of the trees of all folds and splits by covariate of the first cut ("none": no cut)."""
    trees = [one.found.tree for one in learnt if isinstance(one, LearntTree)]
    found: dict[str, float] = {}
    for tree in trees:
        root = int(tree.feature[0])
        name = names[root] if root >= 0 else "none"
        found[name] = found.get(name, 0.0) + 1.0 / len(trees)
    return {name: round(part, 2) for name, part in sorted(found.items(), key=lambda i: -i[1])}
