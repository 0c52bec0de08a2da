"""Hazard regressions on cells: Newton's method with the exact Hessian.

A cell is a covariate code x time step with its trials (or time at risk) and events. Covariates are
stored once a code, whatever the number of cells and rows: products over cells are first summed to
codes, so a step costs (codes x p^2), not (rows x p^2). Columns are centred and scaled internally;
rows of ``x`` are visited in blocks with one BLAS thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tiltakeval.errors import InputError
from tiltakeval.numerics.glm_cells import HazardCells, Scaled, cross
from tiltakeval.numerics.glm_checks import refuse_hopeless
from tiltakeval.numerics.glm_links import SharedScore, cell_score, shared_score

Floats = NDArray[np.float64]

__all__ = ["HazardCells", "HazardFit", "Maximum", "fit_hazard", "fit_shared"]

MAX_STEPS = 60
#: Above this standard error of a standardised coefficient, its maximum lies at infinity.
_ENDLESS = 1e3


@dataclass(frozen=True)
class HazardFit:
    """``coef`` [steps + p]: log baseline by step (at x = 0), then covariates. Row scores in eta, per
    cell [M]: a row adds ``a`` (its event is this one) + ``d`` (any event) + ``b`` x trials."""

    coef: Floats
    a: Floats
    d: Floats
    b: Floats


@dataclass(frozen=True)
class Maximum:
    """Fits of the hazards that were maximised together, with the inverse of minus the Hessian of all
    their coefficients in order (``covariance``), and the largest element of the gradient left."""

    fits: tuple[HazardFit, ...]
    covariance: Floats
    log_likelihood: float
    iterations: int
    gradient: float


def fit_hazard(cells: HazardCells, link: str, *, tolerance: float = 1e-10) -> Maximum:
    """Maximum likelihood of one hazard under ``link`` (``glm_links.LINKS``).

    Raises InputError without events, with a step or a level without any, a constant or dependent
    covariate, or when the maximum lies at infinity (separation).
    """
    return _maximise([cells], link, tolerance)


def fit_shared(cells: Sequence[HazardCells], *, tolerance: float = 1e-10) -> Maximum:
    """Several exits of one interval together: P(exit j) = h_j / H (1 - exp(-H)).

    All ``cells`` list the same M cells, with ``trials`` 0 where the exit isn't possible. Raises
    InputError as ``fit_hazard``.
    """
    return _maximise(list(cells), "shared", tolerance)


def _maximise(cells: list[HazardCells], link: str, tolerance: float) -> Maximum:
    for one in cells:
        refuse_hopeless(one, link)
    with threadpool_limits(1, user_api="blas"):
        problem = _Problem([Scaled.of(one) for one in cells], link)
        beta = [part.null_start(link) for part in problem.parts]
        gradient, hessian, value = problem.derivatives(beta)
        _refuse_dependent(problem, hessian)
        done, iterations = False, 0
        while not done and iterations < MAX_STEPS:
            iterations += 1
            direction = _solve(hessian, gradient)
            decrement = 0.5 * float(gradient @ direction)
            done = decrement < tolerance
            beta, value, moved = _climb(problem, beta, direction, value)
            if not moved and not done:
                done = decrement < 1e-6
                if not done:
                    break
            gradient, hessian, value = problem.derivatives(beta)
        covariance = _inverse(hessian)
        _refuse_endless(problem, beta, covariance, settled=done)
        fits, covariance = problem.finish(beta, covariance)
    return Maximum(fits, covariance, value, iterations, float(np.abs(gradient).max()))


def _climb(
    problem: _Problem, beta: list[Floats], direction: Floats, value: float
) -> tuple[list[Floats], float, bool]:
    """The longest of 1, 1/2, 1/4, ... steps that doesn't lower the likelihood."""
    size = 1.0
    for _ in range(30):
        candidate = problem.moved(beta, size * direction)
        found = problem.value(candidate)
        if found >= value:
            return candidate, found, True
        size /= 2
    return beta, value, False


@dataclass(frozen=True)
class _Problem:
    """The log-likelihood of one hazard, or of several that share their intervals."""

    parts: list[Scaled]
    link: str

    def moved(self, beta: list[Floats], by: Floats) -> list[Floats]:
        at = np.cumsum([0, *(b.size for b in beta)])
        return [b + by[i:j] for b, i, j in zip(beta, at, at[1:])]

    def value(self, beta: list[Floats]) -> float:
        if self.link == "shared":
            return float(self._shared(beta).value.sum())
        cells = self.parts[0].cells
        eta = self.parts[0].eta(beta[0])
        return float(cell_score(self.link, eta, cells.trials, cells.events).value.sum())

    def _shared(self, beta: list[Floats]) -> SharedScore:
        eta = np.stack([part.eta(b) for part, b in zip(self.parts, beta)], axis=1)
        trials = np.stack([part.cells.trials for part in self.parts], axis=1)
        events = np.stack([part.cells.events for part in self.parts], axis=1)
        return shared_score(eta, trials > 0, trials.max(axis=1), events)

    def derivatives(self, beta: list[Floats]) -> tuple[Floats, Floats, float]:
        """Gradient, minus the Hessian, and the value."""
        if self.link != "shared":
            part = self.parts[0]
            c = part.cells
            found = cell_score(self.link, part.eta(beta[0]), c.trials, c.events)
            score = c.events * found.a + c.trials * found.b
            return part.gradient(score), cross(part, part, found.curve), float(found.value.sum())
        shared = self._shared(beta)
        gradient, rows = [], []
        happened = np.sum([p.cells.events for p in self.parts], axis=0)
        trials = np.max([p.cells.trials for p in self.parts], axis=0)
        for j, part in enumerate(self.parts):
            score = part.cells.events * shared.a[:, j]
            score += happened * shared.d[:, j] + trials * shared.b[:, j]
            gradient.append(part.gradient(score))
            rows.append([cross(part, o, shared.curve[:, j, k]) for k, o in enumerate(self.parts)])
        return np.concatenate(gradient), np.block(rows), float(shared.value.sum())

    def finish(
        self, beta: list[Floats], covariance: Floats
    ) -> tuple[tuple[HazardFit, ...], Floats]:
        """Coefficients and covariance on the scale of ``x``, and the row scores."""
        found, turn, at = [], np.zeros_like(covariance), 0
        shared = self._shared(beta) if self.link == "shared" else None
        for j, (part, b) in enumerate(zip(self.parts, beta)):
            c = part.cells
            own = np.eye(c.width)
            own[c.steps :, c.steps :] = np.diag(1.0 / part.scale)
            own[: c.steps, c.steps :] = -part.mean / part.scale
            turn[at : at + c.width, at : at + c.width] = own
            at += c.width
            if shared is None:
                one = cell_score(self.link, part.eta(b), c.trials, c.events)
                found.append(HazardFit(own @ b, one.a, np.zeros_like(one.a), one.b))
            else:
                a, d, low = shared.a[:, j], shared.d[:, j], shared.b[:, j]
                found.append(HazardFit(own @ b, a, d, low))
        return tuple(found), turn @ covariance @ turn.T

    def name(self, position: int) -> str:
        """What the coefficient at a position of the joint vector is of."""
        for part in self.parts:
            c = part.cells
            if position < c.width:
                if position < c.steps:
                    return f"the baseline of step {c.labels[position] if c.labels else position}"
                return f"'{c.names[position - c.steps]}'"
            position -= c.width
        return "a coefficient"


def _solve(hessian: Floats, gradient: Floats) -> Floats:
    try:
        return np.asarray(np.linalg.solve(hessian, gradient), dtype=np.float64)
    except np.linalg.LinAlgError:
        found = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        return np.asarray(found, dtype=np.float64)


def _inverse(hessian: Floats) -> Floats:
    scale = 1.0 / np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    scaled = hessian * scale[:, None] * scale[None, :]
    try:
        found = np.linalg.inv(scaled)
    except np.linalg.LinAlgError:
        found = np.linalg.pinv(scaled)
    return found * scale[:, None] * scale[None, :]


def _refuse_dependent(problem: _Problem, hessian: Floats, tolerance: float = 1e-9) -> None:
    """At the start: a column that the steps and the columns before it determine."""
    scale = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    gram = hessian / scale[:, None] / scale[None, :]
    factor = np.zeros_like(gram)
    for j in range(len(gram)):
        own = gram[j, j] - factor[j, :j] @ factor[j, :j]
        if own < tolerance:
            raise InputError(
                f"{problem.name(j)} is determined by the covariates before it and the time steps",
                where=f"exit '{problem.parts[0].cells.exit}'",
                remedy="Leave it out.",
            )
        root = np.sqrt(own)
        factor[j, j] = root
        factor[j + 1 :, j] = (gram[j + 1 :, j] - factor[j + 1 :, :j] @ factor[j, :j]) / root


def _refuse_endless(
    problem: _Problem, beta: list[Floats], covariance: Floats, *, settled: bool
) -> None:
    se = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    joint = np.abs(np.concatenate(beta))
    worst = int(np.argmax(np.where(np.isfinite(se), se, np.inf)))
    if not settled or not np.isfinite(se).all() or se[worst] > _ENDLESS:
        place = problem.parts[0].cells.exit if len(problem.parts) == 1 else "all together"
        size = "" if settled else f" (after {MAX_STEPS} steps, largest {joint.max():.1f})"
        raise InputError(
            f"the coefficient of {problem.name(worst)} grows without bound: the covariates separate "
            f"those with the exit from those without{size}",
            where=f"exit '{place}'",
            remedy="Join rare levels, use fewer covariates or fewer time steps.",
        )
