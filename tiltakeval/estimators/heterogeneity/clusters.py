"""Groups of people whose effects look alike over all programmes: found on some, measured on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.cate import CateLearner, dr_learner
from tiltakeval.estimators.heterogeneity.gate import equality_tests, minus_average
from tiltakeval.estimators.heterogeneity.ranked import check_cate
from tiltakeval.estimators.heterogeneity.rows import (
    Lines,
    effect_means,
    label_of,
    mean_of,
    over_splits,
    support,
    supported,
)
from tiltakeval.estimators.heterogeneity.scores import UnitScores
from tiltakeval.estimators.numerics.threads import one_thread

Floats = NDArray[np.floating]
By = Literal["kmeans", "tree"]
NAME = "effect_cluster"
#: Smallest leaf of a tree, as a share of the mean size of a cluster.
LEAF = 0.2


def effect_clusters(
    scores: UnitScores,
    *,
    clusters: int = 3,
    by: By = "kmeans",
    learner: CateLearner = "ridge",
    cate: Floats | None = None,
    covariates: Sequence[str] = (),
    seed: int = 0,
) -> tuple[list[Lines], list[dict[str, Any]]]:
    """Effects in ``clusters`` of predicted effects over all programmes, who is in them, and tests.

    Every fold is clustered by predictions from the folds before it (``dr_learner``; ``cate`` [n, A - 1]
    from elsewhere must be such too), so that its own outcomes have had no say in who is put together:
    intervals and tests hold without heterogeneity as well. Clusters are numbered by mean predicted
    effect in the first fold clustered, and later folds' are matched to the nearest centres so far; each
    split is clustered anew and the median taken. ``kmeans`` groups the predictions, ``tree`` finds the
    covariates' regions in which they are alike.

    Rows: ``cluster_effect`` and ``cluster_effect_minus_average`` by programme (joint bands), with tests
    of equal effects; ``cluster_share``; ``cluster_mean`` and ``cluster_mean_minus_all`` of
    ``covariates`` (default all), of those described by the effect of any programme. What is estimated is
    the mean over folds of effects of groups found in them. Raises InputError.
    """
    if clusters < 2:
        raise InputError("at least two clusters are needed", where="clusters")
    if by not in ("kmeans", "tree"):
        raise unknown("way of clustering", by, ("kmeans", "tree"), where="clusters_by")
    names = list(covariates) or list(scores.names)
    for name in names:
        if name not in scores.names:
            raise unknown("covariate", name, scores.names, where="clusters")
    x = scores.x[:, [scores.names.index(name) for name in names]]
    codes = []
    for number in range(len(scores.splits)):
        split = scores.of_split(number)
        if cate is None:
            tau = dr_learner(split, learner=learner, sequential=True, seed=seed)
        else:  # made fold by fold of the first split
            tau, split = check_cate(scores, cate), replace(split, fold=scores.fold)
        codes.append(cluster_codes(split, tau, clusters, by=by, seed=seed))
    return _lines(scores, codes, names, x, clusters)


def cluster_codes(
    split: UnitScores, tau: Floats, clusters: int, *, by: By = "kmeans", seed: int = 0
) -> NDArray[np.int64]:
    """[n] cluster of every unit, -1 where nothing is predicted or predictions are all the same."""
    codes = np.full(split.n, -1, dtype=np.int64)
    weight = split.weight * split.counted.max(axis=1)
    centres, met = np.zeros((clusters, tau.shape[1])), 0
    for f in range(split.folds):
        rows = np.flatnonzero((split.fold == f) & np.isfinite(tau).all(axis=1))
        used = rows[weight[rows] > 0]
        if not used.size or len(np.unique(tau[used], axis=0)) < clusters:
            continue
        with one_thread():
            own = _grouped(split.x, tau, weight, rows, used, clusters, by=by, seed=seed)
        if own is None:
            continue
        mean = np.stack(
            [
                np.average(tau[u], axis=0, weights=weight[u])
                for u in _parts(used, own[used], clusters)
            ]
        )
        place = _matched(mean, centres) if met else np.argsort(np.argsort(mean.mean(axis=1)))
        codes[rows] = place[own[rows]]
        moved = np.empty_like(mean)
        moved[place] = mean
        centres = (met * centres + moved) / (met + 1)
        met += 1
    return codes


def _parts(rows: NDArray, own: NDArray, clusters: int) -> list[NDArray]:
    return [rows[own == g] for g in range(clusters)]


def _grouped(
    x: Floats,
    tau: Floats,
    weight: Floats,
    rows: NDArray,
    used: NDArray,
    clusters: int,
    *,
    by: By,
    seed: int,
) -> NDArray[np.int64] | None:
    """[n] groups of ``rows`` found among those ``used``; None where there are fewer of them."""
    out = np.full(len(x), -1, dtype=np.int64)
    if by == "kmeans":
        from sklearn.cluster import KMeans

        # predictions that hardly vary are grouped as well as others
        sd = max(float(tau[used].std(axis=0).max()), 1e-300)
        t = (tau - tau[used].mean(axis=0)) / sd
        model = KMeans(clusters, n_init=10, random_state=seed)
        model.fit(t[used], sample_weight=weight[used])
        out[rows] = model.predict(t[rows])
    else:
        from sklearn.tree import DecisionTreeRegressor

        tree = DecisionTreeRegressor(
            max_leaf_nodes=clusters,
            min_samples_leaf=max(2, int(LEAF * used.size / clusters)),
            random_state=seed,
        )
        tree.fit(x[used], tau[used], sample_weight=weight[used])
        _, out[rows] = np.unique(tree.apply(x[rows]), return_inverse=True)
    return out if np.unique(out[used]).size == clusters else None


def _matched(mean: Floats, centres: Floats) -> NDArray[np.int64]:
    """[clusters] the centre nearest to each mean, each once, least squared distance in all."""
    from scipy.optimize import linear_sum_assignment

    cost = ((mean[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    return np.asarray(linear_sum_assignment(cost)[1], dtype=np.int64)


def _lines(
    scores: UnitScores, codes: Sequence[NDArray[np.int64]], names: list[str], x: Floats, k: int
) -> tuple[list[Lines], list[dict[str, Any]]]:
    first = codes[0]
    levels = tuple(f"{g + 1}/{k}" for g in range(k))
    grouped = replace(scores, subgroups={NAME: Subgroup(levels=levels, codes=first)})
    arms = range(1, len(scores.arms))
    members = [first == g for g in range(k)]

    def rows_of(member: NDArray[np.bool_], subgroup: str, term: str) -> list[dict[str, Any]]:
        return [
            label_of(scores, a, subgroup=subgroup, term=term, **support(scores, member, a))
            for a in arms
        ]

    average = rows_of(first >= 0, "all", "cluster_effect")
    effects = [
        row
        for g, member in enumerate(members)
        for row in rows_of(member, f"{NAME}={levels[g]}", "cluster_effect")
    ]
    enough = np.array([supported(row) for row in (*average, *effects)])
    whose = [
        _described(scores, member, f"{NAME}={level}") for level, member in zip(levels, members)
    ]
    shares = [{**row, "term": "cluster_share", "unit": "share"} for row in whose]
    of = {"unit": "mean", "period": scores.labels.outcome}
    means = [{**row, **of, "term": "cluster_mean", "outcome": n} for row in whose for n in names]
    less = [{**row, "term": "cluster_mean_minus_all"} for row in means]
    m, p = len(average), len(names)

    def compute(split: UnitScores) -> tuple[Floats, Floats]:
        code = codes[next(i for i, s in enumerate(scores.splits) if s is split.splits[0])]
        member = np.column_stack([code >= 0, *(code == g for g in range(k))])
        theta, values = effect_means(split, member)
        theta, values = np.where(enough, theta, np.nan), np.where(enough, values, 0.0)
        # the groups' shares and covariates: of those described by the effect of any programme
        w = split.weight * split.counted.max(axis=1)
        share, share_z = mean_of(w * (code >= 0), member[:, 1:].astype(np.float64))
        everybody, all_z = mean_of(w * (code >= 0), x)
        found = [mean_of(w * (code == g), x) for g in range(k)]
        mean = np.concatenate([t for t, _ in found])
        mean_z = np.hstack([z for _, z in found])
        return (
            np.concatenate([theta, share, mean, mean - np.tile(everybody, k)]),
            np.hstack([values, share_z, mean_z, mean_z - np.tile(all_z, k)]),
        )

    theta, z = over_splits(scores, compute)
    cuts = np.cumsum([m, k * m, k, k * p])
    parts = zip(np.split(theta, cuts), np.split(z, cuts, axis=1), strict=True)
    joint = f"over {NAME}, programme"
    average_lines, by_cluster, share_lines, mean_lines, less_lines = (
        Lines(tuple(rows), t, part, family)
        for rows, (t, part), family in zip(
            (average, effects, shares, means, less),
            parts,
            ("", joint, "", "", f"over {NAME}, covariate"),
        )
    )
    difference = minus_average(average_lines, by_cluster, "cluster_effect_minus_average")
    difference = replace(difference, family=joint)
    tests = []
    if by_cluster.good().any():
        tests = equality_tests(grouped, by_cluster, difference, term="test_equal_cluster_effects")
    return [by_cluster, difference, share_lines, mean_lines, less_lines], tests


def _described(scores: UnitScores, member: NDArray[np.bool_], subgroup: str) -> dict[str, Any]:
    """Labels and counts of a row about everybody in a cluster."""
    return {
        "programme": "all",
        "comparator": scores.arms[0],
        "subgroup": subgroup,
        "n_treated": int((member & (scores.arm > 0)).sum()),
        "n_comparison": int((member & (scores.arm == 0)).sum()),
        "n_clusters": int(np.unique(scores.cluster[member]).size),
    }
