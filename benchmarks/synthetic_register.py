"""Time, memory and aggregates of the synthetic register, beside their targets.

    python benchmarks/synthetic_register.py --persons 100000 --threads 2 [--no-register] [--no-truth]

Writes the register to a temporary folder, computes the truths, prints both. Times after compilation;
compare CPU seconds, the machine may be shared.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from tiltakeval.synthetic.simulate import simulate_tables, write_register
from tiltakeval.synthetic.truth import TruthSpec, truth
from tiltakeval.synthetic.world import load_world

TARGET_STOCK = {  # per cent of the registered; Meld. St. 33 counts over 276,000, as in the docs
    "aft": 2.7, "lonnstilskudd_midlertidig": 1.9, "lonnstilskudd_varig": 1.4, "amo": 2.2,
    "fag_og_yrkesopplaering": 1.3, "hoyere_utdanning": 1.4, "arbeidstrening": 1.7,
    "oppfolging": 3.2, "arbeid_med_stotte": 1.8, "ips": 1.2,
}  # fmt: skip
VIEWS = """
create view cal as select i as month, make_date((i // 12)::int, (i % 12 + 1)::int, 1) as first
  from range(2014 * 12, 2014 * 12 + 120) t(i);
create table reg as select s.person_id, s.state, month from '{0}/spells.parquet' s
  join cal c on s.start <= c.first and (s.stop is null or s.stop > c.first);
create view p as select * replace (if(programme = 'arbeidspraksis_skjermet', 'aft', programme)
  as programme) from '{0}/participation.parquet';
create table running as select p.person_id, p.programme, month from p
  join cal c on p.start <= c.first and (p.stop is null or p.stop > c.first) where started;
"""
PROGRAMMES = """
select programme, 100.0 * r.n / (select count(*) from reg) as stock, months, decisions, begun
from (select programme, count(*) as n from running group by 1) r
join (select programme, avg(datediff('day', start, stop) / 30.44) filter (started and stop is not
  null and start < '2020-01-01') as months, count(*) as decisions, avg(started::int) filter
  (decision_date < '2023-01-01') as begun from p group by 1) using (programme) order by programme
"""
OTHERS = (
    ("nedsatt arbeidsevne per jobseeker", 3.3, """select count(*) filter (state <> 'jobseeker')
      / count(*) filter (state = 'jobseeker') from reg"""),
    ("share of participants with nedsatt arbeidsevne, %", 80, """select 100 * avg((state <>
      'jobseeker')::int) from running join reg using (person_id, month)"""),
    ("chains, % of courses", 20, """select 100 * avg(coalesce(start >= earlier and start < earlier +
      interval 6 month, false)::int) from (select *, lag(stop) over (partition by person_id
      order by start) as earlier from p where started)"""),
    ("combinations, % of programme months", 10, """select 100.0 * sum((n > 1)::int) / count(*) from
      (select count(*) as n from running group by person_id, month)"""),
    ("AAP, % of nedsatt arbeidsevne", 67, """select 100 * avg((b.person_id is not null)::int) from
      reg left join (select person_id, month from '{0}/benefits.parquet' where benefit = 'aap') b
      using (person_id, month) where state <> 'jobseeker'"""),
    ("grunnskole, % of nedsatt arbeidsevne", 43, """select 100 * avg((level = 'grunnskole')::int)
      from reg join (select person_id, min_by(level, date) as level from '{0}/education.parquet'
      group by 1) using (person_id) where state <> 'jobseeker'"""),
    ("mental diagnosis, % of nedsatt arbeidsevne", 40, """select 100 * avg((d = 'mental')::int) from
      reg join (select person_id, any_value(diagnosis_group) as d from '{0}/spells.parquet'
      group by 1) using (person_id) where state <> 'jobseeker'"""),
    ("registered six months or more, % of jobseekers", 40, """select 100 * avg((first >= start +
      interval 6 month)::int) from '{0}/spells.parquet' s join cal c on s.start <= c.first and
      (s.stop is null or s.stop > c.first) where state = 'jobseeker'"""),
)  # fmt: skip


def measured(what: str, call: Callable[[], Any]) -> Any:
    """Run and print elapsed and CPU seconds and the peak memory of the process so far."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what}: {cpu:.1f} CPU s, {wall:.1f} s elapsed, peak {peak:.2f} GB so far", flush=True)
    return result


def aggregates(folder: Path) -> None:
    """Section by section: programmes, then the others, each beside its target."""
    con = duckdb.connect(config={"threads": 1, "memory_limit": "1GB"})
    con.execute(VIEWS.format(folder))
    table = con.execute(PROGRAMMES).df().set_index("programme")
    table.insert(1, "target", pd.Series(TARGET_STOCK))
    print("\nstock and target, % of the registered; realised months; decisions; share begun")
    print(table.round(2).to_string())
    print()
    for label, target, sql in OTHERS:
        value = con.execute(sql.format(folder)).fetchall()[0][0]
        print(f"{label:52s} {value:6.1f}   target {target}")
    sizes = sorted((f.stem, f.stat().st_size / 2**20) for f in folder.glob("*.parquet"))
    print("\nMB: " + ", ".join(f"{name} {size:.1f}" for name, size in sizes if size > 0.1))


def effects(table: pd.DataFrame) -> None:
    """The true effects on unsubsidised work, percentage points."""
    wanted = {"subgroup": "all", "outcome": "work_unsubsidised", "term": "effect"}
    rows = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    rows = rows[rows["horizon"].isin([3, 12, 24, 36, 48, 60])]
    for estimand, part in rows.groupby("estimand", sort=False):
        wide = part.pivot(index=["population", "programme"], columns="horizon", values="estimate")
        last = part[part["horizon"] == 24].set_index(["population", "programme"])
        wide = (100 * wide).round(1)
        wide["error at 24"] = (100 * last["std_error"]).round(2)
        wide["n"] = last["n_treated"]
        print(f"\n{estimand}: effect of a decision on unsubsidised work, percentage points")
        print(wide.to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=100_000)
    parser.add_argument("--months", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-register", action="store_true")
    parser.add_argument("--no-truth", action="store_true")
    args = parser.parse_args()
    world = load_world()
    print(f"python {sys.version.split()[0]}; {vars(args)}; world {world.name}, seed {world.seed}")
    measured("compilation or its cache, register", lambda: simulate_tables(world, 10, 12))
    measured("compilation or its cache, truth", lambda: truth(world, 10, 1, TruthSpec(horizon=1)))
    measured("5,000 persons in memory", lambda: simulate_tables(world, 5000, 120, args.seed))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not args.no_register:
            size = (args.persons, args.months, args.seed)
            measured(
                "register with parquet",
                lambda: write_register(folder, world, *size, threads=args.threads),
            )
        if not args.no_truth:
            found = measured(
                "truths (three estimands, 60 months, 11 outcomes, 13 groups)",
                lambda: truth(world, args.persons, args.seed, threads=args.threads),
            )
            effects(found.table)
        if not args.no_register:
            aggregates(folder)


if __name__ == "__main__":
    main()
