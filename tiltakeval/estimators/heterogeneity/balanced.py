"""Subgroup effects with the composition of other characteristics held fixed (balanced GATE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.cate import penalised
from tiltakeval.estimators.heterogeneity.rows import (
    Lines,
    label_of,
    over_splits,
    ratio_of,
    support,
    supported,
)
from tiltakeval.estimators.heterogeneity.scores import UnitScores
from tiltakeval.estimators.numerics.odds import cross_fit_odds
from tiltakeval.estimators.numerics.threads import one_thread

Floats = NDArray[np.floating]
#: A level isn't found at a z where its share is below this part of its overall share ...
FOUND = 0.05
#: ... and a level that isn't found at the z of more than this share of all units isn't supported.
MOST_NOT_FOUND = 0.05


def balanced_gate(scores: UnitScores, subgroup: str, *, holding: Sequence[str] = ()) -> Lines:
    """Effects by level of ``subgroup`` as if every level had the pooled distribution of ``holding``.

    ``holding`` names other declared subgroups or covariates (default: all other subgroups). With m_g(z)
    the effect at z in level g and p_g(z) the share of level g at z, both cross-fitted,

        theta_g = E[ m_g(Z) + 1{G = g} (score - m_g(Z)) / p_g(Z) ]

    (Bearth & Lechner 2024, arXiv 2401.08290, section 3; doubly robust in m and p). For participants,
    with N and D of `UnitScores.scores_of`, E[D m_g + 1{G = g} (N - D m_g) / p_g] / E[D], where m and p
    are those among participants, and z theirs. Differences between
    levels that remain aren't due to ``holding``. Rows have term ``effect_balanced``; a level that isn't
    found at the z of more than 5 % of all units is not supported. Raises InputError.
    """
    if subgroup not in scores.subgroups:
        raise unknown("subgroup", subgroup, scores.subgroups, where="balanced")
    group = scores.subgroups[subgroup]
    z = held_columns(scores, subgroup, holding)
    known = group.codes >= 0
    arms = range(1, len(scores.arms))
    levels = [g for g in range(len(group.levels)) if (group.codes == g).sum() >= scores.folds]
    if len(levels) < 2:
        raise InputError("fewer than two levels have units enough", where=subgroup)
    labels = [
        label_of(
            scores,
            a,
            subgroup=group.label(subgroup, g),
            term="effect_balanced",
            **support(scores, np.asarray(group.codes == g), a),
        )
        for g in levels
        for a in arms
    ]
    enough = np.array([supported(label) for label in labels])

    def compute(split: UnitScores) -> tuple[Floats, Floats]:
        numerator, counted = split.all_scores()
        found = np.full((len(levels), len(arms)), np.nan)
        each = np.zeros((scores.n, len(levels), len(arms)))
        for some in _alike(counted):
            n, d = numerator[:, some], counted[:, some]
            w = split.weight * known
            described = w * d[:, 0]
            chance = _chances(split, z, group, levels, described)
            for j, g in enumerate(levels):
                own = group.codes == g
                mean = _fitted(split, z, own & (d[:, 0] > 0), n, w)
                least = FOUND * described[own].sum() / described.sum()
                lift = np.where(own, 1.0 / np.maximum(chance[:, j], least), 0.0)
                if described @ (chance[:, j] < least) > MOST_NOT_FOUND * described.sum():
                    continue
                found[j, some], each[:, j, some] = ratio_of(
                    w, d * mean + lift[:, None] * (n - d * mean), d
                )
        theta, value = found.ravel(), each.reshape(scores.n, -1)
        return np.where(enough, theta, np.nan), np.where(enough, value, 0.0)

    theta, influence = over_splits(scores, compute)
    return Lines(tuple(labels), theta, influence, f"over {subgroup} balanced, programme")


def _alike(counted: Floats) -> list[list[int]]:
    """Columns of ``counted`` [n, m] in lots that describe the same units."""
    lots: list[list[int]] = []
    for j in range(counted.shape[1]):
        same = [lot for lot in lots if np.array_equal(counted[:, lot[0]], counted[:, j])]
        same[0].append(j) if same else lots.append([j])
    return lots


def held_columns(scores: UnitScores, subgroup: str, holding: Sequence[str]) -> NDArray[np.float64]:
    """[n, q] columns of what is held fixed: indicators of subgroups' levels, covariates as they are."""
    names = list(holding) or [name for name in scores.subgroups if name != subgroup]
    columns: list[Any] = []
    for name in names:
        if name == subgroup:
            raise InputError("a subgroup can't be held fixed in its own effects", where=name)
        if name in scores.subgroups:
            other = scores.subgroups[name]
            columns += [other.codes == level for level in range(1, len(other.levels))]
        elif name in scores.names:
            columns.append(scores.x[:, scores.names.index(name)])
        else:
            raise unknown(
                "characteristic", name, [*scores.subgroups, *scores.names], where="holding"
            )
    if not columns:
        raise InputError(
            "nothing is named to be held fixed",
            where=subgroup,
            remedy="Declare another subgroup, or name covariates.",
        )
    return np.column_stack(columns).astype(np.float64)


def _chances(
    split: UnitScores, z: Floats, group: Subgroup, levels: Sequence[int], w: Floats
) -> NDArray[np.float64]:
    """[n, levels] cross-fitted shares of the levels given z."""
    position = np.full(len(group.levels) + 1, -1)
    position[list(levels)] = np.arange(len(levels))
    code = position[group.codes]
    rows = np.flatnonzero(code >= 0)
    out = np.zeros((split.n, len(levels)))
    with one_thread():
        out[rows] = cross_fit_odds(
            z[rows],
            arm=code[rows],
            allowed=np.ones((rows.size, len(levels)), dtype=bool),
            weight=w[rows],
            fold=split.fold[rows],
            folds=split.folds,
            cluster=split.cluster[rows],
        )
    return out


def _fitted(
    split: UnitScores, z: Floats, own: NDArray[np.bool_], y: Floats, w: Floats
) -> NDArray[np.float64]:
    """[n, m] cross-fitted means of ``y`` [n, m] at z among ``own``, for everybody."""
    out = np.zeros(y.shape)
    with one_thread():
        for f in range(split.folds):
            train, test = own & (split.fold != f) & (w > 0), split.fold == f
            if train.any() and test.any():
                out[test] = penalised(z[train], y[train], w[train], split.fold[train], z[test])
    return out
