"""The true effect of a roll-out on the eligible of its offices, by intervening.

Every person has two futures with the same keyed draws: the programme comes to the office as it did, or
never. The mean outcome of those eligible in the one, less that in the other, is the effect at the office
in the period; where the programme changes who is eligible, that is part of it, as it is of what a
comparison of offices estimates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval import __version__
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.population.rollout import CHARACTERISTICS, OfficePeriods
from tiltakeval.population.rollout_spec import RolloutSpec
from tiltakeval.synthetic import rollout_kernel as kernel
from tiltakeval.synthetic.layout import BASE_STATES, BENEFITS, JS, PROGRAMMES
from tiltakeval.synthetic.prepare import prepare, start_month
from tiltakeval.synthetic.rollout_truth_rows import BATCHES, Sums, rollout_rows
from tiltakeval.synthetic.truth_kernel import OUTCOMES
from tiltakeval.synthetic.world import World

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BLOCK = 2000
#: Who is eligible, in the kernel's numbers.
WHO = {"fixed": kernel.FIXED, "current": kernel.CURRENT, "entering": kernel.ENTERING}


def rollout_truth(
    world: World, persons: int, seed: int, spec: RolloutSpec, *, threads: int = 1, first: int = 0,
    smallest_cohort: int = 2, cells: Collection[tuple[str, str]] | None = None,
) -> Estimates:  # fmt: skip
    """Effects of the roll-out ``spec`` among ``persons`` persons (numbers ``first`` and on) of a world.

    Terms and labels are those of ``group_time_att`` on the panel of the same ``spec``: ``effect`` by
    cohort and period, and its averages (``effect_by_event_time``, ``effect_overall``, ...). Averages
    are over the cells that can be estimated: cohorts of at least ``smallest_cohort`` offices with some
    office treated later than the period, or those in ``cells`` (labels of cohort and period).
    ``std_error`` is the Monte Carlo error, by deleting one of 20 batches of persons at a time.
    Emigrants count with zeros (the panel drops them: about 1 per cent of an effect in ten years).

    Raises InputError for a programme, state or rule of which the world knows nothing: starts derived
    from participants, regions, splits other than by a benefit, and benefits it doesn't pay.
    """
    office_starts = _check(world, spec)
    parts = _levels(spec)
    sums = [_sums(world, persons, seed, one, first, threads) for _, one in parts]
    joint = Sums(
        np.concatenate([s.count for s in sums], axis=2),
        np.concatenate([s.total for s in sums], axis=2),
    )
    starts = np.tile(office_starts, len(parts))
    level = np.repeat(np.arange(len(parts)), office_starts.size)
    tables = [
        rollout_rows(spec, joint, starts, np.ones(starts.size, bool), "all", smallest_cohort, cells)
    ]
    if spec.split is not None:
        tables += [
            rollout_rows(
                spec, joint, starts, level == i, f"{spec.split}={name}", smallest_cohort, cells
            )
            for i, (name, _) in enumerate(parts)
        ]
    table = tidy([row for rows in tables for row in rows]).assign(
        population=f"{spec.state}:att",
        estimand="vs_comparison",
        programme=spec.programme,
        time_origin="start",
        source="truth",
    )
    run: dict[str, Any] = {
        "estimator": "rollout_truth",
        "world": world.name,
        "world_seed": world.seed,
        "world_fingerprint": hashlib.sha256(world.to_toml().encode()).hexdigest()[:16],
        "persons": persons,
        "first_person": first,
        "seed": seed,
        "spec": asdict(spec),
        "version": __version__,
    }
    return Estimates(table, run=run)


def futures(
    world: World, persons: int, seed: int, spec: RolloutSpec, *, threads: int = 1, first: int = 0
) -> tuple[OfficePeriods, OfficePeriods]:
    """The offices as ``office_periods`` would read them, with the roll-out and had it never come.

    What a register of the same persons gives (emigrants count with zeros), without one: for large
    numbers, and for simulations. Characteristics are not counted. Raises InputError as
    ``rollout_truth`` does.
    """
    starts = _check(world, spec)
    parts = [_sums(world, persons, seed, one, first, threads) for _, one in _levels(spec)]
    count = np.stack([part.count.sum(axis=0) for part in parts], axis=2)  # [2, U, S, T]
    total = np.stack([part.total.sum(axis=0) for part in parts], axis=2)
    periods = np.arange(spec.window[0] // spec.step, spec.window[1] // spec.step + 1)
    names = tuple(f"NAV{i + 1:03d}" for i in range(starts.size))
    mark = f"{hashlib.sha256(world.to_toml().encode()).hexdigest()}:{persons}:{seed}:{first}:{spec}"
    with_it, without = (
        OfficePeriods(
            spec=spec, units=names, starts=starts, periods=periods, persons=count[path][..., 0],
            counts=count[path], sums=total[path].astype(np.float64),
            made_of=np.zeros((*count[path].shape, len(CHARACTERISTICS))),
            attrition=Attrition(), fingerprint=f"{mark}:{path}",
        )
        for path in range(2)
    )  # fmt: skip
    return with_it, without


def _check(world: World, spec: RolloutSpec) -> Floats:
    """The month index of every office's start. Raises InputError."""
    where = "truth of the roll-out"
    faults = [
        (spec.programme not in ("kvp", "ips"), f"{spec.programme} isn't rolled out in the world"),
        (spec.starts != "table", "starts are those of the world, not derived from participants"),
        (spec.unit != "office", "units are the world's offices"),
        (spec.split is not None and spec.split not in BENEFITS, f"no truth by {spec.split}"),
        (spec.death != "zero", "the dead count with zeros"),
    ]
    paid = set(BENEFITS)
    lacking = [name for name in (*spec.without, *spec.receiving) if name not in paid]
    faults.append((bool(lacking), f"the world doesn't pay {', '.join(lacking)}"))
    unknown_outcomes = [name for name in spec.outcomes if name not in OUTCOMES]
    faults.append((bool(unknown_outcomes), f"no truth of {', '.join(unknown_outcomes)}"))
    for wrong, what in faults:
        if wrong:
            raise InputError(what, where=where)
    t0 = start_month(world)
    if min(spec.window[0], spec.base_months[0]) <= t0:
        raise InputError("the window begins before the simulation", where=where)
    arrays = prepare(world, spec.window[1] - t0 + 2)
    own = arrays.kvp_from if spec.programme == "kvp" else arrays.ips_from
    return np.where(own < 10**5, own + float(t0), np.inf)


def _levels(spec: RolloutSpec) -> list[tuple[str, RolloutSpec]]:
    """The levels of the split with the roll-out on each; a benefit received is had or not."""
    if spec.split is None:
        return [("", spec)]
    name = spec.split
    return [
        ("no", replace(spec, split=None, without=(*spec.without, name))),
        ("yes", replace(spec, split=None, receiving=(name,))),
    ]


def _sums(
    world: World, persons: int, seed: int, spec: RolloutSpec, first: int, threads: int
) -> Sums:
    t0 = start_month(world)
    k0, k1 = spec.window[0] - t0, spec.window[1] - t0
    arrays = prepare(world, k1 + 2)
    starts = arrays.kvp_from if spec.programme == "kvp" else arrays.ips_from
    base = [month - t0 for month in spec.base_months]
    after = 0 if spec.who == "fixed" else spec.after
    rule = np.array(
        [JS + BASE_STATES.index(spec.state), WHO[spec.who], after, *spec.age, *base], np.int64
    )
    barred, helped = (
        np.array([int(name in names) for name in BENEFITS], np.int64)
        for names in (spec.without, spec.receiving)
    )
    chosen = np.array([OUTCOMES.index(name) for name in spec.outcomes], np.int64)
    offices, months = arrays.cond.shape[0], k1 - k0 + 1
    programme = PROGRAMMES.index(spec.programme)
    blocks = [
        (number % BATCHES, start, min(BLOCK, first + persons - start))
        for number, start in enumerate(range(first, first + persons, BLOCK))
    ]
    waiting = iter(blocks)
    step = spec.step

    def work(_: int) -> Sums:
        count = np.zeros((BATCHES, 2, offices, months // step), np.int64)
        total = np.zeros((*count.shape, chosen.size), np.int64)
        for batch, start, n in _shared(waiting):
            by_month = np.zeros((2, offices, months), np.int64)
            y = np.zeros((*by_month.shape, chosen.size), np.int64)
            kernel.rollout_block(
                seed, start, n, arrays.flat, starts, programme, k0, k1, rule, barred, helped,
                chosen, by_month, y,
            )  # fmt: skip
            count[batch] += by_month.reshape(2, offices, -1, step).sum(axis=3)
            total[batch] += y.reshape(2, offices, -1, step, chosen.size).sum(axis=3)
        return Sums(count, total)

    if threads <= 1:
        return work(0)
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(work, range(threads)))
    return Sums(
        np.sum([one.count for one in found], axis=0), np.sum([one.total for one in found], axis=0)
    )


def _shared(waiting: Iterator[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Blocks from an iterator several threads draw from (list iterators are safe to share)."""
    yield from iter(lambda: next(waiting, None), None)  # type: ignore[arg-type]
