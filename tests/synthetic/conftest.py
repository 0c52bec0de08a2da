"""Small invented registers shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pyarrow as pa
import pytest

from tiltakeval.synthetic.simulate import simulate_tables
from tiltakeval.synthetic.world import World, load_world

FIRST = 2014 * 12


@pytest.fixture(scope="session")
def world() -> World:
    return load_world("standard")


@pytest.fixture(scope="session")
def tables(world: World) -> dict[str, pa.Table]:
    return simulate_tables(world, 6000, 120, 3)


@pytest.fixture
def query() -> Callable[..., list[tuple]]:
    """Run SQL over tables, with views: cal (month, first, next), atrisk (person_id, state, month,
    programme decided or NULL), pay (person_id, month, ordinary, subsidised, pct, amounts)."""

    def run(tables: dict[str, pa.Table], sql: str) -> list[tuple]:
        con = duckdb.connect(config={"threads": 1})
        for name, table in tables.items():
            con.register(name, table)
        con.execute(VIEWS)
        return con.execute(sql).fetchall()

    return run


VIEWS = f"""
create table cal as select i as month, make_date((i // 12)::int, (i % 12 + 1)::int, 1) as first,
  (make_date((i // 12)::int, (i % 12 + 1)::int, 1) + interval 1 month)::date as next
  from range({FIRST}, {FIRST} + 120) t(i);
create table decided as
  select s.person_id, s.state, s.start, p.participation_id,
    if(p.programme = 'arbeidspraksis_skjermet', 'aft', p.programme) as programme,
    year(p.decision_date) * 12 + month(p.decision_date) - 1 as month,
    row_number() over (partition by s.person_id, s.state, s.start
      order by p.decision_date, p.participation_id) as number
  from spells s join participation p on p.person_id = s.person_id and p.decision_date >= s.start
    and (s.stop is null or p.decision_date < s.stop);
create table atrisk as
  with months as (
    select s.person_id, s.state, s.start, c.month, c.first, c.next, d.programme, d.month as dm,
      d.participation_id
    from spells s join cal c on s.start <= c.first and (s.stop is null or s.stop >= c.next)
    left join decided d on d.person_id = s.person_id and d.state = s.state and d.start = s.start
      and d.number = 1
    join persons q on q.person_id = s.person_id
    where (c.month - year(q.birth_date) * 12 - month(q.birth_date) + 1) // 12 between 18 and 66
      and (d.month is null or c.month <= d.month)
  )
  select person_id, state, month, if(month = dm, programme, null) as programme from months m
  where not exists (select 1 from participation p where p.person_id = m.person_id and p.started
    and p.participation_id is distinct from m.participation_id
    and p.start < m.next and (p.stop is null or p.stop > m.first));
create table subsidy as select person_id, employer_id,
  year(start) * 12 + month(start) - 1 as lo,
  coalesce(year(stop - 1) * 12 + month(stop - 1) - 1, 99999) as hi
  from participation where started
  and programme in ('lonnstilskudd_midlertidig', 'lonnstilskudd_varig');
create table pay as
  with marked as (select j.*, exists (select 1 from subsidy s where s.person_id = j.person_id
    and s.employer_id = j.employer_id and j.month between s.lo and s.hi) as sub from jobs j)
  select person_id, month, max((not sub)::int) as ordinary, 1 as anywork,
    (sum(position_pct) >= 81)::int as full_time, sum(earnings_nok) as earned,
    coalesce(sum(earnings_nok) filter (not sub), 0) as earned_ordinary
  from marked group by 1, 2;
"""
