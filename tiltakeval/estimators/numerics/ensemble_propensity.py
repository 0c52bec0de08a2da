"""Propensities of several learners combined by their held-out likelihood; see ``ensemble``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.numerics.ensemble import Combine, check_folds

Floats = NDArray[np.floating]
PROPENSITY_LEARNERS = ("logit", "boosting", "forest")


def mixture_weights(chances: Floats, w: Floats, combine: Combine) -> NDArray[np.float64]:
    """[k] weights of learners' chances of what happened [n, k] with the largest log-likelihood (EM)."""
    k = chances.shape[1]
    p = np.maximum(chances, 1e-12)
    if combine == "best":
        return np.eye(k)[int(np.argmax(w @ np.log(p)))]
    alpha = np.full(k, 1.0 / k)
    for _ in range(500):
        part = p * alpha
        new = w @ (part / part.sum(axis=1, keepdims=True)) / w.sum()
        if np.abs(new - alpha).max() < 1e-7:
            break
        alpha = new
    return np.asarray(alpha)


def combined_chances(
    fit: Callable[[str, NDArray, NDArray], NDArray[np.float64]],
    *,
    arm: NDArray,
    weight: Floats,
    fold: NDArray,
    folds: int,
    combine: Combine,
    learners: Sequence[str] = PROPENSITY_LEARNERS,
) -> tuple[NDArray[np.float64], Mapping[str, float]]:
    """[n, A] propensities combined, out of fold, and each learner's mean weight.

    ``fit(learner, train, test)`` gives the propensities of the units ``test`` (a mask) from ``train``.
    """
    check_folds(folds)
    own = np.arange(arm.size), arm
    outer, happened = [], np.zeros((2, arm.size, len(learners)))
    for k, name in enumerate(learners):
        parts: NDArray[np.float64] | None = None
        for f in range(folds):
            test = fold == f
            found = fit(name, ~test, test)
            parts = np.zeros((arm.size, found.shape[1])) if parts is None else parts
            parts[test] = found
        assert parts is not None
        outer.append(parts)
        for f in range(folds):
            g = (f + 1) % folds
            test = (fold == f) | (fold == g)
            full = np.zeros(parts.shape)
            full[test] = fit(name, ~test, test)
            chance = full[own]
            happened[0, fold == g, k] = chance[fold == g]  # judged for f: left out besides, before
            happened[1, fold == f, k] = chance[fold == f]  # judged for g
    out = np.zeros(outer[0].shape)
    mean = np.zeros(len(learners))
    for f in range(folds):
        after, before = fold == (f + 1) % folds, fold == (f - 1) % folds
        chances = np.concatenate([happened[0, after], happened[1, before]])
        w = np.concatenate([weight[after], weight[before]])
        alpha = mixture_weights(chances, w, combine)
        mean += alpha / folds
        at = fold == f
        out[at] = sum(a * part[at] for a, part in zip(alpha, outer))
    return out, {name: float(a) for name, a in zip(learners, mean)}
