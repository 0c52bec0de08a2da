"""Programme status of person-months: waiting, in, and after each programme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis
from ibis.expr.types import FloatingValue, IntegerValue, Table

from tiltakeval.population.person_months import days_in_month
from tiltakeval.population.tables import Working
from tiltakeval.spells.build import OPEN

if TYPE_CHECKING:
    from tiltakeval.population.person_periods import PeriodSpec

#: The status column that programmes without one of their own share.
OTHER = "other"


def band(edges: tuple[int, ...], at: int) -> str:
    """The label of a band of months: ``0_3``, or ``4_up`` for the last."""
    return f"{edges[at]}_{edges[at + 1] - 1}" if at + 1 < len(edges) else f"{edges[at]}_up"


def with_status(work: Working, spec: PeriodSpec, rows: Table) -> Table:
    """Rows with a status column a programme, cut where the month is split: ``opens`` and ``closes``
    are the shares of the month before the row begins and when it ends, ``exposure`` between them."""
    found = _statuses(work, spec, rows)
    count = len(spec.programmes) + 1
    keys = ["person_id", "spell_no", "month"]
    joined = rows.left_join(found, keys)
    kept = [c for c in rows.columns if c not in ("left", "left_at", "person_id")]

    def status(which: str) -> dict[str, IntegerValue]:
        return {
            f"status_{name}": ibis.coalesce(found[f"{which}{c}"], 0).cast("int16")
            for c, name in enumerate((*spec.programmes, OTHER))
        }

    if spec.ties != "split":
        which = "b" if spec.ties == "exit_first" else "e"
        return joined.select(*(rows[c] for c in kept), **status(which))
    changed: Any = ibis.literal(False)
    for c in range(count):
        changed = changed | (found[f"b{c}"] != found[f"e{c}"])
    at: FloatingValue = changed.fill_null(False).ifelse(found.cut, 2.0)
    until = (rows.event > 0).ifelse(rows.left_at, 1.0)
    wide = joined.select(*(rows[c] for c in kept), at=at, until=until, **{
        f"b_{n}": v for n, v in status("b").items()
    }, **{f"e_{n}": v for n, v in status("e").items()})  # fmt: skip
    names = [f"status_{name}" for name in (*spec.programmes, OTHER)]
    early = wide.mutate(
        opens=ibis.literal(0.0),
        closes=ibis.least(wide["at"], wide.until),
        event=(wide.until <= wide["at"]).ifelse(wide.event, 0).cast("int8"),
        **{n: wide[f"b_{n}"] for n in names},
    )
    late = wide.filter(wide.until > wide["at"])
    late = late.mutate(opens=late["at"], closes=late.until, **{n: late[f"e_{n}"] for n in names})
    columns = [*kept, "opens", "closes", *names]
    both = ibis.union(early.select(*columns), late.select(*columns))
    return both.mutate(exposure=both.closes - both.opens)


def _statuses(work: Working, spec: PeriodSpec, rows: Table) -> Table:
    """Per month with any participation decided by then: status at its beginning (b<c>) and end (e<c>)
    by status column c, and the share of the month before the change (cut)."""
    p = work.parts
    own = {work.code(name): c for c, name in enumerate(spec.programmes)}
    column: Any = ibis.literal(len(own))
    if own:
        column = ibis.cases(*((p.code == code, c) for code, c in own.items()), else_=len(own))
    parts = p.select(
        "person_id", "decided", "decided_on", "begun", "start_month", "started_on", "end_month",
        "blocked_to", column=column.cast("int8"),
    )  # fmt: skip
    keyed = rows.select("person_id", "spell_no", "spell_from", "month")
    both = keyed.inner_join(parts, "person_id")
    both = both.filter(ibis.least(both.decided, both.start_month.fill_null(OPEN)) <= both.month)
    b, e = _code(both, spec, end=False), _code(both, spec, end=True)
    days = days_in_month(both.month)
    starts = both.begun & (both.start_month == both.month)
    day = starts.ifelse(both.started_on.day(), both.decided_on.day())
    changes = starts
    if spec.decisions == "day":
        changes = changes | (both.decided == both.month)
    found = {"cut": ((day - 0.5) / days).max(where=changes)}
    for c in range(len(own) + 1):
        found[f"b{c}"] = b.max(where=both.column == c)
        found[f"e{c}"] = e.max(where=both.column == c)
    zero = {n: ibis.coalesce(v, 0) for n, v in found.items() if n != "cut"}
    return both.group_by("person_id", "spell_no", "month").agg(cut=found["cut"], **zero)


def _code(rows: Table, spec: PeriodSpec, *, end: bool) -> IntegerValue:
    """Position in ``spec.levels`` of one participation in one month, at its beginning or end. A
    decision counts as waiting in the spell it was made in."""
    levels = spec.levels
    k, shift = rows.month, 0 if end else 1
    waiting_to = rows.begun.ifelse(rows.start_month - 1 + shift, rows.blocked_to)
    lag = 1 if spec.decisions == "next_month" else shift
    waiting = (rows.decided + lag <= k) & (k <= waiting_to) & (rows.decided >= rows.spell_from)
    inside = rows.begun & (rows.start_month + shift <= k) & (k <= rows.end_month)
    after = rows.begun & (k > rows.end_month)
    since_start, since_end = k - rows.start_month, k - rows.end_month - 1
    pairs: list[Any] = []
    for prefix, holds, since, edges in (
        ("in", inside, since_start, spec.in_from),
        ("after", after, since_end, spec.after_from),
    ):
        for i in reversed(range(len(edges))):
            code = levels.index(f"{prefix}_{band(edges, i)}")
            pairs.append(((holds & (since >= edges[i])).fill_null(False), code))
        if prefix == "in":
            pairs.append((waiting.fill_null(False), levels.index("waiting")))
    return ibis.cases(*pairs, else_=0)
