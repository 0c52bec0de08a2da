"""Time and memory of the score engine on invented units; prints its inputs and figures.

    python benchmarks/scores.py [--units 300000] [--censored] [--missing] [--contrasts]

Units of persons who recur (1.7 units each), 5 arms (the smallest 5 %), 41 covariates, 36 months x 6
outcomes, 13 subgroups (one is all). Wall and processor seconds of each part, peak memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from tiltakeval.design.cross_section import CrossSection, Subgroup
from tiltakeval.estimators import build

ARMS = ("none", "aft", "amo", "lonnstilskudd_midlertidig", "ips")


def invented(units: int, *, seed: int, censored: bool, missing: bool) -> CrossSection:
    """A cross-section of invented units."""
    rng = np.random.default_rng(seed)
    person = np.sort(rng.integers(0, int(units * 0.6), units))
    x = rng.standard_normal((units, 41)).astype(np.float32)
    x[:, 20:] = x[:, 20:] > 0.5
    base = np.log([0.6, 0.15, 0.12, 0.08, 0.05])
    eta = base + 0.2 * x[:, :5] @ rng.standard_normal((5, 5))
    p = np.exp(eta - eta.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    arm = (p.cumsum(axis=1) < rng.random((units, 1))).sum(axis=1).astype(np.int16)
    months, names = 36, ("work", "full_time", "earnings_nok", "benefits_nok", "grade", "registered")
    y = np.empty((units, months, len(names)), dtype=np.float32)
    for t in range(months):
        for k in range(len(names)):
            y[:, t, k] = x[:, k] + 0.02 * t * (arm > 0) + rng.standard_normal(units)
    if missing:
        last = rng.integers(12, 2 * months, units)
        for t in range(months):
            y[last <= t, t] = np.nan
    weights = None
    if censored:
        stop = rng.geometric(0.01, units)
        weights = np.ones((units, months, len(ARMS)), dtype=np.float32)
        for t in range(months):
            weights[:, t] = np.where(stop > t, 1 / 0.99**t, 0)[:, None]
    return CrossSection(
        arms=ARMS,
        arm=arm,
        eligible=np.ones((units, len(ARMS)), dtype=bool),
        weight=np.ones(units),
        person=person,
        covariates=x,
        covariate_names=tuple(f"x{i}" for i in range(41)),
        outcomes=y,
        outcome_names=names,
        units=("share",) * len(names),
        horizons=tuple(range(months)),
        population="invented",
        estimand="vs_no_programme" if censored else "now_vs_wait",
        time_origin="vedtak",
        censor_weight=weights,
        subgroups={
            f"g{i}": Subgroup(levels=tuple("abc"), codes=rng.integers(0, 3, units).astype(np.int16))
            for i in range(4)
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--key", default="aipw_att")
    parser.add_argument("--censored", action="store_true")
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--contrasts", action="store_true")
    given = parser.parse_args()
    print(f"inputs: {vars(given)}")
    design = invented(given.units, seed=given.seed, censored=given.censored, missing=given.missing)
    print(f"arms {design.counts()}; persons {np.unique(design.person).size}")
    options = {"contrasts": "all"} if given.contrasts else {}
    estimator = build(given.key, **options)

    def timed(name: str, function):
        wall, cpu = time.perf_counter(), time.process_time()
        out = function()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:12s} {time.perf_counter() - wall:7.2f} s wall "
            f"{time.process_time() - cpu:7.2f} s CPU   peak {peak:,.0f} MB"
        )
        return out

    nuisance = timed("nuisance", lambda: estimator.nuisance(design))
    found = timed("estimate", lambda: estimator.estimate(design, nuisance))
    size = sum(v.nbytes for v in found.influence.values.values()) / 2**20
    print(f"{len(found)} estimates, influence {size:,.0f} MB, {found.influence.groups} groups")


if __name__ == "__main__":
    main()
