"""The truth of a roll-out against registers with and without it, nothing, and what is estimated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiltakeval.design.rollout_register import panel_of
from tiltakeval.engine import connect
from tiltakeval.errors import InputError
from tiltakeval.estimators.did.group_time import GroupTimeATT
from tiltakeval.estimators.did.two_way_effects import TwoWayEffects
from tiltakeval.months import parse_month
from tiltakeval.population.rollout import office_periods
from tiltakeval.population.rollout_spec import RolloutSpec
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import Registers
from tiltakeval.synthetic.rollout_truth import _sums, futures, rollout_truth
from tiltakeval.synthetic.simulate import simulate_tables
from tiltakeval.synthetic.world import load_world

SPEC = RolloutSpec(
    programme="kvp",
    window=(parse_month("2016-01"), parse_month("2020-12")),
    who="current",
    without=("aap",),
    after=24,
)


@pytest.fixture(scope="module")
def rollout():
    return load_world("kvp_rollout")


def test_a_world_based_on_another_changes_only_what_it_says(world, rollout):
    assert rollout.name == "kvp_rollout" and rollout.market.kvp_first == 36
    same = rollout.with_(
        name=world.name, market=world.market, programmes=world.programmes, sources=world.sources
    )
    assert same == world
    assert rollout.programmes["kvp"].b == world.programmes["kvp"].b
    assert {k: v for k, v in rollout.programmes.items() if k != "kvp"} == {
        k: v for k, v in world.programmes.items() if k != "kvp"
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"who": "fixed", "after": 0, "receiving": ("sosialhjelp",), "period": "quarter"},
        {"who": "entering", "without": (), "after": 12},
    ],
)
def test_the_futures_are_those_of_registers_with_and_without_the_rollout(rollout, changes):
    spec = replace(SPEC, **changes, outcomes=("work_unsubsidised", "benefits_total_nok"))
    spec = replace(spec, price_year=rollout.calendar.price_year)
    stay = rollout.with_section("persons", emigration=(0.0, 0.0))
    never = stay.with_section("market", kvp_first=4000, kvp_last=4001)
    sums = _sums(stay, 1500, 3, spec, 0, 1)
    seen = []
    for path, one in enumerate((stay, never)):
        tables = simulate_tables(one, 1500, 84, 3)
        with connect(threads=1, memory_limit="1GB") as engine:
            held = {k: engine.memory_table(t, k) for k, t in tables.items()}
            registers = Registers(engine, held, fingerprint="r", source="synthetic")
            found = office_periods(registers, catalogue.load(), spec)
        at = [int(name[3:]) - 1 for name in found.units]
        count, total = sums.count.sum(axis=0)[path], sums.total.sum(axis=0)[path]
        assert np.array_equal(count[at], found.counts[:, 0])
        assert count.sum() == found.counts.sum() > 30
        assert np.array_equal(total[at][..., 0], found.sums[:, 0, :, 0])
        assert np.allclose(
            total[at][..., 1], found.sums[:, 0, :, 1], rtol=1e-3, atol=20
        )  # whole kroner
        seen.append(total)
    if spec.who != "entering":
        assert (seen[0] != seen[1]).any()


def test_without_effects_the_truth_is_exactly_zero(rollout):
    nothing = rollout.without_effects()
    spec = replace(SPEC, outcomes=("work_unsubsidised", "benefits_total_nok"))
    table = rollout_truth(nothing, 4000, 2, spec).table
    assert (table["estimate"].fillna(0) == 0).all() and (table["std_error"].fillna(0) == 0).all()
    some = rollout_truth(rollout, 4000, 2, spec).table
    assert (some["estimate"].fillna(0) != 0).any()


def test_threads_and_labels(rollout):
    spec = replace(SPEC, period="half_year", split="aap", without=(), window=(SPEC.window))
    one, two = (rollout_truth(rollout, 6000, 2, spec, threads=k) for k in (1, 2))
    assert one.table.equals(two.table)
    table = one.table
    assert set(table["subgroup"]) == {"all", "aap=no", "aap=yes"}
    assert "2017-H1" in set(table["cohort"]) and (table["source"] == "truth").all()
    rows = table[table["term"] == "effect"]
    some = [("2017-H1", "2017-H1"), ("2017-H1", "2017-H2")]
    few = rollout_truth(rollout, 2000, 2, spec, cells=some).table
    cells = few[(few["term"] == "effect") & (few["subgroup"] == "all")]
    assert list(zip(cells["cohort"], cells["period"])) == some and len(rows) > 60


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"programme": "aft"}, "isn't rolled out"),
        ({"starts": "participants"}, "not derived"),
        ({"unit": "region"}, "units are"),
        ({"split": "sex"}, "no truth by sex"),
        ({"death": "censor"}, "count with zeros"),
        ({"without": ("sykepenger",)}, "doesn't pay sykepenger"),
        ({"outcomes": ("benefit_sykepenger_nok",)}, "no truth of"),
        ({"window": (parse_month("2012-01"), parse_month("2014-12"))}, "before the simulation"),
    ],
)
def test_what_the_world_doesnt_know_is_refused(rollout, changes, message):
    with pytest.raises(InputError, match=message):
        rollout_truth(rollout, 100, 1, replace(SPEC, **changes))


# --- What is estimated against what is true -------------------------------------------------------


def test_estimates_are_unbiased_for_the_truth_and_two_way_effects_have_the_wrong_sign(rollout):
    """All offices open within four years and many eligible take part, so that effects are large and
    grow. Means of six registers' estimates are held against the truth on other persons. The two-way
    coefficient compares with offices that have the programme already, and comes out negative."""
    world = rollout.with_section("market", offices=48, kvp_last=83)
    world = world.with_programme("kvp", base=(0.0, 40.0))
    spec = replace(SPEC, window=(SPEC.window[0], parse_month("2022-12")))
    true = rollout_truth(world, 40_000, 99, spec).select(term="effect_by_event_time").table
    true = true.set_index("horizon")
    found, errors, two_way, effect, cells = [], [], [], 0.0, 0.0
    for seed in range(6):
        with_it, without = futures(world, 8_000, seed, spec)
        estimates = GroupTimeATT(bands=False).estimate(panel_of(with_it))
        rows = estimates.select(term="effect_by_event_time").table.set_index("horizon")
        found.append(rows["estimate"].to_numpy())
        errors.append(rows["std_error"].to_numpy())
        pair = [
            TwoWayEffects().estimate(panel_of(one)).table["estimate"].iloc[0]
            for one in (with_it, without)
        ]
        two_way.append(pair[0] - pair[1])  # the noise of both is much the same
        treated = with_it.starts[:, None] // 12 <= with_it.periods
        n = np.where(treated, with_it.counts[:, 0], 0)
        mean = [
            one.sums[:, 0, :, 0] / np.maximum(one.counts[:, 0], 1) for one in (with_it, without)
        ]
        effect, cells = effect + (n * (mean[0] - mean[1])).sum(), cells + n.sum()
    pooled = np.sqrt((np.array(errors) ** 2).mean(axis=0) / len(found))
    for horizon, estimate, error in zip(rows.index, np.mean(found, axis=0), pooled):
        target = true.loc[horizon, ["estimate", "std_error"]] if horizon >= 0 else (0.0, 0.0)
        target, noise = target
        assert abs(estimate - target) < 3 * np.hypot(error, noise), (horizon, estimate, target)
    assert effect / cells > 0.01
    assert np.mean(two_way) < -0.005
    assert np.mean(two_way) + 2 * np.std(two_way, ddof=1) / len(two_way) ** 0.5 < 0
