"""Do intervals by event time, and of newer designs, hold the truth when few offices carry the error?

    python benchmarks/few_clusters_rows.py [--replications 200] [--minutes 10]

Two parts. "event times": the offices and shocks of few_clusters.py; every event time of two-way fixed
effects and of Sun and Abraham's regression, by method, and bands over event time. "designs": treatment
that ends, doses, predicted participation and triple differences in offices of six persons with shocks
that persons of an office share, all without any effect; rows of the mean effect, or the slope on the
dose, and by event time from the start on. Results are kept in benchmarks/results/few_clusters_rows.json,
and the command resumes where it stopped.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))

from few_clusters import EFFECT, draw, panel

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.doses import DosedRollout
from tiltakeval.design.intensity import IntensityRollout
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.treatment_paths import paths_of
from tiltakeval.estimates.few_clusters.wild import wild_of_regression
from tiltakeval.estimators import build
from tiltakeval.estimators.did.few_clusters.of_regression import Asked, of_regression
from tiltakeval.estimators.did.few_clusters.regression import moments_of

RESULT = Path(__file__).parent / "results" / "few_clusters_rows.json"
EVENT_DESIGNS = ((8, 4), (12, 4), (20, 6), (40, 6))
WORLDS = ("equal", "unequal")
REGRESSIONS = {"twfe_event_study": {}, "sun_abraham": {"shares": "fixed"}}
OFFICES, SIZE, PERIODS = (12, 20), 6, np.arange(1, 7)
NEWER: dict[str, dict[str, Any]] = {
    "switching_att": {"placebos": "none"},
    "dose_response": {"curve": False, "bins": 1},
    "intensity": {},
    "triple_difference": {"eligible": "eligible", "combine": "size"},
}
METHODS = ("default", "bootstrap_t", "jackknife")
#: Rows of no event time, by estimator.
ROWS = {"dose_response": ("effect_overall", "slope_linear")}


def event_times(offices: int, treated: int, world: str, seed: int) -> dict[str, Any]:
    """{estimator: {method: [whether each event time's interval holds, whether the band does]}}."""
    design = panel(offices, treated, draw(offices, treated, world, seed)[:, :, None])
    out: dict[str, Any] = {}
    for key, options in REGRESSIONS.items():
        plain, kept = build(key, **options).with_regressions(design)
        moments, _ = moments_of(kept[0].regressed.fits, kept[0].design.cluster)
        at = np.isin(kept[0].rows, plain.positions(term="effect_by_event_time"))
        rows, maps = kept[0].rows[at], kept[0].regressed.maps[:, at]
        table = plain.table.iloc[rows]
        truth = np.where(table["horizon"].to_numpy(dtype=float) >= 0, EFFECT, 0.0)
        held: dict[str, Any] = {"plain": _inside(table, truth)}
        for name, (method, of_rows) in {
            "cr2": ("cr2", True), "cr3": ("cr3", False), "cr3, satterthwaite": ("cr3", True),
        }.items():  # fmt: skip
            asked = Asked(method, 999, "rademacher", True, of_rows, 0.95, seed)
            found, _, _ = of_regression(plain, kept, asked)
            held[name] = _inside(found.table.iloc[rows], truth)
        p = [
            wild_of_regression(moments, c).replications(seed=seed).p_value(float(t))
            for c, t in zip(maps.T, truth)
        ]
        held["wild"] = [[bool(v > 0.05 + 1e-12) for v in p], None]
        out[key] = held
    return out


def _inside(table: Any, truth: np.ndarray) -> list[Any]:
    low, high = (table[name].to_numpy() for name in ("conf_low", "conf_high"))
    each = [bool(v) for v in (low <= truth) & (truth <= high)]
    low, high = (table[name].to_numpy() for name in ("band_low", "band_high"))
    good = np.isfinite(low)
    return [each, bool(((low <= truth) & (truth <= high))[good].all())]


def nothing(offices: int, seed: int) -> tuple[dict[str, Any], np.random.Generator]:
    """Fields of a panel without effect; a third of the offices start in period 3, a third in 5."""
    rng = np.random.default_rng([seed, offices, 77])
    cluster = np.repeat(np.arange(offices), SIZE)
    n = cluster.size
    y = rng.normal(size=(n, 1)) + rng.normal(size=(n, PERIODS.size))
    y += rng.normal(size=(offices, PERIODS.size))[cluster]
    first = np.array([3.0, 5.0, np.inf])[rng.permutation(np.arange(offices) % 3)]
    return {
        "outcomes": y[:, :, None], "outcome_names": ("y",), "units": ("points",), "periods": PERIODS,
        "first": first[cluster], "covariates": np.zeros((n, 0)), "covariate_names": (),
        "weight": np.ones(n), "cluster": cluster, "subgroups": {}, "population": "invented",
        "cluster_kind": "office",
    }, rng  # fmt: skip


def newer(key: str, offices: int, seed: int) -> Any:
    """A design of the estimator's kind."""
    own, rng = nothing(offices, seed)
    n, cluster = own["first"].size, own["cluster"]
    on = (own["first"][:, None] <= PERIODS).astype(float)
    if key == "switching_att":
        ends = (np.arange(offices) % 2 == 0)[cluster] & np.isfinite(own["first"])
        on[ends, -1] = 0.0
        return paths_of(on, **own)
    if key == "dose_response":
        dose = rng.uniform(1, 3, offices)[cluster]
        return DosedRollout(**own, dose=np.where(np.isfinite(own["first"]), dose, 0.0))
    if key == "intensity":
        return IntensityRollout(**own, predicted=rng.uniform(0.1, 0.9, n))
    half = Subgroup(levels=("0", "1"), codes=np.arange(n) % 2)
    return StaggeredPanel(**{**own, "subgroups": {"eligible": half}})


def designs(key: str, offices: int, method: str, seed: int) -> list[bool]:
    """Whether each row's interval holds 0."""
    options = {} if method == "default" else {"inference": method}
    design = newer(key, offices, seed)
    estimator = build(key, bands=False, **options, **NEWER[key])
    table = estimator.estimate(design).select(status="ok", subgroup="all").table
    by_event = (table["term"] == "effect_by_event_time") & (table["horizon"] >= 0).fillna(False)
    table = table[table["term"].isin(ROWS.get(key, ("effect_overall",))) | by_event]
    table = table[table["std_error"].notna()]
    return [bool(v) for v in (table["conf_low"] <= 0) & (table["conf_high"] >= 0)]


def _share(values: list[bool]) -> float:
    return round(100 * float(np.mean(values)), 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    began, end = time.process_time(), time.monotonic() + 60 * args.minutes
    work = Path(__file__).parent / "work" / "few_clusters_rows"
    work.mkdir(parents=True, exist_ok=True)
    size, cells = 50, []
    tasks: list[tuple[str, Any]] = []
    for first in range(0, args.replications, size):
        for offices, treated in EVENT_DESIGNS:
            tasks += [(f"event_{world}_{offices}_{treated}_{first}",
                       (event_times, offices, treated, world, first)) for world in WORLDS]  # fmt: skip
        for key in NEWER:
            for offices in OFFICES:
                # leaving out one of twelve says what there is to say
                some = METHODS if offices == OFFICES[0] else METHODS[:2]
                tasks += [(f"design_{key}_{offices}_{method}_{first}",
                           (designs, key, offices, method, first)) for method in some]  # fmt: skip
    for name, (function, *given, first) in tasks:
        path = work / f"{name}.json"
        if path.exists() or time.monotonic() > end:
            continue
        found = [function(*given, seed) for seed in range(first, first + size)]
        path.write_text(json.dumps(found), "utf-8")

    def read(stem: str) -> list[Any]:
        paths = sorted(work.glob(f"{stem}_*.json"))
        return [one for path in paths for one in json.loads(path.read_text("utf-8"))]

    for world in WORLDS:
        for offices, treated in EVENT_DESIGNS:
            found = read(f"event_{world}_{offices}_{treated}")
            for key in REGRESSIONS if found else ():
                names = found[0][key]
                held = {m: _share([v for one in found for v in one[key][m][0]]) for m in names}
                bands = {m: [one[key][m][1] for one in found] for m in names}
                cells.append({
                    "part": "event times", "world": world, "offices": offices, "treated": treated,
                    "estimator": key, "replications": len(found), "coverage_percent": held,
                    "bands_percent": {m: _share(v) for m, v in bands.items() if v[0] is not None},
                })  # fmt: skip
                print(cells[-1])
    for key in NEWER:
        for offices in OFFICES:
            parts = {m: read(f"design_{key}_{offices}_{m}") for m in METHODS}
            cells.append({
                "part": "designs", "estimator": key, "offices": offices,
                "replications": {m: len(v) for m, v in parts.items()},
                "coverage_percent": {
                    m: _share([x for one in v for x in one]) for m, v in parts.items() if v
                },
            })  # fmt: skip
            print(cells[-1])
    result = {
        "command": "python benchmarks/few_clusters_rows.py",
        "what": "percent of rows whose 95 % interval holds the truth, and of bands that hold all",
        # of one row; rows of a replication aren't independent
        "monte_carlo_error_percent_at_50": round(2 * float(stats.binom.std(50, 0.95)), 1),
        "cpu_seconds_of_last_run": round(time.process_time() - began, 1),
        "cells": cells,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
