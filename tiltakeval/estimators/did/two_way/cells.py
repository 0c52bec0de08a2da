"""Regressions with a coefficient for every cohort and period: Sun & Abraham's and Wooldridge's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.level import Fitted, Level
from tiltakeval.estimators.did.plan import Cell
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.rows import Rows
from tiltakeval.estimators.did.two_way.columns import Sample, blocks_of, cell_columns, dropped_of
from tiltakeval.estimators.did.two_way.fit import regress
from tiltakeval.estimators.did.two_way.kept import Fit, Regressed
from tiltakeval.estimators.did.two_way.result import (
    Errors,
    clusters_of,
    scale_of,
    summed,
    support_of,
)
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def cell_level(
    design: StaggeredPanel,
    sample: Sample,
    plan: Sequence[Cell],
    groups: Groups,
    *,
    errors: Errors,
    least: int,
    centred: bool,
    fixed: bool,
) -> tuple[Level, float]:
    """The effects of the plan's cells from one regression, and what their influence is multiplied by for
    the errors asked for.

    With ``centred`` every cell has slopes on the covariates of its own, and its effect is that at its
    cohort's mean covariates. With ``fixed`` these means, and the cells' numbers of rows by which
    averages weigh, are taken as given; else cohorts' sizes weigh, and both are part of the influence.
    Cells of fewer than ``least`` clusters on a side get no estimate but keep their column.
    """
    able = [cell for cell in plan if not cell.reason]
    if not able or not sample.cohorts.size:
        return Level(
            tuple(Fitted(c, reason=c.reason or _EMPTY) for c in plan), sample.dropped, ()
        ), 1.0
    columns = cell_columns(sample, [(cell.cohort, cell.t) for cell in able], centred=centred)
    blocks = blocks_of(sample, columns)
    found = regress(sample.panel, blocks, columns.owner)
    maps = np.zeros((found.coef.size, len(able)))
    members = dict(zip(sample.cohorts, sample.members))
    for k, cell in enumerate(able):
        maps[columns.nuisance + k, k] = 1.0
        if centred and cell.cohort in members:
            mean = _mean(sample, members[cell.cohort])
            at = columns.nuisance + k + len(able) * np.arange(1, mean.size)
            maps[at, k] = mean[1:]
    known = found.identifies(maps)
    seen = sample.seen
    inside = np.zeros(design.n, dtype=bool)
    inside[np.concatenate(sample.members)] = True
    sides = [_sides(design, cell, inside & seen[:, cell.t]) for cell in able]
    dropped = dropped_of(sample, found, columns.nuisance)
    why = [
        _too_few(design, *side, least)
        or ("" if ok else _lost(design, cell, inside & seen[:, cell.b]))
        for cell, side, ok in zip(able, sides, known)
    ]
    good = [k for k, said in enumerate(why) if not said]
    z = summed(sample, blocks, found, maps[:, good], groups)
    if centred and not fixed:
        slopes = found.coef[columns.nuisance :].reshape(-1, len(able))
        for g, units in members.items():
            mine = [j for j, k in enumerate(good) if able[k].cohort == g]
            if mine:
                z[:, mine] += _of_means(sample, units, slopes[1:, [good[j] for j in mine]], groups)
    value = found.coef @ maps
    column = {k: j for j, k in enumerate(good)}
    fitted, rows = [], []
    position = {id(cell): k for k, cell in enumerate(able)}
    for cell in plan:
        k = position.get(id(cell), -1)
        if k < 0:
            fitted.append(Fitted(cell, reason=cell.reason))
        elif why[k]:
            fitted.append(Fitted(cell, reason=why[k]))
        else:
            support = support_of(design, *sides[k])
            fitted.append(Fitted(cell, float(value[k]), z[:, column[k]], support))
            rows.append(float(design.weight[sides[k][0]].sum()))
    scale = scale_of(errors, design, sample, found, groups)
    mass = np.array(rows) if fixed else None
    kept = Regressed(
        (Fit(sample.panel, blocks, columns.owner),), maps[:, good], "" if fixed else GIVEN
    )
    return Level(tuple(fitted), dropped, (), mass=mass, regressed=kept), scale


def anticipating(design: StaggeredPanel, anticipation: int, rows: Rows) -> Bools:
    """[n] units first treated after the panel, but so soon that they anticipate in it: neither a cohort
    nor untreated. They are left out, which the notes of ``rows`` say."""
    last = float(design.periods[-1])
    late = (design.first > last) & (design.first <= last + anticipation)
    for g in np.unique(design.first[late]):
        rows.notes["not_supported"].append(
            {
                "subgroup": "all",
                "outcome": "",
                "cohort": design.label(g),
                "period": "",
                "reason": "units treated after the last period anticipate it: left out",
                "kind": str(Why.ANTICIPATED),
            }
        )
    return late


GIVEN = "cohorts' shares and mean covariates are taken as given"
_EMPTY = Reason(Why.NOT_SEEN, "no unit has an outcome")
_COLLINEAR = Reason(
    Why.NO_COMPARISON,
    "nobody is untreated in the period, or covariates are collinear among those who are",
)


def _lost(design: StaggeredPanel, cell: Cell, before: Bools) -> str:
    """Why the regression can't tell a cell's effect from the rest."""
    if not (before & (design.first == cell.cohort)).any():
        return Reason(Why.NOT_SEEN, "no unit of the cohort is seen in the base period")
    return _COLLINEAR


def _sides(design: StaggeredPanel, cell: Cell, there: Bools) -> tuple[Bools, Bools]:
    """[n] the cohort's units and those compared with, seen in the period."""
    own = design.first == cell.cohort
    return there & own, there & (design.first > cell.after) & ~own


def _too_few(design: StaggeredPanel, cohort: Bools, others: Bools, least: int) -> str:
    """Why a cell has too few clusters on a side, or nothing."""
    if not cohort.any():
        return Reason(Why.NOT_SEEN, "no unit of the cohort is seen in the period")
    if not others.any():
        return Reason(Why.NO_COMPARISON, "no comparison unit is left")
    kind = "unit" if design.cluster_kind == "unit" else f"cluster ({design.cluster_kind})"
    for side, where in ((cohort, "in the cohort"), (others, "to compare with")):
        count = int(clusters_of(design, side).sum())
        if count < least:
            return Reason(Why.TOO_FEW, f"only {count} {kind} {where}")
    return ""


def _mean(sample: Sample, units: NDArray[np.int64]) -> Floats:
    """[q] weighted mean covariates of the units (the constant first)."""
    w = sample.panel.weight[units]
    return w @ sample.panel.x[units] / w.sum()


def _of_means(sample: Sample, units: NDArray[np.int64], slopes: Floats, groups: Groups) -> Floats:
    """[size, m] what units do to effects at their cohort's mean covariates: ``slopes`` [q - 1, m]."""
    w, x = sample.panel.weight[units], sample.panel.x[units, 1:]
    off = (x - _mean(sample, units)[1:]) * (w / w.sum())[:, None]
    return groups.add_up(off @ slopes, units)
