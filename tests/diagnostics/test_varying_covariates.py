"""Covariates that move with the programme, or have no value: what the checks say of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tiltakeval.cli import main
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.diagnostics import run_checks
from tiltakeval.diagnostics.varying_covariates import covariates_moved, rows_without_covariates
from tiltakeval.estimators import build
from tiltakeval.study.rollouts import run_rollout
from tiltakeval.study.spec_rollout import RolloutThresholds

PERIODS = np.arange(1, 9)


def rollout(seed: int, *, moved: float = 0.0, n: int = 80) -> StaggeredPanel:
    """A direct effect of 1, and the first covariate (slope 1.5) moved by the programme by ``moved``; the
    second has a slope of 0.5 and is left alone."""
    rng = np.random.default_rng(seed)
    first = np.array([4.0, 6.0, np.inf])[rng.permutation(np.arange(n) % 3)]
    treated = first[:, None] <= PERIODS
    v = rng.standard_normal((n, 8, 2)) + rng.standard_normal((n, 1, 2))
    v[:, :, 0] += moved * treated
    y = rng.standard_normal((n, 1)) + 0.3 * PERIODS + treated + v @ [1.5, 0.5]
    return StaggeredPanel(
        outcomes=(y + rng.standard_normal((n, 8)))[:, :, None],
        outcome_names=("earnings",),
        units=("nok",),
        periods=PERIODS,
        first=first,
        covariates=np.zeros((n, 0)),
        covariate_names=(),
        weight=np.ones(n),
        cluster=np.arange(n),
        subgroups={},
        population="invented",
        varying=v,
        varying_names=("hours", "age"),
    )


def mean(design: StaggeredPanel, **options: object) -> float:
    table = build("did_imputation", bands=False, **options).estimate(design).table
    return float(table[table.term == "effect_overall"].estimate.iloc[0])


@pytest.mark.parametrize("key", ["did_imputation", "two_stage"])
def test_what_covariates_take_from_the_effect_adds_up(key: str) -> None:
    design = rollout(3, moved=0.6)
    found = build(key, bands=False).estimate(design)
    checks = covariates_moved(design=design, estimates=found)
    assert [c.scope["covariate"] for c in checks] == ["hours", "age"]
    assert [c.status for c in checks] == ["failed", "passed"]
    assert all(c.threshold == 0.025 for c in checks)
    slopes = {one["covariate"]: one["slope"] for one in found.run["varying"]["slopes"]}
    taken = sum(slopes[c.scope["covariate"]] * c.message["effect"] for c in checks)
    bare = replace(design, varying=None, varying_names=())
    np.testing.assert_allclose(mean(bare) - mean(design), taken, atol=1e-12)
    assert "takes" in checks[0].message["reasons"][1]


def test_a_covariate_that_the_programme_moves_biases_and_is_found() -> None:
    """The programme's whole effect is 1 + 1.5 x 0.6 = 1.9; held constant, 0.9 of it is gone."""
    held, whole, found = [], [], []
    estimates = build("twfe").estimate(rollout(0))  # checks read only its run
    for seed in range(16):
        design = rollout(seed, moved=0.6, n=150)
        bare = replace(design, varying=None, varying_names=())
        held.append(mean(design))
        whole.append(mean(bare))
        found.append([c.status for c in covariates_moved(design=design, estimates=estimates)])
    assert abs(np.mean(whole) - 1.9) < 0.1
    assert abs(np.mean(held) - 1.0) < 0.1
    assert np.mean([one[0] == "failed" for one in found]) > 0.9


def test_covariates_left_alone_pass_as_often_as_they_should() -> None:
    failed = 0
    estimates = build("twfe").estimate(rollout(0))
    for seed in range(40):
        design = rollout(seed + 100)
        checks = covariates_moved(design=design, estimates=estimates)
        failed += sum(check.status == "failed" for check in checks)
    assert failed <= 8  # 80 checks at 2.5 %: 2 expected


def test_where_it_says_nothing_and_where_it_cannot() -> None:
    design = rollout(1)
    bare = replace(design, varying=None, varying_names=())
    assert covariates_moved(design=bare, estimates=build("twfe").estimate(bare)) == ()
    # taken before the start only: nothing after it enters
    group_time = build("group_time_att", bands=False).estimate(design)
    assert covariates_moved(design=design, estimates=group_time) == ()
    changes = build(
        "group_time_att", bands=False, covariate_changes=True, untouched="set by age"
    ).estimate(design)
    assert len(covariates_moved(design=design, estimates=changes)) == 2
    still = replace(design, varying=design.varying * [1.0, 0.0])
    checks = covariates_moved(design=still, estimates=build("twfe").estimate(still))
    assert [c.status for c in checks] == ["passed", "not_evaluated"]
    assert rows_without_covariates(estimates=build("twfe").estimate(design)) == ()


def test_missing_values_are_counted() -> None:
    design = rollout(1)
    v = design.varying.copy()
    v[0, :3, 0] = v[0, 2:5, 1] = np.nan
    y = design.outcomes.copy()
    y[0, 0] = np.nan
    gaps = replace(design, varying=v, outcomes=y)
    found = build("did_imputation", bands=False).estimate(gaps)
    (check,) = rows_without_covariates(estimates=found)
    assert check.statistic == 4.0
    assert check.message["reasons"] == [
        "3 rows have no value of hours",
        "3 rows have no value of age",
    ]
    keys = {c.key for c in run_checks(design=gaps, estimates=found)}
    assert {"covariates_moved", "rows_without_covariates"} <= keys


def test_from_the_command_line(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    frame = pd.read_csv(shared / "data" / "castle.csv")
    frame.loc[frame.index[:4], "poverty"] = np.nan
    path = tmp_path / "castle.csv"
    frame.to_csv(path, index=False)
    columns = ["unit=sid", "period=year", "treated=post", "outcome=l_homicide"]
    columns += ["varying=unemployrt,poverty,l_income"]
    assert main(["estimate", "two_stage", str(path), "--json", "--set", *columns]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["run"]["varying"]["rows_left_out"] == {"l_homicide": 4}
    moved = [c for c in found["checks"] if c["key"] == "covariates_moved"]
    assert [c["scope"]["covariate"] for c in moved] == ["unemployrt", "poverty", "l_income"]
    assert main(["estimate", "twfe", str(path), "--set", *columns]) == 0
    said = capsys.readouterr().out
    assert "check covariates_moved (covariate poverty): passed" in said
    assert "4 rows have no value of poverty" in said


def test_a_study_tells_the_test_and_no_effect_on_the_covariate() -> None:
    design = rollout(3, moved=0.6)
    _, checks = run_rollout(design, build("did_imputation"), RolloutThresholds())
    moved = [check for check in checks if check.key == "covariates_moved"]
    assert [check.status for check in moved] == ["failed", "passed"]
    assert all(check.message == {} and check.statistic is not None for check in moved)
