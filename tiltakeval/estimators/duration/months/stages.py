"""The stages of a programme in an event history: who took part, how long stages last, which status
holds in which month of a stage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError, unknown

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_NAMED = re.compile(r"(?P<programme>.+?)_(?P<stage>waiting|in|after)(_.+)?")
#: Paths are means over at most so many participants, an even sample of them all.
MOST_PARTICIPANTS = 500
_STAGE = {"waiting": "waiting", "in": "inside", "after": "after"}


@dataclass(frozen=True, kw_only=True)
class Stages:
    """One programme's stages: status columns by stage (positions among the design's covariates).

    ``row`` [N]: the row in which each participant's first stage begins; month zero is its start, and
    time since the spell's origin then is ``elapsed`` [N]. ``column`` by stage: [H] the status that
    holds in the m-th month of the stage (-1: none, factor 1). ``begin`` and ``leave`` [H]: hazards a
    month of going from waiting to inside, from inside to after, by month in the stage.
    """

    row: Ints
    elapsed: Floats
    column: dict[str, Ints]
    begin: Floats
    leave: Floats
    waits: bool


def programmes_of(statuses: Sequence[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Status columns by programme and stage, read off their names.

    "aft_waiting", "aft_in" (or bands: "aft_in_1_4", "aft_in_5_up"), "aft_after" are the stages of aft;
    any other name is the inside of a programme called so.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name in statuses:
        hit = _NAMED.fullmatch(name)
        programme, stage = (hit["programme"], _STAGE[hit["stage"]]) if hit else (name, "inside")
        stages = found.setdefault(programme, {})
        stages[stage] = (*stages.get(stage, ()), name)
    return found


def stages_of(
    design: EventHistory,
    *,
    waiting: Sequence[str] = (),
    inside: Sequence[str] = (),
    after: Sequence[str] = (),
    months: int,
    month: float = 1.0,
) -> Stages:
    """The stages named by their status columns; ``month`` is a month in the design's unit of time.

    Several columns of a stage are bands of time in it; which one holds in a month is read off the
    rows. Hazards of changing stage are changes over time at risk in each month of the stage, over all
    later months together where nobody is left. Raises InputError for a column that isn't a status, or
    a stage nobody is in.
    """
    names = {"waiting": tuple(waiting), "inside": tuple(inside), "after": tuple(after)}
    if not names["inside"]:
        raise InputError("the programme's own status is needed", where="inside")
    for stage, columns in names.items():
        for name in columns:
            if name not in design.programme:
                raise unknown("programme status", name, design.programme, where=stage)
    place = {name: i for i, name in enumerate(design.covariate_names)}
    on = {
        stage: design.covariates[:, [place[c] for c in columns]] > 0
        for stage, columns in names.items()
    }
    in_stage = {stage: np.asarray(flags.any(axis=1), dtype=bool) for stage, flags in on.items()}
    for stage, columns in names.items():
        if columns and not in_stage[stage].any():
            raise InputError("nobody has this status", where=", ".join(columns))
    waits = bool(names["waiting"])
    spell = spells_of(design)
    begun = in_stage["waiting"] | in_stage["inside"] if waits else in_stage["inside"]
    row = _first_of(spell, begun)
    entered = {stage: _since(design, spell, flags) for stage, flags in in_stage.items()}
    column = {}
    for stage, columns in names.items():
        exposure = np.zeros((months, len(columns)))
        for j in range(len(columns)):
            exposure[:, j] = _exposure(design, entered[stage], on[stage][:, j], months, month)
        held = np.where(exposure.sum(axis=1) > 0, exposure.argmax(axis=1) if columns else 0, -1)
        if columns:  # months nobody has reached yet: as the last one reached
            reached = np.flatnonzero(held >= 0)
            held[reached[-1] + 1 :] = held[reached[-1]]
        numbers = np.array([place[c] for c in columns] or [-1])
        column[stage] = np.where(held >= 0, numbers[held], -1)
    follows = {"waiting": "inside", "inside": "after"}
    hazard = {}
    for stage, next_ in follows.items():
        ends = _ends(design, spell, in_stage[stage], in_stage[next_])
        at = (design.stop[ends] - entered[stage][ends]) / month
        time = _exposure(design, entered[stage], in_stage[stage], months, month)
        which = np.maximum(np.ceil(at).astype(np.int64) - 1, 0)
        seen = which < months
        count = np.zeros(months)
        np.add.at(count, which[seen], design.weight[ends][seen])
        hazard[stage] = _hazard(count, time)
    return Stages(
        row=row,
        elapsed=design.start[row],
        column=column,
        begin=hazard["waiting"],
        leave=hazard["inside"],
        waits=waits,
    )


def few(stages: Stages) -> Stages:
    """The stages with at most `MOST_PARTICIPANTS` participants."""
    n = stages.row.size
    if n <= MOST_PARTICIPANTS:
        return stages
    at = np.linspace(0, n - 1, MOST_PARTICIPANTS).round().astype(np.int64)
    return replace(stages, row=stages.row[at], elapsed=stages.elapsed[at])


def spells_of(design: EventHistory) -> Ints:
    """Number of every row's spell (a person's, where there is one)."""
    if design.spell is None:
        return design.person
    opens = np.r_[True, (np.diff(design.person) != 0) | (np.diff(design.spell) != 0)]
    return np.cumsum(opens) - 1


def _first_of(spell: Ints, flags: NDArray[np.bool_]) -> Ints:
    rows = np.flatnonzero(flags)
    _, first = np.unique(spell[rows], return_index=True)
    return rows[first]


def _since(design: EventHistory, spell: Ints, flags: NDArray[np.bool_]) -> Floats:
    """[R] when the row's spell first had the status; NaN where it never did."""
    first = _first_of(spell, flags)
    start = np.full(int(spell[-1]) + 1, np.nan)
    start[spell[first]] = design.start[first]
    return start[spell]


def _exposure(
    design: EventHistory, entered: Floats, flags: NDArray[np.bool_], months: int, month: float
) -> Floats:
    """[months] weighted time with ``flags`` in each month since the stage began; in months."""
    rows = np.flatnonzero(flags)
    low = (design.start[rows] - entered[rows]) / month
    high = (design.stop[rows] - entered[rows]) / month
    weight = design.weight[rows]
    return np.array(
        [
            weight @ np.clip(np.minimum(high, m + 1) - np.maximum(low, m), 0, None)
            for m in range(months)
        ]
    )


def _ends(
    design: EventHistory, spell: Ints, now: NDArray[np.bool_], then: NDArray[np.bool_]
) -> Ints:
    """Rows after which the spell goes on in the next stage."""
    same = spell[1:] == spell[:-1]
    return np.flatnonzero(same & now[:-1] & ~now[1:] & then[1:])


def _hazard(count: Floats, time: Floats) -> Floats:
    """Events over time in each month; where few are left, of that month and all later ones."""
    later_count, later_time = count[::-1].cumsum()[::-1], time[::-1].cumsum()[::-1]
    enough = time >= 5.0
    top = np.where(enough, count, later_count)
    bottom = np.where(enough, time, later_time)
    rate = np.divide(top, bottom, out=np.zeros(len(top)), where=bottom > 0)
    reached = np.flatnonzero(time > 0)
    if reached.size:
        rate[reached[-1] + 1 :] = rate[reached[-1]]
    return rate
