"""One declaration validates, documents and invents the tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiltakeval.errors import InputError, InputErrors
from tiltakeval.registers import schema
from tiltakeval.registers.document import markdown
from tiltakeval.registers.invented import invent


def test_every_column_is_declared_in_full() -> None:
    loaded = schema.load()
    assert set(loaded.required) == {
        "persons", "residence", "education", "spells", "participation", "jobs", "benefits",
        "offices", "last_observed",
    }  # fmt: skip
    for table in loaded.tables.values():
        assert table.key
        for column in table.columns.values():
            assert column.meaning.endswith("."), (table.name, column.name)
    assert loaded["spells"].columns["diagnosis_group"].sensitivity == "health"
    assert loaded["spells"].period == ("start", "stop")
    assert loaded["residence"].period == ("from_date", "to_date")
    assert loaded["jobs"].period is None


def test_unknown_table() -> None:
    with pytest.raises(InputError, match="Did you mean 'persons'"):
        schema.load()["person"]


def test_faults_of_a_declaration_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(
        '[a]\nmeaning = "x"\nkey = ["b", "z"]\n[a.columns]\n'
        'b = { type = "int46", sensitivity = "secret", meaning = "." }\n'
    )
    with pytest.raises(InputErrors) as caught:
        schema.load(path)
    text = str(caught.value)
    assert "unknown key column 'z'" in text
    assert "Did you mean 'int64'" in text
    assert "unknown sensitivity 'secret'" in text


def test_invented_tables_fit_the_schema_and_repeat() -> None:
    loaded = schema.load()
    first, second = invent(loaded, 40, 3), invent(loaded, 40, 3)
    other = invent(loaded, 40, 4)
    assert list(first) == list(loaded.tables)
    for name, table in first.items():
        assert table.schema.equals(loaded[name].arrow())
        assert table.equals(second[name])
        for column in loaded[name].columns.values():
            if not column.nullable:
                assert table[column.name].null_count == 0
        keys = list(zip(*(table[k].to_pylist() for k in loaded[name].key)))
        assert len(keys) == len(set(keys))
    assert not first["jobs"].equals(other["jobs"])


def test_invented_tables_hold_the_awkward_cases() -> None:
    tables = invent(schema.load(), 40, 3)
    for name, table in tables.items():
        if name != "persons" and "person_id" in table.column_names:
            assert 40 not in table["person_id"].to_pylist()
    spells = tables["spells"].to_pylist()
    assert any(row["stop"] is None for row in spells)
    nested = [row for row in spells if row["person_id"] == 2 and row["state"] == "jobseeker"]
    assert any(
        a["start"] < b["start"] and a["stop"] and b["stop"] and b["stop"] < a["stop"]
        for a in nested
        for b in nested
    )


def test_no_persons_gives_empty_tables() -> None:
    tables = invent(schema.load(), 1, 1)
    assert tables["persons"].num_rows == 1
    assert tables["jobs"].num_rows == 0


def test_the_page_is_up_to_date(root: Path) -> None:
    assert (root / "docs" / "registers.md").read_text(encoding="utf-8") == markdown()
