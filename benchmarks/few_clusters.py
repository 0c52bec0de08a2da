"""How often do intervals hold the truth when few offices carry the error?

    python benchmarks/few_clusters.py [--replications 1000] [--minutes 10]

Offices over eight periods, some of them treated from period 4 or 6 on (half each), with a constant
effect. An office's shocks are a random level, AR(1) noise and, in the world "unequal", twice the noise
in treated offices. Two-way fixed effects and group-time effects (not yet treated) estimate the mean
effect; a method covers where it doesn't reject the true value at 5 %. Everything is done for many
replications at once by matrices, and one of each batch is checked against the estimators and functions
themselves. Results are kept in benchmarks/results/few_clusters.json, and the command resumes where it
stopped.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy
from scipy import stats

from tiltakeval import __version__
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimates.few_clusters.influence import drawn_t
from tiltakeval.estimates.few_clusters.moments import Moments, invert
from tiltakeval.estimates.few_clusters.robust import cr1, cr2, cr2_weights, cr3
from tiltakeval.estimates.few_clusters.weights import draw_weights
from tiltakeval.estimates.few_clusters.wild import wild_of_regression
from tiltakeval.estimates.inference import correction
from tiltakeval.estimators import build
from tiltakeval.estimators.did.few_clusters.permutation import assignments
from tiltakeval.estimators.did.few_clusters.regression import static_moments
from tiltakeval.estimators.did.few_clusters.rows import cohort_of_cluster, some_units

RESULT = Path(__file__).parent / "results" / "few_clusters.json"
PERIODS = np.arange(1, 9)
EFFECT, RHO, LEVEL = 0.5, 0.5, 0.95
#: Offices, and how many of them are treated.
DESIGNS = ((6, 2), (6, 3), (12, 4), (12, 6), (20, 5), (20, 10), (40, 5), (40, 10))
#: World: noise of treated offices relative to others.
WORLDS = {"equal": 1.0, "unequal": 2.0}
DRAWS, DEALINGS = 999, 99


def panel(offices: int, treated: int, y: np.ndarray) -> StaggeredPanel:
    """The roll-out with outcomes ``y`` [offices, T, K]."""
    first = np.full(offices, np.inf)
    first[:treated] = np.where(np.arange(treated) < (treated + 1) // 2, 4.0, 6.0)
    names = tuple(f"y{k}" for k in range(y.shape[2]))
    return StaggeredPanel(
        outcomes=y, outcome_names=names, units=("points",) * len(names), periods=PERIODS,
        first=first, covariates=np.zeros((offices, 0)), covariate_names=(),
        weight=np.ones(offices), cluster=np.arange(offices), subgroups={},
        population="invented", cluster_kind="office",
    )  # fmt: skip


def draw(offices: int, treated: int, world: str, seed: int) -> np.ndarray:
    """[offices, T] outcomes of one replication."""
    rng = np.random.default_rng([seed, offices, treated, list(WORLDS).index(world)])
    e = rng.normal(size=(offices, PERIODS.size))
    for t in range(1, PERIODS.size):
        e[:, t] = RHO * e[:, t - 1] + np.sqrt(1 - RHO**2) * e[:, t]
    e[:treated] *= WORLDS[world]
    first = panel(offices, treated, e[:, :, None]).first
    return rng.normal(size=(offices, 1)) + e + EFFECT * (first[:, None] <= PERIODS)


def overall(design: StaggeredPanel, divisor: str = "g_minus_1") -> tuple[np.ndarray, np.ndarray]:
    """Mean effect [K] and influence [offices, K] of every outcome, by the estimator."""
    found = build("group_time_att", bands=False, min_clusters=1, divisor=divisor).estimate(design)
    at = found.positions(term="effect_overall")
    return found.table["estimate"].to_numpy()[at], found.influence.columns(at)


def operator(
    offices: int, treated: int, divisor: str = "g_minus_1", *, left_out: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate [GT], influence and leave-one-out estimates [G, GT] as maps of outcomes [G, T].

    Offices of a cohort are alike: one of each is tried, the others' columns follow by exchange.
    """
    design = panel(offices, treated, np.zeros((offices, PERIODS.size, 1)))
    cohort = np.unique(design.first, return_inverse=True)[1]
    theta, z = _of_one(design, None, divisor)
    estimate, influence = theta[cohort], np.zeros((offices, offices, PERIODS.size))
    left = np.zeros((offices, offices, PERIODS.size))
    for c in range(cohort.max() + 1):
        members = np.flatnonzero(cohort == c)
        keep = np.arange(offices) != members[0]
        without = np.zeros(theta.shape)
        if left_out:
            without, _ = _of_one(some_units(design, keep), cohort[keep], divisor)
        for g in members:
            moved = np.arange(offices)
            moved[[members[0], g]] = [g, members[0]]
            influence[:, g] = z[c][moved]
            left[g] = np.where((np.arange(offices) == g)[:, None], 0.0, without[cohort])
    return estimate.ravel(), influence.reshape(offices, -1), left.reshape(offices, -1)


def _of_one(
    design: StaggeredPanel, cohort: np.ndarray | None, divisor: str
) -> tuple[np.ndarray, ...]:
    """What one office's outcomes in each period do, by cohort: estimate [C, T], influence [C, G, T]."""
    if cohort is None:
        cohort = np.unique(design.first, return_inverse=True)[1]
    cohorts, periods = cohort.max() + 1, PERIODS.size
    there = [c for c in range(cohorts) if (cohort == c).any()]
    y = np.zeros((design.n, periods, len(there) * periods))
    for i, c in enumerate(there):
        y[np.argmax(cohort == c), :, i * periods : (i + 1) * periods] = np.eye(periods)
    names = tuple(f"y{k}" for k in range(y.shape[2]))
    wide = replace(design, outcomes=y, outcome_names=names, units=("points",) * len(names))
    found, z = overall(wide, divisor)
    theta, spread = np.zeros((cohorts, periods)), np.zeros((cohorts, design.n, periods))
    theta[there] = found.reshape(-1, periods)
    spread[there] = z.reshape(design.n, -1, periods).transpose(1, 0, 2)
    return theta, spread


def bootstrapped(
    z: np.ndarray, t: np.ndarray, strata: np.ndarray, kind: str, seed: int
) -> np.ndarray:
    """[R] p values by bootstrap-t of influence ``z`` [R, G] with absolute t values ``t`` [R]."""
    offices = z.shape[1]
    v, _ = draw_weights(offices, kind=kind, draws=DRAWS, seed=seed)
    squares, total = (z**2) @ (v**2).T, np.zeros((z.shape[0], len(v)))
    for s in np.unique(strata):
        moved = (z * (strata == s)) @ v.T
        squares -= moved**2 / (strata == s).sum()
        total += moved
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.abs(total) / np.sqrt(correction(offices) * squares)
    drawn[squares <= 1e-12 * total**2] = np.inf
    large = (drawn >= t[:, None]).sum(axis=1)
    same = (drawn_t(z[0][:, None], v, strata, np.ones(offices))[:, 0] >= t[0]).sum()
    assert abs(int(same) - int(large[0])) <= 1
    return (1 + large) / (1 + len(v))


def welch(z: np.ndarray, start: np.ndarray) -> np.ndarray:
    """[R] degrees of freedom of influence ``z`` [R, G] by cohorts' parts of the variance."""
    parts = [(start == s, max((start == s).sum() - 1, 1)) for s in np.unique(start)]
    squares = [((z[:, at] ** 2).sum(axis=1), less) for at, less in parts]
    return sum(v for v, _ in squares) ** 2 / sum(v**2 / less for v, less in squares)


def group_time(
    y: np.ndarray, treated: int, maps: tuple, other: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """[R] p values of the true effect by method, for outcomes ``y`` [R, G, T]."""
    count, offices, periods = y.shape
    estimate, influence, left = maps
    flat = y.reshape(count, -1)
    theta, z = flat @ estimate, flat @ influence.T
    t = np.abs(theta - EFFECT) / np.sqrt(correction(offices) * (z**2).sum(axis=1))
    side = min(treated, offices - treated)
    gaps = flat @ left.T - theta[:, None]
    jack = np.abs(theta - EFFECT) / np.sqrt((gaps**2).sum(axis=1) / correction(offices))
    out = {
        "cluster t(G-1)": 2 * stats.t.sf(t, offices - 1),
        "cluster, df of smaller side": 2 * stats.t.sf(t, max(side - 1, 1)),
        "jackknife t(G-1)": 2 * stats.t.sf(jack, offices - 1),
        "jackknife, df of smaller side": 2 * stats.t.sf(jack, max(side - 1, 1)),
    }
    design = panel(offices, treated, np.zeros((offices, periods, 1)))
    strata = cohort_of_cluster(design)
    for kind in ("webb", "mammen", "rademacher"):
        out[f"bootstrap-t {kind}"] = bootstrapped(z, t, strata, kind, seed)
    z_side = flat @ other.T
    t_side = np.abs(theta - EFFECT) / np.sqrt(correction(offices) * (z_side**2).sum(axis=1))
    df = np.minimum(welch(z_side, design.first), max(side - 1, 1))
    out["leverage, Welch df"] = 2 * stats.t.sf(t_side, df)
    out["leverage, t(G-1)"] = 2 * stats.t.sf(t_side, offices - 1)
    out["bootstrap-t webb, leverage"] = bootstrapped(z_side, t_side, strata, "webb", seed)
    null = flat - EFFECT * (design.first[:, None] <= PERIODS).ravel()
    ways, exact = assignments(
        design.first, np.zeros(offices, dtype=np.int64), draws=DEALINGS, seed=seed
    )
    bare, spread = np.zeros(count), np.zeros(count)
    dealings = 0
    for start in ways:
        dealings += 1
        way = np.empty(offices, dtype=np.int64)  # the place in the matrix of each office
        way[np.argsort(start, kind="stable")] = np.argsort(design.first, kind="stable")
        dealt = null @ estimate.reshape(offices, -1)[way].ravel()
        z_p = null @ influence.reshape(offices, offices, -1)[:, way].reshape(offices, -1).T
        t_p = np.abs(dealt) / np.sqrt(correction(offices) * (z_p**2).sum(axis=1))
        spread += t_p >= t * (1 - 1e-9)
        bare += np.abs(dealt) >= np.abs(theta - EFFECT) * (1 - 1e-9)
    for name, large in (("studentised", spread), ("plain", bare)):
        one = 0 if exact else 1
        out[f"permutation, {name}"] = (one + large) / (one + dealings)
    return out


def two_way(y: np.ndarray, treated: int, seed: int) -> dict[str, np.ndarray]:
    """[R] p values of the true effect by method, two-way fixed effects."""
    _, offices, periods = y.shape
    design = panel(offices, treated, y[0][:, :, None])
    first, c, _ = static_moments(design, np.ones(offices, dtype=bool), 0)
    a, bread, gram = first.bread @ c, first.bread, first.gram
    x = np.zeros((offices, periods, c.size))
    x[:, :, :-1] = np.eye(periods)[:, 1:]
    x[:, :, -1] = design.first[:, None] <= PERIODS
    x -= x.mean(axis=1, keepdims=True)
    right = np.einsum("gtk,rgt->rgk", x, y)
    coef = right.sum(axis=1) @ bread
    scores = right - np.einsum("gkl,rl->rgk", gram, coef)
    theta = coef @ c
    off = np.abs(theta - EFFECT)
    weights, df = cr2_weights(first, c)
    every = Moments(gram, right[0])
    lost = np.array(
        [invert(gram.sum(axis=0) - gram[g]) @ c for g in range(offices)]
    )  # c times the inverse without g
    gone = np.einsum("rgk,gk->rg", right.sum(axis=1, keepdims=True) - right, lost)
    errors = {
        "cluster t(G-1)": ((scores @ a) ** 2).sum(axis=1) * correction(offices),
        "CR2": (np.einsum("rgk,gk->rg", scores, weights) ** 2).sum(axis=1),
        "CR3 t(G-1)": ((gone - theta[:, None]) ** 2).sum(axis=1) / correction(offices),
    }
    for name, found in zip(errors, (cr1(every, c), cr2(every, c), cr3(every, c))):
        assert abs(np.sqrt(errors[name][0]) / found.std_error - 1) < 1e-8
    out = {
        name: 2 * stats.t.sf(off / np.sqrt(v), df if name == "CR2" else offices - 1)
        for name, v in errors.items()
    }
    t = off / np.sqrt(errors["cluster t(G-1)"])
    wild = wild_of_regression(every, c)
    toward = gram @ a
    for name, kind, restricted in (
        ("wild, null imposed", "rademacher", True),
        ("wild, null imposed, webb", "webb", True),
        ("wild, unrestricted", "rademacher", False),
    ):
        v, exact = draw_weights(offices, kind=kind, draws=DRAWS, seed=seed)
        held = scores
        if restricted:
            held = scores + (theta - EFFECT)[:, None, None] * toward / (c @ a)
        own = held @ a
        summed = np.einsum("bg,rgk->rbk", v, held, optimize=True) @ bread
        cross = np.einsum("bg,rgk->rbk", v, own[:, :, None] * toward, optimize=True)
        squares = (own**2) @ (v**2).T - 2 * (summed * cross).sum(axis=2)
        squares += ((summed @ (toward.T @ toward)) * summed).sum(axis=2)
        drawn = np.abs(own @ v.T) / np.sqrt(correction(offices) * np.maximum(squares, 1e-300))
        large = (drawn >= t[:, None] * (1 - 1e-9)).sum(axis=1)
        alone = exact and restricted
        out[name] = large / len(v) if alone else (1 + large) / (1 + len(v))
        same = wild.replications(restricted=restricted, weights=kind, draws=DRAWS, seed=seed)
        same = same.p_value(EFFECT)
        assert abs(same - out[name][0]) < 2.5 / len(v)
    return out


def batch(
    offices: int, treated: int, world: str, seeds: range, maps: tuple, side: np.ndarray
) -> dict[str, dict[str, list[float]]]:
    """{estimator: {method: p values}} of some replications."""
    y = np.stack([draw(offices, treated, world, seed) for seed in seeds])
    design = panel(offices, treated, y[0][:, :, None])
    theta, z = overall(design)  # the matrix is the estimator
    assert abs(theta[0] - maps[0] @ y[0].ravel()) < 1e-10
    assert np.abs(z[:, 0] - maps[1] @ y[0].ravel()).max() < 1e-10
    last = overall(some_units(design, np.arange(offices) != offices - 1))[0]
    assert abs(last[0] - maps[2][-1] @ y[0].ravel()) < 1e-10
    both = {
        "twfe": two_way(y, treated, seeds[0]),
        "group_time_att": group_time(y, treated, maps, side, seeds[0]),
    }
    return {k: {name: p.tolist() for name, p in v.items()} for k, v in both.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    began, end = time.process_time(), time.monotonic() + 60 * args.minutes
    work = Path(__file__).parent / "work" / "few_clusters"
    work.mkdir(parents=True, exist_ok=True)
    size = 125
    held: dict[tuple[int, int], tuple] = {}
    for first in range(0, args.replications, size):
        for offices, treated in DESIGNS:
            for world in WORLDS:
                path = work / f"{world}_{offices}_{treated}_{first}.json"
                if path.exists() or time.monotonic() > end:
                    continue
                if (offices, treated) not in held:
                    side = operator(offices, treated, "leverage", left_out=False)[1]
                    held[offices, treated] = (operator(offices, treated), side)
                seeds = range(first, min(first + size, args.replications))
                found = batch(offices, treated, world, seeds, *held[offices, treated])
                path.write_text(json.dumps(found), "utf-8")
    cells = []
    for world in WORLDS:
        for offices, treated in DESIGNS:
            parts = [
                json.loads(path.read_text("utf-8"))
                for path in sorted(work.glob(f"{world}_{offices}_{treated}_*.json"))
            ]
            for key in parts[0] if parts else ():
                values = {
                    name: np.concatenate([part[key][name] for part in parts])
                    for name in parts[0][key]
                }
                count = len(next(iter(values.values())))
                covered = {
                    name: round(100 * float((p > 1 - LEVEL + 1e-12).mean()), 1)
                    for name, p in values.items()
                }
                cells.append(
                    {
                        "world": world,
                        "offices": offices,
                        "treated": treated,
                        "estimator": key,
                        "replications": count,
                        "coverage_percent": covered,
                    }
                )
                print(world, offices, treated, key, count, covered)
    result = {
        "command": "python benchmarks/few_clusters.py",
        "what": "percent of replications whose 95 % interval holds the effect",
        "monte_carlo_error_percent": 0.7,
        "periods": int(PERIODS.size),
        "effect": EFFECT,
        "autocorrelation": RHO,
        "noise_of_treated_offices": WORLDS,
        "draws": DRAWS,
        "dealings": DEALINGS,
        "cpu_seconds_of_last_run": round(time.process_time() - began, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {
            "tiltakeval": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "cells": cells,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
