"""Programme status of an event history: its columns, with thin bands of time joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.event_history_spells import Stretches
from tiltakeval.population.person_periods import PeriodSpec
from tiltakeval.population.person_status import band


@dataclass(frozen=True)
class Statuses:
    """Columns of status: ``names`` ("aft_waiting", "aft_in_0_3", ...), ``programme`` [q] the position
    of each one's programme, ``column`` by the status of a stretch: 0 none, else 1 + position."""

    names: tuple[str, ...]
    programme: NDArray[np.int64]
    column: NDArray[np.int64]


def statuses_of(
    spec: PeriodSpec,
    programmes: Sequence[str],
    status: NDArray[np.int64],
    exit_group: NDArray[np.integer],
    *,
    groups: int,
    fewest: int,
) -> Statuses:
    """The columns somebody has. ``status`` and ``exit_group`` [S] (0 none, 1..groups) by stretch.

    With ``fewest`` above 0, a band with fewer exits of some group is joined with the one before it,
    the first with the next.
    """
    levels = spec.levels
    size = len(levels) - 1
    total = 1 + len(programmes) * size
    rows = np.bincount(status, minlength=total)
    exits = np.bincount(status * (groups + 1) + exit_group, minlength=total * (groups + 1))
    exits = exits.reshape(total, groups + 1)[:, 1:]
    names: list[str] = []
    of: list[int] = []
    column = np.zeros(total, dtype=np.int64)

    def add(which: int, label: str, members: Sequence[int]) -> None:
        if rows[list(members)].any():
            names.append(f"{programmes[which]}_{label}")
            of.append(which)
            column[list(members)] = len(names)

    for which in range(len(programmes)):
        first = 1 + which * size - 1  # of level 0, which isn't numbered
        add(which, "waiting", [first + levels.index("waiting")])
        for prefix, edges in (("in", spec.in_from), ("after", spec.after_from)):
            codes = [first + levels.index(f"{prefix}_{band(edges, i)}") for i in range(len(edges))]
            starts = _joined(exits[codes], fewest)
            kept = tuple(edges[i] for i in starts)
            for j, (low, high) in enumerate(zip(starts, [*starts[1:], len(edges)])):
                add(which, f"{prefix}_{band(kept, j)}", codes[low:high])
    return Statuses(tuple(names), np.array(of, dtype=np.int64), column)


def _joined(exits: NDArray[np.int64], fewest: int) -> list[int]:
    """Which bands begin a column, from [bands, groups] numbers of exits."""
    starts = list(range(len(exits)))
    ends = np.r_[starts[1:], len(exits)]
    for i in range(len(exits) - 1, 0, -1):
        if exits[i : ends[i]].sum(axis=0).min() < fewest:
            starts.remove(i)
            ends[i - 1] = ends[i]
    while len(starts) > 1 and exits[: starts[1]].sum(axis=0).min() < fewest:
        del starts[1]
    return starts


def renumbered(found: Stretches, statuses: Statuses, last: NDArray[np.integer]) -> Stretches:
    """The stretches with ``status`` by column, those joined that no longer differ. ``last`` [S] is not
    0 where an exit ends the stretch."""
    status = statuses.column[found.status]
    same = (
        (found.person[1:] == found.person[:-1])
        & (found.spell_no[1:] == found.spell_no[:-1])
        & (status[1:] == status[:-1])
        & (found.covariates[1:] == found.covariates[:-1])
        & (last[:-1] == 0)
    )
    head, tail = np.r_[True, ~same], np.r_[~same, True]
    return replace(
        found,
        person=found.person[head],
        spell_no=found.spell_no[head],
        start=found.start[head],
        stop=found.stop[tail],
        event=found.event[tail],
        status=status[head],
        covariates=found.covariates[head],
        groups=found.groups[head],
    )
