"""Intervals of a probability that respect 0 and 1."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import row_degrees
from tiltakeval.estimates.table import Estimates

Floats = NDArray[np.floating]
Interval = Literal["plain", "loglog", "arcsine", "wilson"]
INTERVALS = ("plain", "loglog", "arcsine", "wilson")


def check_interval(kind: str) -> None:
    """Raise InputError for an unknown kind of interval."""
    if kind not in INTERVALS:
        raise InputError(
            f"unknown interval '{kind}'", where="interval", remedy=f"Use {', '.join(INTERVALS)}."
        )


def probability_interval(
    p: Floats, se: Floats, critical: Floats, size: Floats, kind: Interval
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high [m] of probabilities ``p`` with standard errors ``se``.

    ``loglog``: p to the powers exp(-+ c se / (p log p)) (Kalbfleisch & Prentice 2002, section 1.4);
    ``arcsine``: sin^2(arcsin sqrt p -+ c se / (2 sqrt(p (1 - p)))) (Nair 1984); ``wilson``: Wilson's
    with the effective number of observations p (1 - p) / se^2 (Rothman 1978), and with ``size``
    where nothing, or everything, has happened and se is 0, which leaves no error to the others.
    """
    inner = (p > 0) & (p < 1) & (se > 0)
    q = np.where(inner, p, 0.5)
    e = np.where(inner, se, 0.0)
    if kind == "loglog":
        theta = critical * e / (q * np.log(q))
        low, high = q ** np.exp(-theta), q ** np.exp(theta)
    elif kind == "arcsine":
        centre, half = np.arcsin(np.sqrt(q)), critical * e / (2 * np.sqrt(q * (1 - q)))
        low = np.sin(np.maximum(centre - half, 0.0)) ** 2
        high = np.sin(np.minimum(centre + half, np.pi / 2)) ** 2
    elif kind == "wilson":
        n = np.where(inner, q * (1 - q) / np.where(e > 0, e, 1.0) ** 2, np.maximum(size, 1.0))
        edge = np.where(inner, p, np.clip(p, 0.0, 1.0))
        c2 = critical**2
        centre = (edge + c2 / (2 * n)) / (1 + c2 / n)
        half = critical / (1 + c2 / n) * np.sqrt(edge * (1 - edge) / n + c2 / (4 * n**2))
        low, high = np.clip(centre - half, 0.0, p), np.clip(centre + half, p, 1.0)
        return np.minimum(low, p), np.maximum(high, p)
    else:
        return p - critical * se, p + critical * se
    return np.where(inner, np.minimum(low, high), p), np.where(inner, np.maximum(low, high), p)


def transformed(found: Estimates, sizes: Floats, kind: Interval, groups: int) -> pd.DataFrame:
    """Intervals and bands on a scale that keeps probabilities within 0 and 1, and times (as shares
    of the horizon) within 0 and the horizon."""
    table = found.table.copy()
    rows = ((table["status"] == "ok") & ~table["term"].str.endswith("difference")).to_numpy()
    is_time = table.loc[rows, "term"].str.startswith("time_").to_numpy()
    whole = np.where(is_time, table.loc[rows, "horizon"].to_numpy(dtype=np.float64), 1.0)
    p, se = (table.loc[rows, name].to_numpy() / whole for name in ("estimate", "std_error"))
    critical = stats.t.ppf(0.5 + found.table["conf_level"].iloc[0] / 2, row_degrees(table, groups))
    critical, size = critical[rows], sizes[rows]
    low, high = probability_interval(p, se, critical, size, kind)
    table.loc[rows, "conf_low"], table.loc[rows, "conf_high"] = low * whole, high * whole
    band = table["band_high"].to_numpy()[rows] / whole - p
    with np.errstate(divide="ignore", invalid="ignore"):
        wide = np.where(se > 0, band / se, critical)
    low, high = probability_interval(p, se, np.fmax(wide, critical), size, kind)
    seen = np.isfinite(band)
    table.loc[rows, "band_low"] = np.where(seen, low * whole, np.nan)
    table.loc[rows, "band_high"] = np.where(seen, high * whole, np.nan)
    return table
