"""How sure: each cluster left out with weights as they are, placebo cohorts, the bootstrap.

Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), their Algorithms 2 (bootstrap), 3 (jackknife) and
4 (placebo); several cohorts as in Clarke, Pailanir, Athey & Imbens (2024, Stata Journal 24:557-598).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.did.few_clusters.permutation import assignments
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.synthetic.cohort import CohortFit
from tiltakeval.estimators.did.synthetic.problem import Problem, adjusted, fits, reweighed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Draws of the bootstrap that may lack a cohort, for every one that doesn't.
_LACKING = 200


def left_out(
    problem: Problem, found: Sequence[CohortFit], label: Ints, labels: int
) -> list[Floats | str]:
    """By cohort [labels, T] influence of the effects: what leaving each cluster out takes away, weights
    of units (renormalised) and periods as they are. ``label`` [n] in 0..labels-1. Its sum of squares
    times labels / (labels - 1) is the jackknife variance of the clusters there are. Or why it isn't.
    """
    y = adjusted(problem)
    others = np.flatnonzero(problem.code < 0)
    there = np.unique(label)
    shrink = np.sqrt((there.size - 1) / there.size * (labels - 1) / labels)
    out: list[Floats | str] = []
    for c, (span, fit) in enumerate(zip(problem.spans, found)):
        mine = np.flatnonzero(problem.code == c)
        gone = np.zeros((labels, y.shape[1]))
        why = ""
        sides = (
            (mine, problem.weight[mine] / problem.weight[mine].sum(), 1.0, "treated"),
            (others, fit.omega, -1.0, "with any weight to compare with"),
        )
        for rows, share, sign, name in sides:
            left = y[rows] - (y[rows][:, span.before] @ fit.lam)[:, None]
            left = (left - share @ left) * share[:, None]
            held = np.bincount(label[rows], weights=share, minlength=labels)
            if held.max() > 1 - 1e-9:
                why = Reason(
                    Why.TOO_FEW, f"only one cluster {name}: nothing is left once it is left out"
                )
                break
            for t in range(y.shape[1]):
                sums = np.bincount(label[rows], weights=left[:, t], minlength=labels)
                gone[:, t] += sign * sums / (1 - held)
        if why:
            out.append(why)
            continue
        z = np.zeros_like(gone)
        z[there] = (gone[there] - gone[there].mean(axis=0)) * shrink
        out.append(z)
    return out


def placebos(
    problem: Problem, found: Sequence[CohortFit], cluster: Ints, *, draws: int, seed: int
) -> tuple[Floats, bool]:
    """[B, cohorts, T] effects when comparison clusters are said to be treated, as many in each cohort as
    are, and the rest compared with; the second value says whether that is every way there is."""
    start, own = _starts(problem, cluster)
    treated, others = int((start >= 0).sum()), int((start < 0).sum())
    needed = max(2, problem.fewest)
    if others - treated < needed:
        raise InputError(
            f"{treated} treated clusters and {others} to compare with: placebo cohorts must leave at "
            f"least {needed} of these",
            where="errors = placebo",
            remedy="Say errors = jackknife or bootstrap, for which every cohort needs two clusters.",
        )
    free = np.flatnonzero(start < 0)
    dealt = np.full(others, np.inf)
    dealt[:treated] = start[start >= 0]
    ways, exact = assignments(dealt, np.zeros(others, dtype=np.int64), draws=draws, seed=seed)
    weight = np.where(problem.code < 0, problem.weight, 0.0)
    drawn = []
    for way in ways:
        of_cluster = np.full(start.size, -1, dtype=np.int64)
        of_cluster[free] = np.where(np.isfinite(way), way, -1)
        drawn.append(_effects(fits(reweighed(problem, weight, of_cluster[own]), found)))
    return np.stack(drawn), exact


def bootstrapped(
    problem: Problem, found: Sequence[CohortFit], cluster: Ints, *, draws: int, seed: int
) -> Floats:
    """[B, cohorts, T] effects on clusters drawn with replacement, all cohorts among them."""
    start, own = _starts(problem, cluster)
    for c, span in enumerate(problem.spans):
        if (start == c).sum() < 2:
            raise InputError(
                f"the cohort {span.cohort:.0f} has one cluster, whose draws are all the same",
                where="errors = bootstrap",
                remedy="Say errors = placebo.",
            )
    return np.stack(
        [_effects(fits(one, found)) for one in _drawn(problem, start, own, draws, seed)]
    )


def _drawn(problem: Problem, start: Ints, own: Ints, draws: int, seed: int) -> Iterator[Problem]:
    rng = np.random.default_rng(seed)
    made = tried = 0
    while made < draws:
        times = np.bincount(rng.integers(0, start.size, start.size), minlength=start.size)
        tried += 1
        here = np.unique(start[times > 0])
        enough = (times[start < 0] > 0).sum() >= problem.fewest
        if here.size == len(problem.spans) + 1 and enough:
            made += 1
            yield reweighed(problem, problem.weight * times[own])
        elif tried > _LACKING * draws:
            raise InputError(
                "hardly any draw of clusters holds every cohort",
                where="errors = bootstrap",
                remedy="Say errors = placebo or jackknife.",
            )


def _starts(problem: Problem, cluster: Ints) -> tuple[Ints, Ints]:
    """[C] the cohort of every cluster (-1: the comparison), and [n] the cluster of every unit."""
    names, own = np.unique(cluster, return_inverse=True)
    own = own.reshape(-1).astype(np.int64)
    start = np.empty(names.size, dtype=np.int64)
    start[own] = problem.code
    mixed = np.unique(own[start[own] != problem.code]).size
    if mixed:
        raise InputError(
            f"units of {mixed} clusters start at different times",
            where="cluster",
            remedy="Cluster by what starts together, or say errors = jackknife.",
        )
    return start, own


def _effects(found: Sequence[CohortFit]) -> Floats:
    return np.stack([one.effects for one in found])
