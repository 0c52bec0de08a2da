"""Several learners together: combined, or one chosen, by their error on folds held out in training.

For the units of fold f everything is learned without fold f: each learner is fitted to all other folds,
and how much each counts follows from fits that leave out one more fold, g = f - 1 and g = f + 1, judged
on g. A fit without f and f + 1 serves both, so a learner is fitted 2 K times for K folds. Outcomes:
weights of least squares, not negative and adding up to one (van der Laan, Polley & Hubbard 2007); for
propensities those of the largest held-out log-likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tiltakeval.errors import InputError
from tiltakeval.estimators.numerics.basis import products_added
from tiltakeval.estimators.numerics.layout import Layout, OutcomeBlock, make_layout
from tiltakeval.estimators.numerics.learners import MAX_FITS, Trees, fit_trees
from tiltakeval.estimators.numerics.ridge import Predictions, Regression, fit_ridge
from tiltakeval.numerics.products import lacking_in_means

Floats = NDArray[np.floating]
Combine = Literal["ensemble", "best"]
ALL_LEARNERS = ("ridge", "products", "boosting", "forest")
WITHOUT_TREES = ("ridge", "products")
FEW_FOLDS = "an ensemble of learners needs at least 3 folds"
MORE_FOLDS = "Say folds = 3 or more, or learner_outcome = ridge and learner_propensity = logit."


def fit_ensemble(
    regressions: Sequence[Regression],
    *,
    x: Floats,
    w: Floats,
    block: OutcomeBlock,
    layout: Layout,
    names: int,
    cluster: NDArray[np.int64],
    combine: Combine,
    trees: Trees,
    learners: Sequence[str] = ALL_LEARNERS,
) -> tuple[Predictions, dict[str, dict[int, float]]]:
    """Cross-fitted predictions, tabulated, and each learner's mean weight by regression.

    Arguments as in ``ridge.fit_ridge``; ``cluster`` [n] sorted like the layout. ``products`` is a ridge
    with thresholds and products of covariates that the residuals call for, found in training folds.
    """
    check_folds(layout.folds)
    columns = block.y.shape[1]
    if len(regressions) * layout.folds * columns * len(learners) > MAX_FITS:
        raise InputError(
            f"an ensemble would need more than {MAX_FITS} fits for these outcomes and months",
            where="learner_outcome",
            remedy="Use learner_outcome = 'ridge', or choose an outcome and a month.",
        )
    fold, arm = codes(layout)
    shared: dict[str, Any] = {
        "regressions": regressions,
        "x": x,
        "w": w,
        "block": block,
        "arms": layout.block.shape[1],
        "arm": arm,
        "names": names,
        "cluster": cluster,
        "trees": trees,
    }
    folds = layout.folds
    outer = {name: _predicted(name, fold, range(folds), **shared) for name in learners}
    inner = {name: _inner(name, fold, folds, **shared) for name in learners}
    values = [np.zeros((len(arm), columns), dtype=np.float32) for _ in regressions]
    counted = {name: dict.fromkeys(range(len(regressions)), 0.0) for name in learners}
    for m, regression in enumerate(regressions):
        for f in range(folds):
            held = np.flatnonzero(
                ((fold == (f + 1) % folds) | (fold == (f - 1) % folds)) & (arm == regression.arm)
            )
            at = np.flatnonzero(fold == f)
            for c in range(columns):
                v = w[held].copy()
                if regression.censor is not None:
                    v = v * regression.censor[held, block.horizon[c]]
                if block.observed is not None:
                    v = v * block.observed[held, block.pattern[c]]
                tried = np.stack([inner[name][f][m][held, c] for name in learners], axis=1)
                alpha = convex_weights(tried, block.y[held, c].astype(np.float64), v, combine)
                for k, name in enumerate(learners):
                    values[m][at, c] += (alpha[k] * outer[name][m][at, c]).astype(np.float32)
                    counted[name][m] += float(alpha[k]) / (folds * columns)
    return Predictions(values=values), counted


def check_folds(folds: int) -> None:
    """Raise InputError where there are too few folds to hold one out in training."""
    if folds < 3:
        raise InputError(FEW_FOLDS, where="folds", remedy=MORE_FOLDS)


def codes(layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fold and arm [n] of the units of a layout."""
    n = int(layout.block.max(initial=0))
    fold, arm = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for f in range(layout.folds):
        for b in range(layout.block.shape[1]):
            fold[layout.rows(f, b)] = f
            arm[layout.rows(f, b)] = b
    return fold, arm


def convex_weights(tried: Floats, y: Floats, w: Floats, combine: Combine) -> NDArray[np.float64]:
    """[k] weights of the columns ``tried`` [n, k]: not negative, adding up to one, least squares; or 1
    for the best column. Equal without units."""
    k = tried.shape[1]
    if not (w > 0).any():
        return np.full(k, 1.0 / k)
    if combine == "best":
        error = w @ (y[:, None] - tried) ** 2
        return np.eye(k)[int(np.argmin(error))]
    root = np.sqrt(w / w.sum())
    scale = max(float(root @ (root * (y**2))) ** 0.5, 1e-12)
    a = np.vstack([(tried - y[:, None]) * root[:, None] / scale, np.full(k, 1e3)])
    b = np.append(np.zeros(len(y)), 1e3)
    found, _ = optimize.nnls(a, b)
    return np.asarray(found / found.sum()) if found.sum() > 0 else np.full(k, 1.0 / k)


def _inner(name: str, fold: NDArray, folds: int, **shared: Any) -> list[list[NDArray[np.float32]]]:
    """Per fold f and regression: predictions [n, C] for f - 1 and f + 1, made without them and f."""
    n, columns = shared["block"].y.shape
    out = [
        [np.zeros((n, columns), dtype=np.float32) for _ in shared["regressions"]]
        for _ in range(folds)
    ]
    for f in range(folds):
        g = (f + 1) % folds
        merged = np.where(fold == g, f, fold)
        merged = np.searchsorted(np.unique(merged), merged)
        target = int(merged[fold == f][0]) if (fold == f).any() else 0
        found = _predicted(name, merged, [target], **shared)
        for m in range(len(found)):
            out[f][m][fold == g] = found[m][fold == g]
            out[g][m][fold == f] = found[m][fold == f]
    return out


def _predicted(
    name: str,
    fold: NDArray,
    wanted: Sequence[int],
    *,
    regressions: Sequence[Regression],
    x: Floats,
    w: Floats,
    block: OutcomeBlock,
    arms: int,
    arm: NDArray,
    names: int,
    cluster: NDArray,
    trees: Trees,
) -> list[NDArray[np.float32]]:
    """Per regression: predictions [n, C] of a learner for the folds ``wanted``, out of fold."""
    folds = int(fold.max()) + 1
    layout = make_layout(
        fold=fold,
        arm=arm,
        group=np.zeros(arm.size, dtype=np.int64),
        folds=folds,
        arms=arms,
        tie=cluster,
    )
    order = layout.order
    sorted_block = replace(
        block,
        y=block.y[order],
        observed=None if block.observed is None else block.observed[order],
    )
    moved = [Regression(r.arm, None if r.censor is None else r.censor[order]) for r in regressions]
    settings: dict[str, Any] = {"w": w[order], "layout": layout}
    columns = block.y.shape[1]
    values = [np.zeros((arm.size, columns), dtype=np.float32) for _ in regressions]

    def keep(found: Predictions, f: int, at: slice | NDArray, rows: slice) -> None:
        for m in range(len(regressions)):
            values[m][np.ix_(order[rows], np.arange(columns)[at])] = found.of(m, f, rows)

    if name in ("boosting", "forest"):
        found = fit_trees(
            moved,
            x=x[order],
            block=sorted_block,
            learner=name,
            trees=trees,
            only=wanted,
            **settings,
        )
        for f in wanted:
            keep(found, f, slice(None), _rows(layout, f))
        return values
    if name == "ridge":
        found = fit_ridge(moved, x=x[order], block=sorted_block, names=names, **settings)
        for f in wanted:
            keep(found, f, slice(None), _rows(layout, f))
        return values
    plain = fit_ridge(moved, x=x[order], block=sorted_block, names=names, **settings)
    for f in wanted:
        rows = _rows(layout, f)
        for c in range(columns):
            one = _only(sorted_block, c)
            more = _with_products(
                plain,
                regressions,
                f,
                c,
                one,
                x=x[order],
                w=w[order],
                arm=arm[order],
                fold=fold[order],
                cluster=cluster[order],
                layout=layout,
            )
            censored = [
                Regression(r.arm, None if r.censor is None else r.censor[:, [block.horizon[c]]])
                for r in moved
            ]
            found = fit_ridge(censored, x=more, block=one, names=1, **settings)
            keep(found, f, np.array([c]), rows)
    return values


def _rows(layout: Layout, f: int) -> slice:
    return slice(int(layout.block[f, :, 0].min()), int(layout.block[f, :, 1].max()))


def _only(block: OutcomeBlock, c: int) -> OutcomeBlock:
    """One column of a block."""
    seen = None if block.observed is None else block.observed[:, [block.pattern[c]]]
    return replace(
        block,
        y=np.ascontiguousarray(block.y[:, [c]]),
        centre=block.centre[[c]],
        scale=block.scale[[c]],
        observed=seen,
        pattern=np.zeros(1, dtype=np.int64),
        horizon=np.zeros(1, dtype=np.int64),
    )


def _with_products(
    plain: Predictions,
    regressions: Sequence[Regression],
    f: int,
    c: int,
    one: OutcomeBlock,
    *,
    x: Floats,
    w: Floats,
    arm: NDArray,
    fold: NDArray,
    cluster: NDArray,
    layout: Layout,
) -> NDArray[np.float64]:
    """``x`` and the products that the residuals of every arm together lack, outside fold ``f``."""
    residual = np.zeros(len(x))
    used = np.zeros(len(x), dtype=bool)
    first: dict[int, int] = {}
    for m, regression in enumerate(regressions):
        first.setdefault(regression.arm, m)
    for a, m in first.items():
        for g in range(layout.folds):
            rows = layout.rows(g, a)
            residual[rows] = one.y[rows, 0] - plain.of(m, g, rows)[:, c]
            used[rows] = g != f
    if one.observed is not None:
        used &= one.observed[:, 0]
    train = np.flatnonzero(used & (w > 0))
    products = lacking_in_means(x[train], residual[train], w[train], cluster=cluster[train])
    return products_added(np.asarray(x, dtype=np.float64), products, weight=w)[0]
