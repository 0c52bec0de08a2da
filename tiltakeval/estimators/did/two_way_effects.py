"""The classic regression with unit and period effects and one treatment dummy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.beside import Beside
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.result import groups_of, result_of
from tiltakeval.estimators.did.rows import Rows
from tiltakeval.estimators.did.two_way.against import against_cells, by_rows
from tiltakeval.estimators.did.two_way.bacon import by_type, decompose
from tiltakeval.estimators.did.two_way.columns import (
    Sample,
    blocks_of,
    dropped_of,
    sample_of,
    static_columns,
)
from tiltakeval.estimators.did.two_way.fit import regress
from tiltakeval.estimators.did.two_way.kept import Fit, Kept, Regressed
from tiltakeval.estimators.did.two_way.result import (
    MISSING,
    Errors,
    check_options,
    every_level,
    scale_of,
    summed,
    support_of,
    too_few,
    two_way,
)
from tiltakeval.estimators.did.two_way.weights import static_weights
from tiltakeval.estimators.did.varying import note_collinear, said_of
from tiltakeval.estimators.numerics.groups import Groups

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TwoWayEffects:
    """y_it = a_i + f_t + b D_it (+ covariates times periods), least squares, D = 1 from the start on.
    Covariates that vary with time have one slope each, over all rows.

    b is a mean effect only where effects are the same in all cohorts and at all times since start:
    else it is a weighted sum of effects with weights nobody chose, some perhaps negative. The run says
    what b is made of (``bacon``: Goodman-Bacon 2021; ``weights``: de Chaisemartin & D'Haultfoeuille
    2020) and how far it lies from the mean of the effects by cohort and period (``against_cells``);
    checks say it plainly.

    Any pattern of missing rows; weights of units; errors clustered by the design's ``cluster``.
    ``errors`` names the small-sample convention (see `two_way.result.small_sample`): estimates
    are the same. Intervals use t with G - 1 degrees of freedom (or the smaller side less one) under
    all of them. No estimate with fewer than ``min_clusters`` clusters treated, or untreated while others
    are treated, or twice that together.
    """

    errors: Errors = "clustered"
    min_clusters: int = 2
    level: float = 0.95
    bands = False  # there is one row for each outcome
    draws = 0
    seed = 0

    def estimate(self, design: StaggeredPanel) -> Estimates:
        """A row (term ``effect_overall``) by outcome and subgroup. Raises InputError."""
        return self._estimate(design)[0]

    def with_regressions(self, design: StaggeredPanel) -> tuple[Estimates, Sequence[Kept]]:
        """`estimate`, with the regressions behind its rows."""
        return self._estimate(design, keep=True)

    def _estimate(
        self, design: StaggeredPanel, keep: bool = False
    ) -> tuple[Estimates, Sequence[Kept]]:
        began = time.process_time()
        check_options(self)
        groups = groups_of(design, 2)
        rows = Rows(design, groups, None, "g_minus_1", MISSING, keep=keep)
        rows.notes |= {"bacon": [], "weights": [], "against_cells": [], **said_of(design)}
        for label, inside, k in every_level(design):
            sample = sample_of(design, inside, k)
            note_collinear(rows.notes, sample.dropped)
            rows.add_beside(label, k, [self._row(design, sample, groups, rows, label, k)])
        out = result_of(
            design, rows, groups, self, key="twfe", options=asdict(self), began=began, varying=True
        )
        return two_way(out, design), rows.kept

    def _row(
        self,
        design: StaggeredPanel,
        sample: Sample,
        groups: Groups,
        rows: Rows,
        label: str,
        outcome: int,
    ) -> Beside:
        """One coefficient; what it is made of goes to the notes of ``rows``."""
        labels = {"term": "effect_overall"}
        sides = _sides(design, sample)
        support = support_of(design, *sides)
        reason = too_few(design, *sides, self.min_clusters)
        if reason:
            return Beside(labels, support, reason=reason)
        columns = static_columns(sample)
        blocks = blocks_of(sample, columns)
        found = regress(sample.panel, blocks, columns.owner)
        note_collinear(rows.notes, dropped_of(sample, found, columns.nuisance))
        maps = np.zeros((found.coef.size, 1))
        maps[-1] = 1.0
        if not found.identifies(maps)[0]:
            reason = Reason(Why.COLLINEAR, "treatment is collinear with periods or covariates")
            return Beside(labels, support, reason=reason)
        beta = float(found.coef[-1])
        z = summed(sample, blocks, found, maps, groups)[:, 0]
        rows.scale = scale_of(self.errors, design, sample, found, groups)
        where = {"subgroup": label, "outcome": design.outcome_names[outcome]}
        rows.notes["bacon"].append({**where, **_bacon(design, sample, beta)})
        summary, cells = static_weights(sample, blocks, found)
        named = [
            {**cell, **{n: design.label(cell[n]) for n in ("cohort", "period")}} for cell in cells
        ]
        rows.notes["weights"].append({**where, **asdict(summary), "by_cell": named})
        held = against_cells(sample, groups, beta, z, rows.scale, by_rows)
        rows.notes["against_cells"].append({**where, **held})
        kept = Regressed((Fit(sample.panel, blocks, columns.owner),), maps)
        return Beside(labels, support, beta, z, of=kept)


def _sides(design: StaggeredPanel, sample: Sample) -> tuple[Bools, Bools]:
    """Treated: seen after their start. Comparison: seen untreated in a period in which others are
    treated."""
    treated, others = np.zeros(design.n, dtype=bool), np.zeros(design.n, dtype=bool)
    seen = sample.seen
    begun = sample.periods >= min(sample.cohorts, default=np.inf)
    for g, units in zip(sample.cohorts, sample.members):
        late = sample.periods >= g
        treated[units] = seen[units][:, late].any(axis=1)
        others[units] = seen[units][:, begun & ~late].any(axis=1)
    return treated, others


def _bacon(design: StaggeredPanel, sample: Sample, beta: float) -> dict[str, Any]:
    """The decomposition as plain values, or why there is none."""
    if sample.panel.x.shape[1] > 1 or sample.panel.moving:
        return {"why": "the decomposition is of a regression without covariates"}
    if not sample.complete:
        return {"why": "the decomposition needs every unit in every period"}
    weight, y = sample.panel.weight, sample.panel.y
    mean = np.stack([weight[u] @ y[u] / weight[u].sum() for u in sample.members])
    size = np.array([weight[u].sum() for u in sample.members])
    parts = decompose(mean, size, sample.cohorts, sample.periods)
    total = sum(one.weight * one.estimate for one in parts)

    def named(g: float) -> str:
        return design.label(g) if np.isfinite(g) else "never"

    return {
        "two_way": beta,
        "gap": total - beta,
        "types": {
            kind: {"weight": weight, "estimate": value}
            for kind, (weight, value) in by_type(parts).items()
        },
        "comparisons": [
            {**asdict(one), "treated": named(one.treated), "control": named(one.control)}
            for one in parts
        ],
    }
