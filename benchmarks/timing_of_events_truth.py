"""Bias and coverage of programme effects in timing of events, against a known truth.

    python benchmarks/timing_of_events_truth.py run [--persons 5000] [--replications 500] [--designs ...]
    python benchmarks/timing_of_events_truth.py report

Six designs: heterogeneity normal, of two types, or skewed (log of a gamma variable), each with and
without duration dependence in five steps. Effects while taking part and after, and months of work lost
in the programme and gained in all (averaged, and in the first 150 at the full likelihood). Rules for the
number of mass points are set side by side: one, the lowest AIC, the full likelihood, and averages with
several penalties, which the report computes from the estimates at every number of points.
Every replication has its own seed and is written to benchmarks/work as it ends: a run can be stopped
and taken up again, and several can share the work with --part i/n. The report merges them into
benchmarks/results/timing_of_events_truth.csv.gz.
"""

from __future__ import annotations

import argparse
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from tiltakeval.design.event_history import EventHistory
from tiltakeval.estimators.duration.mixture.averaging import LEAST_WEIGHT
from tiltakeval.estimators.duration.mixture.report import (
    PENALTY,
    Part,
    groups_of,
    table_of,
    weights_of,
)
from tiltakeval.estimators.duration.mixture.steps import with_steps
from tiltakeval.estimators.duration.months.of_fit import asked, months_of
from tiltakeval.estimators.duration.timing_of_events import TimingOfEvents

RESULTS = Path(__file__).parent / "results" / "timing_of_events_truth.csv.gz"
WORK = Path(__file__).parent / "work" / "timing_of_events_truth"
SHAPES = ("normal", "two_types", "skewed")
DESIGNS = tuple(f"{shape}{tail}" for shape in SHAPES for tail in ("", "_steps"))
EFFECTS = {"taking_part": -0.5, "after": 0.3}
CUTS = (3.0, 6.0, 12.0, 24.0)
STEPS = np.array([0.0, 0.2, -0.1, -0.4, -0.6])
CENSOR = 48.0
PENALTIES = (0.25, PENALTY, 1.0)
#: Log hazards of a job and of entry, and a probability.
PARAMETERS_A_POINT = 3
MONTHS, WINDOWS = 24, (12, 24)
#: Replications of a design in which months are computed at the full likelihood too, not only averaged.
MONTHS_FULL = 150
TERMS = {"cumulated": "months", "cumulated_lock_in": "lock_in"}
LENGTH = (3.0, 9.0)
TRUTH_PERSONS, TRUTH_SEED = 400_000, 77


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


def steps_of(design: str) -> np.ndarray:
    """Log factors on the hazards in the steps of duration."""
    return STEPS if design.endswith("_steps") else np.zeros(STEPS.size)


def hazards_of(rng: np.random.Generator, design: str, n: int) -> tuple[np.ndarray, ...]:
    """Covariates [n, 2] and hazards of a job and of entry [n]."""
    x = rng.standard_normal((n, 2))
    trait = traits(rng, design.removesuffix("_steps"), n)
    job = np.exp(-2.5 + x @ [1.0, -1.0] + trait[:, 0])
    return x, job, np.exp(-3.0 + x @ [1.0, 0.5] + trait[:, 1])


@cache
def true_months(design: str) -> dict[str, float]:
    """True months of work gained by participants, from their hazards and the lengths' distribution."""
    rng = np.random.default_rng([DESIGNS.index(design), TRUTH_SEED])
    _, job, entry = hazards_of(rng, design, TRUTH_PERSONS)
    steps, zero = steps_of(design), np.zeros(TRUTH_PERSONS)
    leaves, enters = draw(rng, job, zero, steps), draw(rng, entry, zero, steps)
    took = (enters < leaves) & (enters < CENSOR)
    job, begun, length = job[took], enters[took], rng.uniform(*LENGTH, took.sum())
    before = time_at_risk(begun, steps)
    ended = time_at_risk(begun + length, steps) - before
    effects = {term: [] for term in TERMS}
    for h in range(1, MONTHS + 1):
        total = time_at_risk(begun + h, steps) - before
        inside = np.minimum(total, ended)
        after = total - inside
        stays = np.exp(-job * total)
        for term, last in (("cumulated", EFFECTS["after"]), ("cumulated_lock_in", 0.0)):
            moved = np.exp(EFFECTS["taking_part"]) * inside + np.exp(last) * after
            effects[term].append(float((stays - np.exp(-job * moved)).mean()))
    return {
        f"{name}_{w}": float(np.sum(effects[term][:w]))
        for term, name in TERMS.items()
        for w in WINDOWS
    }


def time_at_risk(until: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Integral of exp(step) from 0 to each time."""
    bounds = np.array([0.0, *CUTS, np.inf])
    return sum(
        np.exp(step) * np.clip(np.minimum(until, high) - low, 0.0, None)
        for step, low, high in zip(steps, bounds, bounds[1:])
    )


def simulated(design: str, n: int, seed: int) -> EventHistory:
    """Persons in one of the designs; a programme lasts 3 to 9, independently of everything."""
    rng = np.random.default_rng([DESIGNS.index(design), n, seed])
    steps = steps_of(design)
    x, job, entry = hazards_of(rng, design, n)
    zero = np.zeros(n)
    leaves, enters = draw(rng, job, zero, steps), draw(rng, entry, zero, steps)
    took = (enters < leaves) & (enters < CENSOR)
    begun = np.where(took, enters, 0.0)
    end = begun + rng.uniform(*LENGTH, n)
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
    cuts = CUTS if design.endswith("_steps") else ()
    estimator = TimingOfEvents(steps=cuts, starts=1)
    panel = estimator.panel(data)
    solution = estimator.solve(panel)
    part = Part(
        label="all", design=data, panel=panel, solution=solution, person=np.arange(data.persons)
    )
    groups = groups_of([part])
    given = {"kind": "opg", "level": 0.95, "source": "benchmark"}
    full = table_of([part], groups, points="full", **given)
    path = [(j, fit.loglik) for j, fit in solution.path.items()]
    aic = min(path, key=lambda pair: 6 * pair[0] - 2 * pair[1])[0]
    common = {
        "design": design,
        "persons": n,
        "seed": seed,
        "certificate": solution.full.certificate,
    }
    rows = []
    for name, truth in EFFECTS.items():
        by_points = full.table[full.table.programme == name].set_index("period")
        chosen = {
            "one": (1, by_points.loc["points=1"]),
            "full": (solution.full.points, by_points.loc[""]),
            "aic": (aic, by_points.loc[f"points={aic}"]),
        }
        for rule, (points, row) in chosen.items():
            hessian = full.run["standard_errors"][f"job: {name}"]["hessian"]
            rows.append(
                common
                | {
                    "effect": name,
                    "truth": truth,
                    "rule": rule,
                    "points": points,
                    "estimate": row.estimate,
                    "std_error": row.std_error,
                    "std_error_hessian": hessian if rule == "full" else np.nan,
                }
            )
        rows += [
            common
            | {
                "effect": name,
                "truth": truth,
                "rule": f"points={j}",
                "points": j,
                "estimate": by_points.loc[f"points={j}"].estimate,
                "std_error": by_points.loc[f"points={j}"].std_error,
                "log_likelihood": fit.loglik,
            }
            for j, fit in solution.path.items()
        ]
    for rule in ("full", "averaged") if seed < MONTHS_FULL else ("averaged",):
        weights = weights_of(panel, solution, rule, PENALTY)
        rows += [
            common | {"rule": rule} | row for row in months(part, weights, groups, design, cuts)
        ]
    seconds = time.process_time() - clock
    return [row | {"cpu_seconds": seconds} for row in rows]


def months(
    part: Part, weights: dict[int, float], groups, design: str, cuts: tuple[float, ...]
) -> list[dict]:
    """Months of work by the fits with these weights, beside the truth."""
    renamed = {"taking_part": "aft_in", "after": "aft_after"}
    names = tuple(renamed.get(name, name) for name in part.design.covariate_names)
    data = replace(part.design, covariate_names=names, programme=tuple(renamed.values()))
    panel = replace(
        part.panel,
        names=tuple(renamed.get(name, name) for name in part.panel.names),
        programme=tuple(renamed.values()),
    )
    fits = [(part.solution.path[j], w) for j, w in weights.items()]
    part = replace(part, design=with_steps(data, cuts), panel=panel)
    (found,) = months_of(part, fits, groups, asked(MONTHS, 1.0, {}), cuts=cuts, kind="opg")
    rows = []
    for _, row in found.table[found.table.outcome == "job"].iterrows():
        key = f"{TERMS.get(row.term)}_{row.period.removeprefix('1-')}"
        if key in true_months(design):
            rows.append(
                {
                    "effect": key,
                    "truth": true_months(design)[key],
                    "points": sum(j * w for j, w in weights.items()),
                    "estimate": row.estimate,
                    "std_error": row.std_error,
                }
            )
    return rows


def averages(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of effects averaged over numbers of points, at each of `PENALTIES`, as the estimator does."""
    keys = ["persons", "design", "seed", "effect"]
    path = table[table.rule.str.startswith("points=")]
    found = []
    for penalty in PENALTIES:
        value = path.log_likelihood - penalty * PARAMETERS_A_POINT * path.points
        rows = path.assign(
            weight=np.exp(value - value.groupby([path[k] for k in keys]).transform("max"))
        )
        rows["weight"] /= rows.groupby(keys).weight.transform("sum")
        rows = rows[rows.weight >= LEAST_WEIGHT].copy()
        rows["weight"] /= rows.groupby(keys).weight.transform("sum")
        rows["mean"] = (
            (rows.weight * rows.estimate).groupby([rows[k] for k in keys]).transform("sum")
        )
        rows["wide"] = rows.weight * np.hypot(rows.std_error, rows.estimate - rows["mean"])
        rows["points"] = rows.weight * rows.points
        groups = rows.groupby(keys)
        out = groups[["truth", "certificate", "cpu_seconds", "mean"]].first()
        out["std_error"], out["points"] = groups.wide.sum(), groups.points.sum()
        name = "averaged" if penalty == PENALTY else f"averaged, penalty {penalty:g}"
        found.append(out.rename(columns={"mean": "estimate"}).assign(rule=name).reset_index())
    return pd.concat(found, ignore_index=True)


def finished() -> pd.DataFrame:
    """All rows there are, merged."""
    files = [path for path in (RESULTS, *sorted(WORK.glob("*.csv"))) if path.exists()]
    if not files:
        return pd.DataFrame(columns=["design", "persons", "seed", "rule"])
    keys = ["persons", "design", "seed", "effect", "rule"]
    table = pd.concat([pd.read_csv(path) for path in files], ignore_index=True)
    return table.drop_duplicates(keys, keep="last").sort_values(keys, ignore_index=True)


def run(given: argparse.Namespace) -> None:
    """Do the replications that aren't finished yet."""
    WORK.mkdir(parents=True, exist_ok=True)
    whole = finished().query("rule == 'averaged'")  # what a replication writes last
    done = set(whole[["design", "persons", "seed"]].itertuples(index=False, name=None))
    part, parts = (int(text) for text in given.part.split("/"))
    path = WORK / f"{given.persons}_{part}_of_{parts}.csv"
    for seed in range(given.replications):
        for design in given.designs:
            if (design, given.persons, seed) in done or seed % parts != part - 1:
                continue
            rows = pd.DataFrame(replication(design, given.persons, seed))
            rows.to_csv(path, mode="a", header=not path.exists(), index=False, float_format="%.7g")


def report(_: argparse.Namespace) -> None:
    """Bias, spread, RMSE and coverage by design, effect and rule."""
    table = finished()
    table.to_csv(
        RESULTS, index=False, float_format="%.7g", compression={"method": "gzip", "mtime": 0}
    )
    rest = table[~table.rule.str.startswith("points=")]
    table = pd.concat([rest, averages(table)], ignore_index=True)
    table["error"] = table.estimate - table.truth
    table["inside"] = table.error.abs() <= 1.959964 * table.std_error
    known = table.std_error_hessian.notna()
    table["inside_hessian"] = np.where(
        known, table.error.abs() <= 1.959964 * table.std_error_hessian, np.nan
    )
    keys = ["persons", "design", "effect", "rule"]
    groups = table.groupby(keys)
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
    print("\nAveraged less full likelihood in the same replications, and the bias that this gives")
    print(paired(table).round(4).to_string())


def paired(table: pd.DataFrame) -> pd.DataFrame:
    """What averaging changes, which far fewer replications tell than a bias, added to the full
    likelihood's bias over all replications."""
    keys = ["persons", "design", "effect"]
    one = table[table.rule == "full"].set_index([*keys, "seed"])
    change = (
        table[table.rule == "averaged"].set_index([*keys, "seed"]).estimate - one.estimate
    ).dropna()
    by = change.groupby(keys)
    bias = one.error.groupby(keys)
    out = pd.DataFrame(
        {
            "pairs": by.size(),
            "change": by.mean(),
            "change_error": by.std() / np.sqrt(by.size()),
            "full": bias.size(),
            "full_bias": bias.mean(),
            "full_bias_error": bias.std() / np.sqrt(bias.size()),
        }
    ).dropna()
    out["averaged_bias"] = out.full_bias + out.change
    out["averaged_bias_error"] = np.hypot(out.full_bias_error, out.change_error)
    return out


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
