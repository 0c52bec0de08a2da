"""Errors by leaving out one cluster after another and estimating anew."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import row_degrees
from tiltakeval.estimates.inference import intervals
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.few_clusters.rows import (
    matched,
    set_columns,
    some_units,
    without_bands,
)

Floats = NDArray[np.float64]

#: More clusters than this don't need it, and would take long.
MOST = 500


def left_out(estimator: Any, design: StaggeredPanel, estimates: Estimates) -> Floats:
    """[G, rows] the estimates without each cluster; NaN where there is none. Raises InputError."""
    clusters = int(design.cluster.max()) + 1
    if clusters > MOST:
        raise InputError(
            f"{clusters} clusters can't each be left out",
            where="inference = jackknife",
            remedy=f"Up to {MOST}; with so many, errors by cluster need no correction.",
        )
    quick = without_bands(estimator)
    out = np.full((clusters, len(estimates)), np.nan)
    for g in range(clusters):
        part = some_units(design, design.cluster != g)
        try:
            held = quick.held(design, part) if hasattr(quick, "held") else quick
            found = held.estimate(part).table
        except InputError:  # nothing can be estimated without it: NaN, and said by the caller
            continue
        place = matched(estimates.table, found)
        values = found["estimate"].to_numpy(dtype=np.float64)
        out[g] = np.where(place >= 0, values[place], np.nan)
    return out


def jackknife_errors(
    estimator: Any, design: StaggeredPanel, estimates: Estimates, *, level: float
) -> tuple[Estimates, list[str]]:
    """Errors (G - 1) / G sum of (estimate without g - estimate)^2, as CR3 of a regression; intervals by
    t with the degrees of freedom errors by cluster have; bands as many errors wide as they were.

    A row that can't be had without some cluster has no error: the second value says how many there are.
    MacKinnon, Nielsen & Webb (2023).
    """
    left = left_out(estimator, design, estimates)
    table = estimates.table
    point = table["estimate"].to_numpy(dtype=np.float64)
    there = np.isfinite(point)
    if estimates.influence is not None:  # a reference has a value and no error
        there &= estimates.influence.covered(len(table))
    lost = there & ~np.isfinite(left).all(axis=0)
    clusters = left.shape[0]
    se = np.sqrt((clusters - 1) / clusters * ((left - point) ** 2).sum(axis=0))
    rows = np.flatnonzero(there)
    df = row_degrees(table, clusters)
    low, high, p = intervals(point, se, level=level, df=df)
    old = table["std_error"].to_numpy(dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        wide = (table["band_high"].to_numpy(dtype=np.float64) - point) / old
    out = set_columns(
        estimates,
        rows,
        std_error=se[rows],
        conf_low=low[rows],
        conf_high=high[rows],
        p_value=p[rows],
        band_low=(point - wide * se)[rows],
        band_high=(point + wide * se)[rows],
    )
    said = []
    if lost.any():
        said.append(
            f"{int(lost.sum())} of {rows.size} rows have no estimate once a cluster is left out, "
            "so no error"
        )
    return out, said
