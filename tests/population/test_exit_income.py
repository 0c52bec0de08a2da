"""Income after exits, by hand and against the register's own tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tiltakeval.engine import connect
from tiltakeval.population.exit_income import exit_income
from tiltakeval.population.person_periods import PeriodSpec, person_periods
from tiltakeval.population.tables import prepare
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import read_registers
from tiltakeval.study.synthesize import synthesize


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("income") / "extract"
    synthesize(out, persons=1_500, seed=3)
    return out


def test_means_are_those_of_the_tables(folder: Path) -> None:
    exits = {"job": ("job",), "other": ("education", "uforetrygd", "out")}
    with connect() as engine:
        shelf = catalogue.load()
        registers = read_registers(folder, engine=engine, catalogue=shelf)
        work = prepare(registers, shelf, seed=1)
        periods = person_periods(work, PeriodSpec(base="jobseeker", programmes=("amo",)))
        found = exit_income(periods, exits, factors=None, followed=3)
        rows = engine.frame(periods.table.select("person", "month", "event", "exposure"))
        people = engine.frame(work.people.select("person", "person_id"))
        last = min(work.coverage[t][1] for t in ("jobs", "benefits"))
    ids = people.set_index("person").person_id
    pay = _by_month(folder, "jobs", "earnings_nok")
    paid = _by_month(folder, "benefits", "amount_nok")

    def mean(person: pd.Series, month: pd.Series) -> float:
        keys = pd.MultiIndex.from_arrays([person.map(ids), month])
        there = (month <= last).to_numpy()
        both = pay.reindex(keys, fill_value=0.0) + paid.reindex(keys, fill_value=0.0)
        return float(both[there].mean())

    months = rows[["person", "month"]].drop_duplicates()
    assert found["remaining"].nok == pytest.approx(mean(months.person, months.month), rel=1e-4)
    number = periods.transitions.index("job") + 1
    left = rows[rows.event == number]
    follow = pd.concat([left.assign(month=left.month + k) for k in (1, 2, 3)])
    assert found["job"].nok == pytest.approx(mean(follow.person, follow.month), rel=1e-4)
    assert found["job"].persons <= left.person.nunique() <= found["job"].persons + 20
    assert found["other"].nok < found["job"].nok


def _by_month(folder: Path, table: str, column: str) -> pd.Series:
    frame = pd.read_parquet(folder / f"{table}.parquet")
    return frame.groupby(["person_id", "month"])[column].sum()
