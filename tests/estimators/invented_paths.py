"""Treatments invented for tests that end, come back or take several values. Needs numpy alone."""

from __future__ import annotations

import numpy as np

PERIODS = np.arange(1, 10)
#: Effect of one unit of treatment by periods since it was received.
LAGS = np.array([0.5, 0.3, 0.2, 0.1])


def treatment_paths(n: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """[n, T] treatment: ``once`` (0 to 1 or 1 to 0, for good), ``spells`` (0/1, may end and come back),
    ``doses`` (0 to 3, changes once or twice, may cross where it started)."""
    status = np.zeros((n, PERIODS.size))
    start = rng.integers(2, PERIODS.size + 5, n)  # beyond the panel: never
    if kind == "doses":
        base = rng.choice([0.0, 1.0], n, p=[0.7, 0.3])
        step = rng.choice([-1.0, 1.0, 2.0], n, p=[0.25, 0.5, 0.25])
        first = np.where(base == 0, np.abs(step), step)
        second = rng.choice([0.0, 1.0, -1.0], n, p=[0.6, 0.2, 0.2])
    else:
        base = rng.choice([0.0, 1.0], n, p=[0.7, 0.3])
        first = 1 - 2 * base
        second = np.zeros(n) if kind == "once" else -first * (rng.random(n) < 0.5)
    again = start + rng.integers(1, 4, n)
    for t, period in enumerate(PERIODS):
        status[:, t] = base + first * (period >= start) + second * (period >= again)
    return np.clip(status, 0, 3) if kind == "doses" else status


def path_outcomes(status: np.ndarray, rng: np.random.Generator, *, by: float = 1.0) -> np.ndarray:
    """[n, T] unit and period effects, noise, and what treatment does for four periods (times ``by``)."""
    n, periods = status.shape
    y = rng.standard_normal((n, 1)) + 0.1 * np.arange(periods) + rng.standard_normal((n, periods))
    for lag, size in enumerate(LAGS):
        held = np.concatenate([np.repeat(status[:, :1], lag, axis=1), status], axis=1)
        y += by * size * held[:, :periods]
    return y


def long_columns(kind: str, n: int = 240, seed: int = 7) -> dict[str, np.ndarray]:
    """Columns of a long file: unit, period, treatment, outcome, and a covariate that varies."""
    rng = np.random.default_rng(seed)
    status = treatment_paths(n, kind, rng)
    y = path_outcomes(status, rng)
    x = np.cumsum(rng.standard_normal(status.shape), axis=1)
    y += 0.4 * x
    unit, t = np.divmod(np.arange(status.size), PERIODS.size)
    columns = {"unit": unit, "period": PERIODS[t], "treatment": status.ravel()}
    return columns | {"outcome": y.ravel(), "x": x.ravel()}
