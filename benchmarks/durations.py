"""Curves, restricted means and Cox regression: coverage against known truth, and CPU time.

    python benchmarks/durations.py coverage [--replications 1000] [--minutes 30]
    python benchmarks/durations.py speed
    python benchmarks/durations.py report

Coverage: designs with exact truth. "curves": two exits at constant rates and uniform censoring,
every interval scale, times 6, 12, 24, and bands over them; "means": restricted means of the same.
"weighted": two arms whose covariate decides both taking part and leaving; weights estimated, and the
same weights declared as known. "cox": a status that turns on during the spell, delayed entry.
Batches of 50 replications, each with its own seed, are kept in
benchmarks/results/durations_coverage.csv; a run goes on where the last one stopped.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tiltakeval.design.durations import Durations
from tiltakeval.design.event_history import EventHistory
from tiltakeval.estimators import build

RESULTS = Path(__file__).parent / "results"
COVERAGE = RESULTS / "durations_coverage.csv"
SPEED = RESULTS / "durations_speed.json"
SIZES = {
    "curves": (30, 60, 200, 1000),
    "weighted": (200, 1000),
    "cox": (100, 1000),
    "means": (30, 60, 200),
}
BATCH = 50
RATES = (0.06, 0.02)
TIMES = (6, 12, 24)
SCALES = ("plain", "loglog", "arcsine", "wilson")


def spells(duration, event, **more) -> Durations:
    n = duration.size
    fields = {
        "event_names": ("job", "education"),
        "arm": np.zeros(n, dtype=np.int16),
        "arms": ("all",),
        "weight": np.ones(n),
        "person": np.arange(n),
        "entry": np.zeros(n),
        "subgroups": {},
        "population": "invented",
    }
    return Durations(duration=duration, event=event.astype(np.int16), **{**fields, **more})


def curves(n: int, rng: np.random.Generator, *, means: bool = False) -> list[dict]:
    """One replication: covered or not, by quantity, scale and time."""
    total = sum(RATES)
    leave, censor = rng.exponential(1 / total, n), rng.uniform(10, 60, n)
    kind = 1 + (rng.random(n) < RATES[1] / total)
    design = spells(np.minimum(leave, censor), np.where(leave <= censor, kind, 0))
    gone = {t: 1 - np.exp(-total * t) for t in TIMES}
    inside = {t: gone[t] / total for t in TIMES}
    truth = {
        **{("survival", e, t): 1 - gone[t] for e in ("any_exit",) for t in TIMES},
        **{
            ("cumulative_incidence", e, t): r / total * gone[t]
            for e, r in zip(design.event_names, RATES)
            for t in TIMES
        },
        **{("time_in_state", "any_exit", t): inside[t] for t in TIMES},
        **{
            ("time_lost", e, t): r / total * (t - inside[t])
            for e, r in zip(design.event_names, RATES)
            for t in TIMES
        },
    }
    rows = []
    for key in ("restricted_mean",) if means else ("kaplan_meier", "aalen_johansen"):
        for scale in SCALES:
            table = build(key, times=TIMES, interval=scale).estimate(design).table
            rows += judged(table, truth, scale)
    return rows


def judged(table: pd.DataFrame, truth: dict, scale: str) -> list[dict]:
    """Rows of the table against the truth, and their bands over the times."""
    rows = []
    for (term, outcome), part in table.groupby(["term", "outcome"], sort=False):
        known = [(row, truth.get((term, outcome, row.horizon))) for row in part.itertuples()]
        known = [(row, value) for row, value in known if value is not None]
        if not known:
            continue
        inside = True
        for row, value in known:
            ok = row.status == "ok"
            inside &= ok and row.band_low <= value <= row.band_high
            rows.append(
                {
                    "quantity": f"{term} {outcome}",
                    "scale": scale,
                    "time": str(row.horizon),
                    "n": 1,
                    "supported": int(ok),
                    "covered": int(ok and row.conf_low <= value <= row.conf_high),
                    "error": row.estimate - value if ok else 0.0,
                    "se": row.std_error if ok else 0.0,
                    "square": (row.estimate - value) ** 2 if ok else 0.0,
                }
            )
        all_ok = all(row.status == "ok" for row, _ in known)
        rows.append(
            {
                "quantity": f"{term} {outcome}",
                "scale": scale,
                "time": "band",
                "n": 1,
                "supported": int(all_ok),
                "covered": int(inside),
            }
        )
    return rows


_NODES = np.polynomial.hermite_e.hermegauss(80)


def weighted(n: int, rng: np.random.Generator) -> list[dict]:
    """A covariate moves the arm and the hazard; the arm halves the hazard."""
    x = rng.standard_normal(n)
    e = 1 / (1 + np.exp(-x))
    arm = (rng.random(n) < e).astype(np.int16)
    rate = 0.08 * np.exp(0.6 * x) * np.where(arm == 1, 0.5, 1.0)
    leave, censor = rng.exponential(1 / rate), rng.uniform(10, 60, n)
    design = spells(
        np.minimum(leave, censor),
        leave <= censor,
        event_names=("job",),
        arm=arm,
        arms=("none", "aft"),
        covariates=x[:, None],
        covariate_names=("x",),
    )
    nodes, mass = _NODES
    rows = []
    for target in ("att", "ate"):
        share = mass / (1 + np.exp(-nodes)) if target == "att" else mass
        share = share / share.sum()
        hazard = 0.08 * np.exp(0.6 * nodes)
        gap = {t: float(share @ (np.exp(-0.5 * hazard * t) - np.exp(-hazard * t))) for t in TIMES}
        area = {
            t: float(
                share
                @ (
                    (1 - np.exp(-0.5 * hazard * t)) / (0.5 * hazard)
                    - (1 - np.exp(-hazard * t)) / hazard
                )
            )
            for t in TIMES
        }
        truth = {("survival_difference", "job", t): gap[t] for t in TIMES}
        truth |= {("time_in_state_difference", "job", t): area[t] for t in TIMES}
        known = known_weights(design, target)
        for key in ("kaplan_meier", "restricted_mean"):
            found = build(key, times=TIMES, adjust=target).estimate(design).table
            rows += judged(found, truth, f"{target} estimated")
            found = build(key, times=TIMES, adjust="none").estimate(known).table
            rows += judged(found, truth, f"{target} taken as known")
    return rows


def known_weights(design: Durations, target: str) -> Durations:
    """The same estimated weights, declared as a weight column."""
    from tiltakeval.estimators.duration.arm_weights import fit_adjustment
    from tiltakeval.estimators.numerics.groups import deal_groups

    groups = deal_groups(design.person, kind="person")
    fit = fit_adjustment(design, groups, target=target, floor=0.01)
    weight = fit.weights(design, 0, 1) + fit.weights(design, 1, 1)
    return replace(design, weight=weight, covariates=None, covariate_names=())


def history(n: int, p: int, rng: np.random.Generator, *, late: bool = True) -> EventHistory:
    """Status turns on at a random time and lowers the hazard by exp(-0.4); p - 1 fixed covariates."""
    x = rng.standard_normal((n, p - 1))
    slope = np.full(p - 1, 0.5 / np.sqrt(p - 1))
    rate = 0.1 * np.exp(x @ slope)
    turn, need = rng.exponential(6, n), rng.exponential(1, n)
    stop = np.where(need < rate * turn, need / rate, turn + (need / rate - turn) / np.exp(-0.4))
    censor = rng.exponential(20, n)
    done, stop = stop <= censor, np.minimum(stop, censor)
    entry = rng.uniform(0, 2, n) if late else np.zeros(n)
    keep = stop > entry
    x, turn, stop, done, entry = x[keep], turn[keep], stop[keep], done[keep], entry[keep]
    two = (turn > entry) & (turn < stop)
    person = np.repeat(np.arange(stop.size), 1 + two)
    first = np.r_[True, np.diff(person) > 0]
    last = np.r_[first[1:], True]
    status = np.where(two[person], ~first, turn[person] <= entry[person]).astype(float)
    rows = person.size
    return EventHistory(
        person=person,
        start=np.where(first, entry[person], turn[person]),
        stop=np.where(last, stop[person], turn[person]),
        event=(last & done[person]).astype(np.int16),
        transitions=("job",),
        at_risk=np.ones((rows, 1), dtype=bool),
        covariates=np.column_stack([x[person], status]),
        covariate_names=(*(f"x{i}" for i in range(p - 1)), "aft"),
        enters=np.ones((1, p), dtype=bool),
        programme=("aft",),
        weight=np.ones(rows),
        cluster=person,
        population="invented",
    )


def cox(n: int, rng: np.random.Generator) -> list[dict]:
    """Effect of status and the first covariate, clustered and model errors."""
    design = history(n, 3, rng)
    rows = []
    for errors in ("cluster", "model"):
        table = build("cox", errors=errors).estimate(design).table
        for row in table.itertuples():
            value = -0.4 if row.programme == "aft" else 0.5 / np.sqrt(2)
            rows.append(
                {
                    "quantity": f"{row.term} {row.programme}",
                    "scale": errors,
                    "time": "-",
                    "n": 1,
                    "supported": 1,
                    "covered": int(row.conf_low <= value <= row.conf_high),
                    "error": row.estimate - value,
                    "se": row.std_error,
                    "square": (row.estimate - value) ** 2,
                }
            )
    return rows


DESIGNS = {
    "curves": curves,
    "weighted": weighted,
    "cox": cox,
    "means": lambda n, rng: curves(n, rng, means=True),
}
KEYS = ["design", "size", "quantity", "scale", "time"]


def coverage(replications: int, minutes: float) -> None:
    """Run the batches that are missing, smallest first, until the time is up."""
    done = pd.read_csv(COVERAGE) if COVERAGE.exists() else pd.DataFrame()
    seen = set() if done.empty else set(zip(done.design, done["size"], done.batch))
    end = time.monotonic() + 60 * minutes
    for batch in range(-(-replications // BATCH)):
        for design, sizes in SIZES.items():
            for size in sizes:
                if (design, size, batch) in seen:
                    continue
                if time.monotonic() > end:
                    return print("time is up: run again to go on")
                rows = []
                for i in range(BATCH):
                    rng = np.random.default_rng([list(SIZES).index(design), size, batch, i])
                    rows += DESIGNS[design](size, rng)
                part = pd.DataFrame(rows).fillna(0.0).assign(design=design, size=size)
                part = part.groupby(KEYS, as_index=False, sort=False).sum().assign(batch=batch)
                part.to_csv(
                    COVERAGE, mode="a", header=not COVERAGE.exists(), index=False,
                    float_format="%.8g",
                )  # fmt: skip
    return None


def report() -> pd.DataFrame:
    """Coverage, bias, and the ratio of mean standard error to spread, by cell."""
    sums = pd.read_csv(COVERAGE).groupby(KEYS, sort=False).sum().drop(columns="batch")
    n = sums["supported"]
    spread = np.sqrt(np.maximum(sums["square"] / n - (sums["error"] / n) ** 2, 0))
    out = pd.DataFrame(
        {
            "replications": sums["n"].astype(int),
            "supported": (n / sums["n"]).round(3),
            "coverage": (sums["covered"] / n).round(3),
            "bias": (sums["error"] / n).round(4),
            "se_ratio": (sums["se"] / n / spread.where(spread > 0)).round(3),
        }
    )
    return out.reset_index()


def timed(function) -> float:
    began = time.process_time()
    function()
    return round(time.process_time() - began, 3)


def speed() -> None:
    """CPU seconds after compilation, one thread, on exact (untied) times."""
    rng = np.random.default_rng(1)

    def curve_design(n: int) -> Durations:
        event = rng.choice([0, 1, 2], n, p=[0.2, 0.5, 0.3])
        return spells(rng.exponential(10, n), event)

    out = {"machine": platform.machine(), "curves": [], "cox": []}
    keys = ("kaplan_meier", "aalen_johansen", "restricted_mean")
    for key in keys:
        build(key).estimate(curve_design(2000))
    for n in (100_000, 1_000_000):
        design = curve_design(n)
        for key in keys:
            found = timed(lambda: build(key).estimate(design))  # noqa: B023
            out["curves"].append({"estimator": key, "spells": n, "cpu_seconds": found})
            print(out["curves"][-1], flush=True)
    for p in (10, 40):
        build("cox").estimate(history(2000, p, rng))
    for n, p in ((80_000, 10), (800_000, 10), (800_000, 40)):
        made = history(n, p, rng)
        found = timed(lambda: build("cox").estimate(made))  # noqa: B023
        row = {"rows": made.n, "covariates": p, "errors": "cluster", "cpu_seconds": found}
        out["cox"].append(row)
        print(row, flush=True)
    SPEED.write_text(json.dumps(out, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["coverage", "speed", "report"])
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=30)
    given = parser.parse_args()
    if given.what == "coverage":
        coverage(given.replications, given.minutes)
    elif given.what == "speed":
        speed()
    if given.what != "speed":
        print(report().to_string(index=False))


if __name__ == "__main__":
    main()
