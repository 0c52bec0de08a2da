"""Predicted participation from registers: profiles of an office give what its persons give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.intensity import intensity_from_frame
from tiltakeval.design.intensity_register import intensity_of
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimators import build
from tiltakeval.months import parse_month
from tiltakeval.population.rollout import CHARACTERISTICS, OfficePeriods
from tiltakeval.population.rollout_spec import RolloutSpec

SPEC = RolloutSpec(
    programme="kvp",
    window=(parse_month("2016-01"), parse_month("2021-12")),
    period="year",
    predictors=("sex", "age_band"),
)
OFFICES, PERSONS = 30, 900


def people(seed: int = 4) -> tuple[pd.DataFrame, OfficePeriods]:
    """Persons over six years, a row each and year, and the same added up by office and profile. Taking
    part adds 0.2."""
    rng = np.random.default_rng(seed)
    office = rng.integers(0, OFFICES, PERSONS)
    starts = np.array([parse_month("2018-01"), parse_month("2020-01"), np.inf])[
        np.arange(OFFICES) % 3
    ]
    sex, age = rng.integers(0, 2, PERSONS), rng.integers(0, 3, PERSONS)
    chance = 0.1 + 0.3 * sex + 0.15 * age
    came = np.isfinite(starts[office])
    took = came & (rng.random(PERSONS) < chance)
    years = np.arange(2016, 2022)
    on = came[:, None] & (years >= np.where(came, starts[office], 0)[:, None] / 12)
    y = 0.4 + 0.02 * sex[:, None] * (years - 2016) + 0.2 * (on & took[:, None])
    y = y + 0.1 * rng.standard_normal((PERSONS, years.size))
    person, t = np.divmod(np.arange(y.size), years.size)
    frame = pd.DataFrame(
        {
            "person": person,
            "year": years[t],
            "first": np.where(came, starts[office] / 12, 0)[person].astype(int),
            "office": office[person],
            "sex": np.array(["male", "female"])[sex][person],
            "age_band": np.array(["18-29", "30-59", "60-66"])[age][person],
            "took": np.where(came, took, np.nan)[person],
            "y": y.ravel(),
        }
    )
    shape = (OFFICES, 6, years.size)
    counts, sums = np.zeros(shape, dtype=np.int64), np.zeros((*shape, 1))
    exposed, part = np.zeros(shape[:2]), np.zeros(shape[:2])
    level = 3 * sex + age
    np.add.at(counts, (office, level), 12)
    np.add.at(sums, (office, level), 12 * y[:, :, None])
    np.add.at(exposed, (office, level), came)
    np.add.at(part, (office, level), took)
    found = OfficePeriods(
        spec=SPEC,
        units=tuple(f"{i:04d}" for i in range(OFFICES)),
        starts=starts,
        periods=years,
        persons=counts[:, :, 0] // 12,
        counts=counts,
        sums=sums,
        made_of=np.zeros((*shape, len(CHARACTERISTICS))),
        attrition=Attrition(),
        fingerprint="people",
        exposed=exposed,
        took=part,
    )
    return frame, found


def test_profiles_give_the_effects_of_their_persons() -> None:
    frame, found = people()
    persons = intensity_from_frame(
        frame, outcome="y", unit="person", period="year", first="first", cluster="office",
        participation="took", predictors=("sex", "age_band"),
    )  # fmt: skip
    cells = intensity_of(found)
    assert cells.n == (found.persons > 0).sum() and cells.participation is not None
    assert cells.predictor_names == persons.predictor_names
    mine, theirs = (
        build("intensity", divisor="g", bands=False).estimate(design) for design in (cells, persons)
    )
    for name in ("estimate", "std_error"):
        np.testing.assert_allclose(mine.table[name], theirs.table[name], rtol=1e-6)
    np.testing.assert_array_equal(mine.table["n_clusters"], theirs.table["n_clusters"])
    mean = mine.select(term="effect_overall").table.iloc[0]
    assert abs(mean["estimate"] - 0.2) < 4 * mean["std_error"] < 0.4


def test_what_is_lacking_is_said() -> None:
    _, found = people()
    with pytest.raises(InputError, match="needs what participation is predicted from"):
        intensity_of(found.whole())
    nobody = replace(found, took=np.zeros_like(found.exposed))
    with pytest.raises(InputError, match="begins it"):
        intensity_of(nobody)
