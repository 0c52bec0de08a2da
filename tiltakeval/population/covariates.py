"""Baseline facts of person-months, strictly before the month: the engine's part.

Every function takes ``units``, any table with the columns ``trials.UNIT_COLUMNS`` and ``unit``, so
the same code gives the baseline of trials and the time-varying covariates of the censoring model.
Histories are joins of units to person-months with filtered aggregates. ``features`` turns the raw
columns into a numeric matrix.
"""

from __future__ import annotations

from collections.abc import Iterable

import ibis
from ibis.expr.types import Table

from tiltakeval.population.tables import PACK, Working
from tiltakeval.spells.build import month_of
from tiltakeval.spells.outcomes import BENEFITS, benefit_months, job_months

EDUCATION = ("grunnskole", "videregaende", "hoyere", "ukjent")
DIAGNOSIS = ("none", "mental", "musculoskeletal", "other")
INNSATSGRUPPER = ("IKVAL", "BFORM", "BATT", "VARIG")
#: Longest look-back, months.
LOOKBACK = 24
WORK_WINDOWS = (3, 6, 12, 24)
EARNINGS_WINDOWS = (12, 24)
BENEFIT_WINDOWS = (3, 12)


def needed_months(
    work: Working,
    persons: Table,
    first: int,
    last: int,
    *,
    factors: dict[int, float] | None,
    amounts: Iterable[str] = BENEFITS,
    name: str = "",
) -> tuple[Table, Table]:
    """Job and benefit person-months of ``persons`` (a table with person_id) in first..last, computed
    once; what histories and outcomes are joined to."""
    jobs = work.registers["jobs"]
    jobs = jobs.filter((jobs.month >= first) & (jobs.month <= last))
    jobs = jobs.semi_join(persons, "person_id")
    benefits = work.registers["benefits"]
    benefits = benefits.filter((benefits.month >= first) & (benefits.month <= last))
    benefits = benefits.semi_join(persons, "person_id")
    subsidising = work.catalogue.subsidised()
    return (
        work.keep(
            job_months(jobs, work.parts, subsidising=subsidising, factors=factors), f"jobs{name}"
        ),
        work.keep(benefit_months(benefits, factors=factors, amounts=amounts), f"benefits{name}"),
    )


def facts(work: Working, units: Table) -> Table:
    """unit and what is fixed or known at the month: k, age_months, female, landgruppe, education,
    diagnosis, innsatsgruppe (positions in the lists above, -1 unknown or not assessed), rwc,
    registered_months, earlier_registration, other_state_before, office_unemployment (per cent) and
    vacancies (per 1000) of the month before (missing where not covered)."""
    education = work.registers["education"]
    levels = ibis.cases(
        *((education.level == level, n) for n, level in enumerate(EDUCATION)), else_=-1
    )
    reached = education.select("person_id", reached=month_of(education.date), level_code=levels)
    known = units.inner_join(reached, ["person_id", units.k > reached.reached])
    known = known.group_by("unit").agg(packed=(known.reached * 16 + known.level_code).max())
    segments = work.segments
    rwc = segments.state == "nedsatt_arbeidsevne"
    begun = segments.group_by("person_id").agg(
        first_js=segments.spell_from.min(where=~rwc), first_rwc=segments.spell_from.min(where=rwc)
    )
    offices = work.registers["offices"]
    market = offices.select(
        at_office=offices.office,
        at_month=offices.month + 1,
        office_unemployment=offices.unemployment_rate,
        vacancies=offices.vacancies_per_1000,
    )
    joined = (
        units.left_join(known, "unit")
        .left_join(begun, units.person_id == begun.person_id)
        .left_join(market, [units.office == market.at_office, units.k == market.at_month])
    )
    rows = joined.select(
        *(
            units[c]
            for c in (
                "unit",
                "k",
                "state",
                "spell_from",
                "birth_month",
                "female",
                "landgruppe",
                "diagnosis_group",
                "assessed",
            )
        ),
        known.packed,
        begun.first_js,
        begun.first_rwc,
        market.office_unemployment,
        market.vacancies,
    )
    here_rwc = rows.state == "nedsatt_arbeidsevne"
    other = here_rwc.ifelse(rows.first_js, rows.first_rwc)
    earliest = ibis.least(
        ibis.coalesce(rows.first_js, rows.spell_from),
        ibis.coalesce(rows.first_rwc, rows.spell_from),
    )
    return rows.select(
        "unit",
        "k",
        "female",
        "landgruppe",
        age_months=rows.k - rows.birth_month,
        education=ibis.coalesce(rows.packed % 16, 3).cast("int8"),
        diagnosis=_position(rows.diagnosis_group, DIAGNOSIS),
        innsatsgruppe=_position(rows.assessed, INNSATSGRUPPER),
        rwc=here_rwc.cast("int8"),
        registered_months=rows.k - rows.spell_from,
        earlier_registration=(earliest < rows.spell_from).cast("int8"),
        other_state_before=(other < rows.spell_from).fill_null(False).cast("int8"),
        office_unemployment=rows.office_unemployment,
        vacancies=rows.vacancies,
    )


def work_history(units: Table, jobs: Table) -> Table:
    """unit, worked_<w> (months with unsubsidised work in the w months before), subsidised_24,
    earnings_<w> (kroner, all jobs). Units without any job are absent."""
    rows = _before(units, jobs, ("work_unsubsidised", "work_any", "earnings_nok"))
    found = {
        f"worked_{w}": _times(rows, (rows.work_unsubsidised > 0) & (rows.back <= w))
        for w in WORK_WINDOWS
    }
    found["subsidised_24"] = _times(rows, rows.work_any > rows.work_unsubsidised)
    for w in EARNINGS_WINDOWS:
        found[f"earnings_{w}"] = (
            rows.earnings_nok.sum(where=rows.back <= w).fill_null(0).cast("float64")
        )
    return rows.group_by("unit").agg(**found)


def benefit_history(units: Table, benefits: Table) -> Table:
    """unit, <benefit>_<w>: months with it in the w months before. Absent without any."""
    rows = _before(units, benefits, ("received",), longest=max(BENEFIT_WINDOWS))
    found = {
        f"{b}_{w}": _times(rows, ((rows.received & (1 << i)) > 0) & (rows.back <= w))
        for i, b in enumerate(BENEFITS)
        for w in BENEFIT_WINDOWS
    }
    return rows.group_by("unit").agg(**found)


def programme_history(work: Working, units: Table) -> Table:
    """unit, programmes_24 (begun in or lasting into the 24 months before), unbegun_24 (decided in
    them, not begun by then), last_code (position in ``work.programmes`` of the programme ended
    last), months_since_end, running (bool: one begun before the month not yet ended), pending
    (bool: a decision before the month in this spell, not begun). Absent without any history."""
    p = work.parts
    rows = units.inner_join(p, ["person_id", units.k > p.decided]).select(
        "unit",
        "k",
        "spell_from",
        p.code,
        p.decided,
        started=p.begun & (p.start_month < units.k),
        start_month=p.start_month,
        end_month=p.end_month,
        blocked_to=p.blocked_to,
    )
    started = rows.started.fill_null(False)
    ended = started & (rows.end_month < rows.k)
    packed = (rows.end_month * PACK + rows.code).max(where=ended)
    found = rows.group_by("unit").agg(
        programmes_24=(started & (rows.end_month >= rows.k - LOOKBACK)).cast("int16").sum(),
        unbegun_24=(~started & (rows.decided >= rows.k - LOOKBACK)).cast("int16").sum(),
        packed=packed,
        k=rows.k.max(),
        running=(started & (rows.end_month >= rows.k)).cast("int8").max(),
        pending=(~started & (rows.decided >= rows.spell_from) & (rows.blocked_to >= rows.k))
        .cast("int8")
        .max(),
    )
    return found.select(
        "unit",
        "programmes_24",
        "unbegun_24",
        "running",
        "pending",
        last_code=ibis.coalesce(found.packed % PACK, -1).cast("int16"),
        months_since_end=ibis.coalesce(
            found.k - (found.packed / PACK).floor().cast("int32"), -1
        ).cast("int32"),
    )


def places(work: Working, units: Table) -> Table:
    """unit, office, municipality (where the person lived when the month began; missing unknown)."""
    lived = work.registers["residence"]
    lived = lived.select(
        "person_id", "municipality", moved_in=month_of(lived.from_date), day=lived.from_date
    )
    rows = units.left_join(lived, ["person_id", units.k > lived.moved_in])
    last = ibis.window(group_by=rows.unit, order_by=[rows.day.desc(nulls_first=False)])
    rows = rows.mutate(rank=ibis.row_number().over(last))
    return rows.filter(rows.rank == 0).select("unit", "office", "municipality")


def _before(
    units: Table, months: Table, columns: tuple[str, ...], *, longest: int = LOOKBACK
) -> Table:
    """Units joined to their person-months in the ``longest`` months before, with ``back`` (1 is the
    month just before)."""
    join = units.inner_join(
        months,
        ["person_id", months.month < units.k, months.month >= units.k - longest],
    )
    return join.select("unit", *(months[c] for c in columns), back=units.k - months.month)


def _times(rows: Table, holds: ibis.expr.types.BooleanValue) -> ibis.expr.types.IntegerValue:
    """In how many of the group's rows it holds."""
    return rows.count(where=holds).cast("int16")


def _position(column: ibis.expr.types.StringColumn, levels: tuple[str, ...]) -> ibis.Value:
    return ibis.cases(*((column == level, n) for n, level in enumerate(levels)), else_=-1).cast(
        "int8"
    )
