"""Studies of roll-outs: what their file may say, what is refused, and the way to the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.estimators.invented_rollouts import make_rollout
from tiltakeval.design.entry import ENTRIES, check_entry
from tiltakeval.errors import InputError, InputErrors
from tiltakeval.estimators import build
from tiltakeval.study.example_data import example
from tiltakeval.study.new_study import new_study
from tiltakeval.study.one_line import estimate_file
from tiltakeval.study.rollout_cohorts import large_cohorts
from tiltakeval.study.rollouts import common_window, run_rollout
from tiltakeval.study.run import StudyResult, run_study, write_outputs
from tiltakeval.study.spec import parse_spec
from tiltakeval.study.spec_rollout import RolloutThresholds, StaggeredStudy


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("rollout")
    new_study("waves", folder, level="staggered")
    return (folder / "waves/study.toml").read_text("utf-8")


@pytest.fixture(scope="module")
def zones(root: Path) -> StudyResult:
    return run_study(root / "studies/enterprise_zones", progress=False)


def test_the_template_declares_its_limits(text: str) -> None:
    spec = parse_spec(text)
    assert isinstance(spec, StaggeredStudy)
    assert spec.entry == "office" and spec.override is None
    assert spec.checks == RolloutThresholds()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('entry = "office"', 'entry = "offices"', "unknown entry 'offices'"),
        ('entry = "office" ', "# ", "'entry' is missing"),
        ('entry = "office"', 'entry = "person_while_out_of_work"', "hangs on still being without"),
        ('entry = "office"', 'override = "why not"\nentry = "office"', "needs no override"),
        (
            'first = "start"',
            'first = "start"\ntreated = "now"',
            "isn't declared, or declared twice",
        ),
        ('first = "start"', "", "isn't declared, or declared twice"),
        (
            'estimator = "group_time_att"',
            'estimator = "aipw_att"',
            "can't be estimated at the level",
        ),
        ("mbar = [0, 0.5, 1, 1.5, 2]", "mbar = [1, 0.5]", "must be increasing, from 0 up"),
        ("breakdown_mbar = 1 ", "breakdown_mbar = 0 ", "must be greater than 0"),
        ("smallest_cohort = 5", "smallest_cohorts = 5", "Did you mean 'smallest_cohort'"),
        ("pretrend_level = 0.05", "pretrend_level = 5", "must be less than 1"),
        ('programme = "programme"', "programme = 1", "must be text in quotes"),
    ],
)
def test_each_error_gives_one_clear_message(text: str, old: str, new: str, said: str) -> None:
    assert old in text
    with pytest.raises(InputErrors) as caught:
        parse_spec(text.replace(old, new, 1))
    assert said in str(caught.value)
    assert len(caught.value.errors) == 1


def test_errors_are_told_together(text: str) -> None:
    wrong = text.replace('entry = "office"', 'entry = "person_while_out_of_work"', 1)
    wrong = wrong.replace('first = "start"', "", 1).replace("smallest_cohort = 5", "smallest = 5")
    with pytest.raises(InputErrors) as caught:
        parse_spec(wrong)
    assert len(caught.value.errors) == 3


def test_entries_that_hang_on_the_outcome_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "offices.csv"
    example("staggered").to_csv(path, index=False)
    given = {"unit": "office", "period": "month", "first": "start", "outcome": "work"}
    with pytest.raises(InputError, match=r"biased comparison(.|\n)*target trials"):
        estimate_file("group_time_att", path, {**given, "entry": "person_while_out_of_work"})
    with pytest.raises(InputError, match="unknown entry"):
        estimate_file("group_time_att", path, {**given, "entry": "persons"})
    with pytest.raises(InputError, match="no entry is declared"):
        estimate_file("group_time_att", path, {**given, "override": "a reason"})
    found = estimate_file(
        "group_time_att",
        path,
        {
            **given,
            "entry": "person_while_out_of_work",
            "override": "drawn by lot",
            "bands": "false",
        },
    )
    check = next(check for check in found.checks if check.key == "entry_overridden")
    assert check.status == "failed" and check.message == {"reason": "drawn by lot"}
    for entry in ("office", "date", "lot"):
        check_entry(entry, where="here")
    assert set(ENTRIES) == {"office", "date", "lot", "person_while_out_of_work"}


def test_any_panel_enters_the_pipeline() -> None:
    design = replace(make_rollout(300, seed=2), subgroups={}, entry="office")
    limits = RolloutThresholds(mbar=(0, 1), smallest_cohort=2)
    estimates, checks = run_rollout(design, build("group_time_att", base="universal"), limits)
    robust = estimates.table[estimates.table["term"] == "robust_interval"]
    assert robust["period"].tolist() == ["Mbar=0", "Mbar=1", "0-2, Mbar=0", "0-2, Mbar=1"]
    assert common_window(design) == (-2, 2) == estimates.run["trend_window"]
    assert estimates.influence is not None
    covered = estimates.influence.covered(len(estimates))
    assert (covered == (estimates.table["status"] != "reference").to_numpy()).all()
    mean = estimates.select(term="effect_overall").table.iloc[0]
    truth = 0.5 * 3 * (design.first == 4).sum() + 0.3 * 2 * (design.first == 6).sum()
    truth /= np.isfinite(design.first).sum()
    assert abs(mean["estimate"] - truth) < 4 * mean["std_error"]
    assert {"pretrend", "pretrend_power", "robust_to_trends", "few_clusters"} <= {
        check.key for check in checks
    }
    refused = replace(design, entry="person_while_out_of_work")
    with pytest.raises(InputError, match="biased comparison"):
        run_rollout(refused, build("group_time_att"), limits)


def test_small_cohorts_are_left_out_and_counted() -> None:
    design = make_rollout(300, seed=2)
    first = design.first.copy()
    first[np.flatnonzero(first == 6)[3:]] = np.inf
    design = replace(design, first=first)
    kept, (check,) = large_cohorts(design, 5)
    assert kept.n == 297 and set(kept.cohorts) == {4.0}
    assert check.statistic == 1 and check.message == {"cohorts": 2}
    assert kept.attrition.steps["units"].tolist()[-1] == 297
    same, (passed,) = large_cohorts(design, 3)
    assert same is design and passed.status == "passed"
    with pytest.raises(InputError, match="all 2 cohorts have fewer than 500 units"):
        large_cohorts(design, 500)


def test_checks_tell_no_counts_in_words() -> None:
    design = make_rollout(120, seed=3)
    first = design.first.copy()
    first[np.flatnonzero(first == 6)[1:]] = np.inf
    limits = RolloutThresholds(smallest_cohort=1)
    design = replace(design, first=first, subgroups={})
    _, checks = run_rollout(design, build("group_time_att", bands=False), limits)
    check = next(check for check in checks if check.key == "cells_not_supported")
    assert check.message == {"reasons": ["too_few"]} and check.detail is not None
    assert list(check.detail.columns) == ["reason", "cells"]
    assert not any("estimate" in check.message for check in checks)


def test_the_published_figure_is_met(zones: StudyResult) -> None:
    table = zones.estimates.select(term="effect_overall", subgroup="all").table
    mean = table.set_index("analysis")["estimate"]
    assert mean["two_way"] == pytest.approx(-0.104414827, abs=1e-8)
    agreement = [check for check in zones.checks if check.key == "agreement"]
    assert [check.status for check in agreement] == ["passed"]
    assert {"cohort_year", "never_treated", "imputation", "sun_abraham"} <= set(mean.index)
    cohorts = zones.estimates.select(analysis="cohort_year", term="effect_by_cohort").table
    assert dict(zip(cohorts["cohort"], cohorts["n_treated"])) == {"1984": 6, "1985": 4}
    few = {c.status for c in zones.checks if c.key == "few_clusters"}
    assert few == {"failed"}


def test_the_report_says_that_clusters_are_few(zones: StudyResult, tmp_path: Path) -> None:
    write_outputs(zones, tmp_path)
    folder = tmp_path / "enterprise_zones"
    page = (folder / "report.en.html").read_text("utf-8")
    assert "The uncertainty rests on few clusters" in page
    assert "no clear effect" in page and "Textbook, fixed effects" in page
    assert "bygger på få klynger" in (folder / "report.nb.html").read_text("utf-8")
    counts = pd.read_csv(folder / "estimates.csv")[["n_treated", "n_comparison", "n_clusters"]]
    assert not ((counts > 0) & (counts < 4)).any(axis=None)
    assert "Out of range" not in json.dumps(json.loads((folder / "checks.json").read_text("utf-8")))
