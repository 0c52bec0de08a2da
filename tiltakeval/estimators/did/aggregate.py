"""Averages of cohort-by-period effects, as linear maps of the effects and of the cohorts' sizes.

Callaway & Sant'Anna (2021), section 3: overall, by cohort, by period, by event time. Cohorts weigh by
their (weighted) number of units, which is estimated too: what a unit adds to its cohort's size is part
of the influence. Cells that can't be had are left out of every average. Imputation averages over treated
rows instead: a cell weighs by its rows (``mass``), cohorts by their size, and both are taken as given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """An estimated cell: position of its cohort, its period, event time, effect, and whether it counts
    as an effect (not a placebo, not anticipation)."""

    cohort: int
    period: int
    event: int
    att: float
    effect: bool


@dataclass(frozen=True)
class Average:
    """A row of results: ``cells`` [C] are the weights of the effects, ``sizes`` [cohorts] the derivative
    by each cohort's size. Empty (no weights) where no cell supports it."""

    term: str
    cells: Floats
    sizes: Floats
    cohort: int | None = None
    period: int | None = None
    event: int | None = None

    @property
    def known(self) -> bool:
        """Whether any cell supports it."""
        return bool(np.any(self.cells))


def averages(
    known: Sequence[Known], size: Floats, *, balance: int | None, mass: Floats | None = None
) -> list[Average]:
    """Every average of the cells; ``size`` [cohorts] are the cohorts' weighted numbers of units.

    With ``mass`` [cells], cells weigh by it instead of their cohort's size; sizes are taken as given.

    With ``balance`` event times rest on the cohorts seen at least that many periods after their start,
    and go up to it, so that all of them describe the same cohorts.
    """
    found: list[Average] = []
    post = [i for i, cell in enumerate(known) if cell.effect]
    found.append(_by_size(known, size, post, "effect_overall", mass))
    cohorts = sorted({known[i].cohort for i in post})
    rows = [
        _plain([known[i].cohort == c and known[i].effect for i in range(len(known))], size, c, mass)
        for c in cohorts
    ]
    over = _over_cohorts(rows, np.array([cell.att for cell in known]), size)
    found += [*rows, over if mass is None else replace(over, sizes=np.zeros(size.size))]
    periods = sorted({known[i].period for i in post})
    rows = [
        _by_size(
            known,
            size,
            [i for i in post if known[i].period == t],
            "effect_by_period",
            mass,
            period=t,
        )
        for t in periods
    ]
    found += [*rows, _mean(rows, "effect_over_periods")]
    used = list(range(len(known)))
    if balance is not None:
        used = _balanced(known, cohorts, balance)
    events = sorted({known[i].event for i in used})
    rows = [
        _by_size(
            known,
            size,
            [i for i in used if known[i].event == e],
            "effect_by_event_time",
            mass,
            event=e,
        )
        for e in events
    ]
    after = [row for row in rows if row.event is not None and row.event >= 0]
    found += [*rows, *([_mean(after, "effect_over_event_times")] if after else [])]
    total = None
    for e, row in enumerate(after):
        if row.event != e:  # a gap: a sum would not be of all periods
            break
        total = row if total is None else _add(total, row)
        found.append(_path(total, e))
    return found


def _balanced(known: Sequence[Known], cohorts: Sequence[int], balance: int) -> list[int]:
    """Cells of cohorts seen ``balance`` periods after their start, in event times all have."""
    last = {c: max(cell.event for cell in known if cell.cohort == c) for c in cohorts}
    kept = [c for c in cohorts if last[c] >= balance]
    if not kept:
        return []
    start = max(min(cell.event for cell in known if cell.cohort == c) for c in kept)
    return [
        i for i, cell in enumerate(known) if cell.cohort in kept and start <= cell.event <= balance
    ]


def _by_size(
    known: Sequence[Known],
    size: Floats,
    chosen: Sequence[int],
    term: str,
    mass: Floats | None,
    *,
    period: int | None = None,
    event: int | None = None,
) -> Average:
    """The chosen cells weighted by their cohorts' sizes: sum_k S_c(k) a_k / sum_k S_c(k); or by mass."""
    cells, sizes = np.zeros(len(known)), np.zeros(size.size)
    if chosen:
        cohort = np.array([known[i].cohort for i in chosen])
        att = np.array([known[i].att for i in chosen])
        weight = size[cohort] if mass is None else mass[list(chosen)]
        total = weight.sum()
        cells[list(chosen)] = weight / total
        if mass is None:
            np.add.at(sizes, cohort, (att - cells[list(chosen)] @ att) / total)
    return Average(term, cells, sizes, period=period, event=event)


def _plain(chosen: Sequence[bool], size: Floats, cohort: int, mass: Floats | None) -> Average:
    """The mean over a cohort's periods, or over its rows."""
    cells = np.array(chosen, dtype=np.float64) * (1.0 if mass is None else mass)
    return Average("effect_by_cohort", cells / cells.sum(), np.zeros(size.size), cohort=cohort)


def _over_cohorts(rows: Sequence[Average], att: Floats, size: Floats) -> Average:
    """Cohorts' mean effects weighted by size."""
    cells, sizes = np.zeros(att.size), np.zeros(size.size)
    if rows:
        cohort = np.array([row.cohort for row in rows])
        total = size[cohort].sum()
        cells = np.stack([row.cells for row in rows], axis=1) @ (size[cohort] / total)
        sizes[cohort] = (np.array([row.cells @ att for row in rows]) - cells @ att) / total
    return Average("effect_over_cohorts", cells, sizes)


def _mean(rows: Sequence[Average], term: str) -> Average:
    if not rows:
        return Average(term, np.zeros(0), np.zeros(0))
    return Average(
        term, np.mean([row.cells for row in rows], axis=0), np.mean([r.sizes for r in rows], axis=0)
    )


def _add(left: Average, right: Average) -> Average:
    return Average(left.term, left.cells + right.cells, left.sizes + right.sizes)


def _path(row: Average, event: int) -> Average:
    return Average("cumulated_path", row.cells, row.sizes, event=event)
