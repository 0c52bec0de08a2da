"""A fit on disk as JSON, in the units of the data: to start from, or to compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.duration.mixture.directions import Box
from tiltakeval.estimators.duration.mixture.hazards import hazards
from tiltakeval.estimators.duration.mixture.likelihood import ZERO, Mixing, log_likelihood
from tiltakeval.estimators.duration.mixture.newton import Fit
from tiltakeval.estimators.duration.mixture.panel import Panel

Floats = NDArray[np.float64]
FORMAT = 1


def shift(panel: Panel, beta: Floats) -> Floats:
    """[C] what log mass points lose when covariates are taken as they are, not centred."""
    return ((beta / panel.scale) @ panel.centre)[panel.transition]


def plain(panel: Panel, fit: Fit) -> dict[str, Any]:
    """Coefficients and mass points in the data's units, JSON-ready; a hazard of zero is null."""
    beta, mixing = fit.at.beta / panel.scale, fit.mixing
    mu = mixing.mu - shift(panel, fit.at.beta)[:, None]
    order = np.argsort(-mixing.p, kind="stable")
    return {
        "format": FORMAT,
        "log_likelihood": fit.loglik,
        "points": fit.points,
        "coefficients": {
            name: {panel.names[k]: float(beta[t, k]) for k in np.flatnonzero(panel.active[t])}
            for t, name in enumerate(panel.transitions)
        },
        "distribution": [
            {
                "probability": float(mixing.p[j]),
                "log_hazard": {
                    name: None if mixing.mu[c, j] <= ZERO else float(mu[c, j])
                    for c, name in enumerate(panel.channel_names)
                },
            }
            for j in order
        ],
    }


def save(path: Path, content: dict[str, Any]) -> None:
    """Write what ``plain`` gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")


def restored(path: Path, panel: Panel, box: Box) -> Fit:
    """The saved fit on this panel. Raises InputError when it isn't there or is of another model."""
    if not path.is_file():
        raise InputError("no such saved fit", where=f"restart, {path.name}")
    try:
        stored = json.loads(path.read_text("utf-8"))
        beta = np.zeros(panel.active.shape)
        for t, name in enumerate(panel.transitions):
            for k in np.flatnonzero(panel.active[t]):
                beta[t, k] = stored["coefficients"][name][panel.names[k]] * panel.scale[k]
        points = stored["distribution"]
        p = np.array([float(point["probability"]) for point in points])
        mu = np.array(
            [
                [
                    ZERO if (value := point["log_hazard"][name]) is None else float(value)
                    for point in points
                ]
                for name in panel.channel_names
            ]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the saved fit is of another model, or not a fit ({type(error).__name__}: {error})",
            where=f"restart, {path.name}",
            remedy="Restart from a fit with the same transitions, covariates and options.",
        ) from None
    if not p.size or (p <= 0).any() or not np.isfinite(p).all():
        raise InputError("the saved fit has no probabilities", where=f"restart, {path.name}")
    mu = np.where(mu > ZERO, mu + shift(panel, beta)[:, None], ZERO)
    mu = np.minimum(mu, box.high[:, None])
    at = hazards(panel, beta)
    mixing = Mixing(mu=np.ascontiguousarray(mu), p=p / p.sum(), top=box.high)
    loglik = log_likelihood(panel, at, mixing)
    if not np.isfinite(loglik):
        raise InputError("the saved fit doesn't suit these data", where=f"restart, {path.name}")
    return Fit(at=at, mixing=mixing, loglik=loglik)
