"""Triple differences: how often intervals hold the truth, and CPU time.

    python benchmarks/triple_difference.py coverage [--replications 200] [--minutes 5]
    python benchmarks/triple_difference.py speed [--peer-python PATH]

Coverage: 20, 40 or 100 offices of 10 persons over eight periods, half of the persons eligible, offices
starting in period 4 or 6 (a quarter each) or never; shocks of offices (a random walk), of the eligible
in an office (AR(1)) and of persons; a constant effect. Errors are clustered by office; comparison
cohorts are combined by their variance ("gmm") or by size. Results in
benchmarks/results/triple_difference.json; the command resumes where it stopped.

Speed: 20,000 units over 12 periods, three cohorts, three covariates, doubly robust, not-yet treated.
Each run is a process of its own. ``--peer-python`` is the Python of an environment with diff-diff 3.13.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULT = Path(__file__).parent / "results" / "triple_difference.json"
OFFICES, EACH, PERIODS, EFFECT, BATCH = (20, 40, 100), 10, 8, 0.5, 20
TERMS = ("effect_overall", "effect_by_event_time")


def panel(offices: int, seed: int) -> Any:
    """One replication."""
    from tiltakeval.design.cross_section import Subgroup
    from tiltakeval.design.staggered import StaggeredPanel

    rng = np.random.default_rng([seed, offices])
    office = np.repeat(np.arange(offices), EACH)
    start = np.array([4.0, 6.0, np.inf, np.inf])[np.arange(offices) % 4]
    eligible = np.tile([0, 1], office.size // 2)
    common = 0.5 * rng.normal(size=(offices, PERIODS)).cumsum(axis=1)
    own = rng.normal(size=(offices, PERIODS))
    for t in range(1, PERIODS):
        own[:, t] = 0.5 * own[:, t - 1] + np.sqrt(0.75) * own[:, t]
    y = common[office] + 0.5 * own[office] * eligible[:, None]
    y += rng.normal(size=(office.size, PERIODS))
    grid = np.arange(1, PERIODS + 1)
    y += EFFECT * eligible[:, None] * (start[office][:, None] <= grid)
    return StaggeredPanel(
        outcomes=y[:, :, None], outcome_names=("y",), units=("points",), periods=grid,
        first=start[office], covariates=np.zeros((office.size, 0)), covariate_names=(),
        weight=np.ones(office.size), cluster=office, cluster_kind="office",
        subgroups={"eligible": Subgroup(levels=("0", "1"), codes=eligible.astype(np.int16))},
        population="invented",
    )  # fmt: skip


def coverage(replications: int, minutes: float) -> None:
    """Go on with every cell until it has ``replications``."""
    from tiltakeval.estimators import build

    content = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    cells = content.setdefault("coverage", {})
    stop = time.monotonic() + 60 * minutes
    for start in range(0, replications, BATCH):
        for offices in OFFICES:
            for combine in ("gmm", "size"):
                cell = cells.setdefault(f"{offices} {combine}", {"replications": 0, "rows": {}})
                if cell["replications"] > start or time.monotonic() > stop:
                    continue
                for seed in range(cell["replications"], min(start + BATCH, replications)):
                    design = panel(offices, seed)
                    estimator = build("triple_difference", eligible="eligible", combine=combine)
                    table = estimator.estimate(design).table
                    rows = table[table.term.isin(TERMS) & table.status.eq("ok")]
                    for row in rows.itertuples():
                        late = row.term == TERMS[0] or row.horizon >= 0
                        truth = EFFECT if late else 0.0
                        name = row.term if row.term == TERMS[0] else f"event {row.horizon}"
                        sums = cell["rows"].setdefault(name, [0.0] * 5)
                        off = row.estimate - truth
                        held = float(row.conf_low <= truth <= row.conf_high)
                        one = (1.0, off, off**2, row.std_error, held)
                        cell["rows"][name] = [float(a + b) for a, b in zip(sums, one)]
                    cell["replications"] = seed + 1
                content["made_with"] = {
                    "python": platform.python_version(),
                    "numpy": np.__version__,
                }
                RESULT.write_text(json.dumps(content, indent=1) + "\n")
    print("offices, weights, row: bias sd mean-error coverage")
    for key, cell in cells.items():
        for name, (n, bias, square, error, held) in cell["rows"].items():
            sd = np.sqrt(max(square / n - (bias / n) ** 2, 0.0))
            print(f"{key}, {name}: {bias / n:.3f} {sd:.3f} {error / n:.3f} {100 * held / n:.1f}")


def long_file() -> Any:
    """20,000 units over 12 periods, a row each."""
    import pandas as pd

    n, periods = 20_000, 12
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    q = (rng.random(n) < 0.5).astype(int)
    g = rng.choice([0, 5, 7, 9], size=n)
    t = np.arange(1, periods + 1)
    y = rng.normal(size=(n, 1)) + 0.1 * t + 0.1 * x[:, :1] * t + rng.normal(size=(n, periods))
    y += q[:, None] * (g[:, None] > 0) * (t >= g[:, None])
    columns = {"unit": np.repeat(np.arange(n), periods), "time": np.tile(t, n)}
    columns |= {"first": np.repeat(g, periods), "eligible": np.repeat(q, periods), "y": y.ravel()}
    columns |= {f"x{i}": np.repeat(x[:, i], periods) for i in range(3)}
    return pd.DataFrame(columns)


def run_ours() -> None:
    """CPU seconds of reading the frame and estimating everything."""
    from tiltakeval.design.staggered_read import staggered_from_frame
    from tiltakeval.estimators import build

    frame = long_file()
    build("triple_difference", eligible="eligible").estimate(panel(20, 0))  # imports
    began = time.process_time()
    design = staggered_from_frame(
        frame, unit="unit", time="time", first="first", outcome="y", subgroups="eligible",
        covariates=["x0", "x1", "x2"],
    )  # fmt: skip
    options = {"eligible": "eligible", "divisor": "g", "max_propensity": 0.99, "bands": False}
    table = build("triple_difference", **options).estimate(design).table
    spent = time.process_time() - began
    row = table[table.term == "effect_overall"].iloc[0]
    said(spent, row.estimate, row.std_error)


def run_peer() -> None:
    """The same by diff-diff."""
    import warnings

    from diff_diff import StaggeredTripleDifference  # type: ignore[import-not-found]

    warnings.simplefilter("ignore")
    frame = long_file()
    began = time.process_time()
    found = StaggeredTripleDifference().fit(
        frame, "y", "unit", "time", "first", "eligible", covariates=["x0", "x1", "x2"],
        aggregate="all",
    )  # fmt: skip
    said(time.process_time() - began, found.overall_att, found.overall_se)


def said(spent: float, estimate: float, error: float) -> None:
    """One line of JSON for the parent."""
    memory = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    found = {"cpu_seconds": round(spent, 3), "megabytes": memory}
    print(json.dumps({**found, "estimate": float(estimate), "std_error": float(error)}))


def speed(peer: str | None) -> None:
    """Ours and the peer's, each in a process of its own."""
    content = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for who, python in (("ours", sys.executable), ("diff_diff", peer)):
        if python is None:
            continue
        done = subprocess.run(
            [python, __file__, f"run_{who}"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(who, done.stderr[-500:])
            continue
        content.setdefault("speed", {})[who] = json.loads(done.stdout.splitlines()[-1])
        print(who, content["speed"][who])
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["coverage", "speed", "run_ours", "run_diff_diff"])
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--peer-python")
    args = parser.parse_args()
    if args.what == "coverage":
        coverage(args.replications, args.minutes)
    elif args.what == "speed":
        speed(args.peer_python)
    else:
        (run_ours if args.what == "run_ours" else run_peer)()


if __name__ == "__main__":
    main()
