"""How often do imputation's errors hold the truth with few units, and what does a large panel cost?

    python benchmarks/imputation.py coverage [--replications 300]
    python benchmarks/imputation.py covariates [--replications 200]
    python benchmarks/imputation.py cost

Coverage: 20, 40 and 100 offices over 12 periods, a quarter first treated in period 5, 7 and 9 each,
a quarter never; effects differ by cohort, grow with time and vary between offices; what offices have
beside is correlated over time (autoregression of 0.5). Intervals of the mean effect and of every event
time are pooled, for imputation's choices of errors, two stages and group-time effects. Results are kept
in benchmarks/results/imputation.json by number of offices, and what is there isn't done again.

Covariates: the same with two covariates that vary with time (autoregression of 0.5). The first, with a
slope of 0.8, is 0.5 higher from an office's start on, though not for the programme's sake: left out, it
biases by 0.4. Slopes are estimated, from untreated rows or (etwfe) from all.

Cost: CPU seconds and peak memory at 100,000 units, 24 periods, 8 cohorts and never treated.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators import build

RESULT = Path(__file__).parent / "results" / "imputation.json"
OFFICES = (20, 40, 100)
STARTS = np.array([5.0, 7.0, 9.0, np.inf])
PERIODS = np.arange(1, 13)
TERMS = ("effect_overall", "effect_by_event_time")
LEFT_OUT = "imputation, covariates left out"
ESTIMATORS = {
    "imputation": ("did_imputation", {}),
    "imputation, leave one out": ("did_imputation", {"leave_one_out": True}),
    "imputation, over event time": ("did_imputation", {"auxiliary": "event_time"}),
    "two stages": ("two_stage", {}),
    "group-time effects": ("group_time_att", {}),
}

#: The same where covariates vary; whether they are used.
WITH_COVARIATES = {
    "imputation": ("did_imputation", {}),
    "imputation, leave one out": ("did_imputation", {"leave_one_out": True}),
    "two stages": ("two_stage", {}),
    "etwfe": ("etwfe", {}),
    LEFT_OUT: ("did_imputation", {}),
}


def expected(start: float, period: int) -> float:
    """The mean effect of a cohort in a period."""
    return (0.2 + 0.05 * (9 - start)) * (1 + period - start) if period >= start else 0.0


def correlated(rng: np.random.Generator, offices: int) -> np.ndarray:
    """[offices, T] normal numbers with an autoregression of 0.5."""
    noise = rng.standard_normal((offices, PERIODS.size))
    for t in range(1, PERIODS.size):
        noise[:, t] = 0.5 * noise[:, t - 1] + np.sqrt(0.75) * noise[:, t]
    return noise


def with_covariates(design: StaggeredPanel, seed: int) -> StaggeredPanel:
    """Two covariates that vary; the first moves with the programme, and moves the outcome."""
    rng = np.random.default_rng([design.n, seed, 1])
    v = np.stack([correlated(rng, design.n) for _ in range(2)], axis=2)
    v[:, :, 0] += 0.5 * (design.first[:, None] <= PERIODS)
    y = design.outcomes + 0.8 * v[:, :, :1]
    return replace(design, outcomes=y, varying=v, varying_names=("a", "b"))


def draw(offices: int, seed: int) -> StaggeredPanel:
    """One sample of offices."""
    rng = np.random.default_rng([offices, seed])
    first = STARTS[rng.permutation(np.arange(offices) % STARTS.size)]
    noise = correlated(rng, offices)
    after = first[:, None] <= PERIODS
    y = rng.standard_normal((offices, 1)) + 0.1 * PERIODS + noise
    y += np.array([[expected(g, t) for t in PERIODS] for g in first])
    y += 0.5 * rng.standard_normal((offices, 1)) * after
    return panel(y, PERIODS, first, np.zeros((offices, 0)))


def panel(y: np.ndarray, periods: np.ndarray, first: np.ndarray, x: np.ndarray) -> StaggeredPanel:
    """A panel of units of weight 1, each its own cluster."""
    return StaggeredPanel(
        outcomes=y[:, :, None],
        outcome_names=("outcome",),
        units=("",),
        periods=periods,
        first=first,
        covariates=x,
        covariate_names=tuple(f"x{j}" for j in range(x.shape[1])),
        weight=np.ones(first.size),
        cluster=np.arange(first.size),
        subgroups={},
        population="invented",
    )


def wanted(term: str, horizon: float) -> float:
    """The truth of a row: cohorts are of one size."""
    rows = [(g, t) for g in STARTS[:3] for t in PERIODS if t >= g]
    if term == "effect_by_event_time":
        rows = [(g, t) for g, t in rows if t - g == horizon]
    return float(np.mean([expected(g, int(t)) for g, t in rows]))


def coverage(replications: int, covariates: bool = False) -> None:
    """Run what isn't there yet, and print all."""
    estimators = WITH_COVARIATES if covariates else ESTIMATORS
    found = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    for offices in OFFICES:
        key = f"{offices} offices, {replications} replications"
        key += ", covariates that vary" * covariates
        if key in found:
            continue
        inside: dict[str, list[np.ndarray]] = {name: [] for name in estimators}
        ratio: dict[str, list[np.ndarray]] = {name: [] for name in estimators}
        for seed in range(replications):
            design = draw(offices, seed)
            if covariates:
                design = with_covariates(design, seed)
            for name, (estimator, options) in estimators.items():
                sample = design
                if name == LEFT_OUT:
                    sample = replace(design, varying=None, varying_names=())
                table = build(estimator, bands=False, **options).estimate(sample).table
                rows = table[table.term.isin(TERMS) & ~(table.horizon < 0).fillna(False)]
                truth = np.array([wanted(r.term, r.horizon) for r in rows.itertuples()])
                held = (rows.conf_low <= truth) & (truth <= rows.conf_high)
                inside[name].append(held.to_numpy())
                ratio[name].append(np.stack([rows.std_error, (rows.estimate - truth) ** 2], axis=1))
        found[key] = {
            name: {
                "mean_effect": round(float(np.mean([h[0] for h in inside[name]])), 4),
                "event_times": round(float(np.mean([h[1:] for h in inside[name]])), 4),
                "error_over_sd": round(
                    float(
                        np.mean(
                            np.mean(ratio[name], axis=0)[:, 0]
                            / np.sqrt(np.mean(ratio[name], axis=0)[:, 1])
                        )
                    ),
                    4,
                ),
            }
            for name in estimators
        }
        RESULT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    for key, rows in found.items():
        print(key)
        for name, one in rows.items():
            print(f"  {name:28s}", *(f"{k} {v:.3f}" for k, v in one.items()))


def cost() -> None:
    """CPU seconds of the estimators on one large panel, reading apart."""
    rng = np.random.default_rng(0)
    n, periods = 100_000, np.arange(1, 25)
    first = np.array([5, 7, 9, 11, 13, 15, 17, 19, np.inf])[rng.integers(0, 9, n)]
    y = rng.standard_normal((n, periods.size)) + rng.standard_normal((n, 1)) + 0.1 * periods
    y += 0.1 * np.maximum(1 + periods - first[:, None], 0)
    x = rng.standard_normal((n, 5))
    for key in ("did_imputation", "two_stage", "group_time_att"):
        for covariates in (0, 5):
            for missing in (0.0, 0.1):
                seen = np.where(rng.random(y.shape) < missing, np.nan, y)
                design = panel(seen, periods, first, x[:, :covariates])
                spent = []
                for _ in range(3):
                    began = time.process_time()
                    build(key).estimate(design)
                    spent.append(time.process_time() - began)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(
                    f"{key} {covariates} covariates, {missing:.0%} of rows missing: "
                    f"{min(spent):.2f} CPU s, peak {peak:.0f} MB so far",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=("coverage", "covariates", "cost"))
    parser.add_argument("--replications", type=int)
    asked = parser.parse_args()
    if asked.what == "cost":
        cost()
    else:
        covariates = asked.what == "covariates"
        coverage(asked.replications or (200 if covariates else 300), covariates)
