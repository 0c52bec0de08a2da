"""Invented persons written compactly, as canonical tables: for case tests and examples.

A person is a mapping::

    name = "pending decision"
    born = "1980-05"                        # or a full date
    sex = "female"; country = "NOR"; died = "2018-03-02"; emigrated = "2017-01-15"
    spells = ["nedsatt_arbeidsevne 2015-03-10 open BATT mental office:0301"]
    participation = ["aft decided 2016-05-10 start 2016-07-01 stop 2017-01-01"]
    jobs = ["2014-01..2015-02 30000 100%"]
    benefits = ["aap 2015-04..2016-12 18000"]
    education = "videregaende"

``participation`` takes a programme or ``code:XYZ`` (a supplier's code), then any of decided, start,
stop, employer; ``noshow`` says it was not taken up. Benefits and jobs are monthly amounts.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tiltakeval.engine import Engine
from tiltakeval.errors import InputError, unknown
from tiltakeval.months import parse_month
from tiltakeval.programmes.catalogue import Catalogue
from tiltakeval.registers import schema as register_schema
from tiltakeval.registers.read import Registers

COVERED = ("persons", "residence", "education", "spells", "participation", "jobs", "benefits",
           "offices")  # fmt: skip
_KEYS = {
    "name", "born", "sex", "country", "died", "emigrated", "education", "municipality", "spells",
    "participation", "jobs", "benefits", "expect",
}  # fmt: skip
_INNSATS = ("IKVAL", "BFORM", "BATT", "VARIG")
_DIAGNOSES = ("none", "mental", "musculoskeletal", "other")


def invented_registers(
    engine: Engine,
    persons: Sequence[Mapping[str, Any]],
    catalogue: Catalogue,
    *,
    first: int,
    last: int,
    name: str = "invented",
) -> Registers:
    """The persons (numbered 1.. in order) as registers covering months first..last.

    Every office of a spell gets an unemployment rate of 3 per cent and 10 vacancies per 1000 in all
    months. Raises InputError for what can't be read, naming the person.
    """
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in (*COVERED, "last_observed")}
    for number, person in enumerate(persons, start=1):
        _person(rows, number, person, catalogue)
    offices = sorted({row["office"] for row in rows["spells"]})
    for office in offices:
        rows["offices"] += [
            {"office": office, "month": m, "unemployment_rate": 3.0, "vacancies_per_1000": 10.0}
            for m in range(first, last + 1)
        ]
    rows["last_observed"] = [
        {"table_name": table, "first_month": first, "last_month": last} for table in COVERED
    ]
    schema = register_schema.load()
    tables = {
        table: engine.memory_table(
            pa.Table.from_pylist(found, schema=schema[table].arrow()), f"{name}_{table}"
        )
        for table, found in rows.items()
    }
    mark = hashlib.blake2b(repr(rows).encode(), digest_size=16).hexdigest()
    return Registers(engine, tables, fingerprint=mark, source=name)


def _person(
    rows: dict[str, list[dict[str, Any]]], number: int, person: Mapping[str, Any], cat: Catalogue
) -> None:
    where = f"person '{person.get('name', number)}'"
    for key in person:
        if key not in _KEYS:
            raise unknown("key", key, _KEYS, where=where)
    born = _day(str(person.get("born", "1980-01")), where)
    rows["persons"].append(
        {
            "person_id": number,
            "birth_date": born,
            "sex": person.get("sex", "female"),
            "country_of_birth": person.get("country", "NOR"),
            "death_date": _optional(person.get("died"), where),
            "emigration_date": _optional(person.get("emigrated"), where),
        }
    )
    rows["education"].append(
        {
            "person_id": number,
            "date": born.replace(year=born.year + 16, day=1),
            "level": person.get("education", "grunnskole"),
        }
    )
    rows["residence"].append(
        {"person_id": number, "from_date": born, "to_date": None,
         "municipality": person.get("municipality", "0301")}
    )  # fmt: skip
    for text in person.get("spells", ()):
        rows["spells"].append({"person_id": number, **_spell(text, where)})
    for text in person.get("participation", ()):
        found = _participation(text, where, cat)
        found |= {"participation_id": 1 + len(rows["participation"]), "person_id": number}
        rows["participation"].append(found)
    for text in person.get("jobs", ()):
        words = text.split()
        pct = next((float(w[:-1]) for w in words if w.endswith("%")), 100.0)
        employer = next((int(w[9:]) for w in words if w.startswith("employer:")), 1)
        for month in _months(words[0], where):
            rows["jobs"].append(
                {"person_id": number, "employer_id": employer, "month": month,
                 "position_pct": pct, "hours": 162.5 * pct / 100, "earnings_nok": int(words[1])}
            )  # fmt: skip
    for text in person.get("benefits", ()):
        words = text.split()
        for month in _months(words[1], where):
            rows["benefits"].append(
                {"person_id": number, "month": month, "benefit": words[0], "grade": 100.0,
                 "amount_nok": int(words[2])}
            )  # fmt: skip


def _spell(text: str, where: str) -> dict[str, Any]:
    words = text.split()
    if len(words) < 3:
        raise InputError(
            f"spell '{text}' can't be read", where=where, remedy="Write: state start stop|open."
        )
    start = _day(words[1], where)
    group = next((w for w in words[3:] if w in _INNSATS), None)
    return {
        "state": words[0],
        "start": start,
        "stop": None if words[2] == "open" else _day(words[2], where),
        "innsatsgruppe": group,
        "decision_date": start if group else None,
        "office": next((w[7:] for w in words[3:] if w.startswith("office:")), "0301"),
        "diagnosis_group": next((w for w in words[3:] if w in _DIAGNOSES), None),
    }


def _participation(text: str, where: str, catalogue: Catalogue) -> dict[str, Any]:
    words = text.split()
    taken = "noshow" not in words
    values = dict(zip(words[1::2], words[2::2])) if taken else _pairs(words)
    for key in values:
        if key not in ("decided", "start", "stop", "employer"):
            raise unknown("word", key, ("decided", "start", "stop", "employer", "noshow"),
                          where=where)  # fmt: skip
    programme: str | None
    if words[0].startswith("code:"):
        code = words[0][5:]
        programme = catalogue.by_code(code)
    else:
        programme = words[0]
        codes = catalogue[programme].codes
        code = codes[0].code if codes else programme.upper()
    start = _optional(values.get("start"), where)
    return {
        "code": code,
        "programme": programme,
        "application_date": None,
        "decision_date": _optional(values.get("decided"), where),
        "start": start,
        "stop": _optional(values.get("stop"), where),
        "status": "GJENN" if taken else "IKKEM",
        "started": taken and start is not None,
        "office": None,
        "provider": None,
        "employer_id": int(values["employer"]) if "employer" in values else None,
    }


def _pairs(words: list[str]) -> dict[str, str]:
    rest = [w for w in words[1:] if w != "noshow"]
    return dict(zip(rest[::2], rest[1::2]))


def _day(text: str, where: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text if len(text) > 7 else f"{text}-01")
    except ValueError:
        raise InputError(
            f"'{text}' is not a date", where=where, remedy="Write YYYY-MM-DD."
        ) from None


def _optional(text: Any, where: str) -> dt.date | None:
    return None if text is None else _day(str(text), where)


def _months(text: str, where: str) -> range:
    low, _, high = text.partition("..")
    return range(parse_month(low), parse_month(high or low) + 1)
