"""Timing of events beside the reference fits, and its time and memory.

    python benchmarks/timing_of_events.py [reference] [speed] [large [--persons 200000]] [growth]

``reference`` holds the fits to those of durmod 1.1-4 and to the certified optimum in the folder of
reference data (TILTAKEVAL_SHARED, or ``shared`` beside the repository). ``speed`` fits 20,000 persons.
``large`` draws persons with 60 covariates, five duration steps, and effects while taking part and
after. ``growth`` fits such data in sizes from 100,000 to 1 million, three draws of each, and gives the
power of the number of persons that time grows with; it goes on where it was stopped. Seconds are of the
processor, one thread, after compilation; they grow with other load on the machine. Prints every figure
with its bar; exit code 1 when one isn't met. The times are kept in results/timing_of_events.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from pathlib import Path

import numpy as np
import pandas as pd
from timing_of_events_truth import CUTS, STEPS, draw

from tiltakeval.design.event_history import EventHistory, event_history_from_frame
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build

RESULTS = Path(__file__).parent / "results" / "timing_of_events.json"
SHARED = Path(os.environ.get("TILTAKEVAL_SHARED", Path(__file__).parents[2] / "shared"))
REFERENCE = SHARED / "reference"
NAMES = (
    ("job", "x1", "job.x1"),
    ("job", "x2", "job.x2"),
    ("job", "alpha", "job.alpha"),
    ("programme", "x1", "program.x1"),
    ("programme", "x2", "program.x2"),
)
IN_EFFECT, POST_EFFECT = -0.5, 0.3
GROWTH, DRAWS = (100_000, 200_000, 400_000, 1_000_000), 3
failed: list[str] = []


def line(what: str, found: str, bar: str, met: bool | None = None) -> None:
    """One figure with its bar."""
    verdict = "" if met is None else ("ok" if met else "NOT MET")
    if met is False:
        failed.append(what)
    print(f"{what:58s} {found:>16s}   {bar:30s} {verdict}", flush=True)


def read(name: str) -> EventHistory:
    return event_history_from_frame(
        pd.read_csv(REFERENCE / name),
        id="id",
        duration="duration",
        event="d",
        exits="1:job,2:programme",
        covariates="x1,x2",
        programme="alpha",
    )


def fit(design: EventHistory, **options: object) -> Estimates:
    return build("timing_of_events", **options).estimate(design)


def reference() -> None:
    known = json.loads((REFERENCE / "timing_of_events.json").read_text("utf-8"))
    found = fit(read("timing_of_events.csv"))
    run, check = found.run, known["check"]
    print("5,000 persons, beside durmod 1.1-4")
    path = {row["points"]: row for row in run["path"]}
    for theirs in known["durmod"]["fits"]:
        j = theirs["points"]
        gap = path[j]["log_likelihood"] - theirs["loglik"] if j in path else -np.inf
        bar = f"{theirs['loglik']:.4f} " + ("- 0.01" if j < 7 else "strictly better")
        ours = f"{path[j]['log_likelihood']:.4f}" if j in path else "none"
        line(f"log-likelihood, {j} points", ours, bar, gap > 0 if j >= 7 else gap >= -0.01)
    best = run["log_likelihood"]
    line(
        f"log-likelihood, {run['points']} points",
        f"{best:.5f}",
        ">= -17781.647",
        best >= -17781.647,
    )
    line("certificate", f"{run['certificate']:.1e}", "< 0.001", run["certificate"] < 1e-3)
    line("gradient norm", f"{run['gradient_norm']:.1e}", "")
    errors = dict(zip((n for _, _, n in NAMES), check["se_opg"]))
    rows = found.table[found.table.period == ""].set_index(["outcome", "programme"])
    for outcome, name, key in NAMES:
        row = rows.loc[(outcome, name)]
        good = abs(row.estimate - check["coef"][key]) < 2e-4
        line(key, f"{row.estimate:.5f}", f"{check['coef'][key]:.5f}", good)
        found_errors = run["standard_errors"][f"{outcome}: {name}"]
        good = abs(found_errors["opg"] / errors[key] - 1) < 2e-3
        line(
            "  standard error, outer product",
            f"{found_errors['opg']:.5f}",
            f"{errors[key]:.5f}",
            good,
        )
    for kind in ("hessian", "sandwich"):
        theirs = dict(zip((n for _, _, n in NAMES), check[f"se_{kind}"]))["job.alpha"]
        ours = run["standard_errors"]["job: alpha"][kind]
        line(f"  job.alpha, {kind}", f"{ours:.5f}", f"{theirs:.5f}", abs(ours / theirs - 1) < 2e-3)
    print("points chosen:", ", ".join(f"{k} {v}" for k, v in run["chosen"].items()))


def speed() -> None:
    print("20,000 persons")
    fit(read("timing_of_events.csv"))
    design = read("timing_of_events_20000.csv.gz")
    for starts in (1, 2):
        run = fit(design, starts=starts, path=starts > 1).run
        best, seconds = run["log_likelihood"], run["cpu_seconds"]
        line(
            f"log-likelihood, {starts} start(s)", f"{best:.5f}", ">= -71646.473", best >= -71646.473
        )
        line("certificate", f"{run['certificate']:.1e}", "< 0.001", run["certificate"] < 1e-3)
        line("processor seconds to the certificate", f"{seconds:.2f}", "<= 3", seconds <= 3)
    stages = run["cpu_seconds_by_stage"]
    keep("20000 persons", {k: round(v, 2) for k, v in stages.items()})
    line("processor seconds of the path by points", f"{stages['path']:.2f}", "")
    line("processor seconds of the errors", f"{stages['errors']:.2f}", "")


def large(persons: int) -> None:
    print(f"{persons:,} persons, 60 covariates, 5 steps, two statuses")
    fit(simulated(2_000), steps=CUTS, starts=1, path=False)
    design = simulated(persons)
    clock = time.process_time()
    found = fit(design, steps=CUTS, starts=1, path=False)
    seconds = time.process_time() - clock
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    run = found.run
    line("log-likelihood", f"{run['log_likelihood']:.4f}", "")
    line("points, certificate", f"{run['points']}, {run['certificate']:.0e}", "< 0.001")
    rows = found.table[found.table.term == "log_hazard_ratio"]
    for _, row in rows.iterrows():
        truth = IN_EFFECT if row.programme == "taking_part" else POST_EFFECT
        line(row.programme, f"{row.estimate:.3f} ({row.std_error:.3f})", f"truth {truth}")
    bar = 60 * max(1.0, persons / 200_000)
    line("processor seconds, all", f"{seconds:.1f}", f"<= {bar:g}", seconds <= bar)
    for stage, value in run["cpu_seconds_by_stage"].items():
        line(f"  {stage}", f"{value:.1f}", "")
    room = 8 if persons <= 200_000 else 12
    line("peak memory, GB", f"{memory:.2f}", f"<= {room}", memory <= room)
    keep(
        f"{persons} persons",
        {
            "log_likelihood": round(run["log_likelihood"], 4),
            "points": run["points"],
            "certificate": float(f"{run['certificate']:.1e}"),
            "cpu_seconds": round(seconds, 1),
            "cpu_seconds_by_stage": {
                k: round(v, 1) for k, v in run["cpu_seconds_by_stage"].items()
            },
            "peak_gb": round(memory, 2),
        },
    )


def growth() -> None:
    """How time grows with persons: the slope of log seconds on log persons, over sizes and draws.

    What a fit takes hangs on how many points and steps its data need, which differs between draws
    of one size; hence several.
    """
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    runs: dict[str, dict[str, float]] = kept.get("growth", {}).get("runs", {})
    for persons in GROWTH:
        for seed in range(DRAWS):
            name = f"{persons} persons, draw {seed}"
            if name not in runs:
                command = [sys.executable, __file__, "one", "--persons", str(persons)]
                done = subprocess.run(
                    [*command, "--seed", str(seed)], capture_output=True, text=True, check=True
                )
                runs[name] = {"persons": persons, **json.loads(done.stdout.splitlines()[-1])}
                keep("growth", {"runs": runs})
            print(name, runs[name], flush=True)
    table = pd.DataFrame(list(runs.values()))
    x = np.column_stack([np.ones(len(table)), np.log(table.persons)])
    found: dict[str, object] = {"runs": runs}
    for what in ("cpu_seconds", "points", "peak_gb"):
        y = np.log(table[what].to_numpy())
        coef, rest, *_ = np.linalg.lstsq(x, y, rcond=None)
        spread = np.sqrt(rest[0] / (len(y) - 2) * np.linalg.inv(x.T @ x)[1, 1])
        found[f"power of {what}"] = [round(float(coef[1]), 3), round(float(spread), 3)]
        bar = {"cpu_seconds": "<= 1"}.get(what, "")
        met = coef[1] <= 1 if bar else None
        line(f"power of {what} (error)", f"{coef[1]:.3f} ({spread:.3f})", bar, met)
    keep("growth", found)


def one(persons: int, seed: int) -> None:
    """One fit's time and memory, as a line of JSON."""
    fit(simulated(2_000), steps=CUTS, starts=1, path=False)
    design = simulated(persons, seed=seed)
    clock = time.process_time()
    run = fit(design, steps=CUTS, starts=1, path=False).run
    seconds = time.process_time() - clock
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    figures = {
        "cpu_seconds": round(seconds, 2),
        "points": run["points"],
        "certificate": float(f"{run['certificate']:.1e}"),
        "peak_gb": round(memory, 2),
    }
    print(json.dumps(figures))


def keep(name: str, found: dict[str, object]) -> None:
    """One run's figures among the results."""
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**kept, name: found}, indent=1) + "\n", "utf-8")


def simulated(n: int, *, seed: int = 0, p: int = 60, censor: float = 48.0) -> EventHistory:
    """Persons with normal heterogeneity, hazards in steps, and programmes of 3 to 9."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.standard_normal((n, 10)), rng.random((n, p - 10)) < 0.2], axis=1)
    trait = rng.standard_normal((n, 2)) @ np.linalg.cholesky([[1.0, 0.5], [0.5, 1.0]]).T
    job = np.exp(-2.8 + x @ (0.15 * rng.standard_normal(p)) + trait[:, 0])
    entry = np.exp(-3.2 + x @ (0.15 * rng.standard_normal(p)) + trait[:, 1])
    zero = np.zeros(n)
    leaves, enters = draw(rng, job, zero, STEPS), draw(rng, entry, zero, STEPS)
    took = (enters < leaves) & (enters < censor)
    begun = np.where(took, enters, 0.0)
    end = begun + rng.uniform(3.0, 9.0, n)
    leaves_in = draw(rng, job * np.exp(IN_EFFECT), begun, STEPS)
    stays = took & (leaves_in >= end) & (end < censor)
    leaves_post = draw(rng, job * np.exp(POST_EFFECT), np.where(stays, end, 0.0), STEPS)
    who = np.arange(n)
    stop1 = np.where(took, enters, np.minimum(leaves, censor))
    event1 = np.where(took, 2, leaves < censor)
    stop2 = np.minimum(np.minimum(leaves_in, end), censor)[took]
    event2 = ((leaves_in < end) & (leaves_in < censor))[took]
    stop3, event3 = np.minimum(leaves_post, censor)[stays], (leaves_post < censor)[stays]
    person = np.concatenate([who, who[took], who[stays]])
    start = np.concatenate([zero, enters[took], end[stays]])
    status = np.repeat([[0, 0], [1, 0], [0, 1]], [n, took.sum(), stays.sum()], axis=0)
    order = np.lexsort((start, person))
    person, status = person[order], status[order].astype(float)
    allowed = np.ones((2, p + 2), dtype=bool)
    allowed[1, -2:] = False
    return EventHistory(
        person=person,
        start=start[order],
        stop=np.concatenate([stop1, stop2, stop3])[order],
        event=np.concatenate([event1, event2, event3])[order].astype(np.int16),
        transitions=("job", "programme"),
        at_risk=np.column_stack([np.ones(person.size, dtype=bool), status.sum(axis=1) == 0]),
        covariates=np.concatenate([x[person], status], axis=1),
        covariate_names=(*(f"x{k}" for k in range(p)), "taking_part", "after"),
        enters=allowed,
        programme=("taking_part", "after"),
        weight=np.ones(person.size),
        cluster=person,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["reference", "speed"])
    parser.add_argument("--persons", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    parts = {
        "reference": reference,
        "speed": speed,
        "large": lambda: large(given.persons),
        "growth": growth,
        "one": lambda: one(given.persons, given.seed),
    }
    for part in given.parts:
        parts[part]()
    if failed:
        print(f"{len(failed)} not met: " + "; ".join(failed))
    sys.exit(bool(failed))
