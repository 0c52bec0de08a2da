"""The wild cluster bootstrap, CR2 and CR3 of all estimates that are coefficients of a regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.estimates.bands import balanced_critical_values
from tiltakeval.estimates.combine import families, row_degrees
from tiltakeval.estimates.few_clusters.inversion import Replications
from tiltakeval.estimates.few_clusters.moments import Moments
from tiltakeval.estimates.few_clusters.robust import NOTHING_LEFT, cr2_of, cr3_of, leverage
from tiltakeval.estimates.few_clusters.wild import wild_of_regression
from tiltakeval.estimates.inference import intervals
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.few_clusters.regression import moments_of
from tiltakeval.estimators.did.few_clusters.rows import (
    cohort_of_cluster,
    set_columns,
    without_intervals,
)
from tiltakeval.estimators.did.two_way.kept import Kept

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: What names a row among those of one outcome and subgroup.
_NAMES = ("term", "cohort", "period", "horizon")


@dataclass(frozen=True)
class Asked:
    """The method (wild, cr2 or cr3) and its options; ``satterthwaite``: degrees of freedom from the
    regressors, else from the clusters of the smaller side."""

    method: str
    replications: int
    weights: str
    restricted: bool
    satterthwaite: bool
    level: float
    seed: int


@dataclass(frozen=True)
class _Found:
    """By row: columns of the table, and ``note`` what else is known of each."""

    columns: Mapping[str, Floats]
    note: Sequence[Mapping[str, Any]]
    said: Sequence[str]


def of_regression(
    estimates: Estimates, kept: Sequence[Kept], asked: Asked
) -> tuple[Estimates, list[str], list[dict[str, Any]]]:
    """Errors, intervals, p values and bands of the rows in ``kept``; other rows keep their standard
    error alone. What is said of all, and by row degrees of freedom and clusters in effect."""
    out, said, rows = without_intervals(estimates), list[str](), list[dict[str, Any]]()
    for one in kept:
        table = estimates.table.iloc[one.rows]
        moments, names = moments_of(one.regressed.fits, one.design.cluster)
        maps = one.regressed.maps
        banded = _banded(estimates, one.rows)
        find = _wild if asked.method == "wild" else _robust
        stratum = cohort_of_cluster(one.design)[names]
        found = find(moments, maps, asked, table, banded, stratum)
        out = set_columns(out, one.rows, **found.columns)
        label = out.table["band_family"].to_numpy(copy=True)
        for name, parts in banded:
            label[one.rows[np.concatenate(parts)]] = name
        out = replace(out, table=out.table.assign(band_family=label))
        effective = [leverage(moments, c) for c in maps.T]
        scope = f"{table['subgroup'].iloc[0]}, {table['outcome'].iloc[0]}"
        spread = _span(np.array([e.effective for e in effective]))
        largest = max(float(e.partial.max()) for e in effective)
        said.append(
            f"{scope}: {spread} clusters in effect by partial leverage, the largest has {largest:.0%}"
        )
        said += [f"{scope}: {text}" for text in found.said]
        if one.regressed.given:
            said.append(f"{scope}: {one.regressed.given}")
        for i, (note, carried) in enumerate(zip(found.note, effective)):
            labels_of = {name: _plain(table[name].iloc[i]) for name in _NAMES}
            rows.append(
                {
                    "subgroup": table["subgroup"].iloc[0],
                    "outcome": table["outcome"].iloc[0],
                    **labels_of,
                    "clusters_in_effect": carried.effective,
                    **note,
                }
            )
    return out, said, rows


def _robust(
    moments: Moments,
    maps: Floats,
    asked: Asked,
    table: pd.DataFrame,
    banded: Sequence[tuple[str, Sequence[Ints]]],
    stratum: Ints,
) -> _Found:
    """CR2 or CR3."""
    found, z = (cr2_of if asked.method == "cr2" else cr3_of)(moments, maps)
    house = row_degrees(table, moments.clusters)
    df = found.df if asked.satterthwaite else np.where(np.isfinite(found.std_error), house, np.nan)
    se = np.where(np.isfinite(df), found.std_error, np.nan)
    low, high, p = (
        np.asarray(v, dtype=np.float64)
        for v in intervals(found.estimate, se, level=asked.level, df=df)
    )
    band_low, band_high = np.full(se.size, np.nan), np.full(se.size, np.nan)
    for _, parts in banded:
        for part in parts:
            good = part[np.isfinite(se[part])]
            if good.size:
                wide = balanced_critical_values(
                    z[:, good], stratum, df=df[good], level=asked.level, draws=999, seed=asked.seed
                )
                band_low[good] = found.estimate[good] - wide * se[good]
                band_high[good] = found.estimate[good] + wide * se[good]
    lost = int(np.isnan(se).sum())
    said = []
    if lost:
        why = NOTHING_LEFT if asked.method == "cr2" else "without some cluster there is no estimate"
        said.append(f"{lost} of {se.size} rows have no error: {why}")
    if np.isfinite(df).any():
        said.append(f"{_span(df[np.isfinite(df)])} degrees of freedom")
    columns = {
        "std_error": se,
        "conf_low": low,
        "conf_high": high,
        "p_value": p,
        "band_low": band_low,
        "band_high": band_high,
    }
    return _Found(columns, [{"df": float(v) if np.isfinite(v) else None} for v in df], said)


def _wild(
    moments: Moments,
    maps: Floats,
    asked: Asked,
    table: pd.DataFrame,
    banded: Sequence[tuple[str, Sequence[Ints]]],
    stratum: Ints,
) -> _Found:
    """The wild cluster bootstrap, row by row on the same draws; bands from draws about the estimates."""
    drawn = {"weights": asked.weights, "draws": asked.replications, "seed": asked.seed}
    wilds = [wild_of_regression(moments, c) for c in maps.T]
    r = len(wilds)
    low, high, p = np.full(r, np.nan), np.full(r, np.nan), np.full(r, np.nan)
    for i, one in enumerate(wilds):
        if not one.influence.any():
            continue
        found = one.replications(restricted=asked.restricted, **drawn)  # type: ignore[arg-type]
        low[i], high[i] = found.interval(asked.level)
        p[i] = found.p_value()
    band_low, band_high = np.full(r, np.nan), np.full(r, np.nan)
    for _, parts in banded:
        for part in parts:
            good = part[np.isfinite(p[part])]
            free = [wilds[i].replications(restricted=False, **drawn) for i in good]  # type: ignore[arg-type]
            wide = _joint(free, asked.level)
            for i, one, width in zip(good, free, wide):
                # an interval that isn't symmetric may reach beyond: bands hold intervals
                band_low[i] = min(one.estimate - width, low[i])
                band_high[i] = max(one.estimate + width, high[i])
    endless = int((np.isinf(low) | np.isinf(high)).sum())
    said = []
    if endless:
        where = "" if r == 1 else f" in {endless} of {r} rows"
        said.append(f"no value is rejected at an end of the interval{where}")
    columns = {"conf_low": low, "conf_high": high, "p_value": p}
    columns |= {"band_low": band_low, "band_high": band_high}
    return _Found(columns, [{} for _ in range(r)], said)


def _joint(free: Sequence[Replications], level: float) -> list[float]:
    """Half the width of a band over rows: quantiles of each row's absolute t at one common share of
    draws (Beran 1988), so that rows that rest on few clusters don't widen the others."""
    if not free:
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.stack([np.abs(one.n0) / np.sqrt(one.q[0]) for one in free], axis=1)
    t = np.where(np.isnan(t), np.inf, t)  # 0 / 0: all of a side has one sign
    draws = t.shape[0]
    order = np.sort(t, axis=0)
    above = draws - np.stack(
        [
            np.searchsorted(order[:, j], t[:, j] * (1 - 1e-12), side="left")
            for j in range(t.shape[1])
        ],
        axis=1,
    )
    rarest = np.sort(above.min(axis=1))  # how many draws are at least as large, in the rarest row
    common = int(rarest[int(np.floor((1 - level) * draws))]) if draws else 1
    at = np.clip(draws - common, 0, draws - 1)
    se = [float(np.sqrt(one.observed[0])) for one in free]
    return [float(order[at, j]) * se[j] for j in range(t.shape[1])]


def _banded(estimates: Estimates, rows: Ints) -> list[tuple[str, list[Ints]]]:
    """The families of ``rows`` that had a band: its label, and the places among ``rows`` of each."""
    place = np.full(len(estimates), -1, dtype=np.int64)
    place[rows] = np.arange(rows.size)
    label = estimates.table["band_family"]
    out = []
    for name in dict.fromkeys(label):
        if not name:
            continue
        parts = []
        for positions in families(estimates, within=name.removeprefix("over ").split(", ")):
            mine = positions[(label.iloc[positions] == name).to_numpy() & (place[positions] >= 0)]
            if mine.size:
                parts.append(place[mine])
        if parts:
            out.append((name, parts))
    return out


def _span(values: Floats) -> str:
    """One number, or the smallest and the largest."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else int(value) if not isinstance(value, str) else value
