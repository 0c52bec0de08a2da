"""Roll-outs from registers as panels of offices; and persons' entry, which is no roll-out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.from_population import design_from_population
from tiltakeval.design.rollout_register import composition_of, panel_of, rollout_from_registers
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.diagnostics.rollout import pretrend
from tiltakeval.engine import connect
from tiltakeval.errors import InputError
from tiltakeval.estimators.did.group_time import GroupTimeATT
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.months import parse_month
from tiltakeval.population.rollout import CHARACTERISTICS, office_periods
from tiltakeval.population.rollout_spec import RolloutSpec
from tiltakeval.population.spec import PopulationSpec
from tiltakeval.population.trials import build_population
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import Registers
from tiltakeval.synthetic.simulate import simulate_tables
from tiltakeval.synthetic.world import load_world

CATALOGUE = catalogue.load()
SPEC = RolloutSpec(
    programme="kvp",
    window=(parse_month("2014-01"), parse_month("2018-12")),
    outcomes=("work_unsubsidised", "benefits_total_nok"),
    period="half_year",
)


@pytest.fixture(scope="module")
def engine():
    with connect(threads=1, memory_limit="1GB") as found:
        yield found


def loaded(engine, tables, name):
    found = {k: engine.memory_table(t, f"{name}_{k}") for k, t in tables.items()}
    return Registers(engine, found, fingerprint=name, source="synthetic")


@pytest.fixture(scope="module")
def register(engine):
    return loaded(engine, simulate_tables(load_world("standard"), 6000, 60, 4), "standard")


@pytest.fixture(scope="module")
def sums(register):
    return office_periods(register, CATALOGUE, SPEC)


def test_outcomes_are_means_over_persons_and_weights_their_number(sums):
    panel = panel_of(sums)
    assert panel.monthly is False and panel.label(panel.periods[0]) == "2014-H1"
    assert panel.programme == "kvp" and panel.entry == "office" and panel.cluster_kind == "unit"
    assert panel.units == ("share", "NOK")
    step = 6
    first = sums.starts // step
    used = np.flatnonzero((first > sums.periods[0]) & (sums.counts[:, 0, 0] > 0))
    assert panel.n == used.size > 40
    assert np.array_equal(np.sort(panel.first), np.sort(first[used]))
    order = np.argsort([f"{sums.units[i]}/" for i in used], kind="stable")
    assert np.array_equal(order, np.arange(used.size))
    expected = sums.sums[used, 0] / sums.counts[used, 0][..., None]
    assert np.array_equal(panel.outcomes, expected)
    # the first used start is in the second half of 2014: one period is before it
    assert np.array_equal(panel.weight, sums.counts[used, 0, 0])
    steps = panel.attrition.steps.set_index("step")["units"]
    assert steps["units_with_eligible"] == (sums.counts.sum(axis=(1, 2)) > 0).sum()
    assert steps["not_treated_in_first_period"] == panel.n


def test_the_panel_is_the_same_in_one_call(register, sums):
    one = rollout_from_registers(register, CATALOGUE, SPEC, covariates=("age_years",))
    other = panel_of(sums, covariates=("age_years",))
    assert one.fingerprint == other.fingerprint != panel_of(sums).fingerprint
    assert one.covariate_names == ("age_years",) and 20 < one.covariates.min() < 60
    with pytest.raises(InputError, match="age_years"):
        panel_of(sums, covariates=("age",))


def test_offices_that_start_before_the_group_is_chosen_are_left_out(register):
    late = replace(SPEC, reference=parse_month("2015-06"))
    panel = rollout_from_registers(register, CATALOGUE, late)
    first = parse_month("2015-06") // 6
    assert panel.first.min() >= first
    everybody = office_periods(register, CATALOGUE, late)
    assert (everybody.starts <= parse_month("2015-06")).sum() > 10
    steps = panel.attrition.steps.set_index("step")["units"]
    assert steps["start_after_reference"] == (everybody.starts > parse_month("2015-06")).sum()


def test_small_cells_are_missing_and_split_offices_keep_one_cluster(register):
    spec = replace(SPEC, who="current", split="aap", fewest=40)
    found = office_periods(register, CATALOGUE, spec)
    panel = panel_of(found)
    few = (found.counts > 0) & (found.counts < 40)
    assert few.any() and np.isnan(panel.outcomes).any()
    kept = np.isfinite(panel.outcomes[..., 0]).sum()
    assert kept <= (found.counts >= 40).sum()
    codes = panel.subgroups["aap"].codes
    assert set(np.unique(codes)) == {0, 1}
    both = pd.Series(panel.cluster).groupby(panel.cluster).size()
    assert both.max() == 2 and panel.cluster.max() + 1 < panel.n
    regions = {name: name[:5] for name in found.units}
    assert panel_of(found, clusters=regions).cluster.max() < 10
    with pytest.raises(InputError, match="have no cluster"):
        panel_of(found, clusters={})


def test_composition_is_an_outcome_and_constant_in_a_fixed_group(register, sums):
    panel = composition_of(sums)
    assert panel.outcome_names == CHARACTERISTICS
    assert panel.units[:2] == ("years", "share")
    drift = np.nanmax(np.abs(panel.outcomes - panel.outcomes[:, :1]), axis=(0, 1))
    assert drift[0] < 3 and drift[1] < 0.2  # emigration only
    moving = composition_of(office_periods(register, CATALOGUE, replace(SPEC, who="current")))
    found = GroupTimeATT(bands=False).estimate(moving).table
    rows = found[(found["term"] == "effect_overall") & (found["outcome"] == "age_years")]
    assert abs(rows["estimate"].iloc[0]) < 4 * rows["std_error"].iloc[0]


# --- Persons who enter while out of work are no roll-out ------------------------------------------


@pytest.fixture(scope="module")
def nothing_works():
    """A register in which no programme has any effect on anything."""
    return simulate_tables(load_world("standard").without_effects(), 12_000, 60, 7)


def entries(tables, state):
    """Spells by months since registration (1-24), first treated in the month of the first start."""

    def month(days):
        return pd.to_datetime(days).dt.year * 12 + pd.to_datetime(days).dt.month - 1

    spells = tables["spells"].to_pandas()
    spells["began"] = month(spells["start"])
    inside = spells["began"].between(parse_month("2014-01"), parse_month("2016-06"))
    spells = spells[(spells["state"] == state) & inside].reset_index(drop=True)
    far = pd.Timestamp("2100-01-01").date()
    spells = spells.assign(spell=np.arange(len(spells)), stop=spells["stop"].fillna(far))
    starts = tables["participation"].to_pandas()
    starts = starts[starts["started"]]
    both = spells.merge(starts[["person_id", "start"]], on="person_id", suffixes=("", "_taken"))
    both = both[(both["start_taken"] >= both["start"]) & (both["start_taken"] < both["stop"])]
    first = (month(both["start_taken"]) - both["began"]).groupby(both["spell"]).min()
    jobs = tables["jobs"].to_pandas()
    works = pd.MultiIndex.from_frame(jobs[["person_id", "month"]].drop_duplicates())
    since = np.arange(1, 25)
    long = spells.loc[np.repeat(spells.index, since.size), ["spell", "person_id", "began"]]
    long = long.assign(month=np.tile(since, len(spells)))
    at = pd.MultiIndex.from_arrays([long["person_id"], long["began"] + long["month"]])
    long = long.assign(works=at.isin(works).astype(float), first=long["spell"].map(first))
    return long[long["first"].isna() | (long["first"] > 1)]


def overall(frame, anticipation):
    design = staggered_from_frame(
        frame, unit="spell", period="month", first="first", outcome="works",
        cluster="person_id", entry="person_while_out_of_work", override="to show the bias",
    )  # fmt: skip
    found = GroupTimeATT(bands=False, anticipation=anticipation).estimate(design)
    row = found.table[found.table["term"] == "effect_overall"].iloc[0]
    return row["estimate"], row["std_error"], found


def test_comparing_with_persons_not_yet_in_a_programme_is_biased_where_nothing_works(nothing_works):
    """Participants are out of work until they start; those not yet treated needn't be. From a base a
    year before the start they seem to lose 0.1 to 0.2 in employment, from the month before it, when none
    of them works, jobseekers seem to gain as much. Sequential trials find nothing: the next test."""
    for state, anticipation, low, high in (
        ("nedsatt_arbeidsevne", 12, -0.45, -0.10),
        ("jobseeker", 12, -0.45, -0.05),
        ("jobseeker", 0, 0.10, 0.45),
    ):
        estimate, error, found = overall(entries(nothing_works, state), anticipation)
        assert low < estimate < high, (state, anticipation, estimate)
        assert abs(estimate) > 2 * error
        if anticipation == 0:
            checks = pretrend(estimates=found, window=(-6, -1))
            assert any(c.key == "pretrend" and c.status == "failed" for c in checks)
    frame = entries(nothing_works, "jobseeker")
    with pytest.raises(InputError, match="hangs on still being without a job"):
        staggered_from_frame(
            frame, unit="spell", period="month", first="first", outcome="works",
            entry="person_while_out_of_work",
        )  # fmt: skip


def test_sequential_trials_find_nothing_where_nothing_works(engine, nothing_works):
    register = loaded(engine, nothing_works, "nothing")
    for state, arms in (
        ("nedsatt_arbeidsevne", ("oppfolging", "amo")),
        ("jobseeker", ("amo",)),
    ):
        spec = PopulationSpec(
            base=state, arms=arms, entry=(parse_month("2014-06"), parse_month("2016-12")),
            horizon=12, placebo_months=0, max_comparison=8000,
        )  # fmt: skip
        population = build_population(register, CATALOGUE, spec)
        design, _ = design_from_population(population, outcomes=("work_unsubsidised",))
        table = AIPW(target="att").estimate(design).table
        rows = table[(table["term"] == "effect") & table["horizon"].isin([3, 6, 12])]
        assert len(rows) == 3 * len(arms)
        assert (rows["estimate"].abs() < 3 * rows["std_error"]).all()
        assert rows["estimate"].abs().max() < 0.08
