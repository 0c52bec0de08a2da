import numpy as np
import pytest
from scipy import stats

from tiltakeval.estimates.inference import (
    Influence,
    band_critical_value,
    covariance,
    intervals,
    standard_errors,
)


def test_errors_from_influence_equal_the_textbook_standard_error_of_a_mean():
    y = np.random.default_rng(1).normal(size=400)
    z = (y - y.mean())[:, None] / y.size
    assert standard_errors(z)[0] == pytest.approx(y.std(ddof=1) / np.sqrt(y.size), rel=1e-12)
    assert covariance(z)[0, 0] == pytest.approx(standard_errors(z)[0] ** 2)


def test_intervals_use_the_t_distribution_of_the_groups():
    low, high, p = intervals(np.array([1.0]), np.array([0.5]), level=0.9, df=10)
    half = stats.t.ppf(0.95, 10) * 0.5
    assert (low[0], high[0]) == (pytest.approx(1 - half), pytest.approx(1 + half))
    assert p[0] == pytest.approx(2 * stats.t.sf(2, 10))


def test_band_of_independent_columns_is_the_sidak_value_and_of_equal_columns_the_pointwise():
    rng = np.random.default_rng(2)
    independent = rng.normal(size=(2000, 20))
    sidak = stats.norm.ppf(0.5 + 0.95 ** (1 / 20) / 2)
    value = band_critical_value(independent, level=0.95, draws=20_000)
    assert value == pytest.approx(sidak, abs=0.05)
    equal = np.repeat(independent[:, :1], 20, axis=1)
    assert band_critical_value(equal, level=0.95, draws=20_000) == pytest.approx(1.96, abs=0.05)


def test_few_groups_give_a_wider_band():
    z = np.random.default_rng(3).normal(size=(10, 5))
    many = np.tile(z, (100, 1))
    assert band_critical_value(z, level=0.95) > band_critical_value(many, level=0.95) + 0.3


def test_columns_without_variance_do_not_widen_the_band():
    z = np.random.default_rng(4).normal(size=(500, 3))
    padded = np.hstack([z, np.zeros((500, 30))])
    assert band_critical_value(padded, level=0.95, draws=5000) == pytest.approx(
        band_critical_value(z, level=0.95, draws=5000), abs=0.06
    )


def test_influence_columns_come_in_the_order_asked_for_and_missing_rows_are_refused():
    influence = Influence(
        frame="f",
        kind="person",
        n_clusters=3,
        values={"a": np.eye(3), "b": 10 * np.eye(3)[:, :2]},
        rows={"a": np.array([4, 0, 2]), "b": np.array([1, 5])},
    )
    found = influence.columns([5, 0, 4])
    assert np.array_equal(found, np.stack([[0, 10, 0], [0, 1, 0], [1, 0, 0]], axis=1))
    assert influence.covered(7).tolist() == [True, True, True, False, True, True, False]
    with pytest.raises(KeyError, match="1 row"):
        influence.columns([0, 3])
    with pytest.raises(KeyError):
        influence.columns([99])
