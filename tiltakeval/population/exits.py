"""How and when units leave registration: durations and exit types for product-limit estimators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.population.trials import Population
from tiltakeval.spells.build import OPEN
from tiltakeval.spells.outcomes import EDUCATION_PROGRAMMES, job_months

#: Exit types; the first that holds is taken. 0 is censored by the end of the data.
EXITS = ("censored", "dead", "emigrated", "other_state", "uforetrygd", "job", "education", "out")


@dataclass(frozen=True)
class Exits:
    """duration [n]: months from time zero to the month of exit (or to the last month covered, when
    censored), at least 1. exit [n]: position in ``EXITS``. arm, person [n], weight [n] as in the
    design, in unit order."""

    duration: NDArray[np.int32]
    exit: NDArray[np.int8]
    arm: NDArray[np.int16]
    person: NDArray[np.int64]
    weight: NDArray[np.float64]

    def indicator(self, name: str) -> NDArray[np.bool_]:
        """Whether the exit is of that type; the event of a cause-specific estimator."""
        found: NDArray[np.bool_] = self.exit == EXITS.index(name)
        return found


def exits(population: Population) -> Exits:
    """The exit from the registration spell of each unit.

    The month of exit is the first not registered through its end in the spell of time zero. What
    the person does in it or the month after decides the type: unsubsidised work is "job",
    a begun education programme "education".
    """
    work, spec, u = population.work, population.spec, population.units
    last = work.coverage.get("spells", (0, OPEN))[1]
    spells = work.segments.filter(work.segments.state == spec.base)
    spells = spells.select("person_id", "spell_no", "spell_to").distinct()
    rows = u.inner_join(spells, ["person_id", "spell_no"]).select(
        "unit", "person_id", "person", "k", "arm", "weight", left=spells.spell_to + 1
    )
    rows = rows.mutate(left=rows.left.cast("int32"))
    ended = rows.filter(rows.left <= last).select("unit", "person_id", "left")
    jobs = work.registers["jobs"].semi_join(ended.select("person_id").distinct(), "person_id")
    months = job_months(jobs, work.parts, subsidising=work.catalogue.subsidised(), factors=None)
    months = months.filter(months.work_unsubsidised > 0)
    benefits = work.registers["benefits"]
    pension = benefits.filter((benefits.benefit == "uforetrygd") & (benefits.amount_nok > 0))
    p = work.parts
    school = p.filter(p.begun & p.programme.isin(list(EDUCATION_PROGRAMMES)))
    other = work.segments.filter(work.segments.state != spec.base)
    found = {
        "uforetrygd": _near(ended, pension.select("person_id", at=pension.month)),
        "job": _near(ended, months.select("person_id", at=months.month)),
        "education": _near(ended, school.select("person_id", at=school.start_month)),
    }
    moved = ended.inner_join(
        other,
        ["person_id", other.spell_from <= ended.left + 1, other.spell_to >= ended.left],
    ).select("unit")
    people = work.people
    facts = rows.inner_join(people, "person_id").select(
        rows.unit, rows.person, rows.k, rows.arm, rows.weight, rows.left,
        people.death_month, people.emigration_month,
    )  # fmt: skip
    table = work.engine.arrow(facts)
    order = np.argsort(table["unit"].to_numpy())

    def column(name: str) -> NDArray:
        return table[name].to_numpy()[order]

    k, left = column("k").astype(np.int64), column("left").astype(np.int64)
    kind = np.full(len(k), EXITS.index("out"), dtype=np.int8)
    for name in ("education", "job", "uforetrygd"):
        kind[_units(population, found[name])] = EXITS.index(name)
    kind[_units(population, moved)] = EXITS.index("other_state")
    kind[column("emigration_month") <= left] = EXITS.index("emigrated")
    kind[column("death_month") <= left] = EXITS.index("dead")
    kind[left > last] = 0
    return Exits(
        duration=np.maximum(np.minimum(left, last) - k, 1).astype(np.int32),
        exit=kind,
        arm=column("arm").astype(np.int16),
        person=column("person").astype(np.int64),
        weight=column("weight").astype(np.float64),
    )


def _near(ended: Table, events: Table) -> Table:
    """Units with an event in the month of exit or the next."""
    return ended.inner_join(
        events, ["person_id", events.at >= ended.left, events.at <= ended.left + 1]
    ).select("unit")


def _units(population: Population, rows: Table) -> NDArray[np.int64]:
    found = population.work.engine.arrow(rows.distinct())
    return found["unit"].to_numpy().astype(np.int64)
