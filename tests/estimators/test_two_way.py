"""Unit and period effects against a regression on dummies."""

from __future__ import annotations

import numpy as np
import pytest

from tiltakeval.errors import InputError
from tiltakeval.estimators.numerics.two_way import TwoWay


def dummies(n: int, periods: int) -> np.ndarray:
    """[n * T, n + T] an indicator for every unit and period, rows unit by unit."""
    unit = np.kron(np.eye(n), np.ones((periods, 1)))
    return np.hstack([unit, np.kron(np.ones((n, 1)), np.eye(periods))])


def check(used: np.ndarray, weight: np.ndarray, seed: int = 0) -> TwoWay:
    rng = np.random.default_rng(seed)
    n, periods = used.shape
    y = rng.normal(size=(n, periods, 2)) + 10 * rng.normal(size=(n, 1, 2))
    values = np.where(used[:, :, None], y, np.nan)
    two = TwoWay(used, weight)
    w = np.broadcast_to(weight if weight.ndim == 2 else weight[:, None], used.shape)
    root = np.sqrt(np.where(used, w, 0.0)).ravel()
    flat = np.nan_to_num(values).reshape(n * periods, 2)
    d = dummies(n, periods) * root[:, None]
    coef = np.linalg.lstsq(d, flat * root[:, None], rcond=None)[0]
    fitted = (dummies(n, periods) @ coef).reshape(y.shape)
    counted = used & (w > 0)
    residual = np.where(counted[:, :, None], np.nan_to_num(values) - fitted, 0.0)
    np.testing.assert_allclose(two.demean(values), residual, atol=1e-10)
    unit, period = two.effects(values)
    there = two.predictable()
    mine = unit[:, None, :] + period[None, :, :]
    np.testing.assert_allclose(mine[there], fitted[there], atol=1e-9)
    assert counted[~there].sum() == 0
    assert two.absorbed == np.linalg.matrix_rank(d)
    assert np.isnan(unit[~counted.any(axis=1)]).all()
    assert np.isnan(period[~counted.any(axis=0)]).all()
    inside = values.copy()
    assert two.demean(inside, out=inside) is inside
    np.testing.assert_allclose(inside, residual, atol=1e-10)
    return two


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [1.0, 0.7, 0.35])
@pytest.mark.parametrize("kind", ["one", "unit", "row"])
def test_it_is_the_regression_on_dummies(seed: int, share: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    used = rng.random((14, 6)) < share
    shape = (14, 6) if kind == "row" else (14,)
    weight = np.ones(shape) if kind == "one" else rng.uniform(0.1, 5, shape)
    two = check(used, weight, seed)
    assert two.balanced == (share == 1.0 and kind != "row")


def test_parts_that_no_unit_joins_stay_apart() -> None:
    used = np.zeros((9, 7), dtype=bool)
    used[:4, :3] = used[4:7, 4:6] = True
    used[7, 6] = True  # a period and a unit that are seen once; the last unit and period 3 never
    two = check(used, np.linspace(0.5, 2, 9))
    assert two.components == 3 and two.period_component.tolist() == [0, 0, 0, -1, 1, 1, 2]
    assert two.unit_component.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, -1]
    assert not two.predictable()[:4, 4:].any() and two.absorbed == 11


def test_weights_of_zero_are_rows_not_used() -> None:
    weight = np.ones((8, 5))
    weight[2, :3] = weight[5] = weight[:, 4] = 0.0
    two = check(np.ones((8, 5), dtype=bool), weight)
    assert two.unit_component[5] == two.period_component[4] == -1


def test_weights_are_numbers_of_units() -> None:
    rng = np.random.default_rng(1)
    used, times = rng.random((20, 5)) < 0.8, rng.integers(1, 4, 20)
    y = rng.normal(size=(20, 5, 1))
    one = TwoWay(used, times.astype(float)).demean(y)
    many = TwoWay(np.repeat(used, times, axis=0), np.ones(times.sum()))
    np.testing.assert_allclose(
        np.repeat(one, times, axis=0), many.demean(np.repeat(y, times, axis=0)), atol=1e-12
    )


def test_blocks_of_units_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    used, y = rng.random((50, 6)) < 0.7, rng.normal(size=(50, 6, 3))
    whole = TwoWay(used, np.ones(50)).demean(y)
    even = TwoWay(np.ones((50, 6), dtype=bool), np.ones(50)).demean(y)
    monkeypatch.setattr("tiltakeval.estimators.numerics.two_way.BLOCK", 7)
    np.testing.assert_allclose(TwoWay(used, np.ones(50)).demean(y), whole, atol=1e-12)
    again = TwoWay(np.ones((50, 6), dtype=bool), np.ones(50)).demean(y)
    np.testing.assert_allclose(again, even, atol=1e-12)


def test_what_cant_be_fitted_is_refused() -> None:
    used = np.ones((3, 2), dtype=bool)
    with pytest.raises(InputError, match="no row is left"):
        TwoWay(np.zeros((3, 2), dtype=bool), np.ones(3))
    with pytest.raises(InputError, match="2 weights are negative or missing"):
        TwoWay(used, np.array([1.0, -1.0, np.nan]))
    with pytest.raises(ValueError, match="shape"):
        TwoWay(used, np.ones(2))
