"""Spells of a register as event histories: exits, programme entries, and status as it changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.event_history import EventHistory
from tiltakeval.design.event_history_spells import Stretches, spells_of, stretches_of
from tiltakeval.design.event_history_status import Statuses, renumbered, statuses_of
from tiltakeval.design.person_periods_columns import Factor, dummies, factors_of
from tiltakeval.design.person_periods_table import level_of
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.population.person_periods import RegisterPeriods

Floats = NDArray[np.float64]
#: Not a covariate unless asked for: it makes a row of every month.
SEASON = "season"


def event_history_of_register(
    periods: RegisterPeriods,
    *,
    exits: Mapping[str, Sequence[str] | str] | None = None,
    persons: int | None = None,
    seed: int = 0,
    subgroups: Sequence[str] = (),
    covariates: Sequence[str] | None = None,
    entries: Literal["each", "any"] = "each",
    carried: Literal["leave_out", "keep"] = "leave_out",
    fewest: int = 0,
) -> EventHistory:
    """A row for every stretch of constant status and covariates; times in months.

    **Time** runs from the end of the month of registration, to the day under ``ties="split"`` and in
    whole months otherwise. Decisions count from the end of their month, or from their day, as
    ``PeriodSpec.decisions`` says. A person's spells have numbers in ``spell``.

    **Who.** Spells registered inside ``periods.window`` and seen from their first whole month: those
    under way before it began are not used, since what happened in them isn't known. A spell that
    begins with a programme status (a programme from before, or a decision in the month of
    registration) has no time at risk of entry: it is left out, which selects on the past alone, or
    with ``carried="keep"`` used with that status, as if it were independent of the heterogeneity.
    ``persons`` draws at most so many persons, by ``seed``.

    **Transitions.** ``exits`` names groups of ``periods.transitions``; by default "job" and "other",
    all the rest. An exit in no group ends the spell as censoring does. Then the entries:
    "programme_<name>" for each programme and "programme_other", or with ``entries="any"`` one,
    "programme". The moment is the decision, or the start where there was no waiting.

    **Status** is that of the spell's first programme and what it leads to. The first programme is the
    one begun first. From then on a spell is in it until it ends, and after it to the spell's end,
    while later programmes run too (and other courses of the same programme, unless begun by the month
    after the one in which it ended: then the stay goes on). Before, a pending decision is waiting; of
    several, the one pending longest. A decision that lapses leaves no status: the spell is again at
    risk of entry, and can have several. Where another programme begins, or is pending when a decision
    lapses, its status follows with no entry of its own: there was no time at risk. Nothing later than
    a row decides its status.
    Columns are "<programme>_waiting", "<programme>_in_0_3", ... ; those nobody has are left out.
    Entries are possible only in rows without status.

    **Covariates**: categories of ``periods``, by default all but season; 0/1 columns ``column_level``
    of the levels but the first that occurs. ``enters`` leaves out, transition by transition, levels
    nobody at risk has, and the first that occurs there. ``subgroups``: categories, by the value in the
    person's first row.

    ``fewest``: a band of time in or after a programme with fewer exits of some group is joined with
    the band before it, the first with the next; and a covariate with fewer events of a transition
    among those who have it doesn't enter that transition, where its level then counts with the base.

    Raises InputError: unknown names, an exit in two groups, a transition that never happens, no spells.
    """
    where = f"event history, {periods.spec.base}"
    _check_choices(persons, entries, carried, fewest)
    groups = _groups(periods, exits)
    named = [name.removeprefix("status_") for name in periods.status]
    plain = [name for name in periods.categories if name not in periods.status]
    wanted = tuple(n for n in plain if n != SEASON) if covariates is None else _several(covariates)
    by = _several(subgroups)
    for place, names in (("covariates", wanted), ("subgroups", by)):
        for name in names:
            if name not in plain:
                raise unknown("category", name, plain, where=place)
    kept, lines = spells_of(periods, carried=carried, persons=persons, seed=seed, where=where)
    rows = periods.table.semi_join(kept, ["person", "spell_no"])
    engine = periods.work.engine
    factors, of_groups = (
        factors_of(engine, rows, {n: periods.categories[n] for n in names}, (), {}, where=where)
        for names in (tuple(dict.fromkeys(wanted)), by)
    )
    raw = stretches_of(periods, kept, factors, of_groups)
    exit_group = _group_numbers(periods, groups)[raw.event]
    statuses = statuses_of(
        periods.spec, named, raw.status, exit_group, groups=len(groups), fewest=fewest
    )
    found = renumbered(raw, statuses, raw.event)
    person = _dense(found.person)
    spell = _dense(found.person, found.spell_no)
    event, transitions = _events(periods, found, groups, named, statuses, spell, entries, where)
    is_entry = np.arange(len(transitions)) >= len(groups)
    at_risk = np.ones((person.size, len(transitions)), dtype=bool)
    at_risk[:, is_entry] = (found.status == 0)[:, None]
    x, names, enters = _columns(found, factors, statuses, event, is_entry, fewest, where)
    filters = Attrition.of(periods.spec.base, lines)
    options = (groups, persons, seed, wanted, by, entries, carried, fewest)
    return EventHistory(
        person=person,
        start=found.start,
        stop=found.stop,
        event=event,
        transitions=transitions,
        at_risk=at_risk,
        covariates=x,
        covariate_names=(*names, *statuses.names),
        enters=enters,
        programme=statuses.names,
        weight=np.ones(person.size),
        cluster=person.copy(),
        subgroups={
            f.name: Subgroup(levels=f.levels, codes=_at_first(found.groups, of_groups, i, person))
            for i, f in enumerate(of_groups)
        },
        population=periods.spec.base,
        estimand="in_programme_and_after",
        spell=spell,
        attrition=Attrition.concat([periods.attrition, filters]),
        fingerprint=_fingerprint(periods, options),
    )


def _check_choices(persons: int | None, entries: str, carried: str, fewest: int) -> None:
    if entries not in ("each", "any"):
        raise unknown("choice", entries, ("each", "any"), where="entries")
    if carried not in ("leave_out", "keep"):
        raise unknown("choice", carried, ("leave_out", "keep"), where="carried")
    if persons is not None and persons < 1:
        raise InputError(f"{persons} persons can't be drawn", where="persons")
    if fewest < 0:
        raise InputError("must be 0 or more", where="fewest")


def _several(names: Sequence[str] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _groups(
    periods: RegisterPeriods, exits: Mapping[str, Sequence[str] | str] | None
) -> dict[str, tuple[str, ...]]:
    known = periods.transitions
    if exits is None:
        exits = {"job": ("job",), "other": tuple(name for name in known if name != "job")}
    groups = {name: _several(members) for name, members in exits.items()}
    if not groups:
        raise InputError("no exit is named", where="exits")
    seen: dict[str, str] = {}
    for group, members in groups.items():
        if group == "programme" or group.startswith("programme_"):
            raise InputError(f"an exit can't be called '{group}', like an entry", where="exits")
        if not members:
            raise InputError("the group has no exits", where=f"exits, {group}")
        for member in members:
            if member not in known:
                raise unknown("exit", member, known, where=f"exits, {group}")
            if member in seen:
                raise InputError(
                    f"'{member}' is named twice, in {seen[member]} and {group}", where="exits"
                )
            seen[member] = group
    return groups


def _dense(*columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number from 0 for each run of equal values."""
    new = np.zeros(columns[0].size, dtype=bool)
    for values in columns:
        new[1:] |= values[1:] != values[:-1]
    return np.cumsum(new, dtype=np.int64)


def _group_numbers(
    periods: RegisterPeriods, groups: Mapping[str, tuple[str, ...]]
) -> NDArray[np.int16]:
    """The group (1..) of each exit's number in the table, 0 none."""
    table = np.zeros(len(periods.transitions) + 1, dtype=np.int16)
    for j, members in enumerate(groups.values()):
        for member in members:
            table[periods.transitions.index(member) + 1] = j + 1
    return table


def _events(
    periods: RegisterPeriods,
    found: Stretches,
    groups: Mapping[str, tuple[str, ...]],
    programmes: Sequence[str],
    statuses: Statuses,
    spell: NDArray[np.int64],
    entries: str,
    where: str,
) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Transition at each row's end, and the transitions' names. Raises InputError where one of the
    exits, or an entry to a programme of the study, never happens."""
    event = _group_numbers(periods, groups)[found.event]
    enters = np.zeros(event.size, dtype=bool)
    enters[:-1] = (found.status[:-1] == 0) & (found.status[1:] > 0) & (spell[1:] == spell[:-1])
    which = statuses.programme[found.status[1:][enters[:-1]] - 1]
    count = np.bincount(which, minlength=len(programmes))
    spells = f"{int(spell[-1]) + 1:,} spells"
    missing = [n for n, c in zip(programmes, count) if not c and n in periods.spec.programmes]
    if missing:
        raise InputError(
            f"nobody enters {', '.join(missing)} in {spells}",
            where=where,
            remedy="Leave it out of the programmes studied: it is then one of the others.",
        )
    if not count.any():
        raise InputError(f"nobody enters a programme in {spells}", where=where)
    some = np.flatnonzero(count)
    if entries == "any":
        names: tuple[str, ...] = ("programme",)
        event[enters] = len(groups) + 1
    else:
        names = tuple(f"programme_{programmes[int(c)]}" for c in some)
        event[enters] = len(groups) + 1 + np.searchsorted(some, which)
    happened = np.bincount(event, minlength=len(groups) + 1)
    never = [name for name, c in zip(groups, happened[1:]) if not c]
    if never:
        raise InputError(
            f"{', '.join(never)} never happens in {spells}",
            where=f"{where}, exits",
            remedy="Leave the group out, or join it with another.",
        )
    return event, (*groups, *names)


def _columns(
    found: Stretches,
    factors: Sequence[Factor],
    statuses: Statuses,
    event: NDArray[np.int16],
    is_entry: NDArray[np.bool_],
    fewest: int,
    where: str,
) -> tuple[Floats, tuple[str, ...], NDArray[np.bool_]]:
    """[R, p] dummies and statuses, the names of the dummies, and [K, p] which enters which
    transition."""
    keys, code = np.unique(found.covariates, return_inverse=True)
    code = code.reshape(-1)
    levels = [level_of(keys, factors, f) for f in range(len(factors))]
    small, names = dummies(factors, levels, (), codes=keys.size, where=where)
    p, q = len(names), len(statuses.names)
    x = np.empty((code.size, p + q))
    for j in range(p):
        x[:, j] = small[code, j]
    for j in range(q):
        x[:, p + j] = found.status == j + 1
    enters = np.ones((is_entry.size, p + q), dtype=bool)
    enters[is_entry, p:] = False
    free = np.unique(code[found.status == 0])
    for k, entry in enumerate(is_entry):
        seen = free if entry else np.arange(keys.size)
        enters[k, :p] = _identified(factors, levels, names, seen)
        happened = np.bincount(code[event == k + 1], minlength=keys.size)
        enters[k, :p] &= happened @ small.astype(np.int64) >= fewest
    return x, names, enters


def _identified(
    factors: Sequence[Factor],
    levels: Sequence[NDArray[np.int64]],
    names: Sequence[str],
    codes: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """[p] dummies of levels that occur among ``codes``, but for each factor's base; where nobody has
    the base, the first level that occurs takes its place."""
    place = {name: j for j, name in enumerate(names)}
    found = np.zeros(len(names), dtype=bool)
    for factor, level in zip(factors, levels):
        here = np.unique(level[codes])
        for i in here[1:]:  # the first is the base, or stands in for it
            found[place[f"{factor.name}_{factor.levels[i]}"]] = True
    return found


def _at_first(
    groups: NDArray[np.int64], factors: Sequence[Factor], at: int, person: NDArray[np.int64]
) -> NDArray[np.int16]:
    first = np.flatnonzero(np.r_[True, person[1:] != person[:-1]])
    return level_of(groups[first], factors, at).astype(np.int16)[person]


def _fingerprint(periods: RegisterPeriods, options: tuple[Any, ...]) -> str:
    text = f"{periods.work.registers.fingerprint}|{periods.spec}|{periods.window}|{options}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
