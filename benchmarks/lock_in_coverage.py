"""Coverage of the lock-in summaries: python benchmarks/lock_in_coverage.py [--replications 4000]

Profiles of 36 months are estimated from n persons' influence (heavy-tailed, correlated over months
like monthly employment), around four true shapes. Prints, for each summary, how often its interval or
set holds the truth, with the Monte Carlo error. Nominal is 95 %; sets from the band are conservative
because the band covers every month at once.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np

from tiltakeval.estimates.combine import with_inference
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimates.lockin import lock_in
from tiltakeval.estimates.table import tidy

MONTHS = np.arange(37)
SHAPES = {
    "short loss, earned back": np.where(MONTHS < 7, -0.04, 0.02) * (MONTHS > 0),
    "long loss, earned back late": np.where(MONTHS < 16, -0.04, 0.035) * (MONTHS > 0),
    "never earned back": np.where(MONTHS < 20, -0.05, 0.01) * (MONTHS > 0),
    "no effect": np.zeros(37),
}
GROUPS, PERSONS_SD = 500, 0.45


def true_crossing(path: np.ndarray, start: int = 0) -> float:
    """The month of the last upward crossing of the true path, inf if it ends below zero, else 0."""
    below = path < -1e-12
    if below[-1]:
        return np.inf
    upward = np.flatnonzero(below[:-1] & ~below[1:]) + 1
    return float(start + upward[-1]) if upward.size else 0.0


def holds(row, truth: float) -> bool:
    """Whether the confidence set of a length or break-even row holds the true month."""
    low = row["conf_low"]
    open_end = bool(np.isnan(row["conf_high"]))
    if np.isinf(truth):
        return open_end
    if row["status"] == "not_reached" or np.isnan(low):
        return False
    return low <= truth and (open_end or truth <= row["conf_high"])


def replicate(theta: np.ndarray, persons: int, seed: list[int]) -> dict[str, bool]:
    rng = np.random.default_rng(seed)
    size = len(theta)
    lag = np.abs(np.subtract.outer(MONTHS, MONTHS))
    root = np.linalg.cholesky(0.93**lag + 1e-9 * np.eye(size))
    raw = (rng.exponential(size=(GROUPS, size)) - 1) @ root.T
    raw *= PERSONS_SD / np.sqrt(persons) / np.sqrt(GROUPS)
    estimate = theta + raw.sum(axis=0)
    z = raw - raw.mean(axis=0)
    rows = [
        dict(programme="p", outcome="work", unit="share", horizon=int(m), estimate=e)
        for m, e in zip(MONTHS, estimate)
    ]
    influence = Influence("f", "person", persons, {"b": z}, {"b": np.arange(size)})
    table = lock_in(with_inference(tidy(rows), influence)).table
    path = np.cumsum(theta)
    out = {}
    for _, row in table[table["term"] == "cumulated"].iterrows():
        truth = path[int(row["period"].split("-")[1])]
        out[f"cumulated {row['period']}"] = bool(row["conf_low"] <= truth <= row["conf_high"])
    band = table[table["term"] == "cumulated_path"]
    out["path, band"] = bool(
        (band["band_low"].to_numpy() <= path + 1e-12).all()
        and (path - 1e-12 <= band["band_high"].to_numpy()).all()
    )
    depth = table[table["term"] == "depth"].iloc[0]
    out["depth, months 1-6"] = bool(depth["conf_low"] <= theta[1:7].mean() <= depth["conf_high"])
    out["break-even set"] = holds(table[table["term"] == "break_even"].iloc[0], true_crossing(path))
    if (theta < 0).any():
        lowest = int(np.argmin(theta))
        out["length set"] = holds(
            table[table["term"] == "length"].iloc[0], true_crossing(theta[lowest:], lowest)
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=2000)
    parser.add_argument("--persons", type=int, nargs="*", default=[3000, 30000])
    options = parser.parse_args()
    results = []
    print(f"{'shape':30s} {'persons':>8s}  {'summary':20s} coverage % (Monte Carlo error)")
    for number, (shape, theta) in enumerate(SHAPES.items()):
        for persons in options.persons:
            hits: dict[str, list[bool]] = {}
            for seed in range(options.replications):
                for name, hit in replicate(theta, persons, [number, persons, seed]).items():
                    hits.setdefault(name, []).append(hit)
            for name, values in hits.items():
                share = float(np.mean(values))
                error = float(np.sqrt(share * (1 - share) / len(values)))
                print(
                    f"{shape:30s} {persons:8d}  {name:20s} {100 * share:5.1f} ({100 * error:.1f})"
                )
                results.append([shape, persons, name, round(share, 4), len(values)])
    out = Path(__file__).parent / "results" / "lock_in_coverage.json"
    out.write_text(
        json.dumps(
            {
                "columns": ["shape", "persons", "summary", "coverage", "replications"],
                "python": platform.python_version(),
                "numpy": np.__version__,
                "rows": results,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
