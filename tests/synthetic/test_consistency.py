"""The written register and the truth engine must define everything alike."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tiltakeval.synthetic.prepare import prepare
from tiltakeval.synthetic.truth import TruthSpec, truth

FIRST = 2014 * 12
SPEC = TruthSpec(
    entry=("2015-01", "2018-12"), horizon=60, subgroups=False, estimands=("now_vs_wait",),
    outcomes=("work_unsubsidised", "work_any", "full_time", "earnings_nok",
              "earnings_unsubsidised_nok", "benefits_total_nok", "benefit_aap_nok",
              "benefit_uforetrygd_nok", "uforetrygd_grade", "education_entry", "registered"),
)  # fmt: skip

PATHS = """
with units as (select *, row_number() over () as unit from atrisk where programme is not null
    and month between {lo} and {hi}),
 grid as (select u.*, h, u.month + h as m from units u cross join range(0, 61) r(h)),
 ben as (select person_id, month, sum(amount_nok) as total,
    sum(amount_nok) filter (benefit = 'aap') as aap,
    sum(amount_nok) filter (benefit = 'uforetrygd') as ufore,
    max(grade) filter (benefit = 'uforetrygd') as grade from benefits group by 1, 2),
 edu as (select u.unit, min(year(p.start) * 12 + month(p.start) - 1) as first from units u
    join participation p on p.person_id = u.person_id and p.started
      and p.programme in ('fag_og_yrkesopplaering', 'hoyere_utdanning')
      and year(p.start) * 12 + month(p.start) - 1 > u.month group by 1),
 reg as (select distinct s.person_id, c.month from spells s join cal c
    on s.start < c.next and (s.stop is null or s.stop >= c.next))
select g.state, g.programme, g.h, count(*), avg(coalesce(ordinary, 0)), avg(coalesce(anywork, 0)),
  avg(coalesce(full_time, 0)), avg(coalesce(earned, 0) / f.level),
  avg(coalesce(earned_ordinary, 0) / f.level), avg(coalesce(total, 0) / f.level),
  avg(coalesce(aap, 0) / f.level), avg(coalesce(ufore, 0) / f.level), avg(coalesce(grade, 0)),
  avg(coalesce((edu.first <= g.m)::int, 0)), avg((reg.person_id is not null)::int)
from grid g
left join pay on pay.person_id = g.person_id and pay.month = g.m
left join ben on ben.person_id = g.person_id and ben.month = g.m
left join edu on edu.unit = g.unit
left join reg on reg.person_id = g.person_id and reg.month = g.m
join level f on f.month = g.m
group by 1, 2, 3
"""


def test_register_gives_back_the_factual_means(world, tables, query):
    arrays = prepare(world, world.calendar.burn_in + 120)
    level = pa.table(
        {"month": np.arange(FIRST, FIRST + 120), "level": arrays.nominal[world.calendar.burn_in :]}
    )
    sql = PATHS.format(lo=2015 * 12, hi=2018 * 12 + 11)
    rows = query(tables | {"level": level}, sql)
    found = truth(world, 6000, 3, SPEC).table
    found = found[found["term"] == "mean_treated"].set_index(
        ["population", "programme", "horizon", "outcome"]
    )
    assert len(rows) == len(found) / len(SPEC.outcomes) and len(rows) > 500
    for state, programme, horizon, n, *means in rows:
        for name, value in zip(SPEC.outcomes, means):
            row = found.loc[(f"{state}:att", programme, horizon, name)]
            assert row["n_treated"] == n
            gap = 1.0 if name.endswith("_nok") else 1e-9
            assert value == pytest.approx(row["estimate"], abs=gap), (
                state,
                programme,
                horizon,
                name,
            )
