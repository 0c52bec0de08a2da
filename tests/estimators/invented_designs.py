"""Small invented designs with a known effect, for the tests of estimators and diagnostics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection, Subgroup
from tiltakeval.design.durations import Durations
from tiltakeval.design.event_history import EventHistory

EFFECTS = (0.0, 1.0, 0.5)
ARMS = ("none", "aft", "amo")


def make_design(
    n: int = 600,
    *,
    seed: int = 0,
    months: int = 3,
    arms: int = 3,
    recurring: bool = True,
    missing: bool = False,
    censored: bool = False,
    weighted: bool = False,
    restricted: bool = False,
    hidden: float = 0.0,
    **changes: Any,
) -> CrossSection:
    """Units with selection on two covariates; arm a shifts outcome 0 by EFFECTS[a], outcome 1 by -that.

    ``hidden`` lets an unseen trait move taking part, the outcome and the past. ``restricted`` bars a
    third of the units from the last arm. All covariates and effects are linear, so the effect on
    everyone is EFFECTS.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    x[:, 3] = x[:, 3] > 0.3
    u = rng.standard_normal(n)
    eligible = np.ones((n, arms), dtype=bool)
    if restricted:
        eligible[rng.random(n) < 1 / 3, arms - 1] = False
    eta = np.zeros((n, arms))
    for a in range(1, arms):
        eta[:, a] = -0.8 + 0.5 * x[:, 0] - 0.3 * x[:, 1] * (-1) ** a + hidden * u
    eta[~eligible] = -np.inf
    p = np.exp(eta)
    p /= p.sum(axis=1, keepdims=True)
    arm = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).astype(np.int16)
    effect = np.array(EFFECTS[:arms])[arm]
    base = x[:, 0] + 0.5 * x[:, 1] + hidden * u
    y = np.empty((n, months, 2), dtype=np.float32)
    for t in range(months):
        y[:, t, 0] = base + effect + rng.standard_normal(n)
        y[:, t, 1] = 3 - base - effect + rng.standard_normal(n)
    if missing:
        last = rng.integers(1, months + 2, n)
        for t in range(months):
            y[last <= t, t] = np.nan
    weights = None
    if censored:
        stop = rng.geometric(0.15, n)
        weights = np.ones((n, months, arms), dtype=np.float32)
        for t in range(months):
            weights[:, t] = np.where(stop > t, 1 / 0.85**t, 0.0)[:, None]
            weights[:, t, -1] *= 1.1
    placebo = (base[:, None, None] + rng.standard_normal((n, 2, 1))).astype(np.float32)
    fields: dict[str, Any] = {
        "arms": ARMS[:arms],
        "arm": arm,
        "eligible": eligible,
        "weight": rng.uniform(0.5, 2, n) if weighted else np.ones(n),
        "person": rng.integers(0, n // 2, n) if recurring else np.arange(n),
        "office": rng.integers(0, 40, n),
        "covariates": x,
        "covariate_names": ("x0", "x1", "x2", "x3"),
        "outcomes": y,
        "outcome_names": ("work", "benefit"),
        "units": ("share", "nok"),
        "horizons": tuple(range(months)),
        "placebo": placebo,
        "placebo_names": ("work",),
        "placebo_horizons": (-2, -1),
        "censor_weight": weights,
        "subgroups": {
            "g": Subgroup(levels=("a", "b"), codes=rng.integers(-1, 2, n).astype(np.int16))
        },
        "population": "invented",
        "estimand": "vs_no_programme" if censored else "now_vs_wait",
        "time_origin": "vedtak",
    }
    return CrossSection(**{**fields, **changes})


def make_durations(n: int = 300, *, seed: int = 0, late: bool = False) -> Durations:
    """Whole-number spells with two exits, ties, two arms and, when ``late``, late entry."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, n).astype(np.int16)
    duration = rng.geometric(0.15 + 0.1 * arm).astype(np.float64)
    event = rng.choice([0, 1, 2], n, p=[0.3, 0.4, 0.3]).astype(np.int16)
    entry: NDArray[np.float64] = np.zeros(n)
    if late:
        entry = np.minimum(rng.integers(0, 3, n), duration - 1).astype(np.float64)
    return Durations(
        duration=duration,
        event=event,
        event_names=("job", "education"),
        arm=arm,
        arms=("none", "aft"),
        weight=np.ones(n),
        person=np.arange(n),
        entry=entry,
        population="invented",
        subgroups={"g": Subgroup(levels=("a", "b"), codes=rng.integers(0, 2, n).astype(np.int16))},
    )


def make_history(n: int = 300, *, seed: int = 0) -> EventHistory:
    """Persons in and out of "aft", two exits and an entry, subgroups of whole persons."""
    rng = np.random.default_rng(seed)
    age, begins = rng.integers(0, 3, n), rng.integers(0, 9, n)
    length = rng.geometric(0.15, n) + 0.0
    rows = []
    for i in range(n):
        if begins[i] >= length[i]:
            rows.append((i, 0.0, length[i], rng.choice([0, 1, 2], p=[0.2, 0.5, 0.3]), age[i], 0))
            continue
        if begins[i] > 0:
            rows.append((i, 0.0, float(begins[i]), 3, age[i], 0))
        rows.append((i, float(begins[i]), length[i], rng.choice([0, 1, 2]), age[i], 1))
    person, start, stop, event, x, status = (np.array(column) for column in zip(*rows))
    enters = np.array([[True, True], [True, True], [True, False]])
    group = rng.integers(0, 2, n).astype(np.int16)[person]
    return EventHistory(
        person=person,
        start=start,
        stop=stop,
        event=event.astype(np.int16),
        transitions=("job", "out", "programme"),
        at_risk=np.column_stack([np.ones((person.size, 2), dtype=bool), status == 0]),
        covariates=np.column_stack([x, status]).astype(np.float64),
        covariate_names=("age", "aft"),
        enters=enters,
        programme=("aft",),
        weight=np.ones(person.size),
        cluster=person,
        subgroups={"g": Subgroup(levels=("a", "b"), codes=group)},
        population="invented",
    )
