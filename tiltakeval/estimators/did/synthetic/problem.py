"""The units of one outcome in one subgroup, complete over the periods used, and all cohorts' fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.did.synthetic.cohort import CohortFit, Method, Solver, fit_cohort
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Span:
    """A cohort (its first treated period), and which of the T periods lie before and after its start."""

    cohort: float
    before: Bools
    after: Bools


@dataclass(frozen=True)
class Problem:
    """n units over T periods: outcomes ``y`` [n, T], weight [n], ``code`` [n] the place of the unit's
    cohort in ``spans``, -1 for the comparison. ``x`` [n, p] and ``varying`` [n, T, q] are covariates."""

    y: Floats
    weight: Floats
    code: Ints
    spans: tuple[Span, ...]
    x: Floats
    varying: Floats | None
    method: Method
    solver: Solver = "exact"
    zeta: float | None = None

    @property
    def fewest(self) -> int:
        """Comparison units that the covariates need."""
        return self.x.shape[1] + 2


def adjusted(problem: Problem) -> Floats:
    """[n, T] outcomes less what covariates explain among the comparison units (weight above 0).

    Covariates that vary: least squares of the outcome on them, with an effect of every unit and period;
    constant ones: with slopes of their own in every period. Treated units' outcomes aren't looked at
    (Kranz 2022). Raises InputError where the covariates are collinear there.
    """
    y, x, moving = problem.y, problem.x, problem.varying
    if not x.shape[1] and moving is None:
        return y
    others = (problem.code < 0) & (problem.weight > 0)
    w = problem.weight[others]
    basis = np.concatenate([np.ones((y.shape[0], 1)), x], axis=1)
    own = basis[others]
    gram = own.T @ (own * w[:, None])
    if len(independent(gram)) < own.shape[1]:
        raise InputError("covariates are collinear among the comparison units", where="covariates")
    solve = np.linalg.solve(gram, (own * w[:, None]).T)

    def without(values: Floats) -> Floats:
        """What unit and period effects and the constant covariates leave of [N, T]."""
        left = values - own @ (solve @ values)
        return np.asarray(left - left.mean(axis=1, keepdims=True), dtype=np.float64)

    if moving is not None:
        columns = [without(moving[others, :, j]) for j in range(moving.shape[2])]
        design = np.stack([c.ravel() for c in columns], axis=1)
        weights = np.repeat(w, y.shape[1])[:, None]
        cross = design.T @ (design * weights)
        scale = np.array([float((w[:, None] * moving[others, :, j] ** 2).sum())
                          for j in range(moving.shape[2])])  # fmt: skip
        if len(independent(cross)) < cross.shape[0] or (np.diag(cross) < 1e-12 * scale).any():
            raise InputError(
                "covariates that vary are collinear with each other, or with units and periods, "
                "among the comparison units",
                where="varying",
            )
        slope = np.linalg.solve(cross, design.T @ (without(y[others]).reshape(-1, 1) * weights))
        y = y - moving @ slope[:, 0]
    if x.shape[1]:
        y = y - x @ (solve @ y[others])[1:]
    return y


def fits(problem: Problem, known: Sequence[CohortFit] | None = None) -> list[CohortFit]:
    """Every cohort's weights and effects. With ``known`` fits of the same cohorts the noise and the
    penalty are theirs, as in the paper's resampling, and only weights are found anew."""
    y = adjusted(problem)
    others = np.flatnonzero((problem.code < 0) & (problem.weight > 0))
    out = []
    for c, span in enumerate(problem.spans):
        mine = np.flatnonzero((problem.code == c) & (problem.weight > 0))
        share = problem.weight[mine] / problem.weight[mine].sum()
        old = None if known is None else known[c]
        out.append(
            fit_cohort(
                share @ y[mine],
                y[others],
                problem.weight[others],
                span.before,
                span.after,
                method=problem.method,
                treated=float(mine.size),
                zeta=problem.zeta if old is None else old.zeta,
                noise=None if old is None else old.noise,
                start=None if old is None else old.lam,
                solver=problem.solver,
            )
        )
    return out


def reweighed(problem: Problem, weight: Floats, code: Ints | None = None) -> Problem:
    """The problem with other weights (0: left out) and, where given, other cohorts."""
    return replace(problem, weight=weight, code=problem.code if code is None else code)
