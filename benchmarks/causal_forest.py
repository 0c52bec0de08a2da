"""The causal forest beside econml's: speed, memory, error against the truth, growth with n.

    python benchmarks/causal_forest.py [speed] [growth] [truth [--replications 20]] [peer]

Five arms, 20 covariates, selection on observables. Designs of the effects: ``mixed`` (that of the
reference figures: subgroups, threshold, kink, interaction), ``smooth``, ``stepwise``, ``none``.
``speed``: nuisances, 500 trees with honesty, effects with intervals for everybody, subgroup effects
from doubly robust scores, at n = 10,000, beside econml's CausalForestDML with random-forest nuisances
and beside its forest on our nuisances; each in a process of its own, after compilation, on one thread.
``growth``: n from 10,000 to 1 million with 500 trees (a quarter of an hour). ``truth``: error and
coverage by design and n. ``peer``: econml's forest on the same nuisances and samples as the first
replications. Seconds are of the processor and grow with other load. Figures are kept in
results/causal_forest.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results" / "causal_forest.json"
ARMS, COLUMNS = 5, 20
DESIGNS = ("mixed", "smooth", "stepwise", "none")
#: CPU seconds and memory of the peers on a quiet machine (reference figures of the project).
QUIET = {"grf": (34.0, 415), "econml": (94.0, 946)}
Arrays = dict[str, NDArray]


def effects(kind: str, x: NDArray) -> NDArray:
    """[n, 4] true effects of arms 1..4 against arm 0."""
    a, b, c, d, g, h = x[:, 0], x[:, 1], x[:, 2], x[:, 3], x[:, 16], x[:, 17]
    level = np.array([-0.25, 1.75, -0.1, 1.375])
    if kind == "mixed":
        return np.column_stack(
            [
                -0.5 + 0.5 * g,
                1.5 + (a > 0) - 0.5 * g,
                -1.0 + np.maximum(b, 0) + h,
                1.0 + 1.5 * g * h,
            ]
        )
    if kind == "smooth":
        moving = (0.3 * a, 0.6 * np.tanh(b), 0.5 * c + 0.2 * (d**2 - 1), 0.5 * np.sin(a) + 0.3 * b)
    elif kind == "stepwise":
        moving = (
            0.6 * (a > 0.5) - 0.185,
            (b > 0) + 0.5 * g - 0.75,
            1.2 * ((a > 0) & (c > 0)) - 0.3,
            0.8 * h - 0.8 * (d > 0),
        )
    else:
        moving = tuple(np.zeros(len(x)) for _ in range(ARMS - 1))
    return np.asarray(level + np.column_stack(moving))


def draw(kind: str, n: int, seed: int) -> Arrays:
    """Covariates, arms, outcomes and the truth."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, COLUMNS))
    x[:, 16:] = rng.random((n, 4)) < 0.5
    eta = np.zeros((n, ARMS))
    eta[:, 1] = -1.3 + 0.5 * x[:, 16] - 0.4 * x[:, 0]
    eta[:, 2] = -1.5 + 0.5 * x[:, 0] + 0.3 * x[:, 2]
    eta[:, 3] = -1.2 - 0.4 * x[:, 1] + 0.3 * x[:, 3]
    eta[:, 4] = -1.6 + 0.6 * x[:, 17] - 0.3 * x[:, 2]
    e = np.exp(eta)
    e /= e.sum(axis=1, keepdims=True)
    arm = (rng.random(n)[:, None] > e.cumsum(axis=1)).sum(axis=1).clip(0, ARMS - 1)
    tau = effects(kind, x)
    base = 6 + x[:, 0] + np.maximum(x[:, 2], 0) + 0.5 * x[:, 1] * x[:, 3] - 0.8 * x[:, 16]
    own = np.column_stack([np.zeros(n), tau])[np.arange(n), arm]
    y = base + own + 2.0 * rng.standard_normal(n)
    return {"x": x, "arm": arm, "y": y, "tau": tau, "group": 2 * x[:, 16] + x[:, 17]}


def subgroup_effects(psi: NDArray, group: NDArray) -> tuple[NDArray, NDArray]:
    """Means [groups, 4] of the scores of effects, and their errors."""
    scores = psi[:, 1:] - psi[:, :1]
    parts = [scores[group == g] for g in np.unique(group)]
    error = np.array([p.std(axis=0, ddof=1) / np.sqrt(len(p)) for p in parts])
    return np.array([p.mean(axis=0) for p in parts]), error


def doubly_robust(fitted: NDArray, e: NDArray, arm: NDArray, y: NDArray) -> NDArray:
    """psi [n, A]."""
    psi, rows = fitted.copy(), np.arange(len(y))
    psi[rows, arm] += (y - fitted[rows, arm]) / e[rows, arm]
    return psi


def ours(data: Arrays, trees: int = 500, seed: int = 0) -> dict[str, Any]:
    """Everything the bar names, with its seconds."""
    from tiltakeval.estimators.heterogeneity.forest.forest import fit_forest
    from tiltakeval.estimators.heterogeneity.forest.nuisance import forest_nuisances
    from tiltakeval.estimators.heterogeneity.forest.options import ForestOptions

    how = ForestOptions(trees=trees, seed=seed, threads=int(os.environ["NUMBA_NUM_THREADS"]))
    known = (data["x"], data["arm"], data["y"])
    start = time.process_time()
    nuisance = forest_nuisances(*known, options=how)
    middle = time.process_time()
    forest = fit_forest(*known, nuisance.m, nuisance.e, options=how)
    found = forest.predict()
    low, high = found.interval()
    psi = doubly_robust(forest.fitted(), nuisance.e, data["arm"], data["y"])
    gate, gate_error = subgroup_effects(psi, data["group"])
    end = time.process_time()
    return {
        "effects": found.effects,
        "forest": found.forest,
        "low": low,
        "high": high,
        "average": forest.calibration.average,
        "factor": forest.calibration.factor,
        "p": forest.calibration.p,
        "gate": gate,
        "gate_error": gate_error,
        "m": nuisance.m,
        "e": nuisance.e,
        "seconds": end - start,
        "seconds_nuisances": middle - start,
        "leaves": float(
            np.mean([(p.trees.feature < 0).sum() / p.trees.number for p in forest.parts])
        ),
    }


def econml(data: Arrays, known: dict[str, Any] | None, trees: int = 500) -> dict[str, Any]:
    """econml's: with nuisances of its own, or on those of ``known``."""
    from tiltakeval.estimators.heterogeneity.forest.econml_forest import (
        EconmlOptions,
        econml_forest,
    )

    given = {} if known is None else {"m": known["m"], "e": known["e"]}
    start = time.process_time()
    options = EconmlOptions(trees=trees)
    found = econml_forest(data["x"], data["arm"], data["y"], options=options, **given)
    low, high = found.interval()
    return {
        "effects": found.effects,
        "low": low,
        "high": high,
        "seconds": time.process_time() - start,
    }


def rmse(found: NDArray, truth: NDArray) -> list[float]:
    return [round(float(v), 4) for v in np.sqrt(((found - truth) ** 2).mean(axis=0))]


def covered(found: dict[str, Any], truth: NDArray) -> list[float]:
    inside = (found["low"] < truth) & (truth < found["high"])
    return [round(float(v), 4) for v in inside.mean(axis=0)]


def memory() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(what: str, n: int, trees: int) -> dict[str, Any]:
    """A process of its own: compile on a small sample, then measure."""
    if what == "ours":
        ours(draw("mixed", 600, 1), trees=20)
    before = memory()
    data = draw("mixed", n, 0)
    if what == "ours":
        found = ours(data, trees)
    elif what == "econml":
        found = econml(data, None, trees)
    else:
        found = econml(data, ours(data, 100), trees)
    out = {"n": n, "trees": trees, "seconds": round(found["seconds"], 2), "mb": round(memory())}
    out |= {"mb_before": round(before), "rmse": rmse(found["effects"], data["tau"])}
    out |= {
        "covered": covered(found, data["tau"]),
        "constant": rmse(data["tau"].mean(0), data["tau"]),
    }
    if "seconds_nuisances" in found:
        out["seconds_nuisances"] = round(found["seconds_nuisances"], 2)
        out["leaves"] = round(found["leaves"], 1)
        truth = subgroup_effects(np.column_stack([np.zeros(n), data["tau"]]), data["group"])[0]
        z = (found["gate"] - truth) / found["gate_error"]
        out["gate_covered"] = round(float((np.abs(z) < 1.96).mean()), 3)
    return out


def apart(what: str, n: int, trees: int) -> dict[str, Any]:
    """``one`` in a new process."""
    command = [
        sys.executable,
        __file__,
        "one",
        "--what",
        what,
        "--n",
        str(n),
        "--trees",
        str(trees),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{what:14s} {found}", flush=True)
    return found


def speed() -> dict[str, Any]:
    """Beside econml in one run, n = 10,000, 500 trees."""
    out = {what: apart(what, 10_000, 500) for what in ("ours", "econml", "econml_forest")}
    mine, theirs = out["ours"], out["econml"]
    out["ratio"] = {
        "seconds": round(theirs["seconds"] / mine["seconds"], 1),
        "memory": round(mine["mb"] / theirs["mb"], 3),
        "seconds_quiet": round(QUIET["econml"][0] / mine["seconds"], 1),
        "memory_quiet": round(mine["mb"] / QUIET["econml"][1], 3),
        "rmse": [round(a / b, 3) for a, b in zip(mine["rmse"], theirs["rmse"])],
    }
    print(out["ratio"])
    return out


def growth() -> list[dict[str, Any]]:
    """Seconds and memory at growing n."""
    found = []
    for n, trees in ((10_000, 500), (100_000, 500), (1_000_000, 500)):
        found.append(apart("ours", n, trees))
    return found


def truth(replications: int, save: Callable[[dict[str, Any]], None]) -> None:
    """Mean error by design and n: shrunk, unshrunk and constant; coverage; false discoveries."""
    for n, reps in ((2_000, replications), (10_000, max(2, replications // 5))):
        for kind in DESIGNS:
            rows: dict[str, list[Any]] = {}
            for r in range(reps):
                data = draw(kind, n, 1_000 + r)
                found = ours(data)
                rows.setdefault("shrunk", []).append(rmse(found["effects"], data["tau"]))
                rows.setdefault("forest", []).append(rmse(found["forest"], data["tau"]))
                rows.setdefault("constant", []).append(rmse(found["average"], data["tau"]))
                rows.setdefault("covered", []).append(covered(found, data["tau"]))
                rows.setdefault("length", []).append((found["high"] - found["low"]).mean(0))
                rows.setdefault("factor", []).append(found["factor"])
                rows.setdefault("p_below_5", []).append(found["p"] < 0.05)
            out: dict[str, Any] = {k: np.mean(v, axis=0).round(3).tolist() for k, v in rows.items()}
            out |= {"replications": reps, "over_constant": over(rows["shrunk"], rows["constant"])}
            print(kind, n, out, flush=True)
            save({f"{kind}_{n}": out})


def over(a: list[Any], b: list[Any]) -> float:
    """Ratio of root mean squared errors over arms and replications."""
    return round(float(np.sqrt(np.mean(np.square(a)) / np.mean(np.square(b)))), 3)


def peer(replications: int, save: Callable[[dict[str, Any]], None]) -> None:
    """econml's forest on our nuisances and on the first samples of ``truth`` at n = 2,000."""
    for kind in DESIGNS:
        mine, theirs, cover, length = [], [], [], []
        for r in range(replications):
            data = draw(kind, 2_000, 1_000 + r)
            found = ours(data)
            other = econml(data, found)
            mine.append(rmse(found["effects"], data["tau"]))
            theirs.append(rmse(other["effects"], data["tau"]))
            cover.append(covered(other, data["tau"]))
            length.append((other["high"] - other["low"]).mean(0))
        out = {
            "ours": np.mean(mine, axis=0).round(3).tolist(),
            "econml": np.mean(theirs, axis=0).round(3).tolist(),
            "replications": replications,
            "econml_covered": np.mean(cover, axis=0).round(3).tolist(),
            "econml_length": np.mean(length, axis=0).round(3).tolist(),
            "ratio": over(mine, theirs),
        }
        print(kind, out, flush=True)
        save({kind: out})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["speed", "growth", "truth", "peer"])
    parser.add_argument("--replications", type=int, default=20)
    parser.add_argument("--what", default="ours")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--trees", type=int, default=500)
    args = parser.parse_args()
    if args.parts == ["one"]:
        print(json.dumps(one(args.what, args.n, args.trees)))
        return

    def keep(part: str) -> Callable[[dict[str, Any]], None]:
        def save(found: dict[str, Any]) -> None:
            known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            known[part] = {**known.get(part, {}), **found}
            RESULTS.write_text(json.dumps(known, indent=1) + "\n")

        return save

    for part in args.parts:
        if part == "speed":
            keep(part)(speed())
        elif part == "growth":
            keep(part)({f"{f['n']}_{f['trees']}": f for f in growth()})
        elif part == "truth":
            truth(args.replications, keep(part))
        elif part == "peer":
            peer(args.replications, keep(part))
        else:
            parser.error(f"unknown part '{part}'")


if __name__ == "__main__":
    main()
