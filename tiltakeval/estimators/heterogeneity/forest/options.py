"""Options of the forests, with what makes them valid."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tiltakeval.errors import InputError

#: Least trees of an effect that has trees of its own.
LEAST_TREES = 100


def all_threads() -> int:
    """Processors this process may use; the results don't depend on it."""
    known = os.environ.get("NUMBA_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
    if known and known.isdigit() and int(known) > 0:
        return int(known)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class ForestOptions:
    """How a causal forest is grown.

    ``targets`` 'each': every effect has its share of the trees (at least ``LEAST_TREES``), with splits
    that show where that effect differs; 'joint': splits show where the vector of effects differs, and
    all trees serve all effects. ``trees`` stand in little bags of ``bag``; each bag is a half of the
    clusters, of which ``honesty`` places the splits and the rest estimates. Both sides of a split keep
    ``min_arm`` units of every arm (among either rows), ``min_leaf`` units and ``min_share`` of the
    node's. ``columns`` covariates are tried a node (default: a seventh, at least 3), drawn by how much
    heterogeneity ``screening`` trees found in them among rows that didn't choose the cuts (0: all
    alike, and all tried by default, as in grf). ``criterion`` of joint targets: 'standard' splits
    where the squared residuals fall most, 'effects' where the plain sum of squared differences in
    effects is largest. ``penalty`` is added to each side's units in the gain. ``bins`` (at most 254)
    cut each covariate. ``shrink`` pulls effects towards the average as far as the out-of-bag
    calibration says. ``check_codes``: a column of few values is a code, and a new value of it an error
    in ``predict``. ``threads`` None: all; results are the same whatever it is.
    """

    trees: int = 500
    targets: str = "each"
    bag: int = 2
    honesty: float = 0.6
    min_arm: int = 3
    min_leaf: int = 10
    min_share: float = 0.1
    max_depth: int = 50
    columns: int | None = None
    screening: int = 100
    criterion: str = "standard"
    penalty: float = 0.0
    bins: int = 64
    shrink: bool = True
    check_codes: bool = True
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        limits = (
            ("trees", self.trees, 2, 100_000),
            ("bag", self.bag, 2, 50),
            ("min_arm", self.min_arm, 1, None),
            ("min_leaf", self.min_leaf, 1, None),
            ("max_depth", self.max_depth, 0, 1_000),
            ("columns", self.columns, 1, None),
            ("screening", self.screening, 0, 100_000),
            ("bins", self.bins, 2, 254),
            ("seed", self.seed, 0, 2**63 - 1),
            ("threads", self.threads, 1, None),
        )
        for name, value, low, high in limits:
            if value is None:
                continue
            if isinstance(value, bool) or int(value) != value or value < low:
                raise InputError(f"must be a whole number of at least {low}", where=name)
            if high is not None and value > high:
                raise InputError(f"must be at most {high:,}", where=name)
        if self.trees % self.bag or self.trees // self.bag < 2:
            raise InputError(
                f"{self.trees} trees don't make at least two bags of {self.bag}",
                where="trees",
                remedy=f"Use a multiple of {self.bag}.",
            )
        if not 0.1 <= self.honesty <= 0.9:
            raise InputError("must lie between 0.1 and 0.9", where="honesty")
        if not 0 <= self.min_share <= 0.4:
            raise InputError("must lie between 0 and 0.4", where="min_share")
        if self.penalty < 0:
            raise InputError("must not be negative", where="penalty")
        if self.criterion not in ("standard", "effects"):
            raise InputError(
                f"unknown criterion '{self.criterion}'",
                where="criterion",
                remedy="Use standard or effects.",
            )

        if self.targets not in ("each", "joint"):
            raise InputError(
                f"unknown targets '{self.targets}'", where="targets", remedy="Use each or joint."
            )

    def share(self, effects: int) -> int:
        """Trees of each part of a forest with so many effects."""
        if self.targets == "joint":
            return self.trees
        number = max(self.trees // effects, min(self.trees, LEAST_TREES))
        return number - number % self.bag

    @property
    def workers(self) -> int:
        return self.threads or all_threads()

    def tried(self, columns: int) -> int:
        """Covariates tried a node, of so many."""
        if self.columns is not None:
            return min(self.columns, columns)
        return min(columns, max(3, -(-columns // 7)) if self.screening else columns)
