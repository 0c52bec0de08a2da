"""Policy trees: the best there are, by trying them all; cuts that are nobody's value."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.policy.cuts import Cuts, choose_cuts
from tiltakeval.estimators.heterogeneity.policy.tree import fit_tree


def brute(x, rewards, depth, floor, points=None) -> float:
    """Value of the best tree, every tree tried."""
    best = rewards.sum(axis=0).max()
    if depth == 0 or len(x) < 2 * floor:
        return float(best)
    for j in range(x.shape[1]):
        for cut in np.unique(x[:, j])[:-1] if points is None else points[j]:
            left = x[:, j] <= cut
            if left.sum() < floor or (~left).sum() < floor:
                continue
            sides = [brute(x[s], rewards[s], depth - 1, floor, points) for s in (left, ~left)]
            best = max(best, sum(sides))
    return float(best)


def cases(count: int):
    rng = np.random.default_rng(5)
    for number in range(count):
        n, p, arms = rng.integers(8, 26), rng.integers(1, 4), rng.integers(2, 5)
        x = rng.standard_normal((n, p))
        if number % 3 == 0:
            x = np.round(x * 1.5)  # ties
        yield x, rng.standard_normal((n, arms)), int(rng.integers(1, 4))


@pytest.mark.parametrize("depth", [1, 2])
def test_over_every_cut_no_tree_is_better(depth: int) -> None:
    for x, rewards, floor in cases(14):
        tree = fit_tree(x, rewards, depth=depth, min_leaf=floor)
        assert tree.search == "exact"
        assert tree.value == pytest.approx(brute(x, rewards, depth, floor), abs=1e-9)
        units = np.bincount(tree.node(x), minlength=tree.feature.size)[tree.leaves]
        assert (units >= floor).all() and (units == tree.count[tree.leaves]).all()
        assert tree.value == pytest.approx(rewards[np.arange(len(x)), tree.assign(x)].sum())


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_over_declared_cuts_no_tree_is_better(depth: int) -> None:
    for x, rewards, floor in cases(20 if depth < 3 else 7):
        cuts = choose_cuts(x, [f"x{j}" for j in range(x.shape[1])], bins=5, least=1)
        tree = fit_tree(x, rewards, depth=depth, cuts=cuts, min_leaf=floor, search="exact")
        wanted = brute(x, rewards, depth, floor, cuts.points)
        assert tree.search == "exact" and tree.value == pytest.approx(wanted, abs=1e-9)
        units = np.bincount(tree.node(x), minlength=tree.feature.size)[tree.leaves]
        assert (units >= floor).all()


def test_weights_count_as_copies_of_units() -> None:
    x, rewards, _ = next(cases(1))
    copies = np.arange(len(x)) % 3 + 1
    whole = np.repeat(np.arange(len(x)), copies)
    weighted = fit_tree(x, rewards * copies[:, None], depth=2)
    assert weighted.value == pytest.approx(fit_tree(x[whole], rewards[whole], depth=2).value)


def test_the_hybrid_search_is_declared_and_no_better_than_the_exact() -> None:
    rng = np.random.default_rng(1)
    x, rewards = rng.standard_normal((400, 4)), rng.standard_normal((400, 3))
    cuts = choose_cuts(x, list("abcd"), bins=8)
    hybrid, exact, two = (
        fit_tree(x, rewards, depth=d, cuts=cuts, search=s)
        for d, s in ((3, "hybrid"), (3, "exact"), (2, "auto"))
    )
    assert hybrid.search == "hybrid" and exact.search == "exact"
    assert two.value <= hybrid.value <= exact.value
    deeper = fit_tree(x, rewards, depth=4, cuts=cuts)
    assert deeper.search == "hybrid" and deeper.value >= hybrid.value


def test_a_truth_in_two_cuts_is_found_at_large_numbers_in_little_time() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((10_000, 10))
    truth = np.where(x[:, 3] > 0.5, 2, np.where(x[:, 7] > -1, 1, 0))
    rewards = rng.standard_normal((10_000, 5))
    rewards[np.arange(10_000), truth] += 1.0
    cuts = choose_cuts(x, [f"x{j}" for j in range(10)], bins=64)
    fit_tree(x[:200], rewards[:200], depth=2, cuts=cuts)  # compile
    started = time.process_time()
    tree = fit_tree(x, rewards, depth=2, cuts=cuts)
    assert time.process_time() - started < 1.5  # about 0.06 s; policytree takes 2.7 s
    assert (tree.assign(x) == truth).mean() > 0.97
    assert tree.feature[0] in (3, 7)


def test_cuts_are_round_numbers_with_people_on_both_sides() -> None:
    rng = np.random.default_rng(3)
    x = np.column_stack(
        [rng.lognormal(12, 0.6, 3_000), rng.integers(18, 67, 3_000), rng.random(3_000) < 0.3]
    )
    cuts = choose_cuts(x, ["income", "age", "woman"], bins=32, least=20)
    income, age, woman = cuts.points
    assert woman.tolist() == [0.5] and set(age % 1) <= {0.0, 0.5}
    assert (income % 1_000 == 0).all() and not np.isin(income, x[:, 0]).any()
    for j in range(3):
        assert np.bincount(cuts.bins(x)[:, j]).min() >= 20
    rare = np.append(np.zeros(500), np.ones(5))[:, None]
    assert choose_cuts(rare, ["rare"], least=10).points[0].size == 0


def test_no_cut_between_sides_that_are_offered_the_same() -> None:
    x = np.arange(40.0)[:, None]
    rewards = np.column_stack([np.zeros(40), np.ones(40)])
    tree = fit_tree(x, rewards, depth=2)
    assert tree.feature.tolist() == [-1] and tree.arm.tolist() == [1]
    constant = fit_tree(np.ones((40, 2)), rewards, depth=2)
    assert constant.feature.tolist() == [-1]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"depth": 9}, "depth"),
        ({"min_leaf": 0}, "min_leaf"),
        ({"min_leaf": 99}, "min_leaf"),
        ({"rewards": np.zeros((5, 2))}, "rewards"),
        ({"rewards": np.full((20, 2), np.nan)}, "tree"),
        ({"x": np.full((20, 1), np.inf)}, "tree"),
    ],
)
def test_bad_input_is_told(changes, where) -> None:
    given = {"x": np.arange(20.0)[:, None], "rewards": np.eye(2)[np.arange(20) % 2], "depth": 2}
    given |= changes
    with pytest.raises(InputError, match=where):
        fit_tree(given.pop("x"), given.pop("rewards"), **given)


def test_bad_cuts_are_told() -> None:
    with pytest.raises(InputError, match="bins"):
        choose_cuts(np.zeros((5, 1)), ["a"], bins=1)
    with pytest.raises(InputError, match="missing"):
        choose_cuts(np.full((5, 1), np.nan), ["a"])
    none = Cuts(("a",), (np.empty(0),))
    assert fit_tree(np.zeros((5, 1)), np.ones((5, 2)), depth=2, cuts=none).feature.tolist() == [-1]
