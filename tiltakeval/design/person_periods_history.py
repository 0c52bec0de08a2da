"""Event histories in memory, cut into periods and collapsed to cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.event_history import EventHistory
from tiltakeval.design.person_periods import Batch, PersonPeriods, StatusLabel, unique_codes
from tiltakeval.errors import InputError

Floats = NDArray[np.float64]
MAX_PIECES = 60_000_000
_BATCH = 1_000_000
#: Rows shorter or longer than a period by less than this share of it count as whole.
_WHOLE = 1e-6


def periods_of_history(history: EventHistory, edges: Floats) -> PersonPeriods:
    """The history's rows cut at ``edges`` [T + 1] (ascending; times up to the last stop must lie
    inside), and collapsed. A row (start, stop] falls into the periods it overlaps, its event into the
    last. Rows before observation began (``history.before``) carry no exposure and are left out.

    Raises InputError when there would be too many pieces.
    """
    start, stop = history.start, history.stop
    first = np.searchsorted(edges, start * (1 + 1e-12), side="right") - 1
    last = np.searchsorted(edges, stop * (1 - 1e-12), side="left") - 1
    first = np.minimum(first, last)
    pieces = last - first + 1
    total = int(pieces.sum())
    if total > MAX_PIECES:
        raise InputError(
            f"{history.n:,} rows fall into {total:,} periods: more than {MAX_PIECES:,}",
            where="steps",
            remedy="Give fewer and longer time steps, or measure time in a longer unit.",
        )
    groups = list(history.subgroups.items())
    risk = history.at_risk @ (1 << np.arange(len(history.transitions)))
    extra = np.column_stack([risk, *(g.codes for _, g in groups)]).astype(np.int64)
    kept, code = unique_codes(history.covariates, extra)
    own = kept.size == history.n
    periods = len(edges) - 1
    row = np.repeat(np.arange(history.n), pieces)
    offset = np.arange(total) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    time = first[row] + offset
    length = np.minimum(stop[row], edges[time + 1]) - np.maximum(start[row], edges[time])
    final = offset == pieces[row] - 1
    event = np.where(final, history.event[row], 0).astype(np.int16)
    weight = history.weight[row]
    whole = bool((np.abs(length - np.diff(edges)[time]) <= _WHOLE * np.diff(edges)[time]).all())
    if own:
        cell, m_code, m_time = np.arange(total), row, time
    else:
        cell, m_code, m_time = _cells(code[row], time, kept.size, periods)
    m, k = m_code.size, len(history.transitions)

    def sums(values: Floats) -> Floats:
        if own:
            return values
        return np.bincount(cell, weights=values, minlength=m).astype(np.float64)

    events = np.stack([sums(weight * (event == j + 1)) for j in range(k)], axis=1)
    counts = np.stack([sums((event == j + 1) * 1.0) for j in range(k)], axis=1)
    clusters, of_row = np.unique(history.cluster, return_inverse=True)
    of_row = of_row.reshape(-1)
    exposure = weight * length

    def batches() -> Iterator[Batch]:
        for i in range(0, total, _BATCH):
            at = slice(i, i + _BATCH)
            yield Batch(
                history.person[row[at]],
                of_row[row[at]].astype(np.int64),
                cell[at],
                event[at],
                weight[at],
                exposure[at],
            )

    return PersonPeriods(
        x=history.covariates if own else history.covariates[kept],
        covariate_names=history.covariate_names,
        programme={name: StatusLabel(name) for name in history.programme},
        enters=history.enters,
        at_risk=history.at_risk[kept],
        transitions=history.transitions,
        code=m_code.astype(np.int64),
        time=m_time.astype(np.int64),
        trials=sums(weight),
        exposure=sums(exposure),
        events=events,
        counts=counts,
        edges=edges,
        whole=whole,
        rows=total,
        persons=history.persons,
        clusters=clusters.astype(np.int64),
        batches=batches,
        subgroups={name: Subgroup(levels=g.levels, codes=g.codes[kept]) for name, g in groups},
        population=history.population,
        estimand=history.estimand,
        time_origin=history.time_origin,
        attrition=history.attrition,
        fingerprint=history.fingerprint,
    )


def _cells(
    code: NDArray[np.int64], time: NDArray[np.int64], codes: int, periods: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The cell [n] of each piece, and the cells' codes and times."""
    key = code * periods + time
    if codes * periods <= max(4 * key.size, 1_000_000):
        used = np.flatnonzero(np.bincount(key, minlength=codes * periods))
        at = np.zeros(codes * periods, dtype=np.int64)
        at[used] = np.arange(used.size)
        cell = at[key]
    else:
        used, cell = np.unique(key, return_inverse=True)
        cell = cell.reshape(-1)
    return cell, used // periods, used % periods
