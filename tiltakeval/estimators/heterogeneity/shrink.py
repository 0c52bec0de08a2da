"""Subgroup effects shrunk towards the programme's average, with intervals that stay honest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimators.heterogeneity.ebci import critical_values, moments
from tiltakeval.estimators.heterogeneity.rows import Lines
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]


def shrunk(
    scores: UnitScores, average: Lines, by_level: Lines, difference: Lines, *, level: float = 0.95
) -> tuple[Lines, Mapping[str, float]]:
    """average + w (effect - average) for every supported row of ``by_level``, and what w rests on.

    w = mu2 / (mu2 + s^2), with s^2 the sampling variance of the row's difference from the average and
    mu2 the variance of the true differences, estimated over all rows (Armstrong, Kolesar &
    Plagborg-Moller 2022, with the average for their regression). The error is the sampling error of the
    combination; the interval adds the bias (1 - w) (true difference), whose second and fourth
    moments are estimated, and covers on average over the rows, whatever its distribution. It doesn't
    cover every single row at the level: an unusual level lies further from its interval than others.
    With the few levels there are, mu2 is itself uncertain: intervals take it one standard error up.
    """
    at = np.flatnonzero(difference.good())
    label = {"term": "effect_shrunk"}
    if at.size < 2 or not (standard_errors(difference.z[:, at], scores.groups.form) > 0).any():
        empty = tuple({**row, **label} for row in by_level.labels)
        return Lines(empty, np.full(len(empty), np.nan), np.zeros(by_level.z.shape)), {}
    form = scores.groups.form
    of = {row["programme"]: i for i, row in enumerate(average.labels)}
    own = np.array([of[row["programme"]] for row in by_level.labels], dtype=np.int64)
    s2 = standard_errors(difference.z[:, at], form) ** 2
    s2 = np.maximum(s2, 1e-12 * max(float(s2.max()), 1e-300))
    mu2, kappa, error = moments(difference.theta[at], s2, np.ones(at.size))
    w = np.zeros(len(by_level))
    w[at] = mu2 / (mu2 + s2)
    theta = average.theta[own] + w * np.where(difference.good(), difference.theta, np.nan)
    z = np.where(difference.good(), average.z[:, own] + w * difference.z, 0.0)
    se = standard_errors(z, form)
    ok = np.isfinite(theta)
    m2 = (1.0 - w[ok]) ** 2 * (mu2 + error) / se[ok] ** 2
    critical = np.full(theta.size, np.nan)
    critical[ok] = critical_values(m2, kappa, level)
    labels: list[Mapping[str, Any]] = []
    for i, row in enumerate(by_level.labels):
        more: dict[str, Any] = dict(label)
        if np.isfinite(theta[i]):
            half = critical[i] * se[i]
            df = max(min(row["n_treated"], row["n_comparison"], scores.groups.count) - 1, 1)
            half *= stats.t.ppf(0.5 + level / 2, df) / stats.norm.ppf(0.5 + level / 2)
            more |= {"conf_low": theta[i] - half, "conf_high": theta[i] + half, "p_value": None}
        labels.append({**row, **more})
    used = {
        "standard_deviation_of_differences": float(np.sqrt(mu2)),
        "kurtosis": kappa,
        "smallest_weight": float(w[at].min()),
        "largest_weight": float(w[at].max()),
    }
    return Lines(tuple(labels), theta, z), used
