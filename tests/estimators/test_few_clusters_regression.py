"""Few-cluster inference for regressions: published numbers and brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import linalg, stats

from tiltakeval.errors import InputError
from tiltakeval.estimates.few_clusters.moments import moments_of_rows
from tiltakeval.estimates.few_clusters.robust import cr1, cr2, cr3, leverage, without_each
from tiltakeval.estimates.few_clusters.weights import draw_weights
from tiltakeval.estimates.few_clusters.wild import wild_of_regression


def documented(clusters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The data of the example in wildboottest's README (1,000 rows, ten regressors, no constant)."""
    state = np.random.RandomState(12312312)
    n, k = 1000, 10
    x = state.normal(0, 1, n * k).reshape((n, k))
    beta = state.normal(0, 1, k)
    beta[0] = 0.005
    u = state.normal(0, 1, n)
    y = 1 + x @ beta + u
    return x, y, state.choice(list(range(clusters)), n)


def rows(seed: int = 0, clusters: int = 7, n: int = 60, k: int = 3):
    rng = np.random.default_rng(seed)
    cluster = np.concatenate([np.arange(clusters), rng.integers(0, clusters, n - clusters)])
    x = np.column_stack([np.ones(n), rng.normal(size=(n, k - 1))])
    x[:, -1] += rng.normal(size=clusters)[cluster]
    y = rng.normal(size=n) + rng.normal(size=clusters)[cluster] + 0.3 * x[:, -1]
    return x, y, cluster


def pick(k: int, j: int) -> np.ndarray:
    return np.eye(k)[j]


@pytest.mark.parametrize(
    ("column", "statistic", "p"),
    [(0, -0.9161101602560844, 0.414062), (5, 1.4925442694763955, 0.183594), (1, -23.471, 0.0)],
)
def test_the_printed_example_of_wildboottest(column: int, statistic: float, p: float) -> None:
    """Ten clusters, all 1,024 sign vectors: exact p values of the unrestricted bootstrap, which that
    version ran. Its share leaves out the sample, ours counts it as one."""
    x, y, cluster = documented(10)
    moments = moments_of_rows(x, y, cluster)
    found = cr1(moments, pick(10, column))
    t = found.estimate / found.std_error * np.sqrt(10 / 9)  # this version printed no factor in it
    np.testing.assert_allclose(t, statistic, rtol=1e-5 if column == 1 else 1e-12)
    got = wild_of_regression(moments, pick(10, column)).replications(restricted=False)
    assert got.n0.size == 512
    assert abs((got.p_value() * 513 - 1) / 512 - p) < 1e-6


def test_the_printed_jackknife_statistic_of_wildboottest() -> None:
    """25 clusters: errors by leaving one out (its type 33)."""
    x, y, cluster = documented(25)
    moments = moments_of_rows(x, y, cluster)
    plain, left = cr1(moments, pick(10, 0)), cr3(moments, pick(10, 0))
    # its small-sample factor has (N - 1) / (N - k) beside G / (G - 1)
    t = plain.estimate / plain.std_error / np.sqrt(999 / 990)
    np.testing.assert_allclose(t, -1.0530803154504016, rtol=1e-12)
    np.testing.assert_allclose(left.estimate / left.std_error, -1.0394791020434824, rtol=1e-12)
    got = wild_of_regression(moments, pick(10, 0)).replications(draws=9999)
    assert abs(got.p_value() - 0.312) < 0.01  # printed: 0.3088 and 0.3151, 9,999 draws each


@pytest.mark.parametrize("restricted", [True, False])
def test_wild_replications_are_those_of_outcomes_drawn_and_fitted(restricted: bool) -> None:
    x, y, cluster = rows(3, clusters=6)
    c, null = pick(3, 2), 0.25
    moments = moments_of_rows(x, y, cluster)
    got = wild_of_regression(moments, c).replications(restricted=restricted)
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ y
    fit = beta
    if restricted:
        fit = beta - inverse @ c * (beta[2] - null) / inverse[2, 2]
    residual = y - x @ fit

    def t_of(outcome: np.ndarray, centre: float) -> float:
        b = inverse @ x.T @ outcome
        e = outcome - x @ b
        s = np.array([(x[cluster == g].T @ e[cluster == g]) @ inverse[2] for g in range(6)])
        return (b[2] - centre) / np.sqrt((s**2).sum() * 6 / 5)

    own = abs(t_of(y, null))
    centre = null if restricted else beta[2]
    vectors = [np.array(v) for v in product((1, -1), repeat=6)]
    drawn = np.array([abs(t_of(x @ fit + v[cluster] * residual, centre)) for v in vectors])
    count = int((drawn >= own * (1 - 1e-9)).sum())
    wanted = count / 64 if restricted else (1 + count / 2) / 33
    np.testing.assert_allclose(got.p_value(null), wanted, atol=1e-12)


def test_an_interval_holds_the_nulls_that_are_not_rejected() -> None:
    x, y, cluster = rows(4, clusters=9)
    got = wild_of_regression(moments_of_rows(x, y, cluster), pick(3, 2)).replications()
    low, high = got.interval(0.9)
    assert low < got.estimate < high
    assert got.p_value(low + 1e-6) > 0.1 >= got.p_value(low - 1e-6)
    assert got.p_value(high - 1e-6) > 0.1 >= got.p_value(high + 1e-6)
    wider = got.interval(0.95)
    assert wider[0] <= low and high <= wider[1]
    few = wild_of_regression(moments_of_rows(*rows(5, clusters=4)), pick(3, 2)).replications()
    assert few.interval(0.95) == (-np.inf, np.inf)  # eight sign vectors can't reject at 5 %


def test_cr2_is_its_definition_with_roots_of_matrices_of_rows() -> None:
    rng = np.random.default_rng(6)
    x, y, cluster = rows(6, clusters=8, n=70, k=4)
    weight = rng.uniform(0.3, 3, y.size)
    unit = cluster * 100 + rng.integers(0, 3, y.size)
    moments = moments_of_rows(x[:, 1:], y, cluster, weight=weight, unit=unit)
    dummies = (unit[:, None] == np.unique(unit)[None, :]) * 1.0
    full = np.hstack([x[:, 1:], dummies]) * np.sqrt(weight)[:, None]
    inverse = np.linalg.inv(full.T @ full)
    away = np.eye(y.size) - full @ inverse @ full.T
    e = away @ (y * np.sqrt(weight))
    c = np.zeros(full.shape[1])
    c[2] = 1.0
    total, way = 0.0, []
    for g in range(8):
        at = cluster == g
        values, vectors = linalg.eigh(away[np.ix_(at, at)])
        good = values > 1e-8
        root = (vectors[:, good] / np.sqrt(values[good])) @ vectors[:, good].T
        u = np.zeros(y.size)
        u[at] = root @ full[at] @ inverse @ c
        total += (u @ e) ** 2
        way.append(away @ u)
    gaps = np.array(way) @ np.array(way).T
    got = cr2(moments, pick(3, 2))
    np.testing.assert_allclose(got.std_error, np.sqrt(total), rtol=1e-9)
    np.testing.assert_allclose(got.df, np.trace(gaps) ** 2 / (gaps**2).sum(), rtol=1e-9)


def test_cr2_with_a_row_a_cluster_and_two_means_is_welch_and_its_known_degrees() -> None:
    """Imbens & Kolesar (2016), section II: with n1 = 3 of 30 the degrees of freedom are 2.5."""
    rng = np.random.default_rng(7)
    d = (np.arange(30) < 3) * 1.0
    y = rng.normal(size=30) * (1 + 2 * d)
    got = cr2(moments_of_rows(np.column_stack([np.ones(30), d]), y, np.arange(30)), pick(2, 1))
    welch = np.sqrt(y[:3].var(ddof=1) / 3 + y[3:].var(ddof=1) / 27)
    np.testing.assert_allclose(got.std_error, welch)
    np.testing.assert_allclose(got.df, (1 / 3 + 1 / 27) ** 2 / (1 / 9 / 2 + 1 / 27**2 / 26))
    assert round(got.df, 1) == 2.5


def test_cr3_leaves_clusters_out() -> None:
    x, y, cluster = rows(8)
    moments = moments_of_rows(x, y, cluster)
    left = np.array(
        [np.linalg.lstsq(x[cluster != g], y[cluster != g], rcond=None)[0][2] for g in range(7)]
    )
    np.testing.assert_allclose(without_each(moments, pick(3, 2)), left)
    got = cr3(moments, pick(3, 2))
    np.testing.assert_allclose(got.std_error**2, 6 / 7 * ((left - got.estimate) ** 2).sum())
    only = x.copy()
    only[:, 2] *= cluster == 0  # one cluster alone identifies it
    lost = cr3(moments_of_rows(only, y, cluster), pick(3, 2))
    assert np.isnan(lost.std_error) and "1 of 7 clusters can't be left out" in lost.reason


def test_leverage_sums_to_the_rank_and_partial_leverage_to_one() -> None:
    x, y, cluster = rows(9)
    found = leverage(moments_of_rows(x, y, cluster), pick(3, 2))
    hat = np.diag(x @ np.linalg.inv(x.T @ x) @ x.T)
    np.testing.assert_allclose(found.leverage, np.bincount(cluster, weights=hat))
    left = x[:, 2] - x[:, :2] @ np.linalg.lstsq(x[:, :2], x[:, 2], rcond=None)[0]
    np.testing.assert_allclose(found.partial, np.bincount(cluster, left**2) / (left**2).sum())
    assert 1 < found.effective < 7


def test_weights_have_mean_zero_and_variance_one() -> None:
    for kind in ("rademacher", "webb", "mammen"):
        v, exact = draw_weights(20, kind=kind, draws=5000, seed=1)
        assert not exact and abs(v.mean()) < 0.01 and abs((v**2).mean() - 1) < 0.01
        np.testing.assert_array_equal(v, draw_weights(20, kind=kind, draws=5000, seed=1)[0])
        assert abs((v**3).mean() - (kind == "mammen")) < 0.03
    v, exact = draw_weights(6, kind="rademacher", draws=999, seed=1)
    assert exact and len(np.unique(v, axis=0)) == 32 and (v[0] == 1).all() and (v[:, -1] == 1).any()
    with pytest.raises(InputError, match="Did you mean 'webb'"):
        draw_weights(6, kind="web", draws=999, seed=1)
    with pytest.raises(InputError, match="too few"):
        draw_weights(6, kind="webb", draws=10, seed=1)


def test_bad_rows_are_refused() -> None:
    x, y, cluster = rows()
    with pytest.raises(InputError, match="finite"):
        moments_of_rows(x * np.nan, y, cluster)
    with pytest.raises(InputError, match="1 weights"):
        moments_of_rows(x, y, cluster, weight=(np.arange(60) > 0) * 1.0)
    with pytest.raises(InputError, match="within clusters"):
        moments_of_rows(x, y, cluster, unit=np.zeros(60))


def test_t_with_cr2_keeps_its_size_where_plain_errors_do_not() -> None:
    """Three treated clusters of 20, normal rows: 5 % tests reject about 5 % and far more."""
    rng = np.random.default_rng(10)
    cluster = np.repeat(np.arange(20), 5)
    x = np.column_stack([np.ones(100), cluster < 3])
    rejected = np.zeros(2)
    for _ in range(300):
        moments = moments_of_rows(x, rng.normal(size=100) + rng.normal(size=20)[cluster], cluster)
        for i, found in enumerate((cr1(moments, pick(2, 1)), cr2(moments, pick(2, 1)))):
            rejected[i] += abs(found.estimate / found.std_error) > stats.t.ppf(0.975, found.df)
    assert rejected[0] / 300 > 0.12 and rejected[1] / 300 < 0.08
