"""What is reported of a fit: coefficients in the data's units, and effects that vary, on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.newton import Fit
from tiltakeval.estimators.duration.mixture.panel import Panel

Floats = NDArray[np.float64]
#: Points with a hazard further (in logs) than this from the channel's mean don't enter an average
#: effect: their hazards are at the edge of what the data can tell.
CORE = 4.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """One number: the coefficient of ``name`` in ``transition``, or a varying effect's average.

    ``channels`` are (with the status, without it) for a varying effect, None for a coefficient.
    """

    name: str
    outcome: str
    transition: int
    column: int
    is_effect: bool
    channels: tuple[int, int] | None = None


def targets_of(panel: Panel) -> list[Target]:
    """Every coefficient and every varying effect, effects of programme statuses first."""
    found = []
    for t, outcome in enumerate(panel.transitions):
        for k in np.flatnonzero(panel.active[t]):
            name = panel.names[k]
            found.append(
                Target(
                    name=name,
                    outcome=outcome,
                    transition=t,
                    column=int(k),
                    is_effect=name in panel.programme,
                )
            )
    for c, label in enumerate(panel.channel_names):
        outcome, _, name = label.partition("|")
        if name:
            t = int(panel.transition[c])
            found.append(
                Target(
                    name=name,
                    outcome=outcome,
                    transition=t,
                    column=-1,
                    is_effect=True,
                    channels=(c, t),
                )
            )
    return sorted(found, key=lambda target: not target.is_effect)


def core(fit: Fit, channels: tuple[int, int]) -> NDArray[np.bool_]:
    """[J] points that enter an average effect: both hazards within e^CORE of their mean."""
    inside = np.ones(fit.points, dtype=bool)
    for c in channels:
        mean = np.log(fit.mixing.v[c] @ fit.mixing.p)
        inside &= np.abs(fit.mixing.mu[c] - mean) < CORE
    return inside


def values(panel: Panel, fit: Fit, targets: Sequence[Target]) -> Floats:
    """[k] the targets at a fit. An average effect is over the core points, NaN without any."""
    beta = fit.at.beta / panel.scale
    out = np.empty(len(targets))
    for i, target in enumerate(targets):
        if target.channels is None:
            out[i] = beta[target.transition, target.column]
            continue
        with_status, without = target.channels
        p = np.where(core(fit, target.channels), fit.mixing.p, 0.0)
        total = p.sum()
        gap = fit.mixing.mu[with_status] - fit.mixing.mu[without]
        out[i] = p @ gap / total if total > 0 else np.nan
    return out


def gradients(panel: Panel, fit: Fit, targets: Sequence[Target]) -> Floats:
    """[k, q] derivatives of the targets by all parameters (coefficients, mass points, logits)."""
    size = panel.coefficients
    c_count, j = fit.mixing.mu.shape
    position = np.full(panel.active.shape, -1)
    position[panel.active] = np.arange(size)
    out = np.zeros((len(targets), size + (c_count + 1) * j))
    for i, target in enumerate(targets):
        if target.channels is None:
            at = position[target.transition, target.column]
            out[i, at] = 1 / panel.scale[target.column]
            continue
        with_status, without = target.channels
        p = np.where(core(fit, target.channels), fit.mixing.p, 0.0)
        share = p / p.sum() if p.sum() > 0 else p
        gap = fit.mixing.mu[with_status] - fit.mixing.mu[without]
        out[i, size + with_status * j : size + (with_status + 1) * j] += share
        out[i, size + without * j : size + (without + 1) * j] -= share
        mean = share @ gap
        out[i, size + c_count * j :] = share * np.where(share > 0, gap - mean, 0.0)
    return out
