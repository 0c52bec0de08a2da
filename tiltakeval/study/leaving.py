"""How units leave the register, by arm: the description beside the effects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiltakeval.design.durations import Durations
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build
from tiltakeval.population.exits import EXITS, exits
from tiltakeval.population.trials import Population
from tiltakeval.study.spec_register import RegisterStudy

ANALYSIS = "exits"
#: Ways out that are shown; all others count as the last of them.
SHOWN = ("job", "education", "uforetrygd", "out")


def leaving(spec: RegisterStudy, population: Population) -> Estimates:
    """Cumulative incidence of the ways out of the register (Aalen-Johansen), by arm and month.

    Participants and comparison as they are, with their sampling weights but without adjustment: it
    tells what happened to whom, not what the programme did.
    """
    found = exits(population)
    last = len(SHOWN)
    ways = np.array([0, *(1 + SHOWN.index(e) if e in SHOWN else last for e in EXITS[1:])], np.int16)
    design = Durations(
        duration=found.duration.astype(np.float64),
        event=ways[found.exit],
        event_names=SHOWN,
        arm=found.arm,
        arms=population.arms,
        weight=found.weight,
        person=found.person,
        entry=np.zeros(len(found.duration)),
        subgroups={},
        population=population.spec.base,
        estimand=spec.primary,
        time_origin=population.spec.time_zero,
        fingerprint=population.fingerprint,
    )
    months = range(1, spec.population.horizon + 1)
    estimator = build(
        "aalen_johansen", times=tuple(months), level=spec.inference.level, bands=False
    )
    estimates = estimator.estimate(design)
    table = estimates.table[estimates.table["term"] == "cumulative_incidence"]
    return replace(Estimates(table.reset_index(drop=True)).assign(analysis=ANALYSIS), run={})
