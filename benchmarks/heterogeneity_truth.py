"""Do effects by subgroup hold the truth with five arms, and do tests of heterogeneity keep their size?

    python benchmarks/heterogeneity_truth.py [--designs smooth stepwise none] [--units 2000]
        [--replications 50] [--outcome products] [--propensity logit] [--minutes 30] [--workers 1]

Five arms (none, AFT, lonnstilskudd, opplaring, IPS), 16 normal covariates and four fair coins; two coins
make the four subgroups. "smooth" is the design that grf's, econml's and other replications were made
on (the same draws for the same seed; base outcome and three of the effects have kinks, steps and
products, propensities are a multinomial logit); "stepwise" has steps and products in effects, base
outcome and propensities; in "none" every programme has one effect for all. Residual standard deviation
2. Truth is analytical. Each replication is a row of benchmarks/results/heterogeneity_truth.csv (the
command resumes where it stopped); heterogeneity_truth.json has the figures by design, size and learners.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pandas as pd

from tiltakeval.design.cross_section import CrossSection, Subgroup
from tiltakeval.estimators.heterogeneity.estimator import Heterogeneity

FOLDER = Path(__file__).parent / "results"
ROWS, SUMMARY = FOLDER / "heterogeneity_truth.csv", FOLDER / "heterogeneity_truth.json"
ARMS = ("none", "AFT", "lonnstilskudd", "opplaring", "IPS")
DESIGNS = ("smooth", "stepwise", "none")
KEY = ["design", "units", "outcome", "propensity"]
#: Mean of max(x, 0), and P(x > 0.5), of a standard normal x.
HINGE, ABOVE_HALF = 1 / np.sqrt(2 * np.pi), 0.3085375387
#: Replications of the peers on "smooth" at n = 2,000 (500 trees): grf 2.6.1 50, econml 0.17 23.
PEERS = {
    "grf_ate_coverage": 0.865,
    "grf_gate_coverage": 0.941,
    "grf_gate_length": 1.22,
    "grf_gate_rmse": 0.323,
    "econml_forest_gate_coverage": 0.976,
    "econml_forest_gate_length": 1.94,
    "econml_forest_gate_rmse": 0.456,
}


def effects(design: str, x: np.ndarray) -> np.ndarray:
    """[n, 4] true effects."""
    a, b, g1, g2 = x[:, 0], x[:, 1], x[:, 16], x[:, 17]
    if design == "none":
        return np.tile([0.0, 2.0, 0.0, 1.0], (len(x), 1))
    if design == "stepwise":
        columns = (
            -0.5 + g1 * (a > 0),
            1.0 + 1.5 * (a > 0.5),
            -1.0 + 2.0 * g2 * (b > 0),
            1.0 + 1.0 * (a > 0) * (b > 0) + 0.5 * g1 * g2,
        )
    else:
        columns = (
            -0.5 + 0.5 * g1,
            1.5 + (a > 0) - 0.5 * g1,
            -1.0 + np.maximum(b, 0) + g2,
            1.0 + 1.5 * g1 * g2,
        )
    return np.column_stack(columns)


def truth(design: str) -> np.ndarray:
    """[4 subgroups, 4 programmes] mean effects; subgroups are equally likely."""
    g1, g2 = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    if design == "none":
        return np.tile([0.0, 2.0, 0.0, 1.0], (4, 1))
    if design == "stepwise":
        columns = (-0.5 + g1 / 2, 1.0 + 1.5 * ABOVE_HALF + 0 * g1, -1.0 + g2, 1.25 + 0.5 * g1 * g2)
    else:
        columns = (-0.5 + g1 / 2, 2.0 - g1 / 2, -1.0 + HINGE + g2, 1.0 + 1.5 * g1 * g2)
    return np.column_stack(columns)


def draw(design: str, n: int, seed: int) -> CrossSection:
    """One sample."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 20))
    x[:, 16:] = rng.random((n, 4)) < 0.5
    a, b, c, d, g1, g2 = (x[:, j] for j in (0, 1, 2, 3, 16, 17))
    if design == "stepwise":
        s, t, u = ((v > 0) - 0.5 for v in (a, b, c))
        base = 6 + 1.5 * (a > 0) + (c > 0.5) + (b > 0) * (d > 0) - 0.8 * g1
    else:
        s, t, u = a, b, c
        base = 6 + a + np.maximum(c, 0) + 0.5 * b * d - 0.8 * g1
    index = np.column_stack(
        [
            np.zeros(n),
            -1.3 + 0.5 * g1 - 0.4 * s,
            -1.5 + 0.5 * s + 0.3 * u,
            -1.2 - 0.4 * t + 0.3 * d,
            -1.6 + 0.6 * g2 - 0.3 * u,
        ]
    )
    p = np.exp(index - index.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    arm = np.minimum((rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1), 4)
    tau = np.column_stack([np.zeros(n), effects(design, x)])
    y = base + tau[np.arange(n), arm] + 2.0 * rng.standard_normal(n)
    return CrossSection(
        arms=ARMS,
        arm=arm.astype(np.int64),
        eligible=np.ones((n, 5), dtype=bool),
        weight=np.ones(n),
        person=np.arange(n),
        covariates=x,
        covariate_names=tuple(f"x{j}" for j in range(20)),
        outcomes=y.astype(np.float32)[:, None, None],
        outcome_names=("months",),
        units=("months",),
        horizons=(None,),
        population="invented",
        estimand="vs_comparison",
        time_origin="none",
        subgroups={
            "g": Subgroup(levels=("0", "1", "2", "3"), codes=(2 * g1 + g2).astype(np.int16))
        },
    )


def replicate(design: str, n: int, seed: int, outcome: str, propensity: str) -> dict[str, object]:
    """What one replication says: coverage, lengths, squared errors, p values, seconds."""
    sample = draw(design, n, seed)
    start = time.process_time()
    table = (
        Heterogeneity(
            parts=("tests", "shrunk", "projection", "calibration", "targeting", "sorted"),
            learner_outcome=outcome,
            learner_propensity=propensity,
            trees=100,
        )
        .estimate(sample)
        .table
    )
    row: dict[str, object] = {
        "design": design,
        "units": n,
        "outcome": outcome,
        "propensity": propensity,
        "seed": seed,
        "seconds": round(time.process_time() - start, 3),
    }
    gates = truth(design)
    level = table["subgroup"].str.startswith("g=")
    cases = {
        "ate": (table["term"].eq("effect") & table["subgroup"].eq("all"), gates.mean(axis=0)),
        "gate": (table["term"].eq("effect") & level, gates.ravel()),
        "shrunk": (table["term"].eq("effect_shrunk") & level, gates.ravel()),
        "difference": (
            table["term"].eq("effect_minus_average") & level,
            (gates - gates.mean(axis=0)).ravel(),
        ),
    }
    for name, (mask, right) in cases.items():
        part = table[mask]
        low, high = part["conf_low"].to_numpy(), part["conf_high"].to_numpy()
        row[f"{name}_coverage"] = float(((low <= right) & (right <= high)).mean())
        row[f"{name}_length"] = float((high - low).mean())
        row[f"{name}_squared"] = float(((part["estimate"] - right) ** 2).mean())
        row[f"{name}_error"] = float(part["std_error"].mean())
        if name != "shrunk":
            inside = (part["band_low"] <= right) & (right <= part["band_high"])
            row[f"{name}_joint"] = float(inside.all())
    tests = table[(table["status"] == "test") & ~table["term"].str.startswith("step_down")]
    for term, part in tests.groupby("term"):
        for who, some in (
            ("each", part["programme"] != "all"),
            ("all", part["programme"] == "all"),
        ):
            p = part.loc[some, "p_value"].dropna()
            if len(p):
                row[f"{term}_{who}"] = float((p < 0.05).mean())
    step = table[table["term"] == "step_down:effect_minus_average"]["p_value"]
    row["step_down_any"] = float(step.min() < 0.05)
    gap = table[table["term"] == "sorted_effect_difference"]
    row["sorted_gap_covers_0"] = float(((gap["conf_low"] <= 0) & (gap["conf_high"] >= 0)).mean())
    return row


def summarise(rows: pd.DataFrame) -> dict[str, object]:
    """The figures by design, size and learners."""
    cells = []
    for key, part in rows.groupby(KEY):
        numbers = part.drop(columns=[*KEY, "seed"])
        mean = numbers.mean()
        named = zip(KEY, (key[0], int(key[1]), *key[2:]))
        cell: dict[str, object] = dict(named) | {"replications": len(part)}
        for name, value in mean.items():
            if str(name).endswith("_squared"):
                cell[str(name).replace("_squared", "_rmse")] = round(float(np.sqrt(value)), 4)
            elif np.isfinite(value):
                cell[str(name)] = round(float(value), 4)
        if key[0] == "smooth" and key[1] == 2000:
            econml, grf = PEERS["econml_forest_gate_length"], PEERS["grf_gate_rmse"]
            for name in ("gate", "shrunk"):
                rmse = float(np.sqrt(mean[f"{name}_squared"]))
                cell[f"{name}_length_over_econml"] = round(
                    float(mean[f"{name}_length"]) / econml, 3
                )
                cell[f"{name}_rmse_over_grf"] = round(rmse / grf, 3)
        cells.append(cell)
    return {"command": "python benchmarks/heterogeneity_truth.py", "peers": PEERS, "cells": cells}


def keep(rows: pd.DataFrame, found: list[dict[str, object]]) -> pd.DataFrame:
    """Old and new rows in order, written."""
    if not found:
        return rows
    rows = pd.concat([rows, pd.DataFrame(found)], ignore_index=True)
    rows = rows.sort_values([*KEY, "seed"]).round(6)
    rows.to_csv(ROWS, index=False)
    return rows


def main() -> None:
    """Run what is missing and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=DESIGNS)
    parser.add_argument("--units", nargs="+", type=int, default=[2000])
    parser.add_argument("--replications", type=int, default=50)
    parser.add_argument("--outcome", default="products")
    parser.add_argument("--propensity", default="logit")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    rows = (
        pd.read_csv(ROWS, keep_default_na=False, na_values=[""])
        if ROWS.exists()
        else pd.DataFrame()
    )
    done = set() if rows.empty else set(map(tuple, rows[[*KEY, "seed"]].to_numpy().tolist()))
    jobs = [
        (design, n, seed, given.outcome, given.propensity)
        for seed in range(given.replications)
        for design in given.designs
        for n in given.units
        if (design, n, given.outcome, given.propensity, seed) not in done
    ]
    stop = time.monotonic() + 60 * given.minutes
    found: list[dict[str, object]] = []
    if given.workers > 1:
        with ProcessPoolExecutor(given.workers) as pool:
            waiting = [pool.submit(replicate, *job) for job in jobs]
            for future in as_completed(waiting):
                found.append(future.result())
                if time.monotonic() > stop:
                    for left in waiting:
                        left.cancel()
                    break
    else:
        for job in jobs:
            if time.monotonic() > stop:
                break
            found.append(replicate(*job))
            if len(found) % 30 == 0:
                keep(rows, found)
    rows = keep(rows, found)
    SUMMARY.write_text(json.dumps(summarise(rows), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
