"""Simplify a mixing distribution without loss: points at zero hazard, doubles, empty points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.directions import Box
from tiltakeval.estimators.duration.mixture.likelihood import ZERO, Mixing, log_likelihood
from tiltakeval.estimators.duration.mixture.newton import Fit
from tiltakeval.estimators.duration.mixture.panel import Panel

Floats = NDArray[np.float64]
#: Hazards below the mean hazard times this are tried at zero.
NEAR_ZERO = 3e-3
#: Points closer than this in every log hazard are tried as one.
CLOSE = 0.05
EMPTY = 1e-8


def tidied(panel: Panel, fit: Fit, box: Box, *, loss: float = 1e-9) -> Fit:
    """The fit with every simplification that costs at most ``loss`` of log-likelihood."""
    return _merged(panel, snapped(panel, fit, box, loss=loss), box, loss)


def snapped(panel: Panel, fit: Fit, box: Box, *, loss: float = 1e-9) -> Fit:
    """The fit with small hazards at zero where that costs at most ``loss``; as many points."""
    fit = inside(panel, fit, box)
    for trial in _simpler(fit.mixing, box):
        fit = _taken(panel, fit, trial, loss)
    return fit


def inside(panel: Panel, fit: Fit, box: Box) -> Fit:
    """The fit with points below the box at a hazard of zero."""
    mu = np.where(fit.mixing.mu < box.low[:, None], ZERO, fit.mixing.mu)
    if np.array_equal(mu, fit.mixing.mu):
        return fit
    mixing = fit.mixing.changed(mu, fit.mixing.p)
    return replace(fit, mixing=mixing, loglik=log_likelihood(panel, fit.at, mixing))


def _taken(panel: Panel, fit: Fit, mixing: Mixing, loss: float) -> Fit:
    """The fit with ``mixing`` where it is simpler still and as likely."""
    if mixing.mu.shape != fit.mixing.mu.shape:
        return fit
    loglik = log_likelihood(panel, fit.at, mixing)
    return replace(fit, mixing=mixing, loglik=loglik) if loglik >= fit.loglik - loss else fit


def _simpler(mixing: Mixing, box: Box) -> list[Mixing]:
    """The distribution with all its small hazards at zero."""
    small = mixing.free & (mixing.v < NEAR_ZERO * np.exp(box.middle)[:, None])
    if not small.any():
        return []
    return [mixing.changed(np.where(small, ZERO, mixing.mu), mixing.p)]


def without(mixing: Mixing, j: int) -> Mixing:
    """The distribution less point j, its probability shared out in proportion."""
    keep = np.arange(mixing.points) != j
    p = mixing.p[keep]
    return mixing.changed(np.ascontiguousarray(mixing.mu[:, keep]), p / p.sum())


def joined(mixing: Mixing, j: int, k: int) -> Mixing:
    """The distribution with points j and k as one at their mean hazard."""
    share = mixing.p[[j, k]] / mixing.p[[j, k]].sum()
    with np.errstate(divide="ignore"):
        log_mean = np.log(mixing.v[:, [j, k]] @ share)
    both = (mixing.mu[:, j] <= ZERO) & (mixing.mu[:, k] <= ZERO)
    mu = mixing.mu.copy()
    mu[:, j] = np.where(both, ZERO, np.maximum(log_mean, ZERO))
    p = mixing.p.copy()
    p[j] += p[k]
    return without(mixing.changed(mu, p), k)


def distance(mixing: Mixing, box: Box) -> Floats:
    """[J, J] largest difference between two points' hazards, in logs but flat near zero."""
    level = np.log(mixing.v + NEAR_ZERO * np.exp(box.middle)[:, None])
    return np.abs(level[:, :, None] - level[:, None, :]).max(axis=0)


def _merged(panel: Panel, fit: Fit, box: Box, loss: float) -> Fit:
    """Without empty points, and with points so close that one does as well joined."""
    for j in np.argsort(fit.mixing.p)[: max(0, fit.points - 1)][::-1]:
        if fit.mixing.p[j] < EMPTY and fit.points > 1:
            mixing = without(fit.mixing, int(j))
            fit = replace(fit, mixing=mixing, loglik=log_likelihood(panel, fit.at, mixing))
            return _merged(panel, fit, box, loss)
    if fit.points < 2:
        return fit
    apart = distance(fit.mixing, box) + np.diag(np.full(fit.points, np.inf))
    j, k = np.unravel_index(int(apart.argmin()), apart.shape)
    if apart[j, k] < CLOSE:
        mixing = joined(fit.mixing, int(j), int(k))
        loglik = log_likelihood(panel, fit.at, mixing)
        if loglik >= fit.loglik - loss:
            return _merged(panel, replace(fit, mixing=mixing, loglik=loglik), box, loss)
    return fit
