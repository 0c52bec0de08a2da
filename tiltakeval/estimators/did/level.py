"""All cells of one outcome in one subgroup: units gathered, effects fitted, influence summed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.cell_fit import Method, fit_cells
from tiltakeval.estimators.did.plan import Cell, comparison_units
from tiltakeval.estimators.did.propensity import independent
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Support:
    """Who carries a cell, as bits over the design's units and clusters."""

    treated: Bits
    comparison: Bits
    clusters: Bits
    effective: float
    trimmed: int


@dataclass(frozen=True)
class Fitted:
    """A cell's effect and its influence ``z`` [size] by group; or the reason there is none."""

    cell: Cell
    att: float = np.nan
    z: Floats | None = None
    support: Support | None = None
    reason: str = ""


@dataclass(frozen=True)
class Level:
    """The cells in the plan's order; ``dropped`` covariates are collinear among all units, and
    ``dropped_in_cells`` among the units of some cells."""

    cells: tuple[Fitted, ...]
    dropped: tuple[str, ...]
    dropped_in_cells: tuple[str, ...]


def estimate_level(
    design: StaggeredPanel,
    plan: Sequence[Cell],
    inside: Bools,
    outcome: int,
    groups: Groups,
    *,
    method: Method,
    min_clusters: int,
    max_propensity: float,
) -> Level:
    """The plan's cells among the units ``inside`` [n]."""
    x, names, dropped = standard_covariates(design, inside)
    y = design.outcomes[:, :, outcome]
    full = np.asarray(np.isfinite(y[inside]).all(axis=0))
    batches: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for i, cell in enumerate(plan):
        # cells of one cohort against the same units are fitted together where nobody is missing
        complete = not cell.reason and full[cell.t] and full[cell.b]
        batches[(cell.cohort, cell.after, -1 if complete else i)].append(i)
    out: dict[int, Fitted] = {}
    lost: set[str] = set()
    for members in batches.values():
        first = plan[members[0]]
        if first.reason:
            out[members[0]] = Fitted(first, reason=first.reason)
            continue
        treated = inside & (design.first == first.cohort)
        units = np.flatnonzero(treated | (inside & comparison_units(design, first)))
        t = np.array([plan[i].t for i in members])
        b = np.array([plan[i].b for i in members])
        dy = y[units][:, t] - y[units][:, b]
        if len(members) == 1:
            seen = np.isfinite(dy[:, 0])
            units, dy = units[seen], dy[seen]
        own = treated[units]
        reason = _too_few(design, units, own, min_clusters)
        if not reason:
            fit = fit_cells(
                dy=dy,
                treated=own,
                x=x[units],
                weight=design.weight[units],
                method=method,
                names=names,
                max_propensity=max_propensity,
            )
            reason = fit.reason
            lost |= {names[j] for j in fit.dropped}
        if reason:
            out.update({i: Fitted(plan[i], reason=reason) for i in members})
            continue
        z = groups.add_up(fit.z, units)
        support = _support(design, units, own, fit.odds, fit.trimmed)
        for j, i in enumerate(members):
            out[i] = Fitted(plan[i], float(fit.att[j]), z[:, j], support)
    return Level(
        tuple(out[i] for i in range(len(plan))), dropped, tuple(sorted(lost - set(dropped)))
    )


def standard_covariates(
    design: StaggeredPanel, inside: Bools
) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """Centred and scaled covariates [n, p], their names, and the names of collinear ones left out."""
    x = design.covariates
    if not x.shape[1] or not inside.any():
        return np.zeros((design.n, 0)), (), ()
    w = design.weight[inside] / design.weight[inside].sum()
    mean = w @ x[inside]
    centred = x - mean
    scale = np.sqrt(w @ centred[inside] ** 2)
    # what rounding leaves of a constant is no variation
    still = scale > 1e-10 * np.maximum(np.abs(mean), 1e-300)
    centred /= np.where(still, scale, 1.0)
    gram = centred[inside].T @ (centred[inside] * w[:, None])
    gram[~still] = gram[:, ~still] = 0.0
    kept = independent(gram)
    names = design.covariate_names
    dropped = tuple(name for j, name in enumerate(names) if j not in kept)
    return centred[:, kept], tuple(names[j] for j in kept), dropped


def _too_few(design: StaggeredPanel, units: NDArray[np.int64], own: Bools, least: int) -> str:
    """Why the cell has too few units on a side, or nothing."""
    kind = design.cluster_kind
    sides = (("treated", own, "in the cohort"), ("comparison", ~own, "to compare with"))
    for name, side, where in sides:
        if not side.any():
            return (
                f"no {name} unit is seen in both periods"
                if name == "treated"
                else ("no comparison unit is left")
            )
        count = np.unique(design.cluster[units[side]]).size
        if count < least:
            return (
                f"only {count} {kind} {where}"
                if kind == "unit"
                else (f"only {count} cluster ({kind}) {where}")
            )
    return ""


def _support(
    design: StaggeredPanel, units: NDArray[np.int64], own: Bools, odds: Floats, trimmed: int
) -> Support:
    def bits(where: NDArray[np.int64], size: int) -> Bits:
        mask = np.zeros(size, dtype=bool)
        mask[where] = True
        return np.packbits(mask)

    carrying = units[own | (odds > 0)]
    return Support(
        treated=bits(units[own], design.n),
        comparison=bits(units[~own & (odds > 0)], design.n),
        clusters=bits(design.cluster[carrying], int(design.cluster.max()) + 1),
        effective=float(odds.sum() ** 2 / (odds @ odds)),
        trimmed=trimmed,
    )
