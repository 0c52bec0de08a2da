"""Published examples: pairs (Rosenbaum), least squares (Cinelli & Hazlett), and hand counts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from tiltakeval.diagnostics.sensitivity.linear import Coefficient, as_strong_as
from tiltakeval.diagnostics.sensitivity.pairs import (
    amplified,
    breaking_gamma,
    differences_of,
    hodges_lehmann,
    mcnemar,
    signed_rank,
)
from tiltakeval.errors import InputError

# Lead in the blood (micrograms per decilitre) of children of exposed workers and of their matched
# controls: Morton et al. (1982), as in Rosenbaum (2002), Observational Studies, chapter 3.
EXPOSED = (
    *(38, 23, 41, 18, 37, 36, 23, 62, 31, 34, 24, 14, 21, 17, 16, 20, 15),
    *(10, 45, 39, 22, 35, 49, 48, 44, 35, 43, 39, 34, 13, 73, 25, 27),
)
CONTROL = (
    *(16, 18, 18, 24, 19, 11, 10, 15, 16, 18, 18, 13, 19, 10, 16, 16, 24),
    *(13, 9, 14, 21, 19, 7, 18, 19, 12, 11, 22, 25, 16, 13, 11, 13),
)
LEAD = differences_of(EXPOSED, CONTROL)


def test_lead_p_values_of_rosenbaum() -> None:
    # Rosenbaum (2002), section 4.3: range of p values of the signed-rank test
    published = {2: 0.0018, 3: 0.0136, 4: 0.0388, 4.25: 0.0468, 5: 0.0740}
    for found in signed_rank(LEAD, list(published)):
        assert round(found.p_high, 4) == published[found.gamma]
        assert found.p_low < 0.0001
    first = signed_rank(LEAD)[0]
    assert first.p_low == first.p_high < 0.0001
    assert 4.25 < breaking_gamma(LEAD) < 4.5
    assert breaking_gamma(-LEAD) == 1.0


def test_lead_estimates_of_rosenbaum() -> None:
    # Rosenbaum (2002), section 4.3: range of Hodges-Lehmann estimates
    published = {1: (15, 15), 2: (10.25, 19.5), 3: (8, 23), 4: (6.5, 25), 5: (5, 26.5)}
    for gamma, (low, high) in published.items():
        assert hodges_lehmann(LEAD, gamma) == (low, high)


def test_mcnemar_of_smoking_and_lung_cancer() -> None:
    # Hammond (1964): 122 pairs in which one died of lung cancer, 110 of them the heavy smoker. Rosenbaum
    # (2002), section 4.3.2: sensitive first at gamma = 6, where the p value is about 0.1.
    found = {b.gamma: b for b in mcnemar(110, 12, (1, 2, 3, 4, 5, 6))}
    assert found[3].p_high < 0.0001 < found[4].p_high < 0.05 > found[5].p_high
    assert round(found[6].p_high, 1) == 0.1
    np.testing.assert_allclose(found[1].p_high, stats.binomtest(110, 122, 0.5, "greater").pvalue)


def test_signed_rank_against_all_assignments() -> None:
    d = np.array([3.0, -1.0, 4.0, 1.5, 5.0, 9.0, -2.0, 6.0])
    gamma, p = 2.0, 2.0 / 3.0
    ranks = stats.rankdata(np.abs(d))
    exact = 0.0
    for signs in itertools.product((0, 1), repeat=d.size):
        s = np.array(signs)
        if (ranks * s).sum() >= ranks[d > 0].sum():
            exact += np.prod(np.where(s == 1, p, 1 - p))
    assert signed_rank(d, (gamma,))[0].p_high == pytest.approx(exact, abs=0.05)


def test_amplification() -> None:
    # Rosenbaum & Silber (2009): gamma 1.5 is a factor that doubles the odds of taking part and makes
    # a better outcome four times as likely
    assert amplified(1.5, outcome=4.0) == pytest.approx(2.0)
    with pytest.raises(InputError, match="above gamma"):
        amplified(2.0, outcome=1.5)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: differences_of([1, 2], [1]), "aren't pairs"),
        (lambda: differences_of([1, np.nan], [1, 2]), "1 pair"),
        (lambda: signed_rank([1.0]), "2 pairs"),
        (lambda: signed_rank(LEAD, (0.5,)), "gamma"),
        (lambda: mcnemar(0, 0), "at least one"),
        (lambda: mcnemar(3, -1), "at least one"),
        (lambda: hodges_lehmann(np.arange(6000.0)), "random part"),
        (lambda: Coefficient(1.0, 0.0, 10), "positive standard error"),
        (lambda: Coefficient(1.0, 1.0, 1), "degrees"),
        (lambda: Coefficient(1.0, 0.5, 10).bias(y=0.1, d=1.0), "below 1"),
        (lambda: as_strong_as(y=0.1, d=0.4, times=2), "all of the treatment"),
    ],
)
def test_bad_input(call, text: str) -> None:
    with pytest.raises(InputError, match=text):
        call()


def test_pairs_that_never_differ() -> None:
    same = signed_rank(np.zeros(10), (1.0, 3.0))
    assert [b.p_high for b in same] == [1.0, 1.0]
    assert hodges_lehmann(np.zeros(10), 2.0) == (0.0, 0.0)


# Darfur: Cinelli & Hazlett (2020), section 5; figures to more digits in the tests of the R package
# sensemakr 0.1.6 (coefficient of directlyharmed, benchmark female).
DARFUR = Coefficient(0.09731582, 0.02325654, 783)


def test_darfur() -> None:
    assert DARFUR.partial_r2 == pytest.approx(0.02187309, abs=1e-7)
    assert DARFUR.robustness_value() == pytest.approx(0.1387764, abs=1e-6)
    assert DARFUR.robustness_value(level=0.95) == pytest.approx(0.07625797, abs=1e-6)
    zero = DARFUR.adjusted(y=1.0, d=DARFUR.partial_r2)
    assert zero.estimate == pytest.approx(0.0, abs=1e-9)
    r = DARFUR.robustness_value()
    assert DARFUR.adjusted(y=r, d=r).estimate == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("times", "d", "y", "estimate", "error"),
    [
        (1, 0.009164287, 0.124640923, 0.07522027, 0.02187333),
        (2, 0.018328573, 0.249324064, 0.05291517, 0.02035006),
        (3, 0.027492860, 0.374050471, 0.03039602, 0.01867006),
    ],
)
def test_darfur_as_strong_as_female(times, d, y, estimate, error) -> None:
    # partial R^2 of female with the outcome and with the treatment
    shares = as_strong_as(y=0.10903391, d=0.00908106, times=times)
    np.testing.assert_allclose(shares, (y, d), rtol=1e-5)
    found = DARFUR.adjusted(y=shares[0], d=shares[1])
    assert found.estimate == pytest.approx(estimate, abs=1e-6)
    assert found.std_error == pytest.approx(error, abs=1e-6)


def test_least_squares_with_the_factor_in_it() -> None:
    """The formula is exact: with the omitted covariate's own shares it gives the long regression."""
    rng = np.random.default_rng(0)
    n = 300
    x, u = rng.standard_normal((2, n))
    t = (0.5 * x + 0.7 * u + rng.standard_normal(n) > 0).astype(float)
    y = t + x + 0.8 * u + rng.standard_normal(n)

    def fit(target, *columns):
        z = np.column_stack([np.ones(n), *columns])
        beta = np.linalg.lstsq(z, target, rcond=None)[0]
        left = target - z @ beta
        df = n - z.shape[1]
        cov = np.linalg.inv(z.T @ z) * (left @ left) / df
        return beta, np.sqrt(np.diag(cov)), df

    short, se, df = fit(y, t, x)
    long, se_long, df_long = fit(y, t, x, u)
    of_t, se_t, df_t = fit(t, u, x)
    r_y = (long[3] / se_long[3]) ** 2
    r_d = (of_t[1] / se_t[1]) ** 2
    r_y, r_d = r_y / (r_y + df_long), r_d / (r_d + df_t)
    found = Coefficient(short[1], se[1], df).adjusted(y=r_y, d=r_d)
    assert found.estimate == pytest.approx(long[1])
    assert found.std_error == pytest.approx(se_long[1])
