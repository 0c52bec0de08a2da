"""Who is in a trial: named criteria, each an interval of months of a registration segment.

A criterion narrows [lo, hi], the trial months of a segment, using facts known in the month alone:
whether it holds in month k never depends on what happens after k.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ibis
from ibis.expr.types import IntegerValue, Table

from tiltakeval.population.spec import PopulationSpec
from tiltakeval.spells.build import OPEN

Bounds = tuple[IntegerValue | None, IntegerValue | None]


@dataclass(frozen=True)
class Criterion:
    """``bounds(rows, spec)``: lowest and highest month at which it holds (None: no bound)."""

    name: str
    bounds: Callable[[Table, PopulationSpec], Bounds]
    active: Callable[[PopulationSpec], bool] = lambda spec: True


def _window(rows: Table, spec: PopulationSpec) -> Bounds:
    return ibis.literal(spec.entry[0]), ibis.literal(spec.entry[1])


def _whole_months(rows: Table, spec: PopulationSpec) -> Bounds:
    return rows.spell_from + spec.min_months_registered, None


def _alive(rows: Table, spec: PopulationSpec) -> Bounds:
    return None, rows.gone_month - 1


def _age(rows: Table, spec: PopulationSpec) -> Bounds:
    low, high = spec.age
    return rows.birth_month + 12 * low, rows.birth_month + 12 * (high + 1) - 1


def _not_too_long(rows: Table, spec: PopulationSpec) -> Bounds:
    return None, rows.spell_from + (spec.max_months_registered or 0)


def _innsatsgruppe(rows: Table, spec: PopulationSpec) -> Bounds:
    inside = rows.innsatsgruppe.isin(list(spec.innsatsgrupper))
    return inside.fill_null(False).ifelse(ibis.coalesce(rows.assessed_from, 0), OPEN), None


def _not_in_programme(rows: Table, spec: PopulationSpec) -> Bounds:
    return rows.busy_to + 1, None


def _first_decision(rows: Table, spec: PopulationSpec) -> Bounds:
    return None, rows.event_month


#: In the order they are applied and counted.
CRITERIA: tuple[Criterion, ...] = (
    Criterion("entry_window", _window),
    Criterion("registered_whole_month", _whole_months, lambda s: s.min_months_registered > 0),
    Criterion("alive_and_resident", _alive),
    Criterion("age", _age),
    Criterion("months_registered", _not_too_long, lambda s: s.max_months_registered is not None),
    Criterion("innsatsgruppe", _innsatsgruppe, lambda s: bool(s.innsatsgrupper)),
    Criterion("not_in_programme", _not_in_programme),
    Criterion("no_earlier_decision", _first_decision),
)
#: Applied to single person-months after those above.
LATER_STEPS = ("arm_in_study", "legally_eligible")
EVERY_STEP = ("registered", *(c.name for c in CRITERIA), *LATER_STEPS, "sampled")


def narrow(rows: Table, spec: PopulationSpec) -> tuple[Table, tuple[str, ...]]:
    """Adds lo_<step>, hi_<step> for every active criterion, cumulated, then lo and hi.

    Returns the table and the steps' names in order; ``registered`` (the whole segment) first.
    """
    columns: dict[str, IntegerValue] = {
        "lo_registered": rows.seg_from,
        "hi_registered": rows.seg_to,
    }
    lo, hi = rows.seg_from, rows.seg_to
    names = ["registered"]
    for criterion in CRITERIA:
        if not criterion.active(spec):
            continue
        low, high = criterion.bounds(rows, spec)
        lo = lo if low is None else ibis.greatest(lo, low)
        hi = hi if high is None else ibis.least(hi, high)
        columns[f"lo_{criterion.name}"], columns[f"hi_{criterion.name}"] = lo, hi
        names.append(criterion.name)
    return rows.mutate(**columns, lo=lo.cast("int32"), hi=hi.cast("int32")), tuple(names)
