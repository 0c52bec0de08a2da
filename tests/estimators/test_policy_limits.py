"""Places, money and groups: assignments within limits against the whole linear programme."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.policy.costs import place_costs
from tiltakeval.estimators.heterogeneity.policy.cuts import choose_cuts
from tiltakeval.estimators.heterogeneity.policy.individual import assign
from tiltakeval.estimators.heterogeneity.policy.limited_tree import fit_limited_tree
from tiltakeval.estimators.heterogeneity.policy.limits import (
    bounds,
    budget_limit,
    capacity_limits,
    equal_shares,
    loads,
    no_loss,
)
from tiltakeval.estimators.heterogeneity.policy.programme import divide
from tiltakeval.estimators.heterogeneity.policy.rules import (
    ByTree,
    Everyone,
    Individual,
    Random,
    cross_fit,
    within,
)
from tiltakeval.estimators.heterogeneity.policy.trust import trust
from tiltakeval.estimators.heterogeneity.policy.units import Units, shares

ARMS = ("none", "aft", "amo", "ips")


def people(n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    gain = np.column_stack([np.zeros(n), rng.normal((0.0, 0.5, 1.0), 1.0, (n, 3))])
    sex = rng.integers(0, 2, n)
    gain[:, 1:] += 0.5 * sex[:, None]
    eligible = np.ones((n, 4), dtype=bool)
    eligible[rng.random(n) < 0.3, 3] = False
    return gain, sex, eligible, rng.uniform(0.5, 2, n)


def limit_sets(sex, n):
    part = np.bincount(sex) / n
    places = capacity_limits(ARMS, {"aft": 0.1, "amo": 0.15, "ips": 0.2 * n}, n)
    money = [budget_limit(np.array([0.0, 1.0, 3.0, 6.0]), 0.8)]
    equal = equal_shares("sex", ("man", "woman"), part, 4, 0.01)
    kept = no_loss("sex", ("man", "woman"), part, np.array([0.4, 0.2]), 4, 0.02)
    return {
        "places": places,
        "money": places + money,
        "equal": places + equal,
        "kept": [*money, *kept],
    }


@pytest.mark.parametrize("name", ["places", "money", "equal", "kept"])
@pytest.mark.parametrize("n", [150, 1_500])
def test_it_is_the_optimum_of_the_whole_linear_programme(name: str, n: int) -> None:
    gain, sex, eligible, weight = people(n)
    limits = limit_sets(sex, n)[name]
    codes = {"sex": sex}
    found = assign(gain, eligible=eligible, weight=weight, limits=limits, codes=codes)
    w = weight / weight.sum()
    load = loads(limits, codes, eligible)
    reward = np.where(eligible, gain, 0.0) * w[:, None]
    whole = divide(reward, load * w[:, None], bounds(limits), eligible)
    assert (found.probability * reward).sum() == pytest.approx(
        (whole.share * reward).sum(), abs=1e-7
    )
    used = np.einsum("i,kia,ia->k", w, load, found.probability)
    assert (used <= bounds(limits) + 1e-9).all()
    np.testing.assert_allclose(found.probability.sum(axis=1), 1.0)
    assert (found.probability[~eligible] == 0).all()
    parted = ((found.probability > 1e-9) & (found.probability < 1 - 1e-9)).any(axis=1)
    assert parted.sum() <= len(limits)
    # complementary slackness: what isn't used up costs nothing
    np.testing.assert_allclose(found.prices * (bounds(limits) - used), 0, atol=1e-7)


def test_integer_places_match_every_assignment_tried() -> None:
    gain, _, _, _ = people(6, seed=3)
    limits = capacity_limits(ARMS, {"aft": 1 / 6, "amo": 1 / 6, "ips": 1 / 6}, 6)
    open_to = np.ones((6, 4), dtype=bool)
    found = assign(gain, eligible=open_to, weight=np.ones(6), limits=limits, codes={})
    best = max(
        sum(gain[i, a] for i, a in enumerate(arms))
        for arms in itertools.product(range(4), repeat=6)
        if max(arms.count(a) for a in (1, 2, 3)) <= 1
    )
    assert (found.probability * gain).sum() == pytest.approx(best, abs=1e-6)


def test_equal_gains_are_told_apart_by_lot_and_the_lot_is_seeded() -> None:
    gain = np.column_stack([np.zeros(900), np.ones(900)])
    limits = capacity_limits(("none", "aft"), {"aft": 0.25}, 900)
    kw = {
        "eligible": np.ones((900, 2), bool),
        "weight": np.ones(900),
        "limits": limits,
        "codes": {},
    }
    one, again, other = (assign(gain, seed=s, **kw).probability[:, 1] for s in (1, 1, 2))
    assert one.sum() == pytest.approx(225) and (one == again).all() and (one != other).any()
    first = one[:450].sum()
    assert 80 < first < 145  # not the first in the file


def test_limits_that_contradict_each_other_are_passed_by_as_little_as_can_be_and_told() -> None:
    gain, sex, _, _ = people(400)
    part = np.bincount(sex) / 400
    limits = capacity_limits(ARMS, {"aft": 0.05, "amo": 0.05, "ips": 0.05}, 400)
    limits += no_loss("sex", ("man", "woman"), part, np.array([0.5, 0.5]), 4, 0.0)
    found = assign(
        gain,
        eligible=np.ones((400, 4), bool),
        weight=np.ones(400),
        limits=limits,
        codes={"sex": sex},
    )
    assert found.excess.max() > 0.05


def units_of(n: int = 1_200, seed: int = 0, noise: float = 2.0, restrict: bool = False) -> Units:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    gain = np.column_stack(
        [np.zeros(n), 0.3 + 0 * x[:, 0], 2.0 * (x[:, 0] > 0), 1.5 * (x[:, 1] > 0)]
    )
    eligible = np.ones((n, 4), dtype=bool)
    if restrict:
        eligible[rng.random(n) < 0.4, 2] = False
    return Units(
        reward=gain + noise * rng.standard_normal((n, 4)),
        predicted=gain + 0.2 * rng.standard_normal((n, 4)),
        x=x,
        eligible=eligible,
        arm=rng.integers(0, 4, n),
        weight=np.ones(n),
        fold=np.arange(n) % 4,
        codes={"sex": rng.integers(0, 2, n)},
    )


def test_rules_keep_limits_among_people_they_were_not_learnt_on() -> None:
    units = units_of()
    limits = tuple(capacity_limits(ARMS, {"aft": 0.2, "amo": 0.1, "ips": 0.15}, units.n))
    cuts = choose_cuts(units.x, list("abcd"), bins=16)
    for rule in (Individual(limits), ByTree(2, cuts, 30, limits)):
        dealt = cross_fit(rule, units)
        got = shares(dealt, units.weight)
        np.testing.assert_allclose(got[1:], [0.2, 0.1, 0.15], atol=1 / units.n)
        assert all(row["left"] > -1e-9 for row in within(dealt, limits, units))
    alone = shares(cross_fit(Individual(limits, batch=False), units), units.weight)
    assert np.abs(alone[1:] - [0.2, 0.1, 0.15]).max() < 0.05


def test_the_gap_bounds_every_tree_and_a_limited_tree_comes_close() -> None:
    units = units_of(noise=0.0)
    limits = capacity_limits(ARMS, {"aft": 0.0, "amo": 0.3, "ips": 0.4}, units.n)
    cuts = choose_cuts(units.x, list("abcd"), bins=16)
    common = {"weight": units.weight, "eligible": units.eligible, "limits": limits, "codes": {}}
    found = fit_limited_tree(units.x, units.reward, depth=2, cuts=cuts, min_leaf=10, **common)
    best = assign(units.reward, start=None, **common)
    upper = (best.probability * units.reward).sum() / units.n
    assert found.value <= upper + 1e-9 <= found.value + found.gap + 1e-9 + upper * 0.1
    assert found.value > 0.95 * upper and found.gap < 0.1 * upper
    assert found.share[found.tree.leaves].sum(axis=1) == pytest.approx(1.0)


def test_nobody_is_offered_what_they_could_not_enter() -> None:
    units = units_of(restrict=True)
    cuts = choose_cuts(units.x, list("abcd"), bins=16)
    limits = tuple(capacity_limits(ARMS, {"amo": 0.1}, units.n))
    today = tuple(shares(np.eye(4)[units.arm], units.weight).tolist())
    rules = (Everyone(2), Random(today), Individual(), Individual(limits), ByTree(2, cuts, 30))
    for rule in (*rules, ByTree(2, cuts, 30, limits)):
        dealt = cross_fit(rule, units)
        assert (dealt[~units.eligible] == 0).all()
        np.testing.assert_allclose(dealt.sum(axis=1), 1.0)
    np.testing.assert_allclose(shares(Random(today).assign(units), units.weight), today, atol=1e-6)
    barred = units.eligible.copy()
    barred[:3, 0] = False
    with pytest.raises(InputError, match="3 units"):
        Units(**{**units.__dict__, "eligible": barred})


def test_scores_are_trusted_where_predictions_are_wrong_and_numbers_large() -> None:
    units = units_of(n=20_000)
    wrong = np.zeros_like(units.predicted)
    assert trust(Units(**{**units.__dict__, "predicted": wrong})) > 0.9
    assert trust(units) < 0.3
    few = units_of(n=300, noise=8.0)
    assert trust(Units(**{**few.__dict__, "predicted": few.predicted * 0.9})) < 0.5


def test_costs_are_given_or_from_the_catalogue_and_never_made_up() -> None:
    cost = place_costs(ARMS, {"aft": 100.0, "amo": 0.0, "ips": 50.0}, tax_financing=0.2)
    np.testing.assert_allclose(cost, [0, 120, 0, 60])
    vta = place_costs(("none", "vta"), {}, months=12, tax_financing=0.0)
    assert vta[1] == pytest.approx(174_000)
    with pytest.raises(InputError, match=r"2 programme\(s\): amo, ips"):
        place_costs(ARMS, {"aft": 100.0}, months=6)
    with pytest.raises(InputError, match="aftt"):
        place_costs(ARMS, {"aftt": 1.0})


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: capacity_limits(ARMS, {"aftt": 0.1}, 10),
        lambda: capacity_limits(ARMS, {"none": 0.1}, 10),
        lambda: capacity_limits(ARMS, {"aft": -1}, 10),
        lambda: budget_limit(np.array([0.0, 1.0]), -5.0),
        lambda: cross_fit(Individual(), units_of(8).take(np.arange(8) % 4 == 0)),
    ],
)
def test_bad_limits_are_told(wrong) -> None:
    with pytest.raises(InputError):
        wrong()
