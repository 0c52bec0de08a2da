"""Many hypotheses at once, from the influence: joint tests, and p values adjusted step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.estimates.inference import Form, correlation, covariance, standard_errors

Floats = NDArray[np.floating]


def holm(p: Floats) -> NDArray[np.float64]:
    """[m] p values adjusted so that the chance of any false rejection is controlled, whatever their
    dependence (Holm 1979, Scandinavian Journal of Statistics 6:65-70). NaN stays NaN."""
    p = np.asarray(p, dtype=np.float64)
    out = np.full(p.size, np.nan)
    at = np.flatnonzero(np.isfinite(p))
    order = at[np.argsort(p[at], kind="stable")]
    steps = np.minimum(p[order] * (order.size - np.arange(order.size)), 1.0)
    out[order] = np.maximum.accumulate(steps)
    return out


def step_down(
    theta: Floats,
    z: Floats,
    *,
    df: float | None = None,
    form: Form | None = None,
    draws: int = 9_999,
    seed: int = 0,
    one_sided: bool = False,
) -> NDArray[np.float64]:
    """[m] p values of theta = 0 adjusted for all m, step by step (Romano & Wolf 2005, Econometrica
    73:1237-1282, algorithm 4.1).

    Reference: the largest |t| of Gaussian draws with the correlation of ``z`` [G, m] (the multiplier
    bootstrap of group sums), divided by an independent chi so that it has ``df`` degrees of freedom
    (default G - 1). Uses the dependence of the estimates, so it rejects more than Holm. Rows without
    estimate or variance are NaN. ``one_sided``: alternatives theta > 0.
    """
    se = standard_errors(z, form)
    out = np.full(theta.size, np.nan)
    at = np.flatnonzero(np.isfinite(theta) & (se > 1e-12 * max(float(se.max(initial=0.0)), 1e-300)))
    if not at.size:
        return out
    t = theta[at] / se[at]
    t = t if one_sided else np.abs(t)
    groups = z.shape[0] if form is None else form.main
    df = groups - 1.0 if df is None else df
    values, vectors = np.linalg.eigh(correlation(z[:, at], form))
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((draws, at.size)) @ root.T
    drawn = (drawn if one_sided else np.abs(drawn)) / np.sqrt(rng.chisquare(df, draws) / df)[
        :, None
    ]
    order = np.argsort(-t, kind="stable")
    # the largest among the hypotheses not yet rejected: those from here to the least extreme
    largest = np.maximum.accumulate(drawn[:, order[::-1]], axis=1)[:, ::-1]
    p = (1.0 + (largest >= t[order]).sum(axis=0)) / (draws + 1.0)
    out[at[order]] = np.maximum.accumulate(p)
    return out


def wald(
    theta: Floats, z: Floats, *, df: float, form: Form | None = None
) -> tuple[float, int, float]:
    """F statistic of theta = 0 (all), its first degrees of freedom, and p value.

    The reference is Hotelling's: T^2 (df - q + 1) / (df q) against F with q and df - q + 1. Directions
    of ``z`` [G, m] without variance are left out.
    """
    v = covariance(z, form)
    scale = np.sqrt(np.clip(np.diag(v), 1e-300, None))
    values, vectors = np.linalg.eigh(v / np.outer(scale, scale))
    used = values > 1e-10 * values.max(initial=0.0)
    q = int(used.sum())
    if q == 0 or df - q + 1 <= 0:
        return float("nan"), q, float("nan")
    rotated = vectors[:, used].T @ (theta / scale)
    f = float((rotated**2 / values[used]).sum()) * (df - q + 1) / (df * q)
    return f, q, float(stats.f.sf(f, q, df - q + 1))
