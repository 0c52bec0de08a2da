"""Reading canonical tables: exact, lazy, sensitive to any change, clear about what is wrong."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from ibis.expr.types import Table

from tiltakeval.engine import Engine
from tiltakeval.errors import InputError, InputErrors
from tiltakeval.programmes.catalogue import Catalogue
from tiltakeval.registers import schema
from tiltakeval.registers.quality import check_registers, errors
from tiltakeval.registers.read import Registers, read_registers
from tiltakeval.registers.source import StartedRule
from tiltakeval.registers.write import write_registers

Tables = dict[str, pa.Table]
Write = Callable[[Tables], Path]


def rows(registers: Registers, name: str) -> pa.Table:
    table = registers[name]
    return registers.engine.arrow(table.order_by(list(schema.load()[name].key)))


def test_tables_are_lazy_and_as_written(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    registers = read_registers(write(invented), engine=engine, catalogue=catalogue)
    for name, table in schema.load().tables.items():
        assert isinstance(registers[name], Table)
        assert registers[name].schema() == table.ibis()
        expected = invented[name].sort_by([(k, "ascending") for k in table.key])
        assert rows(registers, name).cast(table.arrow()).equals(expected)
    assert not errors(check_registers(registers))


def test_csv_reads_the_same_as_parquet(
    engine: Engine, catalogue: Catalogue, invented: Tables, tmp_path: Path
) -> None:
    for kind in ("parquet", "csv"):
        (tmp_path / kind).mkdir()
    for name, table in invented.items():
        pq.write_table(table, tmp_path / "parquet" / f"{name}.parquet")
        pacsv.write_csv(table, tmp_path / "csv" / f"{name}.csv")
    one = read_registers(tmp_path / "parquet", engine=engine, catalogue=catalogue)
    two = read_registers(tmp_path / "csv", engine=engine, catalogue=catalogue)
    for name in invented:
        assert rows(one, name).equals(rows(two, name)), name
    assert one.fingerprint != two.fingerprint


def test_fingerprint_sees_any_byte_and_only_bytes(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    folder = write(invented)
    first = read_registers(folder, engine=engine, catalogue=catalogue).fingerprint
    (folder / "notes.txt").write_text("not a table")
    assert read_registers(folder, engine=engine, catalogue=catalogue).fingerprint == first
    data = bytearray((folder / "jobs.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "jobs.parquet").write_bytes(bytes(data))
    assert read_registers(folder, engine=engine, catalogue=catalogue).fingerprint != first


def test_two_extracts_on_one_connection(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write, tmp_path: Path
) -> None:
    folder = write(invented)
    first = read_registers(folder, engine=engine, catalogue=catalogue)
    (tmp_path / "copy").mkdir()
    for path in folder.glob("*.parquet"):
        shutil.copy(path, tmp_path / "copy" / path.name)
    copy = read_registers(tmp_path / "copy", engine=engine, catalogue=catalogue)
    assert copy.fingerprint == first.fingerprint
    shutil.rmtree(tmp_path / "copy")
    assert engine.count(first["persons"]) == invented["persons"].num_rows


def test_programme_and_started_are_worked_out_when_absent(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    bare = dict(invented)
    bare["participation"] = invented["participation"].drop_columns(["programme", "started"])
    registers = read_registers(write(bare), engine=engine, catalogue=catalogue)
    assert rows(registers, "participation").equals(
        invented["participation"].cast(rows(registers, "participation").schema)
    )


def test_started_rule_is_switchable(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    folder = write(invented)
    everyone = StartedRule("any", ("GJENN", "FULLF", "DELAVB", "IKKEM"), needs_start_date=False)

    def started(rule: StartedRule | str | None, as_of: dt.date | None = None) -> list[bool]:
        registers = read_registers(
            folder, engine=engine, catalogue=catalogue, started_rule=rule, as_of=as_of
        )
        return rows(registers, "participation")["started"].to_pylist()

    status = invented["participation"]["status"].to_pylist()
    assert started(everyone) == [s != "AVSLAG" for s in status]
    default = started(None)
    late = started(None, as_of=dt.date(2018, 1, 1))
    starts = invented["participation"]["start"].to_pylist()
    assert late == [d and day <= dt.date(2018, 1, 1) for d, day in zip(default, starts)]
    assert sum(late) < sum(default)
    with pytest.raises(InputError, match="Did you mean 'evaluation'"):
        started("evaluering")


def test_a_code_follows_its_period(
    engine: Engine, invented: Tables, write: Write, tmp_path: Path
) -> None:
    from tiltakeval.programmes import catalogue as module

    extra = tmp_path / "extra"
    extra.mkdir()
    for key, period in (("gammelt", "to = 2017-01-01"), ("nytt", "from = 2017-01-01")):
        text = (module.FOLDER / "jobbsjansen.toml").read_text(encoding="utf-8")
        own = 'system = "tiltakeval", code = "JOBBSJANSEN"'
        text = text.replace(own, f'system = "arena", code = "UKJENTKODE", {period}')
        (extra / f"{key}.toml").write_text(text, encoding="utf-8")
    bare = dict(invented)
    bare["participation"] = invented["participation"].drop_columns(["programme"])
    registers = read_registers(write(bare), engine=engine, catalogue=module.load(extra))
    found = rows(registers, "participation").to_pylist()
    assert len(found) == invented["participation"].num_rows
    for row in found:
        day = row["decision_date"] or row["start"] or row["application_date"]
        if row["code"] == "UKJENTKODE" and day is not None:
            assert row["programme"] == ("gammelt" if day < dt.date(2017, 1, 1) else "nytt")
    assert {"gammelt", "nytt"} <= {row["programme"] for row in found}


def test_missing_files_and_columns_come_at_once_with_the_nearest_name(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    wrong = dict(invented)
    wrong["persons"] = invented["persons"].rename_columns(
        ["personid", "birth_date", "sex", "land", "death_date", "emigration_date"]
    )
    wrong["spells"] = invented["spells"].drop_columns(["office"])
    folder = write(wrong)
    (folder / "benefits.parquet").rename(folder / "benefit.parquet")
    with pytest.raises(InputErrors) as caught:
        read_registers(folder, engine=engine, catalogue=catalogue)
    text = str(caught.value)
    assert len(caught.value.errors) == 4
    assert "Is 'personid' it?" in text
    assert "column country_of_birth" in text
    assert "column office for 'office' is missing" in text
    assert "Is 'benefit.parquet' it?" in text


def test_not_a_folder(engine: Engine, catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        read_registers(tmp_path / "none", engine=engine, catalogue=catalogue)


def test_a_type_that_cannot_be_converted(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    wrong = dict(invented)
    lists = pa.array([[1, 2]] * invented["jobs"].num_rows)
    wrong["jobs"] = invented["jobs"].set_column(5, "earnings_nok", lists)
    with pytest.raises(InputErrors, match="column earnings_nok has type array"):
        read_registers(write(wrong), engine=engine, catalogue=catalogue)


def test_kindred_types_are_converted(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    loose = dict(invented)
    jobs = invented["jobs"]
    loose["jobs"] = jobs.set_column(2, "month", jobs["month"].cast("int64")).set_column(
        5, "earnings_nok", pc.add(pc.cast(jobs["earnings_nok"], "float64"), 0.25)
    )
    spells = invented["spells"]
    at = spells.schema.get_field_index("start")
    loose["spells"] = spells.set_column(at, "start", spells["start"].cast(pa.timestamp("us")))
    registers = read_registers(write(loose), engine=engine, catalogue=catalogue)
    assert registers["jobs"].schema() == schema.load()["jobs"].ibis()
    assert rows(registers, "jobs")["earnings_nok"].to_pylist() == (
        jobs.sort_by([(k, "ascending") for k in ("person_id", "employer_id", "month")])[
            "earnings_nok"
        ].to_pylist()
    )
    assert not errors(check_registers(registers))


def test_monthly_files_of_one_table(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write, tmp_path: Path
) -> None:
    folder = write(invented)
    jobs = invented["jobs"]
    half = jobs.num_rows // 2
    (folder / "jobs.parquet").unlink()
    pq.write_table(jobs.slice(0, half), folder / "jobs_2014.parquet")
    pq.write_table(jobs.slice(half), folder / "jobs_2015.parquet")
    layout = tmp_path / "mine.toml"
    text = "".join(f"[tables.{name}]\n" for name in invented if name != "jobs")
    layout.write_text(text + '[tables.jobs]\nfile = "jobs_*.parquet"\n', encoding="utf-8")
    registers = read_registers(folder, engine=engine, catalogue=catalogue, source=layout)
    assert engine.count(registers["jobs"]) == jobs.num_rows


def test_canonical_round_trip(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write, tmp_path: Path
) -> None:
    registers = read_registers(write(invented), engine=engine, catalogue=catalogue)
    write_registers(registers, tmp_path / "again")
    again = read_registers(tmp_path / "again", engine=engine, catalogue=catalogue)
    for name in invented:
        assert rows(registers, name).equals(rows(again, name)), name


def test_empty_tables(engine: Engine, catalogue: Catalogue, invented: Tables, write: Write) -> None:
    empty = {name: table.slice(0, 0) for name, table in invented.items()}
    registers = read_registers(write(empty), engine=engine, catalogue=catalogue)
    checks = check_registers(registers)
    assert all(engine.count(registers[name]) == 0 for name in empty)
    warned = {c.scope["table"] for c in checks if c.message.get("what") == "the table has no rows"}
    assert warned == set(empty)


def test_missing_table_is_named(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    less = {k: v for k, v in invented.items() if k != "rollout"}
    registers = read_registers(write(less), engine=engine, catalogue=catalogue)
    assert "rollout" not in registers
    with pytest.raises(InputError, match="no table 'rollout'"):
        registers["rollout"]
