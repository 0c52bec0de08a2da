"""The working tables trials are built from, computed once per population."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import ibis
import pyarrow as pa
from ibis.expr.types import Table

from tiltakeval.engine import Engine
from tiltakeval.population.sampling import person_mark
from tiltakeval.programmes.catalogue import Catalogue
from tiltakeval.registers import landgruppe
from tiltakeval.registers.read import Registers
from tiltakeval.spells import build
from tiltakeval.spells.build import OPEN, UNKNOWN, month_of
from tiltakeval.spells.outcomes import coverage

#: Multiplier that packs (month, programme code) into one integer.
PACK = 256


@dataclass(frozen=True)
class Working:
    """Materialised tables. ``people``: person_id, person (dense number by id), birth_month,
    death_month, emigration_month, gone_month (first of the two), female, landgruppe (-1 unknown),
    mark. ``segments``: ``build.registration``. ``parts``: ``build.participations`` with ``code``
    (position of the programme in ``programmes``). ``coverage``: months each table covers."""

    engine: Engine
    registers: Registers
    catalogue: Catalogue
    people: Table
    segments: Table
    parts: Table
    programmes: tuple[str, ...]
    coverage: Mapping[str, tuple[int, int]]
    prefix: str
    made: list[str] = field(default_factory=list)

    def keep(self, expression: Table, name: str) -> Table:
        """Compute once, under this population's own name."""
        full = f"{self.prefix}_{name}"
        self.made.append(full)
        return self.engine.materialise(expression, full)

    def small(self, rows: Mapping[str, list], name: str) -> Table:  # type: ignore[type-arg]
        """A small lookup table."""
        full = f"{self.prefix}_{name}"
        self.made.append(full)
        return self.engine.memory_table(pa.table(dict(rows)), full)

    def code(self, programme: str) -> int:
        """The programme's position in ``programmes``."""
        return self.programmes.index(programme)

    def close(self) -> None:
        """Drop the tables."""
        for name in self.made:
            self.engine.drop(name)
        self.made.clear()


def prepare(registers: Registers, catalogue: Catalogue, *, seed: int) -> Working:
    """Persons with dense numbers, registration segments and participation, in months."""
    engine = registers.engine
    prefix = f"pop_{uuid.uuid4().hex[:8]}"
    programmes = (*catalogue, UNKNOWN)
    covered = coverage(engine, registers["last_observed"])
    work = Working(
        engine=engine,
        registers=registers,
        catalogue=catalogue,
        people=registers["persons"],
        segments=registers["spells"],
        parts=registers["participation"],
        programmes=programmes,
        coverage=covered,
        prefix=prefix,
    )
    people = work.keep(_people(registers["persons"], seed), "people")
    segments = work.keep(build.registration(registers["spells"]), "segments")
    codes = work.small(
        {"key": list(programmes), "code": list(range(len(programmes)))}, "programmes"
    )
    parts = build.participations(registers["participation"])
    parts = parts.left_join(codes, parts.programme == codes.key).drop("key")
    parts = parts.mutate(code=ibis.coalesce(parts.code, programmes.index(UNKNOWN)).cast("int32"))
    parts = work.keep(parts, "parts")
    return Working(
        engine, registers, catalogue, people, segments, parts, programmes, covered, prefix,
        work.made,
    )  # fmt: skip


def _people(persons: Table, seed: int) -> Table:
    number = ibis.row_number().over(ibis.window(order_by=persons.person_id)).cast("int32")
    country = landgruppe.lookup().expression(persons.country_of_birth)
    death, emigration = month_of(persons.death_date), month_of(persons.emigration_date)
    rows = persons.select(
        "person_id",
        person=number,
        birth_month=ibis.coalesce(month_of(persons.birth_date), OPEN).cast("int32"),
        death_month=ibis.coalesce(death, OPEN).cast("int32"),
        emigration_month=ibis.coalesce(emigration, OPEN).cast("int32"),
        gone_month=ibis.least(ibis.coalesce(death, OPEN), ibis.coalesce(emigration, OPEN)),
        female=(persons.sex == "female").fill_null(False).cast("int8"),
        landgruppe=ibis.coalesce(country, -1).cast("int8"),
    )
    return rows.mutate(mark=person_mark(rows.person, seed))
