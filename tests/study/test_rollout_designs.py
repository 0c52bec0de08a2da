"""Studies of doses, of treatment that ends and of predicted participation: from file to report."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.design.test_intensity_register import people
from tests.study.rollout_designs import (
    DOSES,
    INTENSITY,
    PATHS,
    SECTIONS,
    analysis,
    doses_rows,
    intensity_rows,
    paths_rows,
    study,
    written,
)
from tiltakeval.design.doses import doses_from_frame
from tiltakeval.design.treatment_paths import TreatmentPaths, paths_from_frame
from tiltakeval.disclosure.release import release_estimates
from tiltakeval.errors import InputError, InputErrors
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators import ESTIMATORS, build
from tiltakeval.report.words import Words
from tiltakeval.study.rollout_cohorts import cohorts_of, large_cohorts, take
from tiltakeval.study.rollout_kinds import KINDS, TOLD_AS
from tiltakeval.study.rollout_register import per_participant
from tiltakeval.study.rollouts import told_run
from tiltakeval.study.run import StudyResult, run_study, write_outputs
from tiltakeval.study.spec import parse_spec
from tiltakeval.study.spec_rollout import StaggeredStudy

SWITCHING = analysis("main", "switching_att")
DOSED = analysis("main", "dose_response")
PREDICTED = analysis("main", "intensity")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("paths")
    return run_study(written(folder, study(PATHS, SWITCHING), paths_rows()), progress=False)


@pytest.fixture(scope="module")
def doses(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("doses")
    text = study(DOSES, DOSED, analysis("plain", "group_time_att", 'base = "universal"'))
    return run_study(written(folder, text, doses_rows()), progress=False)


@pytest.fixture(scope="module")
def intensity(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("intensity")
    text = study(INTENSITY, PREDICTED, analysis("all", "group_time_att", 'base = "universal"'))
    return run_study(written(folder, text, intensity_rows()), progress=False)


def test_every_design_of_differences_in_differences_has_an_entry() -> None:
    designs = {entry.design for key, entry in ESTIMATORS.items() if entry.module.startswith("did.")}
    assert designs == set(KINDS)
    assert set(StaggeredStudy.takes) == set(KINDS)
    for kind in KINDS.values():
        assert callable(kind.load())


@pytest.mark.parametrize("language", ["nb", "en"])
def test_every_estimator_of_roll_outs_says_what_it_estimates_and_assumes(language: str) -> None:
    words = Words(language)
    keys = [key for key, entry in ESTIMATORS.items() if entry.module.startswith("did.")]
    asked = [f"approach.{key}.{part}" for key in keys for part in ("is", "assumes", "source")]
    asked += [f"label.value.{key}" for key in keys]
    for level in TOLD_AS.values():
        asked += [f"estimand.vs_comparison_{level}", f"estimand.level_{level}"]
        asked += [f"label.estimand.vs_comparison_{level}"]
    assert [key for key in asked if not words.has(key)] == []


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (
            study(PATHS, SWITCHING),
            'treatment = "treatment"',
            'first = "x"',
            "the treatment of every",
        ),
        (study(PATHS, SWITCHING), "treatment = ", "treatments = ", "Did you mean 'treatment'"),
        (study(PATHS, SWITCHING), "switching_att", "switching", "unknown estimator 'switching'"),
        (study(PATHS, SWITCHING), "switching_att", "group_time_att", "know when units start"),
        (study(DOSES, DOSED), 'dose = "places"', "", "dose_response needs the dose"),
        (study(DOSES, DOSED), 'unit = "office"', "", "'unit' is missing"),
        (study(INTENSITY, PREDICTED), 'predictors = ["x0", "x1"]', "", "go together"),
        (study(INTENSITY, PREDICTED), "participation", 'predicted = "p"\nparticipation', "twice"),
        (
            study(INTENSITY, PREDICTED),
            'first = "first"',
            'group = "g"\ndate = 4',
            "when units start",
        ),
        (study(SECTIONS, DOSED), 'first = "first"', 'dose = "d"', "nobody is followed"),
        (study(SECTIONS, DOSED), "panel = false", 'unit = "u"\npanel = false', "says nothing"),
        (study(DOSES, DOSED), "seed = 1", "seed = 1\n[checks]\ncrossing_share = 2", "less than 1"),
        (study(DOSES, DOSED), "seed = 1", "seed = 1\n[checks]\nworst_fits = 2", "'worst_fit'"),
    ],
)
def test_what_is_wrong_is_said(text: str, old: str, new: str, said: str) -> None:
    assert old in text
    changed = text.replace(old, new, 1)
    if "[checks]" in new:  # a table ends the top level
        changed = text + new.partition("\n")[2] + "\n"
    with pytest.raises(InputErrors, match=re.escape(said)):
        parse_spec(changed)


def test_a_study_gives_what_the_estimator_does(paths: StudyResult, doses: StudyResult) -> None:
    panel = paths_from_frame(
        paths_rows(), outcome="outcome", unit="office", period="period", treatment="treatment"
    )
    kept, _ = large_cohorts(panel, 5)
    same = build("switching_att", seed=1).estimate(kept).table
    mine = paths.estimates.select(term="effect_by_event_time").table
    want = same[same["term"] == "effect_by_event_time"]
    np.testing.assert_allclose(mine["estimate"], want["estimate"], rtol=1e-12)
    np.testing.assert_allclose(mine["std_error"], want["std_error"], rtol=1e-12)
    dosed = doses_from_frame(
        doses_rows(),
        outcome="outcome",
        unit="office",
        period="period",
        first="first",
        dose="places",
    )
    same = build("dose_response", seed=1).estimate(dosed).table
    mine = doses.estimates.select(analysis="main", term="effect_at_dose").table
    want = same[same["term"] == "effect_at_dose"]
    np.testing.assert_allclose(mine["estimate"], want["estimate"], rtol=1e-12)


def test_each_design_has_its_checks(
    paths: StudyResult, doses: StudyResult, intensity: StudyResult
) -> None:
    found = {check.key: check for check in paths.checks}
    assert found["paths_cross"].status == "passed" and found["paths_cross"].threshold == 0.1
    received = found["treatment_received"].detail
    assert received is not None and received["now"].iloc[0] == 1.0
    assert received["now"].min() < 0.8  # treatment has ended for some
    over = {check.scope.get("over") for check in doses.checks if check.key == "pretrend"}
    assert over == {"event_time", "cohort_and_period", "dose"}
    spread = next(check for check in intensity.checks if check.key == "prediction_spread")
    assert spread.status == "passed" and 0.3 < float(spread.statistic or 0) < 1
    mean = intensity.estimates.select(analysis="main", term="effect_overall").table.iloc[0]
    assert abs(mean["estimate"] - 0.1) < 4 * mean["std_error"]


def test_the_manifest_tells_no_small_counts(paths: StudyResult) -> None:
    run = paths.manifest["analyses"]["main"]
    assert isinstance(run["treatment_received"], int) and "crossing" not in run
    told = told_run(
        {"not_supported": [{"reason": "only 1 unit"}], "kept": [1, 2], "options": {"a": 1}}
    )
    assert told == {"not_supported": 1, "kept": [1, 2], "options": {"a": 1}}


def test_groups_that_change_alike_are_kept_or_left_out_together() -> None:
    panel = paths_from_frame(
        paths_rows(), outcome="outcome", unit="office", period="period", treatment="treatment"
    )
    cohort = cohorts_of(panel)
    assert ((cohort == -1) == ~np.isfinite(panel.first)).all()
    for number in np.unique(cohort[cohort >= 0]):
        inside = cohort == number
        assert np.unique(panel.first[inside]).size == np.unique(panel.baseline[inside]).size == 1
    kept, (check,) = large_cohorts(panel, 5)
    assert isinstance(kept, TreatmentPaths) and kept.n < panel.n and check.statistic
    assert kept.status.shape == (kept.n, panel.periods.size) and kept.until.shape == (kept.n,)
    assert (np.unique(cohorts_of(kept), return_counts=True)[1] >= 5).all()
    assert kept.attrition.steps["units"].tolist()[-1] == kept.n
    assert take(panel, np.ones(panel.n, dtype=bool)).n == panel.n


@pytest.mark.parametrize(
    ("name", "sections", "said"),
    [
        (
            "paths",
            {"approach", "rollout", "event_study", "path", "paths", "cells", "trends", "checks"},
            ["de Chaisemartin", "fra 0 opp", "fra 1 ned", "enn om tiltaket var blitt som det var"],
        ),
        (
            "doses",
            {"approach", "rollout", "event_study", "doses", "cells", "trends", "methods"},
            ["Callaway, Goodman-Bacon", "Plasser per 100", "når dosen er én enhet høyere"],
        ),
        (
            "intensity",
            {"approach", "rollout", "event_study", "cells", "trends"},
            ["Markussen og Røed", "av 100 deltakere", "etter at tiltaket kom", "x0, x1"],
        ),
    ],
)
def test_the_report_tells_each_design(
    request: pytest.FixtureRequest, name: str, sections: set[str], said: list[str], tmp_path: Path
) -> None:
    write_outputs(request.getfixturevalue(name), tmp_path)
    page = (tmp_path / "design/report.nb.html").read_text("utf-8")
    found = set(re.findall(r'<section id="([a-z_]+)"', page))
    assert sections <= found
    plain = re.sub(r"<[^>]+>", "", page)
    assert [text for text in said if text not in plain] == []
    apart = "I arbeid: virkning på dem som deltar"  # participants aren't compared with all units
    assert ("methods" in found) == (name != "paths") and (apart in plain) == (name == "intensity")
    english = re.sub(r"<[^>]+>", "", (tmp_path / "design/report.en.html").read_text("utf-8"))
    for text in (plain, english):
        assert not re.search(r"\b(den første kvartalet|en kvartal|effect_|switching_att)\b", text)
        assert " from 0 up" not in plain


def test_samples_that_nobody_follows_make_a_study(tmp_path: Path) -> None:
    rows = intensity_rows().drop(columns="person")
    text = study(SECTIONS, analysis("main", "group_time_att", 'base = "universal"'))
    result = run_study(written(tmp_path, text, rows), progress=False)
    mean = result.estimates.select(term="effect_overall").table.iloc[0]
    assert mean["status"] == "ok" and mean["n_clusters"] == 48
    write_outputs(result, tmp_path / "out")


def test_triple_differences_and_synthetic_comparisons_make_a_study(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    offices, periods = 30, np.arange(1, 9)
    first = np.array([5, 6, 0])[np.arange(offices) % 3]
    rows = [
        (f"{o}{e}", o, e, t, first[o], 0.4 + 0.01 * t * e + 0.05 * (e and 0 < first[o] <= t))
        for o in range(offices) for e in (0, 1) for t in periods
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["unit", "office", "eligible", "period", "first", "outcome"])
    frame["outcome"] += 0.01 * rng.standard_normal(len(frame))
    columns = 'unit = "unit"\nperiod = "period"\nfirst = "first"\ncluster = "office"\n'
    text = study(
        columns + 'subgroups = { eligible = "eligible" }',
        analysis("main", "triple_difference", 'eligible = "eligible"\ncombine = "size"'),
        analysis("weighed", "synthetic_did"),
    )
    result = run_study(written(tmp_path, text, frame), progress=False)
    mean = result.estimates.select(analysis="main", term="effect_overall", subgroup="all").table
    assert abs(mean["estimate"].iloc[0] - 0.05) < 4 * mean["std_error"].iloc[0]
    keys = {(check.scope.get("analysis"), check.key) for check in result.checks}
    assert ("weighed", "synthetic_fit") in keys
    write_outputs(result, tmp_path / "out")
    page = (tmp_path / "out/design/report.en.html").read_text("utf-8")
    assert "for those the programme is for" in page.replace("\n", " ")
    wrong = text.replace('eligible = "eligible"\ncombine', 'eligible = "eligibel"\ncombine')
    with pytest.raises(InputError, match="Did you mean"):
        run_study(written(tmp_path / "wrong", wrong, frame), progress=False)


def test_a_hidden_group_of_doses_or_direction_hides_the_others() -> None:
    panel = doses_from_frame(
        doses_rows(),
        outcome="outcome",
        unit="office",
        period="period",
        first="first",
        dose="places",
    )
    highest = np.sort(panel.dose)[-3]
    estimates = build("dose_response", bins=(1.5, float(highest) - 1e-9), bands=False).estimate(
        panel
    )
    released = release_estimates(estimates, "nav").table
    bins = released[released["term"] == "effect_by_dose"]
    assert len(bins) == 3 and (bins["status"] == "suppressed").all()
    whole = released[released["term"] == "effect_overall"]
    assert (whole["status"] == "ok").all()
    switching = build("switching_att", bands=False).estimate(
        paths_from_frame(
            paths_rows(), outcome="outcome", unit="office", period="period", treatment="treatment"
        )
    )
    table = switching.table
    down = table["term"] == "effect_overall_down"
    table = table.assign(n_treated=table["n_treated"].mask(down, 2))
    shown = release_estimates(Estimates(table), "nav").table
    sides = shown[shown["term"].isin(["effect_overall_up", "effect_overall_down"])]
    assert len(sides) == 2 and (sides["status"] == "suppressed").all()


def test_castle_as_treatment_that_may_end(shared: Path, tmp_path: Path) -> None:
    """Castle doctrine laws by state: the study gives the published package's first effect."""
    rows = pd.read_csv(shared / "data/castle.csv")[["sid", "year", "post", "l_homicide"]]
    columns = 'unit = "sid"\nperiod = "year"\ntreatment = "post"'
    text = study(columns, SWITCHING).replace("outcome =", "l_homicide =", 1)
    text = text.replace('"quarters"', '"years"').replace('"share"', '"log"', 1)
    text += "\n[checks]\nsmallest_cohort = 1\n"
    result = run_study(written(tmp_path, text, rows), progress=False)
    first = result.estimates.select(term="effect_by_event_time", horizon=0).table.iloc[0]
    assert abs(first["std_error"] - 0.06989493) < 1e-8
    write_outputs(result, tmp_path / "out")


REGISTER = """level = "rollout"
slug = "design"
register = "synthetic:kvp_rollout"
persons = 6000
seed = 3
truth_persons = 1000
[title]
nb = "Tittel"
en = "Title"
[question]
nb = "Hva gjør tiltaket?"
en = "What does it do?"
[rollout]
programme = "kvp"
window = ["2016-01", "2023-12"]
state = "nedsatt_arbeidsevne"
without = ["aap"]
who = "current"
after = 24
predictors = ["sex", "age_band", "sosialhjelp"]
[[analysis]]
key = "participants"
estimator = "intensity"
[[analysis]]
key = "offices"
estimator = "group_time_att"
"""


def test_a_register_gives_the_effect_on_participants(tmp_path: Path) -> None:
    study_file = tmp_path / "study.toml"
    study_file.write_text(REGISTER, "utf-8")
    result = run_study(study_file, work=tmp_path / "work", progress=False)
    table = result.estimates.table
    mine = table[(table["analysis"] == "participants") & (table["term"] == "effect_overall")]
    assert mine["status"].tolist() == ["ok"] and mine["n_clusters"].iloc[0] > 30
    prediction = result.manifest["analyses"]["participants"]["prediction"]
    assert prediction["predictors"] == [
        "sex=male",
        "age_band=30-59",
        "age_band=60-66",
        "sosialhjelp=yes",
    ]
    assert 0 < prediction["mean"] < 0.5
    assert result.truth is not None
    assert set(result.truth.table["term"]) <= {"effect_by_event_time", "effect_overall"}
    assert "profiles_with_eligible" in set(result.attrition.steps["step"])
    write_outputs(result, tmp_path / "out")
    page = (tmp_path / "out/design/report.nb.html").read_text("utf-8")
    assert "Markussen og Røed" in page and "Grupper av like personer ved et kontor" in page
    wrong = REGISTER.replace('predictors = ["sex", "age_band", "sosialhjelp"]\n', "")
    with pytest.raises(InputErrors, match="Say predictors = a list of sex"):
        parse_spec(wrong)
    with pytest.raises(InputErrors, match="Did you mean 'sosialhjelp'"):
        parse_spec(REGISTER.replace('"sosialhjelp"]', '"sosialhjelpp"]'))
    with pytest.raises(InputErrors, match="unknown estimator of roll-outs"):
        parse_spec(REGISTER.replace('"intensity"', '"switching_att"'))


def test_true_effects_are_shared_out_among_participants() -> None:
    table = tidy(
        [
            {"term": "effect_overall", "subgroup": "all", "estimate": 0.02, "std_error": 0.01},
            {"term": "effect", "subgroup": "all", "estimate": 0.02, "std_error": 0.01},
        ]
    )
    found = people()[1]
    found = replace(
        found, took=np.full_like(found.exposed, 1.0), exposed=np.full_like(found.exposed, 4.0)
    )
    (row,) = per_participant(Estimates(table), found).records()
    assert row["term"] == "effect_overall" and abs(row["estimate"] - 0.08) < 1e-12
    assert abs(row["std_error"] - 0.04) < 1e-12
