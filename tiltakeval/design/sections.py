"""Repeated cross-sections of a roll-out: a row a person and period, nobody followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import numeric_covariates, refuse_missing, subgroup_of, unit_of
from tiltakeval.design.panel_rows import Errors
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_declared import declared
from tiltakeval.design.staggered_rows import (
    fingerprint_of,
    number_column,
    periods_of,
    places,
    weights_of,
)
from tiltakeval.design.staggered_starts import (
    first_by_group,
    first_treated,
    group_declared,
)
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition


@dataclass(frozen=True, kw_only=True)
class StaggeredSections(StaggeredPanel):
    """n rows, each a person in the period ``when`` [n] (a place in ``periods``); ``outcomes`` [n, 1, K].
    ``first`` is the row's: that of the office, or whatever starts, it belongs to."""

    when: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Raise InputError where the periods are those of other rows."""
        if self.when.size != self.n:
            raise InputError(
                f"{self.when.size} periods were given for {self.n} rows of cross-sections",
                where="panel",
                remedy="Leaving out rows or clusters anew is for panels.",
            )


def sections_from_frame(
    df: pd.DataFrame,
    *,
    outcome: str | Sequence[str],
    period: str,
    first: str | None = None,
    group: str | None = None,
    date: int | str | None = None,
    covariates: str | Sequence[str] = (),
    weight: str | None = None,
    cluster: str | Sequence[str] | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    never: int | str | None = None,
    programme: str = "treated",
    population: str = "file",
    estimand: str = "vs_comparison",
    units: Mapping[str, str] | None = None,
    entry: str | None = None,
    override: str | None = None,
    where: str = "file of cross-sections",
) -> StaggeredSections:
    """A roll-out seen in samples of persons: each row has its ``period``, the period its office is
    ``first`` treated (missing, infinite, ``never``, or 0 where periods are above 0: never), or a 0/1
    ``group`` for which a rule holds from ``date`` on, and what was measured then. ``cluster`` is what
    starts together, as a rule the office; left out, rows are independent. Rows first treated in the
    first period, and of weight 0, are left out and counted.

    Raises InputErrors naming everything that is wrong, with counts.
    """
    errors = Errors()
    errors.attempt(lambda: group_declared(first, None, group, date, where=where))
    said = declared(
        errors, df, design=(period, first, group), outcome=outcome, covariates=covariates,
        weight=weight, cluster=cluster, most_clusters=1, subgroups=subgroups, estimand=estimand,
        entry=entry, override=override, where=where,
    )  # fmt: skip
    outcomes, clusters = said.outcomes, said.clusters
    row = np.arange(len(df), dtype=np.int64)
    found = errors.attempt(lambda: periods_of(df, period, where=where))
    values = {
        name: errors.attempt(lambda n=name: number_column(df, n, where=where))  # type: ignore[misc]
        for name in outcomes
    }
    numeric = errors.attempt(lambda: numeric_covariates(df, said.covariates, where=where))
    levels = {
        name: errors.attempt(lambda c=column: subgroup_of(df[c]))  # type: ignore[misc]
        for name, column in said.groups.items()
    }
    w = np.ones(len(df))
    if weight is not None:
        every = np.ones(len(df), dtype=bool)
        w = errors.attempt(lambda: weights_of(df, weight, every, where=where))  # type: ignore[assignment]
    for column in clusters:
        errors.attempt(
            lambda c=column: refuse_missing(df[c], column=c, what="cluster", where=where)  # type: ignore[misc]
        )
    errors.stop(where)
    assert found is not None and numeric is not None
    when, grid, parts = found
    if group is not None and date is not None:
        start = first_by_group(df, row, group, date, parts=parts, where=where)
    else:
        start = first_treated(
            df, row, when, first=first, treated=None, never=never, parts=parts, where=where
        )
    late, weighted = start > grid[0], w > 0
    keep = np.flatnonzero(late & weighted)
    inside = start[keep][start[keep] <= grid[-1]]
    if grid.size < 2 or not inside.size or np.unique(start[keep]).size < 2:
        raise InputError(
            "there is no cohort first treated after the first period with others to compare with",
            where=f"{where}, columns '{period}' and '{first or group}'",
        )
    steps = [
        ("rows_in_file", np.ones(len(df), dtype=bool)),
        ("positive_weight", weighted),
        ("not_treated_in_first_period", late & weighted),
    ]
    columns = [np.asarray(one, dtype=np.float64)[keep] for one in values.values()]
    y = np.stack(columns, axis=1)[:, None, :]
    own = row[: keep.size]
    if clusters:
        own = pd.factorize(df[clusters[0]].iloc[keep], sort=True)[0].astype(np.int64)
    of_outcomes = units or {}
    return StaggeredSections(
        outcomes=y,
        outcome_names=outcomes,
        units=tuple(of_outcomes.get(k, unit_of(values[k])) for k in outcomes),  # type: ignore[arg-type]
        periods=grid,
        first=start[keep],
        covariates=numeric[0][keep],
        covariate_names=numeric[1],
        weight=w[keep],
        cluster=own,
        cluster_kind="".join(clusters) or "unit",
        subgroups={
            k: replace(one, codes=one.codes[keep]) for k, one in levels.items() if one is not None
        },
        population=population,
        programme=programme,
        estimand=estimand,
        monthly=parts == 12,
        parts_of_year=parts if parts in (2, 4) else 1,
        attrition=Attrition.of(population, [(step, None, int(mask.sum())) for step, mask in steps]),
        fingerprint=fingerprint_of(said.read, y, grid, start, numeric[0], w, own),
        entry=entry,
        override=override,
        when=places(when, grid)[keep],
    )
