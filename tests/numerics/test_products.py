"""Thresholds and products that a logit lacks: found where they are, next to none where they aren't."""

from __future__ import annotations

import numpy as np
import pytest

from tiltakeval.numerics.logit import fit_logit
from tiltakeval.numerics.products import Above, columns, indicators, lacking


def people(seed: int, n: int = 20_000) -> np.ndarray:
    """[n, 4]: age in years, sex, school, months worked of 24."""
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [
            rng.uniform(18, 62, n),
            rng.random(n) < 0.5,
            rng.random(n) < 0.4,
            rng.binomial(24, rng.beta(0.7, 0.9, n)),
        ]
    ).astype(float)


def decided(x: np.ndarray, index: np.ndarray, seed: int) -> np.ndarray:
    linear = -3.2 + 0.02 * (x[:, 0] - 40) + 0.3 * x[:, 1] + 0.02 * x[:, 3]
    return np.random.default_rng(seed).random(len(x)) < 1 / (1 + np.exp(-linear - index))


def found_in(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple:
    return lacking(x, y, weight, fitted(x, y, weight), cluster=np.arange(len(x)))


def fitted(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    fit = fit_logit(x, y, weight)
    return fit.coef[0] + x @ fit.coef[1:]


def test_a_product_a_threshold_and_a_hump_are_found():
    x = people(1)
    young_low = (x[:, 0] < 30) & (x[:, 2] == 1)
    y = decided(x, 1.2 * young_low + 0.9 * (x[:, 3] < 6), 2)
    weight = np.ones(len(x))
    found = found_in(x, y, weight)
    pairs = [tuple(sorted((a.column, b.column))) for a, b in found]
    assert (0, 2) in pairs
    assert any(3 in pair for pair in pairs)
    near = [a.cut for pair in found for a in pair if a.column == 0]
    assert min(abs(cut - 30) for cut in near) < 6


def test_the_likelihood_of_others_gains():
    x, other = people(3), people(4)
    index = [1.2 * ((v[:, 0] < 30) & (v[:, 2] == 1)) for v in (x, other)]
    y, held = decided(x, index[0], 5), decided(other, index[1], 6)
    weight = np.ones(len(x))
    products = found_in(x, y, weight)
    plain, wide = (fit_logit(v, y, weight).coef for v in (x, np.hstack([x, columns(x, products)])))
    etas = (
        plain[0] + other @ plain[1:],
        wide[0] + np.hstack([other, columns(other, products)]) @ wide[1:],
    )
    gain = [held @ eta - np.logaddexp(0, eta).sum() for eta in etas]
    assert gain[1] > gain[0] + 10


def test_next_to_nothing_is_added_to_a_logit_that_is_right():
    added = 0
    for seed in range(20):
        x = people(100 + seed, 5_000)
        y = decided(x, np.zeros(len(x)), 200 + seed)
        weight = np.ones(len(x))
        added += len(found_in(x, y, weight))
    assert added <= 2


def test_sampled_rows_with_weights_give_what_all_rows_give():
    x = people(7, 40_000)
    y = decided(x, 1.2 * ((x[:, 0] < 30) & (x[:, 2] == 1)), 8)
    drawn = y | (np.random.default_rng(9).random(len(x)) < 0.4)
    weight = np.where(y, 1.0, 1 / 0.4)[drawn]
    found = found_in(x[drawn], y[drawn], weight)
    assert {tuple(sorted((a.column, b.column))) for a, b in found} == {(0, 2)}


def test_a_statistic_is_standard_normal_when_the_logit_is_right(monkeypatch: pytest.MonkeyPatch):
    from tiltakeval.numerics import products

    drawn: list[float] = []

    def spied(score, information, variance, raw, *, threshold):  # type: ignore[no-untyped-def]
        drawn.extend(score / np.sqrt(np.diag(variance)))
        return []

    monkeypatch.setattr(products, "_one_by_one", spied)
    monkeypatch.setattr(products, "_strongest", _all_pairs)
    for seed in range(40):
        x = people(300 + seed, 4_000)
        y = decided(x, np.zeros(len(x)), 400 + seed)
        found_in(x, y, np.ones(len(x)))
    z = np.array(drawn)
    assert abs(z.mean()) < 0.15
    assert 0.85 < z.std() < 1.15


def _all_pairs(x, tried, residual, event):  # type: ignore[no-untyped-def]
    first, second = np.triu_indices(len(tried), k=1)
    apart = [tried[i].column != tried[j].column for i, j in zip(first, second)]
    return first[apart][::7], second[apart][::7], 1


def test_indicators_part_rows_differently_and_leave_few_alone():
    rng = np.random.default_rng(5)
    x = np.column_stack(
        [rng.random(2_000), np.arange(2_000) < 10, rng.random(2_000) < 0.5, np.full(2_000, 3.0)]
    )
    x = np.column_stack([x, 1 - x[:, 2]])
    found = indicators(x)
    assert {a.column for a in found} == {0, 2}
    assert len(found) == 8


def test_columns_of_products_come_with_their_indicators():
    x = np.array([[1.0, 5.0], [0.0, 6.0], [1.0, 7.0]])
    a, b = Above(0, 0.5), Above(1, 5.5)
    assert columns(x, [(a, b)]).tolist() == [[0, 1, 0], [0, 0, 1], [1, 1, 1]]
    sex = Above(0, 0.5, two=True)
    assert columns(x, [(sex, b)]).tolist() == [[0, 0], [0, 1], [1, 1]]
    assert columns(x, [(b, b)]).tolist() == [[0], [1], [1]]
    assert columns(x, []).shape == (3, 0)


def test_too_few_events_for_any_test():
    x = people(11, 500)
    y = np.zeros(500, dtype=bool)
    y[:15] = True
    assert lacking(x, y, np.ones(500), np.full(500, -3.5), cluster=np.arange(500)) == ()


def test_persons_met_twice_count_once():
    x = people(13, 6_000)
    y = decided(x, 0.35 * ((x[:, 0] < 30) & (x[:, 2] == 1)), 14)
    again = np.tile(np.arange(6_000), 6)
    one = found_in(x, y, np.ones(6_000))
    x, y = x[again], y[again]
    eta = fitted(x, y, np.ones(len(x)))
    assert lacking(x, y, np.ones(len(x)), eta, cluster=again) == one
    assert len(lacking(x, y, np.ones(len(x)), eta, cluster=np.arange(len(x)))) > len(one)
