"""True effects in a synthetic world, by intervening: the same persons, the other decision.

A truth row is a mean over the study's own units (person x decision month); its ``std_error`` is the
Monte Carlo error of that many units. Definitions of outcomes are those of the written register:
month k + h is horizon h, work is a job row with pay in the month, amounts in kroner of the price
year. Death and emigration leave zeros.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.months import parse_month
from tiltakeval.synthetic import truth_kernel as kernel
from tiltakeval.synthetic.layout import BASE_STATES, PROGRAMMES
from tiltakeval.synthetic.prepare import prepare, start_month
from tiltakeval.synthetic.truth_rows import ESTIMANDS, TARGETS, Sums, truth_table
from tiltakeval.synthetic.world import World

BLOCK = 2000
SUBGROUPS = ("sex", "age_band", "landgruppe", "education")
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TruthSpec:
    """Which truths: arms, base states, entry window, horizon, outcomes, estimands, targets.

    ``entry`` are the first and last decision month. ``targets``: "att" (units deciding the
    programme), "ate" (``ate_share`` of the at-risk months of those who may enter it, its decision
    forced), "itt_offer" (units of the randomised trial, arm flipped). Each set in ``sets`` gives
    vs_programme_b on its common population: units deciding any of the set (att) or at risk (ate),
    open to all of it. ``age_from`` are the lower bounds of the second and third age band.
    """

    arms: tuple[str, ...] = PROGRAMMES
    base_states: tuple[str, ...] = BASE_STATES
    entry: tuple[str, str] = ("2016-01", "2020-12")
    horizon: int = 60
    outcomes: tuple[str, ...] = (
        "work_unsubsidised", "work_any", "full_time", "earnings_nok", "earnings_unsubsidised_nok",
        "benefits_total_nok", "benefit_aap_nok", "benefit_uforetrygd_nok", "uforetrygd_grade",
        "education_entry", "registered",
    )  # fmt: skip
    estimands: tuple[str, ...] = ESTIMANDS
    targets: tuple[str, ...] = ("att",)
    sets: tuple[tuple[str, ...], ...] = ()
    ate_share: float = 0.02
    subgroups: bool = True
    age_from: tuple[int, int] = (30, 60)

    def __post_init__(self) -> None:
        for kind, given, known in (
            ("programme", (*self.arms, *(p for s in self.sets for p in s)), PROGRAMMES),
            ("base state", self.base_states, BASE_STATES),
            ("outcome", self.outcomes, kernel.OUTCOMES),
            ("estimand", self.estimands, ESTIMANDS),
            ("target", self.targets, TARGETS),
        ):
            for name in given:
                if name not in known:
                    raise unknown(kind, name, known, where="truth")
        if self.horizon < 0 or parse_month(self.entry[1]) < parse_month(self.entry[0]):
            raise InputError("empty entry window or negative horizon", where="truth")
        if not 0.0 < self.ate_share <= 1.0:
            raise InputError("ate_share must lie in (0, 1]", where="truth")


@dataclass(frozen=True)
class _Plan:
    """What the compiled kernel needs besides sums."""

    k0: int
    k1: int
    horizon: int
    flat: NDArray[np.float64]
    chosen: Ints
    arms: Ints
    bases: Ints
    futures: Ints
    targets: Ints
    rate: float
    edges: Ints
    by_cell: bool
    sets: Ints = field(default_factory=lambda: np.zeros((0, len(PROGRAMMES)), np.int64))


def truth(
    world: World, persons: int, seed: int, spec: TruthSpec | None = None, *, threads: int = 1,
    first: int = 0,
) -> Estimates:  # fmt: skip
    """True effects among ``persons`` persons (numbers ``first`` and on) as `Estimates`.

    Terms: effect, mean_treated, mean_comparison. Memory does not grow with ``persons``. Raises
    InputError when the entry window begins before the simulation.
    """
    spec = spec or TruthSpec()
    plan = _plan(world, spec)
    blocks = [(start, min(BLOCK, first + persons - start))
              for start in range(first, first + persons, BLOCK)]  # fmt: skip
    waiting = iter(blocks)
    parts = range(max(1, threads))

    def work(_: int) -> Sums:
        sums = _zeros(plan)
        for start, n in _shared(waiting):
            kernel.truth_block(
                seed, start, n, plan.k0, plan.k1, plan.horizon, plan.flat, plan.chosen, plan.arms,
                plan.bases, plan.futures, plan.targets, plan.rate, plan.edges, plan.by_cell,
                plan.sets, sums.count, sums.mean, sums.square, sums.gap, sums.set_count,
                sums.set_mean, sums.set_square, sums.set_gap,
            )  # fmt: skip
        return sums

    if threads <= 1:
        total = work(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(work, parts))
        total = found[0]
        for other in found[1:]:
            total += other
    table = truth_table(total, spec)
    run: dict[str, Any] = {
        "estimator": "truth",
        "world": world.name,
        "world_seed": world.seed,
        "world_fingerprint": hashlib.sha256(world.to_toml().encode()).hexdigest()[:16],
        "persons": persons,
        "first_person": first,
        "seed": seed,
        "spec": asdict(spec),
    }
    return Estimates(table, run=run)


def _shared(waiting: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Blocks from an iterator several threads draw from (list iterators are safe to share)."""
    yield from iter(lambda: next(waiting, None), None)  # type: ignore[arg-type]


def _plan(world: World, spec: TruthSpec) -> _Plan:
    t0 = start_month(world)
    k0, k1 = parse_month(spec.entry[0]) - t0, parse_month(spec.entry[1]) - t0
    if k0 < 0:
        raise InputError("the entry window begins before the simulation", where="truth: entry")
    sets = np.array(
        [[int(p in chosen) for p in PROGRAMMES] for chosen in spec.sets], np.int64
    ).reshape(len(spec.sets), len(PROGRAMMES))
    return _Plan(
        k0=k0,
        k1=k1,
        horizon=spec.horizon,
        flat=prepare(world, k1 + spec.horizon + 2).flat,
        chosen=np.array([kernel.OUTCOMES.index(n) for n in spec.outcomes], np.int64),
        arms=flags(spec.arms, PROGRAMMES),
        bases=flags(spec.base_states, BASE_STATES),
        futures=flags(spec.estimands, ESTIMANDS),
        targets=flags(spec.targets, TARGETS),
        rate=spec.ate_share if "ate" in spec.targets else 0.0,
        edges=np.array(spec.age_from, np.int64),
        by_cell=spec.subgroups,
        sets=sets,
    )


def flags(names: Sequence[str], known: Sequence[str]) -> Ints:
    """1 for each known name that is among ``names``."""
    return np.array([int(name in names) for name in known], np.int64)


def _zeros(plan: _Plan) -> Sums:
    cells = 72 if plan.by_cell else 1
    a, shape = len(PROGRAMMES), (plan.horizon + 1, len(plan.chosen))
    m = len(plan.sets)
    p = 1 + int(plan.sets.sum(axis=1).max(initial=0))
    single, joint = (3, a, 2, cells), (2, m, 2, cells)

    def make(*dims: int) -> Ints:
        return np.zeros(dims, np.int64)

    return Sums(
        make(*single), make(*single, 4, *shape), make(*single, 4, *shape), make(*single, 3, *shape),
        make(*joint), make(*joint, p, *shape), make(*joint, p, *shape),
        make(*joint, p * (p - 1) // 2, *shape),
    )  # fmt: skip
