"""Forests on the units of doubly robust scores: same nuisances, same clusters, same folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.forest.forest import Forest, fit_forest, least_units
from tiltakeval.estimators.heterogeneity.forest.options import ForestOptions
from tiltakeval.estimators.heterogeneity.scores import UnitScores


def forest_of_scores(scores: UnitScores, options: ForestOptions | None = None) -> Forest:
    """A forest of all units scored; ``predict()`` is out of bag. Raises InputError."""
    return _fit(scores, np.ones(scores.n, dtype=bool), options or ForestOptions())


def held_out_effects(
    scores: UnitScores, options: ForestOptions | None = None, *, sequential: bool = True
) -> NDArray[np.float64]:
    """[n, A - 1] effects of every unit from a forest of other folds' units.

    ``sequential``: of the folds before its own, so that what is tested on a fold is independent of what
    it is tested with; units of the first fold, and of folds before which an arm has too few units, have
    NaN. Raises InputError when that leaves nobody.
    """
    how = options or ForestOptions()
    out = np.full((scores.n, len(scores.arms) - 1), np.nan)
    for f in range(scores.folds):
        test = scores.fold == f
        train = (scores.fold < f if sequential else ~test) & (scores.weight > 0)
        found = np.bincount(scores.arm[train], minlength=len(scores.arms))
        if not test.any() or found.min() < least_units(how):
            continue
        out[test] = _fit(scores, train, how).predict(scores.x[test], variance=False).effects
    if np.isnan(out).all():
        fewest = scores.arms[int(np.bincount(scores.arm, minlength=len(scores.arms)).argmin())]
        raise InputError(
            f"too few units of '{fewest}' for a forest: {least_units(how)} are needed in all folds "
            "but one",
            where="causal forest",
            remedy="Pool programmes, or compare fewer of them (arms).",
        )
    return out


def _fit(scores: UnitScores, keep: NDArray[np.bool_], how: ForestOptions) -> Forest:
    """Unseen codes of a covariate in held-out units must not stop it: codes are not checked."""
    e = scores.propensity[keep]
    e = e / e.sum(axis=1, keepdims=True)
    return fit_forest(
        scores.x[keep],
        scores.arm[keep],
        scores.y[keep],
        (e * scores.fitted[keep]).sum(axis=1),
        e,
        scores.weight[keep],
        scores.cluster[keep],
        replace(how, check_codes=False),
        names=scores.names,
        variance=False,
    )
