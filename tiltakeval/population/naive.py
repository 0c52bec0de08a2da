"""Two common wrong populations, for teaching what goes wrong. Never use them for results.

Both return a ``Population`` that goes through the same design as a right one, so that the only
difference is who is compared and from when.
"""

from __future__ import annotations

from dataclasses import replace

import ibis
from ibis.expr.types import Table

from tiltakeval.population.trials import UNIT_COLUMNS, Population


def treated_versus_never(population: Population) -> Population:
    """The comparison restricted to person-months without any decision in the follow-up.

    This conditions on the future: those who never get a programme are, more than others, those who
    found work first. It makes programmes look bad.
    """
    work, spec, u = population.work, population.spec, population.units
    p = work.parts
    month = p.start_month if spec.time_zero == "start" else p.decided
    later = p.mutate(event_at=month)
    hit = u.semi_join(
        later,
        ["person_id", later.event_at > u.k, later.event_at <= u.k + spec.horizon],
    ).select("unit")
    kept = u.filter(u.arm > 0).union(u.filter(u.arm == 0).anti_join(hit, "unit"))
    return _with_units(population, kept, "never")


def time_zero_at_registration(population: Population, *, within_months: int = 12) -> Population:
    """Everybody followed from the month of registration, treated if decided on within
    ``within_months``, comparison if not.

    The treated had to stay registered until their decision: immortal time, counted as an effect of
    the programme. k is the month the spell began.
    """
    spec, r = population.spec, population.risk
    low, high = spec.entry
    first = r.filter(
        r.seg_from == r.spell_from,
        r.seg_to >= r.seg_from,
        r.spell_from >= low,
        r.spell_from <= high,
        r.gone_month > r.spell_from,
        r.spell_from - r.birth_month >= 12 * spec.age[0],
        r.spell_from - r.birth_month < 12 * (spec.age[1] + 1),
        r.busy_to < r.spell_from,
    )
    soon = first.event_month <= first.spell_from + within_months
    rows = first.filter(~soon | (first.event_arm > 0))
    soon = rows.event_month <= rows.spell_from + within_months
    assessed = (rows.assessed_from <= rows.spell_from).ifelse(
        rows.innsatsgruppe, ibis.null("string")
    )
    rows = rows.mutate(
        k=rows.spell_from.cast("int32"),
        assessed=assessed,
        arm=soon.ifelse(rows.event_arm, 0).cast("int16"),
        allowed=ibis.literal(2 ** (len(spec.arms) + 1) - 1, "int32"),
        weight=ibis.literal(1.0),
    )
    return _with_units(population, rows, "registration")


def _with_units(population: Population, rows: Table, name: str) -> Population:
    number = ibis.row_number().over(ibis.window(order_by=[rows.person, rows.k]))
    units = rows.select(*UNIT_COLUMNS, "arm", "allowed", "weight", unit=number.cast("int32"))
    return replace(
        population,
        units=population.work.keep(units, f"naive_{name}"),
        fingerprint=f"{population.fingerprint}:naive_{name}",
    )
