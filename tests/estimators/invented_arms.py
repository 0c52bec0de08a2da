"""Invented units with several arms and effects that differ, for the tests of heterogeneity."""

from __future__ import annotations

from typing import Any

import numpy as np

from tiltakeval.design.cross_section import CrossSection, Subgroup

NAMES = ("x0", "x1", "g", "h")


def effects(x: np.ndarray, *, varied: bool = True) -> np.ndarray:
    """[n, 2] true effects of the two programmes."""
    if not varied:
        return np.tile([1.0, 0.5], (len(x), 1))
    return np.column_stack([1.0 + x[:, 2], 0.5 + 0.8 * x[:, 0]])


def make_arms(
    n: int = 800, *, seed: int = 0, varied: bool = True, noise: float = 1.0, **changes: Any
) -> CrossSection:
    """Three arms; effects vary by subgroup g (first programme) and x0 (second); h goes with g."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    x[:, 2] = rng.random(n) < 0.5
    x[:, 3] = rng.random(n) < np.where(x[:, 2] > 0, 0.8, 0.2)
    eta = np.column_stack([np.zeros(n), -0.3 + 0.5 * x[:, 0], -0.3 - 0.5 * x[:, 1]])
    p = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    arm = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    tau = np.column_stack([np.zeros(n), effects(x, varied=varied)])
    y = x[:, 0] + 0.5 * x[:, 1] + x[:, 2] + tau[np.arange(n), arm] + noise * rng.standard_normal(n)
    fields: dict[str, Any] = {
        "arms": ("none", "aft", "amo"),
        "arm": arm.astype(np.int64),
        "eligible": np.ones((n, 3), dtype=bool),
        "weight": np.ones(n),
        "person": np.arange(n),
        "covariates": x,
        "covariate_names": NAMES,
        "outcomes": y.astype(np.float32)[:, None, None],
        "outcome_names": ("months",),
        "units": ("months",),
        "horizons": (24,),
        "population": "invented",
        "estimand": "now_vs_wait",
        "time_origin": "vedtak",
        "subgroups": {
            name: Subgroup(levels=("no", "yes"), codes=x[:, j].astype(np.int16))
            for name, j in (("g", 2), ("h", 3))
        },
    }
    return CrossSection(**{**fields, **changes})
