"""Truth among the jointly eligible: against the truth of a set, and against one person at a time."""

from __future__ import annotations

import numpy as np
import pytest

from tiltakeval.errors import InputError
from tiltakeval.synthetic.common_truth import (
    CommonSpec,
    Tree,
    common_sums,
    effect_weights,
    mean_of,
    rule_weights,
)
from tiltakeval.synthetic.truth import TruthSpec, truth

SET = ("aft", "amo", "hoyere_utdanning")
ENTRY = ("2016-01", "2017-12")


def spec(**changes) -> CommonSpec:
    base = {"programmes": SET, "base_state": "nedsatt_arbeidsevne", "horizon": 12, "share": 0.05,
            "outcome": "work_unsubsidised", "entry": ENTRY}  # fmt: skip
    return CommonSpec(**{**base, **changes})


@pytest.fixture(scope="module")
def old() -> Tree:
    """Those above 40 get AFT, half of the others AMO."""
    offers = np.array([[0, 0, 0, 0], [0.5, 0, 0.5, 0], [0, 1.0, 0, 0]])
    return Tree(feature=("age", "", ""), cut=(40.0, 0, 0), left=(1, -1, -1), right=(2, -1, -1),
                offers=offers)  # fmt: skip


def test_effects_are_those_of_the_truth_engine_on_the_same_draws(world):
    """The direct calculation: the truth of programmes against waiting on everybody open to all, which
    runs each future of each unit by itself and keeps those deciding something else."""
    sums = common_sums(world, 3_000, 5, spec())
    asked = TruthSpec(arms=(), base_states=("nedsatt_arbeidsevne",), entry=ENTRY, horizon=12,
                      outcomes=("work_unsubsidised",), estimands=(), targets=("ate",), sets=(SET,),
                      ate_share=0.05)  # fmt: skip
    table = truth(world, 3_000, 5, asked).table
    table = table[(table["comparator"] == "none") & (table["term"] == "effect")
                  & (table["horizon"] == 12)]  # fmt: skip
    direct = table.set_index(["subgroup", "programme"])
    whole = sums.cross.sum(axis=0)
    for a, name in enumerate(SET):
        mine, row = mean_of(whole, effect_weights(6, a)), direct.loc[("all", name)]
        assert 0 <= row["n_treated"] - mine.n < 0.03 * mine.n  # without other decisions
        assert mine.estimate == pytest.approx(row["estimate"], abs=0.4 * row["std_error"])
        assert mine.std_error == pytest.approx(row["std_error"], rel=0.05)
    women = mean_of(sums.cross[:36].sum(axis=0), effect_weights(6, 1))
    row = direct.loc[("sex=female", "amo")]
    assert women.estimate == pytest.approx(row["estimate"], abs=0.4 * row["std_error"])


def test_without_effects_nothing_and_a_sum_adds_months(world):
    none = common_sums(world.without_effects(), 800, 5, spec(summed=True))
    whole = none.cross.sum(axis=0)
    assert all(whole[0, 1:] == whole[0, 1])
    asked = {"outcome": "benefits_total_nok", "share": 0.02}
    months = [common_sums(world, 800, 5, spec(horizon=h, **asked)).cross for h in range(3)]
    added = common_sums(world, 800, 5, spec(horizon=2, summed=True, **asked)).cross
    single = sum(one.sum(axis=0)[0, 1:] for one in months)
    assert (added.sum(axis=0)[0, 1:] == single).all() and (single > 0).all()


def test_a_rule_is_worth_what_its_leaves_get(world, old):
    one, two = (common_sums(world, 2_500, 5, spec(tree=old), threads=k) for k in (1, 2))
    assert (one.leaf_cross == two.leaf_cross).all() and (one.cross == two.cross).all()
    assert one.leaf_count[0].sum() == 0 and one.leaf_count.sum() == one.count.sum()
    weights = rule_weights(one, old, {})
    young, above = one.leaf_cross[1, 0], one.leaf_cross[2, 0]
    expected = (0.5 * young[2] + 0.5 * young[4] + above[3]) / one.count.sum()
    assert mean_of(one.leaf_cross, weights).estimate == pytest.approx(expected)
    # a quarter of all have AMO when that is how many places there are
    share = one.leaf_count[1].sum() / one.count.sum()
    scaled = rule_weights(one, old, {1: 0.25})
    assert scaled[1, 4] == pytest.approx(0.25 / share) and scaled[1, 2] == 1 - scaled[1, 4]
    bands = one.cross[:, 0, 0].reshape(2, 3, 4, 3).sum(axis=(0, 2, 3))
    assert bands[0] < young[0] < bands[0] + bands[1]  # the tree's age is the subgroup's


def test_what_the_world_does_not_know(world):
    with pytest.raises(InputError, match="aftt"):
        spec(programmes=("aftt",))
    with pytest.raises(InputError, match="shoe_size"):
        spec(tree=Tree(feature=("shoe_size",), cut=(1.0,), left=(-1,), right=(-1,)))
    with pytest.raises(InputError, match="entry window"):
        common_sums(world, 10, 1, spec(entry=("2009-01", "2010-01")))
