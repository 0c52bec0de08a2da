"""Roll-outs invented for tests, with known effects."""

from __future__ import annotations

import numpy as np

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.staggered import StaggeredPanel

PERIODS = np.arange(1, 9)
COHORTS = np.array([4.0, 6.0, np.inf])


def effect(cohort: float, period: int) -> float:
    """The true effect: grows with time since start, and is larger for the early cohort."""
    if period < cohort:
        return 0.0
    return (0.5 if cohort == 4 else 0.3) * (1 + period - cohort)


def make_rollout(
    n: int = 500,
    *,
    seed: int = 1,
    missing: float = 0.0,
    clusters: int | None = None,
    noise: float = 1.0,
    trend: float = 0.3,
) -> StaggeredPanel:
    """n units over eight periods; a covariate drives both the cohort and the trend (``trend`` a period).

    ``missing`` is the share of unit-periods without a row; ``clusters`` share a random walk.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    tilt = np.exp(np.stack([0.6 * x[:, 0], 0.3 * x[:, 0], np.zeros(n)], axis=1))
    draw = rng.random((n, 1)) * tilt.sum(axis=1, keepdims=True)
    code = (draw > tilt.cumsum(axis=1)).sum(axis=1)
    cluster = np.arange(n)
    if clusters is not None:  # whole clusters start together
        cluster = rng.integers(0, clusters, n)
        code = rng.permutation(np.arange(clusters) % 3)[cluster]
    first = COHORTS[code]
    y = rng.standard_normal((n, 1)) + 0.2 * PERIODS + trend * x[:, :1] * PERIODS
    y = y + noise * rng.standard_normal((n, PERIODS.size))
    if clusters is not None:
        y += noise * rng.standard_normal((clusters, PERIODS.size))[cluster]
    y += np.array([[effect(g, t) for t in PERIODS] for g in first])
    y[rng.random(y.shape) < missing] = np.nan
    return StaggeredPanel(
        outcomes=y[:, :, None],
        outcome_names=("earnings",),
        units=("nok",),
        periods=PERIODS,
        first=first,
        covariates=x,
        covariate_names=("x0", "x1"),
        weight=rng.uniform(0.5, 1.5, n),
        cluster=cluster,
        subgroups={"sex": Subgroup(levels=("a", "b"), codes=rng.integers(0, 2, n))},
        population="invented",
    )
