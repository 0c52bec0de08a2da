"""Causal forest: its kernels against brute force on small data."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tiltakeval.estimators.heterogeneity.forest.binning import make_bins
from tiltakeval.estimators.heterogeneity.forest.effects import Part, bag_covariance, predict_effects
from tiltakeval.estimators.heterogeneity.forest.sample_kernels import draw_bag, split_bag
from tiltakeval.estimators.heterogeneity.forest.split_kernels import (
    best_cuts,
    effect_targets,
    histograms,
    honest_gain,
)
from tiltakeval.estimators.heterogeneity.forest.trees import Growing, Rows, grow_trees

K, ARMS = 2, 3


def small(n: int, seed: int, missing: bool = False) -> Rows:
    rng = np.random.default_rng(seed)
    x = np.round(rng.standard_normal((n, 3)), 1)
    if missing:
        x[rng.random((n, 3)) < 0.2] = np.nan
    bins = make_bins(x, bins=254, names=("a", "b", "c"))
    arm = rng.integers(0, ARMS, n).astype(np.uint8)
    e = np.full((n, ARMS), 1 / ARMS)
    treat = (np.eye(ARMS)[arm] - e)[:, 1:].astype(np.float32)
    return Rows(
        bins=bins.encode(x),
        used=bins.used,
        arm=arm,
        treat=treat,
        outcome=rng.standard_normal(n) + treat[:, 0] * (np.nan_to_num(x[:, 1]) > 0),
        weight=rng.uniform(0.5, 2.0, n),
        first=np.arange(n + 1),
        causal=True,
    )


def solved(rows: Rows, at: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Effects, A and residual gradients by weighted least squares with a constant."""
    g = rows.weight[at] / rows.weight[at].sum()
    w = rows.treat[at].astype(float)
    centred = w - g @ w
    y = rows.outcome[at] - g @ rows.outcome[at]
    a = (centred * g[:, None]).T @ centred
    theta = np.linalg.solve(a, (centred * g[:, None]).T @ y)
    return theta, a, centred * (y - centred @ theta)[:, None]


@pytest.mark.parametrize(("standard", "only"), [(False, -1), (True, -1), (False, 1)])
def test_targets_are_the_gradients(standard: bool, only: int) -> None:
    rows = small(60, 0)
    at = np.arange(5, 50, dtype=np.int32)
    rho = np.zeros((60, 8))
    assert effect_targets(at, 0, 45, rows.treat, rows.outcome, rows.weight, standard, only, rho)
    _, a, gradient = solved(rows, at)
    side = np.linalg.inv(np.linalg.cholesky(a)) if standard else np.linalg.inv(a)
    expected = gradient @ side.T * rows.weight[at][:, None]
    if only >= 0:
        expected = expected[:, [only]]
    m = expected.shape[1]
    np.testing.assert_allclose(rho[:45, :m], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(rho[:45, m], rows.weight[at])
    np.testing.assert_allclose(rho[:45, :m].sum(axis=0), 0.0, atol=1e-8)


def test_no_targets_without_both_sides_of_a_contrast() -> None:
    rows = small(60, 0)
    at = np.flatnonzero(rows.arm != 1).astype(np.int32)
    rho = np.zeros((60, 8))
    assert not effect_targets(at, 0, len(at), rows.treat, rows.outcome, rows.weight, True, -1, rho)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("least_arm", [1, 4])
def test_best_cuts_are_those_of_brute_force(missing: bool, least_arm: int) -> None:
    rows = small(80, 1, missing)
    at, least, penalty = np.arange(80, dtype=np.int32), 12, 1.5
    rho = np.zeros((80, 8))
    effect_targets(at, 0, 80, rows.treat, rows.outcome, rows.weight, True, -1, rho)
    used, chosen = rows.used, np.arange(3)
    sums, counts = np.zeros((3, used.max(), 8)), np.zeros((3, used.max(), ARMS), np.int32)
    histograms(at, 0, 80, rows.bins, rows.arm, chosen, 3, rho, sums, counts)
    total, arms = rho[:, : K + 1].sum(axis=0), np.bincount(rows.arm, minlength=ARMS)
    gain, cut, left = np.empty(3), np.empty(3, np.int64), np.empty(3, bool)
    best_cuts(3, used, K, total, arms, least_arm, least, penalty, sums, counts, gain, cut, left)
    for f in range(3):
        code, best = rows.bins[:, f], -1.0
        for c in range(used[f]):
            for missing_left in (False, True):
                goes = np.where(code == 0, missing_left, code <= c)
                both = [np.bincount(rows.arm[s], minlength=ARMS) for s in (goes, ~goes)]
                if min(b.sum() for b in both) < least or min(b.min() for b in both) < least_arm:
                    continue
                value = sum(
                    (rho[s, :K].sum(axis=0) ** 2).sum() / (rho[s, K].sum() + penalty)
                    for s in (goes, ~goes)
                )
                best = max(best, value)
        assert gain[f] == pytest.approx(best, rel=1e-10)


def test_honest_gain_is_zero_on_average_for_a_covariate_that_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    found = []
    for seed in range(300):
        rows = small(200, seed)
        at = np.arange(200, dtype=np.int32)
        rho = np.zeros((200, 8))
        effect_targets(at, 0, 200, rows.treat, rows.outcome, rows.weight, True, -1, rho)
        bins = rng.integers(1, 3, (200, 1)).astype(np.uint8)
        found.append(honest_gain(at, 0, 200, bins, 0, 1, False, rho, K))
    assert abs(np.mean(found)) < 3.5 * np.std(found) / np.sqrt(300)
    np.testing.assert_allclose(np.var(found), 2 * K, rtol=0.4)  # chi-squared with K degrees


def grown(rows: Rows, **changes: object) -> Growing:
    options = {"trees": 8, "bag": 2, "honesty": 0.5, "columns": 3, "chance": np.ones(3)}
    options |= {"least_arm": 2, "least": 8, "share": 0.1, "depth": 10, "penalty": 0.0}
    options |= {"standard": True, "seed": 3, "threads": 1}
    return Growing(**{**options, **changes})  # type: ignore[arg-type]


def honest_rows(rows: Rows, tree: int, how: Growing) -> tuple[NDArray, NDArray]:
    """Placing and estimating rows of a tree, drawn as the forest draws them."""
    clusters = rows.clusters
    held = np.empty(clusters, dtype=np.bool_)
    draw_bag(how.seed, tree // how.bag, clusters // 2, held)
    place, estimate = np.empty(clusters, np.int32), np.empty(clusters, np.int32)
    take = int(clusters // 2 * how.honesty)
    a, b = split_bag(how.seed, tree, held, clusters // 2, take, rows.first, place, estimate)
    return place[:a], estimate[:b]


def test_bags_are_halves_and_honest_rows_are_apart() -> None:
    rows = small(100, 4)
    how = grown(rows)
    seen = np.zeros(100)
    for tree in range(200):
        place, estimate = honest_rows(rows, tree, how)
        assert len(place) == 25 and len(estimate) == 25
        assert not np.intersect1d(place, estimate).size
        seen[np.concatenate([place, estimate])] += 1
    # 100 bags of two trees: every unit is in about half of them
    assert seen.min() > 60 and seen.max() < 140


@pytest.mark.parametrize("missing", [False, True])
def test_leaves_hold_the_moments_of_their_honest_rows(missing: bool) -> None:
    rows = small(400, 5, missing)
    how = grown(rows)
    trees = grow_trees(rows, how)
    assert (trees.feature >= 0).sum() > 8
    everybody = trees.nodes(rows.bins, None, level=1_000)
    for tree in range(how.trees):
        place, estimate = honest_rows(rows, tree, how)
        for node in np.unique(everybody[tree]):
            own = estimate[everybody[tree, estimate] == node]
            counts = np.bincount(rows.arm[own], minlength=ARMS)
            assert (counts >= how.least_arm).all()
            placed = place[everybody[tree, place] == node]
            assert (np.bincount(rows.arm[placed], minlength=ARMS) >= how.least_arm).all()
            g = rows.weight[own] / rows.weight[own].sum()
            w, y = rows.treat[own].astype(float), rows.outcome[own]
            ww = (w * g[:, None]).T @ w
            expected = [*(g @ w), g @ y, ww[0, 0], ww[1, 0], ww[1, 1], *((g * y) @ w)]
            np.testing.assert_allclose(trees.moments[node], expected, rtol=1e-4, atol=1e-6)


def test_effects_and_influence_are_those_of_the_forest_weights() -> None:
    """Against the forest as weights on units (Athey, Tibshirani & Wager 2019, eqs. 2-3)."""
    rows = small(300, 6)
    how = grown(rows, trees=32)
    trees = grow_trees(rows, how)
    nodes = trees.nodes(rows.bins, rows.cluster, level=1_000)
    everybody = trees.nodes(rows.bins, None, level=1_000)
    part = Part(trees, tuple(range(K)))
    found = predict_effects((part,), rows.bins, rows.cluster, arms=ARMS, variance=True, threads=1)
    w, y = rows.treat.astype(float), rows.outcome
    for i in range(0, 300, 37):
        weights = []
        for tree in np.flatnonzero(nodes[:, i] >= 0):
            _, estimate = honest_rows(rows, tree, how)
            own = estimate[everybody[tree, estimate] == nodes[tree, i]]
            alpha = np.zeros(300)
            alpha[own] = rows.weight[own] / rows.weight[own].sum()
            weights.append(alpha)
        alpha = np.mean(weights, axis=0)
        centred, rest = w - alpha @ w, y - alpha @ y
        a = (centred * alpha[:, None]).T @ centred
        theta = np.linalg.solve(a, (centred * alpha[:, None]).T @ rest)
        np.testing.assert_allclose(found.forest[i], theta, rtol=1e-3, atol=1e-4)
        score = centred * (rest - centred @ theta)[:, None]
        psi = (np.array(weights) @ score @ np.linalg.inv(a)).reshape(-1, how.bag, K)
        bag = psi.mean(axis=1)
        between = bag.T @ bag / len(bag)
        within = ((psi - bag[:, None]) ** 2).mean(axis=(0, 1))
        expected = bag_covariance(between[None], within[None], np.array([len(bag)]), how.bag)[0]
        assert found.covariance is not None
        np.testing.assert_allclose(found.covariance[i], expected, rtol=5e-3, atol=1e-5)


def test_variance_is_that_between_bags_and_stays_positive() -> None:
    between = np.array([[[4.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    within = np.array([[0.5, 0.1], [8.0, 100.0]])
    many = bag_covariance(between, within, np.array([100_000, 50]), 2)
    np.testing.assert_allclose(np.diag(many[0]), [3.5, 0.9], rtol=1e-4)
    np.testing.assert_allclose(many[0, 0, 1] / np.sqrt(3.5 * 0.9), 0.5, rtol=1e-3)
    assert (np.diag(many[1]) > 0).all() and np.isfinite(many).all()


def test_bins_keep_the_order_and_codes_their_values() -> None:
    rng = np.random.default_rng(7)
    x = np.column_stack([rng.standard_normal(5_000), rng.integers(0, 3, 5_000)])
    x[:10, 0] = np.nan
    bins = make_bins(x, bins=20, names=("a", "b"))
    code = bins.encode(x)
    assert (code[:10, 0] == 0).all() and code[10:, 0].min() == 1 and code[:, 0].max() == 20
    np.testing.assert_allclose(np.bincount(code[10:, 0])[1:], 4_990 / 20, rtol=0.05)
    order = np.argsort(x[10:, 0])
    assert (np.diff(code[10:, 0][order].astype(int)) >= 0).all()
    assert (code[:, 1] == x[:, 1] + 1).all()
