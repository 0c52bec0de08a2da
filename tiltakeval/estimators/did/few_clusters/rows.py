"""Rows of results matched between samples, and designs with some units or other start dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.treatment_paths import TreatmentPaths
from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: What says which row of a table is which, in one design.
ROW = ("subgroup", "outcome", "term", "cohort", "period", "horizon")


def without_bands(estimator: Any) -> Any:
    """The estimator without simultaneous bands, where it has them: they cost more than the rest."""
    return (
        replace(estimator, bands=False)
        if "bands" in {f.name for f in fields(estimator)}
        else estimator
    )


def some_units(design: StaggeredPanel, keep: Bools) -> StaggeredPanel:
    """The units where ``keep`` [n] is true, clusters numbered anew."""
    own: dict[str, Any] = {}
    for one in fields(design):
        value = getattr(design, one.name)
        if isinstance(value, np.ndarray) and one.name != "periods":
            own[one.name] = value[keep]
    return replace(
        design,
        **{**own, "cluster": np.unique(own["cluster"], return_inverse=True)[1].astype(np.int64)},
        unit_names=tuple(np.array(design.unit_names)[keep]) if design.unit_names else (),
        subgroups={k: replace(g, codes=g.codes[keep]) for k, g in design.subgroups.items()},
    )


def matched(table: pd.DataFrame, other: pd.DataFrame) -> Ints:
    """[len(table)] position in ``other`` of the row of the same name, -1 where there is none."""
    index = {key: i for i, key in enumerate(_keys(other))}
    return np.array([index.get(key, -1) for key in _keys(table)], dtype=np.int64)


def _keys(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    columns = [table[name].astype(object).where(table[name].notna(), None) for name in ROW]
    return list(zip(*columns))


def start_of_cluster(design: StaggeredPanel) -> Floats:
    """[G] when the clusters start. Raises InputError where units of one start at different times."""
    clusters = int(design.cluster.max()) + 1
    start = np.full(clusters, np.nan)
    start[design.cluster] = design.first
    mixed = np.unique(design.cluster[start[design.cluster] != design.first]).size
    if mixed:
        raise InputError(
            f"units of {mixed} clusters start at different times",
            where=f"cluster ({design.cluster_kind})",
            remedy="Cluster by what starts together.",
        )
    return start


def set_columns(
    estimates: Estimates, rows: Sequence[int] | Ints, **columns: NDArray[np.floating]
) -> Estimates:
    """The estimates with numbers of ``rows`` replaced, one array a column."""
    table = estimates.table.copy()
    for name, values in columns.items():
        held = table[name].to_numpy(dtype=np.float64, copy=True)
        held[np.asarray(rows, dtype=np.int64)] = values
        table[name] = held
    return replace(estimates, table=table)


def without_intervals(estimates: Estimates) -> Estimates:
    """The estimates with standard errors only: what another method gives isn't mixed with theirs."""
    columns = ("conf_low", "conf_high", "p_value", "band_low", "band_high")
    table = estimates.table.assign(**dict.fromkeys(columns, np.nan), band_family="")
    return replace(estimates, table=table)


def cohort_of_cluster(design: StaggeredPanel) -> NDArray[np.int64]:
    """[G] number of the cohort all units of a cluster are in (with treatment paths: that start alike,
    and first change at one time in one direction); clusters with several are one more.

    Cohorts of fewer than two clusters are put with those (a mean of one leaves nothing over).
    """
    first = np.where(design.first > design.periods[-1], np.inf, design.first)
    keys = first[:, None]
    if isinstance(design, TreatmentPaths):
        at = np.minimum(np.searchsorted(design.periods, design.first), design.periods.size - 1)
        step = np.sign(design.status[np.arange(design.n), at] - design.baseline)
        keys = np.stack([first, design.baseline, np.where(np.isinf(first), 0.0, step)], axis=1)
    cohort = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    clusters = int(design.cluster.max()) + 1
    low = np.full(clusters, cohort.max() + 1)
    high = np.full(clusters, -1)
    np.minimum.at(low, design.cluster, cohort)
    np.maximum.at(high, design.cluster, cohort)
    out = np.where(low == high, low, -1)
    names, times = np.unique(out, return_counts=True)
    out[np.isin(out, names[times < 2])] = -1
    return np.asarray(out, dtype=np.int64)
