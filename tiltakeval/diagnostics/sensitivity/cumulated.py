"""Omitted-variable bounds of effects added up over months."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.sensitivity.bounds import Bounded, shown
from tiltakeval.diagnostics.sensitivity.jobs import (
    effects_of,
    influence_of,
    jobs_of,
    options_of,
)
from tiltakeval.diagnostics.sensitivity.moments import moments
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import row_degrees
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.weighting.nuisance import Nuisance


def cumulated_bounds(
    design: CrossSection,
    nuisance: Nuisance,
    estimates: Estimates,
    *,
    months: Iterable[int],
    where: Mapping[str, Any] | None = None,
    whole: bool = False,
) -> Bounded:
    """The same for effects added up over ``months``, one row (``horizon`` the last month) per effect.

    With every unit observed in all months and no censoring weights, the residuals are added up by
    unit; else the months' bounds are, which is never too narrow (column ``joint`` says which).
    Raises InputError for a month that isn't there.
    """
    wanted = sorted({int(month) for month in months})
    lacking = [m for m in wanted if m not in design.horizons]
    if lacking or not wanted:
        raise InputError(
            "no months to add up" if not wanted else f"month {lacking[0]} isn't in the design",
            where="months",
        )
    effects, positions = effects_of(estimates, {**(where or {}), "horizon": wanted})
    tables, z_scale, z_own, z_theta, degrees = [], [], [], [], []
    z_rows = influence_of(estimates, positions, nuisance, otherwise=None)
    df = np.asarray(row_degrees(effects, nuisance.groups.count), dtype=np.float64)
    for job in jobs_of(design, nuisance, effects, options_of(estimates), whole=whole):
        by = job.rows.groupby(["subgroup", "outcome"], sort=False)
        for (subgroup, outcome), rows in by:
            if len(rows) != len(wanted):
                continue  # a month without an estimate has no sum
            level = job.levels.index(subgroup)
            keys = [(month, str(outcome)) for month in wanted]
            found = job.residuals(keys)
            member = job.members[:, [level]]
            inside = found.seen[member[:, 0] > 0]
            joint = found.censor is None and bool((inside.all(axis=1) == inside.any(axis=1)).all())
            part = moments(
                job.weights, found.total() if joint else found, nuisance.groups, members=member
            )
            first = rows.iloc[[0]].assign(
                horizon=wanted[-1],
                estimate=rows["estimate"].sum(),
                sigma=np.sqrt(part.sigma2).sum(),
                nu=np.sqrt(part.nu2).mean(),
                scale=part.scale.sum(),
                plugged=part.plugged.any(),
                joint=joint,
            )
            tables.append(first)
            z_scale.append(part.z_scale.sum(axis=(1, 2)))
            z_own.append(part.z_theta.sum(axis=(1, 2)))
            at = effects.index.get_indexer(rows.index)
            z_theta.append(None if z_rows is None else z_rows[:, at].sum(axis=1))
            degrees.append(df[at].min())
    if not tables:
        raise InputError("no effect has an estimate in every month to add up", where="months")
    z = np.stack([own if z is None else z for own, z in zip(z_own, z_theta)], axis=1)
    table = pd.concat(tables, ignore_index=True)
    table["std_error"] = standard_errors(z, nuisance.groups.form)
    return Bounded(
        table=shown(table),
        z_theta=z,
        z_scale=np.stack(z_scale, axis=1),
        df=np.array(degrees),
        form=nuisance.groups.form,
    )
