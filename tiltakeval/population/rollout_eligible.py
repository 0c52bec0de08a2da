"""Who counts in a roll-out: the persons of a base month that meet its rules, by office and level."""

from __future__ import annotations

from typing import Any

import ibis
from ibis.expr.types import BooleanValue, Table

from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.population.rollout_spec import FACTS, RolloutSpec
from tiltakeval.population.tables import Working
from tiltakeval.spells.outcomes import BENEFITS

#: What attrition calls the persons counted, beside the units of the panel.
ELIGIBLE = "eligible"


def benefits_of(spec: RolloutSpec) -> tuple[str, ...]:
    """The facts that units are cut by which are benefits."""
    return tuple(name for name in spec.facts if name in BENEFITS)


def eligible(work: Working, spec: RolloutSpec) -> tuple[Table, Attrition]:
    """A row of each person and base month: person_id, k, office, level, until (the first month whose
    outcome is unknown), and the characteristics. Unique by person and k."""
    first, last = spec.base_months
    s = work.segments.filter(work.segments.state == spec.state)
    at_start = ibis.window(
        group_by=[s.person_id, s.spell_no], order_by=[s.seg_from, s.seg_to, s.office]
    )
    s = s.mutate(first_office=s.office.first().over(at_start))
    lo, hi = ibis.greatest(s.seg_from, s.spell_from + 1), ibis.least(s.seg_to, s.spell_to)
    if spec.who == "entering":
        hi = ibis.least(hi, s.spell_from + 1)
    s = s.mutate(lo=ibis.greatest(lo, first).cast("int32"), hi=ibis.least(hi, last).cast("int32"))
    s = s.filter(s.lo <= s.hi)
    s = s.mutate(k=ibis.range(s.lo, s.hi + 1, 1).unnest().cast("int32"))
    p = work.people
    place = "first_office" if spec.office == "spell_start" else "office"
    rows = s.inner_join(p, "person_id").select(
        s.person_id, s.k, p.death_month, p.emigration_month, p.gone_month, p.birth_month, p.female,
        p.landgruppe, office=s[place],
        months_registered=(s.k - s.spell_from).cast("float64"),
        mental_diagnosis=(s.diagnosis_group == "mental").fill_null(False).cast("float64"),
    )  # fmt: skip
    rows = rows.mutate(years=((rows.k - rows.birth_month) / 12).floor().cast("int32"))
    rows = _with_benefits(work, spec, rows)
    steps: list[tuple[str, BooleanValue]] = [
        ("alive_and_resident", rows.gone_month > rows.k),
        ("age", (rows.years >= spec.age[0]) & (rows.years <= spec.age[1])),
    ]
    if spec.without:
        steps.append(("without_benefit", ~rows.barred))
    if spec.receiving:
        steps.append(("receiving_benefit", rows.helped))
    steps.append(("office_known", rows.office.notnull() & (rows.office != "")))
    if "landgruppe" in spec.facts:
        steps.append(("split_known", rows.landgruppe >= 0))
    counted = {"n_0": rows.count(), "p_0": rows.person_id.nunique()}
    inside: Any = ibis.literal(True)
    for i, (_, holds) in enumerate(steps, 1):
        inside = inside & holds
        counted[f"n_{i}"] = rows.count(where=inside)
        counted[f"p_{i}"] = rows.person_id.nunique(where=inside)
    told = work.engine.arrow(rows.agg(**counted)).to_pylist()[0]
    names = ["registered_whole_month", *(name for name, _ in steps)]
    lines: list[tuple[str, int | None, int | None]] = [
        (name, int(told[f"p_{i}"]), int(told[f"n_{i}"])) for i, name in enumerate(names)
    ]
    if not lines[-1][2]:
        emptied = next((name for name, _, n in lines if not n), names[-1])
        raise InputError(
            f"nobody is eligible: none is left after '{emptied}'", where=f"roll-out, {spec.state}"
        )
    until = rows.emigration_month
    if spec.death == "censor":
        until = ibis.least(until, rows.death_month)
    kept = rows.filter(inside).select(
        "person_id", "k", "office", "months_registered", "mental_diagnosis",
        level=_level(spec, rows).cast("int16"), until=until.cast("int32"),
        age_years=rows.years.cast("float64"), female=rows.female.cast("float64"),
        landgruppe_3=(rows.landgruppe == 3).cast("float64"),
    )  # fmt: skip
    return work.keep(kept, "eligible"), Attrition.of(ELIGIBLE, lines)


def _with_benefits(work: Working, spec: RolloutSpec, rows: Table) -> Table:
    """Adds barred, helped, and whether each benefit that units are cut by is received (has_…), all
    of the base month."""
    asked = {
        "barred": spec.without,
        "helped": spec.receiving,
        **{f"has_{name}": (name,) for name in benefits_of(spec)},
    }
    names = sorted({name for group in asked.values() for name in group})
    if not names:
        return rows.mutate(**{column: ibis.literal(False) for column in asked})
    b = work.registers["benefits"]
    first, last = spec.base_months
    b = b.filter(b.benefit.isin(names) & (b.amount_nok > 0))
    b = b.filter((b.month >= first) & (b.month <= last))
    paid = b.group_by("person_id", "month").agg(
        **{column: b.benefit.isin(list(group)).any() for column, group in asked.items() if group}
    )
    joined = rows.left_join(paid, [rows.person_id == paid.person_id, rows.k == paid.month])
    return joined.select(
        *(rows[c] for c in rows.columns),
        **{
            column: ibis.coalesce(paid[column], False) if group else ibis.literal(False)
            for column, group in asked.items()
        },
    )


def _level(spec: RolloutSpec, rows: Table) -> Any:
    """Position of a row in the spec's levels."""
    code: Any = ibis.literal(0)
    for name in spec.facts:
        code = code * len(FACTS[name]) + _fact(name, rows).cast("int32")
    return code


def _fact(name: str, rows: Table) -> Any:
    """Position of a row in the levels of one fact."""
    if name == "sex":
        return rows.female
    if name == "age_band":
        return ibis.cases((rows.years >= 60, 2), (rows.years >= 30, 1), else_=0)
    if name == "landgruppe":
        return rows.landgruppe
    if name == "mental_diagnosis":
        return rows.mental_diagnosis
    if name == "registered_band":
        return ibis.cases(
            (rows.months_registered >= 12, 2), (rows.months_registered >= 6, 1), else_=0
        )
    return rows[f"has_{name}"].ifelse(1, 0)
