"""Event histories in memory, cut into periods and collapsed to cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.event_history import EventHistory
from tiltakeval.design.person_periods import PersonPeriods, Pieces, StatusLabel, unique_codes
from tiltakeval.errors import InputError

Floats = NDArray[np.float64]
MAX_PIECES = 60_000_000
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
    number = last - first + 1
    total = int(number.sum())
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
    row = np.repeat(np.arange(history.n), number)
    offset = np.arange(total) - np.repeat(np.cumsum(number) - number, number)
    time = first[row] + offset
    length = np.minimum(stop[row], edges[time + 1]) - np.maximum(start[row], edges[time])
    final = offset == number[row] - 1
    event = np.where(final, history.event[row], 0).astype(np.int16)
    weight = history.weight[row]
    whole = bool((np.abs(length - np.diff(edges)[time]) <= _WHOLE * np.diff(edges)[time]).all())
    pieces = Pieces(
        code=code[row],
        time=time,
        event=event,
        weight=weight,
        exposure=weight * length,
        person=history.person[row],
        cluster=history.cluster[row],
    )
    return PersonPeriods(
        x=history.covariates if own else history.covariates[kept],
        covariate_names=history.covariate_names,
        programme={name: StatusLabel(name) for name in history.programme},
        enters=history.enters,
        at_risk=history.at_risk[kept],
        transitions=history.transitions,
        **pieces.gathered(
            codes=kept.size, periods=len(edges) - 1, transitions=len(history.transitions)
        ),
        edges=edges,
        whole=whole,
        cluster_kind=history.cluster_kind,
        subgroups={name: Subgroup(levels=g.levels, codes=g.codes[kept]) for name, g in groups},
        population=history.population,
        estimand=history.estimand,
        time_origin=history.time_origin,
        attrition=history.attrition,
        fingerprint=history.fingerprint,
    )
