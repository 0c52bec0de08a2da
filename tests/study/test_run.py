"""A study from its file to its released outputs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates
from tiltakeval.study import manifest
from tiltakeval.study.run import StudyResult, run_study, write_outputs
from tiltakeval.study.synthesize import synthesize

WRITTEN = {
    *("report.nb.html", "report.en.html", "estimates.csv", "attrition.csv", "truth.csv"),
    *("hazards.csv", "for_whom.csv"),
    *("checks.csv", "checks.json", "manifest.json"),
}


@pytest.fixture(scope="module")
def written(small_result: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    write_outputs(small_result, out)
    return out / "small"


def test_every_arm_outcome_month_and_subgroup_is_there(small_result: StudyResult) -> None:
    effects = small_result.estimates.select(term="effect", comparator="none").table
    assert set(effects["population"]) == {"nedsatt_arbeidsevne:att"}
    assert set(effects["estimand"]) == {"now_vs_wait"}
    assert set(effects["study"]) == {"small"}
    assert len(effects) == 2 * 2 * 25 * 3
    assert effects["n_treated"].min() > 0
    assert np.isfinite(effects["std_error"]).all()


def test_lock_in_adds_up_the_months(small_result: StudyResult) -> None:
    where = {"programme": "amo", "outcome": "work_unsubsidised", "subgroup": "all"}
    months = small_result.estimates.select(term="effect", **where).table
    total = small_result.estimates.select(term="cumulated", period="0-12", **where).table
    assert len(total) == 1
    first = months.loc[months["horizon"] <= 12, "estimate"].sum()
    assert total["estimate"].iloc[0] == pytest.approx(first, abs=1e-6)


def test_truth_stands_beside_with_the_same_keys(small_result: StudyResult) -> None:
    assert small_result.synthetic
    assert small_result.truth is not None
    keys = ["population", "estimand", "programme", "subgroup", "outcome", "horizon"]
    found = small_result.estimates.select(term="effect", comparator="none").table
    both = found.merge(small_result.truth.select(term="effect").table, on=keys)
    assert len(both) == len(found)
    where = {"programme": "aft", "outcome": "work_unsubsidised", "subgroup": "all"}
    total = small_result.truth.select(term="cumulated", period="0-24", **where).table
    months = small_result.truth.select(
        term="effect", population=total["population"].item(), **where
    ).table
    assert total["estimate"].tolist() == pytest.approx([months["estimate"].sum()])


def test_checks_carry_the_limits_of_the_study_file(small_result: StudyResult) -> None:
    found = {check.key for check in small_result.checks}
    assert {"balance", "overlap", "placebo_outcomes", "support", "sensitivity"} <= found
    limits = {check.threshold for check in small_result.checks if check.key == "balance"}
    assert limits == {0.1}


def test_only_released_files_are_written(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == WRITTEN
    table = pd.read_csv(written / "estimates.csv")
    counts = table[["n_treated", "n_comparison"]].to_numpy()
    assert not ((counts > 0) & (counts < 4)).any()
    for language in ("nb", "en"):
        page = (written / f"report.{language}.html").read_text("utf-8")
        assert f'<html lang="{language}"' in page
        assert "http://" not in page.replace("http://www.w3.org", "")


def test_no_identifier_is_written(written: Path) -> None:
    for path in written.iterdir():
        text = path.read_text("utf-8")
        assert "person_id" not in text, path.name
        assert not re.search(r"\b90000\d{5}\b", text), path.name


def test_manifest_says_what_was_run_on_what(written: Path, small_result: StudyResult) -> None:
    content = json.loads((written / "manifest.json").read_text("utf-8"))
    assert content["seed"] == 7
    assert content["data"]["fingerprint"] == small_result.manifest["data"]["fingerprint"]
    assert content["versions"]["numpy"] != "not installed"
    assert content["rule_set"]["name"] == "nav"
    assert {"name", "seconds", "peak_mb"} <= set(content["stages"][0])


def test_same_input_same_numbers(
    small_result: StudyResult, register: Path, small_study: Path
) -> None:
    again = run_study(small_study, data=register, progress=False)
    pd.testing.assert_frame_equal(again.estimates.table, small_result.estimates.table)
    assert again.hazards is not None and small_result.hazards is not None
    pd.testing.assert_frame_equal(again.hazards.table, small_result.hazards.table)
    first, second = (manifest.stable(r.manifest) for r in (small_result, again))
    assert first == second


def test_another_seed_other_numbers(
    small_result: StudyResult, register: Path, small_study: Path
) -> None:
    other = run_study(small_study, data=register, seed=8, progress=False)
    assert other.manifest["seed"] == 8
    here, there = (
        r.estimates.select(term="effect").table["estimate"] for r in (small_result, other)
    )
    assert not np.allclose(here, there)


def test_what_was_written_survives_a_failure(
    small_result: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_outputs(small_result, tmp_path)
    before = (tmp_path / "small" / "estimates.csv").read_bytes()
    monkeypatch.setattr(
        "tiltakeval.study.run.as_json", lambda _: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        write_outputs(small_result, tmp_path)
    assert (tmp_path / "small" / "estimates.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_an_extract_with_errors_is_refused(
    register: Path, small_study: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "extract"
    shutil.copytree(register, broken)
    persons = pd.read_parquet(broken / "persons.parquet")
    pd.concat([persons, persons.head(1)]).to_parquet(broken / "persons.parquet", index=False)
    with pytest.raises(InputError) as caught:
        run_study(small_study, data=broken, progress=False)
    assert "persons" in str(caught.value)
    assert str(persons["person_id"].iloc[0]) not in str(caught.value)


def test_data_and_persons_exclude_one_another(register: Path, small_study: Path) -> None:
    with pytest.raises(InputError, match="Leave out --persons or --data"):
        run_study(small_study, data=register, persons=1000, progress=False)


def test_truth_is_written_as_estimates(tmp_path: Path) -> None:
    synthesize(tmp_path / "r", persons=500, truth_persons=2_000)
    known = Estimates.read(tmp_path / "r" / "truth" / "truth.parquet")
    assert known.run["persons"] == 2_000
    assert {"now_vs_wait", "vs_no_programme"} <= set(known.table["estimand"])
    with pytest.raises(InputError, match="something there already"):
        synthesize(tmp_path / "r", persons=500)
