"""Is there an 'effect' on outcomes from before the programme, where none can be?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.estimates.check import Check
from tiltakeval.estimates.inference import Form, covariance
from tiltakeval.estimates.table import Estimates

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Wald:
    """A joint test: the statistic, its two degrees of freedom, the p value."""

    statistic: float
    rank: int
    residual: int
    p_value: float


def wald(theta: Floats, z: Floats, units: float = np.inf, form: Form | None = None) -> Wald | None:
    """Joint test that ``theta`` [k] is zero, from influence sums ``z`` [G, k] (Hotelling's T^2).

    F = W (m - r) / (r (m - 1)) with r the rank of the covariance and m the groups, or ``units`` (the
    smallest arm) where they are fewer: it keeps its size when either is small. None when r >= m - 1.
    """
    groups = int(min(z.shape[0] if form is None else form.main, units))
    v = covariance(z, form)
    scale = np.sqrt(np.diag(v))
    used = scale > 0
    if not used.any():
        return None
    correlation = v[np.ix_(used, used)] / np.outer(scale[used], scale[used])
    values, vectors = np.linalg.eigh(correlation)
    kept = values > 1e-8 * values.max()
    rank = int(kept.sum())
    if rank >= groups - 1:
        return None
    t = vectors[:, kept].T @ (theta[used] / scale[used])
    w = float((t**2 / values[kept]).sum())
    f = w * (groups - rank) / (rank * (groups - 1))
    return Wald(w, rank, groups - rank, float(stats.f.sf(f, rank, groups - rank)))


def placebo_outcomes(*, estimates: Estimates, placebo_level: float = 0.05) -> tuple[Check, ...]:
    """A check per population and programme: joint test of the mean of each placebo outcome over its
    months.

    One mean an outcome, since a difference between people that lasts shows in it, and since a test
    of every month would have more months than a small programme can bear. Fails when p <
    ``placebo_level``. ``statistic`` is the p value. Silence of this test doesn't show
    that there is no hidden selection: one that left no trace in the past can't be seen.
    """
    key = "placebo_outcomes"
    found = [
        _check(key, estimates, part, "outcome", scope, placebo_level)
        for scope, part in _parts(estimates, "programme")
    ]
    return tuple(found) or (Check(key=key, status="not_evaluated", threshold=placebo_level),)


def placebo_together(*, estimates: Estimates, placebo_level: float = 0.05) -> tuple[Check, ...]:
    """A check per population with several programmes: joint test, over them, of the mean of the first
    placebo outcome.

    It sees what shows a little in every programme and clearly in none. As `placebo_outcomes` otherwise.
    """
    key = "placebo_together"
    parts = list(_parts(estimates))
    if not parts:
        return (Check(key=key, status="not_evaluated", threshold=placebo_level),)
    return tuple(
        _check(
            key,
            estimates,
            part[part["outcome"] == part["outcome"].iloc[0]],
            "programme",
            scope,
            placebo_level,
        )
        for scope, part in parts
        if part["programme"].nunique() > 1
    )


def _parts(estimates: Estimates, *more: str) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The placebo rows of all units, with the scope of a check, by population and ``more``."""
    table = estimates.table
    rows = table[(table["term"] == "placebo") & (table["subgroup"] == "all")]
    keys = ["population", "estimand", *more, "comparator"]
    for names, part in rows.groupby(keys, sort=False):
        yield {k: v for k, v in zip(keys, names) if v}, part


def _check(
    key: str, estimates: Estimates, part: pd.DataFrame, by: str, scope: dict[str, str], level: float
) -> Check:
    """Joint test of the means over months of each level of ``by`` among the rows ``part``."""
    detail = part[
        ["programme", "outcome", "horizon", "estimate", "std_error", "conf_low", "conf_high"]
    ]
    if by == "outcome":
        detail = detail.drop(columns="programme")
    detail = detail.reset_index(drop=True)
    usable = part.index[part["estimate"].notna()].to_numpy()
    result = None
    if usable.size and estimates.influence is not None:
        levels = pd.factorize(part.loc[usable, by])[0]
        mean = np.equal.outer(np.unique(levels), levels).astype(np.float64)
        mean /= mean.sum(axis=1, keepdims=True)
        theta = mean @ part.loc[usable, "estimate"].to_numpy()
        z = estimates.influence.columns(usable) @ mean.T
        result = wald(
            theta, z, float(part.loc[usable, "n_treated"].min()), estimates.influence.form
        )
    if result is None:
        return Check(key=key, status="not_evaluated", scope=scope, threshold=level, detail=detail)
    return Check(
        key=key,
        status="failed" if result.p_value < level else "passed",
        scope=scope,
        statistic=result.p_value,
        threshold=level,
        message={
            "wald": result.statistic,
            "df": result.rank,
            "df_residual": result.residual,
            "p_value": result.p_value,
            "estimates": int(usable.size),
        },
        detail=detail,
    )
