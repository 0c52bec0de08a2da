"""Spells of a register as event histories: invented persons, totals, and rules followed row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.event_history_register import event_history_of_register
from tiltakeval.design.event_history_status import _joined
from tiltakeval.design.person_periods_register import person_periods_of_register
from tiltakeval.engine import connect
from tiltakeval.errors import InputError
from tiltakeval.estimators.duration.grouped_hazard import GroupedHazard
from tiltakeval.estimators.duration.months.stages import programmes_of
from tiltakeval.estimators.duration.timing_of_events import TimingOfEvents
from tiltakeval.months import parse_month
from tiltakeval.population.invented import invented_registers
from tiltakeval.population.person_periods import EXITS, PeriodSpec, person_periods
from tiltakeval.population.tables import prepare
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import Registers
from tiltakeval.synthetic.simulate import simulate_tables
from tiltakeval.synthetic.world import load_world

CATALOGUE = catalogue.load()
RWC = "nedsatt_arbeidsevne"
EVERY = {"job": "job", "out": "out"}


@pytest.fixture(scope="module")
def engine():
    with connect(threads=1, memory_limit="1GB") as found:
        yield found


def periods_of(engine, persons, **changes):
    given = {"base": RWC, "programmes": ("aft",), "covariates": ("sex",)} | changes
    registers = invented_registers(
        engine, persons, CATALOGUE, first=parse_month("2015-01"), last=parse_month("2018-12")
    )
    return person_periods(prepare(registers, CATALOGUE, seed=1), PeriodSpec(**given))


def told(history):
    """Rows as (person, spell, start, stop, event, status, whether at risk of entry)."""
    places = [history.covariate_names.index(name) for name in history.programme]
    entry = [name.startswith("programme") for name in history.transitions]
    rows = []
    for i in range(history.n):
        on = [n for n, j in zip(history.programme, places) if history.covariates[i, j]]
        assert len(on) <= 1
        free = history.at_risk[i, entry]
        assert free.all() == free.any() and history.at_risk[i, ~np.array(entry)].all()
        event = history.event[i]
        rows.append(
            (
                int(history.person[i]),
                int(history.spell[i]),
                round(float(history.start[i]), 3),
                round(float(history.stop[i]), 3),
                history.transitions[event - 1] if event else None,
                on[0] if on else None,
                bool(free.any()),
            )
        )
    return rows


#: Everybody needs the two exits and an entry to aft.
PARTICIPANT = {
    "spells": ["nedsatt_arbeidsevne 2016-01-10 2016-12-16 BATT mental"],
    "participation": ["aft decided 2016-03-10 start 2016-05-16 stop 2016-09-11"],
    "jobs": ["2016-12..2017-05 30000"],
}
LEAVER = {"sex": "male", "spells": ["nedsatt_arbeidsevne 2016-01-10 2016-03-16"]}
#: Rows of these two as persons 0 and 1.
FIRST = [
    (0, 0, 0.0, 2.0, "programme_aft", None, True),
    (0, 0, 2.0, 3.5, None, "aft_waiting", False),
    (0, 0, 3.5, 7.0, None, "aft_in_0_3", False),
    (0, 0, 7.0, 8.0, None, "aft_in_4_up", False),
    (0, 0, 8.0, 10.5, "job", "aft_after_0_2", False),
    (1, 1, 0.0, 1.5, "out", None, True),
]


@pytest.fixture(scope="module")
def pair(engine):
    return periods_of(engine, [PARTICIPANT, LEAVER])


def test_a_participant_and_a_leaver(pair):
    history = event_history_of_register(pair, exits=EVERY)
    assert told(history) == FIRST
    assert history.covariate_names == (
        "sex_female", "aft_waiting", "aft_in_0_3", "aft_in_4_up", "aft_after_0_2",
    )  # fmt: skip
    assert history.covariates[:, 0].tolist() == [1.0] * 5 + [0.0]
    assert history.transitions == ("job", "out", "programme_aft")
    assert history.enters.tolist() == [[True] * 5, [True] * 5, [True] + [False] * 4]
    assert history.estimand == "in_programme_and_after" and history.population == RWC
    assert history.cluster_kind == "person" and history.before is None
    steps = history.attrition.steps.set_index("step")
    assert steps.units["age"] == steps.units["no_programme_at_registration"] == 13


@pytest.mark.parametrize(
    ("ties", "begins", "out", "four"),
    [("exit_first", 4.0, 2.0, 7.0), ("entry_first", 3.0, 2.0, 7.0)],
)
def test_whole_months(engine, ties, begins, out, four):
    history = event_history_of_register(
        periods_of(engine, [PARTICIPANT, LEAVER], ties=ties), exits=EVERY
    )
    assert [row[2:6] for row in told(history)] == [
        (0.0, 2.0, "programme_aft", None),
        (2.0, begins, None, "aft_waiting"),
        (begins, four, None, "aft_in_0_3"),
        (four, 8.0, None, "aft_in_4_up"),
        (8.0, 11.0, "job", "aft_after_0_2"),
        (0.0, out, "out", None),
    ]


#: Who else is in the register, and their rows but for the person.
LAPSES = {
    "spells": ["nedsatt_arbeidsevne 2016-01-10 2016-12-16"],
    "participation": [
        "aft decided 2016-03-10 start 2016-05-16 noshow",
        "aft decided 2016-08-10 start 2016-10-01 stop 2017-03-01",
    ],
}
LAPSES_ROWS = [
    (0.0, 2.0, "programme_aft", None, True),
    (2.0, 4.0, None, "aft_waiting", False),
    (4.0, 7.0, "programme_aft", None, True),
    (7.0, 8.016, None, "aft_waiting", False),
    (8.016, 10.5, "out", "aft_in_0_3", False),
]
#: Later programmes belong to the aftermath of the first, a second course of the same too.
CHAIN = {
    "spells": ["nedsatt_arbeidsevne 2016-01-10 2017-06-16"],
    "participation": [
        "aft decided 2016-02-10 start 2016-03-01 stop 2016-04-20",
        "amo decided 2016-05-10 start 2016-06-01 stop 2016-07-20",
        "aft decided 2016-08-10 start 2016-09-01 stop 2017-03-01",
    ],
}
CHAIN_ROWS = [
    (0.0, 1.0, "programme_aft", None, True),
    (1.0, 1.016, None, "aft_waiting", False),
    (1.016, 3.0, None, "aft_in_0_3", False),
    (3.0, 6.0, None, "aft_after_0_2", False),
    (6.0, 9.0, None, "aft_after_3_5", False),
    (9.0, 15.0, None, "aft_after_6_11", False),
    (15.0, 16.517, "out", "aft_after_12_23", False),
]
#: A course in the month after goes on with the stay.
LONGER = {
    "spells": ["nedsatt_arbeidsevne 2016-01-10 2017-01-16"],
    "participation": [
        "aft decided 2016-02-10 start 2016-03-01 stop 2016-06-10",
        "aft decided 2016-05-10 start 2016-07-01 stop 2016-10-20",
    ],
}
LONGER_ROWS = [
    (0.0, 1.0, "programme_aft", None, True),
    (1.0, 1.016, None, "aft_waiting", False),
    (1.016, 5.0, None, "aft_in_0_3", False),
    (5.0, 5.016, None, "aft_after_0_2", False),
    (5.016, 9.0, None, "aft_in_4_up", False),
    (9.0, 11.5, "out", "aft_after_0_2", False),
]
#: A start overtakes a pending decision.
OVERTAKEN = {
    "spells": ["nedsatt_arbeidsevne 2016-01-10 2016-12-16"],
    "participation": [
        "aft decided 2016-02-10 start 2016-09-01 stop 2016-11-11",
        "amo decided 2016-03-10 start 2016-05-16 stop 2016-07-01",
    ],
}
OVERTAKEN_ROWS = [
    (0.0, 1.0, "programme_aft", None, True),
    (1.0, 3.5, None, "aft_waiting", False),
    (3.5, 5.0, None, "other_in_0_3", False),
    (5.0, 8.0, None, "other_after_0_2", False),
    (8.0, 10.5, "out", "other_after_3_5", False),
]
#: Of two pending decisions the older counts until it lapses.
TWO_PENDING = {
    "spells": ["nedsatt_arbeidsevne 2016-01-10 2016-12-16"],
    "participation": [
        "amo decided 2016-02-10 start 2016-05-01 noshow",
        "aft decided 2016-03-10 start 2016-08-01 noshow",
    ],
}
TWO_PENDING_ROWS = [
    (0.0, 1.0, "programme_other", None, True),
    (1.0, 4.0, None, "other_waiting", False),
    (4.0, 7.0, None, "aft_waiting", False),
    (7.0, 10.5, "out", None, True),
]
#: A start without waiting, and an exit while in the programme.
AT_ONCE = {
    "spells": ["nedsatt_arbeidsevne 2016-01-10 2016-06-16"],
    "participation": ["aft decided 2016-03-16 start 2016-03-16 stop 2016-12-01"],
}
AT_ONCE_ROWS = [
    (0.0, 1.5, "programme_aft", None, True),
    (1.5, 4.517, "out", "aft_in_0_3", False),
]
#: Later spells that begin in, and after, the programme.
RETURNS = {
    "spells": [
        "nedsatt_arbeidsevne 2016-01-10 2016-05-16",
        "nedsatt_arbeidsevne 2016-08-10 2017-02-16",
        "nedsatt_arbeidsevne 2017-06-10 2017-08-16",
    ],
    "participation": ["aft decided 2016-02-20 start 2016-04-01 stop 2016-10-20"],
}
RETURNS_ROWS = [
    (0.0, 1.0, "programme_aft", None, True),
    (1.0, 2.017, None, "aft_waiting", False),
    (2.017, 3.5, "out", "aft_in_0_3", False),
]
RETURNS_MORE = [
    (0.0, 2.0, None, "aft_in_4_up", False),
    (2.0, 5.0, None, "aft_after_0_2", False),
    (5.0, 5.554, "out", "aft_after_3_5", False),
    (0.0, 1.5, "out", "aft_after_6_11", False),
]
#: A decision in the month of registration.
EARLY = {
    "spells": ["nedsatt_arbeidsevne 2016-01-10 2016-12-16"],
    "participation": ["aft decided 2016-01-20 start 2016-04-01 stop 2016-10-20"],
}
EARLY_MORE = [
    (0.0, 2.017, None, "aft_waiting", False),
    (2.017, 6.0, None, "aft_in_0_3", False),
    (6.0, 9.0, None, "aft_in_4_up", False),
    (9.0, 10.5, "out", "aft_after_0_2", False),
]


def test_persons_row_by_row(engine):
    persons = [
        LAPSES, CHAIN, LONGER, OVERTAKEN, TWO_PENDING, AT_ONCE, RETURNS, PARTICIPANT, LEAVER, EARLY,
    ]  # fmt: skip
    expected = [
        LAPSES_ROWS, CHAIN_ROWS, LONGER_ROWS, OVERTAKEN_ROWS, TWO_PENDING_ROWS, AT_ONCE_ROWS,
        RETURNS_ROWS, [row[2:] for row in FIRST[:5]], [FIRST[5][2:]],
    ]  # fmt: skip
    periods = periods_of(engine, persons)
    rows = told(event_history_of_register(periods, exits=EVERY))
    for person, mine in enumerate(expected):
        assert [row[2:] for row in rows if row[0] == person] == mine, person
    assert rows[-1][0] == 8
    rows = told(event_history_of_register(periods, exits=EVERY, carried="keep"))
    expected[6] = RETURNS_ROWS + RETURNS_MORE
    for person, mine in enumerate([*expected, EARLY_MORE]):
        assert [row[2:] for row in rows if row[0] == person] == mine, person
    assert [row[1] for row in rows if row[0] == 6] == [6, 6, 6, 7, 7, 7, 8]


def test_decisions_by_the_day(engine):
    person = {
        "spells": ["nedsatt_arbeidsevne 2016-01-10 2016-06-16"],
        "participation": ["aft decided 2016-03-16 start 2016-05-16 noshow"],
    }
    periods = periods_of(engine, [person, PARTICIPANT], decisions="day")
    assert [row[2:] for row in told(event_history_of_register(periods, exits=EVERY))][:3] == [
        (0.0, 1.5, "programme_aft", None, True),
        (1.5, 4.0, None, "aft_waiting", False),
        (4.0, 4.517, "out", None, True),
    ]


def test_spells_under_way_and_several(engine):
    persons = [
        PARTICIPANT | {"spells": [*PARTICIPANT["spells"], "nedsatt_arbeidsevne 2017-04-10 open"]},
        {"spells": ["nedsatt_arbeidsevne 2015-12-10 2016-12-16"]},
        LEAVER,
    ]
    window = (parse_month("2016-01"), parse_month("2018-06"))
    periods = periods_of(engine, persons, window=window)
    history = event_history_of_register(periods, exits={"job": "job", "out": "out"})
    rows = told(history)
    # the second spell begins with a status, the second person before the window
    assert rows == FIRST
    kept = told(event_history_of_register(periods, exits=EVERY, carried="keep"))
    assert [row[:6] for row in kept[5:]] == [
        (0, 1, 0.0, 5.0, None, "aft_after_6_11"),
        (0, 1, 5.0, 14.0, None, "aft_after_12_23"),
        (1, 2, 0.0, 1.5, "out", None),
    ]
    steps = history.attrition.steps.set_index("step")
    assert steps.persons["age"] == 3 and steps.persons["registered_in_window"] == 2
    assert steps.units["registered_in_window"] == 13 + 14


def test_an_exit_in_no_group_is_censoring(pair):
    history = event_history_of_register(pair, exits={"job": ("job",)})
    assert told(history)[-1] == (1, 1, 0.0, 1.5, None, None, True)
    assert history.transitions == ("job", "programme_aft")


# a synthetic register -----------------------------------------------------------------------


def synthetic(engine, persons, months, name):
    tables = simulate_tables(load_world("standard"), persons, months, 5)
    loaded = {k: engine.memory_table(t, f"{name}_{k}") for k, t in tables.items()}
    return Registers(engine, loaded, fingerprint=name, source="synthetic")


@pytest.fixture(scope="module")
def small(engine):
    return prepare(synthetic(engine, 1500, 84, "small"), CATALOGUE, seed=1)


def followed(periods, carried):
    """Rows by the rules of the docstring, one person-month after another."""
    table = periods.work.engine.frame(periods.table)
    spec, names = periods.spec, list(periods.status)
    if "opens" not in table:
        table = table.assign(opens=0.0, closes=1.0)
    shift = 1 if spec.ties == "exit_first" else 0
    after = len(spec.after_from)

    def stage(code):
        return 0 if code == 0 else 3 if code <= after else 1 if code == after + 1 else 2

    def banded(prefix, edges, since):
        place = max(i for i, edge in enumerate(edges) if since >= edge)
        last = place + 1 == len(edges)
        return f"{prefix}_{edges[place]}_{'up' if last else edges[place + 1] - 1}"

    out = []
    table = table.sort_values(["person", "spell_no", "month", "opens"])
    for (person, number), rows in table.groupby(["person", "spell_no"]):
        rows = rows.to_dict("records")
        if rows[0]["time"] != 1 or rows[0]["month"] - 1 < periods.window[0]:
            continue
        if carried == "leave_out" and any(rows[0][n] for n in names):
            continue
        first, waiting, status = None, [], []
        for i, row in enumerate(rows):
            stages = [stage(row[n]) for n in names]
            begun = [c for c, s in enumerate(stages) if s > 1]
            waiting = [c for c in waiting if stages[c] == 1]
            waiting += [c for c, s in enumerate(stages) if s == 1 and c not in waiting]
            if first is None and begun:
                first, since, ended, known = begun[0], row["month"], None, i > 0
                inside = False
                if not known:
                    level = row[names[first]]
            if first is None:
                status.append((waiting[0], "waiting") if waiting else None)
                continue
            inside = inside or stages[first] == 2
            if ended is None and stages[first] != 2:
                after_row = rows[i + 1] if i + 1 < len(rows) else None
                goes_on = (
                    inside
                    and after_row is not None
                    and stage(after_row[names[first]]) == 2
                    and (shift == 1 or after_row["month"] == row["month"])
                )
                if goes_on:
                    status.append((first, banded("after", spec.after_from, 0)))
                    continue
                ended = row["month"]
                known = known or i > 0
            if ended is None:
                if known:
                    label = banded("in", spec.in_from, row["month"] - since + shift)
                else:
                    level = min(level, row[names[first]])
                    label = spec.levels[level]
            elif known:
                label = banded("after", spec.after_from, row["month"] - ended)
            else:
                if stages[first] == 3:
                    level = min(level, row[names[first]])
                label = spec.levels[level]
            status.append((first, label))
        joined = []
        for i, (row, now) in enumerate(zip(rows, status)):
            begins, ends = row["time"] - 1 + row["opens"], row["time"] - 1 + row["closes"]
            event = EXITS[row["event"] - 1] if row["event"] else None
            if i + 1 < len(rows) and now is None and status[i + 1] is not None:
                event = "programme_" + names[status[i + 1][0]].removeprefix("status_")
            label = None if now is None else f"{names[now[0]].removeprefix('status_')}_{now[1]}"
            if joined and joined[-1][-1] == label:
                joined[-1] = (*joined[-1][:3], ends, event, label)
            else:
                joined.append((person, number, begins, ends, event, label))
        out += joined
    return out


@pytest.mark.parametrize(
    ("base", "ties", "decisions"),
    [
        ("jobseeker", "exit_first", "day"),
        (RWC, "entry_first", "next_month"),
        (RWC, "split", "day"),
    ],
)
def test_every_row_is_what_the_rules_say(small, base, ties, decisions):
    programmes = ("amo", "lonnstilskudd_midlertidig") if base == "jobseeker" else ("aft", "amo")
    spec = PeriodSpec(
        base=base, programmes=programmes, ties=ties, decisions=decisions, covariates=()
    )
    periods = person_periods(small, spec)
    for carried in ("leave_out", "keep"):
        expected = followed(periods, carried)
        exits = {row[4] for row in expected} & set(EXITS)
        history = event_history_of_register(periods, exits={e: e for e in exits}, carried=carried)
        found = told(history)
        assert len(found) == len(expected) > 600
        numbers = pd.factorize(pd.Series([row[0] for row in expected]))[0]
        for number, row, mine in zip(numbers, expected, found):
            assert mine[0] == number and mine[4:6] == row[4:6]
            assert mine[2:4] == (round(row[2], 3), round(row[3], 3))
            assert mine[6] == (row[5] is None)
        assert (history.start[1:] == history.stop[:-1])[np.diff(history.spell) == 0].all()


@pytest.fixture(scope="module")
def one_course(engine):
    """20,000 persons, in whose register each has at most one participation, in amo."""
    registers = synthetic(engine, 20_000, 60, "large")
    p = registers["participation"].filter(lambda t: t.programme == "amo")
    first = p.group_by("person_id").agg(participation_id=p.participation_id.min())
    p = p.semi_join(first, ["person_id", "participation_id"])
    tables = {**dict(registers.tables), "participation": engine.materialise(p, "one_course")}
    work = prepare(replace(registers, tables=tables), CATALOGUE, seed=1)
    spec = PeriodSpec(
        base="jobseeker", programmes=("amo",), after_from=(0, 6),
        covariates=("sex", "age", "education", "season"),
    )  # fmt: skip
    periods = person_periods(work, spec)
    t = periods.table
    spells = t.group_by("person", "spell_no").agg(
        first=t.time.min(), begun=(t.month - t.time).min()
    )
    spells = spells.filter((spells["first"] == 1) & (spells.begun >= periods.window[0]))
    return replace(periods, table=t.semi_join(spells, ["person", "spell_no"]))


def test_totals_are_those_of_the_person_months(one_course):
    table = one_course.work.engine.frame(one_course.table)
    happened = [EXITS[e - 1] for e in sorted(table.event.unique()) if e]
    exits = {e: e for e in happened}
    history = event_history_of_register(one_course, exits=exits, carried="keep")
    level = np.array(one_course.spec.levels)[table.status_amo]
    spent = table.groupby(level).exposure.sum()
    names = [f"amo_{name}" for name in spent.index if name != "none"]
    assert sorted(names) == sorted(history.programme) and len(names) == 5
    length = history.stop - history.start
    for name in names:
        on = history.covariates[:, history.covariate_names.index(name)] == 1
        assert length[on].sum() == pytest.approx(spent[name.removeprefix("amo_")], rel=1e-12)
    for j, name in enumerate(happened):
        assert (history.event == j + 1).sum() == (table.event == EXITS.index(name) + 1).sum()
    assert length.sum() == pytest.approx(table.exposure.sum(), rel=1e-12)
    by = table.sort_values(["month", "opens"]).groupby(["person", "spell_no"]).status_amo
    entered = ((by.max() > 0) & (by.first() == 0)).sum()
    assert (history.event == len(happened) + 1).sum() == entered > 200
    assert history.persons == table.person.nunique()
    assert int(history.spell[-1]) + 1 == by.ngroups
    assert history.n < 0.45 * len(table)


def test_hazards_are_those_of_the_person_months(one_course):
    exits = {"job": "job", "other": tuple(e for e in EXITS if e != "job")}
    history = event_history_of_register(
        one_course, exits=exits, carried="keep", covariates=("sex", "age", "education")
    )
    cells = person_periods_of_register(one_course, leave_out=("season", "status_other"))
    # time counts from the first whole month here, from the month of registration there
    mine = GroupedHazard(steps=(6, 12), only="job", bands=False).estimate(history).table
    theirs = GroupedHazard(steps=(7, 13), only="job", bands=False).estimate(cells).table

    def named(table):
        labels = table.programme.where(table.term != "log_hazard_ratio", "")
        rows = table[table.term.isin(["log_hazard_ratio", "coefficient"])]
        return rows.assign(key=labels)[["term", "estimate", "std_error"]].sort_values("estimate")

    a, b = named(mine), named(theirs)
    assert len(a) == len(b) > 12 and (a.term == "log_hazard_ratio").sum() == 5
    assert a.term.tolist() == b.term.tolist()
    np.testing.assert_allclose(a.estimate, b.estimate, atol=1e-7)
    np.testing.assert_allclose(a.std_error, b.std_error, rtol=1e-5)


def test_options(small):
    spec = PeriodSpec(
        base="jobseeker", programmes=("amo",), covariates=("sex", "age", "season", "office")
    )
    periods = person_periods(small, spec)
    every = event_history_of_register(periods)
    assert every.transitions == ("job", "other", "programme_amo", "programme_other")
    assert not any(name.startswith("season") for name in every.covariate_names)
    assert set(programmes_of(every.programme)["amo"]) == {"waiting", "inside", "after"}

    one = event_history_of_register(periods, entries="any", covariates=(), subgroups="sex")
    assert one.transitions == ("job", "other", "programme") and one.n < every.n
    assert (one.event == 3).sum() == (every.event >= 3).sum()
    assert one.covariate_names == one.programme and one.subgroups["sex"].levels == (
        "male", "female",
    )  # fmt: skip
    codes = one.subgroups["sex"].codes
    assert (codes[1:] == codes[:-1])[np.diff(one.person) == 0].all() and 0 < codes.mean() < 1

    drawn = event_history_of_register(periods, persons=300)
    other = event_history_of_register(periods, persons=300, seed=1)
    assert drawn.persons == 300 and drawn.fingerprint != other.fingerprint
    assert not np.array_equal(drawn.stop[:50], other.stop[:50])
    assert drawn.attrition.steps.step.iloc[-1] == "sample_of_persons"
    assert drawn.attrition.steps.persons.iloc[-1] == 300
    again = event_history_of_register(periods, persons=10**6, seed=1)
    assert np.array_equal(again.stop, every.stop) and np.array_equal(again.event, every.event)

    # a level nobody at risk of entry has doesn't enter it
    for k, name in enumerate(every.transitions):
        at = every.at_risk[:, k]
        for j, column in enumerate(every.covariate_names):
            if every.enters[k, j]:
                assert 0 < every.covariates[at, j].mean() < 1, (name, column)

    joined = event_history_of_register(periods, covariates=(), fewest=8)
    plain = event_history_of_register(periods, covariates=())
    assert joined.n < plain.n and len(joined.programme) < len(plain.programme)
    assert joined.duration.sum() == pytest.approx(plain.duration.sum())
    for name in joined.programme:
        on = joined.covariates[:, joined.covariate_names.index(name)] == 1
        thin = min(((joined.event == k) & on).sum() for k in (1, 2))
        assert thin >= 8 or name.endswith(("waiting", "0_up"))


def test_thin_bands_are_joined():
    assert _joined(np.array([[9], [9], [9]]), 5) == [0, 1, 2]
    assert _joined(np.array([[9], [1], [9]]), 5) == [0, 2]
    assert _joined(np.array([[9], [6], [1]]), 5) == [0, 1]
    assert _joined(np.array([[1], [9], [9]]), 5) == [0, 2]
    assert _joined(np.array([[1], [1], [1]]), 5) == [0]
    assert _joined(np.array([[3, 9], [3, 9], [9, 0]]), 5) == [0]


def test_timing_of_events_takes_it(small):
    spec = PeriodSpec(
        base="jobseeker", programmes=("amo",), in_from=(0,), after_from=(0,), covariates=("sex",)
    )
    history = event_history_of_register(person_periods(small, spec), entries="any")
    found = TimingOfEvents(starts=1, path=False).estimate(history)
    assert found.run["certificate"] < 1e-3
    rows = found.table[found.table.term == "log_hazard_ratio"]
    assert len(rows) == 12 and np.isfinite(rows.estimate).all()


def test_what_cannot_be_built_is_said(pair):
    periods, t = pair, pair.table
    make = event_history_of_register
    wrong = [
        ({"exits": {"job": ("jobb",)}}, "Did you mean 'job'"),
        ({"exits": {"job": "job", "too": ("job", "out")}}, "'job' is named twice"),
        ({"exits": {}}, "no exit is named"),
        ({"exits": {"job": ()}}, "the group has no exits"),
        ({"exits": {"programme_aft": "job"}}, "can't be called 'programme_aft'"),
        ({"exits": {"job": "job", "pension": "uforetrygd"}}, "pension never happens in 2 spells"),
        ({"covariates": ("age",)}, "unknown category 'age'"),
        ({"covariates": ("status_aft",)}, "unknown category 'status_aft'"),
        ({"subgroups": ("sexx",)}, "Did you mean 'sex'"),
        ({"persons": 0}, "0 persons can't be drawn"),
        ({"entries": "all"}, "unknown choice 'all'"),
        ({"carried": "maybe"}, "unknown choice 'maybe'"),
        ({"fewest": -1}, "must be 0 or more"),
        ({"exits": {"out": "out"}, "persons": 1, "seed": 2}, "in 1 spells|never happens"),
    ]
    for options, message in wrong:
        with pytest.raises(InputError, match=message):
            make(periods, **({"exits": EVERY} | options))
    both = replace(
        periods,
        spec=replace(periods.spec, programmes=("aft", "ips")),
        status=(*periods.status, "status_ips"),
        table=t.mutate(status_ips=0 * t.status_aft),
    )
    with pytest.raises(InputError, match="nobody enters ips in 2 spells"):
        make(both, exits=EVERY)
    none = replace(
        periods, spec=replace(periods.spec, programmes=()), table=t.filter(t.person == 1)
    )
    with pytest.raises(InputError, match="nobody enters a programme in 1 spells"):
        make(none, exits={"out": "out"})
    late = (parse_month("2016-03"), parse_month("2018-06"))
    with pytest.raises(InputError, match="no spell begins in 2016-03 or later"):
        make(replace(periods, window=late), exits=EVERY)
    started = t.filter(t.time >= 3)
    with pytest.raises(InputError, match="every spell begins with a programme status"):
        make(replace(periods, table=started.mutate(time=started.time - 2)), exits=EVERY)
