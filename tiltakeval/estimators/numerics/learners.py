"""Tree learners from scikit-learn, for cross-sections of moderate size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.numerics.layout import Layout, OutcomeBlock
from tiltakeval.estimators.numerics.ridge import Predictions, Regression
from tiltakeval.estimators.numerics.threads import in_threads

Floats = NDArray[np.floating]
MAX_FITS = 2_000


@dataclass(frozen=True)
class Trees:
    """Settings of the tree learners: number of trees (or rounds), least weightless leaf size, seed."""

    number: int = 300
    min_leaf: int = 10
    seed: int = 0


def classifier(learner: str, trees: Trees, *, seed: int) -> Any:
    """A scikit-learn classifier: 'forest' or 'boosting'."""
    if learner == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(
            trees.number,
            min_samples_leaf=trees.min_leaf,
            max_features="sqrt",
            n_jobs=1,
            random_state=seed,
        )
    if learner == "boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=trees.number,
            max_leaf_nodes=8,
            min_samples_leaf=trees.min_leaf,
            early_stopping=False,
            random_state=seed,
        )
    raise InputError(f"unknown learner '{learner}'", remedy="Use logit, forest or boosting.")


def regressor(learner: str, trees: Trees, *, seed: int) -> Any:
    """A scikit-learn regressor: 'forest' (several outcomes at once) or 'boosting' (one)."""
    if learner == "forest":
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(
            trees.number,
            min_samples_leaf=trees.min_leaf,
            max_features=1 / 3,
            n_jobs=1,
            random_state=seed,
        )
    if learner == "boosting":
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(
            learning_rate=0.05,
            max_iter=trees.number,
            max_leaf_nodes=8,
            min_samples_leaf=trees.min_leaf,
            early_stopping=False,
            random_state=seed,
        )
    raise InputError(f"unknown learner '{learner}'", remedy="Use ridge, forest or boosting.")


def fit_trees(
    regressions: Sequence[Regression],
    *,
    x: Floats,
    w: Floats,
    block: OutcomeBlock,
    layout: Layout,
    learner: str,
    trees: Trees,
    threads: int = 2,
    only: Sequence[int] | None = None,
) -> Predictions:
    """Cross-fitted tree predictions, tabulated; arguments as in ``ridge.fit_ridge``.

    ``only`` are the folds to be predicted (default: all; others are left at 0).

    Raises InputError when the number of fits (regressions x folds x outcomes x months) is over
    ``MAX_FITS``: ridge is for those.
    """
    n, columns = block.y.shape
    sets = [np.flatnonzero(block.pattern == p) for p in range(block.patterns)]
    if learner == "boosting" or any(r.censor is not None for r in regressions):
        sets = [np.array([c]) for c in range(columns)]
    if len(regressions) * layout.folds * len(sets) > MAX_FITS:
        raise InputError(
            f"'{learner}' would need more than {MAX_FITS} fits for these outcomes and months",
            where="learner_outcome",
            remedy="Use learner_outcome = 'ridge'.",
        )
    fold = np.empty(n, dtype=np.int64)
    arm = np.empty(n, dtype=np.int64)
    for f in range(layout.folds):
        for b in range(layout.block.shape[1]):
            fold[layout.rows(f, b)] = f
            arm[layout.rows(f, b)] = b
    values = [np.zeros((n, columns), dtype=np.float32) for _ in regressions]

    def one(job: tuple[int, int, int]) -> None:
        m, f, s = job
        regression, at = regressions[m], sets[s]
        v = w.copy()
        if regression.censor is not None:
            v *= regression.censor[:, block.horizon[at[0]]]
        train = (arm == regression.arm) & (fold != f) & (v > 0)
        if block.observed is not None:
            train &= block.observed[:, block.pattern[at[0]]]
        if not train.any():
            return
        model = regressor(learner, trees, seed=trees.seed + f)
        target = block.y[train][:, at]
        model.fit(x[train], target if at.size > 1 else target[:, 0], sample_weight=v[train])
        test = fold == f
        values[m][np.ix_(test, at)] = model.predict(x[test]).reshape(-1, at.size)

    jobs = [
        (m, f, s)
        for m in range(len(regressions))
        for f in (range(layout.folds) if only is None else only)
        for s in range(len(sets))
    ]
    in_threads(one, jobs, threads=threads)
    return Predictions(values=values)
