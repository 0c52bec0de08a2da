"""How long grouped hazards take at register scale: the database's part, the fit, the errors by person.

    python benchmarks/grouped_hazard.py cells         # 20 million person-months, 12 categories
    python benchmarks/grouped_hazard.py continuous    # 1 million person-months, continuous covariates
    python benchmarks/grouped_hazard.py register      # lock-in in an invented register

Prints elapsed and CPU seconds (both threads of the engine) and writes them to results/.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from tiltakeval.design.event_history import EventHistory
from tiltakeval.design.person_periods_register import person_periods_of_register
from tiltakeval.design.person_periods_table import person_periods_from_table
from tiltakeval.engine import connect
from tiltakeval.estimators.duration.grouped_hazard import GroupedHazard
from tiltakeval.population.person_periods import PeriodSpec, person_periods
from tiltakeval.population.tables import prepare
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import read_registers
from tiltakeval.synthetic.layout import PROGRAMMES
from tiltakeval.synthetic.simulate import write_register
from tiltakeval.synthetic.world import World, load_world

RESULTS = Path(__file__).parent / "results" / "grouped_hazard.json"
#: 12 categories with 40 dummies between them; the last is programme status.
LEVELS = (2, 6, 4, 4, 4, 5, 4, 4, 5, 4, 6, 4)
COMBINATIONS = 10_000
MONTHS = 36


class Clock:
    """Elapsed and CPU seconds since it was made."""

    def __init__(self) -> None:
        self.elapsed, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {
            "elapsed": round(time.perf_counter() - self.elapsed, 2),
            "cpu": round(time.process_time() - self.cpu, 2),
        }


def peak_gb() -> float:
    """Largest memory of the process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def save(name: str, found: dict) -> None:
    """Print, and keep beside the other figures."""
    print(json.dumps({name: found}, indent=1))
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**kept, name: found}, indent=1) + "\n", "utf-8")


def invented_rows(rows: int, seed: int) -> tuple[pa.Table, np.ndarray]:
    """Person-months: a person has one of 10,000 combinations of 11 categories for the whole spell, and
    a status that begins in some month; and the true coefficients."""
    rng = np.random.default_rng(seed)
    base = np.stack([rng.integers(0, n, COMBINATIONS // 4) for n in LEVELS[:-1]], axis=1)
    beta = [np.concatenate([[0.0], rng.normal(0, 0.3, n - 1)]) for n in LEVELS]
    eta = sum(b[base[:, f]] for f, b in enumerate(beta[:-1])) - 3.6
    parts: list[dict[str, np.ndarray]] = []
    have, person = 0, 0
    while have < rows:
        n = 50_000
        kind = rng.integers(0, len(base), n)
        begins, which = rng.integers(0, 60, n), rng.integers(1, LEVELS[-1], n)
        month = np.arange(MONTHS)
        status = np.where(month >= begins[:, None], which[:, None], 0)
        hazard = np.exp(eta[kind][:, None] + beta[-1][status] - 0.02 * month)
        left = rng.random((n, MONTHS)) < 1 - np.exp(-hazard)
        last = np.where(left.any(axis=1), left.argmax(axis=1), MONTHS - 1)
        inside = month <= last[:, None]
        who, when = np.nonzero(inside)
        parts.append(
            {
                "person": (person + who).astype(np.int32),
                "time": when.astype(np.int16),
                "event": left[inside].astype(np.int8),
                **{f"c{f}": base[kind[who], f].astype(np.int8) for f in range(len(LEVELS) - 1)},
                f"c{len(LEVELS) - 1}": status[inside].astype(np.int8),
            }
        )
        have, person = have + who.size, person + n
    tables = [pa.table(part) for part in parts]
    return pa.concat_tables(tables).slice(0, rows), np.concatenate([b[1:] for b in beta])


def cells(rows: int) -> None:
    """The database's part, the fit and the errors, one exit, cloglog."""
    with connect(memory_limit="3GB", threads=2) as engine:
        made, truth = invented_rows(rows, 1)
        table = engine.memory_table(made, "rows")
        del made
        categories = {f"c{f}": [str(v) for v in range(n)] for f, n in enumerate(LEVELS)}
        whole = Clock()
        design = person_periods_from_table(
            engine, table, transitions=("job",), categories=categories,
            status=(f"c{len(LEVELS) - 1}",),
        )  # fmt: skip
        database = whole.read()
        after = Clock()
        found = GroupedHazard(model="cloglog").estimate(design)
        fit = after.read()
        total = whole.read()
    wanted = found.table[found.table.term != "baseline"]
    z = (wanted.estimate.to_numpy() - truth) / wanted.std_error.to_numpy()
    save(
        "cells",
        {
            "rows": design.rows, "persons": design.persons, "codes": len(design.x),
            "cells": design.cells, "coefficients": len(found),
            "database": database, "fit_and_errors": fit, "total": total, "peak_gb": peak_gb(),
            "largest_error_in_standard_errors": round(float(np.abs(z).max()), 2),
            "mean_square": round(float((z**2).mean()), 2),
        },
    )  # fmt: skip


def continuous(rows: int, width: int = 20) -> None:
    """Person-months with continuous covariates that change every month: nothing collapses."""
    rng = np.random.default_rng(2)
    months = 10
    n = rows // months
    x = rng.normal(size=(rows, width))
    beta = rng.normal(0, 0.1, width)
    person = np.repeat(np.arange(n), months)
    month = np.tile(np.arange(months), n).astype(np.float64)
    event = (rng.random(rows) < 1 - np.exp(-np.exp(x @ beta - 3.5))).astype(np.int16)
    design = EventHistory(
        person=person, start=month, stop=month + 1, event=event, transitions=("job",),
        at_risk=np.ones((rows, 1), dtype=bool), covariates=x,
        covariate_names=tuple(f"x{j}" for j in range(width)), enters=np.ones((1, width), dtype=bool),
        programme=(), weight=np.ones(rows), cluster=person,
    )  # fmt: skip
    out = {"rows": rows, "covariates": width}
    for model in ("exponential", "cloglog", "logit"):
        clock = Clock()
        found = GroupedHazard(model=model).estimate(design)
        out[model] = clock.read()
        rows_x = found.table[found.table.term == "coefficient"]
        if model != "logit":
            z = (rows_x.estimate.to_numpy() - beta) / rows_x.std_error.to_numpy()
            out[f"{model}_mean_square"] = round(float((z**2).mean()), 2)
    save("continuous", {**out, "peak_gb": peak_gb()})


def register_world(kind: str) -> World:
    """ "alike": nobody differs in what isn't recorded, and programmes come by chance. "often": the same,
    with AFT six times as often. "standard": as it is, with selection and hidden differences."""
    world = load_world("standard")
    if kind == "standard":
        return world
    world = world.with_constant_assignment().with_section("persons", sd_v1=0.0, sd_v2=0.0)
    return world.with_programme("aft", base=(0.0, 26.4)) if kind == "often" else world


RUNS = (
    ("often", "split"), ("often", "exit_first"), ("often", "entry_first"), ("alike", "split"),
    ("standard", "split"),
)  # fmt: skip


def register(persons: int) -> None:
    """Lock-in by AFT (hazard ratios) beside the truth, by world and tie rule. Runs already in the
    results, of as many persons, aren't repeated."""
    numbers = load_world("standard").programmes["aft"]
    truth = {"waiting": numbers.waiting, "in 0-3": numbers.early, "in 4-": numbers.late[1]}
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    out = kept.get("register", {})
    if out.get("persons") != persons:
        out = {"persons": persons, "truth": truth, "runs": []}
    for kind, ties in RUNS:
        if not any((run["world"], run["ties"]) == (kind, ties) for run in out["runs"]):
            out["runs"].append({"world": kind, "ties": ties} | one_register(kind, ties, persons))
            save("register", out)


def one_register(kind: str, ties: str, persons: int) -> dict:
    """Effects of AFT on finding a job in one register."""
    with tempfile.TemporaryDirectory() as folder, connect(memory_limit="2GB") as engine:
        write_register(Path(folder), register_world(kind), persons, 120, 1)
        clock = Clock()
        registers = read_registers(folder, engine=engine, catalogue=catalogue.load())
        spec = PeriodSpec(
            base="nedsatt_arbeidsevne", programmes=PROGRAMMES, ties=ties,
            covariates=("sex", "age", "landgruppe", "education", "diagnosis", "season",
                        "worked_24_now", "year"),
        )  # fmt: skip
        work = prepare(registers, catalogue.load(), seed=1)
        design = person_periods_of_register(person_periods(work, spec))
        built = clock.read()
        found = GroupedHazard(only="job", rare="leave_out", bands=False).estimate(design)
    table = found.table
    rows = table[(table.programme == "aft") & (table.term == "log_hazard_ratio")]
    names = {("vedtak", 0): "waiting", ("start", 0): "in 0-3", ("start", 4): "in 4-"}
    effects = {
        names[r.time_origin, r.horizon]: {
            "hazard_ratio": round(float(np.exp(r.estimate)), 3),
            "conf": [round(float(np.exp(v)), 3) for v in (r.conf_low, r.conf_high)],
            "persons": int(r.n_treated),
            "events": int(r.n_events),
        }
        for r in rows.itertuples()
        if (r.time_origin, r.horizon) in names
    }
    size = {"rows": design.rows, "cells": design.cells, "events": found.run["events"]["job"]}
    seconds = {"rows_and_cells": built, "total": clock.read(), "peak_gb": peak_gb()}
    return size | {"effects": effects} | seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["cells", "continuous", "register"])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--persons", type=int, default=100_000)
    given = parser.parse_args()
    if given.what == "cells":
        cells(given.rows or 20_000_000)
    elif given.what == "continuous":
        continuous(given.rows or 1_000_000)
    else:
        register(given.persons)


if __name__ == "__main__":
    main()
