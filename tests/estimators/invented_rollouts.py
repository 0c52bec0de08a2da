"""Roll-outs invented for tests, with known effects."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from tests.estimators.invented_doses import dose_effect
from tests.estimators.invented_paths import LAGS, path_outcomes, treatment_paths
from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.doses import DosedRollout
from tiltakeval.design.intensity import IntensityRollout
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.treatment_paths import TreatmentPaths, paths_of

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


def fields_of(panel: StaggeredPanel) -> dict:
    """The fields of a roll-out, to make another design of."""
    return {f.name: getattr(panel, f.name) for f in fields(StaggeredPanel)}


def as_paths(panel: StaggeredPanel) -> TreatmentPaths:
    """The roll-out as treatment paths: 0 until it starts, then 1."""
    return paths_of((panel.periods >= panel.first[:, None]).astype(float), **fields_of(panel))


def make_paths(
    n: int = 500,
    *,
    kind: str = "doses",
    seed: int = 1,
    missing: float = 0.0,
    clusters: int | None = None,
    by: float = 1.0,
) -> TreatmentPaths:
    """n units (``kind`` of `invented_paths.treatment_paths`), parallel trends; ``clusters`` share a
    path and period effects."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(n) if clusters is None else rng.integers(0, clusters, n)
    status = treatment_paths(int(cluster.max()) + 1, kind, rng)
    y = path_outcomes(status[cluster], rng, by=by)
    if clusters is not None:
        y += rng.standard_normal((status.shape[0], y.shape[1]))[cluster]
    lost = rng.random(y.shape) < missing
    y[lost] = np.nan
    own = status[cluster].copy()
    own[lost] = np.nan
    frame = make_rollout(n, seed=seed)
    return paths_of(
        own,
        **{
            **fields_of(frame),
            "outcomes": y[:, :, None],
            "periods": np.arange(1, y.shape[1] + 1),
            "cluster": cluster,
            "covariates": np.zeros((n, 0)),
            "covariate_names": (),
        },
    )


def true_path_effects(design: TreatmentPaths) -> tuple[dict[int, float], float]:
    """Mean effect by event time over all switchers (more treatment counted as positive), and the sum of
    effects per unit of treatment, given that every one of them has a comparison."""
    gap = design.status - design.baseline[:, None]
    periods = gap.shape[1]
    effect = np.zeros_like(gap)
    for lag, size in enumerate(LAGS):
        effect[:, lag:] += size * gap[:, : periods - lag]
    event = design.periods[None, :] - design.first[:, None]
    sign = np.sign(np.where(event == 0, gap, 0)).sum(axis=1)
    weight = np.broadcast_to(design.weight[:, None], gap.shape)
    by_event = {}
    for e in range(periods):
        at = event == e
        if at.any():
            by_event[e] = float(np.average((sign[:, None] * effect)[at], weights=weight[at]))
    after = event >= 0
    total = (weight * sign[:, None] * effect)[after].sum() / (weight * np.abs(gap))[after].sum()
    return by_event, float(total)


def make_doses(n: int = 500, *, seed: int = 1, **options: float) -> DosedRollout:
    """The roll-out of `make_rollout` with doses from 0.5 to 3.5 and the effects of `dose_effect`."""
    plain = make_rollout(n, seed=seed, **options)  # type: ignore[arg-type]
    on = plain.periods >= plain.first[:, None]
    dose = np.random.default_rng(seed + 1000).uniform(0.5, 3.5, n)
    dose = np.where(np.isfinite(plain.first), dose, 0.0)
    old = np.array([[effect(g, t) for t in PERIODS] for g in plain.first])
    event = np.where(on, plain.periods - plain.first[:, None], 0.0)
    y = plain.outcomes[:, :, 0] - old + np.where(on, dose_effect(dose[:, None], event), 0.0)
    return DosedRollout(**{**fields_of(plain), "outcomes": y[:, :, None]}, dose=dose)


def part_effect(event: np.ndarray) -> np.ndarray:
    """What taking part does, so many periods after the programme came."""
    return np.where(event >= 0, 2.0 + 0.5 * event, 0.0)


def make_intensity(
    n: int = 500, *, offices: int | None = None, seed: int = 1, part: float = -0.5
) -> IntensityRollout:
    """Persons in offices that a programme reaches in period 4, 6 or never; who takes part hangs on two
    things known before, and so does the trend. The programme's coming costs everybody 0.2.

    ``offices`` are clusters with shocks of their own by period (left out: every person is one).
    """
    rng = np.random.default_rng(seed)
    cluster = np.arange(n) if offices is None else rng.integers(0, offices, n)
    count = int(cluster.max()) + 1
    first = COHORTS[rng.permutation(np.arange(count) % 3)][cluster]
    x = rng.standard_normal((n, 2))
    likely = 1 / (1 + np.exp(-(part + 0.9 * x[:, 0] - 0.6 * x[:, 1])))
    on = np.isfinite(first)
    took = np.where(on, (rng.random(n) < likely).astype(float), np.nan)
    event = np.where(on[:, None], PERIODS - np.where(on, first, 0.0)[:, None], -1.0)
    y = rng.standard_normal((n, 1)) + 0.3 * PERIODS * likely[:, None] - 0.2 * (event >= 0)
    y = y + rng.standard_normal((n, PERIODS.size))
    y += part_effect(event) * np.nan_to_num(took)[:, None]
    if offices is not None:
        y += 0.3 * rng.standard_normal((count, PERIODS.size))[cluster]
    frame = make_rollout(n, seed=seed)
    base = {**fields_of(frame), "outcomes": y[:, :, None], "first": first, "cluster": cluster}
    base |= {"covariates": np.zeros((n, 0)), "covariate_names": ()}
    return IntensityRollout(**base, predictors=x, predictor_names=("x0", "x1"), participation=took)
