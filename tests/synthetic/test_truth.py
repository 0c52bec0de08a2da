"""Truths against what they must equal: nothing, a clean comparison, the trial."""

from __future__ import annotations

import numpy as np
import pytest

from tiltakeval.errors import InputError
from tiltakeval.synthetic.simulate import simulate_tables
from tiltakeval.synthetic.truth import TruthSpec, truth

WORK = TruthSpec(
    entry=("2016-01", "2018-12"), horizon=24, subgroups=False, outcomes=("work_unsubsidised",)
)


def spec(**changes):
    return TruthSpec(**{**{f: getattr(WORK, f) for f in WORK.__dataclass_fields__}, **changes})


def test_without_effects_the_truth_is_exactly_zero(world):
    asked = spec(
        outcomes=tuple(o for o in TruthSpec().outcomes if o != "education_entry"),
        targets=("att", "ate", "itt_offer"), ate_share=0.05, sets=(("aft", "amo"),),
    )  # fmt: skip
    table = truth(world.without_effects(), 2500, 8, asked).table
    effects = table[table["term"] == "effect"]
    assert len(effects) > 1000 and (effects["estimate"] == 0).all()
    assert (effects["std_error"].fillna(0) == 0).all()
    some = truth(world, 2500, 8, asked).table
    assert (some.loc[some["term"] == "effect", "estimate"] != 0).mean() > 0.3


def test_same_truth_over_threads_and_an_effect_is_zero_in_the_decision_month(world):
    one, two = (truth(world, 5000, 2, WORK, threads=k) for k in (1, 2))
    assert one.table.equals(two.table)
    start = one.select(term="effect", horizon=0).table
    assert len(start) > 10 and (start["estimate"] == 0).all()
    assert one.run["persons"] == 5000 and one.run["spec"]["horizon"] == 24


def test_subgroups_add_up_to_all(world):
    table = truth(world, 4000, 2, spec(subgroups=True, horizon=6)).table
    rows = table[(table["term"] == "effect") & (table["horizon"] == 6)
                 & (table["estimand"] == "now_vs_wait")]  # fmt: skip
    for (_, _), part in rows.groupby(["population", "programme"]):
        whole = part[part["subgroup"] == "all"].iloc[0]
        for name in ("sex", "age_band", "landgruppe", "education"):
            group = part[part["subgroup"].str.startswith(name + "=")]
            assert group["n_treated"].sum() == whole["n_treated"]
            total = (group["estimate"] * group["n_treated"].astype(float)).sum()
            assert total / whole["n_treated"] == pytest.approx(whole["estimate"], abs=1e-12)


def test_programmes_on_the_same_people_differ_consistently(world):
    table = truth(world, 4000, 2, spec(sets=(("aft", "amo", "oppfolging"),), arms=("aft",))).table
    table = (
        table[table["estimand"] == "vs_programme_b"]
        .set_index(["programme", "comparator", "term", "horizon"])["estimate"]
        .sort_index()
    )
    gap = table["aft", "none", "effect"] - table["amo", "none", "effect"]
    assert np.allclose(gap, table["aft", "amo", "effect"], atol=1e-12)
    same = table["aft", "none", "mean_comparison"] - table["amo", "none", "mean_comparison"]
    assert (same == 0).all()


NAIVE = """
select h, avg(worked) filter (programme = 'amo') - avg(worked) filter (programme is null),
  sqrt(var_samp(worked) filter (programme = 'amo') / count(*) filter (programme = 'amo')
  + var_samp(worked) filter (programme is null) / count(distinct person_id) filter
  (programme is null)) from (
  select a.*, h, coalesce(p.ordinary, 0) as worked from atrisk a cross join (values (6), (24)) v(h)
  left join pay p on p.person_id = a.person_id and p.month = a.month + h
  where a.state = 'nedsatt_arbeidsevne' and a.month between 2016 * 12 and 2018 * 12 + 11) group by 1
"""


def test_without_selection_the_naive_difference_is_the_truth(world, query):
    plain = world.with_constant_assignment().with_programme(
        "amo", base=(25.0, 25.0), b=(1.2, 1.2), late=(0.2, 0.2), age_from=18.0
    )
    rows = query(simulate_tables(plain, 12000, 120, 12), NAIVE)
    found = truth(plain, 12000, 12, spec(arms=("amo",), estimands=("now_vs_wait",)))
    found = found.select(population="nedsatt_arbeidsevne:att", term="effect").table
    true = found.set_index("horizon")["estimate"]
    assert true[24] > 0.03
    for horizon, naive, error in rows:
        assert abs(naive - true[horizon]) < 3.5 * error, horizon
        assert error < 0.03


TRIAL = """
select arm, count(*), avg(coalesce(p.ordinary, 0)), var_samp(coalesce(p.ordinary, 0))
from randomisation r left join pay p on p.person_id = r.person_id
  and p.month = year(r.date) * 12 + month(r.date) - 1 + 24
where r.date between '2016-01-01' and '2018-12-31' group by 1
"""


def test_the_trial_gives_the_effect_of_the_offer(world, query):
    large = world.with_section("market", ips_trial_share=1.0).with_programme(
        "ips", base=(0.0, 60.0)
    )
    rows = {arm: rest for arm, *rest in query(simulate_tables(large, 10000, 120, 5), TRIAL)}
    n1, y1, v1 = rows["offered"]
    n0, y0, v0 = rows["control"]
    asked = spec(targets=("itt_offer",), arms=("ips",))
    true = truth(large, 10000, 5, asked).select(horizon=24)
    assert set(true.table["n_treated"]) == {n1 + n0} and n1 + n0 > 300
    value = true.select(term="effect").table["estimate"].iloc[0]
    assert abs((y1 - y0) - value) < 3.5 * np.sqrt(v1 / n1 + v0 / n0)


def test_a_truth_that_cannot_be_asked_for(world):
    with pytest.raises(InputError, match="aft"):
        TruthSpec(arms=("aftt",))
    with pytest.raises(InputError, match="entry window"):
        truth(world, 10, 1, TruthSpec(entry=("2009-01", "2010-01")))
