"""Prepared files with declared columns, straight to a design: as a Stata user works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tiltakeval.design.columns import (
    code_arms,
    frame_fingerprint,
    listed,
    numeric_covariates,
    outcome_column,
    refuse_missing,
    require_columns,
    subgroup_of,
    unit_of,
)
from tiltakeval.design.cross_section import CrossSection
from tiltakeval.design.durations import Durations, durations_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition

__all__ = ["Durations", "cross_section_from_frame", "durations_from_frame"]


def cross_section_from_frame(
    df: pd.DataFrame,
    *,
    treatment: str,
    outcome: str | Sequence[str],
    covariates: str | Sequence[str] = (),
    weight: str | None = None,
    cluster: str | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    comparison: str | float | int | bool | None = None,
    placebo: str | Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    arms: Mapping[str, str] | None = None,
    population: str = "file",
    estimand: str = "vs_comparison",
    where: str = "prepared file",
) -> CrossSection:
    """A cross-section from a prepared file: one row a unit (or several, sharing ``cluster``).

    ``treatment`` is 0/1, or names the arms with ``comparison`` the value that is none of them;
    ``arms`` renames values. ``outcome`` are columns (missing values: not observed). ``covariates``
    must be complete; text becomes indicators. ``subgroups`` are columns (or name: column) whose
    values are the levels; ``placebo`` outcomes from before the treatment. Raises InputError with the
    column, the count of missing values or the nearest valid name.
    """
    outcomes, names = listed(outcome), listed(covariates)
    before = listed(placebo)
    groups = (
        dict(subgroups) if isinstance(subgroups, Mapping) else {k: k for k in listed(subgroups)}
    )
    if not outcomes:
        raise InputError("no outcome is declared", where=where, remedy="Say outcome = a column.")
    require_columns(
        df,
        [treatment, *outcomes, *names, weight, cluster, *groups.values(), *before],
        where=where,
    )
    used = [name for name in names if name in (treatment, *outcomes)]
    if used:
        raise InputError(
            f"'{used[0]}' is both a covariate and the treatment or an outcome", where=where
        )
    if df.empty:
        raise InputError("the file has no rows", where=where)
    labels, arm = code_arms(df[treatment], comparison=comparison, where=where, names=arms)
    x, x_names = numeric_covariates(df, names, where=where)
    w = np.ones(len(df))
    if weight is not None:
        refuse_missing(df[weight], column=weight, what="weight", where=where)
        w = df[weight].to_numpy(dtype=np.float64)
    person = np.arange(len(df), dtype=np.int64)
    if cluster is not None:
        refuse_missing(df[cluster], column=cluster, what="cluster", where=where)
        person = pd.factorize(df[cluster], sort=True)[0].astype(np.int64)
    y = np.stack([outcome_column(df, name, where=where) for name in outcomes], axis=1)[:, None, :]
    y0 = None
    if before:
        y0 = np.stack([outcome_column(df, name, where=where) for name in before], axis=1)[
            :, None, :
        ]
    declared = units or {}
    attrition = Attrition.of(population, [("rows_of_file", int(np.unique(person).size), len(df))])
    return CrossSection(
        arms=labels,
        arm=arm,
        eligible=np.ones((len(df), len(labels)), dtype=bool),
        weight=w,
        person=person,
        covariates=x,
        covariate_names=x_names,
        outcomes=y,
        outcome_names=outcomes,
        units=tuple(declared.get(k, unit_of(y[:, 0, i])) for i, k in enumerate(outcomes)),
        horizons=(None,),
        placebo=y0,
        placebo_names=before,
        placebo_horizons=(-1,) if before else (),
        subgroups={name: subgroup_of(df[column]) for name, column in groups.items()},
        population=population,
        estimand=estimand,
        time_origin="none",
        attrition=attrition,
        fingerprint=frame_fingerprint(
            df[list(dict.fromkeys([treatment, *outcomes, *names, *groups.values(), *before]))]
        ),
    )
