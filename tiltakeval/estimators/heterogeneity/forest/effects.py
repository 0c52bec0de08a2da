"""Effects and their covariance from a forest's trees, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx
from scipy.stats import norm

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.forest.predict_kernels import (
    add_up,
    bag_influence,
    bag_products,
    solve,
)
from tiltakeval.estimators.heterogeneity.forest.trees import Trees
from tiltakeval.estimators.numerics.threads import in_threads

Floats = NDArray[np.floating]
#: Node numbers (rows times trees) held at once by a thread.
HELD = 4_000_000


@dataclass(frozen=True)
class Prediction:
    """``effects`` [n, K] of arms 1..K against arm 0, shrunk towards the average when that was asked
    for; ``forest`` [n, K] as the forest has them, and ``covariance`` [n, K, K] of these (None when not
    asked for)."""

    effects: NDArray[np.float64]
    forest: NDArray[np.float64]
    covariance: NDArray[np.float32] | None

    @property
    def errors(self) -> NDArray[np.float64]:
        """[n, K] standard errors of ``forest``."""
        return np.sqrt(np.einsum("ikk->ik", self._known()).astype(np.float64))

    def interval(self, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Limits [n, K] around ``forest``. They cover what the forest is right about on average; what
        its leaves smooth away they don't know of (docs/causal-forest.md has their coverage)."""
        reach = norm.ppf(0.5 + level / 2) * self.errors
        return self.forest - reach, self.forest + reach

    def contrast(self, a: int, b: int) -> tuple[Floats, Floats, Floats | None]:
        """Effect of arm a against arm b: shrunk [n], as the forest has it, and its standard error."""
        k = self.effects.shape[1]
        if not (0 <= a <= k and 0 <= b <= k and a != b):
            raise InputError(f"two different arms in 0..{k} are needed", where="contrast")
        take = np.zeros(k)
        for which, sign in ((a, 1.0), (b, -1.0)):
            if which:
                take[which - 1] += sign
        error = None
        if self.covariance is not None:
            variance = np.einsum("k,ikl,l->i", take, self.covariance.astype(np.float64), take)
            error = np.sqrt(np.maximum(variance, 0.0))
        return self.effects @ take, self.forest @ take, error

    def ordered(self, order: Callable[[NDArray], NDArray]) -> Prediction:
        """Rows put in another order."""
        v = self.covariance
        return Prediction(order(self.effects), order(self.forest), None if v is None else order(v))

    def with_effects(self, effects: NDArray[np.float64]) -> Prediction:
        return replace(self, effects=effects)

    def _known(self) -> NDArray[np.float32]:
        if self.covariance is None:
            raise InputError("variances weren't asked for", remedy="Predict with variance=True.")
        return self.covariance


@dataclass(frozen=True)
class Part:
    """Trees that give the effects ``which`` (positions among the K). All parts of a forest have the
    same bags, so that effects from different parts have covariances."""

    trees: Trees
    which: tuple[int, ...]


def predict_effects(
    parts: Sequence[Part],
    coded: NDArray[np.uint8],
    cluster: NDArray[np.int64] | None,
    *,
    arms: int,
    variance: bool,
    threads: int,
) -> Prediction:
    """Effects of rows ``coded`` [n, p]; out-of-bag where ``cluster`` [n] is given. Raises InputError."""
    n, k = len(coded), arms - 1
    effects = np.empty((n, k))
    covariance = np.empty((n, k, k), dtype=np.float32) if variance else None
    most = max(part.trees.number for part in parts)
    size = max(256, min(16_384, HELD // most))

    def block(lo: int) -> None:
        hi = min(lo + size, n)
        of = None if cluster is None else cluster[lo:hi]
        bags = parts[0].trees.number // parts[0].trees.bag
        psi = np.empty((hi - lo, bags, k)) if variance else np.empty((0, 0, 0))
        within, seen = np.empty((hi - lo, k)), np.zeros(hi - lo, np.int64)
        for part in parts:
            seen = _block(part, coded[lo:hi], of, effects[lo:hi], psi, within)
        if covariance is not None:
            between = np.empty((hi - lo, k, k))
            bag_products(psi, seen, between)
            covariance[lo:hi] = bag_covariance(between, within, seen, parts[0].trees.bag)

    in_threads(block, range(0, n, size), threads=threads)
    bad = int(np.isnan(effects).any(axis=1).sum())
    if bad:
        raise InputError(
            f"{bad} units have no effect: too few trees, or arms that don't overlap",
            where="forest",
            remedy="Grow more trees, or keep to units that could have entered every arm.",
        )
    return Prediction(effects, effects, covariance)


def _block(
    part: Part,
    coded: NDArray[np.uint8],
    cluster: NDArray[np.int64] | None,
    effects: Floats,
    psi: Floats,
    within: Floats,
) -> NDArray[np.int64]:
    """Fill the part's columns of effects, psi (unless empty) and within; number of bags [n] used."""
    trees, n, k = part.trees, len(coded), effects.shape[1]
    nodes = trees.nodes(coded, cluster, level=1_000)
    sums, times = np.zeros((n, trees.moments.shape[1])), np.zeros(n, np.int64)
    add_up(nodes, trees.moments, sums, times)
    found, lower = np.empty((n, k)), np.empty((n, k, k))
    solve(sums, times, k, found, lower)
    which = list(part.which)
    effects[:, which] = found[:, which]
    if psi.size:
        own, noise = np.empty((n, psi.shape[1], len(which))), np.empty((n, len(which)))
        at = np.array(which, dtype=np.int64)
        bag_influence(nodes, trees.bag, trees.moments, sums, times, found, lower, at, own, noise)
        psi[:, :, which], within[:, which] = own, noise
    return times // trees.bag


def bag_covariance(
    between: Floats, within: Floats, bags: NDArray[np.int64], bag: int
) -> NDArray[np.float64]:
    """[n, K, K] covariance from between [n, K, K], within [n, K] and bags [n].

    That between bags, less what differences within bags of so few trees add to it (Athey, Tibshirani &
    Wager 2019, section 4.1). A variance so corrected can be negative; it is replaced by its mean given
    that it is positive, its error being normal with variance 2 / bags times the squared variance
    between bags. The correlations are those between bags.
    """
    noise = within / (bag - 1)
    total = np.einsum("ikk->ik", between)
    scale = np.maximum(total, noise) * np.sqrt(2.0 / np.maximum(bags, 1))[:, None]
    scale = np.maximum(scale, np.finfo(float).tiny)
    ratio = (total - noise) / scale
    # density over upper tail at -ratio, stable for very negative ratios
    hazard = np.sqrt(2 / np.pi) / erfcx(np.clip(-ratio / np.sqrt(2), -25, None))
    variance = scale * (ratio + hazard)
    some = total > 0  # not of rows without a bag
    root = np.sqrt(np.where(some, np.maximum(variance, 0.0) / np.where(some, total, 1.0), 0.0))
    return np.asarray(between * root[:, :, None] * root[:, None, :])
