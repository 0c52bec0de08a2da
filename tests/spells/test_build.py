import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tiltakeval.engine import connect
from tiltakeval.spells import build


@pytest.fixture
def engine():
    with connect() as found:
        yield found


def _spells(engine, rows, name="spells"):
    columns = ["person_id", "state", "start", "stop", "innsatsgruppe", "decision_date", "office",
               "diagnosis_group"]  # fmt: skip
    table = pd.DataFrame(
        [(*row, *[None] * (8 - len(row))) for row in rows], columns=columns
    ).assign(office="0301")
    schema = pa.schema(
        [("person_id", pa.int64()), ("state", pa.string()), ("start", pa.date32()),
         ("stop", pa.date32()), ("innsatsgruppe", pa.string()), ("decision_date", pa.date32()),
         ("office", pa.string()), ("diagnosis_group", pa.string())]
    )  # fmt: skip
    return engine.memory_table(pa.Table.from_pandas(table, schema=schema), name)


def d(text):
    return dt.date.fromisoformat(text)


def test_nested_touching_and_reversed_spells(engine):
    js = "jobseeker"
    spells = _spells(
        engine,
        [
            (1, js, d("2015-01-01"), d("2015-12-01")),
            (1, js, d("2015-02-01"), d("2015-03-01")),  # nested
            (1, js, d("2015-11-01"), d("2016-02-10")),  # overlaps the first, not the row before
            (1, js, d("2016-02-10"), d("2016-03-01")),  # touches
            (1, js, d("2016-03-02"), None),  # a gap of a day
            (2, js, d("2015-05-01"), d("2015-05-01")),  # empty
            (2, js, d("2015-06-01"), d("2015-05-01")),  # reversed
            (2, "nedsatt_arbeidsevne", d("2015-06-01"), d("2015-07-01")),
        ],
    )
    merged = engine.frame(build.merge(spells).order_by(["person_id", "start"]))
    assert merged.start.astype(str).tolist() == ["2015-01-01", "2016-03-02", "2015-06-01"]
    assert merged.stop.isna().tolist() == [False, True, False]
    assert str(merged.stop[0])[:10] == "2016-03-01"
    assert engine.count(build.merge(spells, gap_days=1)) == 2
    wrong = engine.frame(build.reversed_spells(spells))
    assert wrong.to_dict("records") == [{"spells": 2, "persons": 1}]


def test_months_and_segments(engine):
    rwc = "nedsatt_arbeidsevne"
    spells = _spells(
        engine,
        [
            (1, rwc, d("2015-01-20"), d("2015-06-30"), "BATT", d("2015-02-03")),
            (1, rwc, d("2015-04-10"), d("2015-09-01"), "VARIG", d("2015-04-10")),
        ],
    )
    got = engine.frame(build.registration(spells).order_by("seg_from"))
    label = [(2015 * 12 + m - 1) for m in range(1, 13)]
    assert got.spell_from.tolist() == [label[0]] * 2
    assert got.spell_to.tolist() == [label[7]] * 2  # the whole of August, not a day of September
    assert got[["seg_from", "seg_to"]].values.tolist() == [
        [label[0], label[2]],
        [label[3], label[7]],
    ]
    assert got.innsatsgruppe.tolist() == ["BATT", "VARIG"]
    assert got.assessed_from.tolist() == [label[1], label[3]]


def test_merge_agrees_with_a_day_by_day_count(engine):
    rng = np.random.default_rng(5)
    first = d("2015-01-01")
    rows, covered = [], {}
    for person in range(60):
        days = set()
        for _ in range(rng.integers(1, 7)):
            a, length = int(rng.integers(0, 300)), int(rng.integers(1, 90))
            rows.append((person, "jobseeker", first + dt.timedelta(a),
                         first + dt.timedelta(a + length)))  # fmt: skip
            days |= set(range(a, a + length))
        covered[person] = days
    got = engine.frame(build.merge(_spells(engine, rows)))
    found = {person: set() for person in covered}
    for row in got.itertuples():
        a, b = (pd.Timestamp(x).date() for x in (row.start, row.stop))
        span = set(range((a - first).days, (b - first).days))
        assert not span & found[row.person_id]
        found[row.person_id] |= span
    assert found == covered
    runs = sum(len([x for x in days if x - 1 not in days]) for days in covered.values())
    assert len(got) == runs


def test_participation_months(engine):
    rows = pd.DataFrame(
        [
            # id, code, programme, decision, start, stop, started
            (1, "ARBFORB", "aft", "2016-01-15", "2016-03-01", "2016-06-01", True),
            (2, "NYTT", None, "2016-01-15", "2016-03-01", "2016-06-02", True),
            (3, "ARBFORB", "aft", "2016-01-15", "2016-04-10", None, False),  # no-show
            (4, "ARBFORB", "aft", "2016-01-15", None, None, False),
            (5, "ARBFORB", "aft", None, "2016-04-10", None, True),
            (6, "ARBFORB", "aft", "2016-01-15", "2016-04-10", "2016-04-01", True),  # reversed
            (7, "ARBFORB", "aft", None, None, None, False),
        ],
        columns=["participation_id", "code", "programme", "decision_date", "start", "stop",
                 "started"],
    )  # fmt: skip
    for name in ("decision_date", "start", "stop"):
        rows[name] = pd.to_datetime(rows[name]).dt.date
    rows["person_id"] = 1
    rows["application_date"], rows["employer_id"] = None, None
    table = engine.memory_table(
        pa.Table.from_pandas(rows).cast(
            pa.schema(
                [
                    (
                        n,
                        pa.date32()
                        if n.endswith("date") or n in ("start", "stop")
                        else pa.int64()
                        if n.endswith("id")
                        else pa.bool_()
                        if n == "started"
                        else pa.string(),
                    )
                    for n in rows.columns
                ]
            )
        ),
        "participation",
    )
    got = engine.frame(build.participations(table).order_by("participation_id"))
    jan = 2016 * 12
    assert got.participation_id.tolist() == [1, 2, 3, 4, 5, 6]
    assert got.programme.tolist()[:2] == ["aft", "unknown"]
    assert got.decided.tolist() == [jan] * 4 + [jan + 3, jan]
    assert got.begun.tolist() == [True, True, False, False, True, False]
    assert got.end_month.tolist()[:2] == [jan + 4, jan + 5]
    assert got.end_month[4] == build.OPEN
    assert got.blocked_to.tolist() == [jan + 4, jan + 5, jan + 3, jan + 12, build.OPEN, jan + 2]
