"""What imputation and the two-stage estimator share: from a design to rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.did.chosen import Asked
from tiltakeval.estimators.did.imputed.cells import Imputed, Sharing
from tiltakeval.estimators.did.imputed.fit import Baseline, along_line, fit_baseline
from tiltakeval.estimators.did.imputed.pretrend import leads_of, pretrends
from tiltakeval.estimators.did.level import Level, standard_covariates
from tiltakeval.estimators.did.plan import Cell, cells
from tiltakeval.estimators.did.rows import Rows, levels_of
from tiltakeval.estimators.did.varying import Varying, known_rows, said_of, standard_varying
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MISSING = "a unit's level is that of its untreated periods that are seen"
_CHOICES = {"covariates": ("by_period", "linear"), "divisor": ("g_minus_1", "g")}


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Options of both estimators, and how treated rows' effects are averaged in their errors."""

    covariates: str
    anticipation: int
    balance: int | None
    leads: int | None
    min_clusters: int
    divisor: str
    level: float
    leave_one_out: bool = False
    plain_mean: bool = False
    sharing: Sharing | None = None
    asked: Asked | None = None

    def check(self) -> None:
        """Raise InputError for a choice there isn't."""
        for name, valid in _CHOICES.items():
            if getattr(self, name) not in valid:
                raise unknown("choice", str(getattr(self, name)), valid, where=name)
        for name in ("anticipation", "balance", "leads"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InputError(f"{name} is a number of periods, at least 0", where=name)
        if self.min_clusters < 1:
            raise InputError("at least one cluster is needed", where="min_clusters")
        if not 0.5 < self.level < 1:
            raise InputError("the level must lie between 0.5 and 1", where="level")


def treated_cells(design: StaggeredPanel, anticipation: int) -> list[Cell]:
    """Every cohort and period from its start, or the anticipation of it, on."""
    plan = cells(design, comparison="not_yet", base="universal", anticipation=anticipation)
    return [cell for cell in plan if cell.kind != "before"]


def impute(design: StaggeredPanel, plan: list[Cell], groups: Groups, choices: Choices) -> Rows:
    """All rows, by subgroup and outcome: each subgroup is fitted on its own units."""
    rows = Rows(design, groups, choices.balance, choices.divisor, MISSING, asked=choices.asked)
    rows.notes["not_imputed"] = []
    rows.notes["leads_from"] = "all untreated rows before them"
    rows.notes |= said_of(design)
    if "varying" in rows.notes:
        rows.notes["varying"]["slopes"] = []
    leads = leads_of(design, choices.anticipation, choices.leads)
    for label, inside in levels_of(design):
        units = np.flatnonzero(inside)
        x, _, dropped = standard_covariates(design, inside)
        z = np.concatenate([np.ones((units.size, 1)), x[units]], axis=1)
        for k in range(len(design.outcome_names)):
            y = design.outcomes[:, :, k]
            y = y if inside.all() else y[units]
            y, moving = _moving(design, units, y)
            base = _fit(design, units, y, z, choices, moving)
            imputed = Imputed(
                design,
                groups,
                units,
                y,
                base,
                min_clusters=choices.min_clusters,
                leave_one_out=choices.leave_one_out,
                plain_mean=choices.plain_mean,
                sharing=choices.sharing,
                moving=moving.names,
            )
            found = imputed.estimate(plan)
            for j, name in enumerate(moving.names):
                if j in base.equations.slopes:
                    rows.notes["varying"]["slopes"].append(
                        {
                            "subgroup": label,
                            "outcome": design.outcome_names[k],
                            "covariate": name,
                            "slope": float(base.slope[j] / moving.scale[j]),
                        }
                    )
            idle = dropped + moving.constant + base.idle(moving.names)
            rows.add(label, k, inside, Level(found.fitted, idle, (), found.mass, found.combine))
            rows.notes["not_imputed"] += [
                {
                    "subgroup": label,
                    "outcome": design.outcome_names[k],
                    "cohort": design.label(cell.cohort),
                    "period": design.label(design.periods[cell.t]),
                    "units": count,
                }
                for cell, count in found.left_out.items()
            ]
            beside = pretrends(
                design,
                groups,
                units,
                base,
                anticipation=choices.anticipation,
                leads=leads,
                min_clusters=choices.min_clusters,
            )
            rows.add_beside(label, k, beside)
    return rows


def event_times(design: StaggeredPanel, cells: Sequence[Cell]) -> Ints:
    """[cells] periods since the start."""
    return np.array([design.periods[c.t] - c.cohort for c in cells], dtype=np.int64)


def _moving(design: StaggeredPanel, units: Ints, y: Floats) -> tuple[Floats, Varying]:
    """Outcomes [m, T], missing in rows without a value of some covariate that varies, and these."""
    known = known_rows(design)
    if known is None:
        return y, Varying(np.zeros((units.size, 0, 0)), np.zeros(0), (), ())
    assert design.varying is not None
    y = np.where(known[units], y, np.nan)
    v = design.varying[units]
    return y, standard_varying(v, np.isfinite(y), design.weight[units], design.varying_names)


def _fit(
    design: StaggeredPanel, units: Ints, y: Floats, z: Floats, choices: Choices, moving: Varying
) -> Baseline:
    before = design.periods < design.first[units, None] - choices.anticipation
    basis = None
    if choices.covariates == "linear" and z.shape[1] > 1:
        basis = along_line(z.shape[1], design.periods.astype(np.float64))
    v = moving.values if moving.names else None
    return fit_baseline(y, before & np.isfinite(y), design.weight[units], z, basis, v)
