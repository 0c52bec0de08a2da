"""Sequential target trials: time zero, arms, comparison, and who was lost on the way.

For every calendar month k of the entry window the treated are those whose first decision (or start)
of the registration spell falls in k, the comparison those at risk in k without one; later entry is
left to the estimand. Persons recur across trials. Nothing dated after k decides who is in trial k,
in which arm, or with what baseline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import ibis
import numpy as np
import pandas as pd
from ibis.expr.types import Table

from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.months import month_label
from tiltakeval.population.criteria import narrow
from tiltakeval.population.risk import eligible, risk_segments, with_rollout
from tiltakeval.population.sampling import month_draw
from tiltakeval.population.spec import PopulationSpec
from tiltakeval.population.tables import Working, prepare
from tiltakeval.programmes.catalogue import Catalogue
from tiltakeval.registers.read import Registers

#: Columns every table of units has; covariates need no more.
UNIT_COLUMNS = (
    "person_id",
    "person",
    "k",
    "state",
    "spell_from",
    "spell_no",
    "birth_month",
    "female",
    "landgruppe",
    "office",
    "assessed",
    "diagnosis_group",
)


@dataclass(frozen=True)
class Population:
    """Units: one row a person and trial month, in the engine.

    ``units``: unit (0.. in order of person, k), the ``UNIT_COLUMNS``, arm (0 comparison, 1.. as
    ``spec.arms``), weight (1 / probability of having been sampled), allowed (bit a: the unit may
    legally enter arm a). ``shares``: sampled share of the comparison by trial month.
    """

    spec: PopulationSpec
    work: Working
    units: Table
    risk: Table
    attrition: Attrition
    shares: Mapping[int, float]
    checks: tuple[Check, ...]
    fingerprint: str

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms, the comparison first."""
        return ("none", *self.spec.arms)

    def close(self) -> None:
        """Drop the working tables."""
        self.work.close()


def build_population(
    registers: Registers, catalogue: Catalogue, spec: PopulationSpec
) -> Population:
    """The units of the target trials declared by ``spec``, with attrition at every filter.

    Raises InputError for an unknown programme, an entry window outside what the extract covers, or
    an arm or comparison without units.
    """
    for arm in spec.arms:
        catalogue[arm]
    work = prepare(registers, catalogue, seed=spec.seed)
    _check_coverage(work, spec)
    risk, steps = risk_of(work, spec)
    candidates = candidates_of(work, risk, spec)
    lines = _segment_attrition(work, risk, steps)
    lines += _unit_attrition(work, candidates)
    kept = candidates.filter(candidates.arm >= 0, candidates.own_eligible)
    shares = _shares(work, kept, spec)
    units = work.keep(_units(work, kept, spec, shares), "units")
    counts = work.engine.frame(
        units.group_by("arm").agg(
            persons=units.person.nunique(), units=units.count(), weighted=units.weight.sum()
        )
    )
    total = work.engine.frame(units.agg(persons=units.person.nunique()))
    lines.append(("sampled", int(total.persons[0]), int(counts.units.sum())))
    weighted = float(counts.weighted.fillna(0).sum())
    _check_arms(counts, spec)
    attrition = Attrition.of(spec.base, lines)
    exact = attrition.steps.units.astype("Float64")
    exact.iloc[-1] = weighted
    attrition = Attrition(attrition.steps.assign(weighted_units=exact))
    checks = (_sizes(counts, spec), *_lookback(work, spec))
    mark = hashlib.blake2b(
        f"{registers.fingerprint}|{catalogue.fingerprint}|{spec}".encode(), digest_size=16
    )
    return Population(spec, work, units, risk, attrition, shares, checks, mark.hexdigest())


def risk_of(work: Working, spec: PopulationSpec) -> tuple[Table, tuple[str, ...]]:
    """Segments of the base state with lo..hi, the months at risk, computed once; and the steps."""
    risk = risk_segments(work, (spec.base,), time_zero=spec.time_zero, arms=spec.arms)
    risk, steps = narrow(risk, spec)
    return work.keep(with_rollout(work, risk, spec.arms), "risk"), steps


def candidates_of(work: Working, risk: Table, spec: PopulationSpec) -> Table:
    """Person-months at risk with arm (-1: a programme outside the study), what they may enter
    (``allowed``, bit a for arm a) and whether that covers their own arm (``own_eligible``; for the
    comparison: any arm)."""
    rows = risk.filter(risk.lo <= risk.hi)
    rows = rows.mutate(k=ibis.range(rows.lo, rows.hi + 1, 1).unnest().cast("int32"))
    assessed = (rows.assessed_from <= rows.k).ifelse(rows.innsatsgruppe, ibis.null("string"))
    rows = rows.mutate(
        arm=(rows.k == rows.event_month).ifelse(rows.event_arm, 0).cast("int16"),
        assessed=assessed,
    )
    allowed = ibis.literal(1, "int32")
    for number, arm in enumerate(spec.arms, start=1):
        allowed = allowed + eligible(work, rows, spec, arm).ifelse(1 << number, 0).cast("int32")
    rows = rows.mutate(allowed=allowed)
    own = ibis.cases(
        (rows.arm == 0, rows.allowed > 1),
        *((rows.arm == a, (rows.allowed & (1 << a)) > 0) for a in range(1, len(spec.arms) + 1)),
        else_=False,
    )
    return rows.mutate(own_eligible=own)


def _segment_attrition(
    work: Working, risk: Table, steps: tuple[str, ...]
) -> list[tuple[str, int | None, int | None]]:
    """Persons and person-months left after each interval criterion, in one pass."""
    months = {}
    for step in steps:
        lo, hi = risk[f"lo_{step}"], risk[f"hi_{step}"]
        months[f"n_{step}"] = ibis.greatest(hi - lo + 1, 0).sum()
    by_person = risk.group_by("person_id").agg(**months)
    found = {}
    for step in steps:
        found[f"p_{step}"] = (by_person[f"n_{step}"] > 0).cast("int64").sum()
        found[f"u_{step}"] = by_person[f"n_{step}"].sum()
    row = work.engine.frame(by_person.agg(**found)).fillna(0).iloc[0]
    return [
        (step, int(row[f"p_{step}"]), None if step == "registered" else int(row[f"u_{step}"]))
        for step in steps
    ]


def _unit_attrition(work: Working, rows: Table) -> list[tuple[str, int | None, int | None]]:
    """Persons and person-months left after the criteria on single months."""
    in_study = rows.arm >= 0
    by_person = rows.group_by("person").agg(
        n1=in_study.cast("int64").sum(), n2=(in_study & rows.own_eligible).cast("int64").sum()
    )
    row = work.engine.frame(
        by_person.agg(
            p1=(by_person.n1 > 0).cast("int64").sum(),
            u1=by_person.n1.sum(),
            p2=(by_person.n2 > 0).cast("int64").sum(),
            u2=by_person.n2.sum(),
        )
    ).fillna(0).iloc[0]  # fmt: skip
    return [
        ("arm_in_study", int(row.p1), int(row.u1)),
        ("legally_eligible", int(row.p2), int(row.u2)),
    ]


def _shares(work: Working, kept: Table, spec: PopulationSpec) -> dict[int, float]:
    """Share of the comparison person-months to sample, by trial month (absent: all)."""
    if spec.cap is None:
        return {}
    waiting = kept.filter(kept.arm == 0)
    counts = work.engine.frame(waiting.group_by("k").agg(n=waiting.count()))
    return {int(row.k): spec.cap / int(row.n) for row in counts.itertuples() if row.n > spec.cap}


def _units(work: Working, kept: Table, spec: PopulationSpec, shares: Mapping[int, float]) -> Table:
    """The sampled units, numbered by person and month."""
    weight = ibis.literal(1.0)
    if shares:
        months = sorted(shares)
        limits = [int(np.floor(shares[k] * 2**32)) for k in months]
        lookup = work.small({"at": [np.int32(k) for k in months], "cut": limits}, "shares")
        kept = kept.left_join(lookup, kept.k == lookup["at"])
        limit = ibis.coalesce(kept.cut, 2**32)
        kept = kept.filter((kept.arm > 0) | (month_draw(kept.mark, kept.k) < limit))
        limit = ibis.coalesce(kept.cut, 2**32)
        weight = (kept.arm > 0).ifelse(1.0, 2.0**32 / limit.cast("float64"))
    number = ibis.row_number().over(ibis.window(order_by=[kept.person, kept.k]))
    return kept.select(
        *UNIT_COLUMNS, "arm", "allowed", unit=number.cast("int32"), weight=weight.cast("float64")
    )


def _check_coverage(work: Working, spec: PopulationSpec) -> None:
    for table in ("spells", "participation"):
        if table not in work.coverage:
            continue
        first, last = work.coverage[table]
        if spec.entry[0] < first or spec.entry[1] > last:
            raise InputError(
                f"the entry window {month_label(spec.entry[0])} to {month_label(spec.entry[1])} "
                f"is not inside the months '{table}' covers, "
                f"{month_label(first)} to {month_label(last)}",
                where="population.entry",
                remedy="Narrow the entry window, or supply a longer extract.",
            )


def _check_arms(counts: pd.DataFrame, spec: PopulationSpec) -> None:
    present = set(counts.arm.astype(int))
    lacking = [name for code, name in enumerate(("none", *spec.arms)) if code not in present]
    if lacking:
        raise InputError(
            f"no units in {', '.join(lacking)}",
            where=f"population {spec.base}",
            remedy="Leave the arm out for this base state, widen the entry window, or check the "
            "catalogue's rules and the attrition.",
        )


def _sizes(counts: pd.DataFrame, spec: PopulationSpec) -> Check:
    """How many units and persons each arm has, raw and weighted."""
    names = dict(enumerate(("none", *spec.arms)))
    detail = counts.sort_values("arm").assign(arm=lambda t: t.arm.astype(int).map(names))
    return Check(
        key="arm_sizes",
        status="informative",
        scope={"population": spec.base},
        statistic=float(counts.units.sum()),
        detail=detail.reset_index(drop=True),
        counts=("persons", "units"),
    )


def _lookback(work: Working, spec: PopulationSpec) -> list[Check]:
    """Whether the history of the first trials is covered for 24 months."""
    found = []
    for table in ("jobs", "benefits", "participation"):
        if table in work.coverage:
            short = max(0, work.coverage[table][0] + 24 - spec.entry[0])
            found.append(
                Check(
                    key="history_covered",
                    status="passed" if short == 0 else "failed",
                    scope={"population": spec.base, "table": table},
                    statistic=float(short),
                    threshold=0.0,
                    message={"months_short": short},
                )
            )
    return found
