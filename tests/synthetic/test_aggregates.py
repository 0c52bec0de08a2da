"""The standard world looks like the published figures, within bands."""

from __future__ import annotations

STOCK = {  # share of registered persons, per cent: a third below to a half above the target
    "aft": 2.7, "lonnstilskudd_midlertidig": 1.9, "lonnstilskudd_varig": 1.4, "amo": 2.2,
    "arbeidstrening": 1.7, "oppfolging": 3.2, "arbeid_med_stotte": 1.8, "utdanning": 2.7,
}  # fmt: skip


def test_stocks_and_composition(tables, query):
    rows = query(tables, """
      with reg as (select s.person_id, s.state, month from spells s join cal c on s.start <= c.first
        and (s.stop is null or s.stop > c.first)),
      part as (select p.person_id, month, case when programme = 'arbeidspraksis_skjermet' then 'aft'
        when programme in ('fag_og_yrkesopplaering', 'hoyere_utdanning') then 'utdanning'
        else programme end as programme from participation p join cal c on p.start <= c.first
        and (p.stop is null or p.stop > c.first) where started)
      select programme, 100.0 * count(*) / (select count(*) from reg) from part group by 1
      union all select 'rwc', avg((state = 'nedsatt_arbeidsevne')::int) from reg
      union all select 'participants_rwc', avg((state = 'nedsatt_arbeidsevne')::int) from part
        join reg using (person_id, month)
      union all select 'aap', avg((b.person_id is not null)::int) from reg left join
        (select person_id, month from benefits where benefit = 'aap') b using (person_id, month)
        where state = 'nedsatt_arbeidsevne'
      union all select 'combined', sum((n > 1)::int) / count(*) from (select count(*) as n from part
        group by person_id, month)
    """)  # fmt: skip
    found = {name: float(value) for name, value in rows}
    for programme, target in STOCK.items():
        assert 0.6 * target < found[programme] < 1.6 * target, (programme, found[programme])
    assert 0.70 < found["rwc"] < 0.82  # 3.3 to 1
    assert 0.74 < found["participants_rwc"] < 0.90
    assert 0.55 < found["aap"] < 0.75
    assert 0.04 < found["combined"] < 0.12


def test_chains_starts_and_jobs(tables, query):
    [(chains, started)] = query(tables, """
      select avg(coalesce(start >= earlier
        and start < earlier + interval 6 month, false)::int) filter (started),
        (select avg(started::int) from participation where decision_date < '2023-01-01')
      from (select *, lag(stop) over (partition by person_id order by start) as earlier
        from participation where started)""")  # fmt: skip
    assert 0.14 < chains < 0.26
    assert 0.85 < started < 0.95
    jobs = dict(query(tables, """
      select state, avg(coalesce(ordinary, 0)) from spells s left join pay p
        on p.person_id = s.person_id and p.month = year(s.start) * 12 + month(s.start) - 1 + 12
      where s.start between '2014-01-01' and '2022-12-01' group by 1"""))  # fmt: skip
    assert 0.45 < jobs["jobseeker"] < 0.68
    assert 0.12 < jobs["nedsatt_arbeidsevne"] < 0.26
