"""Group-time effects of roll-outs: CPU time and memory beside diff-diff.

    python benchmarks/group_time.py speed --peer-python PATH [--units 100000] [--draws 0] [--repeat 9]
    python benchmarks/group_time.py speed --units 1000000

Speed: 24 periods, 8 cohorts and units that are never treated, 5 covariates, doubly robust. Each run is
a process of its own that makes the data, reads a data frame (ours: to a design), estimates all averages
and prints CPU seconds and peak memory; imports and making the data aren't counted as time. With
``--repeat`` all take turns so often, and the ratio is that of medians; every run's seconds are kept.
``--peer-python`` is the Python of an environment with diff-diff 3.13. Results in
benchmarks/results/group_time_speed.json, by number of units.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RESULTS = Path(__file__).parent / "results"
SPEED = RESULTS / "group_time_speed.json"
PERIODS, COHORTS, COVARIATES = 24, 8, 5
NAMES = [f"x{i}" for i in range(COVARIATES)]


def long_file(units: int) -> pd.DataFrame:
    """A balanced roll-out, a row a unit and period; numbers as small as they can be (float32, int32)."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((units, COVARIATES), dtype=np.float32)
    starts = np.arange(5, 5 + 2 * COHORTS, 2)
    lean = 1 / (1 + np.exp(0.4 * x[:, 0] - 0.2 * x[:, 1] - 0.6))
    first = np.where(rng.random(units) < lean, rng.choice(starts, units), 0).astype(np.int32)
    when = np.arange(1, PERIODS + 1, dtype=np.int32)
    y = rng.standard_normal((units, PERIODS), dtype=np.float32)
    y += rng.standard_normal((units, 1), dtype=np.float32)
    y += 0.05 * x[:, :1] * when.astype(np.float32)
    since = when - first[:, None]
    y += np.where((since >= 0) & (first[:, None] > 0), 0.4 + 0.05 * since, 0).astype(np.float32)
    columns = {
        "unit": np.repeat(np.arange(units, dtype=np.int32), PERIODS),
        "period": np.tile(when, units),
        "first": np.repeat(first, PERIODS),
        "y": y.ravel(),
    }
    columns |= {name: np.repeat(x[:, i], PERIODS) for i, name in enumerate(NAMES)}
    return pd.DataFrame(columns, copy=False)


def ours(df: pd.DataFrame, draws: int, comparison: str) -> dict[str, Any]:
    """Reading and estimating apart; effects and errors for comparison."""
    import tiltakeval
    from tiltakeval.design.staggered_read import staggered_from_frame
    from tiltakeval.estimators import build

    estimator = build("group_time_att", comparison=comparison, bands=draws > 0, draws=draws or 999)
    began = time.process_time()
    design = staggered_from_frame(
        df, unit="unit", period="period", first="first", outcome="y", covariates=NAMES
    )
    read = time.process_time() - began
    found = estimator.estimate(design)
    whole = time.process_time() - began
    row = found.select(term="effect_overall").table.iloc[0]
    return {
        "who": f"tiltakeval {tiltakeval.__version__}",
        "cpu_seconds": round(whole, 3),
        "reading_cpu_seconds": round(read, 3),
        "estimate": float(row.estimate),
        "std_error": float(row.std_error),
    }


def diff_diff(df: pd.DataFrame, draws: int, comparison: str) -> dict[str, Any]:
    """The same estimate by diff-diff, all the averages it has."""
    import diff_diff as package

    df = df.astype({c: np.float64 for c in ("y", *NAMES)} | {"unit": int, "period": int})
    began = time.process_time()
    control = {"never": "never_treated", "not_yet": "not_yet_treated"}[comparison]
    estimator = package.CallawaySantAnna(
        control_group=control, estimation_method="dr", n_bootstrap=draws, cband=draws > 0, seed=1
    )
    found = estimator.fit(
        df, outcome="y", unit="unit", time="period", first_treat="first", covariates=NAMES,
        aggregate="all",
    )  # fmt: skip
    return {
        "who": f"diff-diff {package.__version__}",
        "cpu_seconds": round(time.process_time() - began, 3),
        "estimate": float(found.overall_att),
        "std_error": float(found.overall_se),
    }


def one(args: argparse.Namespace) -> None:
    """One run in this process, printed as a line of JSON."""
    df = long_file(args.units)
    held = _peak()
    found = (ours if args.who == "ours" else diff_diff)(df, args.draws[0], args.comparison)
    found |= {
        "units": args.units,
        "comparison": args.comparison,
        "draws": args.draws[0],
        "peak_mb": _peak(),
        "peak_mb_before": held,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pandas": pd.__version__,
    }
    print(json.dumps(found))


def speed(args: argparse.Namespace) -> None:
    """All runs, and how many times less CPU ours takes."""
    stored = json.loads(SPEED.read_text("utf-8")) if SPEED.exists() else {"runs": []}
    runs = {_key(run): run for run in stored["runs"]}
    turns: list[tuple[str, list[str]]] = []
    for draws in args.draws:
        for comparison in args.comparisons:
            cases = [("ours", sys.executable)]
            if args.peer_python and comparison == "never":
                cases.append(("diff_diff", args.peer_python))
            for who, python in cases:
                command = [python, __file__, "one", "--who", who, "--comparison", comparison]
                command += ["--units", str(args.units), "--draws", str(draws)]
                turns.append((who, command))
    times: dict[tuple[Any, ...], list[float]] = {}
    for _ in range(args.repeat):
        for who, command in turns:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{who}: {done.stderr[-2000:]}")
            run = json.loads(done.stdout.splitlines()[-1])
            each = times.setdefault(_key(run), [])
            each.append(run["cpu_seconds"])
            runs[_key(run)] = run | {
                "cpu_seconds": round(statistics.median(each), 3),
                "cpu_seconds_each": list(each),
            }
            print(json.dumps(run), flush=True)
    machine = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "data": f"{PERIODS} periods, {COHORTS} cohorts and never treated, {COVARIATES} covariates",
    }
    rows = [runs[key] for key in sorted(runs)]
    SPEED.write_text(
        json.dumps({**machine, "ratios": _ratios(rows), "runs": rows}, indent=1) + "\n", "utf-8"
    )


def _key(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["units"], run["draws"], run["comparison"], run["who"].split()[0]


def _ratios(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_key = {_key(run): run for run in runs}
    out = []
    for (units, draws, comparison, who), run in by_key.items():
        mine = by_key.get((units, draws, comparison, "tiltakeval"))
        if who != "tiltakeval" and mine:
            out.append(
                {
                    "units": units,
                    "draws": draws,
                    "against": run["who"],
                    "cpu_ratio": round(run["cpu_seconds"] / mine["cpu_seconds"], 1),
                    "cpu_ratio_each": [
                        round(a / b, 1)
                        for a, b in zip(
                            run.get("cpu_seconds_each", []), mine.get("cpu_seconds_each", [])
                        )
                    ],
                    "estimates_differ_by": abs(run["estimate"] - mine["estimate"]),
                }
            )
    return out


def _peak() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["speed", "one"])
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 999])
    parser.add_argument("--comparisons", nargs="+", default=["never", "not_yet"])
    parser.add_argument("--comparison", default="never")
    parser.add_argument("--who", choices=["ours", "diff_diff"], default="ours")
    parser.add_argument("--peer-python")
    parser.add_argument("--repeat", type=int, default=1)
    args = parser.parse_args()
    {"speed": speed, "one": one}[args.command](args)


if __name__ == "__main__":
    main()
