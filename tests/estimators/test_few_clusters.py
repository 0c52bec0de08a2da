"""Inference with few clusters: published numbers, brute force, and the design's own counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from invented_rollouts import make_rollout

from tiltakeval.diagnostics.treated_clusters import treated_clusters
from tiltakeval.estimates.few_clusters.effective import count_sides, effective_number


def test_effective_number_is_that_of_carter_schnepel_and_steigerwald() -> None:
    rng = np.random.default_rng(0)
    gamma = rng.uniform(0.1, 3, 17)
    spread = ((gamma - gamma.mean()) ** 2).mean() / gamma.mean() ** 2
    np.testing.assert_allclose(effective_number(gamma), 17 / (1 + spread))
    assert effective_number(np.ones(12)) == 12
    assert np.isnan(effective_number(np.zeros(3)))


def test_effective_number_of_two_sides_is_that_of_the_regression() -> None:
    """gamma = a'X_g' 1 1' X_g a for the least-squares slope of a 0/1 regressor, worst case."""
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 14, 300)
    treated = np.isin(cluster, [1, 5, 9])
    x = np.column_stack([np.ones(300), treated])
    a = np.linalg.inv(x.T @ x)[1]
    gamma = np.array([(x[cluster == g] @ a).sum() ** 2 for g in range(14)])
    sides = count_sides(treated, cluster, np.ones(300))
    np.testing.assert_allclose(sides.effective, effective_number(gamma))
    assert (sides.clusters, sides.treated, sides.comparison, sides.both) == (14, 3, 11, 0)
    mixed = count_sides(rng.random(300) < 0.5, cluster, np.ones(300))
    assert mixed.both == 14 and 8 < mixed.effective <= 14


def test_few_treated_clusters_are_said() -> None:
    design = make_rollout(300, seed=1, clusters=30)
    good = treated_clusters(design=design)[0]
    assert good.status == "passed" and good.statistic == 10 and good.message["treated"] == 20
    start = np.where(np.isin(design.cluster, [0, 1, 2]), 4.0, np.inf)
    few = treated_clusters(design=replace(design, first=start))[0]
    assert few.status == "failed" and "G1 = 3" in few.message["said"]
    assert few.message["effective"] < 8 and "permutation" in few.message["advice"]
    assert few.detail is not None and few.detail.n_clusters.tolist() == [3, 27]
    late = replace(design, first=np.where(design.first == np.inf, 8.0, design.first))
    assert treated_clusters(design=late)[0].message["comparison"] == 10
