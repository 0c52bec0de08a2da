"""True effects and values of rules among the people who could enter every programme of a set.

Means are over the study's own units (person x month at risk, each month alike) in which none or one of
the set is decided. ``std_error`` is the Monte Carlo error of that many units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.months import parse_month
from tiltakeval.synthetic import common_kernel as kernel
from tiltakeval.synthetic.layout import BASE_STATES, PROGRAMMES
from tiltakeval.synthetic.prepare import prepare, start_month
from tiltakeval.synthetic.truth import BLOCK
from tiltakeval.synthetic.truth_kernel import OUTCOMES
from tiltakeval.synthetic.world import World

CELLS = 72
#: Longer than anybody is registered, months.
FOREVER = 10_000
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Nodes of a rule: ``feature`` names a characteristic ("" in a leaf), x <= ``cut`` goes ``left``.
    ``offers`` [nodes, programmes + 1]: the parts of a leaf that get nothing and each programme."""

    feature: Sequence[str]
    cut: Sequence[float]
    left: Sequence[int]
    right: Sequence[int]
    offers: Floats = field(default_factory=lambda: np.ones((1, 1)))


LEAF = Tree(feature=("",), cut=(0.0,), left=(-1,), right=(-1,))


@dataclass(frozen=True, kw_only=True)
class CommonSpec:
    """Whose outcome: the set of programmes, the units, the month (``summed``: months 0 to it added up).

    ``share`` of the months at risk are drawn. ``age_from`` are the lower bounds of the second and third
    age band. Raises InputError for what the world doesn't know.
    """

    programmes: tuple[str, ...]
    base_state: str
    outcome: str
    horizon: int
    entry: tuple[str, str]
    summed: bool = False
    ages: tuple[int, int] = (18, 66)
    registered: tuple[int, int] = (1, FOREVER)
    share: float = 0.04
    age_from: tuple[int, int] = (30, 60)
    tree: Tree = LEAF

    def __post_init__(self) -> None:
        named: list[tuple[str, str, Sequence[str]]]
        named = [("programme", p, PROGRAMMES) for p in self.programmes]
        named += [("base state", self.base_state, BASE_STATES), ("outcome", self.outcome, OUTCOMES)]
        named += [("characteristic", f, kernel.FEATURES) for f in self.tree.feature if f]
        for kind, name, known in named:
            if name not in known:
                raise unknown(kind, name, known, where="truth")


@dataclass
class CommonSums:
    """Sums over units; shapes in ``common_kernel.common_block``."""

    count: Ints
    cross: Ints
    leaf_count: Ints
    leaf_cross: Ints

    def __iadd__(self, other: CommonSums) -> CommonSums:
        for name in self.__dataclass_fields__:
            getattr(self, name)[...] += getattr(other, name)
        return self


def common_sums(
    world: World, persons: int, seed: int, spec: CommonSpec, *, threads: int = 1, first: int = 0
) -> CommonSums:
    """The sums over ``persons`` persons (numbers ``first`` and on). Raises InputError when the entry
    window begins before the simulation."""
    t0 = start_month(world)
    k0, k1 = parse_month(spec.entry[0]) - t0, parse_month(spec.entry[1]) - t0
    if k0 < 0:
        raise InputError("the entry window begins before the simulation", where="truth: entry")
    choice = np.zeros(kernel.N_CHOICE, np.int64)
    choice[[kernel.C_FIRST, kernel.C_LAST]] = k0, k1
    choice[kernel.C_BASE] = BASE_STATES.index(spec.base_state)
    choice[[kernel.C_AGE_FROM, kernel.C_AGE_TO]] = spec.ages
    choice[[kernel.C_REG_FROM, kernel.C_REG_TO]] = spec.registered
    choice[kernel.C_HORIZON], choice[kernel.C_SUM] = spec.horizon, int(spec.summed)
    choice[kernel.C_OUTCOME] = OUTCOMES.index(spec.outcome)
    flat = prepare(world, k1 + spec.horizon + 2).flat
    members = np.array([PROGRAMMES.index(p) for p in spec.programmes], np.int64)
    nodes = spec.tree
    feature = np.array([kernel.FEATURES.index(f) if f else -1 for f in nodes.feature], np.int64)
    cut = np.array(nodes.cut, np.float64)
    left, right = (np.array(side, np.int64) for side in (nodes.left, nodes.right))
    waiting = iter(range(first, first + persons, BLOCK))
    edges = np.array(spec.age_from, np.int64)

    def work(_: int) -> CommonSums:
        futures, arms = len(members) + 3, len(members) + 1
        sums = CommonSums(*(
            np.zeros(shape, np.int64) for n in (CELLS, len(feature))
            for shape in ((n, arms), (n, futures, futures))
        ))  # fmt: skip
        for start in _drawn(waiting):
            kernel.common_block(
                seed, start, min(BLOCK, first + persons - start), flat, choice, members, spec.share,
                edges, feature, cut, left, right, sums.count, sums.cross, sums.leaf_count,
                sums.leaf_cross,
            )  # fmt: skip
        return sums

    if threads <= 1:
        return work(0)
    with ThreadPoolExecutor(threads) as pool:
        total, *rest = pool.map(work, range(threads))
    for other in rest:
        total += other
    return total


def _drawn(waiting: Iterator[int]) -> Iterator[int]:
    yield from iter(lambda: next(waiting, None), None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Mean:
    """A mean, its Monte Carlo error, and how many units it is over."""

    estimate: float
    std_error: float
    n: int


def mean_of(cross: Ints | Floats, weights: Floats) -> Mean:
    """Mean over units of ``weights`` times the futures: [F], or [nodes, F] with cross [nodes, F, F],
    where the weights differ between nodes."""
    cross = np.asarray(cross, dtype=np.float64)
    if cross.ndim == 2:
        cross, weights = cross[None], weights[None]
    n = float(cross[:, 0, 0].sum())
    first = float(np.einsum("lf,lf->", weights, cross[:, 0])) / n
    second = float(np.einsum("lf,lfg,lg->", weights, cross, weights)) / n
    error = np.sqrt(max(second - first**2, 0.0) / max(n - 1, 1)) if n > 1 else np.nan
    return Mean(first, float(error), int(n))


def effect_weights(futures: int, programme: int) -> Floats:
    """Weights of the effect of the programme at this place in the set against no decision now."""
    out = np.zeros(futures)
    out[3 + programme], out[2] = 1.0, -1.0
    return out


def rule_weights(sums: CommonSums, tree: Tree, places: Mapping[int, float]) -> Floats:
    """[nodes, F] what the rule gives in each node. ``places``: shares of all that each programme
    (its place in the set) has; the tree's parts, which are told in whole per cents, are scaled to them,
    and the rest of a leaf gets nothing."""
    offers = np.array(tree.offers, dtype=np.float64)
    size = sums.leaf_count.sum(axis=1) / sums.leaf_count.sum()
    for a, share in places.items():
        given = float(size @ offers[:, 1 + a])
        if given > 0:
            offers[:, 1 + a] = np.minimum(offers[:, 1 + a] * share / given, 1.0)
    placed = offers[:, 1:].sum(axis=1, keepdims=True)
    offers[:, 1:] /= np.maximum(placed, 1.0)
    offers[:, 0] = 1.0 - offers[:, 1:].sum(axis=1)
    return np.hstack([np.zeros((len(offers), 2)), offers])
