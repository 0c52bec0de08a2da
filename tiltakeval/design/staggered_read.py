"""A roll-out panel from a long file: a row a unit and period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import numeric_covariates, subgroup_of, unit_of
from tiltakeval.design.panel_rows import Errors, refuse_changing
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_declared import declared
from tiltakeval.design.staggered_rows import (
    constant_or_read,
    fingerprint_of,
    first_rows,
    laid_out,
    rows_of,
    weights_of,
)
from tiltakeval.design.staggered_starts import (
    first_by_group,
    first_treated,
    group_declared,
)
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.attrition import Attrition

Floats = NDArray[np.float64]


def staggered_from_frame(
    df: pd.DataFrame,
    *,
    outcome: str | Sequence[str],
    unit: str | None = None,
    panel: bool | str = True,
    period: str | None = None,
    first: str | None = None,
    treated: str | None = None,
    group: str | None = None,
    date: int | str | None = None,
    time: str | None = None,
    cohort: str | None = None,
    covariates: str | Sequence[str] = (),
    covariate_period: int | str | None = None,
    varying: str | Sequence[str] = (),
    weight: str | None = None,
    cluster: str | Sequence[str] | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    never: int | str | None = None,
    programme: str = "treated",
    population: str = "file",
    estimand: str = "vs_comparison",
    units: Mapping[str, str] | None = None,
    unit_names: str | None = None,
    entry: str | None = None,
    override: str | None = None,
    where: str = "panel file",
) -> StaggeredPanel:
    """A roll-out from a long file: a row a ``unit`` and ``period`` (also called ``time``).

    With ``panel`` false rows are persons who aren't followed, without a unit (`sections`).
    When a unit is first treated is in the column ``first`` (also called ``cohort``), constant in the
    unit; missing, infinite, ``never`` and, where all periods are above 0, 0 mean never. Or ``treated``
    is a 0/1 column of the status in the row's period, which may not go back to 0. Or a rule holds from
    the period ``date`` for units of the ``group``, a 0/1 column constant in a unit. Periods are whole
    numbers (years), months YYYY-MM, quarters YYYYQ1 or half-years YYYYH1. ``covariates``, ``weight`` and
    ``subgroups`` are constant in a unit, or those of ``covariate_period``: units without a row there are
    left out. Units treated in the first period (no before) and those of weight 0 are left out too;
    attrition counts all of them.
    ``varying`` are numeric covariates with a value in every row. ``cluster``, constant in a unit, is
    what errors are clustered by (default the unit), both ways where two are given
    (``office,employer``). Rows may be absent: nothing is filled. ``unit_names`` is a column of names
    that may be shown: of offices, never of persons. ``entry`` (see `entry.ENTRIES`) says
    who decides when units start; one that hangs on the outcome is refused without an ``override``, a
    reason in words. Raises InputErrors naming everything wrong, with counts only.
    """
    errors = Errors()
    if str(panel).lower() not in ("true", "false"):
        errors.found.append(
            unknown("choice", str(panel), ("true", "false"), where=f"{where}, panel")
        )
    followed = str(panel).lower() != "false"
    when_column = _either(errors, "period", period, "time", time, where=where)
    first_column = _either(
        errors, "first", first, "cohort", cohort, where=where, needed=not followed and group is None
    )
    if not followed:
        from tiltakeval.design.sections import sections_from_frame  # a panel with one row a unit

        idle = {"unit": unit, "unit_names": unit_names, "treated": treated,
                "covariate_period": covariate_period, "varying": varying or None}  # fmt: skip
        for name in (name for name, value in idle.items() if value is not None):
            errors.add(
                f"{name} says nothing where nobody is followed",
                where=where,
                remedy=f"Leave {name} out, or panel.",
            )
        errors.stop(where)
        assert when_column is not None
        return sections_from_frame(
            df, outcome=outcome, period=when_column, first=first_column, group=group, date=date,
            covariates=covariates,
            weight=weight, cluster=cluster, subgroups=subgroups, never=never, programme=programme,
            population=population, estimand=estimand, units=units, entry=entry, override=override,
            where=where,
        )  # fmt: skip
    if unit is None:
        errors.add(
            "unit must be given", where=where, remedy="Say unit = a column; or panel = false."
        )
    errors.attempt(lambda: group_declared(first_column, treated, group, date, where=where))
    said = declared(
        errors, df, design=(unit, when_column, first_column, treated, group), outcome=outcome,
        covariates=covariates, varying=varying, weight=weight, cluster=cluster, most_clusters=2,
        subgroups=subgroups, estimand=estimand, entry=entry, override=override,
        unit_names=unit_names, where=where,
    )  # fmt: skip
    assert when_column is not None and unit is not None
    rows = rows_of(errors, df, said, unit, when_column, where=where)
    start = errors.attempt(
        lambda: (
            first_by_group(df, rows.unit, group, date, parts=rows.parts, where=where)
            if group is not None and date is not None
            else first_treated(
                df, rows.unit, rows.when, first=first_column, treated=treated, never=never,
                parts=rows.parts, where=where,
            )
        )
    )  # fmt: skip
    read = errors.attempt(
        lambda: constant_or_read(
            df, rows.unit, rows.when, said.constant, covariate_period, parts=rows.parts, where=where
        )
    )
    if unit_names is not None:
        errors.attempt(lambda: refuse_changing(df, rows.unit, unit_names, "name", where))
    errors.stop(where)
    assert start is not None and read is not None
    grid, placed, late = rows.grid, read >= 0, start > rows.grid[0]
    if said.covariates and covariate_period is not None:
        _refuse_after_start(start[late], int(rows.when[read[placed][0]]), where=where)
    own = df.iloc[np.maximum(read, 0)].reset_index(drop=True)
    w = np.ones(start.size)
    if weight is not None:
        given = errors.attempt(lambda: weights_of(own, weight, placed, where=where))
        w = w if given is None else given
    weighted = w > 0
    keep = late & weighted & placed
    steps = [
        ("units_in_file", np.ones(start.size, dtype=bool)),
        ("positive_weight", weighted),
        ("row_in_covariate_period", weighted & placed),
        ("not_treated_in_first_period", keep),
    ]
    _refuse_no_comparison(start[keep], grid, errors, where=where, left=int((~late).sum()))
    errors.stop(where)
    at = np.flatnonzero(keep)
    own = own.iloc[at].reset_index(drop=True)
    numeric = errors.attempt(lambda: numeric_covariates(own, said.covariates, where=where))
    levels = {
        name: errors.attempt(lambda c=column: subgroup_of(own[c]))  # type: ignore[misc]
        for name, column in said.groups.items()
    }
    errors.stop(where)
    assert numeric is not None
    row_of = np.full(start.size, -1, dtype=np.int64)
    row_of[at] = np.arange(at.size)
    y = laid_out(list(rows.outcomes.values()), rows.unit, rows.when, grid, row_of)
    v = None
    if said.varying:
        v = laid_out(list(rows.varying.values()), rows.unit, rows.when, grid, row_of)
    dealt = [pd.factorize(own[c], sort=True)[0].astype(np.int64) for c in said.clusters]
    dealt.sort(key=lambda of_unit: int(of_unit.max()))  # the fewer clusters first
    dealt = dealt or [np.arange(at.size)]
    shown = () if unit_names is None else df[unit_names].iloc[first_rows(rows.unit)].iloc[at]
    of_outcomes = units or {}
    return StaggeredPanel(
        outcomes=y,
        outcome_names=said.outcomes,
        units=tuple(of_outcomes.get(k, unit_of(of_rows)) for k, of_rows in rows.outcomes.items()),
        periods=grid,
        first=start[at],
        covariates=numeric[0],
        covariate_names=numeric[1],
        weight=w[at],
        cluster=dealt[0],
        other_cluster=dealt[1] if len(dealt) > 1 else None,
        subgroups={name: one for name, one in levels.items() if one is not None},
        population=population,
        estimand=estimand,
        programme=programme,
        cluster_kind="_".join(said.clusters) or "unit",
        monthly=rows.parts == 12,
        parts_of_year=rows.parts if rows.parts in (2, 4) else 1,
        unit_names=tuple(map(str, shown)),
        attrition=Attrition.of(population, [(step, None, int(mask.sum())) for step, mask in steps]),
        fingerprint=fingerprint_of(
            said.read, y, grid, start[at], numeric[0], w[at], *dealt, *([] if v is None else [v])
        ),
        entry=entry,
        override=override,
        varying=v,
        varying_names=said.varying,
    )


def _either(
    errors: Errors,
    name: str,
    value: str | None,
    other: str,
    second: str | None,
    *,
    where: str,
    needed: bool = True,
) -> str | None:
    """The column given under one of two names; an error when under both, or (``needed``) neither."""
    if value is not None and second is not None:
        errors.add(f"'{name}' and '{other}' mean the same: give one", where=where)
    if value is None and second is None and needed:
        errors.add(f"{name} must be given", where=where, remedy=f"Say {name} = a column.")
    return value if value is not None else second


def _refuse_after_start(start: Floats, period: int, *, where: str) -> None:
    """An error where units that count are treated by the period their covariates are read in."""
    late = int((start <= period).sum())
    if late:
        raise InputError(
            f"covariates are read when {late} of {start.size} units are treated already, and may be "
            "what treatment made of them",
            where=f"{where}, covariate_period",
            remedy="Give a period before the first start; or say varying = the columns, whose values "
            "before each cohort's start are then used.",
        )


def _refuse_no_comparison(
    start: Floats, grid: NDArray[np.int64], errors: Errors, *, where: str, left: int
) -> None:
    """An error unless some unit is treated inside the panel and some other is untreated meanwhile."""
    inside = np.unique(start[start <= grid[-1]])
    beside = f" ({left} units treated in the first period are left out)" if left else ""
    if not inside.size:
        errors.add(
            f"no unit is first treated after the first period and by the last{beside}",
            where=where,
            remedy="Check the column of first treated periods against the periods of the file.",
        )
    elif inside.size == 1 and not (start > grid[-1]).any():
        errors.found.append(
            InputError(
                f"all {start.size} units are first treated in the same period{beside}: "
                "none is left to compare with",
                where=where,
                remedy="Add units that are never treated, or treated later.",
            )
        )
