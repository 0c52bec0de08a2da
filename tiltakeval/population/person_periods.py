"""Person-months of registration with programme status and exits, for hazard models.

A row is a month k in which a person is registered in the base state when it begins: the months after
that of registration, up to and including the last with a day of registration. Time is months since
the month of registration. Nothing dated after month k decides a row of k, save the type of the exit,
for which the months after are read too.

**Ties.** A start and an exit can fall in one month. Under ``exit_first`` the month counts
under the status at its beginning, under ``entry_first`` under that at its end; both misplace up to a
month of exposure. ``split`` cuts the month at the day of the change and of the exit, and is exact with
piecewise-constant hazards (two changes in one month count at the later).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ibis
from ibis.expr.types import Table

from tiltakeval.errors import InputError, InputErrors, unknown
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.months import month_label
from tiltakeval.population.person_months import (
    CATEGORIES,
    category_columns,
    keep,
    spell_exits,
)
from tiltakeval.population.person_status import OTHER, band, with_status
from tiltakeval.population.spec import STATES
from tiltakeval.population.tables import Working
from tiltakeval.spells.build import OPEN

#: How a spell ends, in the order of the event's number 1, 2, ...; 0 is not yet.
EXITS = ("job", "subsidised_job", "education", "uforetrygd", "other_state", "gone", "out")
TIES = ("split", "exit_first", "entry_first")
DECISIONS = ("next_month", "day")


@dataclass(frozen=True, kw_only=True)
class PeriodSpec:
    """What person-months to build.

    base: base state. window: first and last calendar month of rows (None: all that can be judged).
    programmes: those with a status column of their own; all others share ``other``. ties: see the
    module. decisions: waiting counts from the month after that of the decision, time zero being the
    end of its month as in the target trials ("next_month"), or by the tie rule ("day"). in_from,
    after_from: months since start and since end at which bands of status begin. covariates: of
    ``person_months.CATEGORIES``. age: whole years, both included. max_months: longest time since
    registration, None no limit.
    """

    base: str
    programmes: tuple[str, ...]
    window: tuple[int, int] | None = None
    ties: str = "split"
    decisions: str = "next_month"
    in_from: tuple[int, ...] = (0, 4)
    after_from: tuple[int, ...] = (0, 3, 6, 12, 24)
    covariates: tuple[str, ...] = (
        "sex", "age", "landgruppe", "education", "diagnosis", "innsatsgruppe", "season",
    )  # fmt: skip
    age: tuple[int, int] = (18, 66)
    max_months: int | None = None

    def __post_init__(self) -> None:
        faults: list[InputError] = []
        if self.base not in STATES:
            faults.append(unknown("base state", self.base, STATES, where="base"))
        if self.ties not in TIES:
            faults.append(unknown("tie rule", self.ties, TIES, where="ties"))
        if self.decisions not in DECISIONS:
            faults.append(unknown("rule", self.decisions, DECISIONS, where="decisions"))
        faults += [
            unknown("covariate", name, CATEGORIES, where="covariates")
            for name in self.covariates
            if name not in CATEGORIES
        ]
        for name, edges in (("in_from", self.in_from), ("after_from", self.after_from)):
            if not edges or edges[0] != 0 or list(edges) != sorted(set(edges)):
                faults.append(InputError("must be ascending months, the first 0", where=name))
        if faults:
            raise InputErrors(faults, title="The person-months can't be built as declared.")

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels of a status column: none, then after (oldest band first), waiting, in (likewise).
        Where several hold at once, the last of them counts."""
        after = [f"after_{band(self.after_from, i)}" for i in range(len(self.after_from))]
        inside = [f"in_{band(self.in_from, i)}" for i in range(len(self.in_from))]
        return ("none", *after[::-1], "waiting", *inside[::-1])


@dataclass(frozen=True)
class StatusMeaning:
    """What a level of a status column says: see ``design.person_periods.StatusLabel``."""

    programme: str
    time_origin: str
    horizon: int
    period: str


@dataclass(frozen=True)
class RegisterPeriods:
    """The rows, in the engine. ``table``: person (number), month, time, spell_no, event (0 or 1 +
    position in ``transitions``), the columns of ``categories`` (positions in their levels), and
    ``exposure`` (share of the month at risk, from ``opens`` to ``closes``) where months are split.
    ``status``: which categories are programme status; ``meanings`` by ``column_level``. ``window``:
    first and last month of rows."""

    spec: PeriodSpec
    work: Working
    table: Table
    categories: Mapping[str, tuple[str, ...] | None]
    status: tuple[str, ...]
    meanings: Mapping[str, StatusMeaning]
    attrition: Attrition
    transitions: tuple[str, ...] = EXITS
    exposure: str | None = field(default=None)
    window: tuple[int, int] = (0, OPEN)


def person_periods(work: Working, spec: PeriodSpec) -> RegisterPeriods:
    """Person-months of the base state, computed once in the engine. Raises InputError for an unknown
    programme, a window outside what the extract covers, or no rows."""
    for programme in spec.programmes:
        work.catalogue[programme]
    first, last = _window(work, spec)
    exits = spell_exits(work, spec.base)
    months = _months(work, spec, exits, first, last)
    attrition = _attrition(work, spec, months)
    rows = months.filter(_inside(months, spec))
    rows = keep(work, category_columns(work, rows, spec.covariates), "months")
    if work.engine.count(rows) == 0:
        raise InputError(
            f"nobody is registered as {spec.base} from {month_label(first)} to {month_label(last)}",
            where="window, age",
        )
    names = [f"status_{name}" for name in (*spec.programmes, OTHER)]
    table = keep(work, with_status(work, spec, rows), "periods")
    split = spec.ties == "split"
    levels = {name: CATEGORIES[name] for name in spec.covariates}
    return RegisterPeriods(
        spec=spec,
        work=work,
        table=table,
        categories={**levels, **dict.fromkeys(names, spec.levels)},
        status=tuple(names),
        meanings=_meanings(spec),
        attrition=attrition,
        exposure="exposure" if split else None,
        window=(first, last),
    )


def _meanings(spec: PeriodSpec) -> dict[str, StatusMeaning]:
    found = {}
    for name in (*spec.programmes, OTHER):
        column = f"status_{name}"
        found[f"{column}_waiting"] = StatusMeaning(name, "vedtak", 0, "")
        for prefix, origin, edges in (
            ("in", "start", spec.in_from),
            ("after", "end", spec.after_from),
        ):
            for i, edge in enumerate(edges):
                label = band(edges, i)
                period = label.replace("_up", "-").replace("_", "-")
                found[f"{column}_{prefix}_{label}"] = StatusMeaning(name, origin, edge, period)
    return found


def _window(work: Working, spec: PeriodSpec) -> tuple[int, int]:
    """The rows' months: those every table covers, the last but one, so that exits can be judged."""
    tables = [t for t in ("spells", "participation", "jobs", "benefits") if t in work.coverage]
    first = max((work.coverage[t][0] for t in tables), default=0)
    last = min((work.coverage[t][1] for t in tables), default=OPEN) - 1
    if spec.window is None:
        return first, last
    if spec.window[0] < first or spec.window[1] > last or spec.window[0] > spec.window[1]:
        raise InputError(
            f"the months {month_label(spec.window[0])} to {month_label(spec.window[1])} are not "
            f"inside those that can be judged, {month_label(first)} to {month_label(last)}",
            where="window",
            remedy="Narrow the window, or supply a longer extract.",
        )
    return spec.window


def _months(work: Working, spec: PeriodSpec, exits: Table, first: int, last: int) -> Table:
    """Months at risk within first..last, before the age limits: a row of each segment's months and
    one more, so that attributes are those in force when the month begins."""
    s = work.segments.filter(work.segments.state == spec.base)
    p = work.people
    rows = s.inner_join(exits, ["person_id", "spell_no"]).select(
        *(s[c] for c in ("person_id", "spell_no", "spell_from", "office", "innsatsgruppe",
                         "assessed_from", "diagnosis_group", "seg_from", "seg_to")),
        exits.left, exits.exit, exits.left_at,
    )  # fmt: skip
    rows = rows.mutate(
        lo=ibis.greatest(rows.seg_from + 1, first),
        hi=ibis.least(rows.seg_to + 1, rows.left, last),
    )
    rows = rows.filter(rows.lo <= rows.hi)
    rows = rows.mutate(month=ibis.range(rows.lo, rows.hi + 1, 1).unnest().cast("int32"))
    return rows.inner_join(p, "person_id").select(
        *(rows[c] for c in ("person_id", "spell_no", "spell_from", "office", "innsatsgruppe",
                            "assessed_from", "diagnosis_group", "left", "left_at", "month")),
        p.person, p.birth_month, p.female, p.landgruppe,
        time=(rows.month - rows.spell_from).cast("int32"),
        event=(rows.month == rows.left).ifelse(rows.exit, 0).cast("int8"),
    )  # fmt: skip


def _inside(rows: Table, spec: PeriodSpec) -> Any:
    low, high = spec.age
    age = rows.month - rows.birth_month
    inside = (age >= 12 * low) & (age < 12 * (high + 1))
    if spec.max_months is not None:
        inside = inside & (rows.time <= spec.max_months)
    return inside


def _attrition(work: Working, spec: PeriodSpec, months: Table) -> Attrition:
    base = work.segments.filter(work.segments.state == spec.base)
    everybody = work.engine.frame(base.agg(persons=base.person_id.nunique()))
    kept = _inside(months, spec)
    counted = work.engine.arrow(
        months.agg(
            p0=months.person.nunique(),
            n0=months.count(),
            p1=months.person.nunique(where=kept),
            n1=kept.cast("int64").sum(),
        )
    ).to_pylist()[0]
    lines = [
        ("registered", int(everybody.persons[0]), None),
        ("registered_whole_month", int(counted["p0"] or 0), int(counted["n0"] or 0)),
        ("age", int(counted["p1"] or 0), int(counted["n1"] or 0)),
    ]
    return Attrition.of(spec.base, lines)
