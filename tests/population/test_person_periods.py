"""Person-months of registration: invented persons row by row, exits, and lock-in found again."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.person_periods_register import person_periods_of_register
from tiltakeval.engine import connect
from tiltakeval.errors import InputError, InputErrors
from tiltakeval.estimators.duration.grouped_hazard import GroupedHazard
from tiltakeval.months import month_label, parse_month
from tiltakeval.population import exits as trial_exits
from tiltakeval.population.invented import invented_registers
from tiltakeval.population.person_months import days_in_month
from tiltakeval.population.person_periods import EXITS, PeriodSpec, person_periods
from tiltakeval.population.spec import PopulationSpec
from tiltakeval.population.tables import prepare
from tiltakeval.population.trials import build_population
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import Registers
from tiltakeval.synthetic.simulate import simulate_tables
from tiltakeval.synthetic.world import load_world

CATALOGUE = catalogue.load()
RWC = "nedsatt_arbeidsevne"


@pytest.fixture
def engine():
    with connect(threads=1, memory_limit="1GB") as found:
        yield found


def build(engine, persons, **changes):
    """The rows of invented persons as (month, event name, status of aft, of others, exposure)."""
    given = {"base": RWC, "programmes": ("aft",), "covariates": ("sex",)} | changes
    registers = invented_registers(
        engine, persons, CATALOGUE, first=parse_month("2015-01"), last=parse_month("2018-12")
    )
    spec = PeriodSpec(**given)
    found = person_periods(prepare(registers, CATALOGUE, seed=1), spec)
    table = engine.frame(found.table).assign(exposure=lambda d: d.get("exposure", 1.0))
    table = table.sort_values(["person", "month", "status_aft", "status_other"])
    return found, [
        (
            month_label(r.month),
            (None, *EXITS)[r.event],
            spec.levels[r.status_aft],
            spec.levels[r.status_other],
            round(r.exposure, 3),
        )
        for r in table.itertuples()
    ]


PARTICIPANT = {
    "name": "waits, takes part, leaves for a job",
    "spells": ["nedsatt_arbeidsevne 2016-01-10 2016-12-16 BATT mental"],
    "participation": ["aft decided 2016-03-10 start 2016-05-16 stop 2016-09-11"],
    "jobs": ["2016-12..2017-05 30000"],
}


def test_a_participant_month_by_month(engine):
    found, rows = build(engine, [PARTICIPANT])
    half = 0.5  # both the start on the 16th and the exit on the 16th of months of 31 days
    assert rows == [
        ("2016-02", None, "none", "none", 1.0),
        ("2016-03", None, "none", "none", 1.0),
        ("2016-04", None, "waiting", "none", 1.0),
        ("2016-05", None, "waiting", "none", half),
        ("2016-05", None, "in_0_3", "none", half),
        ("2016-06", None, "in_0_3", "none", 1.0),
        ("2016-07", None, "in_0_3", "none", 1.0),
        ("2016-08", None, "in_0_3", "none", 1.0),
        ("2016-09", None, "in_4_up", "none", 1.0),
        ("2016-10", None, "after_0_2", "none", 1.0),
        ("2016-11", None, "after_0_2", "none", 1.0),
        ("2016-12", "job", "after_0_2", "none", half),
    ]
    steps = found.attrition.steps.set_index("step")
    assert steps.persons.tolist() == [1, 1, 1] and steps.units["age"] == 11
    table = engine.frame(found.table)
    assert sorted(table.time.unique()) == list(range(1, 12))


@pytest.mark.parametrize(
    ("ties", "may", "march"), [("exit_first", "waiting", "none"), ("entry_first", "in_0_3", "none")]
)
def test_months_kept_whole_take_the_status_at_their_beginning_or_end(engine, ties, may, march):
    _, rows = build(engine, [PARTICIPANT], ties=ties)
    status = {month: (aft, exposure) for month, _, aft, _, exposure in rows}
    assert len(rows) == 11 and status["2016-05"] == (may, 1.0) and status["2016-03"][0] == march
    assert rows[-1][:2] == ("2016-12", "job")


def test_a_decision_can_count_from_its_day(engine):
    _, rows = build(engine, [PARTICIPANT], decisions="day")
    march = [(aft, exposure) for month, _, aft, _, exposure in rows if month == "2016-03"]
    assert march == [("none", 0.306), ("waiting", 0.694)]
    _, rows = build(engine, [PARTICIPANT], decisions="day", ties="entry_first")
    assert [aft for month, _, aft, _, _ in rows if month == "2016-03"] == ["waiting"]


def test_an_entry_comes_before_an_exit_of_the_same_month(engine):
    person = {
        "spells": ["nedsatt_arbeidsevne 2016-01-10 2016-05-26 BATT"],
        "participation": ["aft decided 2016-05-02 start 2016-05-16 stop 2016-05-26"],
    }
    _, rows = build(engine, [person])
    assert rows[-2:] == [
        ("2016-05", None, "none", "none", 0.5),
        ("2016-05", "out", "in_0_3", "none", round(10 / 31, 3)),
    ]
    _, rows = build(engine, [person], ties="exit_first")
    assert rows[-1] == ("2016-05", "out", "none", "none", 1.0)
    _, rows = build(engine, [person], ties="entry_first")
    assert rows[-1] == ("2016-05", "out", "in_0_3", "none", 1.0)


#: Persons registered to 1 March 2017: what they do, and how and when the spell ends by that.
LEAVERS = [
    ({"jobs": ["2017-03..2017-04 20000"]}, "2017-02", "job"),
    ({"jobs": ["2017-04..2017-06 20000"]}, "2017-02", "job"),
    ({"jobs": ["2017-05..2017-06 20000"]}, "2017-02", "out"),
    (
        {
            "participation": [
                "lonnstilskudd_midlertidig decided 2016-11-01 start 2017-01-02 stop 2018-01-01"
            ],
            "jobs": ["2017-02..2017-06 20000"],
        },
        "2017-02",
        "subsidised_job",
    ),
    ({"benefits": ["uforetrygd 2017-03..2018-12 20000"]}, "2017-02", "uforetrygd"),
    (
        {
            "spells": ["nedsatt_arbeidsevne 2016-06-10 2017-03-01", "jobseeker 2017-03-01 open"],
            "jobs": ["2017-03..2017-06 20000"],
        },
        "2017-02",
        "other_state",
    ),
    (
        {
            "participation": [
                "fag_og_yrkesopplaering decided 2017-01-05 start 2017-03-15 stop 2018-06-01"
            ]
        },
        "2017-02",
        "education",
    ),
    ({"died": "2016-11-20"}, "2016-11", "gone"),
    ({"emigrated": "2017-03-02"}, "2017-02", "gone"),
]


def test_how_a_spell_that_ends_on_the_first_of_a_month_ends(engine):
    persons = [
        {"spells": ["nedsatt_arbeidsevne 2016-06-10 2017-03-01"]} | person
        for person, _, _ in LEAVERS
    ]
    found, _ = build(engine, persons)
    table = engine.frame(found.table).sort_values(["person", "month", "exposure"])
    for number, (_, month, exit_) in enumerate(LEAVERS):
        mine = table[table.person == number]
        ends = mine[mine.event > 0]
        assert len(ends) == 1 and ends.month.item() == mine.month.max() == parse_month(month)
        assert EXITS[ends.event.item() - 1] == exit_, number
        # to the last day of February; the day of a death isn't that of a month's row
        assert ends.exposure.item() == (0.5 if month == "2016-11" else 1.0)


def test_an_open_spell_is_censored_a_month_before_the_data_end(engine):
    _, rows = build(engine, [{"spells": ["nedsatt_arbeidsevne 2016-06-10 open BATT"]}])
    assert rows[0][0] == "2016-07" and rows[-1][:2] == ("2018-11", None)
    assert len(rows) == 29


def test_nested_and_touching_spells_are_one_and_short_ones_give_no_rows(engine):
    found, rows = build(
        engine,
        [
            {"spells": [
                "nedsatt_arbeidsevne 2016-01-10 2016-06-20 BATT",
                "nedsatt_arbeidsevne 2016-02-01 2016-03-01 VARIG",
                "nedsatt_arbeidsevne 2016-06-20 2016-09-11 BATT",
                "nedsatt_arbeidsevne 2017-01-05 2017-01-25 BATT",
            ]},
        ],
    )  # fmt: skip
    assert [r[0] for r in rows] == [f"2016-{m:02d}" for m in range(2, 10)]
    assert [r[1] for r in rows] == [None] * 7 + ["out"]
    assert found.attrition.steps.units.iloc[-1] == 8


def test_waiting_ends_with_the_spell_and_programmes_outlast_it(engine):
    _, rows = build(
        engine,
        [
            {
                "spells": [
                    "nedsatt_arbeidsevne 2016-01-10 2016-05-16 BATT",
                    "nedsatt_arbeidsevne 2016-08-10 2017-02-16 BATT",
                ],
                "participation": [
                    "aft decided 2016-03-05 start 2016-06-01 noshow",
                    "amo decided 2016-02-20 start 2016-04-01 stop 2016-09-01",
                ],
            }
        ],
    )
    first = {r[0]: r[2:4] for r in rows}
    assert first["2016-03"] == ("none", "waiting")
    assert first["2016-04"] == ("waiting", "in_0_3")
    assert first["2016-05"] == ("waiting", "in_0_3")
    # the decision was of the earlier spell; the course went on until August
    assert first["2016-09"] == ("none", "after_0_2")
    assert first["2016-12"] == ("none", "after_3_5") and first["2017-02"] == ("none", "after_3_5")


def test_categories_are_those_known_when_the_month_begins(engine):
    found, _ = build(
        engine,
        [
            {
                "born": "1986-09", "sex": "male", "country": "POL", "education": "videregaende",
                "spells": [
                    "nedsatt_arbeidsevne 2016-01-10 2016-06-10 BFORM none office:0301",
                    "nedsatt_arbeidsevne 2016-06-10 2016-12-16 BATT mental office:1103",
                ],
                "jobs": ["2015-03..2015-12 20000"],
            }
        ],
        covariates=("sex", "age", "landgruppe", "education", "diagnosis", "innsatsgruppe",
                    "season", "worked_24", "worked_24_now", "year", "office"),
    )  # fmt: skip
    table = engine.frame(found.table).set_index("month").sort_index()

    def level(name, month):
        value = table.loc[parse_month(month), name]
        levels = found.categories[name]
        return str(value) if levels is None else levels[value]

    expected = {
        "sex": ("male", "male"), "age": ("25_29", "30_34"), "diagnosis": ("none", "mental"),
        "education": ("videregaende",) * 2, "innsatsgruppe": ("BFORM", "BATT"),
        "season": ("06", "09"), "worked_24": ("6_11",) * 2, "worked_24_now": ("6_11",) * 2,
        "year": ("2016",) * 2, "office": ("0301", "1103"),
    }  # fmt: skip
    for name, pair in expected.items():
        assert (level(name, "2016-06"), level(name, "2016-09")) == pair, name
    assert level("landgruppe", "2016-06") == "2"


def test_days_of_months(engine):
    import ibis

    months = np.arange(2015 * 12, 2021 * 12)
    table = ibis.memtable(pd.DataFrame({"m": months}))
    got = engine.frame(engine.materialise(table.mutate(d=days_in_month(table.m)), "days"))
    expected = [
        (dt.date((m + 1) // 12, (m + 1) % 12 + 1, 1) - dt.date(m // 12, m % 12 + 1, 1)).days
        for m in got.m
    ]
    assert got.d.tolist() == expected


def test_what_cannot_be_built_is_said(engine):
    with pytest.raises(InputErrors) as caught:
        PeriodSpec(base="job", programmes=(), ties="jitter", covariates=("agee",), in_from=(4, 0))
    text = str(caught.value)
    for part in ("'job'", "'jitter'", "Did you mean 'age'", "ascending months, the first 0"):
        assert part in text
    with pytest.raises(InputError, match="aft"):
        build(engine, [PARTICIPANT], programmes=("afft",))
    with pytest.raises(InputError, match=r"2015-01 to 2018-12 are not inside .* to 2018-11"):
        build(engine, [PARTICIPANT], window=(parse_month("2015-01"), parse_month("2018-12")))
    with pytest.raises(InputError, match="nobody is registered as jobseeker"):
        build(engine, [PARTICIPANT], base="jobseeker")


def synthetic(engine, persons, months=84, **changes):
    """An invented register without hidden differences between persons, and without selection."""
    world = load_world("standard").with_constant_assignment()
    world = world.with_section("persons", sd_v1=0.0, sd_v2=0.0)
    for key, values in changes.items():
        world = world.with_programme(key, **values)
    tables = simulate_tables(world, persons, months, 5)
    loaded = {name: engine.memory_table(table, f"syn_{name}") for name, table in tables.items()}
    return Registers(engine, loaded, fingerprint="syn", source="synthetic")


def test_exits_are_those_of_the_target_trials(engine):
    registers = synthetic(engine, 2500)
    spec = PopulationSpec(base=RWC, arms=("aft", "amo"), entry=(2016 * 12, 2017 * 12), horizon=6)
    population = build_population(registers, CATALOGUE, spec)
    found = trial_exits.exits(population)
    units = engine.frame(population.units.select("unit", "person", "spell_no").order_by("unit"))
    trial = units.assign(exit=[trial_exits.EXITS[e] for e in found.exit])
    trial = trial[trial.exit != "censored"].drop_duplicates(["person", "spell_no"])
    rows = person_periods(population.work, PeriodSpec(base=RWC, programmes=(), covariates=()))
    ends = engine.frame(rows.table.filter(rows.table.event > 0))
    both = trial.merge(ends, on=["person", "spell_no"])
    mine = np.array(EXITS)[both.event - 1]
    theirs = both.exit.replace({"dead": "gone", "emigrated": "gone"}).to_numpy()
    apart = mine == "subsidised_job"  # the trials don't tell these from other ways out
    assert len(both) > 120 and (mine == theirs)[~apart].all()
    assert set(theirs[apart]) <= {"out", "education"}
    # one exit a spell, in its last row
    assert not ends.duplicated(["person", "spell_no"]).any()
    last = engine.frame(rows.table.group_by("person", "spell_no").agg(month=rows.table.month.max()))
    assert len(ends.merge(last, on=["person", "spell_no", "month"])) == len(ends)


def test_lock_in_is_found_again_without_hidden_differences(engine):
    registers = synthetic(engine, 7000, aft={"base": (0.0, 45.0)})
    work = prepare(registers, CATALOGUE, seed=1)
    others = ("amo", "ips", "kvp", "fag_og_yrkesopplaering", "hoyere_utdanning")
    spec = PeriodSpec(
        base=RWC, programmes=("aft", *others),
        covariates=("age", "landgruppe", "education", "diagnosis", "season", "worked_24_now"),
    )  # fmt: skip
    design = person_periods_of_register(person_periods(work, spec))
    found = GroupedHazard(only="job", rare="leave_out", bands=False).estimate(design)
    rows = found.table[(found.table.programme == "aft") & (found.table.term == "log_hazard_ratio")]
    rows = rows.set_index(["time_origin", "horizon"])
    truth = {("vedtak", 0): 0.85, ("start", 0): 0.45, ("start", 4): 0.6}
    for at, factor in truth.items():
        row = rows.loc[at]
        assert abs(row.estimate - np.log(factor)) < 3 * row.std_error, at
        assert row.std_error < 0.25
    assert (rows.n_treated > 50).all()
    assert rows.period["start", 0] == "0-3" and rows.period["end", 24] == "24-"
    assert found.run["events"]["job"] > 500
