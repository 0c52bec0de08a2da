"""Models of hazards in a study on a register: estimates, names, checks, what is released."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tiltakeval.errors import InputErrors
from tiltakeval.study.hazard_rows import named, points_checks
from tiltakeval.study.run import StudyResult, run_study, write_outputs
from tiltakeval.study.spec import parse_spec


@pytest.fixture(scope="module")
def table(hazard_result: StudyResult) -> pd.DataFrame:
    assert hazard_result.hazards is not None
    return hazard_result.hazards.table


def test_ratios_are_named_by_programme_and_time(table: pd.DataFrame) -> None:
    ratios = table[(table.term == "log_hazard_ratio") & (table.analysis == "elapsed")]
    assert {"aft", "amo", "other"} == set(ratios.programme)
    assert {"vedtak", "start", "end"} == set(ratios.time_origin)
    inside = ratios[(ratios.programme == "amo") & (ratios.time_origin == "start")]
    assert set(inside.horizon) <= {0, 3} and set(inside.outcome) == {"job", "other"}
    assert set(table.study) == {"small"} and set(table.population) == {"nedsatt_arbeidsevne"}


def test_months_come_with_subgroups_and_parts_that_add_up(table: pd.DataFrame) -> None:
    sums = table[
        (table.analysis == "timing") & (table.outcome == "job") & (table.subgroup == "all")
    ]
    year = sums[sums.period == "1-12"].set_index(["programme", "term"]).estimate
    for programme in ("aft", "amo"):
        parts = year[programme, "cumulated_lock_in"] + year[programme, "cumulated_after"]
        np.testing.assert_allclose(parts, year[programme, "cumulated"], atol=1e-9)
    assert set(table.estimand[table.term == "cumulated"]) == {"vs_no_programme"}
    by_sex = table[(table.term == "cumulated") & table.subgroup.str.startswith("sex=")]
    assert set(by_sex.subgroup) == {"sex=female", "sex=male"}


def test_months_come_to_kroner_by_the_means_of_the_register(
    hazard_result: StudyResult, table: pd.DataFrame, register: Path
) -> None:
    (check,) = [c for c in hazard_result.checks if c.key == "exit_income"]
    nok = check.detail.set_index("outcome").nok_a_month
    assert nok["job"] > 20_000 and nok["other"] < nok["job"]
    rows = table[(table.term == "effect") & (table.horizon == 12) & (table.programme == "aft")]
    effect = rows.set_index("outcome").estimate
    total = sum(nok[name] * effect[name] for name in ("job", "other", "remaining"))
    np.testing.assert_allclose(effect["income_nok"], total, rtol=0.02)  # amounts shown are rounded


def test_a_model_the_data_cannot_carry_is_a_failed_check(hazard_result: StudyResult, table) -> None:
    checks = {c.scope["analysis"]: c for c in hazard_result.checks if c.key == "hazard_model"}
    assert set(checks) == {"too_much"} and checks["too_much"].status == "failed"
    assert "too_much" not in set(table.analysis)
    # the reason tells rows, which may be few: only where it was is in the check
    assert not any(c.isdigit() for c in str(checks["too_much"].message).replace("[90, 95)", ""))
    points = [c for c in hazard_result.checks if c.key == "mass_points"]
    assert [c.status for c in points] == ["passed"] and points[0].statistic < 1e-3
    assert list(points[0].detail.columns) == ["points", "log_likelihood", "aic", "bic"]


def test_effects_that_hang_on_the_number_of_points_are_a_failed_check() -> None:
    rows = [
        ("aft_in", "points=2", -0.5, 0.2),
        ("aft_in", "points=5", -0.1, 0.2),
        ("aft_after", "points=2", 0.1, 0.2),
        ("aft_after", "points=5", 0.2, 0.2),
    ]
    table = pd.DataFrame(rows, columns=["programme", "period", "estimate", "std_error"]).assign(
        outcome="job", subgroup="all", term="log_hazard_ratio_by_points"
    )
    path = [dict(points=j, log_likelihood=-1.0, aic=2.0, bic=3.0) for j in (2, 5)]
    run = {"path": path, "certificate": 1e-8, "points": 5, "chosen": {"aic": 2}}
    ended, agree = points_checks(table, run, {})
    assert ended.status == "passed"
    assert agree.status == "failed" and agree.statistic == pytest.approx(2.0)
    ended, agree = points_checks(table, {**run, "certificate": None, "chosen": {"aic": 5}}, {})
    assert ended.status == "not_evaluated"
    assert agree.status == "passed" and agree.statistic == 0.0


def test_outputs_show_the_section_and_no_small_cell(
    hazard_result: StudyResult, tmp_path: Path
) -> None:
    write_outputs(hazard_result, tmp_path)
    folder = tmp_path / "small"
    released = pd.read_csv(folder / "hazards.csv")
    counts = released[["n_treated", "n_comparison", "n_events"]]
    assert not ((counts > 0) & (counts < 4)).to_numpy().any()
    runs = json.loads((folder / "manifest.json").read_text())["analyses"]
    assert runs["timing/nedsatt_arbeidsevne"]["points"] >= 1
    assert "path" not in runs["timing/nedsatt_arbeidsevne"]  # effects of statuses, uncontrolled
    for language, words, averaged in (
        ("nb", "Hovedanalysen", "Snitt over antall massepunkter"),
        ("en", "Main analysis", "Averaged over numbers of mass points"),
    ):
        page = (folder / f"report.{language}.html").read_text("utf-8")
        assert 'id="hazards"' in page and words.lower() in page.lower()
        assert averaged in page


def test_joined_bands_keep_their_months() -> None:
    names = ["aft_in_0_2", "lonnstilskudd_midlertidig_after_12_up", "amo_waiting", "age_25_29"]
    names.append("aft_in_4_up")
    frame = pd.DataFrame(
        {"programme": names, "period": ["", "", "", "", "points=3"], "time_origin": "none"}
    ).assign(horizon=pd.array([None] * 5, dtype="Int64"))
    out = named(frame)
    assert out.programme.tolist() == ["aft", "lonnstilskudd_midlertidig", "amo", "age_25_29", "aft"]
    assert out.time_origin.tolist() == ["start", "end", "vedtak", "none", "start"]
    assert out.period.tolist() == ["0-2", "12-", "", "", "points=3"]
    assert out.horizon.tolist()[:3] == [0, 12, 0] and out.horizon.isna().tolist()[3]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('estimator = "grouped_hazard"', 'estimator = "aipw_att"', "no model of hazards"),
        ('key = "timing"', 'key = "main"', "'main' is used twice"),
        ("in_from = [0, 3]", "in_from = [1, 3]", "the first 0"),
        ("months = 12", "", "income is of months of work"),
        ('covariates = ["sex", "age"]', 'covariates = ["sx"]', "Did you mean 'sex'"),
    ],
)
def test_what_a_study_file_may_not_say(hazard_study: Path, old: str, new: str, says: str) -> None:
    text = (hazard_study / "study.toml").read_text("utf-8")
    with pytest.raises(InputErrors, match=says):
        parse_spec(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def page_of_file(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Reports of a study on event histories with a timing-of-events model."""
    rng = np.random.default_rng(4)
    rows = []
    for i in range(900):
        x = rng.standard_normal()  # without a covariate that moves hazards nothing is identified
        pace = np.exp([-0.6 * x, 0.4 * x, 0.0])
        job, entry, end = rng.exponential([12.0, 15.0, 5.0]) * pace
        if min(job, 30) < entry:
            rows.append((i, x, 0, 0, 0.0, min(job, 30), int(job < 30)))
            continue
        rows.append((i, x, 0, 0, 0.0, entry, 2))
        job, stop = rng.exponential(24.0) * pace[0], min(entry + end, 40.0)
        rows.append((i, x, 1, 0, entry, min(entry + job, stop), int(entry + job < stop)))
        if entry + job >= stop and stop < 40:
            after = stop + rng.exponential(9.0) * pace[0]
            rows.append((i, x, 0, 1, stop, min(after, 40), int(after < 40)))
    names = ["id", "x", "aft_in", "aft_after", "start", "stop", "d"]
    folder = tmp_path_factory.mktemp("spells") / "spells"
    folder.mkdir()
    pd.DataFrame(rows, columns=names).to_csv(folder / "rows.csv", index=False)
    (folder / "study.toml").write_text(
        """
level = "event_history"
slug = "spells"
seed = 1
title = { nb = "Prøve", en = "Trial" }
question = { nb = "Hva gjør AFT?", en = "What does AFT do?" }
[[sample]]
key = "all"
parts = [{ source = "rows.csv" }]
[columns]
id = "id"
event = "d"
exits = { 1 = "job", 2 = "programme" }
start = "start"
stop = "stop"
covariates = ["x"]
programme = ["aft_in", "aft_after"]
[[analysis]]
key = "timing"
sample = "all"
estimator = "timing_of_events"
[analysis.options]
months = 12
amounts = { job = 30000 }
""",
        "utf-8",
    )
    result = run_study(folder, progress=False)
    assert "path" not in result.manifest["analyses"]["timing"]
    write_outputs(result, folder / "out")
    out = folder / "out" / "spells"
    return {name: (out / f"report.{name}.html").read_text("utf-8") for name in ("nb", "en")}


def test_a_file_of_event_histories_has_the_section_too(page_of_file: dict[str, str]) -> None:
    page = page_of_file["en"]
    assert 'id="hazards"' in page and 'id="profiles"' not in page
    assert "AFT, in the programme" in page and "since the start" in page
    assert "AFT: while it lasts" in page and "main analysis, in all" not in page
    assert "mean treated" not in page.lower()  # the section says it; no table of raw rows besides
    assert "AFT: mens det varer" in page_of_file["nb"]
