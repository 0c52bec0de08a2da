"""Prepared files with declared columns, straight to a design: as a Stata user works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import (
    as_text,
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
from tiltakeval.design.durations import Durations
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


def durations_from_frame(
    df: pd.DataFrame,
    *,
    duration: str,
    event: str | Sequence[str],
    treatment: str | None = None,
    weight: str | None = None,
    cluster: str | None = None,
    entry: str | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    comparison: str | float | int | bool | None = None,
    censored: str | float | int | None = 0,
    population: str = "file",
    where: str = "prepared file",
) -> Durations:
    """Spells from a prepared file: a row a spell.

    ``event`` is one column whose values name the exit, ``censored`` the value for none (a 0/1 column
    is an exit called after the column), or several 0/1 columns, at most one of them 1 in a row.
    Without ``treatment`` all rows are one arm. Raises InputError.
    """
    columns = listed(event)
    groups = (
        dict(subgroups) if isinstance(subgroups, Mapping) else {k: k for k in listed(subgroups)}
    )
    require_columns(
        df, [duration, *columns, treatment, weight, cluster, entry, *groups.values()], where=where
    )
    if df.empty:
        raise InputError("the file has no rows", where=where)
    for name in (duration, *columns, weight, cluster, entry):
        if name:
            refuse_missing(df[name], column=name, what="value", where=where)
    length = df[duration].to_numpy(dtype=np.float64)
    start = np.zeros(len(df)) if entry is None else df[entry].to_numpy(dtype=np.float64)
    if (length <= start).any():
        raise InputError(
            f"{int((length <= start).sum())} spells don't last beyond their entry",
            where=f"{where}, column '{duration}'",
            remedy="Durations must be above 0 (and entry).",
        )
    names, code = _events(df, columns, censored=censored, where=where)
    arms: tuple[str, ...] = ("all",)
    arm = np.zeros(len(df), dtype=np.int16)
    if treatment is not None:
        arms, arm = code_arms(df[treatment], comparison=comparison, where=where)
    person = np.arange(len(df), dtype=np.int64)
    if cluster is not None:
        person = pd.factorize(df[cluster], sort=True)[0].astype(np.int64)
    w = np.ones(len(df)) if weight is None else df[weight].to_numpy(dtype=np.float64)
    attrition = Attrition.of(population, [("rows_of_file", int(np.unique(person).size), len(df))])
    return Durations(
        duration=length,
        event=code,
        event_names=names,
        arm=arm,
        arms=arms,
        weight=w,
        person=person,
        entry=start,
        population=population,
        attrition=attrition,
        subgroups={name: subgroup_of(df[column]) for name, column in groups.items()},
        fingerprint=frame_fingerprint(df[[duration, *columns]]),
    )


def _events(
    df: pd.DataFrame, columns: Sequence[str], *, censored: str | float | int | None, where: str
) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """Names of the exits and a code per row, 0 where censored."""
    if len(columns) > 1:
        flags = df[list(columns)].to_numpy(dtype=np.float64)
        if not np.isin(flags, (0, 1)).all() or (flags.sum(axis=1) > 1).any():
            raise InputError(
                "several exit columns must be 0/1 with at most one 1 in a row",
                where=f"{where}, columns {', '.join(columns)}",
            )
        found = np.where(flags.any(axis=1), flags.argmax(axis=1) + 1, 0)
        return tuple(columns), found.astype(np.int16)
    if not columns:
        raise InputError("no exit is declared", where=where, remedy="Say event = a column.")
    values = df[columns[0]].map(as_text)
    none = as_text(censored)
    levels = sorted(level for level in values.unique() if level != none)
    if not levels:
        raise InputError("every spell is censored", where=f"{where}, column '{columns[0]}'")
    names = (columns[0],) if levels == ["1"] else tuple(levels)
    code = values.map({none: 0, **{level: i + 1 for i, level in enumerate(levels)}})
    return names, code.to_numpy(dtype=np.int16)
