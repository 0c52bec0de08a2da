"""The tables: declared columns, sound dates, the same rows whatever the chunks and threads."""

from __future__ import annotations

import tomllib

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tiltakeval.errors import InputError
from tiltakeval.synthetic.simulate import simulate_tables, write_register
from tiltakeval.synthetic.world import load_world

ARROW = {"date": "date32[day]", "float64": "double"}


def test_tables_are_as_declared(tables, root):
    declared = tomllib.loads((root / "tiltakeval/registers/schema.toml").read_text("utf-8"))
    assert set(tables) == set(declared)
    for name, table in tables.items():
        columns = declared[name]["columns"]
        assert table.column_names == list(columns)
        for column, spec in columns.items():
            field = table[column]
            assert str(field.type) == ARROW.get(spec["type"], spec["type"]), (name, column)
            assert spec.get("nullable") or field.null_count == 0, (name, column)
            if "levels" in spec:
                assert set(field.unique().drop_null().to_pylist()) <= set(spec["levels"])
        key = declared[name]["key"]
        if key:
            assert table.group_by(key).aggregate([]).num_rows == table.num_rows, name


def test_dates_are_sound(tables, query):
    sound = {
        "spells": "count(*) filter (stop <= start)",
        "participation": "count(*) filter (stop <= start or start < decision_date "
        "or application_date > decision_date or (status = 'IKKEM' and started) "
        "or (status in ('FULLF', 'DELAVB', 'GJENN')) <> started "
        "or (status in ('FULLF', 'DELAVB')) <> (stop is not null))",
        "jobs": "count(*) filter (earnings_nok < 1 or hours <= 0 or position_pct not between 1 and 100)",
        "benefits": "count(*) filter (amount_nok < 1)",
    }
    for name, wrong in sound.items():
        assert query(tables, f"select {wrong} from {name}") == [(0,)], name
    inside = query(tables, "select count(*) from participation where started"
                   " and decision_date >= '2014-01-01'"
                   " and not exists (select 1 from spells s where s.person_id ="
                   " participation.person_id and s.start <= participation.decision_date and"
                   " (s.stop is null or s.stop > participation.decision_date))")  # fmt: skip
    assert inside == [(0,)]


def test_aft_has_its_predecessors_code_before_2016(tables, query):
    rows = query(tables, "select code, min(decision_date)::varchar, max(decision_date)::varchar"
                 " from participation where code in ('PRAKSKJERM', 'ARBFORB') group by 1")  # fmt: skip
    span = {code: (low, high) for code, low, high in rows}
    assert span["PRAKSKJERM"][1] < "2016-01-01" <= span["ARBFORB"][0]


def test_same_rows_over_threads_and_chunks(world, tmp_path):
    whole = simulate_tables(world, 2500, 36, 9)
    threaded = simulate_tables(world, 2500, 36, 9, threads=2)
    assert all(whole[name].equals(threaded[name]) for name in whole)
    write_register(tmp_path / "a", world, 2500, 36, 9, chunk=700, threads=2)
    write_register(tmp_path / "b", world, 2500, 36, 9, chunk=700)
    for name, table in whole.items():
        assert pq.read_table(tmp_path / "a" / f"{name}.parquet").equals(table), name
        one, two = (tmp_path / x / f"{name}.parquet" for x in "ab")
        assert one.read_bytes() == two.read_bytes()
    late = simulate_tables(world, 500, 36, 9, first=2000)["jobs"]
    assert late.equals(whole["jobs"].filter(pc.field("person_id") > 2000))
    assert load_world(tmp_path / "a" / "world.toml") == world


def test_impossible_sizes_are_refused(world):
    with pytest.raises(InputError):
        simulate_tables(world, 0)


def test_programme_effects_leave_those_who_never_decide_it_untouched(world):
    plain = world.with_section("calendar", burn_in=0)  # so that every decision is written
    changed = plain.with_programme("amo", b=(1.5, 1.5), early=0.1, uforetrygd=0.1)
    one, two = (simulate_tables(w, 1500, 120, 4) for w in (plain, changed))
    touched = pc.unique(one["participation"].filter(pc.field("programme") == "amo")["person_id"])
    for name in ("jobs", "benefits", "spells"):
        keep = ~pc.field("person_id").isin(touched)
        assert one[name].filter(keep).equals(two[name].filter(keep)), name
    assert not one["jobs"].equals(two["jobs"])


def test_fresh_unobserved_selection_leaves_no_trace_before_registration(world):
    world = world.with_section("calendar", burn_in=0)
    plain = simulate_tables(world, 800, 60, 6)
    fresh = world.with_(selection_unobserved=1.0, selection_unobserved_kind="fresh")
    other = simulate_tables(fresh, 800, 60, 6)
    first = plain["spells"].group_by("person_id").aggregate([("start", "min")])
    pairs = [(table["jobs"].join(first, "person_id").to_pandas()) for table in (plain, other)]
    before = []
    for jobs in pairs:
        start = jobs["start_min"].map(lambda d: d.year * 12 + d.month - 1, na_action="ignore")
        early = jobs[jobs["month"] < start.astype(float)]
        before.append(early[["person_id", "month", "earnings_nok"]].sort_values(
            ["person_id", "month"]).to_numpy())  # fmt: skip
    assert len(before[0]) > 1000 and np.array_equal(before[0], before[1])


def test_rules_of_assignment_differ(world):
    counts = set()
    for rule in ("standard", "constant", "nonlinear"):
        table = simulate_tables(world.with_(assignment=rule), 1000, 60, 2)["participation"]
        counts.add((table.num_rows, len(pc.unique(table["person_id"]))))
    assert len(counts) == 3
