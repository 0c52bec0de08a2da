"""Which errors hold the truth when offices have effects of their own and persons change office?

    python benchmarks/two_way_clusters.py [--replications 1000] [--minutes 30]

Each replication draws persons with several units each, some of whom change office between them. Outcomes
share a person's shock and, in the world "office effects", an office's shock to the outcome and to the
programme's effect; take-up depends on covariates and on the office's practice. AIPW estimates effect and
means with errors by person, by office and by both; the truth is the average over offices. Results are
kept in benchmarks/results/two_way_clusters.json and the command resumes where it stopped.
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

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimators.weighting.aipw import AIPW

RESULT = Path(__file__).parent / "results" / "two_way_clusters.json"
CLUSTERS = ("person", "office", "person_office")
TERMS = ("effect", "mean_treated", "mean_comparison")
EFFECT, MEAN = 0.5, 0.0
PERSONS, UNITS, MOVING = 600, 4, 0.5
#: World: sd of the office's shock to the outcome, and of that to the effect.
WORLDS = {"no office effects": (0.0, 0.0), "office effects": (0.3, 0.3)}
OFFICES = (20, 50, 100)


def draw(world: str, offices: int, seed: int) -> CrossSection:
    """One sample: PERSONS x UNITS units, a month's outcome each."""
    rng = np.random.default_rng([seed, offices, list(WORLDS).index(world)])
    shock, spread = WORLDS[world]
    n = PERSONS * UNITS
    person = np.repeat(np.arange(PERSONS), UNITS)
    home = rng.integers(0, offices, PERSONS)
    # half the persons change office once, after a random unit
    moved = rng.random(PERSONS) < MOVING
    when = rng.integers(1, UNITS, PERSONS)
    there = rng.integers(0, offices, PERSONS)
    late = np.tile(np.arange(UNITS), PERSONS) >= when[person]
    office = np.where(moved[person] & late, there[person], home[person])
    x = np.column_stack([rng.normal(size=PERSONS)[person], rng.normal(size=n)])
    practice = 0.5 * rng.normal(size=offices)
    p = 1 / (1 + np.exp(0.8 - 0.5 * x[:, 0] + 0.3 * x[:, 1] - practice[office]))
    arm = (rng.random(n) < p).astype(np.int16)
    own = rng.normal(size=PERSONS)[person]
    effect = EFFECT + spread * rng.normal(size=offices)[office]
    y = x[:, 0] + own + shock * rng.normal(size=offices)[office] + arm * effect
    y = y + rng.normal(size=n)
    return CrossSection(
        arms=("none", "programme"),
        arm=arm,
        eligible=np.ones((n, 2), dtype=bool),
        weight=np.ones(n),
        person=person,
        office=office.astype(np.int32),
        covariates=x,
        covariate_names=("x0", "x1"),
        outcomes=y.astype(np.float32)[:, None, None],
        outcome_names=("y",),
        units=("points",),
        horizons=(1,),
        population="invented",
        estimand="now_vs_wait",
        time_origin="vedtak",
    )


def replicate(world: str, offices: int, seed: int) -> list[list[float]]:
    """Rows (cluster, term, estimate, std_error, low, high) of one sample."""
    design = draw(world, offices, seed)
    rows = []
    for i, cluster in enumerate(CLUSTERS):
        found = AIPW(target="ate", cluster=cluster, bands=False, seed=seed).estimate(design)
        table = found.select(subgroup="all").table.set_index("term")
        for j, term in enumerate(TERMS):
            row = table.loc[term]
            rows.append([i, j, row.estimate, row.std_error, row.conf_low, row.conf_high])
    return rows


def summary(samples: list[list[list[float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Coverage and mean error over sd, by cluster and term."""
    values = np.array(samples)
    truth = {"effect": EFFECT, "mean_treated": MEAN + EFFECT, "mean_comparison": MEAN}
    out: dict[str, dict[str, dict[str, float]]] = {}
    for i, cluster in enumerate(CLUSTERS):
        for j, term in enumerate(TERMS):
            cell = values[:, len(TERMS) * i + j]
            covered = (cell[:, 4] <= truth[term]) & (truth[term] <= cell[:, 5])
            out.setdefault(cluster, {})[term] = {
                "coverage_percent": round(100 * covered.mean(), 1),
                "error_over_sd": round(float(cell[:, 3].mean() / cell[:, 2].std(ddof=1)), 3),
                "bias_over_sd": round(
                    float((cell[:, 2].mean() - truth[term]) / cell[:, 2].std(ddof=1)), 2
                ),
            }
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=30)
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    work = Path(__file__).parent / "work" / "two_way_clusters"
    work.mkdir(parents=True, exist_ok=True)
    size = 50
    jobs = [
        (batch, world, offices)
        for batch in range(-(-args.replications // size))
        for world in WORLDS
        for offices in OFFICES
    ]
    for batch, world, offices in jobs:
        path = work / f"{world.replace(' ', '_')}_{offices}_{batch}.json"
        if path.exists() or time.monotonic() > end:
            continue
        seeds = range(batch * size, (batch + 1) * size)
        path.write_text(json.dumps([replicate(world, offices, seed) for seed in seeds]), "utf-8")
    result: dict[str, object] = {
        "command": "python benchmarks/two_way_clusters.py",
        "persons": PERSONS,
        "units_a_person": UNITS,
        "share_changing_office": MOVING,
        "worlds": {k: dict(zip(("sd_outcome", "sd_effect"), v)) for k, v in WORLDS.items()},
        "cells": [],
    }
    cells = []
    for world in WORLDS:
        for offices in OFFICES:
            samples: list[list[list[float]]] = []
            for path in sorted(work.glob(f"{world.replace(' ', '_')}_{offices}_*.json")):
                samples += json.loads(path.read_text("utf-8"))
            if len(samples) < 2:
                continue
            found = summary(samples)
            cells.append(
                {"world": world, "offices": offices, "replications": len(samples), **found}
            )
            print(f"{world}, {offices} offices, {len(samples)} replications: coverage (error / sd)")
            for cluster in CLUSTERS:
                parts = [
                    f"{t} {v['coverage_percent']} ({v['error_over_sd']})"
                    for t, v in found[cluster].items()
                ]
                print(f"  {cluster:14s}" + "  ".join(parts))
    result["cells"] = cells
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
