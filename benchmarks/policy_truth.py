"""Rules on the five-arm truth: python benchmarks/policy_truth.py [--n 2000] [--reps 60] [--deep]

Twenty covariates, the last four coins; five arms; selection on covariates; known effects: a weak
programme (AFT), a wage subsidy that does most for x0 > 0, training that pays for x1 > 0 or a coin, IPS
for one of four groups. For every replication the doubly robust scores are computed once; every rule is
cross-fitted and its value and gain over today's practice estimated. Reported, over replications: the
true gain over today of every rule, its share of the best gain there is (limited rules: within today's
places), regret, coverage and bias of the interval of the gain, places used against places there are, the
ratio of the limited tree's gain to the limited individual rule's, and CPU time. Results are kept in
benchmarks/work and taken up again.

The truth of a gain is that of the very rules used: for every person the true effect of what the rule
learnt on other folds gives them, less that of what they got. Rules on trees are also judged on 50,000
new people.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from tiltakeval.design.cross_section import CrossSection, Subgroup
from tiltakeval.estimators.heterogeneity.cate import dr_learner
from tiltakeval.estimators.heterogeneity.policy import evaluate as ev
from tiltakeval.estimators.heterogeneity.policy.cuts import choose_cuts
from tiltakeval.estimators.heterogeneity.policy.estimator import Policy
from tiltakeval.estimators.heterogeneity.policy.individual import assign
from tiltakeval.estimators.heterogeneity.policy.limits import capacity_limits
from tiltakeval.estimators.heterogeneity.policy.rules import (
    ByTree,
    Everyone,
    Individual,
    LearntTree,
    Random,
)
from tiltakeval.estimators.heterogeneity.policy.units import Units, shares
from tiltakeval.estimators.heterogeneity.scores import UnitScores, nuisances_for, unit_scores

HERE = Path(__file__).resolve().parent
ARMS = ("none", "aft", "lonnstilskudd_midlertidig", "amo", "ips")
NEW = 50_000


def covariates(n: int, rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal((n, 20))
    x[:, 16:] = rng.random((n, 4)) < 0.5
    return x


def effects(x: np.ndarray) -> np.ndarray:
    """[n, 5] effects of the arms, the first 0."""
    coin, other = x[:, 16], x[:, 17]
    return np.column_stack(
        [
            np.zeros(len(x)),
            0.5 * coin - 0.5,
            1.5 + (x[:, 0] > 0) - 0.5 * coin,
            np.clip(x[:, 1], 0, None) + other - 1.0,
            1.0 + 1.5 * coin * other,
        ]
    )


def baseline(x: np.ndarray) -> np.ndarray:
    return 6 + x[:, 0] + np.clip(x[:, 2], 0, None) + 0.5 * x[:, 1] * x[:, 3] - 0.8 * x[:, 16]


def chances(x: np.ndarray) -> np.ndarray:
    odds = np.column_stack(
        [
            np.zeros(len(x)),
            0.5 * x[:, 16] - 0.4 * x[:, 0] - 1.3,
            0.5 * x[:, 0] + 0.3 * x[:, 2] - 1.5,
            0.3 * x[:, 3] - 0.4 * x[:, 1] - 1.2,
            0.6 * x[:, 17] - 0.3 * x[:, 2] - 1.6,
        ]
    )
    part = np.exp(odds)
    return part / part.sum(axis=1, keepdims=True)


def design_of(n: int, seed: int) -> tuple[CrossSection, np.ndarray]:
    """The design of a replication and the true effects [n, 5]."""
    rng = np.random.default_rng([seed, n])
    x = covariates(n, rng)
    arm = (chances(x).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=4)
    tau = effects(x)
    y = baseline(x) + tau[np.arange(n), arm] + 2.0 * rng.standard_normal(n)
    group = (2 * x[:, 16] + x[:, 17]).astype(np.int16)
    design = CrossSection(
        arms=ARMS,
        arm=arm.astype(np.int16),
        eligible=np.ones((n, 5), dtype=bool),
        weight=np.ones(n),
        person=np.arange(n),
        covariates=x,
        covariate_names=tuple(f"x{j}" for j in range(20)),
        outcomes=y.reshape(n, 1, 1).astype(np.float32),
        outcome_names=("months_worked",),
        units=("months",),
        horizons=(24,),
        population="invented",
        estimand="vs_comparison",
        time_origin="start",
        subgroups={"group": Subgroup(levels=("00", "01", "10", "11"), codes=group)},
    )
    return design, tau


def rules_of(x: np.ndarray, names: tuple[str, ...], today: np.ndarray) -> dict[str, Any]:
    limits = tuple(capacity_limits(ARMS, dict(zip(ARMS[1:], today[1:].tolist())), len(x)))
    cuts = choose_cuts(x, names, bins=32, least=10)
    coarse = choose_cuts(x, names, bins=8, least=10)
    return {
        "everyone wage subsidy": Everyone(2),
        "random, today's shares": Random(tuple(today.tolist())),
        "individual": Individual(),
        "tree 2": ByTree(2, cuts, 50),
        "tree 3": ByTree(3, coarse, 50),
        "individual, limited": Individual(limits),
        "individual, one by one": Individual(limits, batch=False),
        "tree 2, limited": ByTree(2, cuts, 50, limits),
        "tree 3, limited": ByTree(3, coarse, 50, limits, steps=6),
    }


def replicate(n: int, seed: int, predictions: str, deep: bool) -> dict[str, Any]:
    started = time.process_time()
    design, tau = design_of(n, seed)
    options = Policy(seeds=1, seed=seed).scoring()
    nuisances = nuisances_for(design, options)
    scores = unit_scores(design, options, nuisances=nuisances)
    without = ev.scores_without(design, options, scores, nuisances)
    training = {fold: without(0, fold) for fold in range(scores.folds)}
    out: dict[str, Any] = {"n": n, "seed": seed, "cpu scores": time.process_time() - started}
    assert scores.n == n
    today = shares(np.eye(5)[scores.arm], scores.weight)
    rules = rules_of(scores.x, scores.names, today)
    if not deep:
        rules = {name: rule for name, rule in rules.items() if "3" not in name}

    def make(split: UnitScores) -> Units:
        predicted = split.fitted
        if predictions != "outcomes":
            gain = dr_learner(split, learner=predictions)  # type: ignore[arg-type]
            predicted = np.column_stack([np.zeros(split.n), gain])
        return Units(
            reward=split.psi,
            predicted=predicted,
            x=split.x,
            eligible=np.ones((split.n, 5), dtype=bool),
            arm=split.arm,
            weight=split.weight,
            fold=split.fold,
            codes={},
        )

    fresh = covariates(NEW, np.random.default_rng(20240601))
    tau_new = effects(fresh)
    now_new = float((chances(fresh) * tau_new).sum(axis=1).mean())
    got = tau[np.arange(n), scores.arm]
    found: dict[str, Any] = {}
    for name, rule in rules.items():
        started = time.process_time()
        evaluated = ev.evaluate(scores, {name: rule}, make, lambda _, fold: training[fold])
        cpu = time.process_time() - started
        dealt = evaluated.mean(name)
        lines = ev.value_lines(scores, evaluated, [name], against=[(name, ev.TODAY)])
        row = next(i for i, label in enumerate(lines.labels) if label["term"] == "policy_gain")
        z = lines.z[:, row]
        groups = len(z)
        found[name] = {
            "estimate": float(lines.theta[row]),
            "se": float(np.sqrt((z**2).sum() * groups / (groups - 1))),
            "truth": float(((dealt * tau).sum(axis=1) - got).mean()),
            "shares": shares(dealt, scores.weight).tolist(),
            "cpu": cpu,
        }
        trees = [one for one in evaluated.learnt[name] if isinstance(one, LearntTree)]
        if trees:
            units = Units(
                reward=tau_new,
                predicted=tau_new,
                x=fresh,
                eligible=np.ones((NEW, 5), dtype=bool),
                arm=np.zeros(NEW, dtype=np.int64),
                weight=np.ones(NEW),
                fold=np.zeros(NEW, dtype=np.int64),
                codes={},
            )
            value = np.mean([(t.assign(units) * tau_new).sum(axis=1).mean() for t in trees])
            found[name]["truth, new people"] = float(value) - now_new
    everything = np.ones((n, 5), dtype=bool)
    limits = rules["individual, limited"].limits
    best = assign(tau, eligible=everything, weight=np.ones(n), limits=limits, codes={})
    out["today"] = today.tolist()
    out["best"] = float((tau.max(axis=1) - got).mean())
    out["best, limited"] = float(((best.probability * tau).sum(axis=1) - got).mean())
    out["none"] = float(-got.mean())
    out["rules"] = found
    return out


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in rows[0]["rules"]:
        got = [row["rules"][name] for row in rows if name in row["rules"]]
        truth = np.array([g["truth"] for g in got])
        estimate, se = (np.array([g[k] for g in got]) for k in ("estimate", "se"))
        limited = "limited" in name or "one by one" in name
        best = np.array([r["best, limited" if limited else "best"] for r in rows])
        none = np.array([r["none"] for r in rows])
        inside = np.abs(estimate - truth) <= 1.96 * se
        line = {
            "true gain over today": truth.mean(),
            "share of the best gain over today": truth.mean() / best.mean(),
            "share of the best gain over nobody": (truth - none).mean() / (best - none).mean(),
            "regret": (best - truth).mean(),
            "coverage of the gain": inside.mean(),
            "mean error": (estimate - truth).mean(),
            "sd of the error": (estimate - truth).std(ddof=1) if len(truth) > 1 else np.nan,
            "mean standard error": se.mean(),
            "CPU seconds": np.mean([g["cpu"] for g in got]),
        }
        if "truth, new people" in got[0]:
            new = np.array([g["truth, new people"] for g in got])
            line["gain over today among new people"] = new.mean()
            line["coverage, new people"] = (np.abs(estimate - new) <= 1.96 * se).mean()
        if limited:
            over = [
                max(s - t for s, t in zip(g["shares"][1:], r["today"][1:])) * r["n"]
                for g, r in zip(got, rows)
            ]
            line["most places over capacity"] = max(over)
        out[name] = {key: round(float(value), 4) for key, value in line.items()}
    for depth in (2, 3):
        if f"tree {depth}, limited" in out:
            tree, box = (
                np.array([r["rules"][k]["truth"] for r in rows])
                for k in (f"tree {depth}, limited", "individual, limited")
            )
            none = np.array([r["none"] for r in rows])
            out[f"tree {depth} limited / individual limited"] = {
                "gain over today": round(float(tree.mean() / box.mean()), 3),
                "gain over nobody": round(float((tree - none).mean() / (box - none).mean()), 3),
            }
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=2_000)
    parser.add_argument("--reps", type=int, default=60)
    parser.add_argument(
        "--predictions", default="outcomes", choices=("outcomes", "ridge", "boosting")
    )
    parser.add_argument("--deep", action="store_true", help="depth 3 too")
    given = parser.parse_args()
    name = f"policy_{given.n}_{given.predictions}{'_deep' if given.deep else ''}"
    work = HERE / "work" / f"{name}.jsonl"
    work.parent.mkdir(exist_ok=True)
    rows = (
        [json.loads(line) for line in work.read_text("utf-8").splitlines()] if work.exists() else []
    )
    done = {row["seed"] for row in rows}
    with work.open("a", encoding="utf-8") as file:
        for seed in range(given.reps):
            if seed not in done:
                rows.append(replicate(given.n, seed, given.predictions, given.deep))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
    rows = [row for row in rows if row["seed"] < given.reps]
    found = {
        "replications": len(rows),
        "CPU seconds, scores": round(float(np.mean([r["cpu scores"] for r in rows])), 2),
        "best gain over today": round(float(np.mean([r["best"] for r in rows])), 4),
        "best gain over today, limited": round(
            float(np.mean([r["best, limited"] for r in rows])), 4
        ),
        **summary(rows),
    }
    path = HERE / "results" / "policy_truth.json"
    held = json.loads(path.read_text("utf-8")) if path.exists() else {}
    held[name] = found
    path.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n", "utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
