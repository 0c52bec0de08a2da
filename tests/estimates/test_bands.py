import numpy as np
import pytest
from scipy import stats

from tiltakeval.estimates.bands import balanced_critical_values, joint_level, less_correlated
from tiltakeval.estimates.inference import satterthwaite, standard_errors


def test_rows_that_have_nothing_in_common_pass_as_independent_tests_do():
    found = joint_level(np.eye(12), np.full(12, 6.0), level=0.95, draws=40_000)
    assert found == pytest.approx(1 - 0.95 ** (1 / 12), rel=0.08)


def test_rows_that_are_one_pass_as_one():
    found = joint_level(np.ones((5, 5)), np.full(5, 6.0), level=0.95, draws=40_000)
    assert found == pytest.approx(0.05, rel=0.05)


def test_more_rows_ask_for_more_and_unequal_degrees_of_freedom_are_taken_as_they_are():
    matrix = np.full((6, 6), 0.5) + 0.5 * np.eye(6)
    df = np.array([3.0, 4.0, 8.0, 20.0, 50.0, 400.0])
    all_six = joint_level(matrix, df, level=0.95, draws=20_000)
    three = joint_level(matrix[:3, :3], df[:3], level=0.95, draws=20_000)
    assert 0.05 / 6 < all_six < three < 0.05


def test_correlations_of_few_numbers_are_freed_of_what_noise_adds():
    rng = np.random.default_rng(1)
    raw, freed = [], []
    for _ in range(200):
        matrix = np.corrcoef(rng.normal(size=(9, 10)), rowvar=False)
        off = ~np.eye(10, dtype=bool)
        raw.append((matrix[off] ** 2).mean())
        freed.append((less_correlated(matrix, np.full(10, 8.0))[off] ** 2).mean())
    assert np.mean(raw) == pytest.approx(1 / 8, abs=0.01)
    assert np.mean(freed) < 0.6 * np.mean(raw)
    strong = np.full((4, 4), 0.9) + 0.1 * np.eye(4)
    assert less_correlated(strong, np.full(4, 500.0)) == pytest.approx(strong, abs=1e-4)


def test_correlations_stay_a_correlation_matrix():
    matrix = np.corrcoef(np.random.default_rng(2).normal(size=(4, 30)), rowvar=False)
    found = less_correlated(matrix, np.full(30, 3.0))
    assert np.linalg.eigvalsh(found)[0] > -1e-9
    assert np.diag(found) == pytest.approx(1.0)
    assert np.abs(found).max() <= 1 + 1e-9


def test_bands_over_many_rows_hold_where_few_clusters_make_them():
    """Means of five clusters less those of seven, twenty rows with serial correlation."""
    rng = np.random.default_rng(3)
    strata = np.repeat([0, 1], [5, 7])
    held = []
    for seed in range(250):
        y = rng.normal(size=(12, 20))
        y[:, 1:] = 0.6 * y[:, :-1] + 0.8 * y[:, 1:]
        z = np.zeros_like(y)
        for s, sign in ((0, 1.0), (1, -1.0)):
            own = y[strata == s]
            size = own.shape[0]
            z[strata == s] = sign * (own - own.mean(axis=0)) / size * np.sqrt(size / (size - 1))
        error = y[strata == 0].mean(axis=0) - y[strata == 1].mean(axis=0)
        se = standard_errors(z) * np.sqrt(11 / 12)
        critical = balanced_critical_values(
            z, strata, df=satterthwaite(z, strata), level=0.95, draws=499, seed=seed
        )
        held.append(bool((np.abs(error) <= critical * se).all()))
    assert 0.92 < np.mean(held) < 0.98


def test_bands_are_no_narrower_than_intervals_and_one_row_has_its_own():
    z = np.random.default_rng(4).normal(size=(12, 3))
    strata, df = np.repeat([0, 1], 6), np.array([5.0, 8.0, 11.0])
    pointwise = stats.t.ppf(0.975, df)
    assert (balanced_critical_values(z, strata, df=df, level=0.95) > pointwise).all()
    one = balanced_critical_values(z[:, :1], strata, df=df[:1], level=0.95)
    assert one == pytest.approx(pointwise[:1])
    dead = np.hstack([z[:, :1], np.zeros((12, 2))])
    assert balanced_critical_values(dead, strata, df=df, level=0.95) == pytest.approx(pointwise)
