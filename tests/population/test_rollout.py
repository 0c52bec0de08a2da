"""Roll-outs from registers: who is counted where, against a count row by row and invented persons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tiltakeval.engine import connect
from tiltakeval.errors import InputError
from tiltakeval.months import parse_month
from tiltakeval.population.invented import invented_registers
from tiltakeval.population.rollout import CHARACTERISTICS, office_periods
from tiltakeval.population.rollout_spec import FACTS, RolloutSpec
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import Registers
from tiltakeval.synthetic.simulate import simulate_tables
from tiltakeval.synthetic.world import load_world

CATALOGUE = catalogue.load()
YEARS = (parse_month("2014-01"), parse_month("2017-12"))
PLAIN = RolloutSpec(programme="kvp", window=YEARS, price_year=None)


@pytest.fixture(scope="module")
def engine():
    with connect(threads=1, memory_limit="1GB") as found:
        yield found


@pytest.fixture(scope="module")
def tables():
    return simulate_tables(load_world("standard"), 2500, 48, 4)


@pytest.fixture(scope="module")
def register(engine, tables):
    loaded = {k: engine.memory_table(t, f"ro_{k}") for k, t in tables.items()}
    return Registers(engine, loaded, fingerprint="ro", source="synthetic")


def months(days):
    days = pd.to_datetime(days)
    return days.dt.year * 12 + days.dt.month - 1


def counted(tables, spec, base=None):
    """Counts and sums of the outcome by office, level and period, one person-month after another;
    ``base`` gathers office, level, person and base month."""
    spells = tables["spells"].to_pandas()
    spells = spells[spells["state"] == spec.state].sort_values(["person_id", "start"])
    persons = tables["persons"].to_pandas().set_index("person_id")
    born = months(persons["birth_date"])
    gone = {kind: months(persons[f"{kind}_date"]).fillna(10**6) for kind in ("death", "emigration")}
    jobs = tables["jobs"].to_pandas()
    subsidised = tables["participation"].to_pandas()
    subsidised = subsidised[
        subsidised["started"] & subsidised["programme"].fillna("").str.startswith("lonnstilskudd")
    ]
    paid = {
        (r.person_id, r.employer_id, m)
        for r in subsidised.itertuples()
        for m in range(
            r.start.year * 12 + r.start.month - 1,
            YEARS[1] + 1
            if pd.isna(r.stop)
            else r.stop.year * 12 + r.stop.month - 1 + (r.stop.day > 1),
        )
    }
    own = [
        (p, m)
        for p, e, m in zip(jobs["person_id"], jobs["employer_id"], jobs["month"])
        if (p, e, m) not in paid
    ]
    works = set(own)
    benefits = tables["benefits"].to_pandas()
    got = {
        name: set(zip(part["person_id"], part["month"]))
        for name, part in benefits[benefits["amount_nok"] > 0].groupby("benefit")
    }
    first, last = spec.base_months
    found, who = {}, {}
    for r in spells.itertuples():
        begin = r.start.year * 12 + r.start.month - 1
        end = 10**6 if pd.isna(r.stop) else r.stop.year * 12 + r.stop.month - 2
        for k in range(max(first, begin + 1), min(last, end) + 1):
            if spec.who == "entering" and k != begin + 1:
                continue
            person = r.person_id
            years = (k - born[person]) // 12
            if min(gone["death"][person], gone["emigration"][person]) <= k:
                continue
            if not spec.age[0] <= years <= spec.age[1]:
                continue
            if any((person, k) in got.get(name, ()) for name in spec.without):
                continue
            if spec.receiving and not any((person, k) in got[name] for name in spec.receiving):
                continue
            level = 0
            if spec.split == "aap":
                level = int((person, k) in got["aap"])
            if spec.split == "age_band":
                level = int(years >= 30) + int(years >= 60)
            for name in spec.predictors:
                age = int(years >= 30) + int(years >= 60)
                at = {
                    "age_band": (3, age),
                    "registered_band": (3, (k - begin >= 6) + (k - begin >= 12)),
                }
                many, own_level = at.get(name, (2, int((person, k) in got.get(name, ()))))
                level = level * many + own_level
            if base is not None:
                base.append((r.office, level, person, k))
            until = gone["emigration"][person]
            if spec.death == "censor":
                until = min(until, gone["death"][person])
            measured = range(spec.window[0], spec.window[1] + 1)
            if spec.who != "fixed":
                measured = [k + spec.after]
            for m in measured:
                if m >= until:
                    continue
                key = (r.office, level, m // spec.step)
                n, y, age = found.get(key, (0, 0, 0))
                found[key] = (n + 1, y + ((person, m) in works), age + years)
            who.setdefault((r.office, level), set()).add(person)
    return found, who


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"without": ("aap",), "period": "quarter", "reference": YEARS[0] + 4, "death": "censor"},
        {"receiving": ("sosialhjelp", "aap"), "split": "age_band", "period": "month"},
        {"who": "current", "split": "aap", "period": "half_year", "age": (25, 55)},
        {"who": "current", "after": 12, "window": (YEARS[0] + 24, YEARS[1]), "without": ("aap",)},
        {"who": "entering", "after": 6, "window": (YEARS[0] + 12, YEARS[1]), "split": "aap"},
    ],
)
def test_every_person_month_is_counted_once_at_its_office(tables, register, changes):
    spec = replace(PLAIN, **changes)
    found = office_periods(register, CATALOGUE, spec)
    expected, who = counted(tables, spec)
    assert found.counts.sum() == sum(n for n, _, _ in expected.values()) > 200
    for (office, level, period), (n, y, age) in expected.items():
        at = (found.units.index(office), level, period - found.periods[0])
        assert found.counts[at] == n
        assert found.sums[(*at, 0)] == y
        assert found.made_of[(*at, CHARACTERISTICS.index("age_years"))] == age
    for (office, level), persons in who.items():
        assert found.persons[found.units.index(office), level] == len(persons)
    if spec.after or spec.who == "fixed":
        assert found.sums.sum() > 20
    steps = found.attrition.steps
    assert (steps["units"].diff().dropna() <= 0).all()
    if spec.who != "fixed":  # some emigrate before their outcome
        assert 0.98 * steps["units"].iloc[-1] <= found.counts.sum() <= steps["units"].iloc[-1]


PREDICTORS = ("age_band", "sosialhjelp", "registered_band")


@pytest.mark.parametrize(
    "changes", [{}, {"who": "current", "after": 12, "window": (YEARS[0] + 24, YEARS[1])}]
)
def test_participation_is_counted_among_those_the_programme_came_to(tables, register, changes):
    """The plain spec, cut by three facts: counts one by one, and who begins the programme in time."""
    spec = replace(PLAIN, **changes)
    cut = replace(spec, predictors=PREDICTORS)
    assert len(cut.levels) == 18 and cut.levels[3] == "18-29|yes|0-5"
    found = office_periods(register, CATALOGUE, cut)
    base = []
    expected, _ = counted(tables, cut, base)
    for (office, level, period), (n, y, _) in expected.items():
        at = (found.units.index(office), level, period - found.periods[0])
        assert found.counts[at] == n and found.sums[(*at, 0)] == y
    whole, plain = found.whole(), office_periods(register, CATALOGUE, spec)
    for name in ("counts", "sums", "made_of"):
        np.testing.assert_allclose(getattr(whole, name), getattr(plain, name))
    assert whole.spec == plain.spec and whole.took is None
    begun = tables["participation"].to_pandas()
    begun = begun[begun["started"] & (begun["programme"] == "kvp")]
    started = {}
    for person, start in zip(begun["person_id"], months(begun["start"])):
        started.setdefault(person, []).append(start)
    starts = dict(zip(found.units, found.starts))
    exposed, took = np.zeros_like(found.exposed), np.zeros_like(found.took)
    for office, level, person, k in base:
        fixed = spec.who == "fixed"
        if starts[office] > (spec.window[1] if fixed else k):
            continue
        at = (found.units.index(office), level)
        exposed[at] += 1
        last = spec.window[1] if fixed else k + spec.after
        took[at] += any(k <= m <= last for m in started.get(person, ()))
    np.testing.assert_array_equal(found.exposed, exposed)
    np.testing.assert_array_equal(found.took, took)
    assert took.sum() > 5


def test_predictors_that_contradict_are_refused():
    for changes, said in (
        ({"predictors": ("sexx",)}, "Did you mean 'sex'"),
        ({"predictors": ("sex", "sex")}, "'sex' is used twice"),
        ({"predictors": ("sex",), "split": "sex"}, "'sex' is used twice"),
        ({"predictors": tuple(FACTS)[:9]}, "profiles, more than 500"),
    ):
        with pytest.raises(InputError, match=said):
            replace(PLAIN, **changes)


def test_starts_are_the_tables(tables, register):
    found = office_periods(register, CATALOGUE, PLAIN)
    table = tables["rollout"].to_pandas()
    table = table[table["programme"] == "kvp"].set_index("office")["from_month"]
    assert len(found.units) > 50
    assert all(table[name] == start for name, start in zip(found.units, found.starts))


def small(engine, name, persons, rollout=None, window=("2015-01", "2018-12")):
    first, last = (parse_month(month) for month in window)
    registers = invented_registers(engine, persons, CATALOGUE, first=first, last=last, name=name)
    tables = dict(registers.tables)
    if rollout is not None:
        rows = pa.table(
            {
                "office": [office for office, _ in rollout],
                "programme": ["kvp"] * len(rollout),
                "from_month": pa.array([parse_month(m) for _, m in rollout], pa.int32()),
            }
        )
        tables["rollout"] = engine.memory_table(rows, f"{name}_rollout")
    return Registers(engine, tables, fingerprint=name, source="invented")


def person(office="A", start="2014-06-10", stop="open", **more):
    return {"spells": [f"nedsatt_arbeidsevne {start} {stop} office:{office}"], **more}


SMALL = RolloutSpec(
    programme="kvp", window=(parse_month("2015-01"), parse_month("2018-12")), price_year=None
)


def test_a_fixed_group_is_followed_and_gone_persons_are_unknown(engine):
    persons = [
        person(jobs=["2016-03..2016-05 30000"], stop="2016-01-10"),  # works after leaving: counted
        person(emigrated="2017-03-05"),
        person(died="2017-03-05"),
        person(start="2015-01-10"),  # not registered through the reference month
        person(stop="2015-01-20"),
        person("B"),
    ]
    rollout = [("A", "2017-05")]
    found = office_periods(small(engine, "f1", persons, rollout), CATALOGUE, SMALL)
    assert found.units == ("A", "B")
    assert found.starts.tolist() == [parse_month("2017-05"), np.inf]
    assert found.counts[:, 0].tolist() == [[36, 36, 26, 24], [12, 12, 12, 12]]
    assert found.sums[0, 0, :, 0].tolist() == [0, 3, 0, 0]
    assert found.attrition.steps["persons"].tolist() == [4, 4, 4, 4]
    censored = office_periods(
        small(engine, "f2", persons, rollout), CATALOGUE, replace(SMALL, death="censor")
    )
    assert censored.counts[0, 0].tolist() == [36, 36, 16, 12]


def test_office_is_that_of_the_month_or_of_the_spells_start(engine):
    moves = {
        "spells": [
            "nedsatt_arbeidsevne 2014-06-10 2016-07-01 office:A",
            "nedsatt_arbeidsevne 2016-07-01 open office:B",
        ]
    }
    persons, rollout = [moves, person("B")], [("A", "2017-01")]
    spec = replace(SMALL, who="current")
    by_month = office_periods(small(engine, "o1", persons, rollout), CATALOGUE, spec)
    assert by_month.counts[:, 0].tolist() == [[12, 6, 0, 0], [12, 18, 24, 24]]
    spec = replace(spec, office="spell_start")
    at_start = office_periods(small(engine, "o2", persons, rollout), CATALOGUE, spec)
    assert at_start.counts[:, 0].tolist() == [[12, 12, 12, 12], [12, 12, 12, 12]]


def test_starts_can_be_derived_from_participants(engine):
    def joins(month, office="A"):
        return person(office, participation=[f"kvp decided {month}-01 start {month}-15"])

    persons = [joins("2016-01"), *[joins(m) for m in ("2016-06", "2016-07", "2016-08")],
               joins("2017-01", "B"), joins("2017-02", "B"), person("C")]  # fmt: skip
    register = small(engine, "p1", persons)
    spec = replace(SMALL, starts="participants")
    found = office_periods(register, CATALOGUE, spec)
    assert found.starts.tolist() == [parse_month("2016-06"), np.inf, np.inf]
    two = office_periods(register, CATALOGUE, replace(spec, least=2))
    assert two.starts.tolist() == [parse_month("2016-06"), parse_month("2017-01"), np.inf]
    one = office_periods(register, CATALOGUE, replace(spec, least=1, within=1))
    assert one.starts.tolist() == [parse_month("2016-01"), parse_month("2017-01"), np.inf]
    with pytest.raises(InputError, match="no office has a start of kvp"):
        office_periods(register, CATALOGUE, replace(spec, least=50))
    with pytest.raises(InputError, match="no roll-out table"):
        office_periods(register, CATALOGUE, SMALL)


def test_regions_need_one_start(engine):
    persons = [person("A"), person("B"), person("C"), person("D")]
    register = small(engine, "r1", persons, [("A", "2016-02"), ("B", "2016-09"), ("C", "2017-01")])
    spec = replace(SMALL, unit="region")
    regions = {"A": "north", "B": "north", "C": "south", "D": "west"}
    found = office_periods(register, CATALOGUE, spec, regions=regions)
    assert found.units == ("north", "south", "west")
    assert found.starts.tolist() == [parse_month("2016-02"), parse_month("2017-01"), np.inf]
    assert found.counts[:, 0, 0].tolist() == [24, 12, 12]
    with pytest.raises(InputError, match="1 region of 3 have offices that start in different"):
        office_periods(register, CATALOGUE, spec, regions={**regions, "B": "south", "C": "south"})
    with pytest.raises(InputError, match="1 office of 4 have no region"):
        office_periods(
            register, CATALOGUE, spec, regions={k: v for k, v in regions.items() if k != "D"}
        )
    with pytest.raises(InputError, match="no table of offices and regions"):
        office_periods(register, CATALOGUE, spec)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"programme": "kpv"}, "kvp"),
        ({"window": (parse_month("2014-01"), YEARS[1])}, "aren't all covered"),
        ({"reference": parse_month("2013-05")}, "aren't all covered"),
        ({"age": (70, 80)}, "none is left after 'age'"),
        ({"receiving": ("aap",)}, "none is left after 'receiving_benefit'"),
    ],
)
def test_what_cant_be_built_says_why(engine, changes, message):
    register = small(engine, "w1", [person("A"), person("B")], [("A", "2016-01")])
    with pytest.raises(InputError, match=message):
        office_periods(register, CATALOGUE, replace(SMALL, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "arbeidsledig"}, "base state"),
        ({"who": "all"}, "fixed"),
        ({"outcomes": ("work_unsubsidized",)}, "work_unsubsidised"),
        ({"outcomes": ("education_entry",)}, "isn't a monthly outcome"),
        ({"outcomes": ()}, "no outcome"),
        ({"window": (YEARS[0] + 1, YEARS[1])}, "whole periods"),
        ({"window": (YEARS[0], YEARS[0] + 11)}, "one period only"),
        ({"window": YEARS[::-1]}, "ends before it begins"),
        ({"who": "current", "reference": YEARS[0]}, "no reference month"),
        ({"after": 12}, "followed through the window"),
        ({"reference": YEARS[1] + 1}, "lies after the window"),
        ({"without": ("aap",), "receiving": ("aap",)}, "is without it"),
        ({"without": ("app",)}, "aap"),
        ({"least": 0}, "must be 1 or more"),
        ({"age": (60, 20)}, "above the highest"),
        ({"split": "postcode"}, "split"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(PLAIN, **changes)
