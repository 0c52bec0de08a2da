"""Trees grown in threads, laid end to end; each depends on the seed and its number alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.heterogeneity.forest.grow_kernels import (
    effect_moments,
    grow,
    mean_moments,
)
from tiltakeval.estimators.heterogeneity.forest.predict_kernels import visit
from tiltakeval.estimators.heterogeneity.forest.sample_kernels import draw_bag, split_bag
from tiltakeval.estimators.numerics.threads import in_threads

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Growing:
    """How trees grow.

    ``trees`` in bags of ``bag``; a bag holds a half of the clusters, of which a share ``honesty`` places
    splits and the rest estimates (0: all do both). ``columns`` are tried a node with odds ``chance``
    [p], and judged by the honest rows in the first ``screened`` levels. Both sides of a split have
    ``least_arm`` units of every arm, ``least`` units and a ``share`` of the node's. ``penalty`` is the
    weight added to either side in the gain. ``only`` >= 0: targets are one effect's alone. Trees of
    another ``stream`` are other trees in the same bags.
    """

    trees: int
    bag: int
    honesty: float
    columns: int
    chance: Floats
    least_arm: int
    least: int
    share: float
    depth: int
    penalty: float
    standard: bool
    seed: int
    threads: int
    half: float = 0.5
    screened: int = 0
    only: int = -1
    stream: int = 0


@dataclass(frozen=True)
class Rows:
    """What trees are grown from: bins [n, p], used [p], arm [n], treat [n, K], outcome [n], weight [n];
    ``first`` [C + 1] where each cluster's rows begin; ``causal``: targets are effects of ``treat`` on
    ``outcome``, else the columns of ``treat``."""

    bins: NDArray[np.uint8]
    used: NDArray[np.int64]
    arm: NDArray[np.uint8]
    treat: NDArray[np.float32]
    outcome: NDArray[np.float64]
    weight: NDArray[np.float64]
    first: NDArray[np.int64]
    causal: bool

    @property
    def clusters(self) -> int:
        return len(self.first) - 1

    @property
    def cluster(self) -> NDArray[np.int64]:
        """[n] number of each row's cluster."""
        return np.repeat(np.arange(self.clusters), np.diff(self.first))


@dataclass(frozen=True)
class Trees:
    """Nodes of all trees end to end.

    ``first`` [T + 1]; feature (-1: leaf), cut, left (missing values go left), child (left child within
    the tree; the right one follows), moments [nodes, q] of the estimating rows; ``inside`` [bags, bytes]
    bits of the clusters each bag held; ``bag`` trees a bag; ``gains`` [p, 2] honest gains of each
    covariate in the screened levels, and number of nodes that tried it.
    """

    first: NDArray[np.int64]
    feature: NDArray[np.int16]
    cut: NDArray[np.uint8]
    left: NDArray[np.bool_]
    child: NDArray[np.int32]
    moments: NDArray[np.float32]
    inside: NDArray[np.uint8]
    bag: int
    gains: Floats

    @property
    def number(self) -> int:
        return len(self.first) - 1

    def nodes(
        self,
        bins: NDArray[np.uint8],
        cluster: NDArray[np.int64] | None,
        *,
        level: int,
        lo: int = 0,
        hi: int | None = None,
    ) -> NDArray[np.int32]:
        """[trees lo:hi, n] node of each row, at most ``level`` deep; -1 where ``cluster`` [n] (given for
        out-of-bag) was in the tree's bag."""
        last = self.number if hi is None else hi
        out = np.empty((last - lo, len(bins)), dtype=np.int32)
        known = cluster is not None
        of = cluster if cluster is not None else np.zeros(0, dtype=np.int64)
        tree = (self.first, self.feature, self.cut, self.left, self.child)
        visit(bins, of, known, self.inside, self.bag, lo, *tree, level, out)
        return out


def grow_trees(rows: Rows, how: Growing) -> Trees:
    """All trees, in ``threads`` threads."""
    bags = how.trees // how.bag
    per = max(1, min(8, -(-bags // (4 * max(how.threads, 1)))))
    jobs = [range(b, min(b + per, bags)) for b in range(0, bags, per)]
    parts = in_threads(lambda job: _bags(rows, how, job), jobs, threads=how.threads)
    flat = [tree for part in parts for tree in part[0]]
    inside = np.concatenate([part[1] for part in parts])
    gains = np.sum([part[2] for part in parts], axis=0)
    del parts
    first = np.concatenate([[0], np.cumsum([len(t[0]) for t in flat])]).astype(np.int64)

    def end_to_end(column: int) -> NDArray[Any]:
        out = np.concatenate([t[column] for t in flat])
        for t in flat:  # lest everything be held twice
            t[column] = None
        return out

    return Trees(
        first=first,
        feature=end_to_end(0),
        cut=end_to_end(1),
        left=end_to_end(2),
        child=end_to_end(3),
        moments=end_to_end(4),
        inside=inside,
        bag=how.bag,
        gains=gains,
    )


def _bags(rows: Rows, how: Growing, job: range) -> tuple[list[list], NDArray[np.uint8], Floats]:
    """Trees of some bags, the bits of the clusters they held, and the screened gains."""
    n, clusters, k = len(rows.bins), rows.clusters, rows.treat.shape[1]
    arms = int(rows.arm.max()) + 1
    width = -(-(k + 1) // 8) * 8
    held = np.empty(clusters, dtype=np.bool_)
    take = max(2, int(np.floor(clusters * how.half)))
    tries = min(how.columns, rows.bins.shape[1])
    sums = np.empty((tries, int(rows.used.max()), width))
    counts = np.empty((tries, int(rows.used.max()), arms), dtype=np.int32)
    size = k if not rows.causal else 2 * k + 1 + k * (k + 1) // 2
    place, estimate = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    spare, rho = np.empty(n, dtype=np.int32), np.zeros((n, width))
    found, bits, gains = [], [], np.zeros((rows.bins.shape[1], 2))
    for bag in job:
        draw_bag(how.seed, bag, take, held)
        bits.append(np.packbits(held, bitorder="little"))
        for tree in range(bag * how.bag, (bag + 1) * how.bag):
            number = tree + how.stream * 2**32
            cut_off = take if how.honesty == 0 else max(1, int(np.floor(take * how.honesty)))
            a, b = split_bag(how.seed, number, held, take, cut_off, rows.first, place, estimate)
            grown = place[:a]
            honest = estimate[:b] if how.honesty > 0 else grown.copy()
            most = 2 * max(1, a // max(how.least, 1)) + 3
            feature, cut = np.empty(most, dtype=np.int16), np.empty(most, dtype=np.uint8)
            left, child = np.empty(most, dtype=np.bool_), np.empty(most, dtype=np.int32)
            span = np.empty((most, 2), dtype=np.int64)
            nodes = grow(
                how.seed,
                number,
                grown,
                honest,
                rows.bins,
                rows.used,
                rows.arm,
                rows.treat,
                rows.outcome,
                rows.weight,
                rows.causal,
                how.standard,
                how.only,
                tries,
                how.least_arm,
                how.least,
                how.share,
                how.depth,
                how.penalty,
                how.chance,
                feature,
                cut,
                left,
                child,
                span,
                rho,
                sums,
                counts,
                spare,
                how.screened,
                gains,
            )
            moments = np.empty((nodes, size), dtype=np.float32)
            if rows.causal:
                data = (rows.treat, rows.outcome, rows.weight)
                effect_moments(honest, span, child, nodes, *data, moments)
            else:
                mean_moments(honest, span, child, nodes, rows.treat, rows.weight, moments)
            kept = (feature[:nodes], cut[:nodes], left[:nodes], child[:nodes])
            found.append([*(v.copy() for v in kept), moments])
    return found, np.array(bits), gains
