"""One cohort in one period: changes beyond those of the comparison, as functions of the dose.

Callaway, Goodman-Bacon & Sant'Anna (2024, NBER Working Paper 32117): ATT(d | g, t) is the mean change of
units of dose d less that of the comparison; a regression of the first on functions of the dose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.doses import DosedRollout
from tiltakeval.estimators.did.dose.leverage import by_group
from tiltakeval.estimators.did.level import Support, too_few
from tiltakeval.estimators.did.plan import Cell
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.numerics.groups import Groups
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Excess:
    """Treated units ``own`` [m] with their changes ``r`` [m] less what is predicted for them from the
    comparison ``other`` [c]; ``x`` [m, p] their basis of the prediction, ``back`` [size, p] the
    comparison's influence, by group, on the prediction's coefficients. Or the ``reason`` for none."""

    cell: Cell
    own: Ints
    other: Ints
    r: Floats
    x: Floats
    back: Floats
    reason: str = ""


@dataclass(frozen=True)
class Fitted:
    """``coef`` [k] with influence ``z`` [size, k] by group; or the ``reason``."""

    coef: Floats
    z: Floats
    reason: str = ""


def excess_of(
    design: DosedRollout,
    cell: Cell,
    inside: Bools,
    y: Floats,
    x: Floats,
    least: int,
    groups: Groups,
    leverage: bool,
) -> Excess:
    """The cell among units ``inside`` [n] for outcome ``y`` [n, T], covariates ``x`` [n, p]; with
    ``leverage`` see `dose.leverage`."""
    nobody = np.zeros(0, dtype=np.int64)
    empty = Excess(cell, nobody, nobody, np.zeros(0), np.zeros((0, 1)), np.zeros((0, 1)))
    if cell.reason:
        return _because(empty, cell.reason)
    seen = inside & np.isfinite(y[:, cell.t]) & np.isfinite(y[:, cell.b])
    own = np.flatnonzero(seen & (design.first == cell.cohort))
    other = np.flatnonzero(seen & (design.first > cell.after) & (design.first != cell.cohort))
    reason = too_few(design, design.cluster[own], design.cluster[other], least)
    if reason:
        return _because(empty, reason)
    basis = np.concatenate([np.ones((design.n, 1)), x], axis=1)
    w = design.weight[other]
    gram = basis[other].T @ (basis[other] * w[:, None])
    if other.size < gram.shape[0] or len(independent(gram)) < gram.shape[0]:
        return _because(
            empty, Reason(Why.COLLINEAR, "covariates are collinear among the comparison units")
        )
    dy = y[:, cell.t] - y[:, cell.b]
    inverse = np.linalg.inv(gram)
    coef = inverse @ (basis[other].T @ (w * dy[other]))
    left = dy[other] - basis[other] @ coef
    back = by_group(basis[other], w, left, inverse, other, groups, leverage)
    return Excess(cell, own, other, dy[own] - basis[own] @ coef, basis[own], back)


def _because(empty: Excess, reason: str) -> Excess:
    return Excess(empty.cell, empty.own, empty.other, empty.r, empty.x, empty.back, reason)


def project(
    design: DosedRollout,
    one: Excess,
    phi: Floats,
    groups: Groups,
    chosen: Bools | None = None,
    leverage: bool = False,
) -> Fitted:
    """Least squares of the excess changes on ``phi`` [m, k], of treated units ``chosen`` [m]."""
    pick = np.ones(one.own.size, dtype=bool) if chosen is None else chosen
    phi, own = phi[pick], one.own[pick]
    w = design.weight[own]
    gram = phi.T @ (phi * w[:, None])
    if own.size < gram.shape[0] or len(independent(gram)) < gram.shape[0]:
        return Fitted(np.zeros(0), np.zeros((groups.size, 0)), "too few doses in the cohort")
    inverse = np.linalg.inv(gram)
    coef = inverse @ (phi.T @ (w * one.r[pick]))
    left = one.r[pick] - phi @ coef
    leaning = inverse @ (phi.T @ (one.x[pick] * w[:, None]))
    z = by_group(phi, w, left, inverse, own, groups, leverage) - one.back @ leaning.T
    return Fitted(coef, z)


def support_of(design: DosedRollout, cells: Sequence[Excess], chosen: Bools) -> Support:
    """Units and clusters behind ``cells``, of the treated those ``chosen`` [n]; the effective number of
    comparison units in the weakest."""
    sides = np.zeros((2, design.n), dtype=bool)
    effective = np.inf
    for one in cells:
        sides[0, one.own] = True
        sides[1, one.other] = True
        w = design.weight[one.other]
        effective = min(effective, float(w.sum() ** 2 / (w @ w)) if w.size else 0.0)
    sides[0] &= chosen
    flag = np.zeros(int(design.cluster.max()) + 1, dtype=bool)
    flag[design.cluster[sides.any(axis=0)]] = True
    return Support(
        treated=np.packbits(sides[0]),
        comparison=np.packbits(sides[1]),
        clusters=np.packbits(flag),
        effective=effective if np.isfinite(effective) else 0.0,
        trimmed=0,
    )
