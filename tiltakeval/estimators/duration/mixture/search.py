"""The search for the best mixing distribution: rounds of new points, then all parameters at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.directions import Box, Maxima, box_of, maxima
from tiltakeval.estimators.duration.mixture.hazards import hazards
from tiltakeval.estimators.duration.mixture.likelihood import Mixing, log_likelihood
from tiltakeval.estimators.duration.mixture.newton import MANY_COEFFICIENTS, Fit, maximise
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.duration.mixture.tidy import tidied
from tiltakeval.estimators.duration.mixture.weights import best_weights

Floats = NDArray[np.float64]
Progress = Callable[[str, Fit], None]
#: New points a round.
MOST_NEW = 6
#: Newton steps before looking again for points: two points on their way to one take very many.
PATIENCE = 12


def one_point(panel: Panel) -> tuple[Fit, Box]:
    """No heterogeneity: one mass point, all coefficients; and the box for the mass points."""
    at = hazards(panel, np.zeros(panel.active.shape))
    unbounded = np.full(panel.channels, np.inf)
    mixing = Mixing(mu=box_of(panel, at).middle[:, None], p=np.ones(1), top=unbounded)
    fit = Fit(at=at, mixing=mixing, loglik=log_likelihood(panel, at, mixing))
    fit = maximise(panel, fit, polish=True)
    box = box_of(panel, fit.at)
    return replace(fit, mixing=replace(fit.mixing, top=box.high)), box


def with_points(panel: Panel, fit: Fit, new: Floats) -> Fit:
    """The fit with further points [C, m] and the best probabilities for its coefficients."""
    mu = np.concatenate([fit.mixing.mu, new], axis=1)
    if panel.conditional:
        return _with_best_share(panel, fit, new)
    share = 1e-3
    start = np.concatenate(
        [fit.mixing.p * (1 - share), np.full(new.shape[1], share / new.shape[1])]
    )
    mixing = best_weights(panel, fit.at, fit.mixing.changed(mu, start))
    loglik = log_likelihood(panel, fit.at, mixing)
    if loglik < fit.loglik:
        return _with_best_share(panel, fit, new)
    return replace(fit, mixing=mixing, loglik=loglik)


def _with_best_share(panel: Panel, fit: Fit, new: Floats) -> Fit:
    """The fit with the new points at the share, of a few, that is most likely."""
    mu = np.concatenate([fit.mixing.mu, new], axis=1)
    best = fit
    for share in (0.2, 0.1, 0.05, 0.02, 0.01, 3e-3, 1e-3, 1e-4):
        p = np.concatenate(
            [fit.mixing.p * (1 - share), np.full(new.shape[1], share / new.shape[1])]
        )
        mixing = fit.mixing.changed(mu, p)
        loglik = log_likelihood(panel, fit.at, mixing)
        if loglik > best.loglik:
            best = replace(fit, mixing=mixing, loglik=loglik)
    return best


def full_solution(
    panel: Panel,
    fit: Fit,
    box: Box,
    *,
    tolerance: float = 1e-4,
    rounds: int = 60,
    most_points: int = 60,
    known: Fit | None = None,
    progress: Progress | None = None,
) -> Fit:
    """From ``fit`` to where no mass point would raise the log-likelihood by more than ``tolerance``.

    Each round: all local maxima of the directional derivative become points (the best ``MOST_NEW``),
    probabilities are found for fixed coefficients, then everything moves by Newton's method. Ends
    with ``certificate``, the largest directional derivative. Stops early where it arrives at ``known``.
    """
    best, idle = fit, 0
    for number in range(rounds):
        found = maxima(panel, fit.at, fit.mixing, box)
        fit = replace(fit, certificate=found.largest)
        if progress is not None:
            progress("search", fit)
        idle = 0 if fit.loglik > best.loglik + 1e-9 or number == 0 else idle + 1
        if fit.loglik >= best.loglik - 1e-7:
            best = fit
        if known is not None and _arrived(panel, fit, known):
            return known
        if found.largest < tolerance or fit.points >= most_points or idle == 4:
            break
        new = _chosen(fit, found, tolerance)
        start = with_points(panel, fit, new)
        precise = found.largest < 1.0 or idle > 0
        fit = tidied(panel, start, box)
        accuracy = 1e-9 if precise else 1e-2 * min(1.0, found.largest / 10)
        many = panel.coefficients > MANY_COEFFICIENTS
        if many:
            # steps in the mass points alone are cheap, and leave fewer to be taken in everything
            fit = maximise(panel, fit, tolerance=accuracy, rounds=PATIENCE, fixed_coefficients=True)
        if not many or number < 2 or number % 4 == 3 or found.largest < 2.0:
            steps = 4 if many and number > 0 else PATIENCE
            fit = maximise(panel, fit, tolerance=accuracy, rounds=steps, polish=precise)
        fit = tidied(panel, fit, box)
    return best


def _arrived(panel: Panel, fit: Fit, known: Fit) -> bool:
    """Whether a search is about to end where another did: nearly its likelihood and coefficients."""
    gap = np.abs(fit.at.beta - known.at.beta).max(initial=0.0)
    return bool(gap < 0.02 and known.loglik - 1.0 < fit.loglik <= known.loglik)


def _chosen(fit: Fit, found: Maxima, tolerance: float) -> Floats:
    """[C, m] the local maxima worth a point."""
    good = found.value > max(tolerance / 2, 1e-3 * found.largest)
    return found.mu[:, good][:, :MOST_NEW]
