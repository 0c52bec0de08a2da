"""The notebooks run, define nothing, are committed bare, and agree with the command line."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from tiltakeval.study.new_study import new_study
from tiltakeval.study.run import StudyResult, run_study

BOOKS = (
    *("studies/nsw_training", "studies/programme_comparison", "studies/jobless_durations"),
    "studies/job_corps",
    *("studies/timing_of_events", "studies/enterprise_zones", "studies/kvp_rollout"),
    "tiltakeval/study/template",
)
#: Appended to a notebook: hands over what it found.
HAND_OVER = "result.estimates.table.to_parquet('found.parquet')"


def execute(folder: Path, hand_over: str = HAND_OVER, **parameters: object) -> pd.DataFrame:
    """Run the notebook in the folder with parameters set; what it hands over as found.parquet."""
    book = nbformat.read(folder / "notebook.ipynb", as_version=4)
    cell = next(c for c in book.cells if "parameters" in c.metadata.get("tags", []))
    cell.source += "\n" + "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    book.cells.append(nbformat.v4.new_code_cell(hand_over))
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return pd.read_parquet(folder / "found.parquet")


def copy_of(source: Path, folder: Path, study: str) -> Path:
    folder.mkdir()
    (folder / "notebook.ipynb").write_text((source / "notebook.ipynb").read_text("utf-8"), "utf-8")
    (folder / "study.toml").write_text(study, "utf-8")
    return folder


@pytest.mark.parametrize("folder", BOOKS)
def test_notebook_is_bare_and_defines_nothing(root: Path, folder: str) -> None:
    book = json.loads((root / folder / "notebook.ipynb").read_text("utf-8"))
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert any("parameters" in cell["metadata"].get("tags", []) for cell in code)
    for cell in code:
        tree = ast.parse("".join(cell["source"]))
        defined = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.AsyncFunctionDef)
        assert not [node for node in ast.walk(tree) if isinstance(node, defined)]


def test_nsw_notebook_agrees_with_the_command_line(root: Path, tmp_path: Path) -> None:
    source = root / "studies/nsw_training"
    text = (source / "study.toml").read_text("utf-8")
    found = execute(copy_of(source, tmp_path / "nsw", text))
    run = run_study(source, progress=False)
    pd.testing.assert_frame_equal(found, run.estimates.table)
    effect = run.estimates.select(term="effect").table.set_index("analysis")
    assert effect.loc["experiment", "estimate"] == pytest.approx(1794.34, abs=0.005)
    assert effect.loc["experiment", "std_error"] == pytest.approx(671.0, abs=0.05)
    assert 1224 <= effect.loc["cps_aipw", "estimate"] <= 1729
    assert effect.loc["cps_difference", "estimate"] == pytest.approx(-8498, abs=1)
    assert all(check.status == "passed" for check in run.checks if check.key == "agreement")


def test_job_corps_notebook_meets_the_published_averages(
    root: Path, shared: Path, tmp_path: Path
) -> None:
    source, data = root / "studies/job_corps", shared / "data/job_corps.csv"
    text = (source / "study.toml").read_text("utf-8")
    found = execute(copy_of(source, tmp_path / "corps", text), data=str(data))
    run = run_study(source, data=data, progress=False)
    pd.testing.assert_frame_equal(found, run.estimates.table)
    assert [c.status for c in run.checks if c.key == "agreement"] == ["passed"] * 6
    assert run.for_whom is not None
    groups = run.for_whom.table
    tests = groups[groups["term"] == "test_equal_effects"].set_index("subgroup")["p_value"]
    assert tests["twenty"] < 0.01 < tests["female"]
    assert not (groups["term"] == "sorted_effect").any()  # predictions don't beat the average


def test_register_notebook_agrees_with_the_command_line(
    root: Path, register: Path, tmp_path: Path
) -> None:
    source = root / "studies/programme_comparison"
    text = (source / "study.toml").read_text("utf-8")
    for pattern, less in (
        (r'"now_vs_wait", "vs_no_programme"\]', '"now_vs_wait"]'),
        (r"(?s)outcomes = \[\n.*?\]", 'outcomes = ["work_unsubsidised"]'),
        (r"(?m)^outcomes = \[\"work_unsubsidised\", .*$", 'outcomes = ["work_unsubsidised"]'),
        (r"subgroups = .*", 'subgroups = ["sex"]'),
        (r"(?s)\[\[base\]\]\nstate = \"jobseeker\".*?\n\n", ""),
        (r"(?s)arms = \[\n.*?\]", 'arms = ["aft", "amo"]'),
        (r"(?s)\[base.conditions.ips\]\n.*?\n", ""),
        (r"(?s)programmes = \[\n.*?\]", 'programmes = ["aft", "amo"]\nleast = 20'),
        (r"horizon = 24\n", 'horizon = 24\nparts = ["tests", "shrunk", "calibration"]\n'),
        (r"(?s)\[\[contrast\]\]\n.*?\n\n", ""),
        (r"(?s)\[\[negative_control\]\]\n.*?\n\n", ""),
        (r"draws = 999", "draws = 199"),
        (r"comparison_units = [\d_]+", "comparison_units = 6_000"),
        (r'covariates = \["standard"\]', 'covariates = ["lean"]'),
        (r"truth_persons = [\d_]+", "truth_persons = 20_000"),
        (r"(?m)^persons = 10_000", "persons = 1_000"),
    ):
        text, count = re.subn(pattern, less, text)
        assert count, pattern
    folder = copy_of(source, tmp_path / "comparison", text)
    found = execute(folder, data=str(register))
    run = run_study(folder, data=register, progress=False)
    pd.testing.assert_frame_equal(found, run.estimates.table)


def test_a_new_study_runs_as_it_comes(tmp_path: Path, register: Path) -> None:
    new_study("fresh", tmp_path)
    result = run_study(tmp_path / "fresh", data=register, progress=False)
    assert isinstance(result, StudyResult)
    effects = result.estimates.select(term="effect").table
    assert set(effects["programme"]) == {"aft"}


def test_the_notebook_of_a_new_study_on_a_file_runs(tmp_path: Path) -> None:
    new_study("fresh", tmp_path, level="durations")
    found = execute(tmp_path / "fresh")
    run = run_study(tmp_path / "fresh", progress=False)
    pd.testing.assert_frame_equal(found, run.estimates.table)


def test_the_notebook_on_timing_of_events_shows_what_it_teaches(root: Path, tmp_path: Path) -> None:
    source = root / "studies/timing_of_events"
    found = execute(
        copy_of(source, tmp_path / "timing", ""),
        "np.exp(mean).assign(certificate=fit.run['certificate']).to_parquet('found.parquet')",
        persons=6_000,
        history_months=84,
        seeds=(1,),
        follow=12,
        steps=(2, 3, 4, 5, 6, 8, 10, 12, 18),  # beyond, three of six thousand begin a programme
    )
    plain, full = found.loc["one point"], found.loc["full"]
    assert list(found.columns) == ["waiting", "in", "after", "certificate"]
    assert plain["after"] < 1 < full["after"]
    assert plain["waiting"] < full["waiting"] and plain["in"] < full["in"]
    assert full["certificate"] < 1e-3


def test_the_notebook_of_a_study_on_a_rollout_agrees_with_the_command_line(
    root: Path, tmp_path: Path
) -> None:
    source = root / "studies/enterprise_zones"
    text = (source / "study.toml").read_text("utf-8")
    found = execute(copy_of(source, tmp_path / "zones", text))
    run = run_study(source, progress=False)
    pd.testing.assert_frame_equal(found, run.estimates.table)


def test_the_notebook_on_kvp_shows_two_way_effects_with_the_wrong_sign(
    root: Path, tmp_path: Path
) -> None:
    source = root / "studies/kvp_rollout"
    found = execute(
        copy_of(source, tmp_path / "kvp", ""),
        "results.to_parquet('found.parquet')",
        persons=12_000,
    )["found"]
    assert found["true mean effect"] > 0 > found["of which the programme"]
    total = found["of which the offices anyway"] + found["of which the programme"]
    assert total == pytest.approx(found["two-way coefficient"])
