"""Nuisances by regression forests of our own: mean outcome and propensities, out-of-bag.

A regression (of the outcome linear, of the arms a multinomial logit), cross-fitted by clusters, is taken
off first, and forests predict what it leaves. With a design, ``heterogeneity.scores`` has nuisances too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiltakeval.estimators.heterogeneity.forest.effects import HELD
from tiltakeval.estimators.heterogeneity.forest.inputs import Units, make_units
from tiltakeval.estimators.heterogeneity.forest.linear import (
    folds_of,
    linear_means,
    odds,
    standard_columns,
)
from tiltakeval.estimators.heterogeneity.forest.options import ForestOptions
from tiltakeval.estimators.heterogeneity.forest.predict_kernels import add_up, average
from tiltakeval.estimators.heterogeneity.forest.trees import Growing, Rows, grow_trees
from tiltakeval.estimators.numerics.threads import in_threads

Floats = NDArray[np.floating]
LEAST = 20
MOST = 1.5


@dataclass(frozen=True)
class Nuisances:
    """m [n] mean outcome and e [n, A] propensities given covariates, out-of-sample for every unit;
    ``raised`` [A] how many propensities were raised to the floor."""

    m: NDArray[np.float64]
    e: NDArray[np.float64]
    raised: tuple[int, ...]


def forest_nuisances(
    x: ArrayLike,
    arm: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    options: ForestOptions | None = None,
    *,
    trees: int = 100,
    least: int = 20,
    floor: float = 0.01,
    linear: bool = True,
) -> Nuisances:
    """Out-of-bag forests of ``trees`` trees, leaves of ``least`` units.

    They start from cross-fitted regressions (``linear``), and count as far as they hold up out of bag.
    Propensities are at least ``floor`` times the arm's share, and add up to one. Arguments as in
    ``fit_forest``; of its options bins, bag, seed and threads are used. Raises InputError.
    """
    how = options or ForestOptions()
    units = make_units(x, arm, y, weight, cluster, names=None, bins=how.bins, least=LEAST)
    arms = np.equal.outer(units.arm, np.arange(units.arms)).astype(np.float64)
    found = []
    bases = (np.zeros((units.n, 1)), np.zeros_like(arms))
    if linear:
        z, fold = standard_columns(x, units), folds_of(units, how.seed)
        bases = (linear_means(z, fold, units), odds(z, fold, units))
    for stream, target, base in zip((1_001, 1_002), (units.y[:, None], arms), bases):
        rest = target - base
        part = _forest(units, rest, how, trees, least, stream)
        found.append(base + part * _slope(rest, part, units.weight))
    m, e = units.back(found[0][:, 0]), found[1]
    w = units.weight
    share = w @ arms / w.sum()
    low = e < floor * share
    e = np.maximum(e, floor * share)
    return Nuisances(
        m=m,
        e=units.back(e / e.sum(axis=1, keepdims=True)),
        raised=tuple(int(v) for v in low.sum(axis=0)),
    )


def _slope(rest: Floats, part: Floats, weight: Floats) -> float:
    """How far the out-of-bag forest is to be trusted: slope of what is left on it, all columns alike,
    so that probabilities still add up to one."""
    size = float(weight @ (part * part).sum(axis=1))
    if size <= 0:
        return 0.0
    return min(max(float(weight @ (rest * part).sum(axis=1)) / size, 0.0), MOST)


def _forest(
    units: Units, target: Floats, how: ForestOptions, trees: int, least: int, stream: int
) -> NDArray[np.float64]:
    """[n, q] out-of-bag predictions of the columns of ``target``; each counts by its variance."""
    used = slice(0, units.used)
    scale = target[used].std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    columns = units.coded.shape[1]
    rows = Rows(
        bins=units.coded[used],
        used=units.bins.used,
        arm=np.zeros(units.used, dtype=np.uint8),
        treat=(target[used] / scale).astype(np.float32),
        outcome=np.zeros(units.used),
        weight=units.weight[used],
        first=units.first,
        causal=False,
    )
    number = max(trees - trees % how.bag, 2 * how.bag)
    growing = Growing(
        trees=number,
        bag=how.bag,
        honesty=0.0,
        columns=max(1, -(-columns // 3)),
        chance=np.ones(columns),
        least_arm=0,
        least=least,
        share=0.0,
        depth=how.max_depth,
        penalty=0.0,
        standard=True,
        seed=how.seed,
        threads=how.workers,
        stream=stream,
    )
    grown = grow_trees(rows, growing)
    out = np.empty_like(target)
    size = max(256, min(16_384, HELD // number))

    def block(lo: int) -> None:
        hi = min(lo + size, units.n)
        nodes = grown.nodes(units.coded[lo:hi], units.cluster[lo:hi], level=1_000)
        sums, times = np.zeros((hi - lo, target.shape[1])), np.zeros(hi - lo, np.int64)
        add_up(nodes, grown.moments, sums, times)
        average(sums, times, out[lo:hi])

    in_threads(block, range(0, units.n, size), threads=how.workers)
    return np.asarray(np.where(np.isnan(out), 0.0, out) * scale)
