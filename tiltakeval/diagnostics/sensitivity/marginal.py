"""Bounds when odds of taking part may be off by a factor Lambda (marginal sensitivity model).

Tan (2006, JASA 101:1619-1637): had the unseen factor been seen, a person's odds of being in an arm
would be between 1 / Lambda and Lambda times those given the covariates. Then the mean outcome of arm k
over others like x is at most rho(x) = E[phi | x, k], with tau = Lambda / (1 + Lambda) and

    phi = Y / Lambda + (1 - 1 / Lambda) (Q + (Y - Q)_+ / (1 - tau)),

Q the tau quantile of Y given x in arm k: the sharp bound (Dorn & Guo 2023, JASA 118:2645-2657). With
phi for the outcome, the doubly robust score is valid whatever Q is, and sharp when it is right (Dorn,
Guo & Kallus 2024, "Doubly-valid/doubly-sharp sensitivity analysis", JASA). ``hajek_range`` has the wider
bounds of Zhao, Small & Bhattacharya (2019, JRSS B 81:735-761), which leave the covariates unbalanced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.sensitivity.jobs import (
    KEYS,
    Job,
    effects_of,
    jobs_of,
    key_of,
    options_of,
)
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import row_degrees
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.numerics.layout import outcome_block
from tiltakeval.estimators.numerics.ridge import Regression, RidgeSums
from tiltakeval.estimators.numerics.threads import one_thread
from tiltakeval.estimators.weighting.nuisance import Nuisance

Floats = NDArray[np.floating]
LAMBDAS = (1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
#: Bins of the expected outcome in which quantiles are taken; share of one value that makes it a lump.
BINS, LUMP = 20, 0.05


@dataclass(frozen=True)
class OddsBounds:
    """Bounds by Lambda. ``table``: a row per effect x Lambda, with the effect's keys and estimate,
    ``odds_ratio`` (Lambda), ``bound_low``, ``bound_high``, and one-sided confidence bounds ``conf_low``,
    ``conf_high``. ``breaking``: a row per effect, ``odds_ratio`` at which its confidence bound nearest
    zero reaches it (1: not clear to begin with; infinite: beyond the largest Lambda tried)."""

    table: pd.DataFrame
    breaking: pd.DataFrame


def odds_bounds(
    design: CrossSection,
    nuisance: Nuisance,
    estimates: Estimates,
    *,
    lambdas: Sequence[float] = LAMBDAS,
    where: Mapping[str, Any] | None = None,
    level: float = 0.95,
) -> OddsBounds:
    """Sharp bounds of every effect in ``estimates`` of a weighting estimator, for each Lambda.

    ``where`` picks effects by column. Outcomes, and the bounds' regressions, are fitted by ridge on the
    nuisance's columns. ``level`` is that of each one-sided confidence bound. Between the Lambdas tried
    ``breaking`` is interpolated (linear in log Lambda). Raises InputError for a Lambda below 1.
    """
    tried = sorted({float(v) for v in lambdas} | {1.0})
    if tried[0] < 1 or not np.isfinite(tried).all():
        raise InputError("Lambda must be at least 1", where="lambdas")
    if not 0.5 < level < 1:
        raise InputError("the level must lie between 0.5 and 1", where="level")
    effects, _ = effects_of(estimates, where)
    degrees = np.asarray(row_degrees(effects, nuisance.groups.count), dtype=np.float64)
    options = {k: v for k, v in options_of(estimates).items() if k != "learner_outcome"}
    rows, ends = [], []
    for job in jobs_of(design, nuisance, effects, options):
        sides = _both_sides(job, tried)
        for i, row in job.rows.iterrows():
            at = job.keys.index(key_of(row)), job.levels.index(row["subgroup"])
            t = float(stats.t.ppf(level, degrees[effects.index.get_loc(i)]))
            found = _effect_rows(job, sides, at, tried, t)
            rows.append(found.assign(effect=i, **{k: row[k] for k in [*KEYS, "estimate"]}))
            ends.append(_break(found) | {"effect": i} | {k: row[k] for k in [*KEYS, "estimate"]})
    names = [*KEYS, "estimate", "odds_ratio", "bound_low", "bound_high", "conf_low", "conf_high"]
    table = pd.concat(rows).sort_values(["effect", "odds_ratio"], kind="stable")
    breaking = pd.DataFrame(ends).sort_values("effect", kind="stable")
    return OddsBounds(
        table[names].reset_index(drop=True),
        breaking[[*KEYS, "estimate", "odds_ratio"]].reset_index(drop=True),
    )


@dataclass(frozen=True)
class _Sides:
    """Scores of the effect's lower and upper bound, [m, C, Lambdas], and who is observed [m, C]."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    seen: NDArray[np.bool_]


def _both_sides(job: Job, tried: Sequence[float]) -> _Sides:
    found = job.residuals()
    m, columns = found.residual.shape
    low, high = (np.zeros((m, columns, len(tried))) for _ in range(2))
    w = job.weights
    y = _outcomes(job)
    for arm, own, sign in ((w.pair[0], w.treated, 1), (w.pair[1], w.other, -1)):
        c = np.ones((m, columns)) if found.censor is None else found.censor
        place = [job.spread.outcomes.columns[key] for key in job.keys]
        mu = job.spread.of(arm, w.pair[0])[w.units][:, place]
        alpha = np.where(own, np.abs(w.alpha), 0.0)
        rest = np.where(own, 0.0, w.mass)
        extra = np.where(own, alpha - w.mass, 0.0)
        mine = (own * w.mass)[:, None] * np.where(own[:, None], mu + c * (y - mu), 0.0)
        if not ((rest > 0).any() and (np.abs(extra) > 1e-12).any()):
            low += sign * mine[:, :, None]
            high += sign * mine[:, :, None]
            continue
        phi, rho = _pseudo(job, arm, own, y, mu, c, tried)
        for side, to in enumerate((low, high) if sign > 0 else (high, low)):
            for k in range(len(tried)):
                expected = rho[:, :, k, side]
                # units censored by now have no phi, and no weight
                fixed = np.nan_to_num(phi[:, :, k, side] - expected)
                to[:, :, k] += sign * (mine + rest[:, None] * expected + extra[:, None] * c * fixed)
    return _Sides(np.nan_to_num(low), np.nan_to_num(high), found.seen)


def _outcomes(job: Job) -> NDArray[np.float64]:
    d, units = job.design, job.weights.units
    cells = [(d.horizons.index(h), d.outcome_names.index(k)) for h, k in job.keys]
    return np.stack([d.outcomes[units, t, k] for t, k in cells], axis=1).astype(np.float64)


def _pseudo(
    job: Job,
    arm: int,
    own: NDArray[np.bool_],
    y: Floats,
    mu: Floats,
    c: Floats,
    tried: Sequence[float],
) -> tuple[Floats, Floats]:
    """phi of the arm's units and its regression rho for all units, each [m, C, Lambdas, 2]: of the
    mean's lower bound and of its upper."""
    m, columns = y.shape
    phi = np.full((m, columns, len(tried), 2), np.nan)
    taus = [v / (1 + v) for v in tried]
    for column in range(columns):
        rows = np.flatnonzero(own & np.isfinite(y[:, column]) & (c[:, column] > 0))
        weight = job.weights.sampling[rows] * c[rows, column]
        for end, side in enumerate((-1.0, 1.0)):
            value, expected = side * y[rows, column], side * mu[rows, column]
            for k, (v, q) in enumerate(zip(tried, quantiles(value, expected, weight, taus))):
                tail = q + np.maximum(value - q, 0.0) * (1 + v)
                phi[rows, column, k, end] = side * (value / v + (1 - 1 / v) * tail)
    rho = _regressed(job, arm, phi.reshape(m, -1), c)
    return phi, rho.reshape(phi.shape)


def _regressed(job: Job, arm: int, phi: Floats, c: Floats) -> NDArray[np.float64]:
    """[m, k] cross-fitted ridge predictions of the columns of ``phi``, fitted in ``arm``; every other
    column is of a lower bound, the rest of upper ones, and each kind has a penalty of its own."""
    whole = job.spread.outcomes
    full = np.full((whole.n, phi.shape[1], 1), np.nan)
    full[job.weights.units, :, 0] = phi
    block = outcome_block(full, weight=job.design.weight, order=whole.units)
    censor = None
    if arm == 0 and whole.censor is not None:
        spread = np.ones((whole.n, phi.shape[1]), dtype=np.float32)
        spread[job.weights.units] = np.repeat(c, phi.shape[1] // c.shape[1], axis=1)
        censor = spread[whole.units]
    with one_thread():
        fit = RidgeSums(
            (Regression(arm, censor),),
            x=whole.x,
            w=whole.w,
            block=block,
            layout=whole.layout,
            names=2,
        ).fit()
    out = np.full((whole.n, phi.shape[1]), np.nan)
    for f in range(whole.layout.folds):
        start = whole.layout.rows(f, 0).start
        rows = slice(start, whole.layout.rows(f, whole.layout.block.shape[1] - 1).stop)
        if rows.stop > rows.start:
            out[whole.units[rows]] = fit.of(0, f, rows) + block.centre
    return out[job.weights.units]


def quantiles(
    y: Floats, expected: Floats, weight: Floats, taus: Sequence[float]
) -> list[NDArray[np.float64]]:
    """Rough quantiles of y [n] given its expectation [n], one [n] per tau.

    Of an outcome with two values, the one its expectation calls for; else quantiles within bins of the
    expectation, of y itself where one value is common, of what is left of it otherwise.
    """
    values, counts = np.unique(y, return_counts=True)
    if values.size <= 2:
        span = values[-1] - values[0]
        share = (expected - values[0]) / span if span > 0 else np.ones_like(y)
        return [np.where(1 - share < tau, values[-1], values[0]) for tau in taus]
    edges = np.quantile(expected, np.linspace(0, 1, BINS + 1)[1:-1])
    bins = np.searchsorted(edges, expected)
    lumps = counts.max() > LUMP * y.size
    base = y if lumps else y - expected
    out: list[NDArray[np.float64]] = [np.zeros(y.size) for _ in taus]
    for b in range(BINS):
        rows = np.flatnonzero(bins == b)
        if not rows.size:
            continue
        order = rows[np.argsort(base[rows], kind="stable")]
        heap = np.cumsum(weight[order]) / weight[order].sum()
        for found, tau in zip(out, taus):
            at = min(int(np.searchsorted(heap, tau)), order.size - 1)
            found[rows] = base[order[at]]
    return out if lumps else [np.asarray(found + expected, dtype=np.float64) for found in out]


def _effect_rows(
    job: Job, sides: _Sides, at: tuple[int, int], tried: Sequence[float], t: float
) -> pd.DataFrame:
    """Bounds of one effect (column, level) at every Lambda."""
    column, level = at
    groups, w = job.nuisance.groups, job.weights
    rows = np.flatnonzero((job.members[:, level] > 0) & sides.seen[:, column])
    v = (w.sampling[rows] * job.members[rows, level])[:, None]
    k = len(tried)
    values = [sides.low[rows, column], sides.high[rows, column], w.mass[rows, None]]
    sums = groups.add_up(v * np.hstack(values), w.units[rows])
    total = sums[: groups.count].sum(axis=0)
    bound = total[:-1] / total[-1]
    z = (sums[:, :-1] - sums[:, -1:] * bound) / total[-1]
    se = standard_errors(z, groups.form)
    low, high = bound[:k], bound[k:]
    return pd.DataFrame(
        {
            "odds_ratio": list(tried),
            "bound_low": low,
            "bound_high": high,
            "conf_low": low - t * se[:k],
            "conf_high": high + t * se[k:],
        }
    )


def _break(found: pd.DataFrame) -> dict[str, float]:
    """Where the confidence bound nearest zero reaches it."""
    lam = np.log(found["odds_ratio"].to_numpy())
    low, high = found["conf_low"].to_numpy(), found["conf_high"].to_numpy()
    clear = low if low[0] > 0 else -high
    if not clear[0] > 0:
        return {"odds_ratio": 1.0}
    past = np.flatnonzero(clear <= 0)
    if not past.size:
        return {"odds_ratio": float("inf")}
    i = int(past[0])
    part = clear[i - 1] / (clear[i - 1] - clear[i])
    return {"odds_ratio": float(np.exp(lam[i - 1] + part * (lam[i] - lam[i - 1])))}


def hajek_range(
    y: ArrayLike, *, odds: ArrayLike, lam: float, base: ArrayLike = 0.0
) -> tuple[float, float]:
    """Smallest and largest weighted mean of y [n] with weights base + odds w, w between 1/lam and lam.

    ``base`` 0 and odds of taking part, for comparison units: their mean as participants. ``base`` 1 and
    odds of the other arms: the mean of everybody. The extremes put one bound on all units below a cut
    and the other above it (Zhao, Small & Bhattacharya 2019, section 4.4). Raises InputError.
    """
    y = np.asarray(y, dtype=np.float64).reshape(-1)
    odds, base = (np.broadcast_to(np.asarray(v, dtype=np.float64), y.shape) for v in (odds, base))
    if not (np.isfinite(lam) and lam >= 1):
        raise InputError("Lambda must be at least 1", where="lam")
    if not (np.isfinite(y).all() and np.isfinite(odds).all() and (odds >= 0).all()):
        raise InputError("outcomes and odds must be finite, odds not negative", where="odds")
    if not (base + odds).sum() > 0:
        raise InputError("no unit has any weight", where="odds")
    order = np.argsort(y, kind="stable")
    y, odds, base = y[order], odds[order], base[order]
    small, large = base + odds / lam, base + odds * lam

    def means(first: Floats, then: Floats) -> NDArray[np.float64]:
        # ``first`` up to a cut, ``then`` from it, for every cut
        weight = np.r_[0.0, np.cumsum(first)] + np.r_[np.cumsum(then[::-1])[::-1], 0.0]
        value = np.r_[0.0, np.cumsum(first * y)] + np.r_[np.cumsum((then * y)[::-1])[::-1], 0.0]
        return np.asarray(value / weight)

    return float(means(large, small).min()), float(means(small, large).max())
