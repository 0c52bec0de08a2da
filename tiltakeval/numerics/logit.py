"""Binary and multinomial logit by Newton's method, for propensities and censoring.

Columns are centred and scaled internally, so the small ridge means the same for every covariate and
leaves the intercepts alone. Rows are visited in blocks in double precision with one BLAS thread
(two threads spin on products of this size). Coefficients are returned on the scale of ``x``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tiltakeval.errors import InputError

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]

BLOCK = 8192
RIDGE = 1e-3


@dataclass(frozen=True)
class LogitFit:
    """A fitted binary logit. ``coef`` [1 + p]: intercept first, then one per column of ``x``."""

    coef: Floats
    converged: bool
    iterations: int
    log_likelihood: float


@dataclass(frozen=True)
class MultinomialFit:
    """A fitted multinomial logit. ``coef`` [A, 1 + p]: a row per arm, row 0 is zero."""

    coef: Floats
    converged: bool
    iterations: int
    log_likelihood: float


def fit_logit(
    x: Floats,
    y: NDArray,
    weight: Floats | None = None,
    *,
    ridge: float = RIDGE,
    start: Floats | None = None,
    max_iterations: int = 50,
    tolerance: float = 1e-8,
) -> LogitFit:
    """Logit of y (0/1 or bool, [n]) on x ([n, p], no intercept column; one is added).

    Maximises sum w_i log L_i - ridge/2 |beta|^2, beta on standardised columns. ``start`` is the
    ``coef`` of an earlier fit. Raises InputError when one outcome never occurs, or under complete
    separation.
    """
    fit = fit_multinomial(
        x,
        np.asarray(y).astype(np.int64),
        2,
        weight=weight,
        ridge=ridge,
        start=None if start is None else np.vstack([np.zeros_like(start), start]),
        max_iterations=max_iterations,
        tolerance=tolerance,
    )
    return LogitFit(fit.coef[1], fit.converged, fit.iterations, fit.log_likelihood)


def fit_multinomial(
    x: Floats,
    arm: Ints,
    n_arms: int,
    *,
    allowed: Bools | None = None,
    weight: Floats | None = None,
    ridge: float = RIDGE,
    start: Floats | None = None,
    max_iterations: int = 50,
    tolerance: float = 1e-8,
) -> MultinomialFit:
    """Multinomial logit of ``arm`` ([n], 0..n_arms-1) on x ([n, p], no intercept column).

    ``allowed`` [n, A] says which arms a unit can enter: the others have probability zero for it and
    it doesn't enter their likelihood. Arm 0 is the reference. Stops when the Newton decrement is
    below ``tolerance`` (units of log-likelihood). Raises InputError for an empty arm, a unit in an
    arm it can't enter, or complete separation.
    """
    n = len(arm)
    _check_arms(arm, n_arms, allowed, weight, n)
    w = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    mean, scale = _scaling(x, w)
    problem = _Problem(x, np.asarray(arm), n_arms, allowed, w, mean, scale, ridge)
    beta = _to_standard(start, mean, scale) if start is not None else problem.null_start()
    with threadpool_limits(1, user_api="blas"):
        value = problem.value(beta)
        null_value = problem.value(problem.null_start())
        converged, iterations = False, 0
        while not converged and iterations < max_iterations:
            iterations += 1
            gradient, hessian = problem.derivatives(beta)
            direction = _solve(hessian, gradient.ravel()).reshape(beta.shape)
            decrement = 0.5 * float((gradient * direction).sum())
            if decrement < tolerance:
                converged = True
                break
            size, found = 1.0, False
            for _ in range(30):
                candidate = beta + size * direction
                new_value = problem.value(candidate)
                if new_value >= value:
                    beta, value, found = candidate, new_value, True
                    break
                size /= 2
            if not found:  # no better point at machine precision
                converged = decrement < 1e-4
                break
    penalty = 0.5 * ridge * float((beta[:, 1:] ** 2).sum())
    likelihood = value + penalty
    if likelihood > 1e-3 * (null_value - 1e-12) or not converged:
        raise InputError(
            "the covariates separate the arms (almost) completely, or the fit doesn't settle",
            where="propensity or censoring model",
            remedy="Use fewer covariates, pool small arms, or raise the ridge.",
        )
    coef = np.zeros((n_arms, x.shape[1] + 1))
    coef[1:, 1:] = beta[:, 1:] / scale
    coef[1:, 0] = beta[:, 0] - coef[1:, 1:] @ mean
    return MultinomialFit(coef, converged, iterations, likelihood)


def predict(
    fit: LogitFit | MultinomialFit, x: Floats, allowed: Bools | None = None
) -> NDArray[np.float64]:
    """Probabilities: [n] of y = 1 for a binary fit, [n, A] of each arm for a multinomial one."""
    binary = isinstance(fit, LogitFit)
    coef = np.vstack([np.zeros_like(fit.coef), fit.coef]) if binary else fit.coef
    out = np.empty((x.shape[0], coef.shape[0]))
    with threadpool_limits(1, user_api="blas"):
        for i in range(0, x.shape[0], BLOCK):
            rows = slice(i, i + BLOCK)
            eta = coef[:, 0] + np.asarray(x[rows], dtype=np.float64) @ coef[:, 1:].T
            out[rows], _ = _softmax(eta, None if allowed is None else allowed[rows])
    return out[:, 1] if binary else out


def _softmax(eta: Floats, allowed: Bools | None) -> tuple[NDArray[np.float64], Floats]:
    """Probabilities over the allowed arms, and log of the denominator plus the shift."""
    if allowed is not None:
        eta = np.where(allowed, eta, -np.inf)
    top = eta.max(axis=1, keepdims=True)
    expo = np.exp(eta - top)
    total = expo.sum(axis=1, keepdims=True)
    return expo / total, (top + np.log(total))[:, 0]


def _scaling(x: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Weighted mean and standard deviation per column; constant columns get scale 1."""
    total = w.sum()
    mean = np.zeros(x.shape[1])
    square = np.zeros(x.shape[1])
    first = np.asarray(x[0], dtype=np.float64) if len(x) else mean
    for i in range(0, x.shape[0], BLOCK):
        block = np.asarray(x[i : i + BLOCK], dtype=np.float64) - first
        wb = w[i : i + BLOCK]
        mean += wb @ block
        square += wb @ block**2
    mean /= total
    variance = square / total - mean**2
    scale = np.sqrt(np.maximum(variance, 0.0))
    scale[scale < 1e-9 * np.maximum(1.0, np.abs(mean + first))] = 1.0
    return mean + first, scale


def _to_standard(start: Floats, mean: Floats, scale: Floats) -> NDArray[np.float64]:
    beta = np.empty((start.shape[0] - 1, start.shape[1]))
    beta[:, 1:] = start[1:, 1:] * scale
    beta[:, 0] = start[1:, 0] + start[1:, 1:] @ mean
    return beta


def _solve(hessian: Floats, gradient: Floats) -> Floats:
    try:
        return np.linalg.solve(hessian, gradient)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(hessian, gradient, rcond=None)[0]


def _check_arms(
    arm: Ints, n_arms: int, allowed: Bools | None, weight: Floats | None, n: int
) -> None:
    w = np.ones(n) if weight is None else np.asarray(weight)
    count = np.bincount(np.asarray(arm)[w > 0], minlength=n_arms)
    empty = np.flatnonzero(count == 0)
    if len(empty):
        raise InputError(
            f"arm {', '.join(str(int(a)) for a in empty)} of {n_arms} has no units",
            where="propensity or censoring model",
            remedy="Leave the arm out, or widen the entry window.",
        )
    if allowed is not None and not allowed[np.arange(n), arm].all():
        raise InputError(
            "units are in an arm they are declared not to be able to enter",
            where="propensity or censoring model",
            remedy="Exclude them, or correct the eligibility rules.",
        )


@dataclass(frozen=True)
class _Problem:
    """The penalised log-likelihood; ``beta`` is [A-1, 1+p] on standardised columns."""

    x: Floats
    arm: Ints
    n_arms: int
    allowed: Bools | None
    w: Floats
    mean: Floats
    scale: Floats
    ridge: float

    def null_start(self) -> NDArray[np.float64]:
        """Intercepts at the log of the arms' weighted shares, slopes zero."""
        share = np.bincount(self.arm, weights=self.w, minlength=self.n_arms)
        beta = np.zeros((self.n_arms - 1, self.x.shape[1] + 1))
        beta[:, 0] = np.log(share[1:] / share[0])
        return beta

    def _block(self, i: int) -> tuple[slice, Floats]:
        rows = slice(i, i + BLOCK)
        source = self.x[rows]
        z = np.empty((source.shape[0], source.shape[1] + 1))
        z[:, 0] = 1.0
        np.subtract(source, self.mean, out=z[:, 1:])
        z[:, 1:] /= self.scale
        return rows, z

    def _probabilities(self, z: Floats, rows: slice, beta: Floats) -> tuple[Floats, float]:
        eta = np.zeros((z.shape[0], self.n_arms))
        eta[:, 1:] = z @ beta.T
        allowed = None if self.allowed is None else self.allowed[rows]
        prob, log_total = _softmax(eta, allowed)
        own = eta[np.arange(len(eta)), self.arm[rows]] - log_total
        return prob, float(self.w[rows] @ own)

    def value(self, beta: Floats) -> float:
        total = -0.5 * self.ridge * float((beta[:, 1:] ** 2).sum())
        for i in range(0, self.x.shape[0], BLOCK):
            rows, z = self._block(i)
            total += self._probabilities(z, rows, beta)[1]
        return total

    def derivatives(self, beta: Floats) -> tuple[Floats, Floats]:
        """Gradient [A-1, 1+p] and minus the Hessian [(A-1)(1+p), same]."""
        others, width = beta.shape
        gradient = np.zeros_like(beta)
        blocks = np.zeros((others, others, width, width))
        for i in range(0, self.x.shape[0], BLOCK):
            rows, z = self._block(i)
            prob, _ = self._probabilities(z, rows, beta)
            wb = self.w[rows]
            residual = -prob[:, 1:]
            own = self.arm[rows]
            treated = np.flatnonzero(own > 0)
            residual[treated, own[treated] - 1] += 1.0
            gradient += (residual * wb[:, None]).T @ z
            for a in range(others):
                for b in range(a + 1):
                    pa, pb = prob[:, a + 1], prob[:, b + 1]
                    curve = pa * (1 - pa) if a == b else pa * pb
                    root = z * np.sqrt(np.maximum(curve * wb, 0.0))[:, None]
                    blocks[a, b] += root.T @ root if a == b else -(root.T @ root)
        for a in range(others):
            for b in range(a):
                blocks[b, a] = blocks[a, b]
        penalty = np.full(width, self.ridge)
        penalty[0] = 0.0
        gradient -= penalty * beta
        hessian = blocks.transpose(0, 2, 1, 3).reshape(others * width, others * width)
        # a trace of ridge keeps constant and collinear columns solvable at any scale
        small = 1e-10 * max(float(np.trace(hessian)) / (others * width), 1e-12)
        hessian[np.diag_indices_from(hessian)] += np.tile(penalty, others) + small
        return gradient, hessian
