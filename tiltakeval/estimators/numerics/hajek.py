"""Normalised (Hajek) weighted means, with the error of the estimated propensities accounted for.

The mean of arm b over a target solves sum_i v_i (Y_i - theta) = 0 with v = S 1{A = b} e_T / e_b. Its
influence is v_i (Y_i - theta) + D' H^-1 s_i, over sum v, where s_i are the scores of the multinomial
logit, H its information (with the ridge) and D the derivative of the sum by the coefficients:
d log(e_T / e_b) / d gamma_j = x (1{j in T} e_j / e_T - 1{j = b}).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.numerics.layout import Layout, OutcomeBlock
from tiltakeval.estimators.numerics.scores import TargetSums

Floats = NDArray[np.floating]


def logit_pieces(
    x: Floats, *, e: Floats, arm: NDArray, w: Floats, group: NDArray, groups: int, ridge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores summed by group [G, (A-1) q] and the inverse information [(A-1) q, same].

    ``x`` [n, q] with the constant first, on standardised columns; ``e`` [n, A] unclipped.
    """
    others, q = e.shape[1] - 1, x.shape[1]
    sums = np.zeros((groups, others * q))
    information = np.zeros((others * q, others * q))
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) != 0])
    names = group[order][starts]
    for j in range(others):
        s = (w * ((arm == j + 1) - e[:, j + 1]))[:, None] * x
        sums[names, j * q : (j + 1) * q] = np.add.reduceat(s[order], starts, axis=0)
        for k in range(j + 1):
            curve = w * e[:, j + 1] * ((j == k) - e[:, k + 1])
            part = x.T @ (x * curve[:, None])
            information[j * q : (j + 1) * q, k * q : (k + 1) * q] = part
            information[k * q : (k + 1) * q, j * q : (j + 1) * q] = part.T
    penalty = np.full(q, ridge)
    penalty[0] = 0.0
    information[np.diag_indices_from(information)] += np.tile(penalty, others)
    return sums, np.linalg.pinv(information, hermitian=True)


def hajek(
    targets: Sequence[TargetSums],
    *,
    x: Floats,
    propensity: Floats,
    unclipped: NDArray[np.bool_],
    allowed: NDArray[np.bool_],
    w: Floats,
    levels: Floats,
    block: OutcomeBlock,
    layout: Layout,
    groups: int,
    main: int,
    score_sums: Floats,
    inverse: Floats,
) -> tuple[list[Floats], list[Floats]]:
    """Per target theta [J, L, C] and z [G, J, L, C], as ``scores.score`` gives them.

    ``layout`` has one fold; ``x`` [n, q] with the constant first; ``unclipped`` [n] are units whose
    weights vary with the propensity; ``score_sums``, ``inverse`` from ``logit_pieces``; ``groups`` and
    ``main`` as in ``scores.score``.
    """
    thetas, influences = [], []
    for target in targets:
        shape = (len(target.means), levels.shape[1], block.y.shape[1])
        theta = np.full(shape, np.nan)
        z = np.zeros((groups, *shape), dtype=np.float32 if groups * np.prod(shape) > 5e6 else float)
        for j, mean in enumerate(target.means):
            rows = layout.rows(0, mean.arm)
            e = propensity[rows]
            own = e[:, mean.arm]
            total = e[:, list(target.target_arms)].sum(axis=1)
            ratio = np.where(own > 0, total / np.where(own > 0, own, 1.0), 0.0)
            v = w[rows] * allowed[rows][:, list(target.required)].all(axis=1) * ratio
            seen = np.ones((v.size, 1)) if block.observed is None else block.observed[rows]
            seen = seen[:, block.pattern].astype(np.float64)
            y = block.y[rows].astype(np.float64)
            if mean.censor is not None:
                c = mean.censor[rows][:, block.horizon]
                seen, y = seen * c, y * c
            sums, size = np.zeros((groups, *shape[1:])), np.zeros((groups, *shape[1:]))
            ws = v[:, None] * levels[rows]
            names, starts = layout.segments[0][mean.arm]
            for s, g in enumerate(names):
                part = slice(int(starts[s]) - rows.start, int(starts[s + 1]) - rows.start)
                into = layout.target(int(g))
                sums[into] += ws[part].T @ y[part]
                size[into] += ws[part].T @ seen[part]
            held = size[:main].sum(axis=0)
            safe = np.where(held > 0, held, 1.0)
            centre = sums[:main].sum(axis=0) / safe
            out = sums - size * centre
            for arm in range(1, propensity.shape[1]):
                factor = np.full(own.size, -1.0 * (arm == mean.arm))
                if arm in target.target_arms:
                    factor = factor + e[:, arm] / np.where(total > 0, total, 1.0)
                factor = np.where(unclipped[rows], factor, 0.0)
                if not np.any(np.abs(factor) > 1e-12):
                    continue
                q = x.shape[1]
                block_of = slice((arm - 1) * q, arm * q)
                along = score_sums @ inverse[:, block_of]
                for level in range(levels.shape[1]):
                    xv = x[rows] * (ws[:, level] * factor)[:, None]
                    slope = xv.T @ y - (xv.T @ seen) * centre[level]
                    out[:, level] += along @ slope
            theta[j] = np.where(held > 0, centre + block.centre, np.nan)
            z[:, j] = np.where(held > 0, out / safe, 0.0)
        thetas.append(theta)
        influences.append(z)
    return thetas, influences
