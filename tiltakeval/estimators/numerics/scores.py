"""Doubly robust scores of every programme, outcome, month and subgroup, summed by group.

With T the target arms, S a subgroup's indicator (times the unit's weight, legal eligibility and
"observed in that month"), e_T = sum of e_b over T, the mean of arm a over the target is the mean of

    psi(a, T) = S [ 1{A in T} mu_a(X) + 1{A = a} (e_T / e_a)(Y - mu_a(X)) ] / E[S 1{A in T}].

T = all arms gives the ATE, T = {a} the ATT, T = any programme compares programmes on the same people.
The overlap target weighs units by h = 1 / sum_b (1 / e_b) instead (Li & Li 2019, Annals of Applied
Statistics 13:2389-2415). As h is a function of the propensities, a score that estimating them doesn't
bias adds sum_b (dh / de_b)(1{A = b} - e_b)(mu_a - theta_a), and dh / de_b = h^2 / e_b^2, so that

    psi(a) = S [ H mu_a(X) + 1{A = a} (h / e_a)(Y - mu_a(X)) ] / E[S H],      H = (h / e_A)^2:

the form above with H for the indicator of T and h for e_T.
Sums over groups are matrix products of slices, so no array of n x scores is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.numerics.layout import Layout, OutcomeBlock, Target
from tiltakeval.estimators.numerics.ridge import Predictions
from tiltakeval.estimators.numerics.threads import in_threads

Floats = NDArray[np.floating]
#: Group sums with fewer entries are kept in double precision.
DOUBLE_BELOW = 5e6


@dataclass(frozen=True)
class Mean:
    """The mean of ``arm`` over a target: its regression, and censoring weights [n, T] if any."""

    arm: int
    model: int
    censor: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class TargetSums:
    """What one target needs. ``target_arms`` T, ``required`` arms (S), ``means`` in order.

    With ``overlap`` units are weighted by how well their covariates are met in every arm of T.
    """

    target_arms: tuple[int, ...]
    required: tuple[int, ...]
    means: tuple[Mean, ...]
    overlap: bool = False


@dataclass(frozen=True)
class Scores:
    """Per target: theta [J, L, C], z [G, J, L, C] (influence / target count), size [L, P].

    A mean with an empty target has theta NaN and z zero.
    """

    theta: tuple[NDArray[np.float64], ...]
    z: tuple[Floats, ...]
    size: tuple[NDArray[np.float64], ...]


def score(
    targets: Sequence[TargetSums],
    *,
    propensity: Floats,
    allowed: NDArray[np.bool_],
    w: Floats,
    levels: Floats,
    block: OutcomeBlock,
    predictions: Predictions,
    layout: Layout,
    groups: int,
    main: int | None = None,
    threads: int = 2,
) -> Scores:
    """Scores of all targets. Arrays are sorted like ``layout``; ``levels`` [n, L] are 0/1 membership.

    ``propensity`` [n, A] is clipped and zero where not ``allowed``; ``w`` [n] sampling weights;
    ``groups`` is the number of rows of sums, of which the first ``main`` (default: all) hold every unit
    once; z has a row for each. Nothing in the result depends on ``threads``.
    """
    n_levels, columns = levels.shape[1], block.y.shape[1]
    psi = []
    for target in targets:
        shape = (groups, len(target.means), n_levels, columns)
        small = float(np.prod(shape)) < DOUBLE_BELOW
        psi.append(np.zeros(shape, dtype=np.float64 if small else np.float32))
    count = [np.zeros((groups, n_levels, block.patterns)) for _ in targets]

    def one(fold: int) -> None:
        for arm in range(layout.block.shape[1]):
            for rows, inside in layout.chunks(fold, arm):
                _add_chunk(
                    targets,
                    psi,
                    count,
                    arm=arm,
                    fold=fold,
                    rows=rows,
                    inside=inside,
                    propensity=propensity,
                    allowed=allowed,
                    w=w,
                    levels=levels,
                    block=block,
                    predictions=predictions,
                )

    # a person met in several offices adds to the same rows from several folds
    in_threads(one, range(layout.folds), threads=threads if layout.into is None else 1)
    theta, z, size = [], [], []
    for sums, counts in zip(psi, count):
        total = sums[:main].sum(axis=0, dtype=np.float64)
        held = counts[:main].sum(axis=0)
        by_column = held[:, block.pattern]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(by_column > 0, total / by_column, np.nan)
        safe = np.where(by_column > 0, by_column, 1.0)
        filled = np.where(by_column > 0, mean, 0.0)
        for g in range(groups):
            sums[g] = (sums[g] - counts[g][:, block.pattern] * filled) / safe
        theta.append(mean + block.centre)
        z.append(sums)
        size.append(held)
    return Scores(theta=tuple(theta), z=tuple(z), size=tuple(size))


def _add_chunk(
    targets: Sequence[TargetSums],
    psi: Sequence[Floats],
    count: Sequence[Floats],
    *,
    arm: int,
    fold: int,
    rows: slice,
    inside: Sequence[tuple[Target, slice]],
    propensity: Floats,
    allowed: NDArray[np.bool_],
    w: Floats,
    levels: Floats,
    block: OutcomeBlock,
    predictions: Predictions,
) -> None:
    """Add the units of one (fold, arm) chunk to the group sums of every target."""
    y = block.y[rows].astype(np.float64)
    seen = None if block.observed is None else block.observed[rows]
    if seen is not None and seen.all():
        seen = None
    e, member = propensity[rows], levels[rows]
    fitted: dict[int, NDArray[np.float64]] = {}
    residuals: dict[int, NDArray[np.float64]] = {}

    def mu(model: int) -> NDArray[np.float64]:
        if model not in fitted:
            found = predictions.of(model, fold, rows)
            fitted[model] = found if seen is None else found * seen[:, block.pattern]
        return fitted[model]

    def residual(mean: Mean) -> NDArray[np.float64]:
        if mean.model not in residuals:
            found = y - mu(mean.model)
            if mean.censor is not None:
                found *= mean.censor[rows][:, block.horizon]
            residuals[mean.model] = found
        return residuals[mean.model]

    def add(out: Floats, v: Floats, value: Floats) -> None:
        ws = v[:, None] * member
        for g, part in inside:
            out[g] += ws[part].T @ value[part]

    for t, target in enumerate(targets):
        open_to = w[rows] * allowed[rows][:, list(target.required)].all(axis=1)
        in_target = arm in target.target_arms
        ratio = ratio_to_arm(e, target.target_arms, arm, overlap=target.overlap)
        s = open_to * ratio**2 if target.overlap else open_to
        if in_target:
            ones = np.ones((s.size, 1)) if seen is None else seen.astype(np.float64)
            add(count[t], s, ones)
        for j, mean in enumerate(target.means):
            own = mean.arm == arm
            if own and target.target_arms == (arm,) and mean.censor is None:
                add(psi[t][:, j], s, y)  # the regression cancels: the arm's own mean
                continue
            if own:
                add(psi[t][:, j], open_to * ratio, residual(mean))
            if in_target and predictions.linear and seen is None:
                assert predictions.x is not None
                beta = predictions.beta[mean.model][fold]
                ws = s[:, None] * member
                x = predictions.x[rows]
                for g, part in inside:
                    psi[t][g, j] += (ws[part].T @ x[part]) @ beta
            elif in_target:
                add(psi[t][:, j], s, mu(mean.model))


def ratio_to_arm(
    e: Floats, target_arms: Sequence[int], arm: int, *, overlap: bool = False
) -> NDArray[np.float64]:
    """e_T / e_arm [rows], with ``overlap`` h / e_arm; 0 where the arm isn't open to the unit."""
    own = e[:, arm]
    if overlap:
        others = e[:, list(target_arms)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(own > 0, 1.0 / (own[:, None] / others).sum(axis=1), 0.0)
    total = e[:, list(target_arms)].sum(axis=1)
    return np.where(own > 0, total / np.where(own > 0, own, 1.0), 0.0)


def unit_scores(
    target: TargetSums,
    *,
    arm: NDArray[np.integer],
    propensity: Floats,
    block: OutcomeBlock,
    predictions: Predictions,
    layout: Layout,
    column: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of one outcome column, unit by unit: psi [n, J], mu [n, J] and the target's weight [n].

    Sorted like ``layout``. For targets whose units are all those open to the arms compared: the mean
    of psi with that weight (times the sampling weight) is the mean of ``target.means[j].arm``. A unit's
    psi is mu + 1{A = a} (Y - mu) / e_a; with ``overlap`` the weight is H, and psi has e_a / h for
    1 / e_a. Units where the outcome isn't observed have psi NaN.
    """
    n, many = arm.size, len(target.means)
    psi, fitted = np.zeros((n, many)), np.zeros((n, many))
    weight = np.ones(n)
    for f in range(layout.folds):
        for b in range(layout.block.shape[1]):
            rows = layout.rows(f, b)
            if rows.stop == rows.start:
                continue
            y = block.y[rows, column].astype(np.float64)
            e = propensity[rows]
            ratio = ratio_to_arm(e, target.target_arms, b, overlap=target.overlap)
            weight[rows] = ratio**2 if target.overlap else 1.0
            for j, mean in enumerate(target.means):
                mu = predictions.of(mean.model, f, rows)[:, column]
                fitted[rows, j] = mu
                psi[rows, j] = mu
                if mean.arm == b:
                    residual = y - mu
                    if mean.censor is not None:
                        residual = residual * mean.censor[rows][:, block.horizon[column]]
                    lift = 1.0 / np.where(ratio > 0, ratio, 1.0) if target.overlap else ratio
                    psi[rows, j] += lift * residual
    if block.observed is not None:
        psi[~block.observed[:, block.pattern[column]]] = np.nan
    return psi + block.centre[column], fitted + block.centre[column], weight
