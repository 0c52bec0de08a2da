"""What people have a month in pay and benefits after each way out of the register, and while there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ibis

from tiltakeval.population.person_periods import RegisterPeriods
from tiltakeval.population.sampling import person_mark
from tiltakeval.spells.outcomes import benefit_months, job_months

#: Months after an exit that count, and persons that the means rest on, about.
FOLLOWED, PERSONS = 12, 20_000
REMAINING = "remaining"


@dataclass(frozen=True)
class Income:
    """Mean pay and benefits a month (NOK) and the persons it rests on."""

    nok: float
    persons: int


def exit_income(
    periods: RegisterPeriods,
    exits: Mapping[str, tuple[str, ...]],
    *,
    factors: Mapping[int, float] | None,
    followed: int = FOLLOWED,
    persons: int = PERSONS,
) -> dict[str, Income]:
    """Mean income by group of exits in the ``followed`` months after the month of leaving, whatever
    happens in them, and of those ``remaining`` in the months they are registered.

    Months beyond what the extract covers are left out. ``factors`` turn nominal kroner into those of a
    year (None: nominal). The means are over about so many ``persons``, drawn by a fixed mark.
    """
    work = periods.work
    kind = {
        1 + periods.transitions.index(name): number
        for number, members in enumerate(exits.values(), 1)
        for name in members
    }
    people = work.people.semi_join(periods.table.select("person").distinct(), "person")
    share = min(1.0, persons / max(work.engine.count(people), 1))
    people = people.filter(person_mark(people.person, 0) <= int(share * 0xFFFFFFFF))
    people = people.select("person", "person_id")
    rows = periods.table.inner_join(people, "person").select("person_id", "month", "event")
    last = min(work.coverage[table][1] for table in ("jobs", "benefits"))
    left = rows.filter(rows.event.isin(list(kind))).select(
        "person_id",
        kind=ibis.cases(*((rows.event == e, k) for e, k in kind.items()), else_=0),
        month=ibis.range(rows.month + 1, rows.month + followed + 1, 1).unnest().cast("int32"),
    )
    there = rows.select("person_id", "month").distinct()
    months = ibis.union(
        left.select("person_id", "kind", "month"),
        there.select("person_id", kind=ibis.literal(0), month=there.month.cast("int32")),
    )
    months = months.filter(months.month <= last)
    wanted = people.select("person_id")
    pay = job_months(
        work.registers["jobs"].semi_join(wanted, "person_id"),
        work.parts,
        subsidising=work.catalogue.subsidised(),
        factors=factors,
    ).select(worker="person_id", pay_month="month", pay="earnings_nok")
    paid = benefit_months(
        work.registers["benefits"].semi_join(wanted, "person_id"), factors=factors, amounts=()
    ).select(receiver="person_id", paid_month="month", paid="benefits_total_nok")
    joined = months.left_join(
        pay, [months.person_id == pay.worker, months.month == pay.pay_month]
    ).left_join(paid, [months.person_id == paid.receiver, months.month == paid.paid_month])
    income = joined.pay.fill_null(0.0) + joined.paid.fill_null(0.0)
    found = work.engine.frame(
        joined.group_by("kind").agg(nok=income.mean(), persons=joined.person_id.nunique())
    )
    names = (REMAINING, *exits)
    return {
        names[int(row.kind)]: Income(float(row.nok), int(row.persons))
        for row in found.sort_values("kind").itertuples()
    }
