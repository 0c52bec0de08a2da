"""Effects of first changes, group by group and period by period, with influence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.treatment_paths import TreatmentPaths
from tiltakeval.estimators.did.cells.fit import Method, effects, weigh
from tiltakeval.estimators.did.cells.leverage import spread
from tiltakeval.estimators.did.level import Support
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.switching.controls import Slopes
from tiltakeval.estimators.did.switching.plan import Cell
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Kind = Literal["sampling", "conditional", "recentred"]

#: What a switcher counts in averages: itself, its treatment so far, its treatment now.
SELF, SO_FAR, NOW = 0, 1, 2


@dataclass(frozen=True)
class Fitted:
    """A cell: ``att`` (of more treatment: who switches down counts with a minus), influence ``z``
    [size] by group, ``held`` [size, 3] what its switchers' weights add up to (see ``SELF``), ``total``
    [3] their sums. Or the ``reason`` it can't be had; ``alone``: why it has no error of its own."""

    cell: Cell
    att: float = np.nan
    z: Floats | None = None
    held: Floats | None = None
    total: Floats | None = None
    support: Support | None = None
    reason: str = ""
    alone: str = ""


@dataclass(frozen=True)
class Sample:
    """What cells of one outcome and subgroup share. ``y`` [n, T]; ``x`` [n, p] standardised covariates;
    ``follow`` [n, T] see `plan.followed`; ``cohort`` [n] who shares baseline, first change and
    direction; ``sets`` [n] within which units are compared."""

    design: TreatmentPaths
    inside: Bools
    y: Floats
    x: Floats
    names: tuple[str, ...]
    follow: Bools
    cohort: Ints
    groups: Groups
    sets: Ints | None = None


def fit_cell(
    sample: Sample,
    cell: Cell,
    slopes: Slopes | None,
    *,
    method: Method,
    min_clusters: int,
    max_propensity: float,
    leverage: bool,
    kind: Kind,
) -> Fitted:
    """One cell. Its own row needs ``min_clusters`` switching clusters; in averages one will do, and the
    comparison needs ``min_clusters`` always."""
    design = sample.design
    if cell.b < 0:
        return Fitted(
            cell,
            reason=Reason(
                Why.NO_PERIOD_BEFORE, "no period before the change (and its anticipation)"
            ),
        )
    own, other = _sides(sample, cell)
    cluster = "unit" if design.cluster_kind == "unit" else f"cluster ({design.cluster_kind})"
    if not own.size:
        return Fitted(cell, reason=Reason(Why.NOT_SEEN, "no switcher is seen in both periods"))
    if not other.size:
        return Fitted(
            cell, reason=Reason(Why.NO_COMPARISON, "no unit that started alike has not yet changed")
        )
    count = _at_least(design.cluster[other], min_clusters)
    if count < min_clusters:
        return Fitted(cell, reason=Reason(Why.TOO_FEW, f"only {count} {cluster} to compare with"))
    at = np.concatenate([own, other])
    basis = np.concatenate([np.ones((1, at.size)), sample.x[at].T])
    sides = weigh(
        x=basis, treated=own.size, weight=design.weight[at], method=method, names=sample.names,
        max_propensity=max_propensity,
    )  # fmt: skip
    if sides.reason:
        return Fitted(cell, reason=sides.reason)
    dy = sample.y[at, cell.t] - sample.y[at, cell.b]
    moving = [dy]
    if slopes is not None and design.varying is not None:
        moving += list((design.varying[at, cell.t] - design.varying[at, cell.b]).T)
    raw = np.array(moving)
    theta = None if slopes is None else slopes.of(cell.who.baseline)
    if slopes is not None and theta is None:
        return Fitted(cell, reason=slopes.reason(cell.who.baseline))
    kept = raw.copy()
    att, z = effects(sides, raw)
    if kind == "recentred":
        z = _raw_influence(kept, design.weight[at], own.size)
    elif leverage:
        z = z * spread(sides, sample.groups.label[at], sample.groups.labels)
    lean = np.concatenate([[1.0], np.zeros(0) if theta is None else -theta])
    of_unit = lean @ z
    if kind == "conditional" and leverage and own.size == 1:
        of_unit[0] = _of_one(lean @ kept, design.weight[at])
    if kind == "recentred":
        at, of_unit = _recentred(sample, at, of_unit)
    total_z = sample.groups.add_up(of_unit[:, None], at)[:, 0]
    if slopes is not None and kind != "recentred":
        total_z = total_z - slopes.influence(cell.who.baseline) @ att[1:]
    counts = _counted(design, cell, own)
    held = sample.groups.add_up(counts, own)
    n_own = _at_least(design.cluster[own], min_clusters)
    alone = ""
    if n_own < min_clusters:
        alone = Reason(Why.TOO_FEW, f"only {n_own} {cluster} that switches")
    return Fitted(
        cell,
        att=cell.who.sign * float(lean @ att),
        z=cell.who.sign * total_z,
        held=held,
        total=counts.sum(axis=0),
        support=_support(design, own, other, sides.odds, sides.trimmed),
        alone=alone,
    )


def _at_least(cluster: Ints, least: int) -> int:
    """The number of different clusters, or some number that is at least ``least`` if that many are."""
    count = np.unique(cluster[: 100 * least]).size
    return int(count if count >= least else np.unique(cluster).size)


def _sides(sample: Sample, cell: Cell) -> tuple[Ints, Ints]:
    """The switchers of the cell and the units compared with, all seen in both periods."""
    design, t = sample.design, cell.t
    seen = sample.inside & np.isfinite(sample.y[:, t]) & np.isfinite(sample.y[:, cell.b])
    if design.varying is not None:
        seen &= np.isfinite(design.varying[:, [t, cell.b]]).all(axis=(1, 2))
    clear = (design.baseline == cell.who.baseline) & (design.first > cell.after)
    if sample.sets is not None:
        clear &= sample.sets == cell.who.set
    if cell.mirror is not None:
        seen &= np.isfinite(sample.y[:, cell.mirror])
        clear &= design.until >= design.periods[cell.mirror]
    clear &= design.until >= design.periods[max(t, cell.b)]
    members = cell.who.members
    own = members[seen[members]]
    own = own[sample.follow[own, cell.reach]]
    return own, np.flatnonzero(seen & clear)


def _counted(design: TreatmentPaths, cell: Cell, own: Ints) -> Floats:
    """[m, 3] the switchers' weights, times what each received: see ``SELF``. In a placebo the treatment
    is that of the effect it mirrors."""
    more = np.abs(design.status[own, cell.who.first : cell.reach + 1] - design.baseline[own, None])
    w = design.weight[own]
    now = more[:, -1] if more.shape[1] else np.zeros(own.size)
    return np.stack([w, w * more.sum(axis=1), w * now], axis=1)


def _of_one(dy: Floats, weight: Floats) -> float:
    """A lone switcher's influence where paths are given: its difference less the mean of its own and
    those it is compared with, as did_multiplegt_dyn has it (its own mean would leave nothing)."""
    return float((dy[0] - weight @ dy / weight.sum()) * np.sqrt(dy.size / (dy.size - 1)))


def _raw_influence(dy: Floats, weight: Floats, treated: int) -> Floats:
    """[k, m] what every unit's difference adds to the effect, not yet less any mean."""
    share = weight.copy()
    share[:treated] /= weight[:treated].sum()
    share[treated:] /= -weight[treated:].sum()
    return dy * share


def _recentred(sample: Sample, at: Ints, of_unit: Floats) -> tuple[Ints, Floats]:
    """Influence of all units inside, less the mean of their cohort."""
    everyone = np.zeros(sample.design.n)
    everyone[at] = of_unit
    inside = np.flatnonzero(sample.inside)
    code = sample.cohort[inside]
    sums = np.bincount(code, weights=everyone[inside])
    count = np.maximum(np.bincount(code), 1)
    return inside, everyone[inside] - (sums / count)[code]


def _support(design: TreatmentPaths, own: Ints, other: Ints, odds: Floats, trimmed: int) -> Support:
    """Units and clusters behind a cell, packed."""
    sides = np.zeros((2, design.n), dtype=bool)
    sides[0, own] = True
    sides[1, other] = True
    flag = np.zeros(int(design.cluster.max()) + 1, dtype=bool)
    flag[design.cluster[own]] = True
    flag[design.cluster[other]] = True
    return Support(
        treated=np.packbits(sides[0]),
        comparison=np.packbits(sides[1]),
        clusters=np.packbits(flag),
        effective=float(odds.sum() ** 2 / (odds @ odds)),
        trimmed=trimmed,
    )
