"""Durations, participants and clusters of effects on known truth: python benchmarks/scores_truth.py

    python benchmarks/scores_truth.py [--kinds durations participants none varied] [--replications 400]

durations: 2,000 spells in whole months, exits and censoring both by covariates (a third censored before
month 12); effects on the mean time to a job up to month 12 of all, by subgroup and of participants.
participants: 2,000 units and three arms, effects on each programme's participants by subgroup.
none and varied: 1,000 units and three arms without heterogeneity and with: how often tests of equal
effects between clusters of predicted effects reject at 5 %, by kind of test and of cluster.
Rows are kept beside the other benchmarks' (the command resumes there); figures in
benchmarks/results/scores_truth.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "estimators"))

from invented_arms import effects, make_arms

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.durations import Durations
from tiltakeval.estimators.heterogeneity.clusters import effect_clusters
from tiltakeval.estimators.heterogeneity.estimator import Heterogeneity
from tiltakeval.estimators.heterogeneity.scores import unit_scores
from tiltakeval.estimators.heterogeneity.survival.outcomes import spell_outcomes
from tiltakeval.estimators.weighting.aipw import AIPW

ROWS = HERE / "work" / "scores_truth.csv"
SUMMARY = HERE / "results" / "scores_truth.json"
MONTH = 12
KINDS = ("durations", "participants", "none", "varied")


def hazard(x: np.ndarray, arm: np.ndarray | int) -> np.ndarray:
    """Exits to a job, a month."""
    return 0.08 * np.exp(0.5 * x[:, 0] + (0.4 + 0.3 * x[:, 2]) * arm)


def people(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Covariates and propensities."""
    x = rng.standard_normal((n, 3))
    x[:, 2] = rng.random(n) < 0.5
    return x, 1 / (1 + np.exp(-0.5 * x[:, 0]))


def true_effects() -> dict[tuple[str, str], float]:
    """Effects on mean months to a job, by target and subgroup."""
    x, p = people(2_000_000, np.random.default_rng(1))
    means = []
    for arm in (0, 1):
        stay = np.exp(-hazard(x, arm))  # whole months: sum of the chances of still being there
        means.append(sum(stay**k for k in range(MONTH)))
    gain = means[1] - means[0]
    out = {}
    for target, w in (("common", np.ones(len(x))), ("treated", p)):
        for name, member in (
            ("all", x[:, 2] >= 0),
            ("g=no", x[:, 2] == 0),
            ("g=yes", x[:, 2] == 1),
        ):
            out[target, name] = float(np.average(gain[member], weights=w[member]))
    return out


def durations(seed: int, truth: dict[tuple[str, str], float]) -> list[dict[str, object]]:
    """Effects on one set of spells against the truth."""
    rng = np.random.default_rng(seed)
    n = 2000
    x, p = people(n, rng)
    arm = (rng.random(n) < p).astype(np.int16)
    time_to = np.ceil(rng.exponential(1 / hazard(x, arm)))
    lost = np.ceil(rng.exponential(1 / (0.03 * np.exp(0.7 * x[:, 0] + 0.4 * x[:, 1]))))
    spells = Durations(
        duration=np.minimum(time_to, lost),
        event=(time_to <= lost).astype(np.int16),
        event_names=("job",),
        arm=arm,
        arms=("none", "aft"),
        weight=np.ones(n),
        person=np.arange(n),
        entry=np.zeros(n),
        subgroups={"g": Subgroup(levels=("no", "yes"), codes=x[:, 2].astype(np.int16))},
        population="invented",
        covariates=x,
        covariate_names=("x0", "x1", "g"),
    )
    design = spell_outcomes(spells, horizons=MONTH)
    out = []
    for target in ("common", "treated"):
        table = Heterogeneity(target=target, parts=(), bands=False).estimate(design).table
        for row in table[table.term == "effect"].itertuples():
            out.append(
                {
                    "what": f"{target} {row.subgroup}",
                    "error": row.estimate - truth[target, row.subgroup],
                    "se": row.std_error,
                    "hit": row.conf_low <= truth[target, row.subgroup] <= row.conf_high,
                }
            )
    return out


def participants(seed: int) -> list[dict[str, object]]:
    """Effects on participants against their expected effects (a large sample's)."""
    table = (
        Heterogeneity(target="treated", parts=(), bands=False)
        .estimate(make_arms(2000, seed=seed))
        .table
    )
    out = []
    for row in table[table.term == "effect"].itertuples():
        t = _TRUTH[row.programme, row.subgroup]
        out.append(
            {
                "what": f"{row.programme} {row.subgroup}",
                "error": row.estimate - t,
                "se": row.std_error,
                "hit": row.conf_low <= t <= row.conf_high,
            }
        )
    return out


def clusters(seed: int, *, varied: bool) -> list[dict[str, object]]:
    """Tests that effects are the same in clusters."""
    scores = unit_scores(
        make_arms(1000, seed=seed, varied=varied), AIPW(target="ate", basis="linear")
    )
    out: list[dict[str, object]] = []
    for by in ("kmeans", "tree"):
        _, tests = effect_clusters(scores, by=by)  # type: ignore[arg-type]
        out += [
            {"what": f"{by} {t['programme']} {t['unit']}", "hit": t["p_value"] < 0.05}
            for t in tests
        ]
    return out


_TRUTH: dict[tuple[str, str], float] = {}


def _expected() -> None:
    design = make_arms(1_000_000, seed=10**6)
    tau = effects(design.covariates)
    for a, name in enumerate(design.arms[1:], 1):
        own = design.arm == a
        _TRUTH[name, "all"] = float(tau[own, a - 1].mean())
        for g, group in design.subgroups.items():
            for level, label in enumerate(group.levels):
                member = own & (group.codes == level)
                _TRUTH[name, f"{g}={label}"] = float(tau[member, a - 1].mean())


def main() -> None:
    """Run what is missing and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--replications", type=int, default=400)
    given = parser.parse_args()
    rows = pd.read_csv(ROWS) if ROWS.exists() else pd.DataFrame({"kind": [], "seed": []})
    done = set(map(tuple, rows[["kind", "seed"]].drop_duplicates().to_numpy().tolist()))
    truth = true_effects() if "durations" in given.kinds else {}
    if "participants" in given.kinds:
        _expected()
    for kind in given.kinds:
        found: list[dict[str, object]] = []
        for seed in range(given.replications):
            if (kind, seed) in done:
                continue
            start = time.process_time()
            if kind == "durations":
                new = durations(seed, truth)
            elif kind == "participants":
                new = participants(seed)
            else:
                new = clusters(seed, varied=kind == "varied")
            spent = time.process_time() - start
            found += [{"kind": kind, "seed": seed, "cpu": spent, **row} for row in new]
        if found:
            rows = pd.concat([rows, pd.DataFrame(found)], ignore_index=True)
            ROWS.parent.mkdir(exist_ok=True)
            rows.to_csv(ROWS, index=False)
    out: dict[str, object] = {}
    for (kind, what), part in rows.groupby(["kind", "what"], sort=False):
        row = {"replications": len(part), "share": round(float(part["hit"].astype(bool).mean()), 4)}
        if part["error"].notna().any():
            row |= {
                "bias": round(float(part["error"].mean()), 4),
                "sd": round(float(part["error"].std()), 4),
                "mean_se": round(float(part["se"].mean()), 4),
            }
        out.setdefault(kind, {})[what] = row  # type: ignore[attr-defined]
        out[kind]["cpu_seconds"] = round(float(part["cpu"].mean()), 3)  # type: ignore[index]
    SUMMARY.write_text(json.dumps(out, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
