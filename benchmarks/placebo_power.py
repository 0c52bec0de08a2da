"""How often do the placebo checks reject, with and without hidden selection? By size of the register.

    python benchmarks/placebo_power.py run [--persons 300000] [--hidden past] [--replications 40]
    python benchmarks/placebo_power.py report

With ``--hidden past`` who is assigned depends on traits that no register shows and that also moved the
past; with ``none`` on observed facts alone, and the share rejected is the checks' size. Registers are
those of interval_coverage.py, and so are the target trials; effects aren't estimated, which leaves the
placebo outcomes as they are. A replication is one register; finished ones are in
benchmarks/results/placebo_power.csv, and a run takes up where it stopped.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import interval_coverage as coverage
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import stats

RESULTS = coverage.RESULTS / "placebo_power.csv"
KEYS = ["hidden", "persons", "seed", "population", "programme"]


def register(hidden: str, persons: int, number: int) -> list[dict]:
    """p values of the placebo checks in register ``number``, by programme and together."""
    from tiltakeval.design.from_population import design_from_population, usable
    from tiltakeval.diagnostics.placebo import placebo_outcomes, placebo_together
    from tiltakeval.engine import connect
    from tiltakeval.estimators.weighting.aipw import AIPW
    from tiltakeval.months import parse_month
    from tiltakeval.population.spec import PopulationSpec
    from tiltakeval.population.trials import build_population
    from tiltakeval.programmes import catalogue
    from tiltakeval.registers.read import read_registers
    from tiltakeval.synthetic.simulate import simulate_tables

    clock, shelf = time.process_time(), catalogue.load()
    folder = Path(tempfile.mkdtemp(prefix="placebo-"))
    rows: list[dict] = []
    try:
        tables = simulate_tables(
            coverage.world("standard", hidden), persons, months=120, seed=coverage.SEED,
            first=number * persons,
        )  # fmt: skip
        for name, table in tables.items():
            pq.write_table(table, folder / f"{name}.parquet")
        del tables
        for base, arms in coverage.ARMS.items():
            spec = PopulationSpec(
                base=base,
                arms=arms,
                entry=(parse_month(coverage.ENTRY[0]), parse_month(coverage.ENTRY[1])),
                horizon=1,
                max_comparison=coverage.COMPARISON * persons // coverage.PERSONS,
                seed=number,
            )
            with connect(threads=1, memory_limit="3GB") as engine:
                registers = read_registers(folder, engine=engine, catalogue=shelf)
                population = build_population(registers, shelf, spec)
                design, _ = design_from_population(population, outcomes=coverage.OUTCOMES[:1])
            x, names, _ = usable(design.covariates, design.covariate_names)
            design = replace(design, covariates=x, covariate_names=names)
            found = AIPW(target="att", seed=number).estimate(design)
            before = found.select(term="placebo", subgroup="all")
            for check in (*placebo_outcomes(estimates=before), *placebo_together(estimates=before)):
                arm = check.scope.get("programme", "together")
                rows.append(
                    {
                        "hidden": hidden,
                        "persons": persons,
                        "seed": number,
                        "population": base,
                        "programme": arm,
                        "treated": int((design.arm == 1 + arms.index(arm)).sum())
                        if arm in arms
                        else int((design.arm > 0).sum()),
                        "p": np.nan if check.statistic is None else check.statistic,
                    }
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.process_time() - clock, 1)
    return [row | {"cpu_seconds": seconds} for row in rows]


def run(given: argparse.Namespace) -> None:
    """Registers that aren't done yet, each written as it ends."""
    done = set()
    if RESULTS.exists():
        table = pd.read_csv(RESULTS)
        same = table[(table.hidden == given.hidden) & (table.persons == given.persons)]
        done = set(same.seed)
    for number in range(given.replications):
        if number not in done:
            rows = pd.DataFrame(register(given.hidden, given.persons, number))
            rows.to_csv(
                RESULTS, mode="a", header=not RESULTS.exists(), index=False, float_format="%.6g"
            )
            print(f"register {number} done", flush=True)


def report(_: argparse.Namespace) -> None:
    """Share rejected at 5 per cent, with exact 95 per cent limits of the share."""
    table = pd.read_csv(RESULTS).drop_duplicates(KEYS).sort_values(KEYS)
    table.to_csv(RESULTS, index=False)
    whole = table[table.programme == "together"].groupby(["hidden", "persons", "seed"])
    joint = whole.agg(p=("p", "min"), tests=("p", "count"), treated=("treated", "sum"))
    joint = joint.assign(p=joint.p * joint.tests, population="register", programme="together")
    every = pd.concat([table, joint.reset_index()])
    for (hidden, persons), part in every.groupby(["hidden", "persons"]):
        print(f"\nhidden selection: {hidden}; registers of {persons} persons")
        by = part.groupby(["population", "programme"]).agg(
            registers=("p", "size"), treated=("treated", "mean"), rejected=("p", _rejected)
        )
        by["low"], by["high"] = zip(*map(_limits, by.rejected, by.registers))
        shares = ["rejected", "low", "high"]
        by[shares] = (100 * by[shares].div(by.registers, axis=0)).round(1)
        print(by.round({"treated": 0}).to_string())


def _rejected(p: pd.Series) -> int:
    return int((p < 0.05).sum())


def _limits(events: int, n: int) -> tuple[float, float]:
    low = stats.beta.ppf(0.025, events, n - events + 1) if events else 0.0
    high = stats.beta.ppf(0.975, events + 1, n - events) if events < n else 1.0
    return n * low, n * high


def main() -> None:
    parser = argparse.ArgumentParser(description="Size and power of the placebo checks")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("--hidden", choices=("none", "past"), default="past")
    one.add_argument("--persons", type=int, default=300_000)
    one.add_argument("--replications", type=int, default=40)
    one.set_defaults(do=run)
    commands.add_parser("report").set_defaults(do=report)
    given = parser.parse_args()
    given.do(given)


if __name__ == "__main__":
    main()
