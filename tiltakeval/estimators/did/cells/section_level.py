"""All cells of one outcome in one subgroup of repeated cross-sections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.sections import StaggeredSections
from tiltakeval.estimators.did.cells.batches import Support
from tiltakeval.estimators.did.cells.fit import Method
from tiltakeval.estimators.did.cells.section_fit import fit_section
from tiltakeval.estimators.did.level import Fitted, Level, standard_covariates, too_few
from tiltakeval.estimators.did.plan import Cell, compared
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def estimate_sections(
    design: StaggeredSections,
    plan: Sequence[Cell],
    inside: Bools,
    outcome: int,
    groups: Groups,
    *,
    method: Method,
    min_clusters: int,
    max_propensity: float,
    leverage: bool,
) -> Level:
    """The plan's cells among the rows ``inside`` [n]; with ``leverage`` a cluster's influence is divided
    by the root of one less its share of its side's weight."""
    x, names, dropped = standard_covariates(design, inside)
    basis = np.concatenate([np.ones((design.n, 1)), x], axis=1)
    y = design.outcomes[:, 0, outcome]
    good = inside & np.isfinite(y)
    starts = np.unique(design.first)
    code = np.searchsorted(starts, design.first)
    rows = {
        (c, t): np.flatnonzero(good & (code == c) & (design.when == t))
        for c in range(starts.size)
        for t in range(design.periods.size)
    }
    out = []
    for cell in plan:
        if cell.reason:
            out.append(Fitted(cell, reason=cell.reason))
            continue
        own, others = compared(starts, cell)
        side = [
            np.concatenate([rows[c, t] for c in cohorts for t in (cell.b, cell.t)] or [np.empty(0, int)])
            for cohorts in ([own], others)
        ]  # fmt: skip
        out.append(
            _fitted(design, cell, side, basis, y, names, groups, method, min_clusters,
                    max_propensity, leverage)
        )  # fmt: skip
    return Level(tuple(out), dropped, ())


def _fitted(
    design: StaggeredSections,
    cell: Cell,
    side: Sequence[Ints],
    basis: Floats,
    y: Floats,
    names: tuple[str, ...],
    groups: Groups,
    method: Method,
    min_clusters: int,
    max_propensity: float,
    leverage: bool,
) -> Fitted:
    at = np.concatenate(side)
    treated = side[0].size
    after = design.when[at] == cell.t
    for name, mask in (("of the cohort", after[:treated]), ("to compare with", after[treated:])):
        if not (mask.any() and (~mask).any()):
            return Fitted(
                cell, reason=Reason(Why.NOT_SEEN, f"nobody {name} is seen in one of its periods")
            )
    cluster = design.cluster[at]
    reason = too_few(design, cluster[:treated], cluster[treated:], min_clusters)
    if reason:
        return Fitted(cell, reason=reason)
    fit = fit_section(
        y=y[at],
        after=after,
        treated=treated,
        x=np.ascontiguousarray(basis[at].T),
        weight=design.weight[at],
        method=method,
        names=names,
        max_propensity=max_propensity,
    )
    if fit.z is None or fit.odds is None:
        return Fitted(cell, reason=fit.reason)
    z = fit.z
    label = groups.label[at]
    if leverage:
        z = z * np.concatenate(
            [
                _factor(label[:treated], design.weight[side[0]], groups.labels),
                _factor(label[treated:], fit.odds, groups.labels),
            ]
        )
    used = np.concatenate([np.ones(treated, dtype=bool), fit.odds > 0])
    support = Support(
        treated=_bits(side[0], design.n),
        comparison=_bits(side[1][fit.odds > 0], design.n),
        clusters=_bits(cluster[used], int(design.cluster.max()) + 1),
        effective=float(fit.odds.sum() ** 2 / (fit.odds @ fit.odds)),
        trimmed=fit.trimmed,
    )
    return Fitted(cell, fit.att, groups.add_up(z[:, None], at)[:, 0], support)


def _factor(label: NDArray[np.integer], weight: Floats, labels: int) -> Floats:
    share = np.bincount(label, weights=weight, minlength=labels) / weight.sum()
    alone = share > 1 - 1e-9
    out: Floats = np.where(alone, 1.0, 1 / np.sqrt(np.where(alone, 1.0, 1 - share)))
    return out[label]


def _bits(where: Ints, size: int) -> NDArray[np.uint8]:
    mask = np.zeros(size, dtype=bool)
    mask[where] = True
    return np.packbits(mask)
