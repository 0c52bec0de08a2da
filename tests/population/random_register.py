"""A small random register with the awkward features of a real one, and a way to load it."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa

from tiltakeval.months import first_day
from tiltakeval.registers import schema as register_schema
from tiltakeval.registers.read import Registers

FIRST, LAST = 2013 * 12, 2019 * 12 + 11
PROGRAMMES = ("aft", "amo", "lonnstilskudd_midlertidig", "arbeidstrening", None)
COVERED = ("spells", "participation", "jobs", "benefits", "offices")


def random_tables(seed, persons=150):
    """Canonical tables as data frames: overlapping, nested, touching, reversed and open spells."""
    rng = np.random.default_rng(seed)

    def day(month):
        return first_day(int(month)) + dt.timedelta(int(rng.integers(0, 28)))

    def maybe(share, value):
        return value if rng.random() < share else None

    rows = {name: [] for name in register_schema.load().tables}
    for person in range(1, persons + 1):
        pid = person * 7 + 3
        rows["persons"].append(
            (pid, day(rng.integers(1945 * 12, 1999 * 12)), rng.choice(["female", "male"]),
             rng.choice(["NOR", "POL", "SOM", "XXX"]),
             maybe(0.06, day(rng.integers(FIRST, LAST))), maybe(0.06, day(rng.integers(FIRST, LAST))))
        )  # fmt: skip
        for _ in range(rng.integers(0, 3)):
            rows["education"].append(
                (pid, day(rng.integers(FIRST - 60, LAST)),
                 rng.choice(["grunnskole", "videregaende", "hoyere"]))
            )  # fmt: skip
        for _ in range(rng.integers(1, 5)):
            start = day(rng.integers(FIRST, LAST))
            length = int(rng.integers(-20, 700))
            rows["spells"].append(
                (pid, rng.choice(["jobseeker", "nedsatt_arbeidsevne"]), start,
                 maybe(0.85, start + dt.timedelta(length)), maybe(0.8, rng.choice(["BFORM", "BATT"])),
                 start + dt.timedelta(int(rng.integers(0, 90))), rng.choice(["0301", "1103"]),
                 rng.choice(["none", "mental", "other"]))
            )  # fmt: skip
        for _ in range(rng.integers(0, 4)):
            decided = day(rng.integers(FIRST, LAST))
            if rng.random() < 0.7:  # mostly soon after a registration
                soon = rows["spells"][-int(rng.integers(1, 2))][2]
                decided = min(soon + dt.timedelta(int(rng.integers(0, 300))), first_day(LAST))
            start = decided + dt.timedelta(int(rng.integers(0, 120)))
            started = rng.random() < 0.85
            programme = rng.choice(np.array(PROGRAMMES, dtype=object))
            rows["participation"].append(
                (len(rows["participation"]) + 1, pid, programme or "NYTT", programme, None,
                 maybe(0.95, decided), maybe(0.9, start) if not started else start,
                 maybe(0.9, start + dt.timedelta(int(rng.integers(-3, 300)))),
                 "GJENN" if started else "IKKEM", started, None, None,
                 maybe(0.5, int(rng.integers(1, 3))))
            )  # fmt: skip
        for _ in range(rng.integers(0, 4)):
            begin = int(rng.integers(FIRST, LAST))
            for month in range(begin, min(LAST, begin + int(rng.integers(1, 30))) + 1):
                rows["jobs"].append(
                    (pid, int(rng.integers(1, 3)), month, float(rng.choice([0, 40, 50, 100])), 80.0,
                     int(rng.integers(-500, 40_000)))
                )  # fmt: skip
        for _ in range(rng.integers(0, 3)):
            begin = int(rng.integers(FIRST, LAST))
            for month in range(begin, min(LAST, begin + int(rng.integers(1, 30))) + 1):
                rows["benefits"].append(
                    (pid, month, rng.choice(["aap", "dagpenger", "uforetrygd"]),
                     float(rng.choice([50, 100])), int(rng.integers(1000, 20_000)))
                )  # fmt: skip
    for office in ("0301", "1103"):
        rows["offices"] += [
            (office, m, float(2 + rng.random()), float(8 + rng.random()))
            for m in range(FIRST, LAST + 1)
        ]
    rows["last_observed"] = [(name, FIRST, LAST) for name in COVERED]
    tables = {}
    for name, found in rows.items():
        columns = list(register_schema.load()[name].columns)
        tables[name] = pd.DataFrame(found, columns=columns)
    for name, key in (("spells", ["person_id", "state", "start"]), ("education", ["person_id", "date"]),
                      ("jobs", ["person_id", "employer_id", "month"]),
                      ("benefits", ["person_id", "month", "benefit"])):  # fmt: skip
        tables[name] = tables[name].drop_duplicates(key, ignore_index=True)
    return tables


def load(engine, tables, name="random"):
    """The data frames as Registers."""
    schema = register_schema.load()
    loaded = {}
    for table, frame in tables.items():
        if schema[table].optional and frame.empty:
            continue
        arrow = pa.Table.from_pylist(
            frame.astype(object).where(frame.notna(), None).to_dict("records"),
            schema=schema[table].arrow(),
        )
        loaded[table] = engine.memory_table(arrow, f"{name}_{table}")
    return Registers(engine, loaded, fingerprint=name, source=name)
