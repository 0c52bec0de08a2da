"""Spells of a register as stretches of constant status and covariates, computed in the engine.

Works on the table of ``population.person_periods``. ``spells_of`` chooses the spells,
``stretches_of`` gives the first and last row of each stretch; nothing else leaves the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
from ibis.expr.types import IntegerValue, Table
from numpy.typing import NDArray

from tiltakeval.design.person_periods_columns import Factor
from tiltakeval.design.person_periods_stream import column
from tiltakeval.design.person_periods_table import packed
from tiltakeval.errors import InputError
from tiltakeval.months import month_label
from tiltakeval.population.person_months import keep
from tiltakeval.population.person_periods import PeriodSpec, RegisterPeriods
from tiltakeval.population.sampling import month_draw, person_mark

_SPELL = ("person", "spell_no")
#: What the draw of persons is keyed by, apart from other draws of ``population.sampling``.
_PURPOSE = 7
_NONE, _WAITING, _IN, _AFTER = 0, 1, 2, 3


@dataclass(frozen=True)
class Stretches:
    """S stretches in order of person, spell and time. ``person`` (the register's dense number),
    ``spell_no``, ``start``, ``stop`` [S]; ``event`` [S] the exit's number in the table, 0 none;
    ``status`` [S] 0 or 1 + programme x (levels - 1) + level - 1; ``covariates``, ``groups`` [S] the
    packed levels of the covariates and of the subgroups."""

    person: NDArray[np.int64]
    spell_no: NDArray[np.int64]
    start: NDArray[np.float64]
    stop: NDArray[np.float64]
    event: NDArray[np.int64]
    status: NDArray[np.int64]
    covariates: NDArray[np.int64]
    groups: NDArray[np.int64]


def spells_of(
    periods: RegisterPeriods, *, carried: str, persons: int | None, seed: int, where: str
) -> tuple[Table, list[tuple[str, int, int]]]:
    """The spells to use (person, spell_no, treated), and a line of attrition a filter.

    Those begun inside the window and seen from their first whole month; unless ``carried`` is
    "keep", those without programme status then; of at most ``persons`` persons. Raises InputError
    when none is left.
    """
    rows, work = _with_shares(periods), periods.work
    opens = rows.opens == 0
    status = _any(rows, periods.status)
    spells = keep(
        work,
        rows.group_by(*_SPELL).agg(
            first=rows.time.min(),
            begun=(rows.month - rows.time).min(),
            months=opens.cast("int64").sum(),
            carried=(status & (rows.time == 1) & opens).max(),
            treated=status.max(),
        ),
        "history_spells",
    )
    spells = spells.filter((spells["first"] == 1) & (spells.begun >= periods.window[0]))
    lines = [_line(periods, "registered_in_window", spells)]
    if not lines[-1][1]:
        raise InputError(
            f"no spell begins in {month_label(periods.window[0])} or later and is seen from its "
            "first whole month",
            where=f"{where}, window, age",
            remedy="Widen the window: spells under way when it begins are not used.",
        )
    if carried == "leave_out":
        spells = spells.filter(~spells.carried)
        lines.append(_line(periods, "no_programme_at_registration", spells))
        if not lines[-1][1]:
            raise InputError(
                "every spell begins with a programme status",
                where=where,
                remedy="carried = keep uses them, without an entry to a programme.",
            )
    if persons is not None and persons < lines[-1][1]:
        everybody = spells.select("person").distinct()
        number = everybody.person
        draw = month_draw(person_mark(number, seed), ibis.literal(0, "int32"), _PURPOSE)
        drawn = everybody.mutate(draw=draw).order_by("draw", "person").limit(persons)
        spells = spells.semi_join(keep(work, drawn, "history_sample"), "person")
        lines.append(_line(periods, "sample_of_persons", spells))
    return keep(work, spells.select(*_SPELL, "treated"), "history_kept"), lines


def _with_shares(periods: RegisterPeriods) -> Table:
    """The rows with the shares of the month they begin and end at."""
    if periods.exposure is not None:
        return periods.table
    return periods.table.mutate(opens=ibis.literal(0.0), closes=ibis.literal(1.0))


def _line(periods: RegisterPeriods, step: str, spells: Table) -> tuple[str, int, int]:
    found = spells.agg(persons=spells.person.nunique(), months=spells.months.sum())
    row = periods.work.engine.arrow(found).to_pylist()[0]
    return step, int(row["persons"] or 0), int(row["months"] or 0)


def stretches_of(
    periods: RegisterPeriods,
    spells: Table,
    covariates: Sequence[Factor],
    groups: Sequence[Factor],
) -> Stretches:
    """The spells' rows, joined while status and covariates stay the same.

    Months since registration are counted from the end of the month of registration.
    """
    work, names = periods.work, {f.name for f in (*covariates, *groups)}
    rows = _with_shares(periods).semi_join(spells, list(_SPELL))
    at = (rows.time - 1).cast("float64")
    rows = rows.select(
        *_SPELL, "month", "time", *periods.status, *sorted(names),
        number=(rows.month.cast("int64") * 2 + (rows.opens > 0).cast("int64")),
        start=at + rows.opens,
        stop=at + rows.closes,
        event=rows.event.cast("int64"),
    )  # fmt: skip
    rows = rows.select(
        *_SPELL, "month", "number", "start", "stop", "event", *periods.status,
        covariates=packed(rows, covariates).cast("int64"),
        groups=packed(rows, groups).cast("int64"),
    )  # fmt: skip
    treated = spells.filter(spells.treated)
    columns = [*_SPELL, "number", "start", "stop", "event", "covariates", "groups"]
    rest = rows.anti_join(treated, list(_SPELL))
    rest = rest.select(*columns, status=ibis.literal(0, "int64"))
    with_status = _first_programme(periods, rows.semi_join(treated, list(_SPELL)))
    both = ibis.union(rest, with_status.select(*columns, "status"))
    size = 1 + len(periods.status) * (len(periods.spec.levels) - 1)
    both = both.mutate(key=both.covariates * size + both.status)
    order = ibis.window(group_by=[both.person, both.spell_no], order_by=both.number)
    both = both.mutate(before=both.key.lag(1).over(order), then=both.key.lead(1).over(order))
    both = both.mutate(
        head=both.before.isnull() | (both.before != both.key),
        tail=both.then.isnull() | (both.then != both.key),
    )
    ends = both.filter(both["head"] | both.tail)
    ends = ends.select(*columns, "status", "head", "tail").order_by(*_SPELL, "number")
    return _paired(work.engine.arrow(ends))


def _paired(ends: pa.Table) -> Stretches:
    """First and last rows of stretches, which alternate, side by side."""
    head, tail = (column(ends, name, np.bool_) for name in ("head", "tail"))

    def at(name: str, which: NDArray, kind: Any = np.int64) -> NDArray:
        found: NDArray = column(ends, name, kind)[which]
        return found

    return Stretches(
        person=at("person", head),
        spell_no=at("spell_no", head),
        start=at("start", head, np.float64),
        stop=at("stop", tail, np.float64),
        event=at("event", tail),
        status=at("status", head),
        covariates=at("covariates", head),
        groups=at("groups", head),
    )


def _first_programme(periods: RegisterPeriods, rows: Table) -> Table:
    """Rows with ``status``: that of the spell's first programme and what follows."""
    spec, names = periods.spec, periods.status
    after = len(spec.after_from)
    count = len(names)
    levels = len(spec.levels) - 1

    def stage(name: str) -> IntegerValue:
        level = rows[name]
        return ibis.cases(
            (level > after + 1, _IN), (level == after + 1, _WAITING), (level > 0, _AFTER),
            else_=_NONE,
        )  # fmt: skip

    rows = keep(
        periods.work, rows.mutate(**{f"stage_{c}": stage(n) for c, n in enumerate(names)}),
        "history_treated",
    )  # fmt: skip
    base = count + 1
    begun: Any = ibis.cases(*((rows[f"stage_{c}"] >= _IN, c) for c in range(count)), else_=count)
    spell = [rows.person, rows.spell_no]
    every = ibis.window(group_by=spell)
    so_far = ibis.window(group_by=spell, order_by=rows.number, rows=(None, 0))
    lock = (rows.number * base + begun).min(where=begun < count).over(every)
    pending: Any = ibis.literal(2**62)
    for c in reversed(range(count)):  # the one pending longest; ties in the order of the study
        waits = rows[f"stage_{c}"] == _WAITING
        since = ibis.coalesce(rows.number.max(where=~waits).over(so_far), -1) + 1
        pending = ibis.least(pending, waits.ifelse(since * base + c, 2**62))
    rows = rows.mutate(lock=lock, pending=pending, origin=rows.number.min().over(every))
    first = (rows["lock"] % base).cast("int64")
    rows = rows.mutate(
        first=first,
        locked=(rows.number >= (rows["lock"] / base).floor()).fill_null(False),
        carried=((rows["lock"] / base).floor() == rows.origin).fill_null(False),
        begun_month=(rows["lock"] / base / 2).floor().cast("int64"),
        stage=ibis.cases(*((first == c, rows[f"stage_{c}"]) for c in range(count)), else_=0),
        level=ibis.cases(*((first == c, rows[n].cast("int64")) for c, n in enumerate(names)),
                         else_=0),
    )  # fmt: skip
    spell = [rows.person, rows.spell_no]
    every = ibis.window(group_by=spell)
    so_far = ibis.window(group_by=spell, order_by=rows.number, rows=(None, 0))
    inside = rows.locked & (rows.stage == _IN)
    # begun again in the month after it ended, a stay goes on: seen a row later
    in_order = ibis.window(group_by=spell, order_by=rows.number)
    resumed = (rows.stage.lead(1).over(in_order) == _IN) & inside.max().over(so_far)
    if spec.ties != "exit_first":
        resumed = resumed & (rows.month.lead(1).over(in_order) == rows.month)
    rows = rows.mutate(inside=inside, outside=rows.locked & (rows.stage != _IN), resumed=resumed)
    rows = rows.mutate(ends=rows.outside & ~rows.resumed.fill_null(False))
    spell = [rows.person, rows.spell_no]
    every = ibis.window(group_by=spell)
    so_far = ibis.window(group_by=spell, order_by=rows.number, rows=(None, 0))
    over = rows.number.min(where=rows.ends).over(every)
    rows = rows.mutate(
        over=over,
        # levels fall with time, so that the lowest so far is the furthest band reached
        in_level=rows.level.min(where=rows.inside).over(so_far),
        after_level=rows.level.min(where=rows.locked & (rows.stage == _AFTER)).over(so_far),
    )
    left = (rows.number >= rows.over).fill_null(False)
    since_end = left.ifelse(rows.month - (rows.over / 2).floor(), 0)
    shift = 1 if spec.ties == "exit_first" else 0
    since_start = rows.month - rows.begun_month + shift
    # a programme under way at registration began, or ended, at a time only its own band tells
    known_end = ibis.coalesce(rows.over, 2**62) > rows.origin
    in_code = rows.carried.ifelse(rows.in_level, _banded(since_start, spec, "in"))
    after_code = known_end.ifelse(_banded(since_end, spec, "after"), rows.after_level)
    level = (left | rows.outside).ifelse(after_code, in_code)
    waiting: Any = (rows.pending % base) * levels + spec.levels.index("waiting")
    status = ibis.cases(
        (rows.locked, rows["first"] * levels + level),
        (rows.pending < 2**62, waiting),
        else_=0,
    )
    return rows.mutate(status=status.cast("int64"))


def _banded(months: Any, spec: PeriodSpec, prefix: str) -> IntegerValue:
    edges = spec.in_from if prefix == "in" else spec.after_from
    count = len(edges)
    # inside a stage the oldest band comes first
    offset = 1 if prefix == "after" else len(spec.after_from) + 2
    pairs = [(months >= edges[i], offset + count - 1 - i) for i in reversed(range(count))]
    return ibis.cases(*pairs, else_=offset + count - 1)


def _any(rows: Table, names: Sequence[str]) -> Any:
    found: Any = ibis.literal(False)
    for name in names:
        found = found | (rows[name] > 0)
    return found
