"""The partial likelihood of one transition: exact derivatives in O(n log n), and its score residuals.

With rows (start, stop] of constant covariates, r_i = w_i exp(x_i b), S0 and S1 the sums of r and r x
over the rows at risk at exit time k, and dL_k = sum w / S0 (Breslow), the gradient is
sum_exits w_i x_i - sum_i c_i x_i with c_i = r_i (L(stop_i) - L(start_i)), and the information

    sum_i c_i x_i x_i' - sum_k sum_exits w (S1 / S0)(S1 / S0)',

so that no p x p sum is carried along the risk sets. Efron's ties replace S0 by S0 - a D0, a = 0, 1/d,
…, with D0 the exits' own sum. Score residuals as in Lin & Wei (1989).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from tiltakeval.errors import InputError
from tiltakeval.estimators.duration import cox_kernels as kernels
from tiltakeval.estimators.numerics.threads import one_thread

Floats = NDArray[np.floating]
BLOCK = 65_536
TOLERANCE = 1e-10
#: Information that shrinks by this much on the way, or begins this small, can't carry an estimate.
VANISHED, NOTHING = 1e-6, 1e-9


@dataclass(frozen=True)
class RiskSets:
    """Rows [n] ever at risk of an exit, sorted by stratum and stop, with the grid of exits [K].

    ``kept`` [n] are their numbers among the rows given. ``x`` [n, p] is centred and scaled by
    ``scale`` [p].
    """

    kept: NDArray[np.intp]
    x: NDArray[np.float64]
    scale: NDArray[np.float64]
    weight: NDArray[np.float64]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    leaving: NDArray[np.int64]
    base: NDArray[np.int32]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    @property
    def tied(self) -> bool:
        """Whether any exits share a time (within a stratum)."""
        return bool((self.high - self.low > 1).any())


@dataclass(frozen=True)
class CoxFit:
    """Coefficients [p] with the inverse information [p, p] and the log partial likelihood."""

    coef: NDArray[np.float64]
    inverse: NDArray[np.float64]
    log_likelihood: float
    log_likelihood_null: float
    iterations: int


def risk_sets(
    x: Floats, start: Floats, stop: Floats, exit_: NDArray, weight: Floats, stratum: NDArray
) -> RiskSets:
    """Sort once. ``exit_`` [n] bool says that the row ends in the transition."""
    event = exit_.astype(np.int64)
    many = stratum.size > 0 and stratum.max() > stratum.min()
    order = np.lexsort((event, stop, stratum) if many else (event, stop))
    start, stop, event = start[order], stop[order], event[order]
    stratum = stratum[order].astype(np.int64)
    by_start = np.lexsort((start, stratum)) if many else np.argsort(start)
    first, last, low, high = kernels.exit_grid(stratum, stop, event, by_start, start)
    keep = last > first  # others are at risk of no exit at all
    place = np.cumsum(keep) - 1
    low, high = place[low], place[high - 1] + 1
    kept = order[keep]
    first, last, stratum = first[keep], last[keep], stratum[keep]
    of_grid = stratum[low]
    base = np.searchsorted(of_grid, of_grid, side="left").astype(np.int32)
    leaving = np.flatnonzero(first > base[np.minimum(first, base.size - 1)])
    leaving = leaving[np.argsort(-first[leaving], kind="stable")]
    w = np.ascontiguousarray(weight[kept], dtype=np.float64)
    z = np.ascontiguousarray(x[kept], dtype=np.float64)
    share = w / w.sum()
    z -= share @ z
    scale = np.sqrt(np.array([share @ z[:, j] ** 2 for j in range(z.shape[1])]))
    scale = np.where(scale > 0, scale, 1.0)
    z /= scale
    return RiskSets(kept, z, scale, w, first, last, leaving, base, low, high)


class Partial:
    """The partial likelihood at a coefficient vector, and its derivatives (scaled covariates)."""

    def __init__(self, sets: RiskSets, *, efron: bool) -> None:
        self.sets = sets
        k, p = sets.low.size, sets.x.shape[1]
        self.efron = efron and sets.tied
        self.s0, self.d0, self.sums = np.empty(k), np.empty(k), np.empty((k, 5))
        self.s1 = np.empty((k, p))
        self.d1 = np.empty((k if self.efron else 0, p))
        exits = np.zeros(sets.weight.size + 1, dtype=np.int64)
        np.add.at(exits, sets.low, 1)
        np.add.at(exits, sets.high, -1)
        self.is_exit = np.cumsum(exits[:-1]) > 0
        self.exit_weight = np.where(self.is_exit, sets.weight, 0.0)
        self.exits_x = self.exit_weight @ sets.x

    def value(self, beta: Floats) -> float:
        """The log partial likelihood; keeps what the derivatives need."""
        s = self.sets
        eta = s.x @ beta
        top = float(eta.max())
        self.r = s.weight * np.exp(eta - top)
        kernels.risk_sums(
            s.x, self.r, s.first, s.last, s.leaving, s.low, s.high, s.base,
            self.s0, self.s1, self.d0, self.d1,
        )  # fmt: skip
        if not (self.s0 > 0).all():
            return -np.inf
        logs = kernels.tie_sums(self.s0, self.d0, s.weight, s.low, s.high, self.efron, self.sums)
        return float(self.exits_x @ beta - top * self.exit_weight.sum() - logs)

    def expected(self) -> NDArray[np.float64]:
        """[n] expected exits c_i of every row."""
        s = self.sets
        hazard = np.concatenate([[0.0], np.cumsum(self.sums[:, 0])])
        at = hazard[s.last] - hazard[s.first]
        if self.efron:
            counts = s.high - s.low
            at[self.is_exit] -= np.repeat(self.sums[:, 1], counts)
        return np.asarray(self.r * at, dtype=np.float64)

    def derivatives(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Gradient [p] and information [p, p]."""
        s, c = self.sets, self.expected()
        information = _cross(s.x, c) - _cross(self.s1, self.sums[:, 2])
        if self.efron:
            mixed = (self.s1 * self.sums[:, 3, None]).T @ self.d1
            information += mixed + mixed.T - _cross(self.d1, self.sums[:, 4])
        return self.exits_x - c @ s.x, (information + information.T) / 2

    def scores(self, group: NDArray[np.integer], groups: int) -> NDArray[np.float64]:
        """[G, p] score residuals summed by ``group`` [n] (of the kept rows)."""
        s = self.sets
        running = np.zeros((s.low.size + 1, s.x.shape[1]))
        step = self.s1 * self.sums[:, 2, None]
        mean = self.s1 * self.sums[:, 0, None]
        tied = np.empty((0, s.x.shape[1]))
        if self.efron:
            step -= self.d1 * self.sums[:, 3, None]
            mean -= self.d1 * self.sums[:, 1, None]
            tied = self.s1 * self.sums[:, 3, None] - self.d1 * self.sums[:, 4, None]
        mean /= np.add.reduceat(self.exit_weight[self.is_exit], _offsets(s))[:, None]
        np.cumsum(step, axis=0, out=running[1:])
        out = np.zeros((groups, s.x.shape[1]))
        kernels.score_sums(
            s.x, self.r, self.expected(), s.weight, s.first, s.last, s.low, s.high,
            running, mean, tied, group, out,
        )  # fmt: skip
        return out


def _offsets(s: RiskSets) -> NDArray[np.int64]:
    """Where each grid point's exits begin among all exits."""
    return np.concatenate([[0], np.cumsum(s.high - s.low)[:-1]])


def _cross(x: Floats, weight: Floats) -> NDArray[np.float64]:
    """x' diag(weight) x, in blocks."""
    out = np.zeros((x.shape[1], x.shape[1]))
    for i in range(0, x.shape[0], BLOCK):
        rows = slice(i, i + BLOCK)
        out += x[rows].T @ (x[rows] * weight[rows, None])
    return out


def fit_cox(
    partial: Partial, names: tuple[str, ...], *, where: str, max_iterations: int = 50
) -> CoxFit:
    """Newton's method with step halving from 0; coefficients in the covariates' own units.

    Raises InputError for covariates that are constant or collinear within the risk sets, and for
    coefficients that have no finite maximum (separation).
    """
    scale = partial.sets.scale
    with one_thread():
        beta = np.zeros(len(names))
        value = null = partial.value(beta)
        gradient, information = partial.derivatives()
        begun = information.copy()
        _refuse_dependent(begun, names, float(partial.exit_weight.sum()), where=where)
        done = False
        iterations = 0
        while not done and iterations < max_iterations:
            iterations += 1
            direction = np.linalg.lstsq(information, gradient, rcond=1e-14)[0]
            decrement = float(gradient @ direction)
            size = 1.0
            for _ in range(40):
                candidate = beta + size * direction
                new = partial.value(candidate)
                if new >= value - 1e-12 * abs(value):
                    break
                size /= 2
            else:
                partial.value(beta)
                break
            done = decrement < TOLERANCE and size == 1.0
            beta, value = candidate, new
            gradient, information = partial.derivatives()
            if _lost(information, begun)[0] < VANISHED:
                break
    smallest, vector = _lost(information, begun)
    if smallest < VANISHED or not done:
        worst = names[int(np.abs(vector).argmax())]
        raise InputError(
            f"the hazard ratio of '{worst}' has no finite estimate: its coefficient runs away "
            "(separation)"
            if smallest < VANISHED
            else "the fit doesn't settle",
            where=where,
            remedy="Perhaps no exit happens at one of its values: pool values, or leave it out.",
        )
    inverse = np.linalg.inv(information) / np.outer(scale, scale)
    return CoxFit(beta / scale, inverse, value, null, iterations)


def _lost(information: Floats, begun: Floats) -> tuple[float, NDArray[np.float64]]:
    """The smallest share of the information at 0 that is left, and along which direction."""
    values, vectors = linalg.eigh(information, begun, subset_by_index=[0, 0])
    return float(values[0]), vectors[:, 0] * np.sqrt(np.diag(begun))


def _refuse_dependent(
    information: Floats, names: tuple[str, ...], exits: float, *, where: str
) -> None:
    """Raise InputError for columns without variation, or dependent on others, in the risk sets."""
    size = np.diag(information)
    flat = [name for name, value in zip(names, size) if value < NOTHING * exits]
    if flat:
        raise InputError(
            f"{len(flat)} covariate(s) don't vary among those at risk at any exit: "
            + ", ".join(flat[:10]),
            where=where,
            remedy="Leave them out, or use them as strata.",
        )
    root = 1 / np.sqrt(size)
    values, vectors = np.linalg.eigh(information * np.outer(root, root))
    if values[0] < NOTHING:
        joint = [n for n, v in zip(names, np.abs(vectors[:, 0])) if v > 0.05]
        raise InputError(
            "covariates depend on one another linearly among those at risk: " + ", ".join(joint),
            where=where,
            remedy="Leave one of them out.",
        )
