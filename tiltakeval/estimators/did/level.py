"""All cells of one outcome in one subgroup: units gathered, effects fitted, influence summed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.aggregate import Average
from tiltakeval.estimators.did.cells.batches import Support, batches
from tiltakeval.estimators.did.cells.fit import Method, effects, weigh
from tiltakeval.estimators.did.cells.leverage import spread
from tiltakeval.estimators.did.cells.sorted_units import sort_units
from tiltakeval.estimators.did.cells.summed import summed_effects
from tiltakeval.estimators.did.plan import Cell
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.two_way.kept import Regressed
from tiltakeval.estimators.numerics.groups import Groups
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: From so many cells on the same units on, influence is summed without being written down.
SUMMED_FROM = 8


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
    influence isn't that of its cells, ``combine`` gives it [size]. ``regressed``: the regression the
    estimated cells are coefficients of."""

    cells: tuple[Fitted, ...]
    dropped: tuple[str, ...]
    dropped_in_cells: tuple[str, ...]
    mass: Floats | None = None
    combine: Callable[[Average], Floats] | None = None
    regressed: Regressed | None = None


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
    leverage: bool = False,
    changes: bool = False,
) -> Level:
    """The plan's cells among the units ``inside`` [n].

    Cells of one cohort against the same others are weighed once where nobody is missing; regressions
    then rest on Gram matrices added up over the cohorts compared with. With ``leverage`` a cluster's
    influence is divided by the root of one less its leverage; with ``changes`` covariates that vary with
    time enter with their changes too.
    """
    x, names, dropped = standard_covariates(design, inside)
    units = sort_units(design, inside, outcome, x, groups, changes)
    if design.varying is not None:
        names += design.varying_names
        names += tuple(f"change of {name}" for name in design.varying_names if changes)
    out = {i: Fitted(cell, reason=cell.reason) for i, cell in enumerate(plan) if cell.reason}
    lost: set[str] = set()
    like: dict[float, tuple[Floats, float]] = {}
    for batch in batches(plan, units):
        cohort = batch.cells[0].cohort
        reason = too_few(
            design, batch.cluster[: batch.treated], batch.cluster[batch.treated :], min_clusters
        )
        if not reason:
            sides = weigh(
                x=batch.x,
                treated=batch.treated,
                weight=batch.weight,
                method=method,
                names=names,
                max_propensity=max_propensity,
                start=_start(like.get(cohort), batch.log_odds),
                grams=batch.grams,
            )
            reason = sides.reason
            lost |= {names[j] for j in sides.dropped}
        if reason:
            out.update({i: Fitted(plan[i], reason=reason) for i in batch.members})
            continue
        if sides.coef is not None:
            like[cohort] = sides.coef, batch.log_odds
        support = batch.support(sides)
        label = units.label[batch.at]
        factor = spread(sides, label, groups.labels) if leverage else None
        if batch.grams is not None and len(batch.cells) >= SUMMED_FROM:
            att, sums = summed_effects(batch, sides, label, groups.labels, factor)
            summed = groups.gather(sums).astype(np.float64, copy=False)
            for j, i in enumerate(batch.members):
                out[i] = Fitted(plan[i], float(att[j]), summed[:, j], support)
            continue
        for members, dy, known in batch.differences():
            att, z = effects(sides, dy, known)
            if factor is not None:
                z *= factor
            rows = [np.bincount(label, weights=row, minlength=groups.labels) for row in z]
            summed = groups.gather(np.stack(rows, axis=1)).astype(np.float64, copy=False)
            for j, i in enumerate(members):
                out[i] = Fitted(plan[i], float(att[j]), summed[:, j], support)
    return Level(
        tuple(out[i] for i in range(len(plan))), dropped, tuple(sorted(lost - set(dropped)))
    )


def _start(like: tuple[Floats, float] | None, log_odds: float) -> Floats | None:
    """The logit's coefficients in a like cell, its constant moved by the log odds of being treated."""
    if like is None:
        return None
    coef = like[0].copy()
    coef[0] += log_odds - like[1]
    return coef


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


def too_few(design: StaggeredPanel, cohort: Ints, others: Ints, least: int) -> str:
    """Why cells have too few units on a side, given the clusters of their units; or nothing."""
    if not cohort.size:
        return Reason(Why.NOT_SEEN, "no unit of the cohort is seen in both periods")
    if not others.size:
        return Reason(Why.NO_COMPARISON, "no comparison unit is left")
    kind = "unit" if design.cluster_kind == "unit" else f"cluster ({design.cluster_kind})"
    for side, where in ((cohort, "in the cohort"), (others, "to compare with")):
        count = np.unique(side[: 100 * least]).size
        if count < least:  # few among the first: count all
            count = np.unique(side).size
        if count < least:
            return Reason(Why.TOO_FEW, f"only {count} {kind} {where}")
    return ""
