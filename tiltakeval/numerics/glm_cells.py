"""Cells of a hazard, and the sums over them a Newton step needs, on standardised columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tiltakeval.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

BLOCK = 8192


@dataclass(frozen=True, kw_only=True)
class HazardCells:
    """One hazard on M cells.

    ``x`` [C, p] covariates by code (no intercept); ``code`` [M] row of x; ``step`` [M] in 0..steps-1,
    each with an intercept of its own; ``trials`` [M] number of trials, or time at risk;
    ``events`` [M]. ``names`` of the p columns and ``labels`` of the steps are for messages.
    """

    x: NDArray
    code: Ints
    step: Ints
    steps: int
    trials: Floats
    events: Floats
    names: tuple[str, ...]
    labels: tuple[str, ...] = ()
    exit: str = "event"

    @property
    def width(self) -> int:
        """Number of coefficients: steps, then covariates."""
        return self.steps + self.x.shape[1]


@dataclass(frozen=True)
class Scaled:
    """Cells with the centre and scale of every column, weighted by trials."""

    cells: HazardCells
    mean: Floats
    scale: Floats
    by_step: sparse.csr_array

    @classmethod
    def of(cls, cells: HazardCells) -> Scaled:
        """Centres and scales. Raises InputError for a column that hardly varies."""
        codes, p = cells.x.shape
        w = np.bincount(cells.code, weights=cells.trials, minlength=codes)
        total = max(float(w.sum()), 1e-300)
        first = np.asarray(cells.x[:1], dtype=np.float64).reshape(-1) if codes else np.zeros(p)
        mean, square = np.zeros(p), np.zeros(p)
        for rows in blocks(codes):
            block = np.asarray(cells.x[rows], dtype=np.float64) - first
            mean += w[rows] @ block
            square += w[rows] @ block**2
        mean /= total
        spread = np.sqrt(np.maximum(square / total - mean**2, 0.0))
        flat = np.flatnonzero(spread < 1e-10 * np.maximum(1.0, np.abs(mean + first)))
        if flat.size:
            raise InputError(
                "hardly varies at all where the exit is possible",
                where=f"exit '{cells.exit}', covariate '{cells.names[flat[0]]}'",
                remedy="Leave the covariate out, or measure it from another origin.",
            )
        index = sparse.csr_array(
            (np.arange(1, cells.code.size + 1), (cells.code, cells.step)), (codes, cells.steps)
        )
        unique = index.nnz == cells.code.size
        return cls(cells, mean + first, spread, index if unique else sparse.csr_array((0, 0)))

    def null_start(self, link: str) -> Floats:
        """Each step at its own share of events, slopes zero."""
        c = self.cells
        events = np.bincount(c.step, weights=c.events, minlength=c.steps)
        trials = np.bincount(c.step, weights=c.trials, minlength=c.steps)
        rate = events / np.maximum(trials, 1e-300)
        if link == "logit":
            rate = rate / np.maximum(1.0 - rate, 1e-6)
        elif link in ("cloglog", "shared"):
            rate = -np.log1p(-np.minimum(rate, 0.999))
        return np.concatenate([np.log(rate), np.zeros(c.x.shape[1])])

    def eta(self, beta: Floats) -> Floats:
        """Log hazard per cell [M]; ``beta`` on standardised columns."""
        c = self.cells
        found = np.empty(c.x.shape[0])
        slope = beta[c.steps :] / self.scale
        for rows in blocks(c.x.shape[0]):
            found[rows] = (np.asarray(c.x[rows], dtype=np.float64) - self.mean) @ slope
        return found[c.code] + beta[c.step]

    def gradient(self, score: Floats) -> Floats:
        """Sum of score x (step indicators, standardised covariates), [steps + p]."""
        c = self.cells
        by_code = np.bincount(c.code, weights=score, minlength=c.x.shape[0])
        out = np.empty(c.width)
        out[: c.steps] = np.bincount(c.step, weights=score, minlength=c.steps)
        total = np.zeros(c.x.shape[1])
        for rows in blocks(c.x.shape[0]):
            total += by_code[rows] @ (np.asarray(c.x[rows], dtype=np.float64) - self.mean)
        out[c.steps :] = total / self.scale
        return out

    def spread(self, weight: Floats) -> sparse.csr_array:
        """[codes, steps] sums of a weight per cell."""
        c = self.cells
        if self.by_step.shape[0]:
            return sparse.csr_array(
                (weight[self.by_step.data - 1], self.by_step.indices, self.by_step.indptr),
                self.by_step.shape,
            )
        return sparse.csr_array((weight, (c.code, c.step)), (c.x.shape[0], c.steps))

    def steps_by_x(self, weight: Floats, other: Scaled) -> Floats:
        """[steps, p of other] sum of weight x own step x the other's covariates."""
        spread = self.spread(weight)
        x = other.cells.x
        product = np.zeros((self.cells.steps, x.shape[1]))
        for rows in blocks(x.shape[0]):
            product += spread[rows].T @ (np.asarray(x[rows], dtype=np.float64) - other.mean)
        return product / other.scale


def blocks(n: int) -> list[slice]:
    """Consecutive blocks of rows."""
    return [slice(i, min(i + BLOCK, n)) for i in range(0, n, BLOCK)]


def cross(a: Scaled, b: Scaled, weight: Floats) -> Floats:
    """Sum over cells of weight x (own design)' (other design), [width of a, width of b]."""
    ca, cb = a.cells, b.cells
    out = np.empty((ca.width, cb.width))
    both = ca.step.astype(np.int64) * cb.steps + cb.step
    out[: ca.steps, : cb.steps] = np.bincount(
        both, weights=weight, minlength=ca.steps * cb.steps
    ).reshape(ca.steps, cb.steps)
    out[: ca.steps, cb.steps :] = a.steps_by_x(weight, b)
    if a is b:
        out[ca.steps :, : cb.steps] = out[: ca.steps, cb.steps :].T
    else:
        out[ca.steps :, : cb.steps] = b.steps_by_x(weight, a).T
    by_code = np.bincount(ca.code, weights=weight, minlength=ca.x.shape[0])
    total = np.zeros((ca.x.shape[1], cb.x.shape[1]))
    for rows in blocks(ca.x.shape[0]):
        left = np.asarray(ca.x[rows], dtype=np.float64) - a.mean
        right = left if a is b else np.asarray(cb.x[rows], dtype=np.float64) - b.mean
        total += left.T @ (right * by_code[rows, None])
    out[ca.steps :, cb.steps :] = total / a.scale[:, None] / b.scale[None, :]
    return out
