"""Trials against a slow, literal reading of the rules; and that the future decides nothing."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.population.random_register import FIRST, LAST, load, random_tables
from tiltakeval.engine import connect
from tiltakeval.errors import InputError
from tiltakeval.months import first_day, month_index
from tiltakeval.population import sampling
from tiltakeval.population.covariates import needed_months
from tiltakeval.population.features import collect
from tiltakeval.population.spec import PopulationSpec
from tiltakeval.population.trials import build_population
from tiltakeval.programmes import catalogue

CATALOGUE = catalogue.load()
ARMS = ("aft", "amo", "lonnstilskudd_midlertidig")
SPEC = PopulationSpec(
    base="nedsatt_arbeidsevne", arms=ARMS, entry=(2015 * 12, 2018 * 12 + 5), horizon=12
)
FAR = dt.date(9999, 12, 31)


@pytest.fixture
def engine():
    with connect(threads=1, memory_limit="500MB") as found:
        yield found


def _units(engine, tables, spec, name="random"):
    population = build_population(load(engine, tables, name), CATALOGUE, spec)
    return population, engine.frame(population.units.order_by("unit"))


def _given(value):
    return value is not None and not pd.isna(value)


def _literal(tables, spec):
    """(person_id, k) -> arm by the rules, person by person and month by month."""
    found = {}
    spells, parts = tables["spells"], tables["participation"]
    for person in tables["persons"].itertuples():
        days = []
        for s in spells[
            (spells.person_id == person.person_id) & (spells.state == spec.base)
        ].itertuples():
            stop = s.stop if _given(s.stop) else FAR
            if stop > s.start:
                days.append((s.start, stop))
        merged = []
        for start, stop in sorted(days):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
            else:
                merged.append((start, stop))
        mine = []
        for p in parts[parts.person_id == person.person_id].itertuples():
            decided = p.decision_date if _given(p.decision_date) else p.start
            if not _given(decided):
                continue
            stop = p.stop if _given(p.stop) else FAR
            begun = p.started and _given(p.start) and stop > p.start
            mine.append((decided, p.participation_id, p.programme, begun, p.start, stop))
        mine.sort(key=lambda x: x[:2])
        for begin, end in merged:
            over = False
            for k in range(month_index(begin) + spec.min_months_registered, spec.entry[1] + 1):
                month, following = first_day(k), first_day(k + 1)
                if end < following or over:
                    break
                events = []
                for decided, key, programme, begun, start, _ in mine:
                    if decided >= begin and month <= decided < following:
                        events.append((decided, key, programme or "unknown"))
                    late = begun and decided < begin <= start
                    if late and month <= start < following:
                        events.append((start, key, "late"))
                    elif (late and begin <= start < month) or begin <= decided < month:
                        over = True
                if over:
                    break
                over = bool(events)
                if k < spec.entry[0]:
                    continue
                gone = [d for d in (person.death_date, person.emigration_date) if _given(d)]
                if any(d < following for d in gone):
                    break
                age = (k - month_index(person.birth_date)) // 12
                if not spec.age[0] <= age <= spec.age[1]:
                    continue
                if any(begun and start < begin and stop > month
                       for _, _, _, begun, start, stop in mine):  # fmt: skip
                    continue
                arm = min(events)[2] if events else "none"
                open_arms = [a for a in spec.arms if CATALOGUE[a].open_to(spec.base, k, age)]
                if arm == "none" and not open_arms:
                    continue
                if arm != "none" and arm not in open_arms:
                    continue
                found[(person.person_id, k)] = arm
    return found


@pytest.mark.parametrize("base", ["nedsatt_arbeidsevne", "jobseeker"])
@pytest.mark.parametrize("seed", [1, 3])
def test_units_are_those_of_the_literal_rules(engine, base, seed):
    tables = random_tables(seed, persons=250)
    arms = ARMS if base == "nedsatt_arbeidsevne" else ARMS[1:]
    spec = replace(SPEC, base=base, arms=arms, age=(20, 60))
    population, units = _units(engine, tables, spec)
    names = ("none", *arms)
    got = {(r.person_id, r.k): names[r.arm] for r in units.itertuples()}
    expected = _literal(tables, spec)
    assert got == expected
    assert len(set(got.values())) == len(names)
    assert units.unit.tolist() == list(range(len(units)))
    last = population.attrition.steps.iloc[-1]
    assert (last.persons, last.units) == (units.person.nunique(), len(units))
    counts = population.attrition.steps.units.dropna()
    assert (counts.diff().dropna() <= 0).all()


def _perturbed(tables, k, seed):
    """Everything dated after month k changed, removed or invented; everything before it kept."""
    rng = np.random.default_rng(seed)
    out = {name: table.copy() for name, table in tables.items()}
    after = first_day(k + 1)

    def later(value):
        return _given(value) and value >= after

    def moved(value):
        if not later(value):
            return value
        return None if rng.random() < 0.3 else after + dt.timedelta(int(rng.integers(0, 500)))

    persons = out["persons"]
    for column in ("death_date", "emigration_date"):
        changed = [moved(v) for v in persons[column]]
        persons[column] = [
            after + dt.timedelta(int(rng.integers(0, 300)))
            if not _given(v) and rng.random() < 0.2 else v
            for v in changed
        ]  # fmt: skip
    spells = out["spells"]
    spells = spells[[not later(v) for v in spells.start]].copy()
    spells["stop"] = [moved(v) if _given(v) else moved(FAR) for v in spells.stop]
    spells["decision_date"] = [
        after + dt.timedelta(int(rng.integers(0, 100))) if later(v) else v
        for v in spells.decision_date
    ]
    out["spells"] = spells
    parts = out["participation"]
    first = [d if _given(d) else s for d, s in zip(parts.decision_date, parts.start)]
    parts = parts[[not later(v) for v in first]].copy()
    future_start = [later(v) for v in parts.start]
    parts["started"] = [
        bool(rng.random() < 0.5) if f else s for f, s in zip(future_start, parts.started)
    ]
    parts["start"] = [
        after + dt.timedelta(int(rng.integers(0, 100))) if f else v
        for f, v in zip(future_start, parts.start)
    ]
    parts["stop"] = [
        (after + dt.timedelta(int(rng.integers(100, 500)))) if (later(v) or not _given(v)) else v
        for v in parts.stop
    ]
    out["participation"] = parts
    for name in ("jobs", "benefits", "offices"):
        table = out[name]
        table = table[(table.month <= k) | (rng.random(len(table)) < 0.5)].copy()
        column = {"jobs": "earnings_nok", "benefits": "amount_nok",
                  "offices": "unemployment_rate"}[name]  # fmt: skip
        table.loc[table.month > k, column] = table[column] // 2
        out[name] = table
    out["education"] = out["education"][[not later(v) for v in out["education"].date]]
    return out


@pytest.mark.parametrize("time_zero", ["vedtak", "start"])
@pytest.mark.parametrize("k", [2016 * 12 + 6, 2017 * 12 + 3])
def test_nothing_after_the_trial_month_decides_who_is_in_it(engine, time_zero, k):
    tables = random_tables(11, persons=250)
    spec = replace(
        SPEC, time_zero=time_zero, max_comparison_per_trial=8, arms=("amo",),
        innsatsgrupper=("BATT", "BFORM"),
    )  # fmt: skip

    def baseline(tables, name):
        population, units = _units(engine, tables, spec, name)
        jobs, benefits = needed_months(
            population.work, population.units, spec.entry[0] - 24, LAST, factors=None
        )
        facts = collect(
            population.work, population.units, len(units), jobs, benefits, origin=spec.entry[0]
        )
        frame = pd.concat([units, pd.DataFrame(dict(facts.columns)).drop(columns="k")], axis=1)
        return frame[frame.k <= k].drop(columns=["unit"]).reset_index(drop=True)

    before = baseline(tables, "actual")
    assert (before.arm > 0).sum() >= 3
    assert (before.weight > 1).any()
    for seed in range(3):
        after = baseline(_perturbed(tables, k, seed), f"other{seed}")
        pd.testing.assert_frame_equal(before, after, check_dtype=False)


def test_starts_as_time_zero(engine):
    tables = random_tables(4, persons=300)
    _, units = _units(engine, tables, replace(SPEC, time_zero="start"))
    parts = tables["participation"].dropna(subset=["start"])
    starts = {(r.person_id, month_index(r.start)) for r in parts[parts.started].itertuples()}
    treated = units[units.arm > 0]
    assert len(treated) > 5
    assert all((r.person_id, r.k) in starts for r in treated.itertuples())
    decided = {
        (r.person_id, month_index(r.decision_date))
        for r in parts.dropna(subset=["decision_date"]).itertuples()
    }
    waiting = units[units.arm == 0]
    assert any((r.person_id, r.k) in decided for r in waiting.itertuples())


def test_sampling_keeps_treated_and_weights_add_up(engine):
    tables = random_tables(6, persons=400)
    _, everyone = _units(engine, tables, SPEC)
    sampled_population, sampled = _units(engine, tables, replace(SPEC, max_comparison_per_trial=15))
    assert (sampled.arm > 0).sum() == (everyone.arm > 0).sum()
    assert set(zip(sampled.person, sampled.k)) <= set(zip(everyone.person, everyone.k))
    assert (sampled[sampled.arm > 0].weight == 1).all()
    counts = everyone[everyone.arm == 0].groupby("k").size()
    for k, share in sampled_population.shares.items():
        assert share == pytest.approx(15 / counts[k])
        weight = sampled[(sampled.arm == 0) & (sampled.k == k)].weight
        assert weight.to_numpy() == pytest.approx(1 / share, rel=1e-6)
    total = sampled[sampled.arm == 0].weight.sum()
    assert total == pytest.approx(counts.sum(), rel=0.1)
    _, again = _units(engine, tables, replace(SPEC, max_comparison_per_trial=15))
    pd.testing.assert_frame_equal(sampled, again)
    _, other = _units(engine, tables, replace(SPEC, max_comparison_per_trial=15, seed=2))
    assert set(zip(other.person, other.k)) != set(zip(sampled.person, sampled.k))


def test_engine_and_numpy_draw_the_same(engine):
    rng = np.random.default_rng(0)
    import pyarrow as pa

    person = rng.integers(0, 2_000_000, 500).astype("int32")
    month = rng.integers(24_000, 24_400, 500).astype("int32")
    table = engine.memory_table(pa.table({"person": person, "month": month}), "keys")
    for seed in (1, 2**31 - 1, 20240601 * 2**20 + 5):
        table2 = table.mutate(mark=sampling.person_mark(table.person, seed))
        for purpose in (0, 1):
            got = engine.frame(
                table2.mutate(d=sampling.month_draw(table2.mark, table2.month, purpose))
            )
            expected = sampling.draws(seed, got.person.to_numpy(), got.month.to_numpy(), purpose)
            assert (got.d.to_numpy() == expected).all()
    many = sampling.draws(3, np.repeat(np.arange(2000), 50), np.tile(np.arange(50), 2000)) / 2**32
    assert abs(many.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(many[:-1], many[1:])[0, 1]) < 0.01
    grid = many.reshape(2000, 50)
    assert abs((grid.mean(1) < 0.45).mean() - 0.11) < 0.04  # as independent draws would give


def test_input_errors(engine):
    tables = random_tables(1, persons=60)
    with pytest.raises(InputError, match="not inside the months"):
        _units(engine, tables, replace(SPEC, entry=(FIRST, LAST + 1)))
    with pytest.raises(InputError, match="no units in hoyere_utdanning"):
        _units(engine, tables, replace(SPEC, arms=("amo", "hoyere_utdanning")))
    with pytest.raises(InputError, match="amo"):
        _units(engine, tables, replace(SPEC, arms=("amoo",)))
    with pytest.raises(InputError, match="unknown base state"):
        replace(SPEC, base="jobseker")
