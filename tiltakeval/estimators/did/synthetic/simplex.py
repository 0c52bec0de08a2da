"""Least squares with a ridge on the simplex, exactly: weights that are positive and add up to one.

Active sets of a strictly convex problem. First all weights that came out negative are taken to zero and
all that would help are freed, at once (Hintermueller, Ito & Kunisch 2003, SIAM Journal on Optimization
13:865-888), which takes a handful of solves; where that goes in circles, one at a time with a step that
never goes up, which ends. The duality gap says how far from the optimum the answer can be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Rounds in which many weights change at once, before going on one by one.
_ROUNDS = 60
#: Above this ratio of the largest column to the smallest ridge, normal equations lose digits.
_STIFF = 1e4
#: What rounding makes of a zero derivative, relative to the terms it is made of.
_EPS = 1e-13


@dataclass(frozen=True)
class OnSimplex:
    """``weights`` [k]; ``gap``, the duality gap, bounds how much lower the objective can be, relative to
    its largest terms; ``solves`` linear systems were solved."""

    weights: Floats
    gap: float
    solves: int


def on_simplex(a: Floats, b: Floats, ridge: Floats, start: Bools | None = None) -> OnSimplex:
    """The x >= 0 with sum(x) = 1 that makes |a x - b|^2 + sum(ridge x^2) smallest.

    ``a`` [m, k], ``b`` [m], ``ridge`` [k] above 0. ``start`` [k] says which weights may be positive at
    first: those of a like problem save solves, and the answer is the same.
    """
    k = a.shape[1]
    size = float(np.einsum("mk,mk->k", a, a).max(initial=0.0) + b @ b + ridge.max(initial=0.0))
    free = np.ones(k, dtype=bool) if start is None or not start.any() else start.copy()
    seen: set[bytes] = set()
    solves = 0
    x = np.full(k, 1.0 / k)
    while solves < _ROUNDS and free.tobytes() not in seen:
        seen.add(free.tobytes())
        x = _free_ones(a, b, ridge, free)
        solves += 1
        slope = _slope(a, b, ridge, x)
        below = free & (x < 0)
        wanted = ~free & (slope < slope[free].mean() - _EPS * size)
        if not (below.any() or wanted.any()):
            return OnSimplex(x, _gap(slope, x, size), solves)
        free = (free & ~below) | wanted
    x = np.maximum(x, 0.0)
    x, more = _descend(a, b, ridge, x / x.sum(), size)
    return OnSimplex(x, _gap(_slope(a, b, ridge, x), x, size), solves + more)


def frank_wolfe(
    a: Floats,
    b: Floats,
    ridge: Floats,
    *,
    stop: float,
    short: int = 100,
    long: int = 10_000,
) -> OnSimplex:
    """The same problem as the R package synthdid leaves it: Frank-Wolfe steps with line search until
    the objective falls by less than ``stop``; ``short`` steps first, after which weights of at most a
    quarter of the largest are set to zero, and then up to ``long``."""
    k = a.shape[1]
    size = float(np.einsum("mk,mk->k", a, a).max(initial=0.0) + b @ b + ridge.max(initial=0.0))
    x, first = _steps(a, b, ridge, np.full(k, 1.0 / k), stop, short)
    x = np.where(x <= x.max() / 4, 0.0, x)
    x, second = _steps(a, b, ridge, x / x.sum(), stop, long)
    return OnSimplex(x, _gap(_slope(a, b, ridge, x), x, size), first + second)


def _steps(
    a: Floats, b: Floats, ridge: Floats, x: Floats, stop: float, most: int
) -> tuple[Floats, int]:
    fitted, last = a @ x, np.inf
    for done in range(1, most + 1):
        slope = a.T @ (fitted - b) + ridge * x
        i = int(np.argmin(slope))
        toward = -x
        toward[i] += 1.0
        along = a[:, i] - fitted
        bend = along @ along + toward @ (ridge * toward)
        step = 0.0 if bend <= 0 else float(np.clip(-(slope @ toward) / bend, 0.0, 1.0))
        x = x + step * toward
        fitted = a @ x
        value = float((fitted - b) @ (fitted - b) + x @ (ridge * x))
        if done >= 2 and last - value <= stop:
            return x, done
        last = value
    return x, most


def _slope(a: Floats, b: Floats, ridge: Floats, x: Floats) -> Floats:
    """[k] half the derivative of the objective."""
    return np.asarray(a.T @ (a @ x - b) + ridge * x, dtype=np.float64)


def _gap(slope: Floats, x: Floats, size: float) -> float:
    return max(0.0, 2 * float(slope @ x - slope.min()) / max(size, 1e-300))


def _descend(a: Floats, b: Floats, ridge: Floats, x: Floats, size: float) -> tuple[Floats, int]:
    """From a point of the simplex down to the optimum, freeing one weight at a time."""
    free = x > 0
    solves = 0
    for _ in range(20 * x.size + 100):
        while True:
            y = _free_ones(a, b, ridge, free)
            solves += 1
            below = free & (y < 0)
            if not below.any():
                x = y
                break
            step = np.full(x.size, np.inf)
            step[below] = x[below] / (x[below] - y[below])
            t = float(step.min())
            x = np.where(free, x + t * (y - x), 0.0)
            hit = step <= t
            x[hit], free = 0.0, free & ~hit
        slope = _slope(a, b, ridge, x)
        best = int(np.argmin(np.where(free, np.inf, slope)))
        if free.all() or slope[best] >= slope @ x - _EPS * size:
            break
        free[best] = True
    return x, solves


def _free_ones(a: Floats, b: Floats, ridge: Floats, free: Bools) -> Floats:
    """[k] the optimum with weights adding up to one, of any sign where ``free``, zero elsewhere."""
    out = np.zeros(free.size)
    at = np.flatnonzero(free)
    if at.size == 1:
        out[at] = 1.0
        return out
    a, ridge = a[:, at], ridge[at]
    largest = float(np.einsum("mk,mk->k", a, a).max())
    if largest > _STIFF * float(ridge.min()):
        out[at] = _by_qr(a, b, ridge)
    else:
        out[at] = _by_normal_equations(a, b, ridge)
    return out


def _by_normal_equations(a: Floats, b: Floats, ridge: Floats) -> Floats:
    """With s the solution without the sum and r that of a right-hand side of ones, it is
    s + r (1 - 1's) / 1'r; in as few dimensions as there are rows or weights."""
    right = np.stack([a.T @ b, np.ones(ridge.size)], axis=1)
    if a.shape[1] <= a.shape[0]:
        gram = a.T @ a
        gram[np.diag_indices_from(gram)] += ridge
        found = linalg.cho_solve(linalg.cho_factor(gram, check_finite=False), right)
    else:
        scaled = a / ridge
        small = scaled @ a.T
        small[np.diag_indices_from(small)] += 1.0
        right = right / ridge[:, None]
        inner = linalg.cho_solve(linalg.cho_factor(small, check_finite=False), a @ right)
        found = right - scaled.T @ inner
    free, ones = found[:, 0], found[:, 1]
    return np.asarray(free + ones * ((1.0 - free.sum()) / ones.sum()), dtype=np.float64)


def _by_qr(a: Floats, b: Floats, ridge: Floats) -> Floats:
    """The same by orthogonal steps, for ridges near nothing: x = 1/k + Z u, Z orthogonal to ones."""
    k = ridge.size
    v = np.full(k, -1.0 / np.sqrt(k))
    v[0] += 1.0
    v /= np.linalg.norm(
        v
    )  # the reflection that takes ones to the first axis; Z is its other columns
    root = np.sqrt(ridge)
    stack = np.concatenate([a, np.diag(root)])
    turned = (stack - np.outer(2 * (stack @ v), v))[:, 1:]
    right = np.concatenate([b, np.zeros(k)]) - stack @ np.full(k, 1.0 / k)
    q, r = np.linalg.qr(turned)
    u = np.concatenate([[0.0], linalg.solve_triangular(r, q.T @ right)])
    return np.asarray(1.0 / k + u - 2 * v * (v @ u), dtype=np.float64)
