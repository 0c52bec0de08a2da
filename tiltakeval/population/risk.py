"""When a person is at risk: segments of registration with the first event that ends the risk."""

from __future__ import annotations

import ibis
from ibis.expr.types import BooleanValue, IntegerValue, Table

from tiltakeval.population.spec import PopulationSpec
from tiltakeval.population.tables import Working
from tiltakeval.spells.build import OPEN

#: Arm code of an event that isn't one of the study's arms.
OTHER = -1


def risk_segments(
    work: Working, states: tuple[str, ...], *, time_zero: str, arms: tuple[str, ...] = ()
) -> Table:
    """Segments of registration in ``states`` with what ends their risk and who the person is.

    Adds to the segments: event_month (month of the first decision in the spell, or of the first
    start under time zero "start"; ``OPEN`` if none), event_arm (1.. position in ``arms``, or -1),
    busy_to (last month of a programme already running when the spell began, 0 if none), and the
    person's facts. Two events on one day: the lower participation number counts.

    A decision made before the spell and not yet begun lapses with the spell it was made in; should
    it begin after all, the start ends the risk with arm -1.
    """
    segments = work.segments.filter(work.segments.state.isin(list(states)))
    spells = segments.select("person_id", "state", "spell_no", "spell_start", "spell_to").distinct()
    first = first_events(work, spells, time_zero=time_zero, arms=arms)
    keys = ["person_id", "state", "spell_no"]
    rows = segments.left_join(first, keys).select(
        *(segments[c] for c in segments.columns),
        event_month=ibis.coalesce(first.event_month, OPEN).cast("int32"),
        event_arm=ibis.coalesce(first.event_arm, OTHER).cast("int16"),
        busy_to=ibis.coalesce(first.busy_to, 0).cast("int32"),
    )
    p = work.people
    return rows.left_join(p, "person_id").select(
        *(rows[c] for c in rows.columns),
        person=p.person,
        birth_month=ibis.coalesce(p.birth_month, OPEN).cast("int32"),
        gone_month=ibis.coalesce(p.gone_month, OPEN).cast("int32"),
        female=p.female,
        landgruppe=p.landgruppe,
        mark=p.mark,
    )


def first_events(work: Working, spells: Table, *, time_zero: str, arms: tuple[str, ...]) -> Table:
    """person_id, state, spell_no, event_month, event_arm, busy_to for spells with any of them."""
    p = work.parts
    both = spells.inner_join(p, "person_id").select(
        "person_id",
        "state",
        "spell_no",
        "spell_start",
        "spell_to",
        *(p[c] for c in ("participation_id", "code", "decided_on", "decided", "begun",
                         "started_on", "start_month", "end_month")),
    )  # fmt: skip
    code = arm_code(both.code, work, arms)
    begins_inside = both.begun & (both.started_on >= both.spell_start)
    begins_inside = begins_inside & (both.start_month <= both.spell_to)
    if time_zero == "start":
        is_event, month, day, arm = begins_inside, both.start_month, both.started_on, code
    else:
        decided_inside = (both.decided_on >= both.spell_start) & (both.decided <= both.spell_to)
        late = begins_inside & (both.decided_on < both.spell_start)
        is_event = decided_inside | late
        month = decided_inside.ifelse(both.decided, both.start_month)
        day = decided_inside.ifelse(both.decided_on, both.started_on)
        arm = decided_inside.ifelse(code, OTHER)
    running = both.begun & (both.started_on < both.spell_start)
    both = both.mutate(
        is_event=is_event,
        event_month=month,
        event_arm=arm,
        event_day=ibis.coalesce(is_event.ifelse(day, ibis.null("date")), ibis.date("9999-12-31")),
        running_to=running.ifelse(both.end_month, 0),
    )
    groups = [both.person_id, both.state, both.spell_no]
    whole = ibis.window(group_by=groups)
    ordered = ibis.window(group_by=groups, order_by=[both.event_day, both.participation_id])
    both = both.mutate(
        busy_to=both.running_to.max().over(whole), rank=ibis.row_number().over(ordered)
    )
    first = both.filter(both.rank == 0)
    return first.select(
        "person_id",
        "state",
        "spell_no",
        "busy_to",
        event_month=first.is_event.ifelse(first.event_month, OPEN),
        event_arm=first.is_event.ifelse(first.event_arm, OTHER),
    )


def arm_code(code: IntegerValue, work: Working, arms: tuple[str, ...]) -> IntegerValue:
    """Position 1.. of a programme code among the arms, -1 for other programmes."""
    if not arms:
        return ibis.literal(OTHER)
    pairs = [(code == work.code(arm), number) for number, arm in enumerate(arms, start=1)]
    return ibis.cases(*pairs, else_=OTHER)


def eligible(work: Working, rows: Table, spec: PopulationSpec, arm: str) -> BooleanValue:
    """Whether a person-month (k, birth_month, innsatsgruppe in force ``assessed``, diagnosis_group,
    open_<arm>) may legally enter the arm: the catalogue's rules at k, the roll-out at the office,
    and the declared conditions."""
    possible: BooleanValue = ibis.literal(True)
    if spec.legal_rules:
        windows = work.catalogue[arm].windows(spec.base)
        possible = ibis.literal(False)
        age = rows.k - rows.birth_month
        for window in windows:
            fits = (rows.k >= window.first_month) & (rows.k < window.stop_month)
            if window.min_age > 0:
                fits = fits & (age >= 12 * window.min_age)
            if window.max_age < 200:
                fits = fits & (age < 12 * (window.max_age + 1))
            if window.innsatsgrupper and spec.innsatsgruppe_rules:
                fits = fits & (
                    rows.assessed.isnull() | rows.assessed.isin(list(window.innsatsgrupper))
                )
            possible = possible | fits
    if f"open_{arm}" in rows.columns:
        possible = possible & (rows.k >= rows[f"open_{arm}"])
    for name, levels in spec.arm_conditions.get(arm, {}).items():
        column = rows.assessed if name == "innsatsgruppe" else rows[name]
        possible = possible & column.isin(list(levels)).fill_null(False)
    return possible


def with_rollout(work: Working, rows: Table, arms: tuple[str, ...]) -> Table:
    """Adds open_<arm>: first month the arm could be decided at the office (``OPEN`` never), for
    arms the extract's roll-out table names; other arms are open everywhere."""
    if "rollout" not in work.registers:
        return rows
    table = work.engine.frame(
        work.registers["rollout"].filter(lambda t: t.programme.isin(list(arms)))
    )
    if table.empty:
        return rows
    named = [arm for arm in arms if (table.programme == arm).any()]
    wide = table.pivot_table(
        index="office", columns="programme", values="from_month", aggfunc="min"
    )
    wide = wide.reindex(columns=named).fillna(OPEN).astype("int32")
    lookup = work.small(
        {
            "at_office": [str(o) for o in wide.index],
            **{f"open_{arm}": wide[arm].tolist() for arm in named},
        },
        "rollout",
    )
    joined = rows.left_join(lookup, rows.office == lookup.at_office)
    return joined.select(
        *(rows[c] for c in rows.columns),
        **{
            f"open_{arm}": ibis.coalesce(lookup[f"open_{arm}"], OPEN).cast("int32") for arm in named
        },
    )
