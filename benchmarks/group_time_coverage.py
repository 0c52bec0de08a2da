"""Do intervals and bands of group-time effects hold the truth as often as they say?

    python benchmarks/group_time_coverage.py [--replications 1000] [--minutes 10] [--worlds ...]
    python benchmarks/group_time_coverage.py report

Worlds: 20, 40 and 400 offices of 20 persons, ten periods; a quarter of the offices each starts in
periods 4, 6 and 8, a quarter never. Effects grow over time, differ by cohort and vary between offices;
offices have a random walk and shocks of their own. "covariates": the mean of a covariate of persons
differs by cohort and drives the trend, which the doubly robust estimate takes up. "missing": 120 units
that are their own clusters, 10-30 % of rows missing at random, the same covariate. Estimates compare
with those not yet treated; averages by event time, overall and by cohort, every cell, and bands of 95 %.
Batches of 20 replications with seeds of their own are kept in
benchmarks/results/group_time_coverage.csv; a run goes on where the last one stopped.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators import build

RESULTS = Path(__file__).parent / "results"
KEPT = RESULTS / "group_time_coverage.csv"
REPORT = RESULTS / "group_time_coverage.json"
PERIODS = np.arange(1, 11)
STARTS = np.array([4.0, 6.0, 8.0, np.inf])
WORLDS = {
    f"{offices} offices, {kind}": (offices, kind == "covariates")
    for offices in (20, 40, 400)
    for kind in ("plain", "covariates")
} | {"120 units, rows missing": (120, True)}
PERSONS, BATCH = 20, 20
KEYS = ["world", "divisor", "cell"]


def effect(start: float, period: float) -> float:
    """The mean effect in a cohort: grows, and is larger for the early."""
    return (0.3 + 0.05 * (8 - start)) * (1 + 0.2 * (period - start)) if period >= start else 0.0


def draw(world: str, seed: int) -> StaggeredPanel:
    """A sample of the world."""
    offices, covariates = WORLDS[world]
    alone = world.endswith("missing")
    rng = np.random.default_rng([list(WORLDS).index(world), seed])
    persons = 1 if alone else PERSONS
    cohort = rng.permutation(np.arange(offices) % 4)
    office = np.repeat(np.arange(offices), persons)
    n = office.size
    mean = 0.3 * (cohort - 1.5) * covariates + 0.3 * rng.standard_normal(offices)
    x = mean[office] + rng.standard_normal(n)
    first = STARTS[cohort][office]
    y = rng.standard_normal((n, 1)) + rng.standard_normal((n, PERIODS.size))
    shocks = 0.3 * rng.standard_normal((offices, PERIODS.size))
    shocks += 0.15 * rng.standard_normal((offices, PERIODS.size)).cumsum(axis=1)
    y += shocks[office]
    if covariates:
        y += 0.15 * x[:, None] * PERIODS
    mean_effect = np.array([[effect(g, t) for t in PERIODS] for g in STARTS])
    y += mean_effect[cohort[office]] * (1 + 0.3 * rng.standard_normal(offices)[office])[:, None]
    if alone:
        y[rng.random(y.shape) < rng.uniform(0.1, 0.3)] = np.nan
    return StaggeredPanel(
        outcomes=y[:, :, None],
        outcome_names=("y",),
        units=("",),
        periods=PERIODS,
        first=first,
        covariates=x[:, None] if covariates else np.zeros((n, 0)),
        covariate_names=("x",) if covariates else (),
        weight=np.ones(n),
        cluster=office,
        cluster_kind="unit" if alone else "office",
        subgroups={},
        population="invented",
    )


def truth(table: pd.DataFrame) -> np.ndarray:
    """The true value of every row; cohorts are equally large."""
    cells = {(g, t): effect(g, t) for g in STARTS[:3] for t in PERIODS}
    after = {key: value for key, value in cells.items() if key[1] >= key[0]}
    out = np.full(len(table), np.nan)
    for i, row in enumerate(table.itertuples()):
        if row.term == "effect":
            out[i] = cells[float(row.cohort), int(row.period)]
        elif row.term == "effect_by_event_time":
            there = [cells[g, g + row.horizon] for g in STARTS[:3] if (g, g + row.horizon) in cells
                     and g + row.horizon > 1]  # fmt: skip
            out[i] = np.mean(there)
        elif row.term == "effect_overall":
            out[i] = np.mean(list(after.values()))
        elif row.term == "effect_by_cohort":
            out[i] = np.mean([v for (g, _), v in after.items() if g == float(row.cohort)])
    return out


def batch(world: str, number: int, divisor: str) -> pd.DataFrame:
    """How often each cell's interval, and each band, held the truth in a batch."""
    records = []
    for seed in range(number * BATCH, (number + 1) * BATCH):
        found = build("group_time_att", divisor=divisor, seed=seed).estimate(draw(world, seed))
        table = found.table
        true = truth(table)
        table = table.assign(true=true)[np.isfinite(true)]
        good = table[table.status == "ok"]
        name = good.term.str.cat([good.cohort.fillna(""), good.period.fillna("")], sep=" ")
        name = name.str.strip() + good.horizon.map(lambda e: "" if pd.isna(e) else f" {e:.0f}")
        inside = (good.conf_low <= good.true) & (good.true <= good.conf_high)
        band = (good.band_low <= good.true) & (good.true <= good.band_high)
        scaled = (good.estimate - good.true) / good.std_error
        one = pd.DataFrame({"cell": name, "held": inside, "z": scaled, "z2": scaled**2})
        for term in ("effect", "effect_by_event_time", "effect_by_cohort"):
            rows = (good.term == term) & good.band_low.notna()
            bands = {"cell": f"band of {term}", "held": band[rows].all(), "z": np.nan}
            one.loc[len(table) + len(one)] = bands
        records.append(one.assign(n=1))
    every = pd.concat(records).astype({"held": float})
    summed = every.groupby("cell", sort=False)[["n", "held", "z", "z2"]].sum().reset_index()
    return summed.assign(world=world, divisor=divisor, batch=number)


def run(args: argparse.Namespace) -> None:
    """Batches until there are enough, or the time is over."""
    began = time.process_time()
    kept = pd.read_csv(KEPT) if KEPT.exists() else pd.DataFrame(columns=[*KEYS, "batch"])
    done = set(zip(kept.world, kept.divisor, kept.batch.astype(int)))
    for number in range(-(-args.replications // BATCH)):
        for world in args.worlds:
            if (world, args.divisor, number) in done:
                continue
            if time.process_time() - began > 60 * args.minutes:
                return
            found = batch(world, number, args.divisor)
            found.round(4).to_csv(KEPT, mode="a", header=not KEPT.exists(), index=False)
    report()


def report() -> None:
    """Every cell; those outside a Monte Carlo interval that takes all of them into account."""
    kept = pd.read_csv(KEPT)
    cells = kept.groupby(KEYS, sort=False)[["n", "held", "z", "z2"]].sum().reset_index()
    cells["coverage"] = cells.held / cells.n
    out = {}
    for divisor, part in cells.groupby("divisor"):
        edge = 0.025 / len(part)
        low, high = (stats.binom.ppf(q, part.n.astype(int), 0.95) for q in (edge, 1 - edge))
        part = part.assign(outside=(part.held < low) | (part.held > high))
        worlds = {}
        for world, rows in part.groupby("world", sort=False):
            points = rows[~rows.cell.str.startswith("band")]
            events = points[points.cell.str.startswith("effect_by_event_time")]
            worlds[world] = {
                "replications": int(rows.n.max()),
                "event_times": round(float(events.held.sum() / events.n.sum()), 4),
                "all_cells": round(float(points.held.sum() / points.n.sum()), 4),
                "outside": rows.cell[rows.outside].tolist(),
                "coverage": dict(zip(rows.cell, rows.coverage.round(4))),
            }
        pooled = part[part.cell.str.startswith("effect_by_event_time")]
        bands = part[part.cell.str.startswith("band")]
        out[divisor] = {
            "cells": len(part),
            "event_times": round(float(pooled.held.sum() / pooled.n.sum()), 4),
            "bands": round(float(bands.held.sum() / bands.n.sum()), 4),
            "outside": int(part.outside.sum()),
            "worlds": worlds,
        }
    REPORT.write_text(json.dumps(out, indent=1) + "\n", "utf-8")
    for divisor, one in out.items():
        print(divisor, {k: v for k, v in one.items() if k != "worlds"})
        for world, rows in one["worlds"].items():
            bands = {k[8:]: v for k, v in rows["coverage"].items() if k.startswith("band")}
            print(f"  {world}: {rows['replications']}", rows["event_times"], rows["all_cells"], bands,
                  rows["outside"])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", nargs="?", choices=["run", "report"], default="run")
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--divisor", default="leverage")
    args = parser.parse_args()
    report() if args.command == "report" else run(args)


if __name__ == "__main__":
    main()
