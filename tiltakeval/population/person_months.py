"""Parts of person-months: how and when a spell ends, and covariates as categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import ibis
from ibis.expr.types import IntegerValue, Table

from tiltakeval.population.covariates import (
    DIAGNOSIS,
    EDUCATION,
    INNSATSGRUPPER,
    facts,
    work_history,
)
from tiltakeval.population.tables import Working
from tiltakeval.spells import build
from tiltakeval.spells.build import OPEN
from tiltakeval.spells.outcomes import EDUCATION_PROGRAMMES, job_months

AGE_FROM = (18, 25, 30, 35, 40, 50, 55, 60, 63)
WORKED_FROM = (0, 1, 6, 12, 18)
#: Categories by name with their levels; None: found in the data.
CATEGORIES: Mapping[str, tuple[str, ...] | None] = {
    "sex": ("male", "female"),
    "age": tuple(
        f"{low}_{high - 1}" for low, high in zip(AGE_FROM, (*AGE_FROM[1:], 67))
    ),
    "landgruppe": ("norway", "1", "2", "3", "unknown"),
    "education": EDUCATION,
    "diagnosis": (*DIAGNOSIS, "unknown"),
    "innsatsgruppe": (*INNSATSGRUPPER, "unknown"),
    "season": tuple(f"{m:02d}" for m in range(1, 13)),
    "worked_24": ("0", "1_5", "6_11", "12_17", "18_24"),
    "worked_24_now": ("0", "1_5", "6_11", "12_17", "18_24"),
    "year": None,
    "office": None,
}  # fmt: skip
#: Columns that every table of person-months has, beside the categories.
KEPT = (
    "person_id", "person", "spell_no", "spell_from", "month", "time", "event", "left", "left_at",
)  # fmt: skip
#: Numbers of exits, in order of ``person_periods.EXITS``.
_JOB, _SUBSIDISED, _EDUCATION, _PENSION, _STATE, _GONE, _OUT = range(1, 8)


def days_in_month(month: IntegerValue) -> IntegerValue:
    """Days of a month index (years 1901-2099)."""
    of_year = month % 12
    leap = (of_year == 1) & ((month - 1) % 48 == 0)
    short = of_year.isin([3, 5, 8, 10])
    return ibis.cases((leap, 29), (of_year == 1, 28), (short, 30), else_=31)


def spell_exits(work: Working, base: str) -> Table:
    """person_id, spell_no, left (month in which the person leaves, ``OPEN`` if not yet), exit (number),
    left_at (share of that month before the exit).

    Who leaves on the first of a month leaves at the end of the one before. What the person does in
    the first month not registered through its end, or in the next, decides the type, the first that
    holds of: gone (dead or emigrated), another registered state, uføretrygd, unsubsidised work,
    subsidised work, education begun; else out.
    """
    segments = work.segments.filter(work.segments.state == base)
    spells = segments.select("person_id", "spell_no", "spell_start", "spell_to").distinct()
    merged = build.merge(work.registers["spells"].filter(lambda t: t.state == base))
    p = work.people
    rows = spells.left_join(
        merged, [spells.person_id == merged.person_id, spells.spell_start == merged.start]
    ).select("person_id", "spell_no", "spell_to", merged.stop)
    rows = rows.inner_join(p, "person_id").select(
        rows.person_id, rows.spell_no, rows.stop, p.gone_month,
        judged=(rows.spell_to >= OPEN).ifelse(OPEN, rows.spell_to + 1),
        touched=build.last_touched_month(rows.stop),
    )  # fmt: skip
    rows = rows.mutate(
        gone=rows.gone_month <= rows.judged,
        left=ibis.least(rows.touched, rows.gone_month).cast("int32"),
        judged=ibis.least(rows.judged, rows.gone_month).cast("int32"),
    )
    ended = keep(work, rows, "ended")
    near = ended.filter(ended.judged < OPEN).select("person_id", "spell_no", "judged")
    found = _near(work, base, near)
    joined = ended.left_join(found, ["person_id", "spell_no"])
    kind = ended.gone.ifelse(_GONE, ibis.coalesce(found.kind, _OUT))
    within = (ended.stop.day() - 0.5) / days_in_month(ended.left)
    dated = ended.stop.notnull() & (ended.touched == ended.left)
    at = dated.ifelse((ended.stop.day() == 1).ifelse(1.0, within), 0.5)
    return joined.select(
        ended.person_id,
        ended.spell_no,
        ended.left,
        exit=kind.cast("int8"),
        left_at=at.cast("float64"),
    )


def keep(work: Working, rows: Table, name: str) -> Table:
    """Compute once, under a name that a second call with other options doesn't overwrite."""
    return work.keep(rows, f"{name}_{len(work.made)}")


def _near(work: Working, base: str, ended: Table) -> Table:
    """person_id, spell_no, kind: the exit that ranks first in the month of exit or the next."""
    persons = ended.select("person_id").distinct()
    jobs = work.registers["jobs"].semi_join(persons, "person_id")
    months = job_months(jobs, work.parts, subsidising=work.catalogue.subsidised(), factors=None)
    months = months.filter(months.work_any > 0)
    benefits = work.registers["benefits"]
    pension = benefits.filter((benefits.benefit == "uforetrygd") & (benefits.amount_nok > 0))
    p = work.parts
    school = p.filter(p.begun & p.programme.isin(list(EDUCATION_PROGRAMMES)))
    own = months.work_unsubsidised > 0
    # ranks rise with priority; one join for all dated signs
    signs = ibis.union(
        months.select("person_id", at=months.month.cast("int32"), rank=own.ifelse(3, 2)),
        pension.select("person_id", at=pension.month.cast("int32"), rank=ibis.literal(4)),
        school.select("person_id", at=school.start_month.cast("int32"), rank=ibis.literal(1)),
    )
    dated = ended.inner_join(
        signs, ["person_id", signs.at >= ended.judged, signs.at <= ended.judged + 1]
    ).select("person_id", "spell_no", rank=signs["rank"])
    other = work.segments.filter(work.segments.state != base)
    moved = ended.inner_join(
        other, ["person_id", other.spell_from <= ended.judged + 1, other.spell_to >= ended.judged]
    ).select("person_id", "spell_no", rank=ibis.literal(5))
    every = ibis.union(dated, moved)
    best = every.group_by("person_id", "spell_no").agg(rank=every["rank"].max())
    numbers = {1: _EDUCATION, 2: _SUBSIDISED, 3: _JOB, 4: _PENSION, 5: _STATE}
    kind = ibis.cases(*((best["rank"] == r, n) for r, n in numbers.items()), else_=_OUT)
    return best.select("person_id", "spell_no", kind=kind)


def category_columns(work: Working, rows: Table, names: Iterable[str]) -> Table:
    """Rows with each category as the position in its levels. Education and ``worked_24`` are those
    when the spell's first month at risk begins; the rest when the row's month does."""
    names = tuple(names)
    columns: dict[str, Any] = {}
    if "sex" in names:
        columns["sex"] = rows.female.cast("int8")
    if "age" in names:
        years = rows.month - rows.birth_month
        pairs = [(years >= 12 * low, i) for i, low in enumerate(AGE_FROM)]
        columns["age"] = ibis.cases(*pairs[::-1], else_=0).cast("int8")
    if "landgruppe" in names:
        columns["landgruppe"] = (rows.landgruppe >= 0).ifelse(rows.landgruppe, 4).cast("int8")
    if "diagnosis" in names:
        columns["diagnosis"] = _position(rows.diagnosis_group, DIAGNOSIS)
    if "innsatsgruppe" in names:
        known = (rows.assessed_from < rows.month).fill_null(False)
        assessed = known.ifelse(rows.innsatsgruppe, ibis.null("string"))
        columns["innsatsgruppe"] = _position(assessed, INNSATSGRUPPER)
    if "season" in names:
        columns["season"] = (rows.month % 12).cast("int8")
    if "year" in names:
        columns["year"] = (rows.month / 12).floor().cast("int32")
    if "office" in names:
        columns["office"] = ibis.coalesce(rows.office, "unknown")
    found = rows.select(*KEPT, **columns)
    fixed = [name for name in names if name in ("education", "worked_24")]
    if fixed:
        baseline = _baseline(work, rows, fixed)
        joined = found.left_join(baseline, ["person_id", "spell_no"])
        absent = {"education": 3, "worked_24": 0}
        found = joined.select(
            *(found[c] for c in found.columns),
            **{n: ibis.coalesce(baseline[n], absent[n]).cast("int8") for n in fixed},
        )
    if "worked_24_now" in names:
        units = rows.select("person_id", "spell_no", "month", k="month")
        number = ibis.row_number().over(ibis.window(order_by=["person_id", "spell_no", "month"]))
        units = keep(work, units.mutate(unit=number.cast("int32")), "units")
        history = _worked(work, units).inner_join(units, "unit")
        history = history.select("person_id", "spell_no", "month", worked="worked")
        joined = found.left_join(history, ["person_id", "spell_no", "month"])
        band = _worked_band(ibis.coalesce(history.worked, 0))
        found = joined.select(*(found[c] for c in found.columns), worked_24_now=band)
    return found


def _baseline(work: Working, rows: Table, names: Iterable[str]) -> Table:
    """person_id, spell_no and facts when the spell's first month at risk begins."""
    first = ibis.window(group_by=[rows.person_id, rows.spell_no])
    starts = rows.mutate(k=rows.month.min().over(first))
    starts = starts.filter(starts.month == starts.k)
    number = ibis.row_number().over(ibis.window(order_by=[starts.person, starts.spell_no]))
    units = keep(
        work,
        starts.select(
            "person_id", "person", "k", "spell_from", "spell_no", "birth_month", "female",
            "landgruppe", "office", "diagnosis_group", state=ibis.null("string"),
            assessed=ibis.null("string"), unit=number.cast("int32"),
        ),
        "starts",
    )  # fmt: skip
    found = units.select("unit", "person_id", "spell_no")
    if "education" in names:
        level = facts(work, units).select("unit", "education")
        found = found.left_join(level, "unit").drop("unit_right")
    if "worked_24" in names:
        found = found.left_join(_worked(work, units), "unit").drop("unit_right")
        found = found.mutate(worked_24=_worked_band(ibis.coalesce(found.worked, 0)))
    return found.select("person_id", "spell_no", *names)


def _worked(work: Working, units: Table) -> Table:
    """unit, worked: months with unsubsidised work in the 24 before k. Absent without any job."""
    jobs = work.registers["jobs"].semi_join(units, "person_id")
    months = job_months(jobs, work.parts, subsidising=work.catalogue.subsidised(), factors=None)
    return work_history(units, keep(work, months, "jobs")).select("unit", worked="worked_24")


def _worked_band(months: IntegerValue) -> IntegerValue:
    pairs = [(months >= low, i) for i, low in enumerate(WORKED_FROM)]
    return ibis.cases(*pairs[::-1], else_=0).cast("int8")


def _position(column: Any, levels: tuple[str, ...]) -> IntegerValue:
    pairs = [(column == level, i) for i, level in enumerate(levels)]
    return ibis.cases(*pairs, else_=len(levels)).cast("int8")
