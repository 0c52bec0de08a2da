"""From dated rows to whole months: merged registration spells, and programme participation.

All functions take and return lazy tables. Months are month indices; an open end is ``OPEN``.
"""

from __future__ import annotations

import ibis
from ibis.expr.types import BooleanValue, DateValue, IntegerValue, Table

#: Month that stands for "not ended".
OPEN = 200_000
#: Programme of a participation whose code isn't in the catalogue.
UNKNOWN = "unknown"
#: Months a decision without start, end or planned start counts as pending.
PENDING_MONTHS = 12

_FAR = "9999-12-31"
_SPELL_COLUMNS = (
    "person_id",
    "state",
    "start",
    "stop",
    "office",
    "innsatsgruppe",
    "decision_date",
    "diagnosis_group",
)


def month_of(day: DateValue) -> IntegerValue:
    """The month index of a date column."""
    return day.year().cast("int32") * 12 + day.month().cast("int32") - 1


def last_full_month(stop: DateValue) -> IntegerValue:
    """Last month a half-open spell covers to its end; ``OPEN`` when it hasn't ended."""
    return ibis.coalesce(month_of(stop) - 1, OPEN).cast("int32")


def last_touched_month(stop: DateValue) -> IntegerValue:
    """Last month a half-open spell covers at least a day of; ``OPEN`` when it hasn't ended."""
    first_day = (stop.day() == 1).cast("int32")
    return ibis.coalesce(month_of(stop) - first_day, OPEN).cast("int32")


def forward(start: DateValue, stop: DateValue) -> BooleanValue:
    """Whether a spell lasts at least a day (false: reversed or empty, to be dropped and counted)."""
    return stop.isnull() | (stop > start)


def registration(spells: Table) -> Table:
    """Registration spells merged per person and state, cut into segments of constant attributes.

    Reversed spells are dropped (``reversed_spells`` counts them). Rows of one person and state that
    touch, overlap or nest are one spell: a row starts a new one only when it starts after the
    *largest* stop of all earlier rows, since the row just before may be nested in an older one.
    The attributes in force in a month are those of the row begun last.

    Columns: person_id, state, spell_no (1.. within person and state), spell_start (date),
    spell_from, spell_to (last month registered through its end), seg_from, seg_to (months the row's
    attributes hold, inside the spell), office, innsatsgruppe, assessed_from (month of the § 14 a
    decision), diagnosis_group.
    """
    rows = spells.filter(forward(spells.start, spells.stop)).select(*_SPELL_COLUMNS).distinct()
    rows = _numbered(rows, ("person_id", "state"), order=_SPELL_COLUMNS[2:])
    whole = ibis.window(group_by=[rows.person_id, rows.state, rows.spell_no])
    inside = ibis.window(
        group_by=[rows.person_id, rows.state, rows.spell_no],
        order_by=[rows[name] for name in _SPELL_COLUMNS[2:]],
    )
    rows = rows.mutate(
        spell_start=rows.start.min().over(whole),
        spell_stop=rows.stop_or_far.max().over(whole),
        next_start=rows.start.lead(1).over(inside),
    )
    spell_to = (rows.spell_stop == ibis.date(_FAR)).ifelse(OPEN, month_of(rows.spell_stop) - 1)
    rows = rows.mutate(spell_to=spell_to.cast("int32"), seg_from=month_of(rows.start))
    return rows.select(
        "person_id",
        "state",
        "spell_no",
        "spell_start",
        spell_from=month_of(rows.spell_start),
        spell_to=rows.spell_to,
        seg_from=rows.seg_from,
        seg_to=ibis.least(ibis.coalesce(month_of(rows.next_start) - 1, OPEN), rows.spell_to),
        office=rows.office,
        innsatsgruppe=rows.innsatsgruppe,
        assessed_from=month_of(rows.decision_date),
        diagnosis_group=rows.diagnosis_group,
    )


def merge(
    spells: Table, by: tuple[str, ...] = ("person_id", "state"), *, gap_days: int = 0
) -> Table:
    """Merged spells only: the ``by`` columns, start, stop (missing where open).

    Rows that touch or overlap are one; reversed rows are dropped. ``gap_days`` also bridges gaps of
    up to so many days. Bridging looks ahead (whether a gap closes is known only later), so trials
    never use it.
    """
    rows = spells.filter(forward(spells.start, spells.stop)).select(*by, "start", "stop").distinct()
    rows = _numbered(rows, by, order=("start", "stop"), gap_days=gap_days)
    merged = rows.group_by([*by, "spell_no"]).agg(
        start=rows.start.min(), stop_or_far=rows.stop_or_far.max()
    )
    return merged.select(*by, "start", stop=merged.stop_or_far.nullif(ibis.date(_FAR)))


def reversed_spells(spells: Table) -> Table:
    """How many spells are dropped: one row, columns state-free ``spells`` and ``persons``."""
    wrong = spells.filter(~forward(spells.start, spells.stop))
    return wrong.agg(spells=wrong.count(), persons=wrong.person_id.nunique())


def participations(participation: Table) -> Table:
    """Programme participation in months.

    Columns: participation_id, person_id, programme (``unknown`` where the code is), decided_on
    (date: the decision, or the start where no decision is recorded; rows with neither are dropped),
    decided (month), begun (bool: taken up, and not reversed), start_month, end_month (last month
    with at least a day of it; missing unless begun), blocked_to (last month in which the decision
    is pending or the programme runs), employer_id.

    A decision that was never taken up is pending until its recorded stop, else its planned start,
    else for ``PENDING_MONTHS``.
    """
    p = participation
    p = p.mutate(
        decided_on=ibis.coalesce(p.decision_date, p.start),
        begun=ibis.coalesce(p.started, False) & p.start.notnull() & forward(p.start, p.stop),
    )
    p = p.filter(p.decided_on.notnull())
    decided = month_of(p.decided_on)
    waiting = ibis.coalesce(
        last_touched_month(p.stop).nullif(OPEN), month_of(p.start), decided + PENDING_MONTHS
    )
    end = last_touched_month(p.stop)
    return p.select(
        "participation_id",
        "person_id",
        programme=ibis.coalesce(p.programme, UNKNOWN),
        decided_on=p.decided_on,
        decided=decided,
        begun=p.begun,
        start_month=p.begun.ifelse(month_of(p.start), ibis.null("int32")),
        end_month=p.begun.ifelse(end, ibis.null("int32")),
        blocked_to=ibis.greatest(p.begun.ifelse(end, waiting), decided).cast("int32"),
        started_on=p.begun.ifelse(p.start, ibis.null("date")),
        employer_id=p.employer_id,
    )


def _numbered(
    rows: Table, by: tuple[str, ...], *, order: tuple[str, ...], gap_days: int = 0
) -> Table:
    """Adds stop_or_far and spell_no: the running-maximum rule. ``order`` must be unique in a group."""
    rows = rows.mutate(stop_or_far=ibis.coalesce(rows.stop, ibis.date(_FAR)))
    earlier = ibis.window(
        group_by=[rows[name] for name in by],
        order_by=[rows[name] for name in order],
        rows=(None, -1),
    )
    rows = rows.mutate(stop_before=rows.stop_or_far.max().over(earlier))
    if gap_days:
        is_new = rows.start.delta(rows.stop_before, unit="day") > gap_days
    else:
        is_new = rows.start > rows.stop_before
    rows = rows.mutate(is_new=(rows.stop_before.isnull() | is_new).cast("int32"))
    so_far = ibis.window(
        group_by=[rows[name] for name in by],
        order_by=[rows[name] for name in order],
        rows=(None, 0),
    )
    return rows.mutate(spell_no=rows.is_new.sum().over(so_far).cast("int32")).drop(
        "stop_before", "is_new"
    )
