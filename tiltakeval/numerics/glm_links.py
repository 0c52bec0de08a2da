"""Likelihood of one cell, as a function of its log hazard, for three discrete-time and exact hazards.

A cell holds n trials (or a time at risk T), of which e end in the event. With eta = log hazard and
lambda = exp(eta):

    logit        mu = lambda / (1 + lambda);     e eta - n log(1 + lambda)
    cloglog      mu = 1 - exp(-lambda);          e log(1 - exp(-lambda)) - (n - e) lambda
    exponential  hazard lambda per unit of time; e eta - T lambda

Binomial terms are those of single rows (no binomial coefficient) and the exponential's those of exact
times, so that collapsing rows to cells leaves the log-likelihood as it is (Jenkins 1995; Holford 1980).
The score of a row is linear in what it counts: dl/deta = e * a + n * b.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import unknown

Floats = NDArray[np.float64]

LINKS = ("logit", "cloglog", "exponential")
#: Largest log hazard that is told apart from certainty.
_TOP = 30.0


@dataclass(frozen=True)
class CellScore:
    """Per cell [M]: log-likelihood ``value``, minus its second derivative ``curve``, and the row
    scores ``a`` (of an event) and ``b`` (of a trial, or a unit of time at risk)."""

    value: Floats
    curve: Floats
    a: Floats
    b: Floats


def cell_score(link: str, eta: Floats, trials: Floats, events: Floats) -> CellScore:
    """The cell's terms under ``link``. Raises InputError for an unknown link."""
    if link == "logit":
        return _logit(eta, trials, events)
    if link == "cloglog":
        return _cloglog(eta, trials, events)
    if link == "exponential":
        rate = np.exp(np.minimum(eta, _TOP))
        at = trials * rate
        return CellScore(events * eta - at, at, np.ones_like(eta), -rate)
    raise unknown("hazard model", link, LINKS, where="model")


def _logit(eta: Floats, trials: Floats, events: Floats) -> CellScore:
    mu = 1.0 / (1.0 + np.exp(-np.clip(eta, -700.0, 700.0)))
    value = events * eta - trials * np.logaddexp(0.0, eta)
    return CellScore(value, trials * mu * (1.0 - mu), np.ones_like(eta), -mu)


def _cloglog(eta: Floats, trials: Floats, events: Floats) -> CellScore:
    rate = np.exp(np.clip(eta, -700.0, np.log(_TOP) + 3.0))
    # ratio = lambda / (exp(lambda) - 1), 1 - lambda/2 near zero
    ratio = np.where(rate > 1e-8, rate / np.maximum(np.expm1(rate), 1e-300), 1.0 - rate / 2)
    happened = np.where(events > 0, events * np.log(np.maximum(-np.expm1(-rate), 1e-300)), 0.0)
    stayed = trials - events
    slope = np.where(rate > 1e-4, ratio * (1.0 - ratio - rate), -rate / 2 + rate**2 / 6)
    curve = stayed * rate - events * slope
    return CellScore(happened - stayed * rate, curve, ratio + rate, -rate)


@dataclass(frozen=True)
class SharedScore:
    """Per cell, J exits sharing one interval: ``value`` [M], ``curve`` [M, J, J] (minus the second
    derivative), and row scores [M, J]: ``a`` of exit j itself, ``d`` of any exit, ``b`` of a trial."""

    value: Floats
    curve: Floats
    a: Floats
    d: Floats
    b: Floats


def shared_score(eta: Floats, possible: NDArray, trials: Floats, events: Floats) -> SharedScore:
    """Several exits in an interval of constant hazards, seen only at its end.

    P(no exit) = exp(-H), P(exit j) = h_j / H (1 - exp(-H)), H the sum of the h_j = exp(eta_j) possible
    in the cell (``possible`` [M, J]). With one exit this is cloglog. ``eta``, ``events`` are [M, J],
    ``trials`` [M].
    """
    hazard = np.where(possible, np.exp(np.clip(eta, -700.0, np.log(_TOP) + 3.0)), 0.0)
    total = hazard.sum(axis=1)
    safe = np.maximum(total, 1e-300)
    happened = events.sum(axis=1)
    stayed = trials - happened
    small = total < 1e-4
    grown = np.maximum(np.expm1(total), 1e-300)
    # phi = log((1 - exp(-H)) / H) with its first two derivatives
    phi = np.where(
        small, -total / 2 + total**2 / 24, np.log(np.maximum(-np.expm1(-total), 1e-300) / safe)
    )
    one = np.where(small, -0.5 + total / 12, 1.0 / grown - 1.0 / safe)
    two = np.where(small, 1.0 / 12 - total**2 / 240, 1.0 / safe**2 - (grown + 1.0) / grown**2)
    own = np.where(possible, events * eta, 0.0).sum(axis=1)
    slope = happened * one - stayed
    curve = -(happened * two)[:, None, None] * hazard[:, :, None] * hazard[:, None, :]
    at = np.arange(hazard.shape[1])
    curve[:, at, at] -= hazard * slope[:, None]
    return SharedScore(
        value=own + happened * phi - stayed * total,
        curve=curve,
        a=possible.astype(np.float64),
        d=hazard * (1.0 + one)[:, None],
        b=-hazard,
    )
