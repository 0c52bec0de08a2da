"""When a programme came to an office, and which unit an office belongs to."""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import numpy as np
import pandas as pd
from ibis.expr.types import Table

from tiltakeval.errors import InputError, counted
from tiltakeval.population.rollout_spec import RolloutSpec
from tiltakeval.population.tables import Working


def office_starts(work: Working, spec: RolloutSpec) -> dict[str, int]:
    """Month of the start by office; offices without one are absent. Raises InputError for none."""
    found = _declared(work, spec) if spec.starts == "table" else _from_participants(work, spec)
    if not found:
        raise InputError(
            f"no office has a start of {spec.programme}",
            where=f"roll-out, starts = {spec.starts}",
            remedy="Check the programme's key, or derive starts otherwise.",
        )
    return found


def _declared(work: Working, spec: RolloutSpec) -> dict[str, int]:
    if "rollout" not in work.registers:
        raise InputError(
            "the extract has no roll-out table",
            where="roll-out, starts = table",
            remedy='Supply one (office, programme, from_month), or say starts = "participants".',
        )
    table = work.registers["rollout"]
    rows = work.engine.frame(table.filter(table.programme == spec.programme))
    return {str(r.office): int(r.from_month) for r in rows.itertuples()}


def _from_participants(work: Working, spec: RolloutSpec) -> dict[str, int]:
    """The first month with a start and ``least`` starts within ``within`` months from it. A start
    belongs to the office of the participation, else to that of the person's registration then."""
    p = work.registers["participation"]
    begun = work.parts.filter(work.parts.begun)
    begun = begun.filter(begun.programme == spec.programme)
    rows = begun.inner_join(p, "participation_id").select(
        begun.person_id, month=begun.start_month, office=p.office
    )
    s = work.segments
    near = rows.inner_join(
        s, ["person_id", rows.month >= s.seg_from, rows.month <= s.seg_to + 1]
    ).select(rows.person_id, rows.month, there=s.office)
    near = near.group_by("person_id", "month").agg(there=near.there.min())
    joined = rows.left_join(near, ["person_id", "month"])
    placed = joined.select(rows.month, office=ibis.coalesce(rows.office, near.there))
    placed = placed.filter(placed.office.notnull())
    months = work.engine.frame(placed.group_by("office", "month").agg(n=placed.count()))
    found = {}
    for office, own in months.groupby("office"):
        at, n = own["month"].to_numpy(), own["n"].to_numpy()
        for m in np.sort(at):
            if n[(at >= m) & (at < m + spec.within)].sum() >= spec.least:
                found[str(office)] = int(m)
                break
    return found


def regions_of(
    work: Working,
    spec: RolloutSpec,
    people: Table,
    starts: Mapping[str, int],
    regions: Mapping[str, str] | None,
) -> pd.DataFrame:
    """office, name, unit (number in order of names), start (month, infinite never) of every office
    with somebody eligible. Raises InputError for offices without a region, and for regions whose
    offices start in different periods: such a region has no start."""
    offices = sorted(work.engine.frame(people.select("office").distinct())["office"])
    table = pd.DataFrame({"office": offices, "name": offices})
    table["start"] = [float(starts.get(name, np.inf)) for name in offices]
    if spec.unit == "region":
        if regions is None:
            raise InputError(
                "units are regions, and no table of offices and regions is given",
                where="roll-out, unit",
            )
        lacking = [name for name in offices if name not in regions]
        if lacking:
            raise InputError(
                f"{counted(len(lacking), 'office')} of {len(offices)} have no region, "
                f"{lacking[0]} among them",
                where="roll-out, regions",
            )
        table["name"] = [str(regions[name]) for name in offices]
        when = np.floor(table["start"] / spec.step)
        mixed = when.groupby(table["name"]).nunique() > 1
        if mixed.any():
            raise InputError(
                f"{counted(int(mixed.sum()), 'region')} of {mixed.size} have offices that start in "
                f"different periods, {mixed.index[mixed][0]} among them",
                where="roll-out, unit",
                remedy="Let offices be the units, or the period be longer.",
            )
        table["start"] = table.groupby("name")["start"].transform("min")
    table["unit"] = pd.factorize(table["name"], sort=True)[0]
    return table
