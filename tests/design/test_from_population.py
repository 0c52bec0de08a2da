"""Baseline and outcomes of a population against plain pandas on the same rows."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.population.random_register import FIRST, LAST, load, random_tables
from tiltakeval.design.from_population import design_from_population
from tiltakeval.engine import connect
from tiltakeval.errors import InputError
from tiltakeval.months import month_index
from tiltakeval.population import censoring_model
from tiltakeval.population.censoring import CensoringModel
from tiltakeval.population.exits import EXITS, exits
from tiltakeval.population.features import BLOCKS, SETS, blocks
from tiltakeval.population.naive import time_zero_at_registration, treated_versus_never
from tiltakeval.population.spec import PopulationSpec
from tiltakeval.population.trials import build_population
from tiltakeval.programmes import catalogue
from tiltakeval.registers import prices
from tiltakeval.spells.outcomes import OUTCOMES

CATALOGUE = catalogue.load()
ARMS = ("aft", "amo", "lonnstilskudd_midlertidig")
SPEC = PopulationSpec(
    base="nedsatt_arbeidsevne", arms=ARMS, entry=(2015 * 12, 2017 * 12 + 5), horizon=24,
    placebo_months=6, subgroups=("age_band", "sex", "education", "work_history"),
)  # fmt: skip
CPI = prices.load()


@pytest.fixture(scope="module")
def made():
    with connect(threads=1, memory_limit="500MB") as engine:
        tables = random_tables(21, persons=300)
        population = build_population(load(engine, tables), CATALOGUE, SPEC)
        design, checks = design_from_population(population, outcomes=tuple(OUTCOMES))
        units = engine.frame(population.units.order_by("unit"))
        yield tables, population, design, checks, units


def _given(value):
    return value is not None and not pd.isna(value)


def _job_months(tables):
    """(person, month) -> [any, own, position, pay, own pay] by the matching rule, row by row."""
    parts = tables["participation"]
    paid = []
    for p in parts[parts.programme == "lonnstilskudd_midlertidig"].itertuples():
        if not (p.started and _given(p.start)) or (_given(p.stop) and p.stop <= p.start):
            continue
        stop = LAST + 500 if not _given(p.stop) else month_index(p.stop) - (p.stop.day == 1)
        paid.append((p.person_id, month_index(p.start), stop, p.employer_id))
    found = {}
    for j in tables["jobs"].itertuples():
        subsidised = any(
            person == j.person_id and lo <= j.month <= hi
            and (not _given(employer) or employer == j.employer_id)
            for person, lo, hi, employer in paid
        )  # fmt: skip
        worked = j.position_pct > 0 or j.earnings_nok > 0
        real = j.earnings_nok * CPI.deflator(j.month // 12, 2023)
        row = found.setdefault((j.person_id, j.month), [0, 0, 0.0, 0.0, 0.0])
        row[0] |= worked
        row[1] |= worked and not subsidised
        row[2] += j.position_pct
        row[3] += real
        row[4] += 0 if subsidised else real
    return found


def test_outcomes_month_by_month(made):
    tables, _, design, _, units = made
    jobs = _job_months(tables)
    assert sum(1 for v in jobs.values() if v[0] and not v[1]) > 10  # some months are subsidised
    benefits = tables["benefits"]
    real = benefits.amount_nok * [CPI.deflator(m // 12, 2023) for m in benefits.month]
    paid = benefits.assign(real=real)
    total = paid.groupby(["person_id", "month"]).real.sum().to_dict()
    grade = paid[paid.benefit == "uforetrygd"].groupby(["person_id", "month"]).grade.max().to_dict()
    aap = paid[paid.benefit == "aap"].groupby(["person_id", "month"]).real.sum().to_dict()
    persons = tables["persons"].set_index("person_id")
    name = {n: j for j, n in enumerate(design.outcome_names)}
    rng = np.random.default_rng(0)
    checked = {"gone": 0, "past": 0, "dead": 0}
    for i in rng.choice(len(units), 250, replace=False):
        unit = units.iloc[i]
        facts = persons.loc[unit.person_id]
        emigrated = month_index(facts.emigration_date) if _given(facts.emigration_date) else 10**6
        died = month_index(facts.death_date) if _given(facts.death_date) else 10**6
        for h in range(SPEC.horizon + 1):
            month = unit.k + h
            y = design.outcomes[i, h]
            if month >= emigrated or month > LAST:
                checked["gone"] += 1
                assert np.isnan(y).all()
                continue
            key = (unit.person_id, month)
            row = jobs.get(key, [0, 0, 0, 0, 0])
            if month > died:
                checked["dead"] += 1
                row = [0, 0, 0, 0, 0]
            assert y[name["work_any"]] == row[0]
            assert y[name["work_unsubsidised"]] == row[1]
            assert y[name["full_time"]] == (row[2] >= 81)
            assert y[name["earnings_nok"]] == pytest.approx(row[3], abs=2)
            assert y[name["earnings_unsubsidised_nok"]] == pytest.approx(row[4], abs=2)
            if month <= died:
                assert y[name["benefits_total_nok"]] == pytest.approx(total.get(key, 0), abs=3)
                assert y[name["benefit_aap_nok"]] == pytest.approx(aap.get(key, 0), abs=3)
                assert y[name["uforetrygd_grade"]] == grade.get(key, 0)
    assert checked["gone"] > 0
    assert checked["dead"] > 0
    assert design.units[name["earnings_nok"]] == "NOK"


def test_months_past_the_data_are_missing_not_zero(made):
    tables = made[0]
    cut = SPEC.entry[0] + 10
    tables = {**tables, "last_observed": tables["last_observed"].assign(
        last_month=lambda t: np.where(t.table_name == "jobs", cut, t.last_month))}  # fmt: skip
    with connect(threads=1) as engine:
        again = build_population(load(engine, tables), CATALOGUE, SPEC)
        design, checks = design_from_population(
            again, outcomes=("work_any", "benefits_total_nok", "registered")
        )
        k = engine.frame(again.units.order_by("unit")).k.to_numpy()
    past = k[:, None] + np.arange(SPEC.horizon + 1) > cut
    assert np.isnan(design.outcomes[:, :, 0][past]).all()
    assert np.isfinite(design.outcomes[:, :, 0][~past]).mean() > 0.9
    assert np.isfinite(design.outcomes[:, :, 1][past]).mean() > 0.9
    support = next(c for c in checks if c.key == "months_observed").detail
    late = support[(support.table == "jobs") & (support.horizon == SPEC.horizon)]
    assert late.observed.sum() == 0


def test_registered_and_education_entry(made):
    tables, _, design, _, units = made
    name = {n: j for j, n in enumerate(design.outcome_names)}
    registered = design.outcomes[:, :, name["registered"]]
    assert (registered[:, 0] == 1).all()
    spells, persons = tables["spells"], tables["persons"].set_index("person_id")
    for i in range(0, len(units), 25):
        mine = spells[spells.person_id == units.person_id[i]]
        death = persons.death_date[units.person_id[i]]
        died = month_index(death) if _given(death) else 10**6
        for h in range(0, 25, 4):
            month = units.k[i] + h
            if np.isnan(registered[i, h]) or month > died:
                continue
            inside = any(
                month_index(s.start) <= month
                and (not _given(s.stop) or (s.stop > s.start and month_index(s.stop) > month))
                for s in mine.itertuples()
            )
            assert registered[i, h] == inside
    entry = design.outcomes[:, :, name["education_entry"]]
    assert (np.diff(np.nan_to_num(entry, nan=1.0), axis=1) >= 0).all()


def test_history_is_strictly_before_time_zero(made):
    tables, _, design, _, units = made
    jobs = _job_months(tables)
    x = {n: design.covariates[:, j] for j, n in enumerate(design.covariate_names)}
    benefits = tables["benefits"]
    has = set(benefits[benefits.benefit == "aap"][["person_id", "month"]].itertuples(index=False))
    has = {tuple(row) for row in has}
    births = tables["persons"].set_index("person_id").birth_date
    for i in range(0, len(units), 7):
        person, k = units.person_id[i], units.k[i]
        for w in (3, 6, 12, 24):
            own = sum(jobs.get((person, m), [0, 0])[1] for m in range(k - w, k))
            assert x[f"worked_{w}"][i] == pytest.approx(own / w)
        pay = sum(jobs.get((person, m), [0, 0, 0, 0])[3] for m in range(k - 12, k))
        assert x["earnings_12"][i] * 100_000 == pytest.approx(pay, abs=15)
        assert x["aap_12"][i] * 12 == pytest.approx(
            sum((person, m) in has for m in range(k - 12, k))
        )
        assert x["age"][i] * 12 == pytest.approx(k - month_index(births[person]))
        assert x["registered_years"][i] * 12 == pytest.approx(k - units.spell_from[i])


def test_programme_history(made):
    tables, population, _, _, units = made
    from tiltakeval.population.covariates import programme_history

    got = population.work.engine.frame(programme_history(population.work, population.units))
    got = got.set_index("unit").reindex(range(len(units)))
    parts = tables["participation"]
    seen = 0
    for i in range(0, len(units), 5):
        k = units.k[i]
        ends = []
        for p in parts[parts.person_id == units.person_id[i]].itertuples():
            begun = p.started and _given(p.start) and (not _given(p.stop) or p.stop > p.start)
            if begun and month_index(p.start) < k and _given(p.stop):
                decided = p.decision_date if _given(p.decision_date) else p.start
                end = month_index(p.stop) - (p.stop.day == 1)
                if end < k and month_index(decided) < k:
                    ends.append(end)
        since = got.months_since_end[i]
        if ends:
            seen += 1
            assert since == k - max(ends)
            assert got.programmes_24[i] == sum(e >= k - 24 for e in ends)
        else:
            assert np.isnan(since) or since == -1
    assert seen > 10


def test_placebo_design_and_subgroups(made):
    tables, _, design, checks, units = made
    jobs = _job_months(tables)
    months = range(-30, -24)  # before the 24 months the covariates look back on
    assert design.placebo_horizons == tuple(months)
    assert "education_entry" not in design.placebo_names
    j = design.placebo_names.index("work_unsubsidised")
    for i in range(0, len(units), 11):
        expected = [jobs.get((units.person_id[i], units.k[i] + h), [0, 0])[1] for h in months]
        got = design.placebo[i, :, j]
        assert np.allclose(got[~np.isnan(got)], np.array(expected)[~np.isnan(got)])
    assert design.arms == ("none", *ARMS)
    assert set(design.subgroups) == set(SPEC.subgroups)
    assert design.subgroups["age_band"].levels == ("18-29", "30-59", "60-66")
    assert np.array_equal(np.diff(design.person) > 0, np.diff(units.person) > 0)
    assert design.eligible[np.arange(design.n), design.arm].all()
    before_2016 = units.k < 2016 * 12
    assert not design.eligible[before_2016.to_numpy(), 1].any()  # AFT began in 2016
    dropped = next(c for c in checks if c.key == "covariates").message["dropped_constant"]
    assert "sykepenger_12" in dropped
    assert design.fingerprint


def test_same_input_same_numbers_whatever_the_threads(made):
    tables, _, design, _, _ = made
    with connect(threads=3) as engine:
        again, _ = design_from_population(
            build_population(load(engine, tables), CATALOGUE, SPEC), outcomes=tuple(OUTCOMES)
        )
    assert again.fingerprint == design.fingerprint
    np.testing.assert_array_equal(again.covariates, design.covariates)


def test_censoring_weights_follow_decisions(made):
    tables, population, _, _, units = made
    design, checks = design_from_population(
        population, outcomes=("work_any",), covariates="demographic", estimand="vs_no_programme",
        censoring=CensoringModel(covariates=("sex", "registered"), least_events=5, cap=None,
                                 groups=0),
    )  # fmt: skip
    weights = design.censor_weight[:, :, 0]
    assert (design.censor_weight[:, :, 1] == weights).all()
    assert (weights[design.arm > 0] == 1).all()
    parts = tables["participation"]
    decided = {}
    for p in parts.itertuples():
        day = p.decision_date if _given(p.decision_date) else p.start
        if _given(day):
            decided.setdefault(p.person_id, []).append(month_index(day))
    for i in np.flatnonzero(design.arm == 0)[::9]:
        after = [m for m in decided.get(units.person_id[i], []) if m > units.k[i]]
        ends = min(after) - units.k[i] if after else 99
        alive = weights[i] > 0
        assert alive.tolist() == [h < ends for h in range(SPEC.horizon + 1)]
        assert (np.diff(weights[i][alive]) >= -1e-6).all()
    assert weights[design.arm == 0, 0] == pytest.approx(1.0)
    # those who remain stand for everybody: the mean weight stays near one
    assert weights[design.arm == 0].mean(axis=0)[[6, 12]] == pytest.approx(1.0, abs=0.15)
    keys = {c.key for c in checks}
    assert {"censoring_model", "censoring_weights"} <= keys


def test_the_censoring_model_is_fitted_once_to_the_same_months(made, monkeypatch):
    population = made[1]
    fits = []
    plain = censoring_model._logit
    monkeypatch.setattr(censoring_model, "_FITTED", OrderedDict())
    monkeypatch.setattr(censoring_model, "_logit", lambda *a: fits.append(1) or plain(*a))

    def design(ridge: float):
        return design_from_population(
            population, outcomes=("work_any",), covariates="demographic",
            estimand="vs_no_programme", placebo_months=0,
            censoring=CensoringModel(covariates=("sex",), least_events=5, ridge=ridge),
        )[0]  # fmt: skip

    first, again = design(1e-3), design(1e-3)
    once = len(fits)
    assert once > 0
    np.testing.assert_array_equal(first.censor_weight, again.censor_weight)
    design(1.0)
    assert len(fits) == 2 * once


def test_censoring_by_constant_share_has_the_closed_form(made):
    population = made[1]
    design, _ = design_from_population(
        population, outcomes=("work_any", "registered"), covariates=("sex",), placebo_months=0,
        estimand="vs_no_programme",
        censoring=CensoringModel(covariates=("sex",), least_events=10**9, cap=None, groups=0),
    )  # fmt: skip
    one = design.censor_weight[:, :, 0]
    stays = (design.outcomes[:, :, 1] == 1).all(axis=1) & (one[:, -1] > 0) & (design.arm == 0)
    # registered throughout in one spell and nobody else's event: a power of 1 / (1 - p)
    steps = np.diff(np.log(one[stays]), axis=1)
    assert stays.sum() > 5
    positive = steps[steps > 1e-9]
    assert len(np.unique(np.round(positive, 5))) <= 2  # one share per base state


def test_without_this_programme_only_the_same_programme_censors(made):
    tables, population, _, _, units = made
    design, _ = design_from_population(
        population, outcomes=("work_any",), covariates=("sex",),
        estimand="vs_without_this_programme",
        censoring=CensoringModel(covariates=("sex", "registered", "in_programme"), least_events=5),
    )  # fmt: skip
    parts = tables["participation"]
    for code, arm in enumerate(design.arms[1:], start=1):
        mine = parts[parts.programme == arm]
        decided = {}
        for p in mine.itertuples():
            day = p.decision_date if _given(p.decision_date) else p.start
            if _given(day):
                decided.setdefault(p.person_id, []).append(month_index(day))
        for i in np.flatnonzero(design.arm == 0)[::13]:
            after = [m for m in decided.get(units.person_id[i], []) if m > units.k[i]]
            ends = min(after) - units.k[i] if after else 99
            alive = design.censor_weight[i, :, code] > 0
            assert alive.tolist() == [h < ends for h in range(SPEC.horizon + 1)]


def test_exits_agree_with_registration(made):
    _, population, _, _, units = made
    found = exits(population)
    segments = population.work.engine.frame(population.work.segments)
    ends = segments[segments.state == SPEC.base].groupby(["person_id", "spell_no"]).spell_to.max()
    left = units.set_index(["person_id", "spell_no"]).index.map(ends).to_numpy() + 1
    censored = left > LAST
    assert ((found.exit == 0) == censored).all()
    expected = np.maximum(np.minimum(left, LAST) - units.k, 1)
    assert (found.duration == expected).all()
    assert found.indicator("job").sum() > 0
    assert found.indicator("other_state").sum() > 0
    assert set(found.exit) <= set(range(len(EXITS)))


def test_naive_populations(made):
    _, population, _, _, units = made
    never = treated_versus_never(population)
    design, _ = design_from_population(never, outcomes=("work_any",), covariates="demographic")
    assert (design.arm > 0).sum() == (units.arm > 0).sum()
    assert 0 < (design.arm == 0).sum() < (units.arm == 0).sum()
    late = time_zero_at_registration(population, within_months=12)
    design, _ = design_from_population(late, outcomes=("registered",), covariates="demographic")
    assert (design.arm > 0).any()
    mean = [np.nanmean(design.outcomes[design.arm == a, 1:4, 0]) for a in (0, 1, 2, 3)]
    assert max(mean[1:]) > mean[0]  # the treated had to stay until their decision


def test_names_are_checked(made):
    _, population, _, _, _ = made
    for options, match in (
        ({"outcomes": ("work_uns",)}, "unknown outcome"),
        ({"covariates": ("standrd",)}, "Did you mean 'standard'"),
        ({"subgroups": ("gender",)}, "unknown subgroup"),
        ({"outcomes": ()}, "no outcomes"),
    ):
        with pytest.raises(InputError, match=match):
            design_from_population(population, **options)
    assert blocks("demographic") == SETS["demographic"]
    assert blocks(["lean", "year"])[0] == "age"
    assert set(SETS["standard"]) <= set(BLOCKS)
    assert SPEC.entry[0] > FIRST
    assert replace(SPEC, max_comparison=300).cap == 10
