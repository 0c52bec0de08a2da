"""Do intervals and bands of switching, dose and intensity designs hold the truth as often as they say?

    python benchmarks/switching_coverage.py [--minutes 5] [--replications 200]
    python benchmarks/switching_coverage.py report

Worlds ("units" are their own clusters; offices of 20 persons share a path and shocks by period; what
treatment does differs between units):
  switching_att  0/1 treatments that end and come back, doses 0 to 3 that change twice (nine periods)
  dose_response  a roll-out in two waves with doses 0.5 to 3.5 and a concave effect (seven periods)
  intensity      a roll-out over offices in two waves; a logit predicts who takes part (eight periods)

Batches of 50 samples with seeds of their own are kept in benchmarks/results/switching_coverage.csv; a
run goes on where the last one stopped, and 1,000 replications are what is meant.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tiltakeval.design.doses import DosedRollout
from tiltakeval.design.intensity import IntensityRollout
from tiltakeval.design.treatment_paths import paths_of
from tiltakeval.estimators import build

RESULTS = Path(__file__).parent / "results"
KEPT = RESULTS / "switching_coverage.csv"
REPORT = RESULTS / "switching_coverage.json"
BATCH, PERSONS = 50, 20
#: Key, kind, number of units or offices, persons in each.
WORLDS: dict[str, tuple[str, str, int, int]] = {
    "spells, 240 units": ("switching_att", "spells", 240, 1),
    "spells, 30 offices": ("switching_att", "spells", 30, PERSONS),
    "spells, 100 offices": ("switching_att", "spells", 100, PERSONS),
    "doses changing, 400 units": ("switching_att", "doses", 400, 1),
    "dose response, 300 units": ("dose_response", "", 300, 1),
    "dose response, 40 offices": ("dose_response", "", 40, PERSONS),
    "intensity, 30 offices": ("intensity", "slopes", 30, PERSONS),
    "intensity, 100 offices": ("intensity", "slopes", 100, PERSONS),
}
#: Options tried; the first is the default.
WHO: dict[str, dict[str, dict[str, Any]]] = {
    "switching_att": {
        "default": {},
        "errors = conditional": {"errors": "conditional"},
        "errors = recentred, divisor = g": {"errors": "recentred", "divisor": "g"},
    },
    "dose_response": {
        "default": {"degree": 2},
        "errors = conditional": {"degree": 2, "errors": "conditional"},
    },
    "intensity": {
        "default": {},
        "errors = prediction_given": {"errors": "prediction_given"},
        "method = two_way": {"method": "two_way"},
    },
}
LAGS = np.array([0.5, 0.3, 0.2, 0.1])
DOSES = (1.5, 2.0, 2.5)


def status_of(kind: str, n: int, rng: np.random.Generator, periods: int = 9) -> np.ndarray:
    """[n, T] treatment: 0/1 that may come back, or 0 to 3 that changes once or twice."""
    start = rng.integers(2, periods + 5, n)
    again = start + rng.integers(1, 4, n)
    base = rng.choice([0.0, 1.0], n, p=[0.7, 0.3])
    if kind == "doses":
        first = np.where(base == 0, rng.choice([1.0, 2.0], n), rng.choice([-1.0, 1.0, 2.0], n))
        second = rng.choice([0.0, 1.0], n, p=[0.7, 0.3]) * np.sign(first)
    else:
        first = 1 - 2 * base
        second = -first * (rng.random(n) < 0.5)
    t = np.arange(1, periods + 1)
    out = base[:, None] + first[:, None] * (t >= start[:, None])
    return np.clip(out + second[:, None] * (t >= again[:, None]), 0, 3)


def after_effects(status: np.ndarray) -> np.ndarray:
    """[n, T] what treatment does, for four periods, on average."""
    held = np.zeros_like(status)
    for lag, size in enumerate(LAGS):
        before = np.repeat(status[:, :1], lag, axis=1)
        held += size * np.concatenate([before, status], axis=1)[:, : status.shape[1]]
    return held


def base_fields(office: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """What every design has."""
    n = office.size
    return {
        "outcomes": y[:, :, None], "outcome_names": ("y",), "units": ("",),
        "periods": np.arange(1, y.shape[1] + 1), "covariates": np.zeros((n, 0)),
        "covariate_names": (), "weight": np.ones(n), "cluster": office, "cluster_kind": "office",
        "subgroups": {}, "population": "invented",
    }  # fmt: skip


def noise(rng: np.random.Generator, office: np.ndarray, offices: int, periods: int) -> np.ndarray:
    """[n, T] unit effects, noise, and shocks that an office's persons share."""
    n = office.size
    y = rng.standard_normal((n, 1)) + rng.standard_normal((n, periods)) + 0.1 * np.arange(periods)
    if offices < n:
        y += 0.3 * rng.standard_normal((offices, periods))[office]
    return y


def draw(world: str, seed: int) -> Any:
    """A sample of the world."""
    key, kind, offices, persons = WORLDS[world]
    rng = np.random.default_rng([list(WORLDS).index(world), seed])
    office = np.repeat(np.arange(offices), persons)
    differs = (1 + 0.3 * rng.standard_normal(offices))[office]
    if key == "switching_att":
        status = status_of(kind, offices, rng)
        y = noise(rng, office, offices, status.shape[1])
        y += after_effects(status)[office] * differs[:, None]
        return paths_of(status[office], **base_fields(office, y))
    wave = rng.permutation(np.arange(offices) % 3)
    first = np.array([4.0, 6.0, np.inf])[wave][office]
    periods = np.arange(1, 8)
    on = periods >= first[:, None]
    event = np.where(on, periods - np.where(np.isfinite(first), first, 0.0)[:, None], 0.0)
    y = noise(rng, office, offices, periods.size)
    if key == "dose_response":
        dose = rng.uniform(0.5, 3.5, offices)[office]
        y += np.where(on, dose_effect(dose[:, None], event), 0.0) * differs[:, None]
        dose = np.where(np.isfinite(first), dose, 0.0)
        return DosedRollout(**base_fields(office, y), first=first, dose=dose)
    x = rng.standard_normal((office.size, 2)) + 0.3 * rng.standard_normal((offices, 2))[office]
    likely = 1 / (1 + np.exp(-(-0.5 + 0.9 * x[:, 0] - 0.6 * x[:, 1])))
    took = np.where(np.isfinite(first), (rng.random(office.size) < likely) * 1.0, np.nan)
    y += 0.3 * periods * likely[:, None] - 0.2 * on
    y += np.where(on, part_effect(event), 0.0) * np.nan_to_num(took)[:, None] * differs[:, None]
    return IntensityRollout(
        **base_fields(office, y), first=first, predictors=x, predictor_names=("a", "b"),
        participation=took,
    )  # fmt: skip


def dose_effect(dose: Any, event: Any) -> Any:
    """What the dose does after so many periods, on average."""
    return (0.4 * dose - 0.05 * np.square(dose)) * (1 + 0.2 * event)


def part_effect(event: Any) -> Any:
    """What taking part does after so many periods, on average."""
    return 1.0 + 0.3 * event


@cache
def truths(world: str) -> dict[str, float]:
    """The true value of every row looked at."""
    key, kind, _, _ = WORLDS[world]
    out: dict[str, float] = {}
    if key == "switching_att":
        status = status_of(kind, 400_000, np.random.default_rng(0))
        gap = status - status[:, :1]
        moved = gap != 0
        first = np.where(moved.any(axis=1), moved.argmax(axis=1), 99)
        event = np.arange(gap.shape[1]) - first[:, None]
        sign = np.sign(np.where(event == 0, gap, 0)).sum(axis=1)[:, None]
        effect = sign * (after_effects(status) - after_effects(np.repeat(status[:, :1], 9, axis=1)))
        more = np.abs(gap)
        so_far = np.cumsum(more, axis=1)
        after = event >= 0
        out["effect_overall"] = effect[after].mean()
        out["effect_per_treatment"] = effect[after].sum() / more[after].sum()
        for e in range(6):
            at = event == e
            out[f"effect_by_event_time {e}"] = effect[at].mean()
            per = effect[at].sum() / so_far[at].sum()
            out[f"effect_per_treatment_by_event_time {e}"] = per
            out[f"effect_by_event_time {-e - 2}"] = 0.0
        return {name: float(value) for name, value in out.items()}
    if key == "intensity":
        for e in range(-5, 4):
            out[f"effect_by_event_time {e}"] = float(part_effect(e)) if e >= 0 else 0.0
        out["effect_overall"] = float(np.mean([part_effect(e) for e in (0, 1, 2, 3, 0, 1)]))
        return out
    dose = np.linspace(0.5, 3.5, 100_001)
    for e in range(-5, 4):
        mean = float(dose_effect(dose, e).mean()) if e >= 0 else 0.0
        out[f"effect_by_event_time {e}"] = mean
        out[f"slope_linear_by_event_time {e}"] = (
            float(np.polyfit(dose, dose_effect(dose, e), 1)[0]) if e >= 0 else 0.0
        )
    lag = (np.mean([0, 1, 2, 3]) + np.mean([0, 1])) / 2  # cohorts are alike and weigh alike
    for value in DOSES:
        out[f"effect_at_dose dose {value:g}"] = float(dose_effect(value, lag))
        out[f"slope_at_dose dose {value:g}"] = (0.4 - 0.1 * value) * (1 + 0.2 * lag)
    out["effect_overall"] = float(np.mean([dose_effect(dose, e) for e in (0, 1, 2, 3, 0, 1)]))
    out["slope_overall"] = float(np.mean(0.4 - 0.1 * dose) * (1 + 0.2 * lag))
    return out


def once(world: str, seed: int, who: str) -> pd.DataFrame:
    """Whether each row's interval, and each band, held the truth in one sample."""
    key = WORLDS[world][0]
    options = dict(WHO[key][who])
    if key == "dose_response":
        options["doses"] = DOSES
    table = build(key, seed=seed, **options).estimate(draw(world, seed)).table
    event = table.horizon.astype("string").fillna("").astype(str)
    place = table.cohort.where(table.term.str.contains("at_dose"), "")
    name = (table.term + " " + place + " " + event).str.split().str.join(" ")
    true = name.map(truths(world))
    kept = (table.status == "ok") & true.notna() & ((table.term != "effect") | (key == ""))
    good, true, name = table[kept], true[kept], name[kept]
    held = (good.conf_low <= true) & (true <= good.conf_high)
    z = (good.estimate - true) / good.std_error
    one = pd.DataFrame({"cell": name, "held": held, "z": z, "z2": z**2})
    band = (good.band_low <= true) & (true <= good.band_high)
    families = [
        {"cell": f"band of {term}", "held": band[rows].all(), "z": np.nan, "z2": np.nan}
        for term in dict.fromkeys(good.term)
        if (rows := (good.term == term) & good.band_low.notna()).sum() > 1
    ]
    return pd.concat([one, pd.DataFrame(families)]).astype({"held": float}).assign(n=1)


def run(args: argparse.Namespace) -> None:
    """Batches until there are enough, or the time is over."""
    began = time.process_time()
    kept = pd.read_csv(KEPT) if KEPT.exists() else pd.DataFrame(columns=["world", "who", "batch"])
    done = set(zip(kept.world, kept.who, kept.batch.astype(int)))
    plan = [
        (number, who, world)
        for beside in (False, True)
        for number in range(-(-(args.beside if beside else args.replications) // BATCH))
        for world in WORLDS
        for who in WHO[WORLDS[world][0]]
        if (who != "default") == beside
    ]
    for number, who, world in plan:
        if (world, who, number) in done:
            continue
        if time.process_time() - began > 60 * args.minutes:
            break
        seeds = range(number * BATCH, (number + 1) * BATCH)
        every = pd.concat([once(world, seed, who) for seed in seeds])
        summed = every.groupby("cell", sort=False)[["n", "held", "z", "z2"]].sum().reset_index()
        summed.assign(world=world, who=who, batch=number).round(4).to_csv(
            KEPT, mode="a", header=not KEPT.exists(), index=False
        )
    report()


def report() -> None:
    """Coverage by world and options, of intervals and bands, and every cell."""
    kept = pd.read_csv(KEPT)
    keys = ["world", "who", "cell"]
    cells = kept.groupby(keys, sort=False)[["n", "held", "z", "z2"]].sum().reset_index()
    cells["coverage"] = (cells.held / cells.n).round(4)
    cells["ratio"] = np.sqrt(cells.z2 / cells.n - (cells.z / cells.n) ** 2).round(3)
    bands = cells.cell.str.startswith("band of")
    level = 0.05 / max(int((~bands).sum()), 1)
    low, high = stats.binom.ppf([level / 2, 1 - level / 2], cells.n.to_numpy()[:, None], 0.95).T
    cells["outside"] = ((cells.held < low) | (cells.held > high)) & ~bands
    summary = []
    for (world, who), mine in cells.groupby(["world", "who"], sort=False):
        plain = mine[~mine.cell.str.startswith("band of")]
        joint = mine[mine.cell.str.startswith("band of")]
        summary.append(
            {
                "world": world, "who": who, "replications": int(mine.n.max()),
                "intervals": round(float(plain.held.sum() / plain.n.sum()), 4),
                "lowest": float(plain.coverage.min()), "outside": int(plain.outside.sum()),
                "sd_of_z": round(float(plain.ratio.mean()), 3),
                "bands": round(float(joint.held.sum() / joint.n.sum()), 4) if len(joint) else None,
            }
        )  # fmt: skip
    REPORT.write_text(
        json.dumps({"summary": summary, "cells": cells.round(4).to_dict("records")}, indent=1)
    )
    print(pd.DataFrame(summary).to_string(index=False))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", default="run", choices=("run", "report"))
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--beside", type=int, default=100, help="of options beside the default")
    args = parser.parse_args()
    report() if args.what == "report" else run(args)


if __name__ == "__main__":
    main()
