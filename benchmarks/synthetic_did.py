"""Synthetic difference-in-differences: how often intervals hold the truth, and CPU time.

    python benchmarks/synthetic_did.py coverage [--replications 200] [--minutes 10]
    python benchmarks/synthetic_did.py speed [--peer-python PATH]

Coverage: 20 or 40 offices over 24 periods, some treated in the last six, with an effect of 1. Outcomes
are an office's level, a factor (a random walk) that treated offices load on more, and AR(1) noise, in
the world "unequal" with twice the standard deviation in treated offices. The jackknife, the bootstrap
and placebo cohorts (100 draws, or all there are) each give an interval for the mean effect; "plain" is
difference-in-differences without weights, by the jackknife (placebo with one treated office). Results
in benchmarks/results/synthetic_did.json; the command resumes where it stopped.

Speed: 400 offices over 96 months, 40 treated in the last 24; each run is a process of its own that
prints CPU seconds after imports. ``--peer-python`` is the Python of an environment with diff-diff 3.13.
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

RESULT = Path(__file__).parent / "results" / "synthetic_did.json"
PERIODS, AFTER, RHO, EFFECT, DRAWS = 24, 6, 0.5, 1.0, 100
#: Offices, and how many of them are treated.
DESIGNS = ((20, 1), (20, 2), (20, 6), (40, 1), (40, 4), (40, 15))
#: World: noise of treated offices relative to others.
WORLDS = {"equal": 1.0, "unequal": 2.0}
BATCH = 10


def draw(offices: int, treated: int, world: str, seed: int) -> np.ndarray:
    """[offices, T] outcomes of one replication, treated offices first."""
    rng = np.random.default_rng([seed, offices, treated, list(WORLDS).index(world)])
    noise = rng.normal(size=(offices, PERIODS))
    for t in range(1, PERIODS):
        noise[:, t] = RHO * noise[:, t - 1] + np.sqrt(1 - RHO**2) * noise[:, t]
    noise[:treated] *= WORLDS[world]
    load = rng.normal(size=(offices, 1))
    load[:treated] += 0.5
    factor = 0.4 * rng.normal(size=PERIODS).cumsum()
    y = rng.normal(size=(offices, 1)) + load * factor + 0.5 * noise
    y[:treated, PERIODS - AFTER :] += EFFECT
    return y


def panel(y: np.ndarray, treated: int, first: float) -> Any:
    """The roll-out with outcomes ``y`` [offices, T]."""
    from tiltakeval.design.staggered import StaggeredPanel

    offices = y.shape[0]
    return StaggeredPanel(
        outcomes=y[:, :, None], outcome_names=("y",), units=("points",),
        periods=np.arange(1, y.shape[1] + 1),
        first=np.where(np.arange(offices) < treated, first, np.inf),
        covariates=np.zeros((offices, 0)), covariate_names=(), weight=np.ones(offices),
        cluster=np.arange(offices), subgroups={}, population="invented", cluster_kind="office",
    )  # fmt: skip


def methods(offices: int, treated: int) -> dict[str, dict[str, Any]]:
    """Options of every interval that can be had."""
    out: dict[str, dict[str, Any]] = {}
    if offices - treated > treated + 1:
        out["placebo"] = {"errors": "placebo", "resamples": DRAWS}
    if treated > 1:
        out["jackknife"] = {"errors": "jackknife"}
        out["bootstrap"] = {"errors": "bootstrap", "resamples": DRAWS}
    out["plain"] = {"method": "did", "errors": "auto", "resamples": DRAWS}
    return out


def one(offices: int, treated: int, world: str, seed: int) -> dict[str, list[float]]:
    """By method: estimate, error, and whether the interval holds the truth."""
    from tiltakeval.estimators import build

    design = panel(draw(offices, treated, world, seed), treated, PERIODS - AFTER + 1.0)
    out = {}
    for name, options in methods(offices, treated).items():
        found = build("synthetic_did", bands=False, seed=seed, **options).estimate(design)
        row = found.select(term="effect_overall").table.iloc[0]
        held = bool(row.conf_low <= EFFECT <= row.conf_high)
        out[name] = [float(row.estimate), float(row.std_error), float(held)]
    return out


def coverage(replications: int, minutes: float) -> None:
    """Go on with every cell until it has ``replications``."""
    content = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    cells = content.setdefault("coverage", {})
    stop = time.monotonic() + 60 * minutes
    for start in range(0, replications, BATCH):
        for offices, treated in DESIGNS:
            for world in WORLDS:
                cell = cells.setdefault(f"{offices} {treated} {world}", {"replications": 0})
                if cell["replications"] > start or time.monotonic() > stop:
                    continue
                for seed in range(cell["replications"], min(start + BATCH, replications)):
                    for name, (estimate, error, held) in one(offices, treated, world, seed).items():
                        sums = cell.setdefault(name, [0.0] * 4)
                        found = (estimate - EFFECT, (estimate - EFFECT) ** 2, error, held)
                        cell[name] = [a + b for a, b in zip(sums, found)]
                    cell["replications"] = seed + 1
                content["made_with"] = {
                    "python": platform.python_version(),
                    "numpy": np.__version__,
                }
                RESULT.write_text(json.dumps(content, indent=1) + "\n")
    show(cells)


def show(cells: dict[str, Any]) -> None:
    """Bias, standard deviation, mean error and coverage of every cell."""
    print("offices, treated, world: method bias sd mean-error coverage")
    for key, cell in cells.items():
        n = cell["replications"]
        for name, (bias, square, error, held) in (
            (k, v) for k, v in cell.items() if k != "replications"
        ):
            sd = np.sqrt(max(square / n - (bias / n) ** 2, 0.0))
            print(
                f"{key} ({n}): {name} {bias / n:.3f} {sd:.3f} {error / n:.3f} {100 * held / n:.1f}"
            )


def run_ours(errors: str) -> None:
    """CPU seconds and memory of one estimate."""
    from tiltakeval.estimators import build

    y, treated = big()
    design = panel(y, treated, 73.0)
    build("synthetic_did", bands=False).estimate(panel(y[:60, 60:84], 20, 13.0))  # imports
    began = time.process_time()
    found = build("synthetic_did", errors=errors, resamples=200, bands=False).estimate(design)
    spent = time.process_time() - began
    row = found.select(term="effect_overall").table.iloc[0]
    said(spent, row.estimate, row.std_error, found.run["synthetic"][0]["gap_units"])


def run_peer(errors: str) -> None:
    """The same by diff-diff."""
    import warnings

    import pandas as pd
    from diff_diff import SyntheticDiD  # type: ignore[import-not-found]

    warnings.simplefilter("ignore")
    y, treated = big()
    offices, periods = y.shape
    frame = pd.DataFrame(
        {
            "unit": np.repeat(np.arange(offices), periods),
            "time": np.tile(np.arange(1, periods + 1), offices),
            "treated": np.repeat((np.arange(offices) < treated).astype(int), periods),
            "y": y.ravel(),
        }
    )
    began = time.process_time()
    found = SyntheticDiD(variance_method=errors, n_bootstrap=200, seed=0).fit(
        frame, "y", "treated", "unit", "time", post_periods=list(range(73, 97))
    )
    said(time.process_time() - began, found.att, found.se, None)


def big() -> tuple[np.ndarray, int]:
    """400 offices, 96 months, 40 treated in the last 24."""
    rng = np.random.default_rng(1)
    load = rng.normal(size=(400, 1))
    load[:40] += 0.5
    y = rng.normal(size=(400, 1)) + load * 0.3 * rng.normal(size=96).cumsum()
    y = y + rng.normal(size=(400, 96))
    y[:40, 72:] += EFFECT
    return y, 40


def said(spent: float, estimate: float, error: float, gap: float | None) -> None:
    """One line of JSON for the parent."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"cpu_seconds": round(spent, 3), "megabytes": round(memory), "gap": gap}
    print(json.dumps({**found, "estimate": float(estimate), "std_error": float(error)}))


def speed(peer: str | None) -> None:
    """Every method of errors, ours and the peer's, each in a process of its own."""
    content = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    kept = content.setdefault("speed", {})
    for errors in ("jackknife", "placebo", "bootstrap"):
        for who, python in (("ours", sys.executable), ("diff_diff", peer)):
            if python is None:
                continue
            command = [python, __file__, f"run_{who}", errors]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(who, errors, done.stderr[-500:])
                continue
            kept[f"{who} {errors}"] = json.loads(done.stdout.splitlines()[-1])
            print(who, errors, kept[f"{who} {errors}"])
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["coverage", "speed", "run_ours", "run_diff_diff"])
    parser.add_argument("errors", nargs="?", default="jackknife")
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--peer-python")
    args = parser.parse_args()
    if args.what == "coverage":
        coverage(args.replications, args.minutes)
    elif args.what == "speed":
        speed(args.peer_python)
    else:
        (run_ours if args.what == "run_ours" else run_peer)(args.errors)


if __name__ == "__main__":
    main()
