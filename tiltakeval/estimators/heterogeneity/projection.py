"""Best linear projection of the effects on declared covariates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.gate import counts_of_all, joint_df
from tiltakeval.estimators.heterogeneity.multiple import wald
from tiltakeval.estimators.heterogeneity.rows import Lines, label_of, over_splits, support
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]


def projection(scores: UnitScores, covariates: Sequence[str]) -> tuple[Lines, list[dict[str, Any]]]:
    """Slopes of the effect of every programme in all ``covariates`` at once, and tests that all are 0.

    Least squares of the scores of the effects on the covariates (Semenova & Chernozhukov 2021,
    Econometrics Journal 24:264-289; robust errors from the influence): what is described is the
    best linear approximation among those described, whatever the shape of the effects. Rows have
    term ``slope`` and the covariate as subgroup. Raises InputError for a name that isn't a covariate,
    or columns that depend on each other.
    """
    for name in covariates:
        if name not in scores.names:
            raise unknown("covariate", name, scores.names, where="projection")
    if not covariates:
        raise InputError("no covariate is named", where="projection")
    z = scores.x[:, [scores.names.index(name) for name in covariates]]
    arms = range(1, len(scores.arms))
    everybody = np.ones(scores.n, dtype=bool)
    labels = [
        label_of(scores, a, subgroup=name, term="slope", **support(scores, everybody, a))
        for a in arms
        for name in covariates
    ]

    def compute(split: UnitScores) -> tuple[Floats, Floats]:
        n, d = split.all_scores()
        found = [
            least_squares(z, n[:, [j]], split.weight, names=covariates, counted=d[:, j])
            for j in range(len(arms))
        ]
        return (
            np.concatenate([beta[:, 0] for beta, _ in found]),
            np.hstack([values[:, :, 0] for _, values in found]),
        )

    theta, influence = over_splits(scores, compute)
    lines = Lines(tuple(labels), theta, influence, family="over covariate, programme")
    tests = []
    for j, a in enumerate(arms):
        at = np.arange(j * len(covariates), (j + 1) * len(covariates))
        f, _, p = wald(
            theta[at],
            influence[:, at],
            df=joint_df(scores, lines, at),
            form=scores.groups.form,
        )
        tests.append(
            {
                **counts_of_all(scores),
                **label_of(scores, a, subgroup="all", term="test_no_slopes"),
                "unit": "F",
                "estimate": f,
                "p_value": p,
            }
        )
    return lines, tests


def least_squares(
    x: Floats,
    y: Floats,
    weight: Floats,
    *,
    names: Sequence[str] = (),
    counted: Floats | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slopes [p, m] of weighted least squares of ``y`` [n, m] on 1 and ``x`` [n, p], and the influence
    [n, p, m] of every unit. With ``counted`` [n] they are of numerators y: the b that solve
    sum weight x (y - counted x'b) = 0. Raises InputError when the columns depend on each other."""
    d = np.ones(len(x)) if counted is None else counted
    total = weight @ d
    share = weight * d / total
    centred = x - share @ x
    gram = (centred * share[:, None]).T @ centred
    scale = np.sqrt(np.diag(gram))
    if (scale <= 1e-10 * np.maximum(np.abs(share @ x), 1e-30)).any() or (
        np.linalg.eigvalsh(gram / np.outer(scale, scale)).min() < 1e-9
    ):
        raise InputError(
            "the covariates don't vary among those described, or depend on each other linearly",
            where=", ".join(names) or None,
            remedy="Leave one out.",
        )
    left = np.linalg.solve(gram, (centred * (weight / total)[:, None]).T)
    middle = y - d[:, None] * (weight @ y / total)
    beta = left @ middle
    residual = middle - d[:, None] * (centred @ beta)
    return beta, left.T[:, :, None] * residual[:, None, :]
