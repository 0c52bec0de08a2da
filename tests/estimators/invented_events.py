"""Event histories drawn from a known mixture of hazards: leaving, entering a programme, leaving it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

IN_EFFECT, POST_EFFECT = -0.6, 0.4
COLUMNS = {"id": "id", "start": "start", "stop": "stop", "event": "event"}
SETTINGS = {
    **COLUMNS,
    "exits": "1:job,2:programme",
    "covariates": "x1,x2",
    "programme": "taking_part,after",
}


def make_events(
    n: int = 1500,
    *,
    seed: int = 0,
    points: tuple[tuple[float, float], ...] = ((-2.6, -3.4), (-1.0, -2.0)),
    step: float = 0.0,
    step_at: float = 6.0,
    censor: float = 40.0,
    spread: float = 0.0,
) -> pd.DataFrame:
    """Rows with columns id, start, stop, event, x1, x2, taking_part, after and v (the mass point).

    Both hazards are exp(step) times as high from ``step_at`` on; the programme lasts 4 to 8. With
    ``spread``, half have an effect of taking part higher by that much and half lower.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    kind = rng.integers(0, len(points), n)
    mu = np.array(points)[kind]
    job = np.exp(mu[:, 0] + x @ [0.5, -0.5])
    entry = np.exp(mu[:, 1] + x @ [0.3, 0.3])
    length = rng.uniform(4.0, 8.0, n)
    more = spread * rng.choice([-1.0, 1.0], n)
    rows: list[tuple[float, ...]] = []
    for i in range(n):
        leave = _draw(rng, job[i], 0.0, step, step_at)
        start = _draw(rng, entry[i], 0.0, step, step_at)
        first = min(leave, start, censor)
        code = 0 if first == censor else (1 if leave < start else 2)
        rows.append((i, 0.0, first, code, *x[i], 0, 0, kind[i]))
        if code != 2:
            continue
        end = min(first + length[i], censor)
        leave = _draw(rng, job[i] * np.exp(IN_EFFECT + more[i]), first, step, step_at)
        rows.append((i, first, min(leave, end), int(leave < end), *x[i], 1, 0, kind[i]))
        if leave < end or end == censor:
            continue
        leave = _draw(rng, job[i] * np.exp(POST_EFFECT), end, step, step_at)
        rows.append((i, end, min(leave, censor), int(leave < censor), *x[i], 0, 1, kind[i]))
    names = ["id", "start", "stop", "event", "x1", "x2", "taking_part", "after", "v"]
    return pd.DataFrame(rows, columns=names)


def _draw(rng: np.random.Generator, rate: float, start: float, step: float, at: float) -> float:
    """A time after ``start`` with hazard ``rate``, exp(step) times that from ``at`` on."""
    left = rng.exponential() / rate
    if start < at:
        if left < at - start:
            return start + left
        return at + (left - (at - start)) / np.exp(step)
    return float(start + left / np.exp(step))


def numeric_gradient(f, theta: NDArray[np.float64], eps: float = 1e-5):  # type: ignore
    """Central differences of a function with numbers or arrays as values."""
    return np.array(
        [(f(theta + eps * e) - f(theta - eps * e)) / (2 * eps) for e in np.eye(theta.size)]
    )
