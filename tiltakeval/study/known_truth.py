"""The true effects behind an invented register, for the estimands a study asks about."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from tiltakeval.errors import InputError
from tiltakeval.estimates.lockin import CUMULATED_UNIT
from tiltakeval.estimates.table import Estimates, key_columns, tidy
from tiltakeval.study.against import all_pairs
from tiltakeval.study.spec_register import AGAINST, RegisterStudy
from tiltakeval.synthetic.truth import ESTIMANDS, TARGETS, TruthSpec, truth
from tiltakeval.synthetic.truth_kernel import OUTCOMES
from tiltakeval.synthetic.world import World, load_world

#: Seed of the persons the truth is computed on: the population's, not those of a register.
TRUTH_SEED = 20_240_101
#: At most this many times as many persons as the register has.
TIMES = 10
WORLD = "world.toml"


def world_beside(folder: Path) -> World:
    """The world an invented register was drawn from. Raises InputError when it can't be read."""
    try:
        return load_world(folder / WORLD)
    except InputError as error:
        raise InputError(
            f"the invented register is of another version ({error.what})",
            where=str(folder),
            remedy="Make it anew with tiltakeval synthesize.",
        ) from None


def known_truth(spec: RegisterStudy, world: World, persons: int) -> Estimates | None:
    """True effects in the world, or None where it offers none of what the study asks.

    The truth is of the world's population: ``persons`` other persons of it. Raises InputError.
    """
    if spec.population.time_origin != "vedtak":
        return None
    estimands = {name for analysis in spec.analysis for name in analysis.estimands}
    asked = tuple(name for name in ESTIMANDS if name in estimands)
    outcomes = {name for analysis in spec.analysis for name in analysis.outcomes}
    targets = {a.estimator.rsplit("_", 1)[-1] for a in spec.analysis}
    if AGAINST in estimands:
        targets.add("att")  # the common population is one of participants
    parts = []
    for base in spec.base:  # one at a time: a set of programmes belongs to its base
        compared = all_pairs(spec, base)
        chosen = TruthSpec(
            arms=base.arms,
            base_states=(base.state,),
            entry=spec.population.entry,
            horizon=spec.population.horizon,
            outcomes=tuple(name for name in OUTCOMES if name in outcomes),
            estimands=asked,
            targets=tuple(name for name in TARGETS if name in targets) or ("att",),
            sets=tuple(compared),
        )
        if not chosen.outcomes or not (asked or compared):
            continue
        known = truth(world, persons, TRUTH_SEED, chosen, threads=threads())
        pairs = {pair for found in compared.values() for pair in found}
        parts.append(_only_studied(spec, known, pairs))
    return Estimates.concat(parts) if parts else None


def _only_studied(
    spec: RegisterStudy, known: Estimates, pairs: Collection[tuple[str, str]]
) -> Estimates:
    """The effects that the study asks for, programmes against one another as it pairs them."""
    table = known.table[known.table["estimate"].notna() & (known.table["term"] == "effect")]
    against = table["comparator"] != "none"
    found = list(zip(table["programme"], table["comparator"]))
    turned = np.array([(b, a) in pairs for a, b in found], dtype=bool) & against.to_numpy()
    straight = np.array([pair in pairs for pair in found], dtype=bool)
    single = ~against & (table["estimand"] != AGAINST)
    effects = tidy(pd.concat([table[single | straight], reverse(table[turned])]))
    return Estimates(
        pd.concat([effects, cumulated(spec, effects)], ignore_index=True), run=known.run
    )


def reverse(effects: pd.DataFrame) -> pd.DataFrame:
    """Effects of b against a from those of a against b."""
    return effects.assign(
        programme=effects["comparator"],
        comparator=effects["programme"],
        estimate=-effects["estimate"],
        n_treated=effects["n_comparison"],
        n_comparison=effects["n_treated"],
    )


def cumulated(spec: RegisterStudy, effects: pd.DataFrame) -> pd.DataFrame:
    """The running sums of the effects that the lock-in shows, and their values at its windows."""
    rows = effects[effects["outcome"].isin(spec.lock_in.outcomes)].sort_values("horizon")
    keys = [name for name in key_columns() if name != "horizon"]
    paths = rows.assign(
        estimate=rows.groupby(keys, sort=False)["estimate"].cumsum(),
        std_error=np.nan,
        term="cumulated_path",
        unit=rows["unit"].replace(CUMULATED_UNIT),
    )
    at = paths[paths["horizon"].isin(spec.lock_in.windows)]
    windows = at.assign(term="cumulated", period="0-" + at["horizon"].astype(str), horizon=pd.NA)
    whole = paths[paths["subgroup"] == "all"]
    return pd.concat([tidy(whole), tidy(windows)], ignore_index=True)


def register_truth(world: World, persons: int) -> Estimates:
    """Every truth the synthetic register offers, for ``tiltakeval synthesize --truth``."""
    chosen = TruthSpec(targets=("att", "itt_offer"))
    return truth(world, persons, TRUTH_SEED, chosen, threads=threads())


def threads() -> int:
    """Threads for the simulation, which doesn't use linear algebra."""
    return os.cpu_count() or 1
