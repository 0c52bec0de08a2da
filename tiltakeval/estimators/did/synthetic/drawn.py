"""Results whose errors come from draws of the effects: a covariance in place of influence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimates.combine import families, row_degrees
from tiltakeval.estimates.inference import band_critical_value, covariance, intervals
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.rows import BANDS

Floats = NDArray[np.float64]


def with_drawn_errors(
    estimates: Estimates,
    df: Mapping[tuple[str, str], float],
    *,
    level: float,
    bands: bool,
    draws: int,
    seed: int,
) -> Estimates:
    """The estimates, whose influence holds draws in its rows, with the draws' covariance instead, and
    intervals and bands by t with ``df`` (by subgroup and outcome) degrees of freedom; NaN: as many as
    units and clusters on the smaller side allow."""
    influence = estimates.influence
    if influence is None:
        return estimates
    table = estimates.table.copy()
    rows = np.flatnonzero(influence.covered(len(table)))
    z = influence.columns(rows)
    full = np.zeros((len(table), len(table)))
    full[np.ix_(rows, rows)] = covariance(z)
    given = np.array([df[key] for key in zip(table["subgroup"], table["outcome"])])
    degrees = np.where(np.isfinite(given), given, row_degrees(table, influence.groups))
    point, se = table["estimate"].to_numpy(), np.sqrt(np.diag(full))
    low, high, p = intervals(point[rows], se[rows], level=level, df=degrees[rows])
    for name, values in (("std_error", se[rows]), ("conf_low", low), ("conf_high", high),
                         ("p_value", p)):  # fmt: skip
        table.loc[rows, name] = values
    if bands:
        covered = np.zeros(len(table), dtype=bool)
        covered[rows] = True
        for within, terms in BANDS:
            wanted = covered & table["term"].isin(terms).to_numpy()
            for positions in families(estimates, within=within):
                mine = positions[wanted[positions]]
                if not mine.size:
                    continue
                critical = band_critical_value(
                    influence.columns(mine), level=level, draws=draws, seed=seed,
                    df=float(degrees[mine].min()),
                )  # fmt: skip
                table.loc[mine, "band_low"] = point[mine] - critical * se[mine]
                table.loc[mine, "band_high"] = point[mine] + critical * se[mine]
                table.loc[mine, "band_family"] = "over " + ", ".join(within)
    return replace(estimates, table=table, influence=None, covariance=full)
