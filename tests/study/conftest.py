"""A small invented register and a study that runs on it in seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tiltakeval.study.run import StudyResult, run_study
from tiltakeval.study.synthesize import synthesize

IDENTIFIERS = 9_000_000_000
SMALL = """
level = "register"
slug = "small"
seed = 7
primary = "now_vs_wait"
covariates = ["lean"]
truth_persons = 20_000
[title]
nb = "Liten studie"
en = "Small study"
[question]
nb = "Hva gjør tiltakene?"
en = "What do the programmes do?"
[population]
entry = ["2016-01", "2019-12"]
horizon = 24
placebo_months = 6
[[base]]
state = "nedsatt_arbeidsevne"
arms = ["aft", "amo"]
[sampling]
comparison_units = 6_000
[[analysis]]
key = "main"
estimator = "aipw_att"
estimands = ["now_vs_wait"]
outcomes = ["work_unsubsidised", "earnings_nok"]
subgroups = ["sex"]
[[for_whom]]
key = "groups"
outcome = "work_unsubsidised"
horizon = 12
least = 20
parts = ["tests", "shrunk", "calibration", "sorted", "classification", "targeting"]
[for_whom.policy]
covariates = ["age", "education", "worked_24"]
depth = 1
[[negative_control]]
key = "at_once"
programme = "aft"
outcome = "work_unsubsidised"
months = [0, 0]
reason = { nb = "Ingen registrerte er i arbeid.", en = "Nobody registered has a job." }
[[negative_control]]
key = "soon"
programme = "aft"
outcome = "earnings_nok"
months = [0, 2]
reason = { nb = "Tiltaket begynner senere.", en = "The programme begins later." }
[[negative_control]]
key = "later"
programme = "aft"
outcome = "earnings_nok"
months = [9, 11]
reason = { nb = "Til prøve.", en = "For a test." }
[[hazard]]
key = "elapsed"
estimator = "grouped_hazard"
covariates = ["sex", "age"]
in_from = [0, 3]
[hazard.options]
rare = "leave_out"
[inference]
draws = 199
[lock_in]
windows = [6, 12, 24]
outcomes = ["work_unsubsidised"]
"""
#: The models that take long, for the tests that are about them.
HAZARDS = """
[[hazard]]
key = "timing"
estimator = "timing_of_events"
persons = 1_500
covariates = ["sex"]
subgroups = ["sex"]
entries = "any"
least_starts = 60
income = true
[hazard.options]
points = "averaged"
months = 12
starts = 1
rare = "leave_out"
[[hazard]]
key = "too_much"
estimator = "timing_of_events"
persons = 1_500
covariates = ["sex", "diagnosis"]
fewest = 0
[hazard.options]
steps = [1, 2, 90, 95]
"""


@pytest.fixture(scope="session")
def register(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("register") / "extract"
    synthesize(folder, persons=8_000, seed=11)
    for path in folder.glob("*.parquet"):  # identifiers that can't be mistaken for a count
        table = pd.read_parquet(path)
        if "person_id" in table.columns:
            table.assign(person_id=table["person_id"] + IDENTIFIERS).to_parquet(path, index=False)
    return folder


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "small"
    folder.mkdir()
    (folder / "study.toml").write_text(SMALL, "utf-8")
    return folder


@pytest.fixture(scope="session")
def small_result(register: Path, small_study: Path) -> StudyResult:
    return run_study(small_study, data=register, progress=False)


@pytest.fixture(scope="session")
def hazard_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "small"
    folder.mkdir()
    (folder / "study.toml").write_text(
        SMALL.replace("[inference]", HAZARDS + "[inference]"), "utf-8"
    )
    return folder


@pytest.fixture(scope="session")
def hazard_result(register: Path, hazard_study: Path) -> StudyResult:
    return run_study(hazard_study, data=register, progress=False)
