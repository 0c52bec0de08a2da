"""Outcome regressions by the learner of a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.numerics.ensemble import ALL_LEARNERS, WITHOUT_TREES, fit_ensemble
from tiltakeval.estimators.numerics.layout import Layout, OutcomeBlock
from tiltakeval.estimators.numerics.learners import Trees, fit_trees
from tiltakeval.estimators.numerics.ridge import Predictions, Regression, fit_ridge

Floats = NDArray[np.floating]


def fit_outcomes(
    learner: str,
    regressions: Sequence[Regression],
    *,
    x: Floats,
    w: Floats,
    block: OutcomeBlock,
    layout: Layout,
    names: int,
    cluster: NDArray[np.int64],
    trees: Trees,
) -> tuple[Predictions, dict[str, dict[str, float]]]:
    """Cross-fitted predictions of every regression; of an ensemble, each learner's mean weight by arm.

    Arguments as in `fit_ridge` and `fit_ensemble`. Raises InputError for an unknown learner, or more
    fits than an ensemble is for.
    """
    shared: dict[str, Any] = {"x": x, "w": w, "block": block, "layout": layout}
    if learner == "ridge":
        return fit_ridge(regressions, names=names, **shared), {}
    if learner not in ("ensemble", "best", "products"):
        return fit_trees(regressions, learner=learner, trees=trees, **shared), {}
    found, weights = fit_ensemble(
        regressions,
        names=names,
        cluster=cluster,
        combine="best" if learner == "best" else "ensemble",
        trees=trees,
        learners=WITHOUT_TREES if learner == "products" else ALL_LEARNERS,
        **shared,
    )
    return found, {
        name: {str(regressions[m].arm): weight for m, weight in by.items()}
        for name, by in weights.items()
    }
