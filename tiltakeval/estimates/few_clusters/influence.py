"""Bootstrap-t on influence: intervals and bands for few clusters, whatever the estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import families
from tiltakeval.estimates.few_clusters.weights import draw_weights
from tiltakeval.estimates.inference import correction
from tiltakeval.estimates.table import Estimates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Draws times clusters times rows worked on at once.
_PIECE = 4_000_000


def bootstrap_t(
    estimates: Estimates,
    *,
    weights: str = "webb",
    draws: int = 999,
    seed: int = 0,
    level: float = 0.95,
    strata: Ints | None = None,
    size: Floats | None = None,
) -> Estimates:
    """The estimates with p values, intervals and bands from a studentised wild bootstrap of influence.

    A draw multiplies each cluster's influence by a weight (see `weights.draw_weights`); its sum is the
    error of the draw, and its own standard error is from the drawn influence less the mean of its
    ``strata`` [G] (clusters that start together; default all), by ``size`` [G] (default equal): as a
    mean over those clusters would be taken out again if the draw were estimated anew. Intervals are
    estimate +- quantile of absolute t times the standard error, p = (1 + draws as large) / (1 + draws);
    bands that were there use the largest t of their family. Standard errors stay.

    What a bootstrap on influence can't know is how the estimator's own fit (regressions, propensities)
    pulls influence towards zero. Raises InputError without influence, with two-way clusters, or with
    ``strata`` of another number of clusters.
    """
    influence = estimates.influence
    if influence is None:
        raise InputError("a bootstrap needs estimates with influence, not read back from a file")
    if influence.form is not None:
        raise InputError("the bootstrap is for one clustering", where="inference = bootstrap_t")
    groups = influence.groups
    stratum = np.zeros(groups, dtype=np.int64) if strata is None else np.asarray(strata)
    if stratum.size != groups:
        raise InputError(f"{stratum.size} strata were given for {groups} clusters")
    held = np.ones(groups) if size is None else np.asarray(size, dtype=np.float64)
    v, _ = draw_weights(groups, kind=weights, draws=draws, seed=seed)
    table = estimates.table.copy()
    rows = np.flatnonzero(influence.covered(len(table)) & table["estimate"].notna().to_numpy())
    t = drawn_t(influence.columns(rows), v, stratum, held)
    place = np.full(len(table), -1)
    place[rows] = np.arange(rows.size)
    point = table["estimate"].to_numpy(dtype=np.float64)
    se = table["std_error"].to_numpy(dtype=np.float64)
    quantile = np.quantile(t, level, axis=0)
    for name, sign in (("conf_low", -1.0), ("conf_high", 1.0)):
        values = table[name].to_numpy(dtype=np.float64, copy=True)
        values[rows] = point[rows] + sign * quantile * se[rows]
        table[name] = values
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.abs(point[rows]) / se[rows]
    p = table["p_value"].to_numpy(dtype=np.float64, copy=True)
    p[rows] = np.where(se[rows] > 0, (1 + (t >= own).sum(axis=0)) / (1 + t.shape[0]), np.nan)
    table["p_value"], table["conf_level"] = p, level
    for family in dict.fromkeys(table["band_family"]):
        if family:
            within = family.removeprefix("over ").split(", ")
            _band(estimates, table, within, family, t, place, level)
    return replace(estimates, table=table)


def drawn_t(
    z: NDArray[np.floating], v: NDArray[np.floating], stratum: Ints, size: Floats
) -> Floats:
    """[draws, k] absolute t of the draws ``v`` [draws, G] of influence ``z`` [G, k]; see `bootstrap_t`.

    0 where the influence is 0, infinite where every stratum moved as one: no error is left then.
    """
    names, code = np.unique(stratum, return_inverse=True)
    inside = (code[None, :] == np.arange(names.size)[:, None]) * 1.0  # [S, G]
    share = size / (inside @ size)[code]
    factor = correction(z.shape[0])
    out = np.zeros((v.shape[0], z.shape[1]))
    step = max(1, _PIECE // max(z.size, 1))
    for start in range(0, v.shape[0], step):
        drawn = v[start : start + step, :, None] * z  # [d, G, k]
        moved = np.einsum("sg,dgk->dsk", inside, drawn)
        left = drawn - share[None, :, None] * moved[:, code, :]
        se = np.sqrt(factor * np.einsum("dgk,dgk->dk", left, left))
        total = np.abs(moved.sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(se > 1e-12 * total, total / se, np.where(total > 0, np.inf, 0))
        out[start : start + step] = t
    return out


def _band(
    estimates: Estimates,
    table: pd.DataFrame,
    within: Sequence[str],
    family: str,
    t: Floats,
    place: Ints,
    level: float,
) -> None:
    """Bands of the families that have one, from the largest t of each draw."""
    frame = estimates.table
    point, se = frame["estimate"].to_numpy(), frame["std_error"].to_numpy()
    banded = (frame["band_family"] == family).to_numpy() & (place >= 0)
    low = table["band_low"].to_numpy(copy=True)
    high = table["band_high"].to_numpy(copy=True)
    for positions in families(estimates, within=within):
        rows = positions[banded[positions]]
        if rows.size:
            critical = np.quantile(t[:, place[rows]].max(axis=1), level)
            low[rows] = point[rows] - critical * se[rows]
            high[rows] = point[rows] + critical * se[rows]
    table["band_low"], table["band_high"] = low, high
