"""Do the intervals hold the truth? Replications on synthetic registers, resumable.

    python benchmarks/interval_coverage.py run [--rule standard] [--replications 1000] [--minutes 60]
    python benchmarks/interval_coverage.py report [--rule standard]

Every replication draws a register of new persons in the same world, builds the target trials and
estimates ``now_vs_wait`` and ``vs_no_programme`` by AIPW with the library's defaults. The truth is that
of the world's population: millions of other persons, each estimand by its own intervention.
Rules of assignment: standard (a logit in observed facts, inside the estimators' model class), constant
(no selection) and nonlinear (thresholds and interactions, outside it). With ``--hidden past`` or
``fresh`` assignment also depends on what no register shows.
Finished batches lie in benchmarks/work and are merged into benchmarks/results/coverage_<rule>.csv.gz.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import multiprocessing
import platform
import shutil
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import stats

RESULTS = Path(__file__).parent / "results"
RULES = ("standard", "constant", "nonlinear")
PERSONS = 20_000
TRUTH_PERSONS = 7_200_000
TRUTH_PERSONS_HIDDEN = 400_000
TRUTH_SEED = 987_654_321
SEED = 1
COMPARISON = 6_000
ENTRY = ("2016-01", "2020-12")
HORIZON = 36
MONTHS = (3, 6, 12, 24, 36)
OUTCOMES = ("work_unsubsidised", "earnings_nok", "benefits_total_nok")
ARMS = {
    "jobseeker": ("amo", "lonnstilskudd_midlertidig", "oppfolging", "arbeidstrening"),
    "nedsatt_arbeidsevne": ("aft", "lonnstilskudd_midlertidig", "amo", "fag_og_yrkesopplaering"),
}
ESTIMANDS = ("now_vs_wait", "vs_no_programme")
KEYS = ["population", "estimand", "programme", "outcome", "horizon"]
#: Cells that rest on fewer participants, or fewer with the outcome, are printed but not judged: the
#: library warns of the first, and a share of three events can't have an exact interval.
FEW, FEW_EVENTS = 50, 5


def world(rule: str, hidden: str):
    from tiltakeval.synthetic.world import load_world

    made = load_world("standard").with_(assignment=rule)
    if hidden != "none":
        made = made.with_(selection_unobserved=1.0, selection_unobserved_kind=hidden)
    return made


def label(rule: str, hidden: str, persons: int = PERSONS) -> str:
    """Name of a run's results; the size of the registers is told where it isn't the usual one."""
    name = rule if hidden == "none" else f"{rule}_hidden_{hidden}"
    return name if persons == PERSONS else f"{name}_{persons}"


def persons_of(name: str) -> int:
    """The size of the registers of the run with this name."""
    last = name.rsplit("_", 1)[-1]
    return int(last) if last.isdigit() else PERSONS


@cache
def truth(rule: str, hidden: str) -> pd.DataFrame:
    """True effects of the world's population, computed once and kept beside the results."""
    from tiltakeval.estimates.table import Estimates
    from tiltakeval.synthetic.truth import TruthSpec
    from tiltakeval.synthetic.truth import truth as true_effects

    path = RESULTS / f"truth_{label(rule, hidden)}.csv"
    if not path.exists():
        spec = TruthSpec(
            arms=tuple(sorted({a for arms in ARMS.values() for a in arms})),
            entry=ENTRY,
            horizon=HORIZON,
            outcomes=OUTCOMES,
            estimands=ESTIMANDS,
            subgroups=False,
        )
        persons = TRUTH_PERSONS if hidden == "none" else TRUTH_PERSONS_HIDDEN
        found = true_effects(world(rule, hidden), persons, TRUTH_SEED, spec, threads=2)
        found.select(term="effect", subgroup="all").write(path)
    table = Estimates.read(path).table
    return table.assign(population=table["population"].str.split(":").str[0])


def batch(rule: str, hidden: str, number: int, persons: int, size: int) -> list[dict]:
    """Rows of replications number*size .. : ``size`` registers of ``persons`` new persons each.

    The registers are simulated and read as one (persons are independent draws in the same world),
    then each is estimated on its own, its censoring model included: the engine's fixed costs are
    paid once.
    """
    from tiltakeval.design.from_population import design_from_population
    from tiltakeval.engine import connect
    from tiltakeval.months import parse_month
    from tiltakeval.population.censoring import CensoringModel
    from tiltakeval.population.spec import PopulationSpec
    from tiltakeval.population.trials import build_population
    from tiltakeval.programmes import catalogue
    from tiltakeval.registers.read import read_registers
    from tiltakeval.synthetic.simulate import simulate_tables

    shelf = catalogue.load()
    true = truth(rule, hidden).set_index([*KEYS])["estimate"].sort_index()
    folder = Path(tempfile.mkdtemp(prefix="coverage-"))
    rows: list[dict] = []
    try:
        tables = simulate_tables(
            world(rule, hidden),
            persons * size,
            months=120,
            seed=SEED,
            first=number * persons * size,
        )
        for name, table in tables.items():
            pq.write_table(table, folder / f"{name}.parquet")
        del tables
        for base, arms in ARMS.items():
            with connect(threads=1, memory_limit="3GB") as engine:
                registers = read_registers(folder, engine=engine, catalogue=shelf)
                population = build_population(
                    registers,
                    shelf,
                    PopulationSpec(
                        base=base,
                        arms=arms,
                        entry=(parse_month(ENTRY[0]), parse_month(ENTRY[1])),
                        estimand="vs_no_programme",
                        horizon=HORIZON,
                        max_comparison=COMPARISON * size * persons // PERSONS,
                        seed=number,
                    ),
                )
                model = CensoringModel(max_rows=10 * persons * size, persons_per_block=persons)
                design, _ = design_from_population(population, outcomes=OUTCOMES, censoring=model)
                dense = engine.arrow(population.units.select("unit", "person").order_by("unit"))[
                    "person"
                ].to_numpy()
            block = dense // persons
            for i in range(size):
                rows += one_register(
                    design.take(block == i), base, arms, true, seed=number * size + i
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def one_register(design, base: str, arms: tuple[str, ...], true, *, seed: int) -> list[dict]:
    """Rows of one register and base state: effects at MONTHS, bands, sums, placebo p values."""
    from tiltakeval.design.from_population import usable
    from tiltakeval.diagnostics.placebo import placebo_outcomes, placebo_together
    from tiltakeval.estimates.lockin import lock_in
    from tiltakeval.estimators.weighting.aipw import AIPW

    x, names, _ = usable(design.covariates, design.covariate_names)
    design = replace(design, covariates=x, covariate_names=names)
    estimator = AIPW(target="att", seed=seed)
    nuisance = estimator.nuisance(design)
    waiting = replace(design, censor_weight=None, estimand="now_vs_wait")
    rows: list[dict] = []
    for estimand, made in (("now_vs_wait", waiting), ("vs_no_programme", design)):
        chosen = replace(estimator, placebo=estimand == "now_vs_wait")
        found = chosen.estimate(made, nuisance)
        effects = found.select(term="effect", subgroup="all")
        table = effects.table
        known = effects.take(np.flatnonzero(table["estimate"].notna()))
        summed = lock_in(known, windows=(12, 36)).select(term="cumulated").table
        for arm in arms:
            for outcome in OUTCOMES:
                cell = table[(table["programme"] == arm) & (table["outcome"] == outcome)]
                cell = cell.set_index("horizon").sort_index()
                if len(cell) < HORIZON + 1 or cell["estimate"].isna().any():
                    continue
                target = true.loc[(base, estimand, arm, outcome)].sort_index()
                target = target.loc[cell.index]
                inside = (cell["band_low"] - 1e-9 <= target) & (target <= cell["band_high"] + 1e-9)
                common = {
                    "seed": seed,
                    "population": base,
                    "estimand": estimand,
                    "programme": arm,
                    "outcome": outcome,
                    "n_treated": int(cell["n_treated"].iloc[0]),
                }
                for month in MONTHS:
                    row = cell.loc[month]
                    covered = row["conf_low"] <= target[month] <= row["conf_high"]
                    rows.append(
                        common
                        | {
                            "horizon": str(month),
                            "estimate": row["estimate"],
                            "std_error": row["std_error"],
                            "n_events": int(row["n_events"]),
                            "covered": int(covered),
                            "band": int(inside.all()),
                        }
                    )
                sums = summed[(summed["programme"] == arm) & (summed["outcome"] == outcome)]
                for _, row in sums.iterrows():
                    value = target.loc[: int(row["period"].split("-")[1])].sum()
                    covered = row["conf_low"] <= value <= row["conf_high"]
                    rows.append(
                        common
                        | {
                            "horizon": f"sum {row['period']}",
                            "estimate": row["estimate"],
                            "std_error": row["std_error"],
                            "covered": int(covered),
                            "band": -1,
                        }
                    )
        if estimand != "now_vs_wait":
            continue
        before = found.select(term="placebo", subgroup="all")
        for check in (*placebo_outcomes(estimates=before), *placebo_together(estimates=before)):
            arm = check.scope.get("programme", "together")
            members = design.arm == 1 + arms.index(arm) if arm in arms else design.arm > 0
            rows.append(
                {
                    "seed": seed,
                    "population": base,
                    "estimand": estimand,
                    "programme": arm,
                    "outcome": "placebo",
                    "horizon": "joint",
                    "n_treated": int(members.sum()),
                    "estimate": float("nan") if check.statistic is None else check.statistic,
                }
            )
    return rows


def _job(task: tuple[str, str, int, int, int]) -> tuple[int, list[dict]]:
    return task[2], batch(*task)


def run(options: argparse.Namespace) -> None:
    """Run what isn't done yet; a file a batch in the work folder, merged at the end."""
    RESULTS.mkdir(exist_ok=True)
    name = label(options.rule, options.hidden, options.persons)
    truth(options.rule, options.hidden)
    work = Path(__file__).parent / "work" / f"coverage_{name}"
    work.mkdir(parents=True, exist_ok=True)
    size = options.batch
    batches = -(-options.replications // size)
    path = RESULTS / f"coverage_{name}.csv.gz"
    done = {int(seed) // size for seed in pd.read_csv(path)["seed"]} if path.exists() else set()
    done |= {int(p.stem) for p in work.glob("*.csv")}
    todo = [b for b in range(batches) if b not in done]
    print(f"{name}: {len(done)} batches of {size} done, {len(todo)} to do", flush=True)
    end = time.time() + 60 * options.minutes
    tasks = [(options.rule, options.hidden, number, options.persons, size) for number in todo]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for number, rows in pool.imap_unordered(_job, tasks):
            pd.DataFrame(rows).to_csv(work / f"{number}.csv", index=False, float_format="%.7g")
            print(f"  batch {number} done", flush=True)
            if time.time() > end:
                pool.terminate()
                break
    merge(name)


def merge(name: str) -> None:
    """Put finished batches into the committed result file."""
    work = Path(__file__).parent / "work" / f"coverage_{name}"
    path = RESULTS / f"coverage_{name}.csv.gz"
    parts = [pd.read_csv(p) for p in sorted(work.glob("*.csv"), key=lambda p: int(p.stem))]
    if path.exists():
        parts.insert(0, pd.read_csv(path))
    if parts:
        keys = ["seed", *KEYS]
        merged = pd.concat(parts, ignore_index=True).drop_duplicates(keys, keep="last")
        merged.sort_values(keys).to_csv(
            path, index=False, float_format="%.6g", compression={"method": "gzip", "mtime": 0}
        )


def report(name: str) -> None:
    """Print pooled coverage, every cell, bands and placebo rejections of one rule."""
    merge(name)
    path = RESULTS / f"coverage_{name}.csv.gz"
    if not path.exists():
        return
    rows = pd.read_csv(path)
    rule, *more = name.removesuffix(f"_{persons_of(name)}").split("_hidden_")
    hidden = more[0] if more else "none"
    true = truth(rule, hidden).copy()
    true["horizon"] = true["horizon"].astype(str)
    placebo = rows[rows["outcome"] == "placebo"]
    cells = rows[rows["outcome"] != "placebo"]
    monthly = cells[~cells["horizon"].str.startswith("sum")]
    replications = rows["seed"].nunique()
    print(
        f"\n{name}: {replications} replications of {persons_of(name)} persons (drawn anew each time)"
    )
    grouped = monthly.groupby(KEYS).agg(
        reps=("seed", "nunique"),
        treated=("n_treated", "mean"),
        events=("n_events", "mean"),
        mean=("estimate", "mean"),
        sd=("estimate", "std"),
        se=("std_error", "mean"),
        coverage=("covered", "mean"),
    )
    known = true.set_index(KEYS)[["estimate", "std_error"]]
    grouped = grouped.join(known.rename(columns={"estimate": "truth", "std_error": "truth_error"}))
    grouped["bias_sd"] = (grouped["mean"] - grouped["truth"]) / grouped["sd"]
    grouped["mc_error"] = np.hypot(
        1 / np.sqrt(grouped["reps"]), grouped["truth_error"] / grouped["sd"]
    )
    enough = grouped[(grouped["treated"] >= FEW) & (grouped["events"] >= FEW_EVENTS)]
    tail = stats.norm.sf(stats.norm.isf(0.025 / max(len(enough), 1)))
    low = stats.binom.ppf(tail, enough["reps"], 0.95) / enough["reps"]
    high = stats.binom.isf(tail, enough["reps"], 0.95) / enough["reps"]
    outside = (enough["coverage"] < low) | (enough["coverage"] > high)
    biased = enough["bias_sd"].abs() > 0.1 + 2 * enough["mc_error"]
    many = stats.norm.isf(0.025 / max(len(enough), 1))
    surely = enough["bias_sd"].abs() > 0.1 + many * enough["mc_error"]
    # bias of a typical cell, what Monte Carlo error adds to it taken out, and how many would then be
    # above the limit if biases were normal
    typical = np.sqrt(max((enough["bias_sd"] ** 2 - enough["mc_error"] ** 2).mean(), 0.0))
    spread = np.hypot(typical, enough["mc_error"])
    expected = 2 * stats.norm.sf((0.1 + 2 * enough["mc_error"]) / spread).sum()
    pooled = np.average(enough["coverage"], weights=enough["reps"])
    print(f"pooled coverage of 95 % intervals, {len(enough)} cells: {100 * pooled:.2f} %")
    for estimand, part in enough.groupby(level="estimand"):
        print(f"  {estimand}: {100 * np.average(part['coverage'], weights=part['reps']):.2f} %")
    print(f"cells outside the Bonferroni interval round 95 %: {int(outside.sum())}")
    print(f"cells with |bias| above 0.1 sd + 2 Monte Carlo errors: {int(biased.sum())}")
    print(f"  of which beyond a Bonferroni-adjusted Monte Carlo interval: {int(surely.sum())}")
    print(
        f"  bias of a typical cell, net of Monte Carlo error: {typical:.3f} sd; with it in all cells, "
    )
    print(f"  {expected:.1f} cells are above the limit by chance")
    bands = (
        monthly[monthly["horizon"] == "12"]
        .groupby(KEYS[:-1])
        .agg(band=("band", "mean"), treated=("n_treated", "mean"), reps=("seed", "nunique"))
    )
    bands = bands[bands["treated"] >= FEW]
    print(f"simultaneous bands over 37 months: {100 * bands['band'].mean():.2f} %")
    sums = (
        cells[cells["horizon"].str.startswith("sum")]
        .groupby([*KEYS])
        .agg(covered=("covered", "mean"), treated=("n_treated", "mean"))
    )
    sums = sums[sums["treated"] >= FEW]
    print(f"cumulated effects: {100 * sums['covered'].mean():.2f} %")
    if len(placebo):
        by = placebo.groupby(["population", "programme"])["estimate"]
        print("placebo checks rejecting at 5 % (together: all programmes of the base population):")
        print((100 * by.apply(lambda p: (p < 0.05).mean())).round(1).to_string())
        joint = placebo[placebo["programme"] == "together"].groupby("seed")["estimate"]
        joint = joint.agg(["min", "count"])
        rejected = 100 * (joint["min"] < 0.05 / joint["count"]).mean()
        print(
            f"registers in which 'together' rejects (Bonferroni over populations): {rejected:.1f} %"
        )
    with pd.option_context("display.width", 160, "display.max_rows", None):
        shown = grouped.assign(
            coverage=100 * grouped["coverage"], ratio=grouped["se"] / grouped["sd"]
        )
        print(
            shown[
                [
                    "treated",
                    "events",
                    "truth",
                    "mean",
                    "sd",
                    "ratio",
                    "coverage",
                    "bias_sd",
                    "mc_error",
                ]
            ]
            .round(3)
            .to_string()
        )
    summary = {
        "name": name,
        "replications": int(replications),
        "persons": persons_of(name),
        "pooled_coverage": round(float(pooled), 4),
        "cells": len(enough),
        "cells_outside": int(outside.sum()),
        "cells_biased": int(biased.sum()),
        "cells_surely_biased": int(surely.sum()),
        "typical_bias_sd": round(float(typical), 4),
        "cells_biased_expected": round(float(expected), 1),
        "band_coverage": round(float(bands["band"].mean()), 4),
        "cumulated_coverage": round(float(sums["covered"].mean()), 4),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    (RESULTS / f"coverage_{name}.json").write_text(json.dumps(summary, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of the intervals against known truth")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("--rule", choices=RULES, default="standard")
    one.add_argument("--hidden", choices=("none", "past", "fresh"), default="none")
    one.add_argument("--replications", type=int, default=1000)
    one.add_argument("--persons", type=int, default=PERSONS)
    one.add_argument("--batch", type=int, default=10)
    one.add_argument("--workers", type=int, default=2)
    one.add_argument("--minutes", type=float, default=1e6)
    two = commands.add_parser("report")
    two.add_argument("--name", default=None)
    options = parser.parse_args()
    if options.command == "run":
        run(options)
        return
    names = (
        [options.name]
        if options.name
        else sorted(
            p.name.removeprefix("coverage_").removesuffix(".csv.gz")
            for p in RESULTS.glob("coverage_*.csv.gz")
        )
    )
    for name in names:
        report(name)


if __name__ == "__main__":
    main()
