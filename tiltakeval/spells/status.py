"""One status per person-month, sparse: a month without a row has no status."""

from __future__ import annotations

import ibis
from ibis.expr.types import Table

from tiltakeval.spells.build import last_full_month, month_of

#: Statuses in order of priority: the first that holds in the month is the month's.
STATUSES = ("programme", "pending", "nedsatt_arbeidsevne", "jobseeker")


def status_intervals(merged: Table, participations: Table) -> Table:
    """person_id, status (position in ``STATUSES``), from_month, to_month: may overlap.

    ``merged`` from ``build.merge``, ``participations`` from ``build.participations``. Registered
    means through the end of the month, in a programme at least a day of it.
    """
    p, m = participations, merged
    running = p.filter(p.begun)
    running = running.select(
        "person_id",
        status=ibis.literal(0, "int8"),
        from_month=running.start_month,
        to_month=running.end_month,
    )
    waiting_to = ibis.coalesce(p.start_month - 1, p.blocked_to)
    waiting = p.select(
        "person_id",
        status=ibis.literal(1, "int8"),
        from_month=p.decided,
        to_month=waiting_to.cast("int32"),
    )
    code = ibis.cases(*((m.state == s, STATUSES.index(s)) for s in STATUSES[2:]), else_=3)
    registered = m.select(
        "person_id",
        status=code.cast("int8"),
        from_month=month_of(m.start),
        to_month=last_full_month(m.stop),
    )
    everything = ibis.union(running, waiting, registered)
    return everything.filter(everything.from_month <= everything.to_month)


def monthly_status(intervals: Table, first: int, last: int) -> Table:
    """person_id, month, status (position in ``STATUSES``): clip, unnest, best priority."""
    rows = intervals.mutate(
        lo=ibis.greatest(intervals.from_month, first), hi=ibis.least(intervals.to_month, last)
    )
    rows = rows.filter(rows.lo <= rows.hi)
    rows = rows.select(
        "person_id", "status", month=ibis.range(rows.lo, rows.hi + 1, 1).unnest().cast("int32")
    )
    return rows.group_by("person_id", "month").agg(status=rows.status.min())
