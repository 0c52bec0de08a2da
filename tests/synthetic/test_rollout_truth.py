"""The truth of a roll-out against registers with and without it, nothing, and what is estimated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiltakeval.engine import connect
from tiltakeval.errors import InputError
from tiltakeval.months import parse_month
from tiltakeval.population.rollout import office_periods
from tiltakeval.population.rollout_spec import RolloutSpec
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import Registers
from tiltakeval.synthetic.rollout_truth import _sums, rollout_truth
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
