"""All cells of one outcome in one subgroup: units gathered, effects fitted, influence summed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.aggregate import Average
from tiltakeval.estimators.did.cell_fit import Method, fit_cells
from tiltakeval.estimators.did.plan import Cell, comparison_units
from tiltakeval.estimators.did.propensity import independent
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Bits = NDArray[np.uint8]
Ints = NDArray[np.int64]


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
    ``dropped_in_cells`` among the units of some cells.

    Where averages weigh cells by their rows, ``mass`` [estimated cells] are these; where an average's
    influence isn't that of its cells, ``combine`` gives it [size]."""

    cells: tuple[Fitted, ...]
    dropped: tuple[str, ...]
    dropped_in_cells: tuple[str, ...]
    mass: Floats | None = None
    combine: Callable[[Average], Floats] | None = None


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
    y = np.ascontiguousarray(design.outcomes[:, :, outcome].T)  # periods are read one at a time
    full = np.array([bool(np.isfinite(column[inside]).all()) for column in y])
    batches: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for i, cell in enumerate(plan):
        # cells of one cohort against the same units are fitted together where nobody is missing
        complete = not cell.reason and full[cell.t] and full[cell.b]
        batches[(cell.cohort, cell.after, -1 if complete else i)].append(i)
    out: dict[int, Fitted] = {}
    lost: set[str] = set()
    starts: dict[float, Floats] = {}
    for members in batches.values():
        first = plan[members[0]]
        if first.reason:
            out[members[0]] = Fitted(first, reason=first.reason)
            continue
        cohort = np.flatnonzero(inside & (design.first == first.cohort))
        others = np.flatnonzero(inside & comparison_units(design, first))
        if not full[[first.t, first.b]].all():
            cohort, others = (
                side[np.isfinite(y[first.t, side] - y[first.b, side])] for side in (cohort, others)
            )
        units = np.concatenate([cohort, others])
        dy = np.empty((units.size, len(members)))
        for j, i in enumerate(members):
            np.subtract(y[plan[i].t, units], y[plan[i].b, units], out=dy[:, j])
        reason = _too_few(design, cohort, others, min_clusters)
        if not reason:
            fit = fit_cells(
                dy=dy,
                treated=cohort.size,
                x=x[units],
                weight=design.weight[units],
                method=method,
                names=names,
                max_propensity=max_propensity,
                start=starts.get(first.cohort),
            )
            reason = fit.reason
            lost |= {names[j] for j in fit.dropped}
        if reason:
            out.update({i: Fitted(plan[i], reason=reason) for i in members})
            continue
        if fit.coef is not None:
            starts[first.cohort] = fit.coef
        z = groups.add_up(fit.z, units)
        support = _support(design, cohort, others, fit.odds, fit.trimmed)
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


def _too_few(design: StaggeredPanel, cohort: Ints, others: Ints, least: int) -> str:
    """Why the cell has too few units on a side, or nothing."""
    if not cohort.size:
        return "no unit of the cohort is seen in both periods"
    if not others.size:
        return "no comparison unit is left"
    kind = "unit" if design.cluster_kind == "unit" else f"cluster ({design.cluster_kind})"
    for side, where in ((cohort, "in the cohort"), (others, "to compare with")):
        count = np.unique(design.cluster[side[: 100 * least]]).size
        if count < least:  # few among the first: count all
            count = np.unique(design.cluster[side]).size
        if count < least:
            return f"only {count} {kind} {where}"
    return ""


def _support(
    design: StaggeredPanel, cohort: Ints, others: Ints, odds: Floats, trimmed: int
) -> Support:
    def bits(where: Ints, size: int) -> Bits:
        mask = np.zeros(size, dtype=bool)
        mask[where] = True
        return np.packbits(mask)

    used = others[odds > 0]
    return Support(
        treated=bits(cohort, design.n),
        comparison=bits(used, design.n),
        clusters=bits(
            design.cluster[np.concatenate([cohort, used])], int(design.cluster.max()) + 1
        ),
        effective=float(odds.sum() ** 2 / (odds @ odds)),
        trimmed=trimmed,
    )
