"""What holds for every registered estimator."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from invented_designs import make_design, make_durations, make_history
from invented_rollouts import make_doses, make_intensity, make_paths, make_rollout

from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import contrast
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimates.table import schema
from tiltakeval.estimators import ESTIMATORS, build
from tiltakeval.estimators.base import Estimator

OPTIONS = {
    "iv_2sls": {"uptake": "taken", "uptake_horizon": 0},
    "regression": {"errors": "cluster"},
    # by default effects are measured from a mean with squared weights: influence need not add up to zero
    "did_imputation": {"auxiliary_mean": "plain"},
    # nor when each cluster's influence is divided by what its own leverage leaves of it
    "group_time_att": {"divisor": "g_minus_1"},
    "triple_difference": {"divisor": "g_minus_1", "eligible": "eligible=b"},
    **{key: {"divisor": "g_minus_1"} for key in ("switching_att", "dose_response", "intensity")},
    **{key: {"folds": 3} for key in ESTIMATORS if key.startswith("aipw")},
}


def design_for(key: str, n: int = 500, seed: int = 1):
    if ESTIMATORS[key].design == "durations":
        return make_durations(n, seed=seed)
    if ESTIMATORS[key].design == "event_history":
        return make_history(n, seed=seed)
    if ESTIMATORS[key].design == "staggered":
        design = make_rollout(n, seed=seed)
        if key == "triple_difference":
            codes = np.arange(n) % 5 > 1
            half = replace(design.subgroups["sex"], codes=codes.astype(np.int16))
            design = replace(design, subgroups={**design.subgroups, "eligible": half})
        return design
    if ESTIMATORS[key].design == "paths":
        return make_paths(n, seed=seed)
    if ESTIMATORS[key].design == "doses":
        return make_doses(n, seed=seed)
    if ESTIMATORS[key].design == "intensity":
        return make_intensity(n, seed=seed)
    design = make_design(n, seed=seed, missing=key != "iv_2sls", weighted=True)
    if key == "iv_2sls":
        taken = (design.arm > 0) & (np.random.default_rng(0).random(n) < 0.8)
        outcomes = design.outcomes.copy()
        outcomes[:, :, 1] = taken[:, None]
        design = replace(design, outcomes=outcomes, outcome_names=("work", "taken"))
    return design


@pytest.fixture(scope="module", params=list(ESTIMATORS))
def case(request: pytest.FixtureRequest):
    key = request.param
    design = design_for(key)
    estimator = build(key, **OPTIONS.get(key, {}))
    return key, estimator, design, estimator.estimate(design)


def test_it_is_a_frozen_estimator_with_a_docstring(case) -> None:
    key, estimator, _, _ = case
    assert isinstance(estimator, Estimator)
    with pytest.raises(FrozenInstanceError):
        setattr(estimator, fields(estimator)[0].name, None)
    assert type(estimator).__doc__ and ESTIMATORS[key].description


def test_the_table_follows_the_schema_and_says_where_it_comes_from(case) -> None:
    key, _, design, found = case
    assert list(found.table.columns) == list(schema())
    assert (found.table.source.str.endswith(key)).all()
    assert found.table.population.str.startswith(design.population).all()
    assert (found.table.estimand != "").all()
    keys = ["population", "programme", "comparator", "subgroup", "outcome", "horizon", "term"]
    keys += ["period", "cohort"]
    assert not found.table.duplicated(keys).any()


def test_estimates_have_errors_intervals_bands_and_support(case) -> None:
    table = case[3].table
    good = table[table.status == "ok"]
    assert len(good) and good.estimate.notna().all()
    assert (good.std_error >= 0).all() and (good.std_error > 0).mean() > 0.9
    assert ((good.conf_low <= good.estimate) & (good.estimate <= good.conf_high)).all()
    assert (good.n_treated > 0).all() and (good.n_clusters > 1).all()
    banded = good[good.band_low.notna()]
    assert (banded.band_low <= banded.conf_low + 1e-12).all()
    assert len(banded) or not getattr(case[1], "bands", False)


def test_errors_are_those_of_the_influence(case) -> None:
    found = case[3]
    rows = np.flatnonzero(found.influence.covered(len(found)))
    assert rows.tolist() == np.flatnonzero(found.table.status == "ok").tolist()
    z = found.influence.columns(rows)
    np.testing.assert_allclose(found.table.std_error[rows], standard_errors(z), rtol=1e-6)
    np.testing.assert_allclose(z.sum(axis=0), 0, atol=1e-3 * np.abs(z).sum(axis=0).max())


def test_rows_combine(case) -> None:
    found = case[3]
    rows = np.flatnonzero(found.table.status == "ok")[:2]
    gap = contrast(found.take(rows[:1]), found.take(rows[1:2]))
    assert np.isfinite(gap.table.std_error[0])


def test_the_same_input_gives_the_same_numbers(case) -> None:
    _, estimator, design, found = case
    again = estimator.estimate(design)
    assert again.table.equals(found.table)


def test_the_run_and_the_attrition_are_recorded(case) -> None:
    _, estimator, _, found = case
    assert found.run["estimator"] == type(estimator).__name__
    assert set(found.run["options"]) == {f.name for f in fields(estimator)}


def test_the_design_is_not_changed(case) -> None:
    key, estimator, design, _ = case
    before = design_for(key)
    estimator.estimate(design)
    for name in ("arm", "covariates", "weight", "person"):
        if not hasattr(design, name):
            continue
        assert np.array_equal(getattr(design, name), getattr(before, name))
    if hasattr(design, "outcomes"):
        assert np.array_equal(design.outcomes, before.outcomes, equal_nan=True)


def test_small_subgroups_never_become_estimates(case) -> None:
    _, estimator, design, _ = case
    name, group = next(iter(design.subgroups.items()))
    codes = np.full(design.n, 1, dtype=np.int16)
    if hasattr(design, "arm"):
        treated, programme = np.flatnonzero(design.arm == 1), design.arms[1]
    elif hasattr(design, "first"):
        treated, programme = np.flatnonzero(np.isfinite(design.first)), design.programme
    else:
        programme = design.programme[0]
        status = design.covariates[:, design.covariate_names.index(programme)]
        treated = np.unique(design.person[status > 0])
    by_person = not (hasattr(design, "arm") or hasattr(design, "first"))
    few = np.isin(design.person if by_person else np.arange(design.n), treated[:3])
    codes[few] = 0
    cut = replace(design, subgroups={**design.subgroups, name: replace(group, codes=codes)})
    table = estimator.estimate(cut).table
    rows = table[
        (table.subgroup == f"{name}=a")
        & (table.programme == programme)
        & table.term.str.contains("effect|difference|hazard_ratio")
    ]
    assert len(rows) and (rows.status == "not_supported").all() and rows.estimate.isna().all()


def test_unknown_names_are_input_errors() -> None:
    with pytest.raises(InputError, match="aipw_att"):
        build("aipw_at")
    for key in ESTIMATORS:
        with pytest.raises(InputError, match="option"):
            build(key, no_such_option=1)


def test_listing_the_registry_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tiltakeval.estimators import ESTIMATORS; "
        "from tiltakeval.diagnostics import CHECKS; list(ESTIMATORS); list(CHECKS); "
        "bad = {'statsmodels', 'linearmodels', 'lifelines', 'sklearn', 'scipy'} & set(sys.modules);"
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
