"""The command line: what it prints, and that a user never sees a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiltakeval import cli
from tiltakeval.study.sources import read_source


@pytest.fixture(scope="module")
def nsw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nsw") / "nsw.csv"
    read_source("causaldata:nsw_mixtape", path.parent).to_csv(path, index=False)
    return path


def run(*arguments: str) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_one_json_object_and_nothing_else(nsw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(
        *("estimate", "difference_in_means", nsw, "--json"),
        *("--set", "treatment=treat", "outcome=re78"),
    )
    content = json.loads(capsys.readouterr().out)
    assert code == 0
    assert list(content) == ["estimates", "checks", "run"]
    effect = next(row for row in content["estimates"] if row["term"] == "effect")
    assert effect["estimate"] == pytest.approx(1794.34, abs=0.005)
    assert effect["std_error"] == pytest.approx(671.0, abs=0.05)
    assert content["run"]["settings"] == {"treatment": "treat", "outcome": "re78"}


def test_set_can_be_given_twice_and_options_too(
    nsw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(
        *("estimate", "aipw_att", nsw, "--json", "--set", "treatment=treat", "outcome=re78"),
        *("--set", "covariates=age,educ,re75", "folds=3", "seed=4"),
    )
    content = json.loads(capsys.readouterr().out)
    assert code == 0
    assert content["run"]["options"]["folds"] == 3
    assert {check["key"] for check in content["checks"]} >= {"balance", "overlap"}


@pytest.mark.parametrize("ending", ["parquet", "dta"])
def test_other_file_types_give_the_same(
    nsw: Path, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pandas as pd

    frame = pd.read_csv(nsw)
    path = tmp_path / f"nsw.{ending}"
    if ending == "dta":
        frame.to_stata(path, write_index=False)
    else:
        frame.to_parquet(path)
    run(
        "estimate",
        "difference_in_means",
        path,
        "--json",
        "--set",
        "treatment=treat",
        "outcome=re78",
    )
    content = json.loads(capsys.readouterr().out)
    effect = next(row for row in content["estimates"] if row["term"] == "effect")
    assert effect["estimate"] == pytest.approx(1794.34, abs=0.005)


def test_the_table_says_it_is_not_released(nsw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("estimate", "difference_in_means", nsw, "--set", "treatment=treat", "outcome=re78")
    out = capsys.readouterr().out
    assert out.startswith("Working output, not released")
    assert "1,794.34" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rn"], "Did you mean 'run'"),
        (["run", "studies/nothing_of_the_kind"], "there is no study"),
        (["run"], "the following arguments are required: study"),
        (["estimate", "aipw_attt", "FILE", "--set", "a=b"], "Did you mean 'aipw_att'"),
        (["estimate", "aipw_att", "FILE", "--set", "treatment"], "isn't name=value"),
        (["estimate", "aipw_att", "FILE", "--set", "tretment=treat"], "Did you mean 'treatment'"),
        (["estimate", "aipw_att", "FILE", "--set", "treatment=treat"], "outcome must be given"),
        (
            ["estimate", "aipw_att", "FILE", "--set", "treatment=treat", "outcome=re79"],
            "Did you mean 're78'",
        ),
        (
            ["estimate", "aipw_att", "FILE", "--set", "treatment=treat", "outcome=re78", "folds=x"],
            "must be a whole number",
        ),
        (
            ["estimate", "aipw_att", "nothing.csv", "--set", "treatment=a", "outcome=b"],
            "no such file",
        ),
        (
            ["estimate", "aipw_att", "x.sav", "--set", "treatment=a", "outcome=b"],
            "ending in '.sav'",
        ),
        (["check", "nothing_there"], "is not a folder"),
        (["new-study", "Min studie"], "lower-case letters"),
        (["synthesize", "--out", "x", "--persons", "mange"], "invalid int value"),
        (["programmes", "--language", "se"], "invalid choice"),
    ],
)
def test_a_user_error_is_explained_without_a_traceback(
    nsw: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(*[str(nsw) if argument == "FILE" else argument for argument in arguments])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.startswith("tiltakeval: ")
    assert expected in captured.err
    assert "Traceback" not in captured.err


def test_interruption_is_tidy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tiltakeval.study.one_line.list_estimators", stop)
    assert run("estimators") == 130
    assert "stopped" in capsys.readouterr().err


def test_new_study_is_a_valid_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tiltakeval.study.spec import load_spec

    assert run("new-study", "min_studie", "--studies", tmp_path) == 0
    spec, text = load_spec(tmp_path / "min_studie")
    assert spec.slug == "min_studie"
    assert "SLUG" not in text
    capsys.readouterr()
    assert run("new-study", "min_studie", "--studies", tmp_path) == 2
    assert "already a study" in capsys.readouterr().err


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("programmes") == 0
    assert "Arbeidsforberedende trening (AFT)" in capsys.readouterr().out
    assert run("estimators") == 0
    assert "aipw_att: " in capsys.readouterr().out


def test_an_invented_register_passes_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "r"
    assert run("synthesize", "--out", folder, "--persons", "500", "--seed", "3") == 0
    capsys.readouterr()
    assert run("check", folder) == 0
    assert "0 errors" in capsys.readouterr().out
    (folder / "jobs.parquet").unlink()
    assert run("check", folder) == 1
    assert "jobs" in capsys.readouterr().out
