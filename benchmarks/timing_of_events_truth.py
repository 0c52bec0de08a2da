"""Bias and coverage of programme effects in timing of events, against a known truth.

    python benchmarks/timing_of_events_truth.py run [--persons 5000] [--replications 500] [--designs ...]
    python benchmarks/timing_of_events_truth.py report

Six designs: heterogeneity normal, of two types, or skewed (log of a gamma variable), each with and
without duration dependence in five steps. Effects while taking part and after. Rules for the number of
mass points are set side by side: one, the lowest AIC, the full likelihood, and the average by AIC.
Every replication is a row of benchmarks/results/timing_of_events_truth.csv, written as it ends, with
its own seed: a run can be stopped and taken up again, and several can share the work with --part i/n.
"""

from __future__ import annotations

import argparse
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from pathlib import Path

import numpy as np
import pandas as pd

from tiltakeval.design.event_history import EventHistory
from tiltakeval.estimators.duration.mixture.report import Part, table_of
from tiltakeval.estimators.duration.timing_of_events import TimingOfEvents

RESULTS = Path(__file__).parent / "results" / "timing_of_events_truth.csv"
SHAPES = ("normal", "two_types", "skewed")
DESIGNS = tuple(f"{shape}{tail}" for shape in SHAPES for tail in ("", "_steps"))
EFFECTS = {"taking_part": -0.5, "after": 0.3}
CUTS = (3.0, 6.0, 12.0, 24.0)
STEPS = np.array([0.0, 0.2, -0.1, -0.4, -0.6])
CENSOR = 48.0
RULES = ("one", "aic", "full", "averaged")


def traits(rng: np.random.Generator, shape: str, n: int) -> np.ndarray:
    """[n, 2] log hazards of persons: mean 0, variance 1 and correlation 0.5 (job, entry)."""
    if shape == "two_types":
        kind = rng.random(n) < 0.5
        same = np.where(rng.random(n) < 0.75, kind, ~kind)
        return np.stack([np.where(kind, 1.0, -1.0), np.where(same, 1.0, -1.0)], axis=1)
    if shape == "skewed":
        # log of a gamma(2) variable has mean 0.4228 and variance 0.6449
        common, own = rng.gamma(2.0, size=(2, n)), rng.gamma(2.0, size=(2, n))
        first = (np.log(common) - 0.42278) / np.sqrt(0.64493)
        other = (np.log(own) - 0.42278) / np.sqrt(0.64493)
        return np.stack([first[0], 0.5 * first[0] + np.sqrt(0.75) * other[1]], axis=1)
    root = np.linalg.cholesky([[1.0, 0.5], [0.5, 1.0]])
    return rng.standard_normal((n, 2)) @ root.T


def simulated(design: str, n: int, seed: int) -> EventHistory:
    """Persons in one of the designs; a programme lasts 3 to 9, independently of everything."""
    rng = np.random.default_rng([DESIGNS.index(design), n, seed])
    shape = design.removesuffix("_steps")
    steps = STEPS if design.endswith("_steps") else np.zeros(STEPS.size)
    x = rng.standard_normal((n, 2))
    trait = traits(rng, shape, n)
    job = np.exp(-2.5 + x @ [1.0, -1.0] + trait[:, 0])
    entry = np.exp(-3.0 + x @ [1.0, 0.5] + trait[:, 1])
    zero = np.zeros(n)
    leaves, enters = draw(rng, job, zero, steps), draw(rng, entry, zero, steps)
    took = (enters < leaves) & (enters < CENSOR)
    begun = np.where(took, enters, 0.0)
    end = begun + rng.uniform(3.0, 9.0, n)
    leaves_in = draw(rng, job * np.exp(EFFECTS["taking_part"]), begun, steps)
    stays = took & (leaves_in >= end) & (end < CENSOR)
    leaves_post = draw(rng, job * np.exp(EFFECTS["after"]), np.where(stays, end, 0.0), steps)
    who = np.arange(n)
    person = np.concatenate([who, who[took], who[stays]])
    start = np.concatenate([zero, enters[took], end[stays]])
    stop = np.concatenate(
        [
            np.where(took, enters, np.minimum(leaves, CENSOR)),
            np.minimum(np.minimum(leaves_in, end), CENSOR)[took],
            np.minimum(leaves_post, CENSOR)[stays],
        ]
    )
    event = np.concatenate(
        [
            np.where(took, 2, leaves < CENSOR),
            ((leaves_in < end) & (leaves_in < CENSOR))[took],
            (leaves_post < CENSOR)[stays],
        ]
    )
    status = np.repeat([[0.0, 0], [1, 0], [0, 1]], [n, took.sum(), stays.sum()], axis=0)
    order = np.lexsort((start, person))
    person, status = person[order], status[order]
    allowed = np.ones((2, 4), dtype=bool)
    allowed[1, 2:] = False
    return EventHistory(
        person=person,
        start=start[order],
        stop=stop[order],
        event=event[order].astype(np.int16),
        transitions=("job", "programme"),
        at_risk=np.column_stack([np.ones(person.size, dtype=bool), status.sum(axis=1) == 0]),
        covariates=np.concatenate([x[person], status], axis=1),
        covariate_names=("x1", "x2", *EFFECTS),
        enters=allowed,
        programme=tuple(EFFECTS),
        weight=np.ones(person.size),
        cluster=person,
    )


def draw(
    rng: np.random.Generator, rate: np.ndarray, start: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """Times after ``start`` with hazard rate * exp(step of the time)."""
    left, out = rng.exponential(size=rate.size) / rate, np.full(rate.size, np.inf)
    bounds = np.array([0.0, *CUTS, np.inf])
    for s, step in enumerate(steps):
        low = np.maximum(start, bounds[s])
        room = np.maximum(bounds[s + 1] - low, 0.0) * np.exp(step)
        hit = np.isinf(out) & (left <= room)
        out[hit] = low[hit] + left[hit] / np.exp(step)
        left = np.where(np.isinf(out), left - np.where(np.isinf(room), 0.0, room), left)
    return out


def replication(design: str, n: int, seed: int) -> list[dict]:
    """A row for every rule and effect."""
    clock = time.process_time()
    data = simulated(design, n, seed)
    steps = CUTS if design.endswith("_steps") else ()
    estimator = TimingOfEvents(steps=steps, starts=1)
    panel = estimator.panel(data)
    solution = estimator.solve(panel)
    part = Part(
        label="all", design=data, panel=panel, solution=solution, person=np.arange(data.persons)
    )
    given = {"kind": "opg", "level": 0.95, "source": "benchmark"}
    full = table_of([part], points="full", **given)
    averaged = table_of([part], points="averaged", **given)
    path = [(j, fit.loglik) for j, fit in solution.path.items()]
    aic = min(path, key=lambda pair: 6 * pair[0] - 2 * pair[1])[0]
    rows = []
    for name, truth in EFFECTS.items():
        by_points = full.table[full.table.programme == name].set_index("period")
        chosen = {
            "one": (1, by_points.loc["points=1"]),
            "aic": (aic, by_points.loc[f"points={aic}"]),
            "full": (solution.full.points, by_points.loc[""]),
        }
        mine = averaged.table[(averaged.table.programme == name) & (averaged.table.period == "")]
        weights = averaged.run["reported_points"]
        mean = sum(int(j) * w for j, w in weights.items())
        chosen["averaged"] = (mean, mine.iloc[0])
        for rule, (points, row) in chosen.items():
            rows.append(
                {
                    "design": design,
                    "persons": n,
                    "seed": seed,
                    "effect": name,
                    "truth": truth,
                    "rule": rule,
                    "points": points,
                    "estimate": row.estimate,
                    "std_error": row.std_error,
                    "std_error_hessian": full.run["standard_errors"][f"job: {name}"]["hessian"]
                    if rule == "full"
                    else np.nan,
                    "certificate": solution.full.certificate,
                    "cpu_seconds": time.process_time() - clock,
                }
            )
    return rows


def run(given: argparse.Namespace) -> None:
    """Do the replications that aren't in the results yet."""
    done = set()
    if RESULTS.exists():
        table = pd.read_csv(RESULTS, usecols=["design", "persons", "seed"])
        done = set(table.itertuples(index=False, name=None))
    part, parts = (int(text) for text in given.part.split("/"))
    for seed in range(given.replications):
        for design in given.designs:
            if (design, given.persons, seed) in done or seed % parts != part - 1:
                continue
            rows = pd.DataFrame(replication(design, given.persons, seed))
            rows.to_csv(
                RESULTS, mode="a", header=not RESULTS.exists(), index=False, float_format="%.8g"
            )


def report(_: argparse.Namespace) -> None:
    """Bias, spread, RMSE and coverage by design, effect and rule."""
    table = pd.read_csv(RESULTS)
    table["error"] = table.estimate - table.truth
    table["inside"] = table.error.abs() <= 1.959964 * table.std_error
    table["inside_hessian"] = np.where(
        table.rule == "full", table.error.abs() <= 1.959964 * table.std_error_hessian, np.nan
    )
    keys = ["persons", "design", "effect", "rule"]
    groups = table.groupby(keys, sort=False)
    out = groups.agg(
        replications=("seed", "nunique"),
        points=("points", "mean"),
        bias=("error", "mean"),
        sd=("estimate", "std"),
        mean_se=("std_error", "mean"),
        coverage=("inside", "mean"),
        coverage_hessian=("inside_hessian", "mean"),
        cpu_seconds=("cpu_seconds", "mean"),
    )
    out["rmse"] = np.sqrt(groups["error"].agg(lambda e: float((e**2).mean())))
    out["bias_error"] = out.sd / np.sqrt(out.replications)
    print(out.round(3).to_string())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run")
    running.add_argument("--persons", type=int, default=5_000)
    running.add_argument("--replications", type=int, default=500)
    running.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    running.add_argument("--part", default="1/1", help="i/n: this run does every n-th replication")
    running.set_defaults(do=run)
    commands.add_parser("report").set_defaults(do=report)
    given = parser.parse_args()
    given.do(given)
