import numpy as np
import pytest

from tiltakeval.estimators.did.aggregate import Known, Noise, averages


def _known(att):
    cells = ((0, 2, 0), (0, 3, 1), (1, 3, 0))
    return [
        Known(cohort=c, period=t, event=e, att=float(a), effect=True)
        for (c, t, e), a in zip(cells, att)
    ]


SIZE = np.array([6.0, 4.0])
HELD = np.kron(np.eye(2), np.ones((5, 1))) * np.array([1.2, 0.8])


def _found(att, noise):
    rows = averages(_known(att), SIZE, balance=None, noise=noise)
    return {(row.term, row.event): row for row in rows}


def test_sizes_count_as_far_as_effects_differ_by_more_than_their_errors():
    att = np.array([1.0, 1.4, 0.4])
    plain = _found(att, None)
    sure = _found(att, Noise(np.zeros((3, 3)), HELD))
    unsure = _found(att, Noise(2 * np.eye(3), HELD))
    for key, row in plain.items():
        assert sure[key].sizes == pytest.approx(row.sizes)
        assert unsure[key].cells == pytest.approx(row.cells)
        assert not unsure[key].sizes.any()


def test_the_variance_that_sizes_add_is_right_on_average_whatever_the_errors_of_effects():
    rng = np.random.default_rng(1)
    true, error = np.array([1.0, 1.4, 0.4]), np.diag([0.2, 0.25, 0.15])
    found, plain = [], []
    for _ in range(600):
        att = true + error @ rng.normal(size=3)
        key = ("effect_by_event_time", 0)
        for noise, kept in ((Noise(error, HELD), found), (None, plain)):
            kept.append(((HELD @ _found(att, noise)[key].sizes) ** 2).sum())
    wanted = ((HELD @ _found(true, None)[key].sizes) ** 2).sum()
    assert np.mean(found) == pytest.approx(wanted, rel=0.06)
    assert np.mean(plain) > 1.1 * wanted
