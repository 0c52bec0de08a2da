"""The smaller parts of running a study."""

from __future__ import annotations

import runpy
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from tiltakeval.errors import InputError
from tiltakeval.study import one_line, sources
from tiltakeval.study.folders import swapped
from tiltakeval.study.stages import Stages
from tiltakeval.study.wording import columns_added


def test_reference_pages_are_up_to_date(root: Path) -> None:
    pages = runpy.run_path(str(root / "docs" / "generate.py"))["pages"]()
    for name, page in pages.items():
        assert (root / "docs" / name).read_text("utf-8") == page, f"run make docs: {name}"


def test_compare_reads_a_column_an_operator_and_a_value() -> None:
    frame = pd.DataFrame({"a": [0, 1, 2], "b": ["x", "y", "x"]})
    assert sources.compare(frame, "a >= 1", where="here").tolist() == [False, True, True]
    assert sources.compare(frame, "b == 'x'", where="here").tolist() == [True, False, True]


@pytest.mark.parametrize("text", ["a", "a == b", "__import__('os')", "a = 1", "a == 1; b"])
def test_compare_refuses_anything_else(text: str) -> None:
    with pytest.raises(InputError, match="isn't a comparison"):
        sources.compare(pd.DataFrame({"a": [1]}), text, where="here")


def test_unknown_source_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'causaldata:nsw_mixtape'"):
        sources.read_source("causaldata:nsw_mixtap", Path())


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("0.5", float | None, 0.5),
        ("none", float | None, None),
        ("true", bool, True),
        ("1,2", int | tuple[int, ...], (1, 2)),
        ("1", int | tuple[int, ...], 1),
        ("10", Sequence[int], (10,)),
        ("10", tuple[int, ...] | None, (10,)),
        ("none", tuple[int, ...] | None, None),
        ("0.5, 1", Sequence[float] | None, (0.5, 1.0)),
        ("1,2", Sequence[str] | str, ("1", "2")),
        ("job", Sequence[str], ("job",)),
        ("", Sequence[str], ()),
        ("forest", str, "forest"),
    ],
)
def test_option_values_take_the_annotated_type(text: str, hint: object, value: object) -> None:
    assert one_line.option_value(text, hint, where="option") == value


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"a;b\n1;2\n", "separated by semicolons"),
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"a,\xe6\n1,2\n", "isn't UTF-8"),
        ("a.csv.gz", b"a,b\n1,2\n", "can't be read as .csv.gz"),
        ("a.xlsx", b"", "ending in '.xlsx'"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        sources.read_frame(path)


def test_a_packed_csv_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    frame.to_csv(tmp_path / "a.csv.gz", index=False)
    pd.testing.assert_frame_equal(sources.read_frame(tmp_path / "a.csv.gz"), frame)


def test_swapped_keeps_the_old_folder_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with swapped(target) as folder:
        (folder / "a.txt").write_text("one")
        assert not target.exists()
    with pytest.raises(FileNotFoundError), swapped(target) as folder:
        (folder / "missing" / "a.txt").write_text("two")
    assert (target / "a.txt").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't write there"), swapped(tmp_path / "file" / "out"):
        pass


def test_stages_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages()
    with stages.stage("wait"):
        time.sleep(0.02)
    assert stages.done[0].name == "wait"
    assert stages.done[0].seconds >= 0.02
    assert stages.done[0].peak_mb > 1
    captured = capsys.readouterr()
    assert captured.err.endswith("wait\n")
    assert captured.out == ""


def test_columns_added_are_told_for_analyses_that_can_add_them():
    could = {"covariates": 60, "columns_in_models": 63, "options": {"basis": "products"}}
    none = {**could, "columns_in_models": 60}
    other = {**could, "options": {"basis": "linear"}}
    assert columns_added({"a": could, "b": none, "c": other}) == {"columns_added": [0, 3]}
    assert columns_added({"a": could}) == {"columns_added": [3]}
    assert columns_added({"c": other, "d": {"options": {}}}) == {}
