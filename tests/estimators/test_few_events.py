"""Intervals of shares keep their coverage when few participants have the outcome."""

import numpy as np
from scipy import stats

from tiltakeval.estimators.weighting.support import few_events


def test_variance_of_a_rare_share_is_that_of_plus_four():
    ones = np.ones(1)
    added = few_events(np.array([[0.0]]), np.array([[60.0]]), ones, ones)
    p = 2 / 64
    assert np.isclose(added[0, 0], p * (1 - p) / 60)
    none = few_events(np.array([[60.0]]), np.array([[60.0]]), 0 * ones, 0 * ones)
    assert none[0, 0] == 0


def test_interval_for_a_rare_share_covers_where_the_plain_one_does_not():
    rng = np.random.default_rng(5)
    n, p, ones = 100, 0.03, np.ones(1)
    x = rng.binomial(n, p, size=4000).astype(float)[:, None]
    share = x / n
    plain = share * (1 - share) / n
    wide = plain + few_events(x, np.full_like(x, n), ones, ones)
    critical = stats.t.ppf(0.975, n - 1)
    covered = {
        name: float((np.abs(share - p) <= critical * np.sqrt(v) + 1e-12).mean())
        for name, v in (("plain", plain), ("plus four", wide))
    }
    assert covered["plain"] < 0.85
    assert 0.93 < covered["plus four"] < 0.97
