"""Predicted participation: least squares or a logit on what was known before, with influence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.intensity import IntensityRollout
from tiltakeval.errors import InputError
from tiltakeval.estimators.numerics.groups import Groups
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Model = Literal["logit", "linear"]
_ITERATIONS = 50


@dataclass(frozen=True)
class Prediction:
    """``basis`` [n, q] of every unit (a constant first), ``coef`` [q], its influence ``z`` [size, q] by
    group. ``fitted`` counts the units it rests on. A prediction given has no coefficients."""

    model: Model
    basis: Floats
    coef: Floats
    z: Floats
    names: tuple[str, ...]
    dropped: tuple[str, ...]
    fitted: int
    given: Floats | None = None

    def at(self, coef: Floats) -> Floats:
        """[n] predicted participation with other coefficients."""
        if self.given is not None:
            return self.given
        eta = self.basis @ coef
        return np.asarray(_expit(eta) if self.model == "logit" else eta)

    @property
    def value(self) -> Floats:
        """[n] predicted participation."""
        return self.at(self.coef)


def predict(design: IntensityRollout, model: Model, groups: Groups) -> Prediction:
    """Fitted among units to which the programme came and whose participation is known.

    Raises InputError with fewer than two of them on either side, or predictors that separate them.
    """
    if design.predicted is not None:
        none = np.zeros((groups.size, 0))
        return Prediction(
            model, np.zeros((design.n, 0)), np.zeros(0), none, (), (), 0, design.predicted
        )
    assert design.predictors is not None and design.participation is not None
    used = np.isfinite(design.participation) & (design.first <= design.periods[-1])
    y, w = design.participation[used], design.weight[used]
    if used.sum() < 2 or y.min(initial=1) == y.max(initial=0):
        raise InputError(
            f"participation doesn't differ among the {int(used.sum())} units to which the programme "
            "came and of which it is known",
            where="participation",
        )
    x = design.predictors
    centre = w @ x[used] / w.sum()
    scale = np.sqrt(w @ (x[used] - centre) ** 2 / w.sum())
    basis = np.column_stack([np.ones(design.n), (x - centre) / np.where(scale > 0, scale, 1.0)])
    gram = basis[used].T @ (basis[used] * w[:, None])
    kept = independent(gram)
    dropped = tuple(n for j, n in enumerate(design.predictor_names) if j + 1 not in kept)
    basis = basis[:, kept]
    if basis.shape[1] < 2:
        raise InputError("no predictor of participation varies", where="predictors")
    coef, information = _logit(basis[used], y, w) if model == "logit" else _line(basis[used], y, w)
    eta = basis[used] @ coef
    residual = y - (_expit(eta) if model == "logit" else eta)
    influence = (basis[used] * (w * residual)[:, None]) @ np.linalg.inv(information)
    z = groups.add_up(influence, np.flatnonzero(used))
    names = tuple(n for j, n in enumerate(design.predictor_names) if j + 1 in kept)
    return Prediction(model, basis, coef, z, names, dropped, int(used.sum()))


def _line(x: Floats, y: Floats, w: Floats) -> tuple[Floats, Floats]:
    gram = x.T @ (x * w[:, None])
    return np.asarray(np.linalg.solve(gram, x.T @ (w * y)), dtype=np.float64), gram


def _logit(x: Floats, y: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Coefficients and information of a logit of shares, by Newton. Raises InputError if separated."""
    coef = np.zeros(x.shape[1])
    mean = float(w @ y / w.sum())
    coef[0] = np.log(mean / (1 - mean))
    for _ in range(_ITERATIONS):
        p = _expit(x @ coef)
        information = x.T @ (x * (w * p * (1 - p))[:, None])
        if len(independent(information)) < x.shape[1]:
            break
        step = np.linalg.solve(information, x.T @ (w * (y - p)))
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        coef = coef + step
        if np.abs(step).max() < 1e-11:
            return coef, information
    raise InputError(
        "predictors separate those who took part from those who didn't",
        where="predictors",
        remedy="Leave out the predictor that decides it, or say model=linear.",
    )


def _expit(eta: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(eta, -500, 500))))
