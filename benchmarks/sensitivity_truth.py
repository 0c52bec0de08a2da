"""Do bounds for a hidden factor hold the truth? Intervals under a factor whose strength is known.

    python benchmarks/sensitivity_truth.py [--units 2000] [--replications 300]

Persons are in one of eight cells of what is seen (x), and have or lack something unseen (u) that moves
which of three arms they are in and how things go. All true shares follow by counting over (x, u): those
of the outcome (y) and of the weights (d), how far they go together (rho), the bias, and the largest
odds ratio. Per target: how often the interval without a hidden factor holds the truth; how often the
one-sided 95 per cent bound at the factor's own strength and rho does, which should be 95 per cent, as
the bound then is the truth; and with rho = 1, at least. For effects on participants also the sharp
bounds by odds ratio. Resumable: results are added to benchmarks/results/sensitivity_truth.csv.gz.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import pandas as pd

from tiltakeval.design.cross_section import CrossSection, Subgroup
from tiltakeval.diagnostics.sensitivity import bounds, odds_bounds
from tiltakeval.diagnostics.sensitivity.strength import strength
from tiltakeval.estimators import build

RESULTS = Path(__file__).parent / "results"
ARMS = ("none", "aft", "amo")
CELLS, HIDDEN = 8, 0.4  # cells of x, share with u
TARGETS = ("att", "ate", "programmes", "overlap")


def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Propensities [x, u, arm], mean outcomes [x, u, arm], and probabilities of (x, u) [x, u]."""
    x = np.arange(CELLS)[:, None, None]
    u = np.arange(2)[None, :, None]
    arm = np.arange(3)[None, None, :]
    eta = np.where(arm == 0, 0.0, -1.6 + 0.12 * x * (arm == 1) + (0.6 - 0.1 * x) * (arm == 2))
    eta = eta + u * np.array([0.0, 0.9, -0.3])
    e = np.exp(eta) / np.exp(eta).sum(axis=2, keepdims=True)
    mean = (
        0.15 * x
        + 0.9 * u
        + np.array([0.0, 0.5, 0.3])
        + 0.06 * x * (arm == 1)
        + 0.2 * u * (arm == 2)
    )
    p = np.broadcast_to(np.array([1 - HIDDEN, HIDDEN]) / CELLS, (CELLS, 2))
    return e, mean, p


def truth(target: str, pair: tuple[int, int], noise: float = 1.0) -> dict[str, float]:
    """Effect, bias without u, y, d, rho and scale of ``pair`` on ``target``, by counting."""
    e, mean, p = world()
    joint = p[:, :, None] * e  # [x, u, arm]
    px = p.sum(axis=1)
    short = joint.sum(axis=1) / px[:, None]
    g_short = (joint * mean).sum(axis=1) / joint.sum(axis=1)  # [x, arm]
    label = "either" if target == "att" and pair[1] else target
    arms = {"att": pair[:1], "either": pair, "ate": (0, 1, 2), "programmes": (1, 2)}.get(label)
    if arms is None:
        h = 1 / (1 / short).sum(axis=1)
        part, part_short = np.repeat(h[:, None], 2, axis=1), h
    else:
        part, part_short = e[:, :, list(arms)].sum(axis=2), short[:, list(arms)].sum(axis=1)
    total = (p * part).sum()
    effect = (p * part * (mean[:, :, pair[0]] - mean[:, :, pair[1]])).sum() / total
    naive = (px * part_short * (g_short[:, pair[0]] - g_short[:, pair[1]])).sum() / total
    moved = pair[1:] if label == "att" else pair
    gap_g = gap_a = cross = left = square = 0.0
    for arm in moved:
        sign = 1 if arm == pair[0] else -1
        alpha, alpha_s = sign * part / e[:, :, arm], sign * part_short / short[:, arm]
        dg, da = mean[:, :, arm] - g_short[:, [arm]], alpha - alpha_s[:, None]
        w = joint[:, :, arm]
        gap_g, gap_a = gap_g + (w * dg**2).sum(), gap_a + (w * da**2).sum()
        cross = cross + (w * dg * da).sum()
        left = left + (w * (dg**2 + noise**2)).sum()
        square = square + (w * alpha_s[:, None] ** 2).sum()
    odds = (e[:, :, pair[0]] / e[:, :, pair[1]]) / (short[:, pair[0]] / short[:, pair[1]])[:, None]
    return {
        "effect": effect,
        "bias": naive - effect,
        "y": gap_g / left,
        "d": gap_a / (square + gap_a),
        "rho": cross / np.sqrt(gap_g * gap_a),
        "scale": np.sqrt(left * square) / total,
        "odds_ratio": max(odds.max(), 1 / odds.min()),
    }


def sample(units: int, seed: int) -> CrossSection:
    """Persons of the world."""
    rng = np.random.default_rng(seed)
    e, mean, _ = world()
    x, u = rng.integers(0, CELLS, units), (rng.random(units) < HIDDEN).astype(int)
    arm = (e[x, u].cumsum(axis=1) < rng.random((units, 1))).sum(axis=1).astype(np.int16)
    y = mean[x, u, arm] + rng.standard_normal(units)
    cells = (x[:, None] == np.arange(1, CELLS)).astype(np.float64)
    return CrossSection(
        arms=ARMS,
        arm=arm,
        eligible=np.ones((units, 3), dtype=bool),
        weight=np.ones(units),
        person=np.arange(units),
        covariates=cells,
        covariate_names=tuple(f"x={i}" for i in range(1, CELLS)),
        outcomes=y[:, None, None].astype(np.float32),
        outcome_names=("work",),
        units=("share",),
        horizons=(12,),
        population="invented",
        estimand="now_vs_wait",
        time_origin="vedtak",
        subgroups={"g": Subgroup(levels=("a", "b"), codes=(x % 2).astype(np.int16))},
    )


def one(units: int, seed: int) -> list[dict]:
    """Whether each interval holds the truth, of one sample."""
    design, rows = sample(units, seed), []
    for target in TARGETS:
        estimator = build(
            f"aipw_{target}", basis="linear", contrasts="all", placebo=False, bands=False
        )
        nuisance = estimator.nuisance(design)
        estimates = estimator.estimate(design, nuisance)
        where = {"subgroup": "all"}
        found = bounds(design, nuisance, estimates, where=where)
        names = found.table[["programme", "comparator"]].to_numpy()
        known = [truth(target, (ARMS.index(a), ARMS.index(b))) for a, b in names]
        odds = None
        if target == "att":
            lambdas = [k["odds_ratio"] for k in known]
            odds = odds_bounds(design, nuisance, estimates, where=where, lambdas=lambdas).table
        table = estimates.table
        for i, (row, k) in enumerate(zip(found.table.itertuples(), known)):
            own, worst = (found.at(y=k["y"], d=k["d"], rho=r).loc[i] for r in (k["rho"], 1.0))
            plain = table[
                (table["term"] == "effect")
                & (table["subgroup"] == "all")
                & (table["programme"] == row.programme)
                & (table["comparator"] == row.comparator)
            ].iloc[0]
            low = k["bias"] > 0  # then the truth lies at the lower bound
            line = {
                "seed": seed,
                "target": target,
                "pair": f"{row.programme} against {row.comparator}",
                "plain": plain["conf_low"] <= k["effect"] <= plain["conf_high"],
                "own": own["conf_low"] <= k["effect"] if low else k["effect"] <= own["conf_high"],
                "worst": worst["conf_low"] <= k["effect"] <= worst["conf_high"],
                "apart": (
                    row.estimate
                    - np.sign(k["bias"]) * abs(k["rho"]) * strength(k["y"], k["d"]) * row.scale
                )
                - k["effect"],
                "scale": row.scale / k["scale"],
            }
            if odds is not None and row.comparator == "none":
                hit = odds[
                    (odds["programme"] == row.programme)
                    & (odds["comparator"] == "none")
                    & np.isclose(odds["odds_ratio"], k["odds_ratio"])
                ].iloc[0]
                line["by_odds"] = hit["conf_low"] <= k["effect"] <= hit["conf_high"]
            rows.append(line)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=2000)
    parser.add_argument("--replications", type=int, default=300)
    given = parser.parse_args()
    path = RESULTS / "sensitivity_truth.csv.gz"
    done = pd.read_csv(path) if path.exists() else pd.DataFrame()
    seen = set(done["seed"]) if len(done) else set()
    rows, start = [], time.process_time()
    for seed in range(given.replications):
        if seed in seen:
            continue
        rows += one(given.units, seed)
        if seed % 20 == 19:
            done = pd.concat([done, pd.DataFrame(rows)], ignore_index=True)
            done.to_csv(path, index=False, float_format="%.6g")
            rows = []
    done = pd.concat([done, pd.DataFrame(rows)], ignore_index=True)
    done.to_csv(path, index=False, float_format="%.6g")
    spent = time.process_time() - start
    out = []
    for (target, pair), part in done.groupby(["target", "pair"], sort=False):
        a, b = pair.split(" against ")
        k = truth(target, (ARMS.index(a), ARMS.index(b)))
        shares = {f"{c}_covers": float(part[c].mean()) for c in ("plain", "own", "worst")}
        if part["by_odds"].notna().any():
            shares["by_odds_covers"] = float(part["by_odds"].astype(float).mean())
        out.append(
            {
                "target": target,
                "pair": pair,
                **{name: round(float(v), 4) for name, v in k.items()},
                "replications": len(part),
                **{name: round(v, 4) for name, v in shares.items()},
                "bound_less_truth": round(float(part["apart"].mean()), 4),
                "scale_ratio": round(float(part["scale"].mean()), 4),
            }
        )
    with (RESULTS / "sensitivity_truth.json").open("w", encoding="utf-8") as file:
        json.dump(
            {"units": given.units, "cpu_seconds": round(spent, 1), "rows": out}, file, indent=1
        )
        file.write("\n")
    print(pd.DataFrame(out).to_string())


if __name__ == "__main__":
    main()
