"""Propensities with and without sets of columns, sharing what can be shared.

As in ``estimators.numerics.odds`` each arm's odds against the comparison are a penalised logit. Here it
is fitted to all units once; without some columns the fit starts where the quadratic approximation at
that fit puts it, and walks on with the same Hessian; and what a fold's units did to their own
coefficients is taken out by one Newton step (Pregibon 1981, Annals of Statistics 9:705-724). Each set
costs a few passes over the units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimators.numerics.groups import mix
from tiltakeval.estimators.numerics.odds import (
    LARGE,
    PENALTIES,
    hessians_by_fold,
    newton,
    sampled,
    scaled,
)
from tiltakeval.estimators.numerics.propensity import clip
from tiltakeval.estimators.numerics.threads import one_thread
from tiltakeval.estimators.weighting.nuisance import Nuisance

Floats = NDArray[np.floating]
STEPS, TOLERANCE = 25, 1e-3


def propensities_without(
    design: CrossSection,
    nuisance: Nuisance,
    sets: Sequence[Sequence[int]],
    *,
    fold: NDArray[np.int16],
    floor: float = 0.01,
    seed: int = 0,
) -> Iterator[NDArray[np.float64]]:
    """[n, A] out-of-fold propensities without each of ``sets`` of columns of the nuisance's basis.

    Clipped at ``floor`` times the arm's share, as the estimators' are; zero for arms not open to a unit.
    """
    present = list(nuisance.present)
    inside = np.flatnonzero(np.isin(design.arm, present))
    position = np.full(len(design.arms), -1)
    position[present] = np.arange(len(present))
    arm = position[design.arm[inside]]
    allowed = design.eligible[inside][:, present]
    weight = design.weight[inside].astype(np.float64)
    person = np.unique(design.person, return_inverse=True)[1].reshape(-1)[inside]
    z = np.hstack([np.ones((inside.size, 1)), scaled(nuisance.basis[inside])])
    mark = mix(seed, person)
    fold = fold[inside]
    with one_thread():
        fits = [
            ArmFit.of(z, a, arm=arm, allowed=allowed, weight=weight, mark=mark, fold=fold)
            for a in range(1, len(present))
        ]
        rows = [np.flatnonzero(fold == f) for f in range(int(fold.max()) + 1)]
        by_fold = [z[at] for at in rows]
        for columns in sets:
            beta = np.stack([fit.without(columns) for fit in fits], axis=2)
            odds = np.ones(allowed.shape)
            for f, at in enumerate(rows):
                odds[at, 1:] = np.exp(np.clip(by_fold[f] @ beta[f], -30.0, 30.0))
            odds *= allowed
            odds /= odds.sum(axis=1, keepdims=True)
            used, _ = clip(odds, arm=arm, allowed=allowed, weight=weight, floor=floor)
            out = np.zeros((design.n, len(design.arms)))
            out[np.ix_(inside, np.array(present))] = used
            yield out


class ArmFit:
    """One arm's logit fitted to all its units, with the Hessian's part from each fold."""

    def __init__(
        self, z: Floats, y: NDArray[np.bool_], w: Floats, fold: NDArray, penalty: float
    ) -> None:
        self.z, self.y, self.w, self.fold, self.penalty = z, y, w, fold, penalty
        start = np.zeros(z.shape[1])
        start[0] = np.log(max(w[y].sum(), 1e-9) / max(w[~y].sum(), 1e-9))
        self.beta = newton(z, y, w, penalty=penalty, start=start)
        self.parts = hessians_by_fold(z, w, z @ self.beta, fold, int(fold.max()) + 1)
        self.hessian = self.parts.sum(axis=0)
        self.hessian[np.diag_indices_from(self.hessian)] += self._ridge() + 1e-8

    @staticmethod
    def of(
        z: Floats,
        a: int,
        *,
        arm: NDArray,
        allowed: NDArray[np.bool_],
        weight: Floats,
        mark: NDArray,
        fold: NDArray,
    ) -> ArmFit:
        """The fit of arm ``a``, with the penalty that predicts best out of fold."""
        rows, w = sampled(a, arm=arm, allowed=allowed, weight=weight, mark=mark)
        part = (z[rows], arm[rows] == a, w, fold[rows])
        tried = PENALTIES if (arm == a).sum() < LARGE else PENALTIES[-1:]
        fits = [ArmFit(*part, penalty) for penalty in tried]
        return max(fits, key=lambda fit: fit.held_out()) if len(fits) > 1 else fits[0]

    def _ridge(self) -> NDArray[np.float64]:
        ridge = np.full(self.z.shape[1], self.penalty)
        ridge[0] = 0.0
        return ridge

    def held_out(self) -> float:
        """Log-likelihood of every unit at the coefficients without its fold."""
        beta = self.without(())
        eta = np.einsum("ij,ij->i", self.z, beta[self.fold])
        return float(self.w @ (self.y * eta - np.logaddexp(0.0, eta)))

    def without(self, columns: Sequence[int]) -> NDArray[np.float64]:
        """[folds, 1 + q] coefficients without each fold, those of ``columns`` of the basis zero."""
        out = np.zeros((len(self.parts), self.z.shape[1]))
        gone = np.asarray(columns, dtype=np.int64) + 1
        kept = np.setdiff1d(np.arange(self.z.shape[1]), gone)
        z = self.z if not gone.size else self.z[:, kept]
        h = self.hessian[np.ix_(kept, kept)]
        factor = cho_factor(h)
        beta: Floats = self.beta[kept]
        if gone.size:
            beta = beta + cho_solve(factor, self.hessian[np.ix_(kept, gone)] @ self.beta[gone])
        beta, gap = self._settle(z, kept, factor, beta)
        for f in range(len(self.parts)):
            rows = np.flatnonzero(self.fold == f)
            own = z[rows].T @ gap[rows]
            out[f, kept] = beta - np.linalg.solve(h - self.parts[f][np.ix_(kept, kept)], own)
        return out

    def _settle(
        self, z: Floats, kept: NDArray, factor: tuple[Floats, bool], beta: Floats
    ) -> tuple[Floats, Floats]:
        """Coefficients where the penalised likelihood is highest, and w (y - p) there."""
        ridge = self._ridge()[kept]

        def at(b: Floats) -> tuple[Floats, Floats]:
            gap = self.w * (self.y - 1.0 / (1.0 + np.exp(-np.clip(z @ b, -500, 500))))
            return gap, z.T @ gap - ridge * b

        gap, gradient = at(beta)
        last = np.inf
        for _ in range(STEPS):
            step = cho_solve(factor, gradient)
            decrement = 0.5 * float(gradient @ step)
            if decrement < TOLERANCE:
                return beta, gap
            if decrement > last:  # the shared Hessian is too far off here
                break
            last = decrement
            beta = beta + step
            gap, gradient = at(beta)
        beta = newton(z, self.y, self.w, penalty=self.penalty, start=beta)
        return beta, at(beta)[0]
