"""How many of the eligible take part in a programme that has come to their office, unit by level."""

from __future__ import annotations

import ibis
import numpy as np
import pandas as pd
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.months import month_label
from tiltakeval.population.rollout_spec import RolloutSpec
from tiltakeval.population.tables import Working

Floats = NDArray[np.float64]
NEVER = 1_000_000


def participation(
    work: Working, spec: RolloutSpec, rows: Table, unit_of: pd.DataFrame, shape: tuple[int, int]
) -> tuple[Floats, Floats]:
    """``exposed`` [U, S]: person-months (persons, of a fixed group) that the programme had come to, and
    ``took`` [U, S]: those of them that began it before their outcome.

    ``rows``: person_id, k, unit, level of those counted. With repeated cross-sections a base month
    counts from the unit's start on, and the person takes part if the programme begins in it or within
    ``spec.after`` months; in a fixed group everybody counts whose unit has a start in the window, and
    takes part if the programme begins from the base month to the window's end.

    Raises InputError where the extract doesn't cover participation in these months.
    """
    first, last = spec.base_months[0], spec.window[1]
    covered = work.coverage.get("participation")
    if covered is not None and (covered[0] > first or covered[1] < last):
        raise InputError(
            f"participation isn't covered in all months {month_label(first)} to {month_label(last)}: "
            f"the extract has {month_label(covered[0])} to {month_label(covered[1])}",
            where="roll-out, table participation",
            remedy="Narrow the window, or supply a longer extract.",
        )
    named = unit_of.drop_duplicates("unit")
    starts = np.where(np.isfinite(named["start"]), named["start"], NEVER).astype(int)
    lookup = work.small({"of_unit": named["unit"].tolist(), "from_month": starts.tolist()}, "came")
    base = rows.select("person_id", "k", "unit", "level")
    base = base.inner_join(lookup, base.unit == lookup.of_unit).drop("of_unit")
    fixed = spec.who == "fixed"
    inside = base.from_month <= last if fixed else base.from_month <= base.k
    base = base.filter(inside)
    exposed, took = np.zeros(shape), np.zeros(shape)
    found = work.engine.frame(base.group_by("unit", "level").agg(n=base.count()))
    exposed[found["unit"], found["level"]] = found["n"]
    begun = work.parts.filter(work.parts.begun)
    begun = begun.filter(begun.programme == spec.programme).select("person_id", "start_month")
    pairs = base.inner_join(begun, "person_id")
    until = ibis.literal(last) if fixed else pairs.k + spec.after
    pairs = pairs.filter((pairs.start_month >= pairs.k) & (pairs.start_month <= until))
    once = pairs.select("person_id", "k", "unit", "level").distinct()
    found = work.engine.frame(once.group_by("unit", "level").agg(n=once.count()))
    took[found["unit"], found["level"]] = found["n"]
    return exposed, took
