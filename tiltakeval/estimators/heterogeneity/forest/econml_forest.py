"""econml's causal forest behind the same arrays, to hold our own to.

Only individual effects are taken from it. Its ``att_`` gave -2,904 dollars for NSW participants with
CPS controls, its ``ate_stderr_`` with several arms is too small by sqrt(arms - 1), and its average is a
score of each arm against the rest: averages come from doubly robust scores alone.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiltakeval.errors import InputError, counted
from tiltakeval.estimators.heterogeneity.forest.effects import Prediction
from tiltakeval.estimators.heterogeneity.forest.inputs import (
    check_arm,
    check_nuisances,
    check_weight,
    numbers,
)

LEAST = 20
#: Modules whose lines such warnings are said of.
OF_LIBRARY = r"(econml|sklearn|scipy|numpy|statsmodels)(\.|$)"


@dataclass(frozen=True, kw_only=True)
class EconmlOptions:
    """``trees`` of the causal forest; without nuisances given, ``CausalForestDML`` makes its own from
    random forests of ``nuisance_trees`` trees in ``folds`` folds."""

    trees: int = 500
    nuisance_trees: int = 100
    min_leaf: int = 5
    folds: int = 3
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.trees < 4 or self.trees % 4:
            raise InputError("econml grows trees in fours", where="trees")
        if self.folds < 2:
            raise InputError("cross-fitting needs at least 2 folds", where="folds")


def econml_forest(
    x: ArrayLike,
    arm: ArrayLike,
    y: ArrayLike,
    m: ArrayLike | None = None,
    e: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    options: EconmlOptions | None = None,
    *,
    new: ArrayLike | None = None,
) -> Prediction:
    """Effects of every arm against arm 0 for x, or for ``new`` rows; arguments as in ``fit_forest``.

    With ``m`` and ``e`` the forest inside CausalForestDML (``econml.grf.CausalForest``) is fitted to
    the residuals. In-sample, as the library does it: a unit's own outcome takes part. Effects aren't
    shrunk. Raises InputError for missing covariates and for clusters, which the library doesn't have.
    """
    how = options or EconmlOptions()
    if cluster is not None:
        raise InputError(
            "econml's forest can't keep clusters together",
            where="cluster",
            remedy="Use fit_forest.",
        )
    table = _complete(x, "x")
    target = table if new is None else _complete(new, "new")
    n = len(table)
    outcome, w = numbers(y, "y", (n,)), check_weight(weight, n)
    arms, count = check_arm(arm, n, least=LEAST, weight=w)
    given = None if weight is None else w
    with warnings.catch_warnings():
        # how the library uses its dependencies, said of its own lines; what concerns the data, and what
        # other code is warned of, is passed on
        for kind in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", category=kind, module=OF_LIBRARY)
        if m is not None and e is not None:
            mean, odds = check_nuisances(m, e, n, count)
            residual = np.equal.outer(arms, np.arange(1, count)) - odds[:, 1:]
            return _on_residuals(table, residual, outcome - mean, given, how, target)
        if m is not None or e is not None:
            raise InputError("give both m and e, or neither", where="m, e")
        return _with_own_nuisances(table, arms, outcome, given, how, target)


def _complete(x: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        values = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("covariates that aren't numbers", where=name) from None
    if values.ndim != 2:
        raise InputError("covariates must be a table", where=name)
    bad = int((~np.isfinite(values)).any(axis=1).sum())
    if bad:
        raise InputError(
            f"{counted(bad, 'row')} with a covariate missing or infinite",
            where=name,
            remedy="Use fit_forest, whose trees take missing values, or fill them in.",
        )
    return values


def _on_residuals(
    x: NDArray,
    treat: NDArray,
    outcome: NDArray,
    w: NDArray | None,
    how: EconmlOptions,
    new: NDArray,
) -> Prediction:
    from econml.grf import CausalForest

    model = CausalForest(
        how.trees,
        min_samples_leaf=how.min_leaf,
        n_jobs=how.threads,
        random_state=how.seed,
        inference=True,
    )
    model.fit(x, treat, outcome[:, None], sample_weight=w)
    effects, covariance = model.predict_and_var(new)
    k = treat.shape[1]
    found = np.asarray(effects, dtype=np.float64).reshape(len(new), k)
    return Prediction(found, found, covariance.reshape(len(new), k, k).astype(np.float32))


def _with_own_nuisances(
    x: NDArray, arm: NDArray, y: NDArray, w: NDArray | None, how: EconmlOptions, new: NDArray
) -> Prediction:
    """Covariances between effects aren't given by the library, and stand as 0."""
    from econml.dml import CausalForestDML
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    forest: dict[str, Any] = {
        "n_estimators": how.nuisance_trees,
        "min_samples_leaf": 10,
        "n_jobs": how.threads,
        "random_state": how.seed,
    }
    model = CausalForestDML(
        model_y=RandomForestRegressor(**forest),
        model_t=RandomForestClassifier(**forest),
        discrete_treatment=True,
        cv=how.folds,
        n_estimators=how.trees,
        min_samples_leaf=how.min_leaf,
        n_jobs=how.threads,
        random_state=how.seed,
        drate=False,  # its averages are not used
    )
    model.fit(y, arm.astype(np.int64), X=x, sample_weight=w)
    found = model.const_marginal_effect_inference(new)
    k = int(arm.max())
    effects = np.asarray(found.point_estimate, dtype=np.float64).reshape(len(new), k)
    variance = np.asarray(found.stderr, dtype=np.float64).reshape(len(new), k) ** 2
    return Prediction(effects, effects, (variance[:, :, None] * np.eye(k)).astype(np.float32))
