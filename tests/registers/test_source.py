"""A supplier's layout: Arena-style text, end conventions, round trips, faults of a source file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiltakeval.engine import Engine
from tiltakeval.errors import InputError, InputErrors
from tiltakeval.programmes.catalogue import Catalogue
from tiltakeval.registers import schema
from tiltakeval.registers import source as register_source
from tiltakeval.registers.quality import check_registers, errors
from tiltakeval.registers.read import Registers, read_registers
from tiltakeval.registers.write import write_registers

Tables = dict[str, pa.Table]
Write = Callable[[Tables], Path]

ARENA = {
    "person.csv": """w19_0345_lopenr_person;FODSELSDATO;KJONN;FODELAND;DODSDATO
1;1980-02-01;K;NOR;
2;1975-07-01;M;SOM;2019-06-30
3;1999-12-01;1;POL;
""",
    "oppfolging.csv": """W19_0345_LOPENR_PERSON;KVALIFISERINGSGRUPPEKODE;DATO_FRA;DATO_TIL;\
VEDTAKSDATO;ENHETSNR
1;BATT;2016-01-10;2016-12-31;2016-01-20;0101 Ås
2;BFORM;2017-03-01;9999-12-31;;0202 Bodø
3;IVURD;2018-01-01;2018-01-01;;0202 Bodø
3;VURDI;2018-06-01;2018-07-01;;0202 Bodø
""",
    "tiltakgjennomforing.csv": """TILTAKGJENNOMFORING_ID;TILTAKSKODE;ARRANGOR
10;ARBFORB;Østfold Arbeid
11;GRUPPEAMO;Kurs & Kompetanse
12;HELTNYTT;Ukjent
""",
    "tiltakdeltaker.csv": """TILTAKDELTAKER_ID;PERSON_ID;TILTAKGJENNOMFORING_ID;DELTAKERSTATUSKODE;\
REG_DATO;DATO_FRA;DATO_TIL
100;1;10;FULLF;2016-01-15;2016-02-01;2016-06-30
101;1;11;IKKEM;2016-07-01;2016-08-15;2016-08-15
102;2;12;GJENN;2017-04-01 08:15:00;2017-05-01;
103;2;99;GJENN;2017-06-01;;
""",
    "arbeidsforhold.csv": """lopenr_person;lopenr_foretak;MAANED;STILLINGSPROSENT;TIMER;LONN_KONTANT
1;7;201701;62,5;93,75;21500,40
1;7;201702;100;150;-1200
""",
    "ytelse.csv": """lopenr_person;MAANED;YTELSE;GRAD;BELOP
1;201601;AAP;100;18 000
2;201704;DAGP;50,5;9000
""",
}


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    for name, text in ARENA.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def rows(registers: Registers, name: str) -> list[dict]:  # type: ignore[type-arg]
    table = registers[name].order_by(list(schema.load()[name].key))
    return registers.engine.arrow(table).to_pylist()


def test_arena_extract(engine: Engine, catalogue: Catalogue, arena: Path) -> None:
    registers = read_registers(arena, engine=engine, catalogue=catalogue, source="arena")
    first, second, third = rows(registers, "persons")
    assert (first["sex"], second["sex"], third["sex"]) == ("female", "male", "male")
    assert second["death_date"] == dt.date(2019, 6, 30)
    assert first["emigration_date"] is None
    spells = rows(registers, "spells")
    assert [s["state"] for s in spells] == ["nedsatt_arbeidsevne", "jobseeker", "jobseeker"]
    assert [s["stop"] for s in spells] == [dt.date(2017, 1, 1), None, dt.date(2018, 1, 2)]
    assert [s["innsatsgruppe"] for s in spells] == ["BATT", "BFORM", None]
    assert spells[0]["office"] == "0101 Ås"
    taken = rows(registers, "participation")
    assert [p["programme"] for p in taken] == ["aft", "amo", None, None]
    assert [p["code"] for p in taken] == ["ARBFORB", "GRUPPEAMO", "HELTNYTT", None]
    assert [p["started"] for p in taken] == [True, False, True, False]
    assert taken[0]["stop"] == dt.date(2016, 7, 1)
    assert taken[0]["provider"] == "Østfold Arbeid"
    assert taken[2]["application_date"] == dt.date(2017, 4, 1)
    jobs = rows(registers, "jobs")
    assert [(j["month"], j["position_pct"], j["earnings_nok"]) for j in jobs] == [
        (2017 * 12, 62.5, 21500),
        (2017 * 12 + 1, 100.0, -1200),
    ]


def test_other_started_rules(engine: Engine, catalogue: Catalogue, arena: Path) -> None:
    def started(rule: str, as_of: dt.date | None = None) -> list[bool]:
        registers = read_registers(
            arena,
            engine=engine,
            catalogue=catalogue,
            source="arena",
            started_rule=rule,
            as_of=as_of,
        )
        return [p["started"] for p in rows(registers, "participation")]

    assert started("evaluation") == [True, False, True, False]
    assert started("accepted") == [True, True, True, False]
    assert started("any_date") == [True, False, True, True]
    assert started("evaluation", dt.date(2017, 1, 1)) == [True, False, False, False]


def test_what_check_says_of_it(engine: Engine, catalogue: Catalogue, arena: Path) -> None:
    registers = read_registers(arena, engine=engine, catalogue=catalogue, source="arena")
    checks = check_registers(registers)
    found = {(c.key, *c.scope.values()): c for c in checks if c.status != "passed"}
    unreadable = found["unreadable_values", "benefits", "amount_nok"]
    assert unreadable.status == "failed"
    assert unreadable.message["rows"] == "<5"
    assert unreadable.statistic is None
    unknown = found["unknown_codes", "participation", "code"]
    assert unknown.detail is not None
    assert set(unknown.detail["code"]) == {"HELTNYTT", None}
    assert ("left_out", "spells") in found
    assert ("negative_amounts", "jobs", "earnings_nok") in found
    assert ("missing_values", "participation", "code") in found
    assert {c.scope["table"] for c in checks if c.message.get("what") == "not in the extract"} == {
        "residence", "education", "offices",
    }  # fmt: skip


@pytest.mark.parametrize("end", ["inclusive", "exclusive"])
def test_end_convention_round_trip(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write, tmp_path: Path, end: str
) -> None:
    layout = replace(register_source.load("arena"), end=end)
    consistent = _as_arena_knows_it(invented)
    registers = read_registers(write(consistent), engine=engine, catalogue=catalogue)
    write_registers(registers, tmp_path / "out", layout)
    again = read_registers(tmp_path / "out", engine=engine, catalogue=catalogue, source=layout)
    for name in (
        "persons",
        "residence",
        "education",
        "spells",
        "participation",
        "jobs",
        "benefits",
    ):
        assert rows(again, name) == rows(registers, name), name
    text = (tmp_path / "out" / "bosted.csv").read_text(encoding="utf-8")
    first = next(r["to_date"] for r in rows(registers, "residence") if r["to_date"])
    last_day = first - dt.timedelta(days=1) if end == "inclusive" else first
    assert last_day.isoformat() in text


def _as_arena_knows_it(invented: Tables) -> Tables:
    """The invented tables with what Arena derives made to agree: state follows innsatsgruppe,
    programme and started follow code and status."""
    spells = invented["spells"].to_pylist()
    kept, seen = [], set()
    for row in spells:
        row["innsatsgruppe"] = row["innsatsgruppe"] or "BATT"
        low = row["innsatsgruppe"] in ("IKVAL", "BFORM")
        row["state"] = "jobseeker" if low else "nedsatt_arbeidsevne"
        key = (row["person_id"], row["state"], row["start"])
        if key not in seen:
            kept.append(row)
        seen.add(key)
    tables = dict(invented)
    tables["spells"] = pa.Table.from_pylist(kept, schema=invented["spells"].schema)
    return tables


def test_ends_move_by_one_day_across_month_and_leap_year(
    engine: Engine, catalogue: Catalogue, arena: Path
) -> None:
    text = ARENA["oppfolging.csv"].replace("2016-12-31", "2016-02-28")
    (arena / "oppfolging.csv").write_text(text, encoding="utf-8")
    registers = read_registers(arena, engine=engine, catalogue=catalogue, source="arena")
    assert rows(registers, "spells")[0]["stop"] == dt.date(2016, 2, 29)


def test_wrong_delimiter_is_said(engine: Engine, catalogue: Catalogue, arena: Path) -> None:
    text = ARENA["ytelse.csv"].replace(",", ".").replace(";", ",")
    (arena / "ytelse.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputErrors, match="declare the delimiter in the source"):
        read_registers(arena, engine=engine, catalogue=catalogue, source="arena")


def test_ragged_and_empty_files_name_no_content(
    engine: Engine, catalogue: Catalogue, arena: Path
) -> None:
    body = ARENA["person.csv"].split("\n", 1)[1]
    for text in (
        "",
        ARENA["person.csv"] + "4;1981-01-01;K;HEMMELIG;;;x\n",
        ARENA["person.csv"] + '4;1981-01-01;K;"HEMMELIG\n',
        "4;1981-01-01;K;HEMMELIG;\n" + body,
    ):
        (arena / "person.csv").write_text(text, encoding="utf-8")
        with pytest.raises(InputError) as caught:
            read_registers(arena, engine=engine, catalogue=catalogue, source="arena")
        assert "person.csv" in str(caught.value)
        assert "HEMMELIG" not in str(caught.value)


def test_latin1_text(engine: Engine, catalogue: Catalogue, arena: Path) -> None:
    for name, text in ARENA.items():
        (arena / name).write_bytes(text.encode("latin-1"))
    layout = replace(register_source.load("arena"), encoding="latin-1")
    registers = read_registers(arena, engine=engine, catalogue=catalogue, source=layout)
    assert rows(registers, "spells")[1]["office"] == "0202 Bodø"


def test_join_key_must_name_one_row(engine: Engine, catalogue: Catalogue, arena: Path) -> None:
    text = ARENA["tiltakgjennomforing.csv"] + "10;MENTOR;Noen\n"
    (arena / "tiltakgjennomforing.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputErrors, match="repeated or missing in the file joined on"):
        read_registers(arena, engine=engine, catalogue=catalogue, source="arena")


def test_ambiguous_pattern(engine: Engine, catalogue: Catalogue, arena: Path) -> None:
    text = ARENA["ytelse.csv"].replace("lopenr_person;", "lopenr_person;PERSON_ID;", 1)
    text = text.replace("\n1;", "\n1;1;").replace("\n2;", "\n2;2;")
    (arena / "ytelse.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputErrors, match="2 columns fit"):
        read_registers(arena, engine=engine, catalogue=catalogue, source="arena")


def test_text_keys_and_date_formats(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write, tmp_path: Path
) -> None:
    """A supplier with text keys, dates as dd.mm.yyyy, months as yyyy-mm."""
    folder = write(invented)
    (folder / "persons.parquet").unlink()
    (folder / "jobs.parquet").unlink()
    pq.write_table(
        pa.table(
            {
                "id": ["a1", "b2", "c3"],
                "fodt": ["01.02.1980", "31.12.1975", "30.02.1990"],
                "kjonn": ["female", "male", "Female"],
            }
        ),
        folder / "folk.parquet",
    )
    pq.write_table(
        pa.table({"id": ["a1", "zz"], "mnd": ["2016-03", "2016-13"], "lonn": [1.5, 2.0]}),
        folder / "lonn.parquet",
    )
    layout = tmp_path / "mine.toml"
    layout.write_text(
        """
[tables.persons]
file = "folk.parquet"
[tables.persons.columns]
person_id = { column = "id", key = "text" }
birth_date = { column = "fodt", date_format = "%d.%m.%Y" }
sex = "kjonn"
country_of_birth = { constant = "XXX" }
death_date = { optional = true }
emigration_date = { optional = true }
[tables.jobs]
file = "lonn.parquet"
[tables.jobs.columns]
person_id = { column = "ID", key = "text" }
employer_id = { constant = 1 }
month = { column = "mnd", month = "yyyy-mm" }
position_pct = { constant = 100.0 }
hours = { constant = 150.0 }
earnings_nok = "lonn"
""",
        encoding="utf-8",
    )
    registers = read_registers(folder, engine=engine, catalogue=catalogue, source=layout)
    people = engine.arrow(registers["persons"].order_by("birth_date")).to_pylist()
    assert [p["birth_date"] for p in people] == [dt.date(1975, 12, 31), dt.date(1980, 2, 1), None]
    jobs = engine.arrow(registers["jobs"].order_by("earnings_nok")).to_pylist()
    assert {j["month"] for j in jobs} == {2016 * 12 + 2, None}
    assert jobs[0]["person_id"] in {p["person_id"] for p in people}
    failed = {(c.key, *c.scope.values()) for c in errors(check_registers(registers))}
    assert ("unreadable_values", "persons", "birth_date") in failed
    assert ("unreadable_values", "jobs", "month") in failed
    assert ("levels", "persons", "sex") in failed
    assert ("orphans", "jobs", "person_id") in failed


def test_faults_of_a_source_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        """
end_date = "last day"
[tables.person]
[tables.persons.columns]
person_id = { pattern = "(" }
birthdate = "F"
sex = { column = "K", constant = "x" }
country_of_birth = { column = "L", codes = { a = "b" }, mont = "index" }
death_date = { column = "D", end = "both" }
[tables.education.columns]
person_id = "P"
date = "D"
level = { column = "N", codes = { "1" = "grunskole" } }
[started]
default = "none"
[started.mine]
status = ["runing"]
""",
        encoding="utf-8",
    )
    with pytest.raises(InputErrors) as caught:
        register_source.load(path)
    text = str(caught.value)
    for expected in (
        "unknown end_date 'last day'",
        "unknown table 'person'",
        "the pattern is not valid",
        "unknown column 'birthdate'",
        "Did you mean 'birth_date'",
        "says nothing of column 'emigration_date'",
        "needs exactly one of column, pattern, constant",
        "unknown key 'mont'",
        "unknown end 'both'",
        "unknown level 'grunskole'",
        "unknown started rule 'none'",
        "unknown status set 'runing'",
    ):
        assert expected in text, expected


def test_unknown_source() -> None:
    with pytest.raises(InputError, match="Did you mean 'arena'"):
        register_source.load("arenna")
