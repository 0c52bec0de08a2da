"""The row of the event time all effects are measured from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented_rollouts import as_paths, make_doses, make_intensity, make_paths, make_rollout

from tiltakeval.diagnostics.honest.series import series_of
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.estimates.combine import contrast
from tiltakeval.estimators import build

WITH = (
    ("group_time_att", {"base": "universal"}, -1),
    ("group_time_att", {"base": "universal", "anticipation": 1}, -2),
    ("triple_difference", {"base": "universal", "eligible": "sex=a"}, -1),
    ("sun_abraham", {}, -1),
    ("etwfe", {"comparison": "never"}, -1),
    ("stacked", {}, -1),
    ("stacked", {"weights": "regression"}, -1),
    ("twfe_event_study", {}, -1),
    ("twfe_event_study", {"reference": -3}, -3),
)
WITHOUT = (
    ("group_time_att", {}),
    ("etwfe", {}),
    ("did_imputation", {}),
    ("twfe", {}),
    ("group_time_att", {"base": "universal", "earliest": 0}),
)


@pytest.mark.parametrize(("key", "options", "event"), WITH)
def test_the_reference_is_a_row_of_its_own(key: str, options: dict, event: int) -> None:
    design = make_rollout(150, seed=3)
    found = build(key, **options).estimate(design)
    rows = found.select(status="reference").table
    levels = ["all"] if key == "triple_difference" else ["all", "sex=a", "sex=b"]
    assert rows["subgroup"].tolist() == levels
    assert (rows["horizon"] == event).all() and (rows["term"] == "effect_by_event_time").all()
    assert (rows["estimate"] == 0).all()
    for name in ("std_error", "conf_low", "p_value", "band_low", "n_treated"):
        assert rows[name].isna().all()
    events = found.select(term="effect_by_event_time", subgroup="all").table["horizon"]
    assert events.is_monotonic_increasing and events.is_unique
    # nothing counts it as an estimate
    mean = found.select(term="effect_over_event_times", subgroup="all").table["estimate"].iloc[0]
    after = found.select(term="effect_by_event_time", subgroup="all").table
    np.testing.assert_allclose(mean, after["estimate"][after["horizon"] >= 0].mean())
    tests = [c for c in rollout(estimates=found) if c.key == "pretrend" and c.detail is not None]
    assert tests and all((c.detail["estimate"] != 0).all() for c in tests)
    if key == "group_time_att":
        assert event not in next(series_of(found)).horizons


@pytest.mark.parametrize(("key", "options"), WITHOUT)
def test_there_is_none_without_one_base_or_where_nobody_looks(key: str, options: dict) -> None:
    found = build(key, **options).estimate(make_rollout(150, seed=3))
    assert not (found.table["status"] == "reference").any()


def test_cohorts_with_bases_at_different_event_times_have_no_common_reference() -> None:
    design = replace(make_rollout(150, seed=3), subgroups={})
    keep = design.periods != 5  # the cohort of period 6 then is measured from 4
    short = replace(design, outcomes=design.outcomes[:, keep], periods=design.periods[keep])
    found = build("group_time_att", base="universal").estimate(short)
    assert not (found.table["status"] == "reference").any()


@pytest.mark.parametrize("inference", ["jackknife", "bootstrap_t", "permutation", "cr2", "wild"])
def test_other_inference_leaves_it_alone(inference: str) -> None:
    design = replace(make_rollout(40, seed=3, clusters=9), subgroups={})
    key = "twfe_event_study" if inference in ("cr2", "wild") else "sun_abraham"
    more = {} if inference in ("jackknife", "cr2") else {"replications": 99}
    found = build(key, inference=inference, bands=False, **more).estimate(design)
    row = found.select(status="reference").table.iloc[0]
    assert row.estimate == 0 and np.isnan(row.std_error) and np.isnan(row.p_value)


def test_a_contrast_of_references_is_zero_without_error() -> None:
    found = build("group_time_att", base="universal", bands=False).estimate(
        make_rollout(150, seed=3)
    )
    sides = [
        found.select(term="effect_by_event_time", subgroup=level) for level in ("sex=a", "sex=b")
    ]
    gap = contrast(*sides).table
    at = gap["horizon"] == -1
    assert gap["estimate"][at].tolist() == [0.0] and (gap["std_error"][at] == 0).all()
    assert (gap["std_error"][~at] > 0).all()


PATHS = ("effect_by_event_time", "effect_per_treatment_by_event_time")
DOSES = ("effect_by_event_time", "slope_linear_by_event_time")


@pytest.mark.parametrize(
    ("key", "options", "event", "terms"),
    [
        ("switching_att", {}, -1, PATHS),
        ("switching_att", {"anticipation": 1}, -2, PATHS),
        ("dose_response", {}, -1, DOSES),
        ("intensity", {}, -1, DOSES[:1]),
        ("intensity", {"anticipation": 1}, -2, DOSES[:1]),
        ("intensity", {"method": "two_way"}, -1, DOSES[:1]),
    ],
)
def test_other_designs_have_the_row_in_every_series(
    key: str, options: dict, event: int, terms: tuple[str, ...]
) -> None:
    makers = {
        "switching_att": lambda: as_paths(make_rollout(150, seed=3)),
        "dose_response": lambda: make_doses(400, seed=3),
        "intensity": lambda: make_intensity(600, seed=3),
    }
    found = build(key, **options).estimate(makers[key]())
    rows = found.select(status="reference").table
    assert (rows["horizon"] == event).all() and (rows["estimate"] == 0).all()
    for name in ("std_error", "conf_low", "p_value", "band_low", "n_treated"):
        assert rows[name].isna().all()
    levels = found.table["subgroup"].unique()
    for term in terms:
        assert set(rows["subgroup"][rows["term"] == term]) == set(levels)
        for level in levels:
            series = found.select(term=term, subgroup=level).table
            assert series["horizon"].is_monotonic_increasing and series["horizon"].is_unique
            assert series["unit"].nunique() == 1
    if key == "dose_response":
        bins = found.select(term="effect_by_dose", subgroup="all").table["cohort"]
        by_bin = rows[
            (rows["term"] == "effect_by_dose_and_event_time") & (rows["subgroup"] == "all")
        ]
        assert by_bin["cohort"].tolist() == bins.tolist()


def test_directions_have_their_own_and_a_gap_takes_it_away() -> None:
    design = make_paths(200, seed=4)
    rows = build("switching_att").estimate(design).select(status="reference").table
    assert {"effect_by_event_time_up", "effect_by_event_time_down"} <= set(rows["term"])
    panel = replace(make_rollout(150, seed=3), subgroups={})
    keep = panel.periods != 5  # those who start in 6 then are measured from 4
    short = as_paths(replace(panel, outcomes=panel.outcomes[:, keep], periods=panel.periods[keep]))
    found = build("switching_att").estimate(short)
    assert not (found.table["status"] == "reference").any()
