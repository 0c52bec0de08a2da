"""Newton's method in a trust region: all parameters at once, whatever the curvature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.duration.mixture.hazards import Hazards, hazards
from tiltakeval.estimators.duration.mixture.likelihood import (
    Evaluation,
    Mixing,
    evaluate,
    log_likelihood,
)
from tiltakeval.estimators.duration.mixture.panel import Panel

Floats = NDArray[np.float64]
#: A coefficient (per standard deviation, or of a 0/1 column) beyond this means no maximum exists.
COEFFICIENT_LIMIT = 25.0
LARGEST_STEP = 4.0
#: With more coefficients, their own block of the Hessian, which changes little, serves three steps.
MANY_COEFFICIENTS = 40
#: A whole Newton step promises no less than this fraction of all there is to gain.
HOPE = 10.0


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Coefficients (in ``at.beta``) and mixing distribution with their log-likelihood.

    ``converged``: no step promised more than the tolerance. ``gradient_norm`` is the largest absolute
    derivative by a free parameter, ``certificate`` the largest directional derivative found (None
    where it wasn't looked for). ``abandoned``: the search for its maximum was given up.
    """

    at: Hazards
    mixing: Mixing
    loglik: float
    gradient_norm: float = np.inf
    certificate: float | None = None
    converged: bool = False
    abandoned: bool = False

    @property
    def points(self) -> int:
        """Number of mass points."""
        return self.mixing.points


def free_parameters(panel: Panel, mixing: Mixing) -> NDArray[np.int64]:
    """Positions of the free parameters: all but mass points at a hazard of zero or at the top."""
    coefficients = np.ones(panel.coefficients, dtype=bool)
    logits = np.full(mixing.points, mixing.points > 1)
    return np.flatnonzero(np.concatenate([coefficients, mixing.free.ravel(), logits]))


def moved(panel: Panel, fit: Fit, step: Floats) -> tuple[Floats, Mixing]:
    """Coefficients [K, p] and mixing distribution after a step [q] in all parameters."""
    size = panel.coefficients
    beta = fit.at.beta.copy()
    beta[panel.active] += step[:size]
    old = fit.mixing
    mu = old.mu + np.where(old.free, step[size : size + old.mu.size].reshape(old.mu.shape), 0.0)
    with np.errstate(divide="ignore"):
        logits = np.log(old.p) + step[size + old.mu.size :]
    p = np.exp(logits - logits.max())
    return beta, old.changed(mu, p / p.sum())


def maximise(
    panel: Panel,
    fit: Fit,
    *,
    tolerance: float = 1e-9,
    rounds: int = 60,
    fixed_coefficients: bool = False,
    polish: bool = False,
    beat: float = -np.inf,
) -> Fit:
    """The local maximum near ``fit``. Stops when a further step promises less than ``tolerance``.

    ``polish`` goes on with plain Newton steps until the gradient can't be made smaller: a point of
    tiny probability moves the log-likelihood by less than its rounding error. Gives up where the maximum
    near by is seen to stay below ``beat``. Raises InputError when a coefficient runs away.
    """
    radius = 1.0
    fit = replace(fit, converged=False)

    def evaluated(fit: Fit, curvature: Floats | None = None) -> Evaluation:
        free = not fixed_coefficients
        wanted: dict[str, Any] = {"coefficients": free, "precise": False, "curvature": curvature}
        return evaluate(panel, fit.at, fit.mixing, **wanted)

    done = evaluated(fit)
    many = panel.coefficients > MANY_COEFFICIENTS and not fixed_coefficients
    for number in range(rounds):
        free = free_parameters(panel, fit.mixing)
        if fixed_coefficients:
            free = free[free >= panel.coefficients]
        gradient = done.gradient[free]
        fit = replace(fit, loglik=done.loglik, gradient_norm=float(np.abs(gradient).max(initial=0)))
        values, vectors = np.linalg.eigh(-done.hessian[np.ix_(free, free)])
        along = vectors.T @ gradient
        accepted = False
        while not accepted:
            coordinates, promised = _step(values, along, radius)
            near = values[0] > 0 and np.linalg.norm(coordinates) < 0.9 * radius
            if near and done.loglik + HOPE * promised < beat:
                return replace(fit, abandoned=True)
            if promised < tolerance:
                fit = replace(fit, converged=True)
                return _polished(panel, fit, done) if polish else fit
            step = np.zeros(done.gradient.size)
            step[free] = vectors @ coordinates
            beta, mixing = moved(panel, fit, step)
            at = fit.at if fixed_coefficients else hazards(panel, beta)
            loglik = log_likelihood(panel, at, mixing)
            gain = loglik - fit.loglik if np.isfinite(loglik) else -np.inf
            ratio = gain / promised
            length = float(np.linalg.norm(coordinates))
            if ratio < 0.25:
                radius = length / 4
            elif ratio > 0.75 and length > 0.9 * radius:
                radius = min(2 * radius, LARGEST_STEP)
            # a point that meets its bound gains less than promised, and stays there from now on
            met = not np.array_equal(mixing.free, fit.mixing.free)
            accepted = ratio > 1e-3 or (met and gain > 0)
            if not accepted and radius < 1e-7:
                return _polished(panel, fit, done) if polish else fit
        _refuse_runaway(panel, beta)
        fit = replace(fit, at=at, mixing=mixing, loglik=loglik, certificate=None)
        size = panel.coefficients
        old = done.hessian[:size, :size] if many and ratio > 0.5 and number % 3 != 2 else None
        done = evaluated(fit, old)
    return replace(fit, loglik=done.loglik, gradient_norm=_norm(panel, fit.mixing, done))


def _polished(panel: Panel, fit: Fit, done: Evaluation) -> Fit:
    """Plain Newton steps while they bring every derivative, relative to its point, nearer zero."""
    residual = _residual(panel, fit.mixing, done)
    for _ in range(12):
        if residual < 1e-6:
            break
        free = free_parameters(panel, fit.mixing)
        matrix = -done.hessian[np.ix_(free, free)]
        scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
        values, vectors = np.linalg.eigh(matrix * scale * scale[:, None])
        if values[:-1].size and values[1:].min(initial=1.0) < -1e-6:
            break
        along = vectors.T @ (scale * done.gradient[free])
        usable = values > 1e-11
        step = np.zeros(done.gradient.size)
        step[free] = scale * (vectors[:, usable] @ (along[usable] / values[usable]))
        if np.abs(step).max() > 1.0:
            break
        beta, mixing = moved(panel, fit, step)
        at = hazards(panel, beta)
        next_done = evaluate(panel, at, mixing)
        next_residual = _residual(panel, mixing, next_done)
        if not next_residual < residual or next_done.loglik < fit.loglik - 1e-6:
            break
        done, residual = next_done, next_residual
        fit = replace(fit, at=at, mixing=mixing, loglik=done.loglik)
    return replace(fit, gradient_norm=_norm(panel, fit.mixing, done))


def _residual(panel: Panel, mixing: Mixing, done: Evaluation) -> float:
    """Largest derivative by a free parameter, those of a point divided by its probability."""
    size = panel.coefficients
    c = mixing.mu.shape[0]
    share = np.concatenate([np.ones(size), np.tile(mixing.p, c + 1)])
    free = free_parameters(panel, mixing)
    return float(np.abs(done.gradient[free] / share[free]).max(initial=0.0))


def _norm(panel: Panel, mixing: Mixing, done: Evaluation) -> float:
    return float(np.abs(done.gradient[free_parameters(panel, mixing)]).max(initial=0.0))


def _step(values: Floats, along: Floats, radius: float) -> tuple[Floats, float]:
    """The step within ``radius`` that gains most on the quadratic model, and that gain.

    ``values`` are eigenvalues of minus the Hessian, ``along`` the gradient in its eigenvectors.
    """
    lowest = float(values.min())
    scale = max(float(np.abs(values).max()), 1e-300)
    floor = max(0.0, -lowest) + 1e-13 * scale

    def step(shift: float) -> Floats:
        return along / (values + shift)

    shift = floor
    if np.linalg.norm(step(shift)) > radius:
        low, high = shift, max(2 * shift, 1e-10 * scale)
        while np.linalg.norm(step(high)) > radius:
            low, high = high, 8 * high
        for _ in range(40):
            shift = np.sqrt(low * high)
            if np.linalg.norm(step(shift)) > radius:
                low = shift
            else:
                high = shift
            if high < 1.02 * low:
                break
        shift = high
    found = step(shift)
    return found, float(found @ along - 0.5 * (values * found**2).sum())


def _refuse_runaway(panel: Panel, beta: Floats) -> None:
    far = np.abs(beta) > COEFFICIENT_LIMIT
    if far.any():
        t, k = np.argwhere(far)[0]
        raise InputError(
            "the coefficient grows without limit: the column separates those with this "
            "transition from those without, or few there have it",
            where=f"{panel.names[k]}, transition {panel.transitions[t]}",
            remedy="Leave the column out, or merge it with another.",
        )
