"""The true effects behind an invented register, for the estimands a study asks about."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from tiltakeval.errors import InputError
from tiltakeval.estimates.lockin import CUMULATED_UNIT
from tiltakeval.estimates.table import Estimates, key_columns, tidy
from tiltakeval.study.spec_register import RegisterStudy
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
    estimands = {name for analysis in spec.analysis for name in analysis.estimands}
    asked = tuple(name for name in ESTIMANDS if name in estimands)
    outcomes = {name for analysis in spec.analysis for name in analysis.outcomes}
    targets = {a.estimator.rsplit("_", 1)[-1] for a in spec.analysis}
    chosen = TruthSpec(
        arms=tuple(dict.fromkeys(arm for base in spec.base for arm in base.arms)),
        base_states=tuple(base.state for base in spec.base),
        entry=spec.population.entry,
        horizon=spec.population.horizon,
        outcomes=tuple(name for name in OUTCOMES if name in outcomes),
        estimands=asked,
        targets=tuple(name for name in TARGETS if name in targets) or ("att",),
        sets=tuple((pair.programme, pair.against) for pair in spec.contrast),
    )
    if spec.population.time_origin != "vedtak" or not asked or not chosen.outcomes:
        return None
    return _only_studied(spec, truth(world, persons, TRUTH_SEED, chosen, threads=threads()))


def _only_studied(spec: RegisterStudy, known: Estimates) -> Estimates:
    """The effects of programmes the study has in that base population."""
    table = known.table
    state = table["population"].str.split(":").str[0]
    keep = table["estimate"].notna() & (table["term"] == "effect")
    for base in spec.base:
        arms = [*base.arms, "none"]
        here = table["programme"].isin(arms) & table["comparator"].isin(arms)
        keep &= (state != base.state) | here
    effects = known.take(keep.to_numpy().nonzero()[0])
    return Estimates(
        pd.concat([effects.table, cumulated(spec, effects.table)], ignore_index=True),
        run=effects.run,
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
