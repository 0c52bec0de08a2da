"""Linear combinations of estimates, with valid errors whatever estimator made them.

Everything here is a matrix applied to point estimates and, alike, to their influence (or their
covariance): cumulated paths, averages over months, contrasts between programmes or subgroups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.errors import InputError
from tiltakeval.estimates.bands import balanced_critical_values
from tiltakeval.estimates.inference import (
    Influence,
    band_critical_value,
    degrees_of_freedom,
    intervals,
    satterthwaite,
    standard_errors,
)
from tiltakeval.estimates.table import Estimates, key_columns, tidy

Floats = NDArray[np.floating]
BLOCK = "rows"


def with_inference(
    table: pd.DataFrame, influence: Influence, *, level: float = 0.95, **fields: Any
) -> Estimates:
    """Estimates whose errors, intervals and p values follow from ``influence``, for every row in it."""
    out = tidy(table)
    df = row_degrees(out, influence.groups)
    for block, rows in influence.rows.items():
        se = standard_errors(influence.values[block], influence.form)
        if influence.strata is not None:
            df[rows] = np.minimum(
                df[rows], satterthwaite(influence.values[block], influence.strata)
            )
        low, high, p = intervals(out["estimate"].to_numpy()[rows], se, level=level, df=df[rows])
        for name, values in (("std_error", se), ("conf_low", low), ("conf_high", high)):
            out.loc[rows, name] = values
        out.loc[rows, "p_value"] = p
    out["conf_level"] = level
    if (out["n_clusters"].isna()).all():
        out["n_clusters"] = pd.array([influence.n_clusters] * len(out), dtype="Int64")
    return Estimates(out, influence=influence, **fields)


def row_degrees(table: pd.DataFrame, groups: int) -> Floats:
    """Degrees of freedom of every row of a result table, from its groups and its units per arm."""
    units = [
        table[name].to_numpy(dtype="float64", na_value=np.nan)
        for name in ("n_treated", "n_comparison")
    ]
    return degrees_of_freedom(groups, *units)


def linear(
    estimates: Estimates, matrix: Floats, rows: pd.DataFrame, *, level: float = 0.95
) -> Estimates:
    """``matrix`` [m, len(estimates)] applied to the estimates; ``rows`` (m rows) label the results.

    Raises InputError when the estimates carry neither influence nor covariance.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    point = estimates.table["estimate"].to_numpy()
    used = np.abs(matrix).sum(axis=0) > 0
    table = tidy(rows.assign(estimate=matrix[:, used] @ point[used]))
    fields: dict[str, Any] = {"attrition": estimates.attrition, "run": estimates.run}
    if estimates.influence is not None:
        # a reference is zero whatever the sample: it has no influence
        used &= (estimates.table["status"] != "reference").to_numpy()
        z = estimates.influence.columns(np.flatnonzero(used)) @ matrix[:, used].T
        influence = replace(
            estimates.influence, values={BLOCK: z}, rows={BLOCK: np.arange(len(table))}
        )
        return with_inference(table, influence, level=level, **fields)
    if estimates.covariance is not None:
        covariance = matrix @ estimates.covariance @ matrix.T
        se = np.sqrt(np.diag(covariance))
        half = stats.norm.ppf(0.5 + level / 2) * se
        table = table.assign(
            std_error=se,
            conf_low=table["estimate"] - half,
            conf_high=table["estimate"] + half,
            p_value=2 * stats.norm.sf(np.abs(table["estimate"]) / se),
            conf_level=level,
        )
        return Estimates(table, covariance=covariance, **fields)
    raise InputError(
        "these estimates carry neither influence nor covariance, so they can't be combined",
        where=str(estimates.table["analysis"].iloc[0]) if len(estimates) else None,
        remedy="Combine the result of the estimator itself, not one read back from a file.",
    )


def families(
    estimates: Estimates, *, within: Sequence[str] = ("horizon",)
) -> Iterator[NDArray[np.int64]]:
    """Row positions of each family: rows equal in every key but those in ``within``, sorted by them."""
    keys = [name for name in key_columns() if name not in within]
    ordered = estimates.table.sort_values(list(within), kind="stable")
    for _, group in ordered.groupby(keys, sort=False, dropna=False):
        yield group.index.to_numpy(dtype=np.int64)


def with_bands(
    estimates: Estimates,
    *,
    within: Sequence[str] = ("horizon",),
    level: float = 0.95,
    draws: int = 999,
    seed: int = 0,
    terms: Sequence[str] | None = None,
) -> Estimates:
    """Add simultaneous bands over each family (rows that differ only in ``within``).

    ``terms`` limits them to rows of those terms. Needs influence; rows with no influence or no
    estimate keep a missing band.
    """
    influence = estimates.influence
    if influence is None:
        raise InputError("bands need estimates with influence")
    table = estimates.table.copy()
    covered = influence.covered(len(table)) & table["estimate"].notna().to_numpy()
    if terms is not None:
        covered &= table["term"].isin(list(terms)).to_numpy()
    low = table["band_low"].to_numpy(copy=True)
    high = table["band_high"].to_numpy(copy=True)
    named = table["band_family"].to_numpy(copy=True)
    point, se = table["estimate"].to_numpy(), table["std_error"].to_numpy()
    label = "over " + ", ".join(within)
    df = row_degrees(table, influence.groups)
    for positions in families(estimates, within=within):
        rows = positions[covered[positions]]
        if rows.size:
            z = influence.columns(rows)
            critical: float | Floats
            if influence.strata is not None:
                own = np.minimum(df[rows], satterthwaite(z, influence.strata))
                critical = balanced_critical_values(
                    z, influence.strata, df=own, level=level, draws=draws, seed=seed
                )
            else:
                critical = band_critical_value(
                    z, level=level, draws=draws, seed=seed, df=df[rows].min(), form=influence.form
                )
            low[rows] = point[rows] - critical * se[rows]
            high[rows] = point[rows] + critical * se[rows]
            named[rows] = label
    return replace(estimates, table=table.assign(band_low=low, band_high=high, band_family=named))


def contrast(left: Estimates, right: Estimates, *, level: float = 0.95, **labels: Any) -> Estimates:
    """left - right, row by row (same length, same order), labelled as ``left`` with ``labels`` set.

    Both must come from one analysis (equal influence frames); raises InputError otherwise.
    """
    if len(left) != len(right):
        raise InputError(f"can't contrast {len(left)} estimates with {len(right)}")
    both = Estimates.concat([left, right])
    if both.influence is None:
        raise InputError(
            "the two sides don't share one set of clusters, so the error of their difference "
            "isn't known",
            remedy="Estimate both in one analysis, on one design.",
        )
    identity = np.eye(len(left))
    keys = [name for name in key_columns() if name != "estimate"]
    rows = left.table[[*keys, "n_treated", "n_comparison", "n_clusters", "source"]]
    return linear(both, np.hstack([identity, -identity]), rows.assign(**labels), level=level)
