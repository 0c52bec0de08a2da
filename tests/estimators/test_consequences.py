"""From hazards to months: closed forms, a simulation of persons, and errors by simulation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import integrate

from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimators.duration.months.consequences import consequences
from tiltakeval.estimators.duration.months.law import Averaged, by_differences
from tiltakeval.estimators.duration.months.paths import Rates, paths

H = 24


def flat(job=0.05, out=0.01, waiting=1.0, inside=0.5, after=1.4, begin=0.5, leave=0.2, **more):
    """One kind of person and constant hazards; factors on the job hazard only."""
    factors = {
        name: np.column_stack([np.full(H, value), np.ones(H)])
        for name, value in (("waiting", waiting), ("inside", inside), ("after", after))
    }
    base = np.empty((1, 1, H, 2))
    base[..., 0], base[..., 1] = job, out
    return Rates(
        base=base, share=np.ones((1, 1)), begin=np.full(H, begin), leave=np.full(H, leave),
        **{**factors, **more},
    )  # fmt: skip


def exact(h, *, job, out, stages, changes):
    """Shares by exit at time h from the forward equations of a chain of stages."""
    size = len(stages)

    def move(_, y):
        d = np.zeros(size + 2)
        for i, factor in enumerate(stages):
            rate = changes[i] if i < size - 1 else 0.0
            d[i] -= y[i] * (job * factor + out + rate)
            if i < size - 1:
                d[i + 1] += y[i] * rate
            d[size] += y[i] * job * factor
            d[size + 1] += y[i] * out
        return d

    start = np.r_[1.0, np.zeros(size + 1)]
    return integrate.solve_ivp(move, (0, h), start, rtol=1e-10, atol=1e-12).y[size:, -1]


def test_without_programme_the_closed_form_is_met() -> None:
    found = paths(flat())
    h = np.arange(H + 1)
    left = 1 - np.exp(-0.06 * h)
    np.testing.assert_allclose(found.without[:, 0], left * 5 / 6, atol=1e-12)
    np.testing.assert_allclose(found.without[:, 1], left / 6, atol=1e-12)


@pytest.mark.parametrize("waits", [True, False])
def test_stages_follow_the_forward_equations(waits: bool) -> None:
    found = paths(flat(waits=waits, waiting=0.8))
    stages, changes = ([0.8, 0.5, 1.4], [0.5, 0.2]) if waits else ([0.5, 1.4], [0.2])
    for h in (3, 12, H):
        want = exact(h, job=0.05, out=0.01, stages=stages, changes=changes)
        # changes of stage are spread over a step: an error of second order
        np.testing.assert_allclose(found.with_programme[h], want, atol=1.5e-3)
        locked = exact(h, job=0.05, out=0.01, stages=[*stages[:-1], 1.0], changes=changes)
        np.testing.assert_allclose(found.locked_in[h], locked, atol=1.5e-3)
    assert found.running[0] == (0.0 if waits else 1.0)
    assert (found.with_programme.sum(axis=1) + found.running <= 1 + 1e-12).all()


def test_factors_by_time_in_the_stage_are_used_in_their_month() -> None:
    inside = np.ones((H, 2))
    inside[:3, 0] = 0.0  # nobody finds a job in the programme's first three months
    found = paths(flat(inside=1.0, after=1.0, waits=False, leave=0.0)).with_programme
    rates = replace(flat(after=1.0, waits=False, leave=0.0), inside=inside)
    held = paths(rates).with_programme
    np.testing.assert_allclose(held[:4, 0], 0.0, atol=1e-15)
    gained = np.exp(0.05 * 3)  # those who would have left stand where they stood
    np.testing.assert_allclose(np.diff(held[3:, 0]), gained * np.diff(found[3:, 0]), rtol=1e-9)


def test_mass_points_and_kinds_are_averaged_by_their_share() -> None:
    one, two = flat(job=0.02), flat(job=0.2)
    both = flat()
    both = Rates(
        **{**both.__dict__, "base": np.concatenate([one.base, two.base], axis=1),
           "share": np.array([[0.3, 0.7]])}
    )  # fmt: skip
    want = 0.3 * paths(one).with_programme + 0.7 * paths(two).with_programme
    np.testing.assert_allclose(paths(both).with_programme, want, atol=1e-12)


@dataclass
class Law:
    """Log hazards as parameters, with a given covariance."""

    theta: np.ndarray
    root: np.ndarray
    exits: tuple[str, ...] = ("job", "out")
    participants: int = 400
    labels: dict = None

    def __post_init__(self):
        self.labels = {
            "programme": "aft",
            "population": "p",
            "estimand": "vs_without_this_programme",
        }

    def rates(self, theta, months):
        job, out, waiting, inside, after = np.exp(theta)
        return flat(job=job, out=out, waiting=waiting, inside=inside, after=after)

    def derivatives(self, numbers, months):
        return by_differences(self, numbers, months)

    def influence(self, jacobian):
        g = self.root.shape[0]
        z = self.root @ jacobian.T * np.sqrt((g - 1) / g)
        rows = np.arange(jacobian.shape[0])
        return Influence("f", "person", g, {"law": z}, {"law": rows})


@pytest.fixture(scope="module")
def law():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((300, 5)) / np.sqrt(300)
    root = (root - root.mean(axis=0)) * np.array([0.05, 0.08, 0.2, 0.1, 0.07])
    return Law(np.log([0.05, 0.01, 0.85, 0.45, 1.5]), root)


def test_errors_are_those_of_the_parameters(law) -> None:
    found = consequences(law, months=H, windows=(12, 24))
    draws = np.random.default_rng(2).standard_normal((4000, 300)) @ law.root
    table = found.table
    row = table[(table.term == "effect") & (table.outcome == "job")].set_index("horizon")
    months = [6, 12, 24]
    many = np.array([_effects(law, law.theta + d)[np.array(months) - 1] for d in draws[:1500]])
    np.testing.assert_allclose(row.std_error.loc[months], many.std(axis=0), rtol=0.08)
    np.testing.assert_allclose(row.estimate, _effects(law, law.theta), atol=1e-12)


def _effects(law, theta):
    found = paths(law.rates(theta, H))
    return (found.with_programme - found.without)[1:, 0]


def test_parts_add_up_to_the_cumulated_effect(law) -> None:
    table = consequences(law, months=H, windows=(12, 24, 36)).table
    summed = table[(table.outcome == "job") & table.horizon.isna()]
    job = summed.set_index(["term", "period"]).estimate
    for window in ("1-12", "1-24"):
        parts = job["cumulated_lock_in", window] + job["cumulated_after", window]
        np.testing.assert_allclose(job["cumulated", window], parts, atol=1e-10)
        assert job["cumulated_lock_in", window] < 0 < job["cumulated_after", window]
    assert ("cumulated", "1-36") not in job.index
    assert set(table.unit[table.term == "cumulated"]) == {"months"}
    all_exits = (
        table[(table.term == "effect") & (table.horizon == 12)].set_index("outcome").estimate
    )
    np.testing.assert_allclose(all_exits.sum(), 0.0, atol=1e-12)


def test_amounts_make_income_of_shares(law) -> None:
    amounts = {"job": 30_000.0, "remaining": 18_000.0}
    table = consequences(law, months=H, windows=(12,), amounts=amounts).table
    plain = table[table.term.isin(["effect", "cumulated", "cumulated_lock_in"])]
    plain = plain.set_index(["term", "outcome", "horizon", "period"]).estimate
    got = plain.xs("income_nok", level="outcome")
    want = sum(nok * plain.xs(name, level="outcome") for name, nok in amounts.items())
    np.testing.assert_allclose(got, want.loc[got.index], rtol=1e-10)
    assert set(table.unit[table.outcome == "income_nok"]) == {"NOK", "months"}  # months: break-even
    with pytest.raises(InputError, match="jobb"):
        consequences(law, months=H, amounts={"jobb": 1.0})


def test_no_months_is_refused(law) -> None:
    with pytest.raises(InputError):
        consequences(law, months=0)


def test_an_average_of_laws_lies_between_them_and_is_less_certain(law) -> None:
    other = Law(law.theta + np.array([0.0, 0.0, 0.0, 0.25, 0.0]), law.root)
    one, two = (consequences(each, months=H, windows=(12,)) for each in (law, other))
    both = consequences(Averaged((law, other), (0.25, 0.75)), months=H, windows=(12,))
    at = both.table.term.isin(["effect", "cumulated_lock_in"]).to_numpy()
    a, b, mean = (each.table.estimate.to_numpy()[at] for each in (one, two, both))
    np.testing.assert_allclose(mean, 0.25 * a + 0.75 * b, atol=1e-12)
    errors = (each.table.std_error.to_numpy()[at] for each in (one, two, both))
    first, second, found = errors
    wide = 0.25 * np.hypot(first, a - mean) + 0.75 * np.hypot(second, b - mean)
    np.testing.assert_allclose(found, wide, rtol=1e-9)
    same = consequences(Averaged((law, law), (0.5, 0.5)), months=H, windows=(12,))
    np.testing.assert_allclose(same.table.std_error, one.table.std_error, rtol=1e-9)
