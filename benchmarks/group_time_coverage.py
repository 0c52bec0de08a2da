"""Do intervals and bands of group-time effects hold the truth as often as they say, and others'?

    python benchmarks/group_time_coverage.py [--minutes 40] [--worlds ...] [--beside 300]
    python benchmarks/group_time_coverage.py report

Worlds: 20, 40 and 400 offices of 20 persons, ten periods; a quarter of the offices each starts in
periods 4, 6 and 8, a quarter never. Effects grow over time, differ by cohort and vary between offices;
offices have a random walk and shocks of their own. "covariates": the mean of a covariate of persons
differs by cohort and drives the trend, which the doubly robust estimate takes up. "missing": 120 units
that are their own clusters, 10-30 % of rows missing at random, the same covariate. Estimates compare
with those not yet treated; averages by event time, overall and by cohort, every cell, and bands of 95 %.

1,000 replications of `group_time_att` in every world, 2,000 with rows missing; of the estimators beside
it (WHO) the first 300 of the same samples. Batches of 100 with seeds of their own are kept in
benchmarks/results/group_time_coverage.csv; a run goes on where the last one stopped.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

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
MAIN = "group_time_att"
#: Key, options, and whether covariates are withheld.
WHO: dict[str, tuple[str, dict[str, Any], bool]] = {
    MAIN: ("group_time_att", {}, False),
    "group_time_att, divisor = g_minus_1": ("group_time_att", {"divisor": "g_minus_1"}, False),
    "group_time_att, covariates left out": ("group_time_att", {}, True),
    "did_imputation": ("did_imputation", {}, False),
    "sun_abraham": ("sun_abraham", {}, False),
    "etwfe": ("etwfe", {}, False),
    "twfe_event_study": ("twfe_event_study", {}, False),
    "twfe": ("twfe", {}, False),
}
PERSONS, BATCH = 20, 100
KEYS = ["world", "who", "cell"]
FAMILIES = ("effect", "effect_by_event_time", "effect_by_cohort")
#: What is asked of pooled coverage.
BAR = (0.93, 0.97)


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


def named(table: pd.DataFrame) -> pd.Series:
    """Each row's name: its term and what it is of."""
    name = table.term.str.cat([table.cohort, table.period], sep=" ").str.split().str.join(" ")
    event = table.horizon.astype("string").fillna("").astype(str)
    return (name + " " + event).str.strip()


def truths() -> dict[str, float]:
    """The true value of every row that has one; cohorts are equally large."""
    cells = {(int(g), int(t)): effect(g, t) for g in STARTS[:3] for t in PERIODS}
    after = {key: value for key, value in cells.items() if key[1] >= key[0]}
    out = {f"effect {g} {t} {t - g}": value for (g, t), value in cells.items()}
    for e in range(-7, 7):
        there = [value for (g, t), value in cells.items() if t - g == e]
        out[f"effect_by_event_time {e}"] = float(np.mean(there))
    out["effect_overall"] = float(np.mean(list(after.values())))
    for start in sorted({g for g, _ in cells}):
        own = [value for (g, _), value in after.items() if g == start]
        out[f"effect_by_cohort {start}"] = float(np.mean(own))
    return out


TRUTH = truths()


def once(world: str, seed: int, who: str) -> pd.DataFrame:
    """The cells of a sample: whether each one's interval, and each band, held the truth."""
    key, options, bare = WHO[who]
    design = draw(world, seed)
    if bare:
        design = replace(design, covariates=design.covariates[:, :0], covariate_names=())
    drawn = {} if key == "twfe" else {"seed": seed}  # one row needs no band
    table = build(key, **options, **drawn).estimate(design).table
    name = named(table)
    true = name.map(TRUTH)
    kept = (table.status == "ok") & true.notna() & table.std_error.notna()
    good, true, name = table[kept], true[kept], name[kept]
    scaled = (good.estimate - true) / good.std_error
    inside = (good.conf_low <= true) & (true <= good.conf_high)
    band = (good.band_low <= true) & (true <= good.band_high)
    one = pd.DataFrame({"cell": name, "held": inside, "z": scaled, "z2": scaled**2})
    families = []
    for term in FAMILIES:
        rows = (good.term == term) & good.band_low.notna()
        if rows.any():
            families.append(
                {"cell": f"band of {term}", "held": band[rows].all(), "z": np.nan, "z2": np.nan}
            )
    return pd.concat([one, pd.DataFrame(families)]).astype({"held": float}).assign(n=1)


def batch(world: str, number: int, who: str) -> pd.DataFrame:
    """Sums over a batch of samples."""
    seeds = range(number * BATCH, (number + 1) * BATCH)
    every = pd.concat([once(world, seed, who) for seed in seeds])
    summed = every.groupby("cell", sort=False)[["n", "held", "z", "z2"]].sum().reset_index()
    return summed.assign(world=world, who=who, batch=number)


def planned(args: argparse.Namespace) -> list[tuple[str, str, int]]:
    """World, who and number of every batch, so that all worlds advance together."""
    out = []
    for world in args.worlds:
        twice = 2 if world.endswith("missing") else 1
        for who, (_, _, bare) in WHO.items():
            if bare and not WORLDS[world][1]:
                continue
            most = args.replications * twice if who == MAIN else args.beside
            out += [(world, who, number) for number in range(-(-most // BATCH))]
    return sorted(out, key=lambda one: (one[1] != MAIN, one[2]))


def run(args: argparse.Namespace) -> None:
    """Batches until there are enough, or the time is over."""
    began = time.process_time()
    kept = pd.read_csv(KEPT) if KEPT.exists() else pd.DataFrame(columns=[*KEYS, "batch"])
    done = set(zip(kept.world, kept.who, kept.batch.astype(int)))
    for world, who, number in planned(args):
        if (world, who, number) in done:
            continue
        if time.process_time() - began > 60 * args.minutes:
            break
        batch(world, number, who).round(4).to_csv(
            KEPT, mode="a", header=not KEPT.exists(), index=False
        )
    report()


def report() -> None:
    """What is asked and found, who fails where, and every cell."""
    kept = pd.read_csv(KEPT)
    cells = kept.groupby(KEYS, sort=False)[["n", "held", "z", "z2"]].sum().reset_index()
    cells["coverage"] = cells.held / cells.n
    main = cells.who == MAIN
    edge = 0.025 / main.sum()  # an interval that takes all cells of the main estimator into account
    low, high = (stats.binom.ppf(q, cells.n.astype(int), 0.95) for q in (edge, 1 - edge))
    cells["outside"] = np.where(
        cells.held < low, "too few", np.where(cells.held > high, "too many", "")
    )
    bands = cells.cell.str.startswith("band")
    events = cells.cell.str.startswith("effect_by_event_time")
    worlds = [world for world in WORLDS if world in set(cells.world)]
    out: dict[str, Any] = {
        "bar": BAR,
        "pooled": {},
        "who_fails_where": {},
        "outside": [],
        "cells": {},
    }
    own = cells[main]
    for what, chosen in (("event times", events), ("bands", bands)):
        by_world = {w: pooled(cells[main & chosen & (cells.world == w)]) for w in worlds}
        out["pooled"][what] = {"all worlds": pooled(cells[main & chosen]), **by_world}
    out["outside"] = [
        {"world": r.world, "cell": r.cell, "coverage": round(r.coverage, 4), "held": r.outside}
        for r in own.itertuples() if r.outside
    ]  # fmt: skip
    print(f"{MAIN}: pooled coverage asked {BAR[0]:.0%} to {BAR[1]:.0%}")
    for what, found in out["pooled"].items():
        met = all(BAR[0] <= value <= BAR[1] for value in found.values())
        said = ", ".join(f"{w} {100 * v:.1f}" for w, v in found.items())
        print(f"  {what}: {'met' if met else 'NOT MET'} ({said})")
    print(f"  cells outside their interval (Bonferroni over {len(own)}): {len(out['outside'])}")
    for one in out["outside"]:
        print(f"    {one['world']}, {one['cell']}: {one['coverage']:.3f} ({one['held']})")
    print("\nWho fails where: coverage in percent, event times after the start | bands over event time |"
          " mean effect; * cells outside")  # fmt: skip
    for who in WHO:
        theirs = cells[cells.who == who]
        out["who_fails_where"][who] = {}
        for world in worlds:
            here = theirs[theirs.world == world]
            if here.empty:
                continue
            after = here[here.cell.str.fullmatch(r"effect_by_event_time \d+")]
            one = {
                "replications": int(here.n.max()),
                "event_times": pooled(after),
                "band_over_event_time": pooled(here[here.cell == "band of effect_by_event_time"]),
                "bands_over_all_cells": pooled(here[here.cell == "band of effect"]),
                "mean_effect": pooled(here[here.cell == "effect_overall"]),
                # mean of (estimate - truth) / error: bias in units of what it is measured by
                "bias_in_errors": mean_of(after.z, after.n),
                "outside": int((here.outside != "").sum()),
            }
            out["who_fails_where"][who][world] = one
            shown = [
                "  -" if value is None else f"{100 * value:5.1f}"
                for value in (one["event_times"], one["band_over_event_time"], one["mean_effect"])
            ]
            print(f"  {who:38s} {world:26s} {' | '.join(shown)} {'*' * min(one['outside'], 20)}")
    print(f"\nAll cells of {MAIN}, percent")
    shown_cells = own.pivot(index="cell", columns="world", values="coverage").reindex(
        index=own.cell.drop_duplicates(), columns=worlds
    )
    print((100 * shown_cells).round(1).to_string())
    out["cells"] = {w: {k: round(v, 4) for k, v in shown_cells[w].dropna().items()} for w in worlds}
    REPORT.write_text(json.dumps(out, indent=1) + "\n", "utf-8")


def pooled(rows: pd.DataFrame) -> float | None:
    """Coverage over all rows, each replication counting once."""
    return mean_of(rows.held, rows.n)


def mean_of(total: pd.Series, count: pd.Series) -> float | None:
    """The sum over the count, where there is any."""
    return round(float(total.sum() / count.sum()), 4) if len(count) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", nargs="?", choices=["run", "report"], default="run")
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--beside", type=int, default=300, help="of the estimators beside")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    args = parser.parse_args()
    report() if args.command == "report" else run(args)


if __name__ == "__main__":
    main()
