"""Each rule finds what it is for, says where, and never shows a person."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tiltakeval.engine import Engine
from tiltakeval.errors import InputErrors
from tiltakeval.estimates.check import Check
from tiltakeval.programmes.catalogue import Catalogue
from tiltakeval.registers import schema
from tiltakeval.registers.quality import (
    RULES,
    check_extract,
    check_registers,
    errors,
    raise_errors,
    summary,
)
from tiltakeval.registers.read import read_registers

Tables = dict[str, pa.Table]
Write = Callable[[Tables], Path]
Checker = Callable[..., list[Check]]
Change = Callable[[list[dict[str, Any]]], None]


@pytest.fixture
def changed(engine: Engine, catalogue: Catalogue, invented: Tables, write: Write) -> Checker:
    """The findings after the rows of one table are changed in place."""

    def check(name: str, change: Change, *rules: str) -> list[Check]:
        rows = invented[name].to_pylist()
        change(rows)
        loose = pa.schema([pa.field(f.name, f.type) for f in schema.load()[name].arrow()])
        tables = {**invented, name: pa.Table.from_pylist(rows, schema=loose)}
        return check_extract(write(tables), engine=engine, catalogue=catalogue, rules=rules)

    return check


def found(checks: list[Check], key: str) -> list[Check]:
    return [c for c in checks if c.key == key and c.status != "passed"]


def setting(column: str, value: Any, rows: int = 1) -> Change:
    def change(table: list[dict[str, Any]]) -> None:
        for row in table[:rows]:
            row[column] = value

    return change


@pytest.mark.parametrize(
    ("rule", "table", "column", "value", "severity"),
    [
        ("levels", "persons", "sex", "Kvinne", "error"),
        ("ranges", "benefits", "grade", 101.0, "error"),
        ("ranges", "jobs", "position_pct", -1.0, "error"),
        ("negative_amounts", "benefits", "amount_nok", -5, "warning"),
        ("missing_values", "spells", "office", None, "error"),
        ("missing_values", "persons", "birth_date", None, "error"),
        ("outside_window", "jobs", "month", 2030 * 12, "error"),
        ("outside_window", "benefits", "month", 1990 * 12, "error"),
        ("orphans", "jobs", "person_id", 10**9, "error"),
        ("unknown_codes", "participation", "programme", "afft", "error"),
        ("statuses", "participation", "status", "FEILREG", "warning"),
    ],
)
def test_rule_finds_one_bad_value(
    changed: Checker,
    rule: str, table: str, column: str, value: Any, severity: str,
) -> None:  # fmt: skip
    hits = [
        c
        for c in found(changed(table, setting(column, value), rule), rule)
        if c.message["severity"] == severity
    ]
    assert len(hits) == 1
    assert hits[0].scope == {"table": table, "column": column}
    assert hits[0].message["rows"] == "<5"
    assert hits[0].statistic is None


def test_large_counts_are_shown(changed: Checker) -> None:
    (hit,) = found(changed("jobs", setting("hours", -1.0, rows=1200), "ranges"), "ranges")
    assert hit.message["rows"] == "1 200"
    assert hit.statistic == 1200


def test_reversed_and_empty_periods(changed: Checker) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["stop"] = rows[0]["start"] - dt.timedelta(days=3)
        rows[1]["stop"] = rows[1]["start"]

    hits = found(changed("spells", change, "reversed_dates"), "reversed_dates")
    assert [c.message["severity"] for c in hits] == ["error", "info"]
    assert hits[0].message["example"][:2] == "20"


def test_death_before_birth(changed: Checker) -> None:
    hits = found(
        changed("persons", setting("death_date", dt.date(1900, 1, 1)), "reversed_dates"),
        "reversed_dates",
    )
    assert [c.message["what"] for c in hits] == ["death before birth"]


def test_duplicate_keys(changed: Checker) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows += [dict(row) for row in rows[:10]]

    (hit,) = found(changed("jobs", change, "duplicate_keys"), "duplicate_keys")
    assert hit.message["rows"] == "20"
    assert "person_id, employer_id, month" in hit.message["what"]


def test_unknown_codes_are_counted_and_labelled(
    changed: Checker,
) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["programme"] = None
            row["code"] = "KURS"
        rows[0]["code"] = "ÆØÅ"

    (hit,) = found(changed("participation", change, "unknown_codes"), "unknown_codes")
    assert hit.detail is not None
    detail = hit.detail.set_index("code")
    assert detail.loc["KURS", "label"] == "Andre kurs"
    assert detail.loc["ÆØÅ", "rows"] == "<5"
    assert int(detail.loc["KURS", "rows"]) > 50


def test_programme_that_is_not_the_codes(changed: Checker) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["code"] == "ARBFORB":
                row["programme"] = "ips"

    hits = found(changed("participation", change, "unknown_codes"), "unknown_codes")
    assert [c.message["severity"] for c in hits] == ["warning", "warning"]
    assert "ARBFORB as ips" in set(hits[1].detail["code and programme"])  # type: ignore[index]


def test_decision_after_start(changed: Checker) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows[:20]:
            row["start"], row["stop"] = dt.date(2018, 1, 1), None
            row["decision_date"], row["application_date"] = dt.date(2018, 2, 1), None

    (hit,) = found(changed("participation", change, "order_of_events"), "order_of_events")
    assert hit.message["rows"] == "20"
    assert hit.message["severity"] == "warning"


def test_work_after_death(changed: Checker) -> None:
    checks = changed("persons", setting("death_date", dt.date(2014, 6, 15), rows=59), "after_death")
    assert {c.scope["table"] for c in found(checks, "after_death")} == {"jobs", "benefits"}
    assert all(c.message["example"] == "2014-07" for c in found(checks, "after_death"))


def test_overlaps_are_only_noted(changed: Checker) -> None:
    (hit,) = found(changed("spells", lambda rows: None, "overlapping_spells"), "overlapping_spells")
    assert hit.status == "informative"


def test_coverage_gaps_and_missing_window(changed: Checker) -> None:
    def drop(rows: list[dict[str, Any]]) -> None:
        rows[:] = [r for r in rows if r["table_name"] != "benefits"]

    hits = found(changed("last_observed", drop, "coverage"), "coverage")
    assert {(c.scope["table"], c.message["severity"]) for c in hits} >= {("benefits", "error")}

    def skip(rows: list[dict[str, Any]]) -> None:
        rows[:] = [r for r in rows if r["month"] != 2018 * 12 + 4]

    (gap,) = [
        c
        for c in found(changed("jobs", skip, "coverage"), "coverage")
        if c.scope["table"] == "jobs"
    ]
    assert gap.message["example"] == "2018-05"


def test_mixed_types_in_a_column(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    jobs = invented["jobs"]
    texts = [str(v) for v in jobs["person_id"].to_pylist()]
    texts[:7] = ["tolv", "1,5", "", "1e3", " 4 ", "9" * 30, "nan"]
    tables = {**invented, "jobs": jobs.set_column(0, "person_id", pa.array(texts))}
    checks = check_extract(write(tables), engine=engine, catalogue=catalogue)
    (hit,) = found(checks, "unreadable_values")
    assert hit.scope == {"table": "jobs", "column": "person_id"}
    assert hit.message["rows"] == "5"


def test_missing_pieces_are_findings_beside_the_others(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    tables = {k: v for k, v in invented.items() if k != "benefits"}
    tables["spells"] = invented["spells"].drop_columns(["office"])
    checks = check_extract(write(tables), engine=engine, catalogue=catalogue)
    places = {c.scope["table"] for c in found(checks, "structure")}
    assert places == {"table benefits", "spells.parquet"}
    assert found(checks, "overlapping_spells")
    with pytest.raises(InputErrors, match="no file found"):
        raise_errors(checks)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("persons", "person_id"),
        ("spells", "state"),
        ("jobs", "month"),
        ("participation", "code"),
        ("last_observed", "first_month"),
        ("last_observed", "table_name"),
    ],
)
def test_a_missing_column_is_said_once_without_its_consequences(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write, table: str, column: str
) -> None:
    before = check_extract(write(invented), engine=engine, catalogue=catalogue)
    less = {**invented, table: invented[table].drop_columns([column])}
    checks = check_extract(write(less), engine=engine, catalogue=catalogue)
    (fault,) = errors(checks)
    assert fault.key == "structure"
    assert column in fault.message["what"]
    said = {(c.key, *c.scope.values(), c.message["what"]) for c in before if c.message}
    new = [
        c for c in checks if c.message and (c.key, *c.scope.values(), c.message["what"]) not in said
    ]
    assert new == [fault]
    assert "1 error, " in summary(checks)


def test_a_missing_file_is_said_once_without_its_consequences(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    less = {name: table for name, table in invented.items() if name != "persons"}
    checks = check_extract(write(less), engine=engine, catalogue=catalogue)
    (fault,) = errors(checks)
    assert fault.key == "structure"
    assert not found(checks, "orphans")
    assert "persons" not in {c.scope.get("table") for c in found(checks, "coverage")}


def test_wrong_tables_made_by_hand_stop_the_other_rules(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    registers = read_registers(write(invented), engine=engine, catalogue=catalogue)
    jobs = registers["jobs"]
    broken = jobs.mutate(month=jobs.month.cast("string")).rename(hour="hours")
    checks = check_registers(replace(registers, tables={**registers.tables, "jobs": broken}))
    assert {c.scope.get("column") for c in found(checks, "types")} == {"month", "hours"}
    assert "Is 'hour' it?" in summary(checks)
    assert any(c.status == "not_evaluated" for c in checks)


def test_sound_extract_passes(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    checks = check_extract(write(invented), engine=engine, catalogue=catalogue)
    assert not errors(checks)
    raise_errors(checks)
    assert {c.key for c in checks} == set(RULES)
    json.dumps([c.as_dict() for c in checks])
    assert "0 errors" in summary(checks)


def test_no_message_holds_a_persons_key(
    engine: Engine, catalogue: Catalogue, invented: Tables, write: Write
) -> None:
    """Persons get keys that occur nowhere else; none of them may be in what is printed."""
    secret = 7_300_000_000
    tables = dict(invented)
    for name, table in invented.items():
        if "person_id" in table.column_names:
            keys = pa.array([secret + 1000 * v for v in table["person_id"].to_pylist()], pa.int64())
            at = table.schema.get_field_index("person_id")
            tables[name] = table.set_column(at, "person_id", keys)
    tables["persons"] = tables["persons"].slice(0, 20)
    checks = check_extract(write(tables), engine=engine, catalogue=catalogue)
    text = summary(checks) + json.dumps([c.as_dict() for c in checks])
    assert found(checks, "orphans")
    assert "73000" not in text
