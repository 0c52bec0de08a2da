"""Trends before treatment, tested on untreated rows alone.

Borusyak, Jaravel & Spiess (2024, section 4.4): untreated rows are regressed on the model of untreated
outcomes and on indicators of the last few event times before treatment. The effects themselves use no
row differently for it, so that a study which passes the test is no selected one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError
from tiltakeval.estimators.did.beside import Beside
from tiltakeval.estimators.did.imputed.fit import Baseline, blocks
from tiltakeval.estimators.did.imputed.support import bits
from tiltakeval.estimators.did.level import Support
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.numerics.groups import Groups
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Leads are at most so many unless said, and fewer where cohorts are not seen as long.
MOST_LEADS = 6


def leads_of(design: StaggeredPanel, anticipation: int, leads: int | None) -> int:
    """How many event times before treatment are tested: as asked for, or ``MOST_LEADS`` where there are
    so many. They must be fewer than the longest time before treatment, which leaves something to compare
    them with; raises InputError where more are asked for."""
    grid = design.periods
    inside = design.cohorts[design.cohorts <= grid[-1]]
    longest = max((int(g - anticipation - grid[0]) for g in inside), default=0)
    most = max(0, longest - 1)
    if leads is not None and leads > most:
        raise InputError(
            f"{leads} event times before treatment can't be tested: cohorts are seen for at most "
            f"{longest} periods before it, and one must be left to compare with",
            where="leads",
            remedy=f"Ask for at most {most}.",
        )
    return min(MOST_LEADS, most) if leads is None else leads


def pretrends(
    design: StaggeredPanel,
    groups: Groups,
    units: Ints,
    base: Baseline,
    *,
    anticipation: int,
    leads: int,
    min_clusters: int,
) -> list[Beside]:
    """A row of term ``effect_by_event_time`` for each of the ``leads`` before treatment and its
    anticipation, measured from all earlier untreated rows (and those of units not treated)."""
    place = _places(design, units, base, anticipation, leads)
    events = [-anticipation - lead for lead in range(1, leads + 1)]
    seen = [e for e in range(leads) if (place[:, e] >= 0).any()]
    if not seen:
        return []
    place = place[:, seen]
    toward = base.equations.solve(_beside_model(base, place).T)
    square, right = _left(base, place, toward)
    total = np.tensordot(base.weight, square, axes=1)
    scale = np.array([base.weight[place[:, e] >= 0].sum() for e in range(len(seen))])
    free = [e for e in range(len(seen)) if total[e, e] > 1e-9 * scale[e]]
    free = [free[j] for j in independent(total[np.ix_(free, free)])]
    inverse = np.linalg.inv(total[np.ix_(free, free)])
    found = np.zeros(len(seen))
    found[free] = inverse @ (base.weight @ right[:, free])
    left = base.weight[:, None] * (right - square @ found)
    z = groups.add_up(left[:, free] @ inverse, units)
    out = []
    for e in range(len(seen)):
        labels = {"term": "effect_by_event_time", "horizon": events[seen[e]]}
        support = _support(design, units, base, place[:, e])
        own = np.bincount(design.cluster[units[place[:, e] >= 0]])
        clusters = int((own > 0).sum())
        if e not in free:
            reason = Reason(
                Why.NO_DIFFERENCE,
                "can't be told from unit and period effects and later event times",
            )
        elif clusters < min_clusters:
            reason = Reason(
                Why.TOO_FEW, f"only {clusters} with that event time ({design.cluster_kind})"
            )
        else:
            out.append(Beside(labels, support, float(found[e]), z[:, free.index(e)]))
            continue
        out.append(Beside(labels, support, reason=reason))
    return out


def _places(
    design: StaggeredPanel, units: Ints, base: Baseline, anticipation: int, leads: int
) -> Ints:
    """[m, leads] the period's position of each event time before treatment; -1 where it isn't used."""
    first = design.first[units]
    inside = first <= design.periods[-1]
    place = np.full((units.size, leads), -1, dtype=np.int64)
    position = {int(t): i for i, t in enumerate(design.periods)}
    for g in np.unique(first[inside]):
        own = np.flatnonzero(first == g)
        for lead in range(1, leads + 1):
            t = position.get(int(g) - anticipation - lead)
            if t is not None:
                place[own[base.used[own, t]], lead - 1] = t
    return place


def _beside_model(base: Baseline, place: Ints) -> Floats:
    """[leads, qT + p] products of the indicators with the model's columns, unit effects eliminated."""
    q, periods = base.equations.shape
    out = np.zeros((place.shape[1], q, periods))
    for e in range(place.shape[1]):
        own = np.flatnonzero(place[:, e] >= 0)
        zw = base.z[own] * base.weight[own, None]
        out[e] = -(zw / base.count[own, None]).T @ base.used[own]
        for t in np.unique(place[own, e]):
            out[e, :, t] += zw[place[own, e] == t].sum(axis=0)
    flat = out.reshape(place.shape[1], q * periods)
    if base.v is None:
        return flat
    beside = []
    for at in place.T:
        own = np.flatnonzero(at >= 0)
        beside.append(base.weight[own] @ (base.v[own, at[own]] - base.level[own]))
    return np.hstack([flat, np.array(beside)])


def _left(base: Baseline, place: Ints, toward: Floats) -> tuple[Floats, Floats]:
    """Per unit, of what the model leaves of the indicators: squares [m, e, e], and products with
    residuals [m, e], both summed over periods."""
    m, leads = place.shape
    q, periods = base.equations.shape
    by_z = -toward.T[:, : q * periods].reshape(leads, q, periods)
    along = by_z.transpose(1, 0, 2).reshape(q, leads * periods)
    square, right = np.zeros((m, leads, leads)), np.zeros((m, leads))
    for rows in blocks(m):
        used = base.used[rows]
        left = (base.z[rows] @ along).reshape(used.shape[0], leads, periods)
        if base.v is not None:
            left -= (base.v[rows] @ toward[q * periods :]).transpose(0, 2, 1)
        for e in range(leads):
            there = np.flatnonzero(place[rows, e] >= 0)
            left[there, e, place[rows, e][there]] += 1.0
        left *= used[:, None, :]
        total = left.sum(axis=2)
        np.matmul(left, left.transpose(0, 2, 1), out=square[rows])
        square[rows] -= total[:, :, None] * (total / base.count[rows, None])[:, None, :]
        residual = np.where(used, base.gap[rows], 0.0)  # adds up to zero in every unit
        right[rows] = (left @ residual[:, :, None])[:, :, 0]
    return square, right


def _support(design: StaggeredPanel, units: Ints, base: Baseline, place: Ints) -> Support:
    """Units with the event time, and the others that are untreated in the same periods."""
    own = place >= 0
    periods = np.unique(place[own])
    others = base.used[:, periods].any(axis=1) & ~own
    weight = base.weight[others]
    return Support(
        treated=bits(units[own], design.n),
        comparison=bits(units[others], design.n),
        clusters=bits(design.cluster[units[own | others]], int(design.cluster.max()) + 1),
        effective=float(weight.sum() ** 2 / (weight @ weight)) if others.any() else 0.0,
        trimmed=0,
    )
