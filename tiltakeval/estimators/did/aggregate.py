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

from tiltakeval.estimators.did.chosen import Asked, Part, Wanted

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
class Noise:
    """What is estimated beside the effects: ``root`` [r, C] with root'root the covariance of the cells'
    effects, ``held`` [G, cohorts] the weight of each cohort in each group."""

    root: Floats
    held: Floats


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
    name: str = ""
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether any cell supports it."""
        return bool(np.any(self.cells))


def averages(
    known: Sequence[Known],
    size: Floats,
    *,
    balance: int | None,
    mass: Floats | None = None,
    noise: Noise | None = None,
    asked: Asked | None = None,
) -> list[Average]:
    """Every average of the cells, and those the user ``asked`` for; ``size`` [cohorts] are the cohorts'
    weighted numbers of units.

    With ``mass`` [cells], cells weigh by it instead of their cohort's size; sizes are taken as given.
    That sizes are estimated matters as far as effects differ: with ``noise`` the part of the differences
    that is error of the effects doesn't count (see ``_less_noise``).

    With ``balance`` event times rest on the cohorts seen at least that many periods after their start,
    and go up to it, so that all of them describe the same cohorts.
    """
    att = np.array([[cell.att] for cell in known]).reshape(len(known), 1)
    if noise is not None:
        att = np.concatenate([att, noise.root.T], axis=1)
    cells = _Cells(known, att, size, mass)
    return [_settled(row, noise) for row in _every(cells, balance, asked or Asked())]


@dataclass(frozen=True)
class _Cells:
    """Cells with their effects ``att`` [C, 1 + r], the first column, and errors they might have had."""

    known: Sequence[Known]
    att: Floats
    size: Floats
    mass: Floats | None

    def flat(self) -> Floats:
        """Sizes that don't matter."""
        return np.zeros((self.size.size, self.att.shape[1]))


def _settled(row: Average, noise: Noise | None) -> Average:
    """The average with derivatives [cohorts], less what is noise: with d their vector, h the groups'
    weights and e the errors of d, E |h (d + e)|^2 = |h d|^2 + E |h e|^2. A positive part, as of any
    variance between."""
    own = row.sizes[:, 0] if row.sizes.ndim == 2 else row.sizes
    if noise is None or not own.any():
        return replace(row, sizes=own)
    found = float(((noise.held @ own) ** 2).sum())
    made_up = float(((noise.held @ row.sizes[:, 1:]) ** 2).sum())
    left = max(0.0, 1 - made_up / found) if found > 0 else 0.0
    return replace(row, sizes=own * np.sqrt(left))


def _every(cells: _Cells, balance: int | None, asked: Asked) -> list[Average]:
    known = cells.known
    found: list[Average] = []
    post = [i for i, cell in enumerate(known) if cell.effect]
    found.append(_by_size(cells, post, "effect_overall"))
    cohorts = sorted({known[i].cohort for i in post})
    rows = [_plain(cells, [cell.cohort == c and cell.effect for cell in known], c) for c in cohorts]
    found += [*rows, _over_cohorts(cells, rows)]
    periods = sorted({known[i].period for i in post})
    rows = [
        _by_size(cells, [i for i in post if known[i].period == t], "effect_by_period", period=t)
        for t in periods
    ]
    found += [*rows, _mean(rows, "effect_over_periods")]
    used = list(range(len(known)))
    if balance is not None:
        used = _balanced(known, cohorts, balance)
    events = sorted({known[i].event for i in used})
    rows = [
        _by_size(cells, [i for i in used if known[i].event == e], "effect_by_event_time", event=e)
        for e in events
    ]
    users = [_users(cells, one, found + rows, asked.reweight) for one in asked.wanted]
    rows = [row for row in rows if row.event is not None and asked.shows(row.event)]
    after = [row for row in rows if row.event is not None and row.event >= 0]
    found += [*rows, *([_mean(after, "effect_over_event_times")] if after else [])]
    total = None
    for e, row in enumerate(after):
        if row.event != e:  # a gap: a sum would not be of all periods
            break
        total = row if total is None else _add(total, row)
        found.append(_path(total, e))
    return found + users


def _users(cells: _Cells, wanted: Wanted, rows: Sequence[Average], reweight: bool) -> Average:
    """An average of the user's: a sum of rows and cells by weight. What can't be had is in ``reason``,
    with no weights, or none but the rest's where ``reweight`` says so."""
    by_key = {
        (row.cohort, row.period, row.event): row
        for row in rows
        if row.term in ("effect_by_cohort", "effect_by_period", "effect_by_event_time")
    }
    weights, sizes, lost, total = np.zeros(len(cells.known)), cells.flat(), [], 0.0
    for part in wanted.parts:
        row = by_key.get((part.cohort, part.period, part.event))
        if part.cohort is not None and (part.period is not None or part.event is not None):
            row = _cell(cells, part)
        if row is None:
            lost.append(part)
            continue
        weights += part.weight * row.cells
        sizes += part.weight * row.sizes
        total += part.weight
    said = _missing(lost)
    if not total or (lost and not reweight):
        weights, sizes = np.zeros(len(cells.known)), cells.flat()
        return Average(wanted.term, weights, sizes, name=wanted.name, reason=said)
    if lost:
        said = f"{said}; the average is of the rest, {total:.0%} of the weight"
    return Average(wanted.term, weights / total, sizes / total, name=wanted.name, reason=said)


def _cell(cells: _Cells, part: Part) -> Average | None:
    """The cell of a cohort in a period or at an event time."""
    for i, cell in enumerate(cells.known):
        there = cell.period == part.period if part.period is not None else cell.event == part.event
        if cell.cohort == part.cohort and there:
            return Average("effect", np.eye(len(cells.known))[i], cells.flat())
    return None


def _missing(lost: Sequence[Part]) -> str:
    """How many parts have no estimate, and the share of the weight."""
    if not lost:
        return ""
    share = sum(part.weight for part in lost)
    return f"{len(lost)} of its effects can't be estimated, {share:.0%} of the weight"


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
    cells: _Cells,
    chosen: Sequence[int],
    term: str,
    *,
    period: int | None = None,
    event: int | None = None,
) -> Average:
    """The chosen cells weighted by their cohorts' sizes: sum_k S_c(k) a_k / sum_k S_c(k); or by mass."""
    weights, sizes = np.zeros(len(cells.known)), cells.flat()
    if chosen:
        cohort = np.array([cells.known[i].cohort for i in chosen])
        att = cells.att[list(chosen)]
        weight = cells.size[cohort] if cells.mass is None else cells.mass[list(chosen)]
        total = weight.sum()
        weights[list(chosen)] = weight / total
        if cells.mass is None:
            np.add.at(sizes, cohort, (att - (weight / total) @ att) / total)
    return Average(term, weights, sizes, period=period, event=event)


def _plain(cells: _Cells, chosen: Sequence[bool], cohort: int) -> Average:
    """The mean over a cohort's periods, or over its rows."""
    weights = np.array(chosen, dtype=np.float64) * (1.0 if cells.mass is None else cells.mass)
    return Average("effect_by_cohort", weights / weights.sum(), cells.flat(), cohort=cohort)


def _over_cohorts(cells: _Cells, rows: Sequence[Average]) -> Average:
    """Cohorts' mean effects weighted by size."""
    weights, sizes = np.zeros(len(cells.known)), cells.flat()
    if rows:
        cohort = np.array([row.cohort for row in rows])
        size = cells.size[cohort]
        each = np.stack([row.cells for row in rows])
        weights = (size / size.sum()) @ each
        if cells.mass is None:
            sizes[cohort] = (each @ cells.att - weights @ cells.att) / size.sum()
    return Average("effect_over_cohorts", weights, sizes)


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
