"""Monthly outcomes with units: what is measured, and from which rows.

A job-month is **subsidised** when a participation in a programme that subsidises wages runs on at
least a day of the month for the person, and either has the same employer or names no employer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ibis
from ibis.expr.types import IntegerValue, Table

from tiltakeval.engine import Engine
from tiltakeval.errors import unknown

BENEFITS = (
    "dagpenger",
    "aap",
    "uforetrygd",
    "tiltakspenger",
    "sykepenger",
    "sosialhjelp",
    "kvalifiseringsstonad",
    "overgangsstonad",
)
#: Position from which work is full time, per cent summed over jobs (Meld. St. 33 §5.6.2: 81-100).
FULL_TIME_PCT = 81
#: Months an open place is followed at most, so that its months can be listed.
LONGEST_PLACE = 600
EDUCATION_PROGRAMMES = ("fag_og_yrkesopplaering", "hoyere_utdanning")


@dataclass(frozen=True)
class Outcome:
    """A monthly outcome. ``table``: the register table that covers it; ``column``: where its
    person-months hold it; ``lasting``: once reached it stays (a share ever reached)."""

    name: str
    unit: str
    table: str
    column: str
    money: bool = False
    lasting: bool = False


def _all() -> dict[str, Outcome]:
    found = [
        Outcome("work_unsubsidised", "share", "jobs", "work_unsubsidised"),
        Outcome("work_any", "share", "jobs", "work_any"),
        Outcome("full_time", "share", "jobs", "full_time"),
        Outcome("earnings_nok", "NOK", "jobs", "earnings_nok", money=True),
        Outcome(
            "earnings_unsubsidised_nok", "NOK", "jobs", "earnings_unsubsidised_nok", money=True
        ),
        Outcome("benefits_total_nok", "NOK", "benefits", "benefits_total_nok", money=True),
        *(
            Outcome(f"benefit_{b}_nok", "NOK", "benefits", f"benefit_{b}_nok", money=True)
            for b in BENEFITS
        ),
        Outcome("uforetrygd_grade", "percent", "benefits", "uforetrygd_grade"),
        Outcome("education_entry", "share", "participation", "education_entry", lasting=True),
        Outcome("registered", "share", "spells", "registered"),
    ]
    return {outcome.name: outcome for outcome in found}


OUTCOMES: Mapping[str, Outcome] = _all()


def outcome(name: str) -> Outcome:
    """The outcome of that name. Raises InputError with the nearest name."""
    if name not in OUTCOMES:
        raise unknown("outcome", name, OUTCOMES, where="outcomes")
    return OUTCOMES[name]


def deflator(month: IntegerValue, factors: Mapping[int, float]) -> ibis.expr.types.FloatingValue:
    """Kroner of the base year per nominal krone in a month; years outside ``factors`` take the
    nearest year's."""
    first, last = min(factors), max(factors)
    year = (month / 12).floor().cast("int32").clip(first, last)
    return ibis.cases(*((year == y, factors[y]) for y in sorted(factors)), else_=1.0)


def job_months(
    jobs: Table,
    participations: Table,
    *,
    subsidising: Iterable[str],
    factors: Mapping[int, float] | None,
) -> Table:
    """One row a person and month with a job: person_id, month, work_any, work_unsubsidised,
    full_time (0/1), earnings_nok, earnings_unsubsidised_nok (kroner, at fixed prices when
    ``factors`` are given; each row rounded to whole kroner, so that floating sums are exact and
    don't depend on row order).

    A job-month counts as work when it has a position or pay; a negative correction alone doesn't.
    ``participations`` are those of ``build.participations``.
    """
    keys = sorted(subsidising)
    paid = participations.filter(participations.begun & participations.programme.isin(keys))
    paid = paid.mutate(last=ibis.least(paid.end_month, paid.start_month + LONGEST_PLACE))
    paid = paid.select(
        payer=paid.person_id,
        place=paid.employer_id,
        paid_month=ibis.range(paid.start_month, paid.last + 1, 1).unnest().cast("int32"),
    )
    # two small sets of unique keys, so that neither join repeats a job row
    anywhere = paid.filter(paid.place.isnull()).select("payer", "paid_month").distinct()
    at_place = paid.filter(paid.place.notnull()).distinct()
    at_place = at_place.rename(person_there="payer", month_there="paid_month")
    rows = jobs.left_join(
        anywhere, [jobs.person_id == anywhere.payer, jobs.month == anywhere.paid_month]
    )
    rows = rows.left_join(
        at_place,
        [
            rows.person_id == at_place.person_there,
            rows.employer_id == at_place.place,
            rows.month == at_place.month_there,
        ],
    )
    rows = rows.mutate(marked=rows.payer.notnull() | rows.person_there.notnull())
    pay = rows.earnings_nok.cast("float64")
    if factors is not None:
        pay = pay * deflator(rows.month, factors)
    worked = (rows.position_pct > 0) | (rows.earnings_nok > 0)
    own = ~rows.marked
    rows = rows.select(
        "person_id",
        "month",
        worked=worked.fill_null(False).cast("int8"),
        own=(worked & own).fill_null(False).cast("int8"),
        position=(rows.position_pct.fill_null(0.0) * 100).round(),
        pay=pay.round(),
        own_pay=own.ifelse(pay, 0.0).round(),
    )
    months = rows.group_by("person_id", "month").agg(
        work_any=rows.worked.max(),
        work_unsubsidised=rows.own.max(),
        position=rows.position.sum(),
        earnings_nok=rows.pay.sum(),
        earnings_unsubsidised_nok=rows.own_pay.sum(),
    )
    full_time = months.position >= 100 * FULL_TIME_PCT
    return months.mutate(full_time=full_time.cast("int8")).drop("position")


def benefit_months(
    benefits: Table,
    *,
    factors: Mapping[int, float] | None,
    amounts: Iterable[str] = BENEFITS,
) -> Table:
    """One row a person and month with a benefit: person_id, month, benefits_total_nok,
    benefit_<code>_nok for ``amounts``, received (bit i: some of ``BENEFITS[i]`` was paid),
    uforetrygd_grade (percent). Amounts are rounded to whole kroner row by row."""
    amount = benefits.amount_nok.cast("float64")
    if factors is not None:
        amount = amount * deflator(benefits.month, factors)
    rows = benefits.select(
        "person_id",
        "month",
        "grade",
        bit=ibis.cases(*((benefits.benefit == b, 1 << i) for i, b in enumerate(BENEFITS)), else_=0),
        amount=amount.fill_null(0.0).round(),
    )
    columns = {
        "benefits_total_nok": rows.amount.sum(),
        "received": (rows.amount > 0).ifelse(rows.bit, 0).cast("int32").bit_or(),
    }
    for code in amounts:
        mine = rows.bit == 1 << BENEFITS.index(code)
        columns[f"benefit_{code}_nok"] = mine.ifelse(rows.amount, 0.0).sum()
    pension = rows.bit == 1 << BENEFITS.index("uforetrygd")
    columns["uforetrygd_grade"] = pension.ifelse(rows.grade.fill_null(0.0), 0.0).max()
    return rows.group_by("person_id", "month").agg(**columns)


def coverage(engine: Engine, last_observed: Table) -> dict[str, tuple[int, int]]:
    """First and last month each register table covers."""
    rows = engine.frame(last_observed)
    return {
        str(row.table_name): (int(row.first_month), int(row.last_month))
        for row in rows.itertuples()
    }
