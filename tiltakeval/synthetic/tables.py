"""Logged events -> canonical register tables (pyarrow), columns as in `registers/schema.toml`."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiltakeval.months import parse_month
from tiltakeval.synthetic import layout as at
from tiltakeval.synthetic.events import Block
from tiltakeval.synthetic.prepare import Arrays, start_month
from tiltakeval.synthetic.world import World

Ints = NDArray[np.int64]
TRIAL = "ips_trial"
CODES = (
    ("ARBFORB", "ARBFORB"), ("MIDLONTIL", "MIDLONTIL"), ("VARLONTIL", "VARLONTIL"),
    ("GRUPPEAMO", "ENKELAMO"), ("GRUFAGYRKE", "ENKFAGYRKE"), ("HOYEREUTD", "HOYEREUTD"),
    ("ARBTREN", "ARBTREN"), ("INDOPPFAG", "INDOPPFAG"), ("UTVAOONAV", "UTVAOONAV"),
    ("INDJOBSTOT", "INDJOBSTOT"), ("KVP", "KVP"),
)  # fmt: skip
"""Arena codes by programme: for an even and an odd person number."""
AFT_FROM = "2016-01"  # AFT decisions before this month carry the code of its predecessor
PREDECESSOR = ("PRAKSKJERM", "arbeidspraksis_skjermet")
_EPOCH = date(1970, 1, 1)


def person_tables(
    world: World, arrays: Arrays, blocks: list[Block], months: int, *, participation_from: int = 0
) -> dict[str, pa.Table]:
    """The tables with person rows, from simulated blocks in order.

    ``participation_from`` is the number of participations written before.
    """

    def joined(name: str) -> Ints:
        return np.concatenate([getattr(block, name) for block in blocks], axis=1)

    t0 = start_month(world)
    burn = world.calendar.burn_in
    people = joined("persons")
    spells, part = joined("spells"), joined("part")
    before = np.cumsum([0] + [block.spells.shape[1] for block in blocks])[:-1]
    part[at.L_SPELL] += np.repeat(before, [block.part.shape[1] for block in blocks])
    begin, end = int(arrays.first_day[burn]), int(arrays.first_day[burn + months])
    return {
        "persons": _persons(people, t0),
        "residence": _residence(people, t0),
        "education": _education(people, joined("edu"), t0),
        "spells": _spells(spells, people, begin, end),
        "participation": _participation(part, spells, people, begin, end, participation_from),
        "jobs": _jobs(joined("jobs"), t0),
        "benefits": _benefits(joined("benefits"), t0),
        "randomisation": _randomisation(joined("rand")),
    }


def shared_tables(world: World, arrays: Arrays, months: int) -> dict[str, pa.Table]:
    """The tables without person rows: offices, rollout, last_observed."""
    t0, burn = start_month(world), world.calendar.burn_in
    offices = arrays.cond.shape[0]
    window = slice(burn, burn + months)
    month = np.tile(np.arange(t0 + burn, t0 + burn + months), offices)
    logu = world.market.unemployment_elasticity * arrays.cond[:, window]
    rate = world.market.unemployment_mean * np.exp(logu)
    vacancies = 12.0 * np.exp(1.1 * arrays.cond[:, window])
    office = np.repeat(np.arange(offices), months)
    rows = [
        (o, key, int(start) + t0)
        for key, starts in (("ips", arrays.ips_from), ("kvp", arrays.kvp_from))
        for o, start in enumerate(starts)
        if start < 10**5
    ]
    first, last = t0 + burn, t0 + burn + months - 1
    names = (
        "persons", "residence", "education", "spells", "participation", "jobs", "benefits",
        "offices", "rollout", "randomisation",
    )  # fmt: skip
    early = {"persons", "residence", "education", "spells", "participation", "rollout"}
    return {
        "offices": pa.table(
            {
                "office": _office(office),
                "month": pa.array(month, pa.int32()),
                "unemployment_rate": np.ascontiguousarray(rate).ravel(),
                "vacancies_per_1000": np.ascontiguousarray(vacancies).ravel(),
            }
        ),
        "rollout": pa.table(
            {
                "office": _office(np.array([r[0] for r in rows], dtype=np.int64)),
                "programme": pa.array([r[1] for r in rows], pa.string()),
                "from_month": pa.array([r[2] for r in rows], pa.int32()),
            }
        ),
        "last_observed": pa.table(
            {
                "table_name": pa.array(names, pa.string()),
                "first_month": pa.array([t0 if n in early else first for n in names], pa.int32()),
                "last_month": pa.array([last] * len(names), pa.int32()),
            }
        ),
    }


def _text(codes: Ints, levels: tuple[str, ...]) -> pa.Array:
    """Strings by code; -1 is missing."""
    index = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(index, pa.array(levels, pa.string())).dictionary_decode()


def _dates(days: Ints, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(days.astype(np.int32), mask=missing).cast(pa.date32())


def _office(number: Ints) -> pa.Array:
    levels = tuple(f"NAV{i + 1:03d}" for i in range(int(number.max(initial=-1)) + 1))
    return _text(number, levels or ("NAV001",))


def _month_days(index: Ints) -> Ints:
    """First day of each month index, in days since 1970."""
    months = (index - 1970 * 12).astype("datetime64[M]")
    return months.astype("datetime64[D]").astype(np.int64)


def _birth(people: Ints, t0: int) -> Ints:
    return _month_days(people[at.BIRTH_T] + t0) + people[at.BIRTH_DAY]


def _persons(people: Ints, t0: int) -> pa.Table:
    gone, left = people[at.N_AI], people[at.N_AI + 1] == 1
    return pa.table(
        {
            "person_id": people[at.N_AI + 2] + 1,
            "birth_date": _dates(_birth(people, t0)),
            "sex": _text(people[at.SEX], ("female", "male")),
            "country_of_birth": _text(people[at.COUNTRY], at.COUNTRIES),
            "death_date": _dates(gone, (gone < 0) | left),
            "emigration_date": _dates(gone, (gone < 0) | ~left),
        }
    )


def _residence(people: Ints, t0: int) -> pa.Table:
    """One row a person: from birth, or for those born abroad from a day before month 0."""
    number, gone = people[at.N_AI + 2], people[at.N_AI]
    birth = _birth(people, t0)
    begin = int(_month_days(np.array([t0]))[0])
    arrived = np.maximum(birth, begin - 200 - (number * 7919) % 4000)
    levels = tuple(f"K{i + 1:03d}" for i in range(int(people[at.OFFICE].max(initial=0)) + 1))
    return pa.table(
        {
            "person_id": number + 1,
            "from_date": _dates(np.where(people[at.COUNTRY] == 0, birth, arrived)),
            "to_date": _dates(gone, gone < 0),
            "municipality": _text(people[at.OFFICE], levels),
        }
    )


def _education(people: Ints, gained: Ints, t0: int) -> pa.Table:
    """First level from age 16, 19 or 23, or from month 0 for whoever is younger then."""
    level = people[at.EDU0]
    years = np.array([16, 19, 23])[level]
    start = _month_days(people[at.BIRTH_T] + t0 + 12 * years)
    entered = _month_days(people[at.ENTRY] + t0)
    start = np.minimum(start, entered)
    person = np.concatenate([people[at.N_AI + 2], gained[0]])
    day = np.concatenate([start, gained[1]])
    levels = np.concatenate([level, gained[2]])
    order = np.lexsort((day, person))
    return pa.table(
        {
            "person_id": person[order] + 1,
            "date": _dates(day[order]),
            "level": _text(levels[order], at.EDUCATION),
        }
    )


def _row_of(person: Ints, people: Ints) -> Ints:
    """Position of each person number in ``people``, whose numbers are consecutive."""
    return person - people[at.N_AI + 2, 0]


def _spells(spells: Ints, people: Ints, begin: int, end: int) -> pa.Table:
    """Spells reaching the observed window; open at its end where they run on."""
    stop = spells[at.G_STOP]
    keep = (stop < 0) | (stop > begin)
    spells = spells[:, keep]
    stop = spells[at.G_STOP]
    who = _row_of(spells[at.G_PERSON], people)
    decided = np.maximum(spells[at.G_START], spells[at.G_DECISION])
    late = (decided >= end) | ((stop >= 0) & (decided >= stop))
    return pa.table(
        {
            "person_id": spells[at.G_PERSON] + 1,
            "state": _text(spells[at.G_STATE], at.BASE_STATES),
            "start": _dates(spells[at.G_START]),
            "stop": _dates(stop, stop < 0),
            "innsatsgruppe": _text(np.where(late, -1, spells[at.G_GROUP]), at.INNSATS),
            "decision_date": _dates(decided, late),
            "office": _office(people[at.OFFICE][who]),
            "diagnosis_group": _text(people[at.DIAG][who], at.DIAGNOSES),
        }
    )


def _participation(
    part: Ints, spells: Ints, people: Ints, begin: int, end: int, offset: int
) -> pa.Table:
    """Decisions made in a registration spell that reaches the observed window."""
    spell_stop = spells[at.G_STOP][part[at.L_SPELL]] if part.size else part[0]
    last = np.maximum(part[at.L_STOP], part[at.L_DECIDED])
    part = part[:, (spell_stop < 0) | (spell_stop > begin) | (last >= begin)]
    person, prog, stop = part[at.L_PERSON], part[at.L_PROG], part[at.L_STOP]
    start, decided = part[at.L_START], part[at.L_DECIDED]
    month = parse_month(AFT_FROM)
    old = (prog == at.AFT) & (decided < _month_days(np.array([month]))[0])
    codes = tuple(dict.fromkeys([c for pair in CODES for c in pair] + [PREDECESSOR[0]]))
    lookup = np.array([[codes.index(c) for c in pair] for pair in CODES])
    code = np.where(old, codes.index(PREDECESSOR[0]), lookup[prog, person % 2])
    names = (*at.PROGRAMMES, PREDECESSOR[1])
    who = _row_of(person, people)
    office = people[at.OFFICE][who]
    bought = np.isin(prog, [at.AFT, at.AMO, at.OPP])
    providers = tuple(f"T{i + 1:03d}" for i in range(60))
    provider = np.where(bought, (office * 3 + prog) % 60, -1)
    employer = part[at.L_EMP]
    return pa.table(
        {
            "participation_id": np.arange(offset + 1, offset + 1 + len(person), dtype=np.int64),
            "person_id": person + 1,
            "code": _text(code, codes),
            "programme": _text(np.where(old, len(names) - 1, prog), names),
            "application_date": _dates(decided - 10 - (person * 31 + prog) % 20),
            "decision_date": _dates(decided),
            "start": _dates(start, start < 0),
            "stop": _dates(stop, (stop < 0) | (stop > end)),
            "status": _text(part[at.L_STATUS], at.STATUSES),
            "started": pa.array(start >= 0),
            "office": _office(office),
            "provider": _text(provider, providers),
            "employer_id": pa.array(employer, mask=employer < 0),
        }
    )


def _jobs(jobs: Ints, t0: int) -> pa.Table:
    return pa.table(
        {
            "person_id": jobs[0] + 1,
            "employer_id": jobs[1],
            "month": pa.array((jobs[2] + t0).astype(np.int32)),
            "position_pct": jobs[3].astype(np.float64),
            "hours": jobs[4] / 10.0,
            "earnings_nok": jobs[5],
        }
    )


def _benefits(benefits: Ints, t0: int) -> pa.Table:
    return pa.table(
        {
            "person_id": benefits[0] + 1,
            "month": pa.array((benefits[1] + t0).astype(np.int32)),
            "benefit": _text(benefits[2], at.BENEFITS),
            "grade": benefits[3].astype(np.float64),
            "amount_nok": benefits[4],
        }
    )


def _randomisation(rand: Ints) -> pa.Table:
    return pa.table(
        {
            "person_id": rand[0] + 1,
            "trial": pa.array([TRIAL] * rand.shape[1], pa.string()),
            "date": _dates(rand[1]),
            "arm": _text(rand[2], ("control", "offered")),
        }
    )
