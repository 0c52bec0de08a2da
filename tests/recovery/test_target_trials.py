"""The target trials find the known effects of a synthetic register; two usual shortcuts do not."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from tiltakeval.design.from_population import design_from_population
from tiltakeval.engine import connect
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.months import parse_month
from tiltakeval.population.censoring import CensoringModel
from tiltakeval.population.naive import time_zero_at_registration, treated_versus_never
from tiltakeval.population.spec import PopulationSpec
from tiltakeval.population.trials import build_population
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import read_registers
from tiltakeval.synthetic.simulate import simulate_tables
from tiltakeval.synthetic.truth import TruthSpec, truth
from tiltakeval.synthetic.world import load_world

PERSONS, SEED, HORIZON = 30_000, 20_261_122, 24
ARMS = ("amo", "lonnstilskudd_midlertidig", "oppfolging", "arbeidstrening")
ENTRY = ("2016-01", "2020-12")
OUTCOME = "work_unsubsidised"
#: Months without a decision that the censoring models see: fewer than by default, to save time.
CENSORING = CensoringModel(max_rows=40_000)
ESTIMANDS = ("now_vs_wait", "vs_no_programme", "vs_without_this_programme")


@pytest.fixture(scope="module")
def known() -> Estimates:
    """The true effects among the register's own units."""
    spec = TruthSpec(
        arms=ARMS,
        base_states=("jobseeker",),
        entry=ENTRY,
        horizon=HORIZON,
        outcomes=(OUTCOME,),
        estimands=ESTIMANDS,
        subgroups=False,
    )
    return truth(load_world(), PERSONS, SEED, spec).select(term="effect")


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Estimates]:
    """Estimates on the same register by the right design and by two wrong ones."""
    folder = tmp_path_factory.mktemp("register")
    for name, table in simulate_tables(load_world(), PERSONS, 120, SEED).items():
        pq.write_table(table, folder / f"{name}.parquet")
    shelf = catalogue.load()
    spec = PopulationSpec(
        base="jobseeker",
        arms=ARMS,
        entry=(parse_month(ENTRY[0]), parse_month(ENTRY[1])),
        estimand="vs_no_programme",
        horizon=HORIZON,
        max_comparison=20_000,
        placebo_months=0,
        seed=1,
    )
    out = {}
    with connect(threads=1) as engine:
        registers = read_registers(folder, engine=engine, catalogue=shelf)
        population = build_population(registers, shelf, spec)
        jobs = {
            **{estimand: (population, estimand) for estimand in ESTIMANDS},
            "never": (treated_versus_never(population), "now_vs_wait"),
            "registration": (time_zero_at_registration(population), "now_vs_wait"),
        }
        for name, (units, estimand) in jobs.items():
            design, _ = design_from_population(
                units, outcomes=(OUTCOME,), estimand=estimand, censoring=CENSORING
            )
            out[name] = AIPW(placebo=False, bands=False).estimate(design).select(term="effect")
    return out


def errors(found: Estimates, known: Estimates, estimand: str, month: int) -> dict[str, float]:
    """Distance from the truth in standard errors, by programme."""
    at = {"outcome": OUTCOME, "horizon": month, "subgroup": "all"}
    left = found.select(**at).table.set_index("programme")
    right = known.select(estimand=estimand, **at).table.set_index("programme")
    gap = left["estimate"] - right["estimate"]
    return (gap / left["std_error"]).to_dict()


@pytest.mark.parametrize("estimand", ESTIMANDS)
@pytest.mark.parametrize("month", [6, 12, 24])
def test_target_trials_find_the_truth_of_their_own_estimand(found, known, estimand, month):
    z = errors(found[estimand], known, estimand, month)
    assert set(z) == set(ARMS)
    assert max(abs(value) for value in z.values()) < 4, z


def test_comparing_with_those_who_never_took_part_is_far_from_either_truth(found, known):
    for estimand in ("now_vs_wait", "vs_no_programme"):
        z = errors(found["never"], known, estimand, 6)
        assert max(z.values()) < -2, z
        assert z["amo"] < -4, z


def test_counting_from_registration_gives_immortal_time(found, known):
    z = errors(found["registration"], known, "now_vs_wait", 6)
    assert max(z.values()) < -10, z
