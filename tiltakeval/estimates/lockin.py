"""Lock-in (innlåsing) from an effect profile: how much is lost, for how long, when it is earned back.

A profile is a family of monthly effects theta(h), h = 0..H, with joint influence. The headline is
the cumulated effect C(m) = theta(0) + … + theta(m) at declared months: linear, so its error is exact.
Depth is the mean effect over a declared window (linear too; the minimum of an estimated profile is
biased downwards). Length and break-even month are confidence sets, found by inverting the
simultaneous band: month m belongs to the set unless the band excludes that the path was still below
zero at m - 1, or that it has reached zero at m. The band covers all months at once, so the set
holds whatever the number of crossings; it may be open ("not within the follow-up").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import families, row_degrees
from tiltakeval.estimates.inference import (
    Influence,
    band_critical_value,
    intervals,
    standard_errors,
)
from tiltakeval.estimates.table import Estimates, tidy

Floats = NDArray[np.floating]
WINDOWS = (6, 12, 24, 36)
DEPTH_WINDOW = (1, 6)
CUMULATED_UNIT = {"share": "months"}
_LABELS = (
    *("study", "analysis", "population", "estimand", "programme", "comparator", "subgroup"),
    *("outcome", "time_origin", "cohort", "source"),
)
_SUPPORT = ("n_treated", "n_comparison", "n_clusters", "n_effective")


@dataclass(frozen=True)
class Crossing:
    """When a path that has been below zero is at or above it again.

    ``estimate`` is the month of the last upward crossing of the point path (missing if there is
    none); [low, high] the ends of the confidence set, ``high`` missing when "not within follow-up"
    can't be excluded. ``low`` = 0 says that no loss at all can't be excluded. ``status``: ok, open,
    not_reached (even the most favourable path in the band stays below zero) or no_loss (the point
    path never falls below zero).
    """

    estimate: float
    low: float
    high: float
    status: str


def crossing(path: Floats, half_width: Floats, months: Sequence[int]) -> Crossing:
    """Confidence set for the month in which ``path`` [T] crosses zero from below.

    ``half_width`` [T] is the half width of the (simultaneous) band, ``months`` [T] the event times.
    """
    low, high = path - half_width, path + half_width
    below = path < 0
    upward = np.flatnonzero(below[:-1] & ~below[1:]) + 1
    candidates = np.flatnonzero((low[:-1] < 0) & (high[1:] >= 0)) + 1
    loss_sure = bool((high < 0).any())
    if loss_sure:  # a crossing can't lie before the last month the band excludes from zero
        candidates = candidates[candidates > np.flatnonzero(high < 0)[-1]]
    beyond = bool(low[-1] < 0)
    first = 0.0 if not loss_sure else np.nan
    if candidates.size:
        first = first if not loss_sure else float(months[candidates[0]])
        last = float(months[candidates[-1]])
    else:
        last = first
    if not below.any():
        return Crossing(np.nan, first, np.nan if beyond else last, "no_loss")
    reached = upward.size > 0 and not below[-1]
    estimate = float(months[upward[-1]]) if reached else np.nan
    if not candidates.size and loss_sure:
        return Crossing(np.nan, float(months[-1]), np.nan, "not_reached")
    return Crossing(estimate, first, np.nan if beyond else last, "open" if beyond else "ok")


def lock_in(
    estimates: Estimates,
    *,
    windows: Iterable[int] = WINDOWS,
    depth_window: tuple[int, int] = DEPTH_WINDOW,
    outcomes: Iterable[str] | None = None,
    level: float = 0.95,
    draws: int = 999,
    seed: int = 0,
    subgroup_paths: bool = True,
) -> Estimates:
    """Cumulated effects, their path with band, depth, length and break-even month of every profile.

    Takes rows with term ``effect`` and a horizon from 0 on; a window beyond a profile's last month is
    left out. Results have terms cumulated (period 0-m), cumulated_path (by horizon), depth (period
    a-b), length and break_even (months). Without ``subgroup_paths`` a subgroup's path stands only in
    its sums and sets, which keeps a study's tables readable. Raises InputError when nothing can be
    cumulated.
    """
    chosen = estimates.positions(term="effect")
    table = estimates.table.iloc[chosen]
    usable = (table["horizon"].fillna(-1) >= 0) & table["estimate"].notna()
    if outcomes is not None:
        usable &= table["outcome"].isin(list(outcomes))
    chosen = chosen[usable.to_numpy()]
    if not chosen.size:
        raise InputError(
            "no monthly effects to cumulate", remedy="Estimate effects by month first."
        )
    if estimates.influence is None:
        raise InputError("lock-in needs estimates with influence")
    profiles = estimates.take(chosen)
    assert profiles.influence is not None
    parts = [
        _summaries(
            profiles.table.iloc[rows],
            profiles.influence.columns(rows),
            profiles.influence,
            tuple(windows),
            depth_window,
            level,
            draws,
            seed,
            subgroup_paths,
        )
        for rows in families(profiles)
        if len(rows) > 1
    ]
    starts = np.cumsum([0] + [len(part.rows["term"]) for part in parts])
    columns = {
        name: np.concatenate([np.asarray(part.rows[name], dtype=object) for part in parts])
        for name in parts[0].rows
    }
    joined = tidy(pd.DataFrame(columns))
    influence = replace(
        estimates.influence,
        values={f"lock_in/{i}": part.influence for i, part in enumerate(parts)},
        rows={
            f"lock_in/{i}": np.arange(part.influence.shape[1]) + at
            for i, (part, at) in enumerate(zip(parts, starts))
        },
    )
    return Estimates(joined, influence=influence, attrition=estimates.attrition, run=estimates.run)


@dataclass(frozen=True)
class _Summaries:
    """Rows of one profile: those with influence (a column of ``influence`` [G, k] each) first."""

    rows: dict[str, list]
    influence: Floats


def _summaries(
    table: pd.DataFrame,
    z: Floats,
    source: Influence,
    windows: tuple[int, ...],
    depth_window: tuple[int, int],
    level: float,
    draws: int,
    seed: int,
    subgroup_paths: bool,
) -> _Summaries:
    months = table["horizon"].to_numpy(dtype=int)
    if (np.diff(months) != 1).any():
        raise InputError(
            "a profile with missing months can't be cumulated",
            where=f"{table['programme'].iloc[0]}, {table['outcome'].iloc[0]}",
        )
    theta = table["estimate"].to_numpy()
    form = source.form
    df = float(row_degrees(table, source.groups).min())

    path, z_path = np.cumsum(theta), np.cumsum(z, axis=1)
    critical = band_critical_value(z_path, level=level, draws=draws, seed=seed, df=df, form=form)
    half = critical * standard_errors(z_path, form)
    at = [int(m - months[0]) for m in windows if months[0] <= m <= months[-1]]
    start, stop = depth_window
    inside = (months >= start) & (months <= stop)
    with_depth = inside.sum() == stop - start + 1

    unit = str(table["unit"].iloc[0])
    total = CUMULATED_UNIT.get(unit, unit)
    size = len(months)
    linear_rows: dict[str, list] = {
        "term": ["cumulated_path"] * size + ["cumulated"] * len(at),
        "horizon": [*months, *([pd.NA] * len(at))],
        "period": [""] * size + [f"{months[0]}-{months[i]}" for i in at],
        "unit": [total] * (size + len(at)),
        "estimate": [*path, *path[at]],
        "band_low": [*(path - half), *([np.nan] * len(at))],
        "band_high": [*(path + half), *([np.nan] * len(at))],
        "band_family": ["over horizon"] * size + [""] * len(at),
        "status": ["ok"] * (size + len(at)),
    }
    columns = [z_path, z_path[:, at]]
    if with_depth:
        columns.append(z[:, inside].mean(axis=1, keepdims=True))
        extra = ("depth", pd.NA, f"{start}-{stop}", unit, theta[inside].mean(), np.nan, np.nan)
        for name, value in zip(linear_rows, (*extra, "", "ok")):
            linear_rows[name].append(value)
    if not subgroup_paths and table["subgroup"].iloc[0] != "all":
        columns = columns[1:]
        linear_rows = {name: values[size:] for name, values in linear_rows.items()}
    stacked = np.hstack(columns)
    se = standard_errors(stacked, form)
    low, high, p = intervals(np.array(linear_rows["estimate"]), se, level=level, df=df)
    lowest = int(np.argmin(theta))
    critical = band_critical_value(z, level=level, draws=draws, seed=seed, df=df, form=form)
    band = critical * standard_errors(z, form)
    length = crossing(theta[lowest:], band[lowest:], list(months[lowest:]))
    even = crossing(path, half, list(months))
    missing = [np.nan, np.nan]
    rows = {
        "term": [*linear_rows["term"], "length", "break_even"],
        "horizon": [*linear_rows["horizon"], pd.NA, pd.NA],
        "period": [*linear_rows["period"], *([f"{months[0]}-{months[-1]}"] * 2)],
        "unit": [*linear_rows["unit"], "months", "months"],
        "estimate": [*linear_rows["estimate"], length.estimate, even.estimate],
        "std_error": [*se, *missing],
        "conf_low": [*low, length.low, even.low],
        "conf_high": [*high, length.high, even.high],
        "p_value": [*p, *missing],
        "band_low": [*linear_rows["band_low"], *missing],
        "band_high": [*linear_rows["band_high"], *missing],
        "band_family": [*linear_rows["band_family"], "", ""],
        "status": [*linear_rows["status"], length.status, even.status],
    }
    count = len(rows["term"])
    for name in _LABELS:
        rows[name] = [table[name].iloc[0]] * count
    for name in _SUPPORT:
        rows[name] = [table[name].min()] * count
    rows["conf_level"] = [level] * count
    return _Summaries(rows=rows, influence=stacked)
