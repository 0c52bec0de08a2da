"""Weights of those who remain without a decision: sums that are kept, the cap, and a known truth."""

from __future__ import annotations

import numpy as np

from tiltakeval.population.censoring import remaining_weights

RNG = np.random.default_rng


def drawn(n: int, months: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cumulated -log(1 - p) and whether gone; each month a third aren't at risk."""
    rng = RNG(seed)
    p = rng.uniform(0.01, 0.3, (n, months)) * (rng.random((n, months)) < 2 / 3)
    event = (rng.random((n, months)) < p).cumsum(axis=1) > 0
    zero = np.zeros((n, 1))
    stay = np.hstack([zero, np.cumsum(-np.log1p(-p), axis=1)])
    return stay, np.hstack([zero > 0, event])


def test_without_groups_weights_are_the_product_up_to_the_cap():
    stay, gone = drawn(400, 12, 1)
    for cap in (None, 3.0):
        found, met = remaining_weights(
            stay, gone=gone, weight=np.ones(400), part=None, cap=cap, groups=0
        )
        expected = np.where(gone, 0.0, np.exp(stay))
        if cap is None:
            np.testing.assert_allclose(found, expected, rtol=1e-5)
            assert met == 0
        else:
            assert found.max() <= cap and met > 0
            once = (expected <= cap) & ~gone
            np.testing.assert_allclose(found[once], expected[once], rtol=1e-5)


def test_those_at_risk_keep_their_weight_and_others_theirs():
    stay, gone = drawn(4_000, 12, 2)
    weight = RNG(3).uniform(1, 5, 4_000)
    found, _ = remaining_weights(stay, gone=gone, weight=weight, part=None, cap=2.0, groups=1)
    for h in range(1, 13):
        at = stay[:, h] > stay[:, h - 1]
        before, after = (weight * found[:, j] for j in (h - 1, h))
        np.testing.assert_allclose(after[at].sum(), before[at].sum(), rtol=1e-5)
        np.testing.assert_allclose(after[~at & ~gone[:, h]], before[~at & ~gone[:, h]])
    np.testing.assert_allclose(weight @ found, weight.sum(), rtol=1e-4)


def test_only_months_at_risk_meet_the_cap():
    """Two at risk once: one goes, the other is given its weight, above the cap, and keeps it."""
    stay = np.tile([0.0, np.log(2), np.log(2), np.log(2)], (60, 1))
    gone = np.zeros((60, 4), dtype=bool)
    gone[:40, 1:] = True
    found, met = remaining_weights(
        stay, gone=gone, weight=np.ones(60), part=None, cap=1.5, groups=1
    )
    np.testing.assert_allclose(found[40:, 1:], 3.0)
    assert met == 20 / 60  # of 20 units in 3 months, each in the first


def test_parts_do_not_touch_one_another():
    both = [drawn(600, 8, seed) for seed in (4, 5)]
    stay, gone = (np.concatenate(pair) for pair in zip(*both))
    part = np.repeat([7, 9], 600)
    settings = {"cap": 3.0, "groups": 4}
    found, _ = remaining_weights(stay, gone=gone, weight=np.ones(1_200), part=part, **settings)
    for i, (one, its) in enumerate(both):
        alone, _ = remaining_weights(one, gone=its, weight=np.ones(600), part=None, **settings)
        np.testing.assert_array_equal(found[part == (7, 9)[i]], alone)


def test_a_group_that_all_leave_loses_its_weight():
    stay = np.array([[0.0, 0.5, 0.5], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0]])
    gone = np.array([[False, True, True], [False, True, True], [False, False, False]])
    found, _ = remaining_weights(stay, gone=gone, weight=np.ones(3), part=None, cap=25.0, groups=5)
    assert found.tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 1]]


def test_capped_weights_come_nearer_the_truth_when_those_at_risk_keep_theirs():
    """Work is found at a rate that differs; those without work are drawn into programmes, the
    worst placed most. What is asked: who works at the end had nobody been drawn."""
    errors: dict[int, list[float]] = {0: [], 5: []}
    for seed in range(20):
        rng = RNG(100 + seed)
        n, months = 4_000, 36
        good = rng.random(n) < 0.5
        finds = rng.random((n, months)) < np.where(good, 0.06, 0.015)[:, None]
        works = np.hstack([np.zeros((n, 1), dtype=bool), finds.cumsum(axis=1) > 0])
        p = np.where(works[:, :-1], 0.0, np.where(good, 0.03, 0.08)[:, None])
        stay = np.hstack([np.zeros((n, 1)), np.cumsum(-np.log1p(-p), axis=1)])
        drawn_in = (rng.random((n, months)) < p).cumsum(axis=1) > 0
        gone = np.hstack([np.zeros((n, 1), dtype=bool), drawn_in])
        for groups, found in errors.items():
            weight, _ = remaining_weights(
                stay, gone=gone, weight=np.ones(n), part=None, cap=5.0, groups=groups
            )
            share = (weight[:, -1] @ works[:, -1]) / weight[:, -1].sum()
            found.append(float(share - works[:, -1].mean()))
    alone, kept = np.mean(errors[0]), np.mean(errors[5])
    assert alone > 0.08  # those who work are too many when the cap takes and nobody gets
    assert abs(kept) < 0.25 * alone
    assert np.std(errors[5]) < 0.05
