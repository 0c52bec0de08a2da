"""Cross-fitted propensities for all arms at once, kept away from zero at a declared floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.numerics.learners import Trees, classifier
from tiltakeval.estimators.numerics.odds import PENALTIES, cross_fit_odds
from tiltakeval.estimators.numerics.threads import in_threads
from tiltakeval.numerics.logit import fit_multinomial, predict

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
LearnerPropensity = Literal["logit", "forest", "boosting", "ensemble", "best"]


def cross_fit(
    x: Floats,
    *,
    arm: Ints,
    allowed: NDArray[np.bool_],
    weight: Floats,
    fold: Ints,
    folds: int,
    learner: LearnerPropensity,
    ridge: float | None,
    trees: Trees,
    threads: int = 2,
    cluster: Ints | None = None,
    chosen: dict[str, float] | None = None,
) -> NDArray[np.float64]:
    """[n, A] out-of-fold propensities, zero for arms a unit isn't allowed to enter.

    ``ensemble`` combines logit, boosting and forest, ``best`` takes one of them, by likelihood held out
    within the training folds; what they weigh is put into ``chosen``. Raises InputError when an arm
    lacks training units in a fold, or the covariates separate it.
    """
    arms = allowed.shape[1]

    def logit(folded: Ints, count: int) -> NDArray[np.float64]:
        return cross_fit_odds(
            x,
            arm=arm,
            allowed=allowed,
            weight=weight,
            fold=folded,
            folds=count,
            penalties=PENALTIES if ridge is None else (ridge,),
            seed=trees.seed,
            cluster=cluster,
        )

    def trained(name: str, train: NDArray, test: NDArray) -> NDArray[np.float64]:
        if name == "logit":
            return logit(test.astype(np.int64), 2)[test]
        model = classifier(name, trees, seed=trees.seed + int(fold[test].min()))
        model.fit(x[train], arm[train], sample_weight=weight[train])
        found = np.zeros((int(test.sum()), arms))
        found[:, model.classes_.astype(int)] = model.predict_proba(x[test])
        found *= allowed[test]
        total = found.sum(axis=1, keepdims=True)
        share = allowed[test] / allowed[test].sum(axis=1, keepdims=True)
        return np.where(total > 0, found / np.where(total > 0, total, 1.0), share)

    if learner == "logit":
        return logit(fold, folds)
    if learner in ("ensemble", "best"):
        from tiltakeval.estimators.numerics.ensemble_propensity import combined_chances

        out, weights = combined_chances(
            trained,
            arm=arm,
            weight=weight,
            fold=fold,
            folds=folds,
            combine="best" if learner == "best" else "ensemble",
        )
        if chosen is not None:
            chosen.update(weights)
        return out
    out = np.zeros((arm.size, arms))

    def one(f: int) -> None:
        out[fold == f] = trained(learner, fold != f, fold == f)

    in_threads(one, range(folds), threads=threads)
    return out


def in_sample(
    x: Floats, *, arm: Ints, allowed: NDArray[np.bool_], weight: Floats, ridge: float
) -> NDArray[np.float64]:
    """[n, A] propensities of one logit fitted to all units (IPW's, whose error accounts for it)."""
    fit = fit_multinomial(x, arm, allowed.shape[1], allowed=allowed, weight=weight, ridge=ridge)
    return predict(fit, x, allowed=allowed)


def refuse_separation(
    propensity: Floats, *, arm: Ints, allowed: NDArray[np.bool_], arms: Sequence[str]
) -> None:
    """Raise InputError when the propensities part an arm from the comparison without any overlap."""
    for a in range(1, propensity.shape[1]):
        both = allowed[:, a] & allowed[:, 0]
        treated, others = both & (arm == a), both & (arm == 0)
        if treated.sum() < 2 or others.sum() < 2:
            continue
        with np.errstate(divide="ignore"):
            index = np.log(propensity[:, a]) - np.log(propensity[:, 0])
        if index[treated].min() > index[others].max():
            raise InputError(
                f"the covariates separate '{arms[a]}' from the comparison completely: "
                "no comparison unit is like any unit in it",
                where="propensity",
                remedy="Leave out the covariate that decides who takes part, or choose comparison "
                "units who could have taken part.",
            )


def clip(
    propensity: Floats, *, arm: Ints, allowed: NDArray[np.bool_], weight: Floats, floor: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Propensities [n, A] no smaller than ``floor`` times their arm's overall share, renormalised.

    The floor is relative to the share so that it means the same for a large and a small arm. Also
    returns which entries were raised [n, A].
    """
    held = np.array([weight[arm == a].sum() for a in range(propensity.shape[1])])
    open_to = weight @ allowed
    share = held / np.where(open_to > 0, open_to, 1.0)
    least = floor * share * allowed
    low = allowed & (propensity < least)
    raised = np.where(low, least, propensity)
    return raised / raised.sum(axis=1, keepdims=True), low
