"""Odds of each arm against the comparison: one small penalised logit per arm, cross-fitted.

A multinomial logit's coefficients are those of the binary logits of each arm against the comparison
(Begg & Gray 1984, Biometrika 71:11-18), fitted here one by one: a tenth of the work of the joint fit,
arms that few may enter need no special case, and every arm gets the penalty it needs. Comparison
units beyond ``PER_TREATED`` for each participant add next to nothing and are sampled, with weights that
restore their total (case-control sampling: Prentice & Pyke 1979, Biometrika 66:403-411).

The penalty is on coefficients of columns scaled as in Gelman et al. (2008, Annals of Applied
Statistics 2:1360-1383): 0/1 columns as they are, others divided by two standard deviations. A ridge on
fully standardised columns would hardly touch the dummy of a rare level, and a level met by one
participant would send its propensity to one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tiltakeval.estimators.numerics.groups import mix
from tiltakeval.numerics.products import Product, lacking

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3)
PER_TREATED, LEAST = 10, 20_000
#: Arms with at least this many units get the last penalty: there it no longer matters.
LARGE = 3_000


def scaled(x: Floats) -> NDArray[np.float64]:
    """[n, p] centred columns: those with two values one apart, others in units of two sd.

    A column with two values is an indicator whatever they are (the caller may have standardised it).
    """
    out = np.asarray(x, dtype=np.float64) - np.mean(x, axis=0, dtype=np.float64)
    if not len(out):
        return out
    low, high = out.min(axis=0), out.max(axis=0)
    binary = ((out == low) | (out == high)).all(axis=0)
    sd = np.sqrt(np.einsum("ij,ij->j", out, out) / len(out))
    unit = np.where(binary, high - low, 2 * sd)
    return out / np.where(unit > 0, unit, 1.0)


def cross_fit_odds(
    x: Floats,
    *,
    arm: Ints,
    allowed: NDArray[np.bool_],
    weight: Floats,
    fold: Ints,
    folds: int,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    cluster: Ints | None = None,
) -> NDArray[np.float64]:
    """[n, A] propensities predicted out of fold, zero for arms a unit isn't allowed to enter.

    ``x`` [n, p] covariates, ``arm`` [n] (0 the comparison), ``allowed`` [n, A], ``weight`` [n] known
    sampling weights, ``fold`` [n] in 0..folds-1 (whole clusters). Each arm's penalty is the one of
    ``penalties`` with the highest held-out log-likelihood. Sampling goes by ``cluster`` [n] (whole
    clusters, whatever the order of units), by unit where it isn't given.
    """
    z = np.hstack([np.ones((len(x), 1)), scaled(x)])
    odds = np.zeros(allowed.shape)
    odds[:, 0] = 1.0
    mark = mix(seed, np.arange(len(x)) if cluster is None else cluster)
    for a in range(1, allowed.shape[1]):
        rows, w = sampled(a, arm=arm, allowed=allowed, weight=weight, mark=mark)
        if not rows.size:
            continue
        tried = penalties if (arm == a).sum() < LARGE else penalties[-1:]
        beta = _folds(z[rows], arm[rows] == a, w, fold[rows], folds, tried)
        at = np.flatnonzero(allowed[:, a])
        eta = np.einsum("ij,ij->i", z[at], beta[fold[at]])
        odds[at, a] = np.exp(np.clip(eta, -30.0, 30.0))
    return odds / odds.sum(axis=1, keepdims=True)


def products_of_odds(
    x: Floats,
    *,
    arm: Ints,
    allowed: NDArray[np.bool_],
    weight: Floats,
    seed: int = 0,
    cluster: Ints | None = None,
) -> tuple[Product, ...]:
    """Products of columns of ``x`` that the odds of some arm lack; arguments as `cross_fit_odds`."""
    cluster = np.arange(len(x)) if cluster is None else cluster
    mark = mix(seed, cluster)
    found: dict[Product, None] = {}
    for a in range(1, allowed.shape[1]):
        rows, w = sampled(a, arm=arm, allowed=allowed, weight=weight, mark=mark)
        if not rows.size:
            continue
        y = arm[rows] == a
        z = np.hstack([np.ones((rows.size, 1)), scaled(x[rows])])
        start = np.zeros(z.shape[1])
        start[0] = np.log(max(w[y].sum(), 1e-9) / max(w[~y].sum(), 1e-9))
        beta = newton(z, y, w, penalty=PENALTIES[-1], start=start)
        found |= dict.fromkeys(lacking(x[rows], y, w, z @ beta, cluster=cluster[rows]))
    return tuple(found)


def sampled(
    a: int, *, arm: Ints, allowed: NDArray[np.bool_], weight: Floats, mark: NDArray
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Units of arm ``a`` and the comparison units it is set beside, in order, and their weights.

    None when either is lacking.
    """
    treated = np.flatnonzero(arm == a)
    open_to = (arm == 0) & allowed[:, a]
    others = np.flatnonzero(open_to)
    if not treated.size or not others.size:
        return np.empty(0, dtype=np.intp), np.empty(0)
    keep = max(LEAST, PER_TREATED * treated.size)
    if others.size > keep:
        others = others[np.argsort(mark[others], kind="stable")[:keep]]
    w = weight.astype(np.float64)
    w[others] *= w[open_to].sum() / max(w[others].sum(), 1e-300)
    rows = np.sort(np.concatenate([treated, others]))
    return rows, w[rows]


def _folds(
    z: Floats,
    y: NDArray[np.bool_],
    w: Floats,
    fold: Ints,
    folds: int,
    penalties: Sequence[float],
) -> NDArray[np.float64]:
    """[folds, p + 1] coefficients, each fitted without its fold, at the best common penalty."""
    best, most = np.zeros((folds, z.shape[1])), -np.inf
    whole = np.zeros(z.shape[1])
    whole[0] = np.log(max(w[y].sum(), 1e-9) / max(w[~y].sum(), 1e-9))
    for penalty in penalties:
        whole = newton(z, y, w, penalty=penalty, start=whole)
        beta = without_folds(z, y, w, fold, folds, penalty=penalty, whole=whole)
        eta = np.einsum("ij,ij->i", z, beta[fold])
        held = float(w @ (y * eta - np.logaddexp(0.0, eta)))
        if held > most:
            best, most = beta, held
    return best


def without_folds(
    z: Floats,
    y: NDArray[np.bool_],
    w: Floats,
    fold: Ints,
    folds: int,
    *,
    penalty: float,
    whole: Floats,
    steps: int = 25,
    tolerance: float = 1e-9,
) -> NDArray[np.float64]:
    """[folds, p + 1] coefficients without each fold, from those of all units, ``whole`` [p + 1].

    All walk there at once, each with the Hessian its own units have at ``whole``, which is nearly that
    at its end: a step is two passes over the units for all folds together, where a Hessian costs p.
    A fold whose steps don't get shorter by half goes on alone with `newton`.
    """
    ridge = np.full(z.shape[1], penalty)
    ridge[0] = 0.0
    parts = hessians_by_fold(z, w, z @ whole, fold, folds)
    # sums over the other folds, which lose no digits where one fold has nearly all there is
    others = np.tensordot(1.0 - np.eye(folds), parts, axes=1) + np.diag(ridge + 1e-10)
    used = w[:, None] * (fold[:, None] != np.arange(folds))
    beta: NDArray[np.float64] = np.tile(np.asarray(whole, dtype=np.float64), (folds, 1))
    last = np.full(folds, np.inf)
    lost: NDArray[np.bool_] = np.zeros(folds, dtype=bool)
    for _ in range(steps):
        gap = used * (y[:, None] - expit(z @ beta.T))
        gradient = (z.T @ gap).T - ridge * beta
        step = np.linalg.solve(others, gradient[:, :, None])[:, :, 0]
        decrement = 0.5 * np.einsum("fj,fj->f", gradient, step)
        lost |= ~(decrement <= np.maximum(0.5 * last, tolerance))
        going = ~lost & (decrement > tolerance)
        if not going.any():
            break
        beta[going] += step[going]
        last = decrement
    for f in np.flatnonzero(lost | going):
        train = fold != f
        beta[f] = newton(z[train], y[train], w[train], penalty=penalty, start=whole)
    return beta


def hessians_by_fold(
    z: Floats, w: Floats, eta: Floats, fold: Ints, folds: int
) -> NDArray[np.float64]:
    """[folds, p + 1, p + 1] what each fold's units add to the logit's Hessian at ``eta`` [n]."""
    rows = [np.flatnonzero(fold == f) for f in range(folds)]
    return np.stack([_hessian(z[at], w[at], expit(eta[at])) for at in rows])


def _hessian(z: Floats, w: Floats, p: Floats) -> NDArray[np.float64]:
    """[p + 1, p + 1] minus the logit's Hessian at probabilities ``p`` [n], without a penalty."""
    scaled_z = z * np.sqrt(w * p * (1.0 - p))[:, None]
    return np.asarray(scaled_z.T @ scaled_z)


def newton(
    z: Floats,
    y: NDArray[np.bool_],
    w: Floats,
    *,
    penalty: float,
    start: Floats,
    iterations: int = 30,
    tolerance: float = 1e-6,
) -> NDArray[np.float64]:
    """Coefficients [p + 1] of a ridge logit, column 0 of ``z`` the unpenalised intercept.

    Stops when the Newton decrement (units of log-likelihood) is below ``tolerance``.
    """
    ridge = np.full(z.shape[1], penalty)
    ridge[0] = 0.0

    def value(b: Floats, eta: Floats) -> float:
        return float(w @ (y * eta - np.logaddexp(0.0, eta)) - 0.5 * ridge @ b**2)

    beta: NDArray[np.float64] = np.asarray(start, dtype=np.float64)
    eta: NDArray[np.float64] = z @ beta
    now = value(beta, eta)
    for _ in range(iterations):
        p = expit(eta)
        gradient = z.T @ (w * (y - p)) - ridge * beta
        hessian = _hessian(z, w, p)
        hessian[np.diag_indices_from(hessian)] += ridge + 1e-10
        step = np.linalg.solve(hessian, gradient)
        if 0.5 * gradient @ step < tolerance:
            break
        size = 1.0
        while size > 1e-6:
            candidate = np.asarray(beta + size * step, dtype=np.float64)
            eta_new = z @ candidate
            new = value(candidate, eta_new)
            if new >= now:
                beta, eta, now = candidate, eta_new, new
                break
            size /= 2
        else:
            break
    return beta
