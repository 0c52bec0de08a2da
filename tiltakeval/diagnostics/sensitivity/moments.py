"""S = sigma nu of effects, what an unseen factor's strength is multiplied by, with its influence.

With sums over units of Q = M (Y - g)^2, A = M (2 m(W, alpha) - alpha^2) and P = the target's mass, where
M marks the arms whose weights an unseen factor could move (``Weights.moved``), S = sqrt(Q A) / P. As it
doesn't change when all three are scaled, its influence by group is S (Q_g / 2Q + A_g / 2A - P_g / P):
the errors of sigma^2, nu^2 and P together (Chernozhukov et al. 2022, section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.sensitivity.fitted import Spread
from tiltakeval.diagnostics.sensitivity.riesz import Weights
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.floating]
CHUNK = 6


@dataclass(frozen=True)
class Moments:
    """Of one pair on one target, [L, C] over subgroup levels and columns; ``z_...`` [G, L, C].

    ``theta`` the effect; ``sigma2`` the mean square of residuals in the arms that could be moved,
    ``nu2`` that of their weights, ``scale`` S = sqrt(sigma2 nu2). ``plugged`` where the mean square of
    the weights is taken as it is, because the corrected one isn't positive (weights far from their
    truth).
    """

    theta: NDArray[np.float64]
    sigma2: NDArray[np.float64]
    nu2: NDArray[np.float64]
    scale: NDArray[np.float64]
    plugged: NDArray[np.bool_]
    z_theta: NDArray[np.float64]
    z_scale: NDArray[np.float64]


@dataclass(frozen=True)
class Residuals:
    """Of one pair's m units, [m, C]: residuals of the own arm's regression (0 for other arms),
    the difference of the two regressions, who is observed, and censoring weights or None."""

    residual: NDArray[np.float64]
    difference: NDArray[np.float64]
    seen: NDArray[np.bool_]
    censor: NDArray[np.float64] | None

    def total(self) -> Residuals:
        """Of the sum over the columns, [m, 1], for units observed in all of them."""
        seen = np.asarray(self.seen.all(axis=1, keepdims=True), dtype=bool)
        return Residuals(
            np.where(seen, self.residual.sum(axis=1, keepdims=True), 0.0),
            np.where(seen, self.difference.sum(axis=1, keepdims=True), 0.0),
            seen,
            None,
        )


def residuals_of(
    design: CrossSection,
    spread: Spread,
    weights: Weights,
    keys: Sequence[tuple[int | None, str]],
) -> Residuals:
    """Residuals of the columns ``keys`` (horizon, outcome) for the units of ``weights``."""
    outcomes = spread.outcomes
    at = [outcomes.columns[key] for key in keys]
    units, (a, b) = weights.units, weights.pair
    y = np.stack(
        [
            design.outcomes[units, design.horizons.index(h), design.outcome_names.index(k)]
            for h, k in keys
        ],
        axis=1,
    ).astype(np.float64)
    seen = np.isfinite(y)
    mu = [spread.of(arm, a)[units][:, at] for arm in weights.pair]
    own = np.where(weights.treated[:, None], y - mu[0], 0.0)
    own = np.where(weights.other[:, None], y - mu[1], own)
    censor = None
    if outcomes.censor is not None and b == 0:
        month = [at_column // outcomes.names for at_column in at]
        censor = np.where(
            weights.other[:, None], outcomes.censor[units][:, month, a].astype(np.float64), 1.0
        )
    return Residuals(np.where(seen, own, 0.0), np.where(seen, mu[0] - mu[1], 0.0), seen, censor)


def moments(weights: Weights, found: Residuals, groups: Groups, *, members: Floats) -> Moments:
    """Moments of every column of ``found`` and level of ``members`` [m, L]."""
    columns, levels = found.residual.shape[1], members.shape[1]
    shape = (levels, columns)
    theta, scale, sigma2, nu2 = (np.full(shape, np.nan) for _ in range(4))
    plugged = np.zeros(shape, dtype=bool)
    z_theta, z_scale = (np.zeros((groups.size, *shape)) for _ in range(2))
    for level in range(levels):
        rows = np.flatnonzero(members[:, level] > 0)
        for start in range(0, columns, CHUNK):
            at = slice(start, min(start + CHUNK, columns))
            part = _sums(weights, found, groups, rows, members[rows, level], at)
            psi, square, moment, raw, mass, _ = part
            total = [sums[: groups.count].sum(axis=0) for sums in part]
            with np.errstate(divide="ignore", invalid="ignore"):
                value = total[0] / total[4]
                poor = ~(total[2] > 0)
                a = np.where(poor, total[3], total[2])
                s = np.sqrt(total[1] * a) / total[4]
                inside = np.where(poor, raw, moment)
                by_group = s * (square / (2 * total[1]) + inside / (2 * a) - mass / total[4])
                theta[level, at], scale[level, at], plugged[level, at] = value, s, poor
                sigma2[level, at] = total[1] / total[5]
                nu2[level, at] = a * total[5] / total[4] ** 2
                z_theta[:, level, at] = np.nan_to_num((psi - mass * value) / total[4])
            z_scale[:, level, at] = np.nan_to_num(by_group)
    return Moments(theta, sigma2, nu2, scale, plugged, z_theta, z_scale)


def _sums(
    weights: Weights,
    found: Residuals,
    groups: Groups,
    rows: NDArray[np.intp],
    member: Floats,
    at: slice,
) -> list[NDArray[np.float64]]:
    """Sums by group, each [G, k]: psi, Q, A, its plain square, P, and units."""
    seen = found.seen[rows, at]
    v = (weights.sampling[rows] * member)[:, None] * seen
    r = found.residual[rows, at]
    c = 1.0 if found.censor is None else found.censor[rows, at]
    alpha, mass = weights.alpha[rows, None], weights.mass[rows, None]
    moved = weights.moved[rows, None]
    square = moved * alpha**2
    values = [
        v * (mass * found.difference[rows, at] + alpha * c * r),
        v * moved * c * r**2,
        v * (2 * weights.moment[rows, None] - square),
        v * square,
        v * mass,
        v * moved,
    ]
    k = r.shape[1]
    sums = groups.add_up(np.hstack(values), weights.units[rows])
    return [sums[:, i * k : (i + 1) * k] for i in range(len(values))]
