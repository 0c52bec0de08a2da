"""Roll-outs with doses invented for tests. Needs numpy alone."""

from __future__ import annotations

import numpy as np

PERIODS = np.arange(1, 8)


def dose_effect(dose: np.ndarray | float, event: np.ndarray | int) -> np.ndarray:
    """The true effect: concave in the dose, growing with time since the start."""
    return np.asarray((0.4 * dose - 0.05 * np.square(dose)) * (1 + 0.2 * np.asarray(event)))


def dosed_columns(n: int = 300, seed: int = 11, *, discrete: bool = False) -> dict[str, np.ndarray]:
    """Columns of a long file: unit, period, first (0 never), dose, outcome, a covariate."""
    rng = np.random.default_rng(seed)
    first = rng.choice([0, 4, 6], n, p=[0.4, 0.35, 0.25])
    drawn = rng.choice([1.0, 2.0, 3.0], n) if discrete else rng.uniform(0.5, 3.5, n)
    dose = np.where(first > 0, drawn, 0.0)
    x = rng.standard_normal(n)
    y = rng.standard_normal((n, 1)) + 0.3 * PERIODS + 0.1 * x[:, None] * PERIODS
    y = y + rng.standard_normal((n, PERIODS.size))
    event = PERIODS[None, :] - first[:, None]
    on = (first[:, None] > 0) & (event >= 0)
    y += np.where(on, dose_effect(dose[:, None], event), 0.0)
    unit, t = np.divmod(np.arange(y.size), PERIODS.size)
    columns = {"unit": unit, "period": PERIODS[t], "first": first[unit], "dose": dose[unit]}
    return columns | {"outcome": y.ravel(), "x": x[unit]}
