"""The whole estimation: no heterogeneity, several starts, the full solution, the path by points."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tiltakeval.estimators.duration.mixture.directions import Box, maxima
from tiltakeval.estimators.duration.mixture.hazards import hazards
from tiltakeval.estimators.duration.mixture.likelihood import Mixing, evaluate, log_likelihood
from tiltakeval.estimators.duration.mixture.newton import Fit, maximise
from tiltakeval.estimators.duration.mixture.panel import Panel, only_units
from tiltakeval.estimators.duration.mixture.path import path_by_points
from tiltakeval.estimators.duration.mixture.search import full_solution, one_point
from tiltakeval.estimators.duration.mixture.tidy import tidied
from tiltakeval.estimators.numerics.groups import mix

Progress = Callable[[str, Fit], None]
#: With more persons, the search begins in a sample of them: a tenth, but no fewer than ``SAMPLE``.
LARGE, SAMPLE = 15_000, 4_000
_SAMPLE_SEED = 20_03


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The best fit with a certificate, the best fit at every number of points, and what it took.

    ``starts`` are the log-likelihoods the starts led to; ``seconds`` CPU seconds by stage.
    """

    full: Fit
    path: Mapping[int, Fit]
    box: Box
    starts: tuple[float, ...]
    seconds: Mapping[str, float]


def solve(
    panel: Panel,
    *,
    starts: int = 2,
    path: bool = True,
    tolerance: float = 1e-4,
    most_points: int = 60,
    restart: Callable[[Box], Fit] | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Maximise the likelihood over coefficients and mixing distribution."""
    clock = time.process_time()
    _compile(panel)
    seconds = {"compilation": time.process_time() - clock}
    clock = time.process_time()
    one, box = one_point(panel)
    begin = one
    if restart is not None:
        stored = restart(box)
        begin = stored if stored.loglik > one.loglik else one
    elif panel.persons > LARGE:
        begin = _from_sample(panel, one, box)
    options = {"tolerance": tolerance, "most_points": most_points, "progress": progress}
    full = full_solution(panel, begin, box, **options)  # type: ignore[arg-type]
    reached = [full.loglik]
    for number in range(1, starts):
        other = _other_start(panel, one, full, number)
        if panel.persons > LARGE:
            other = _from_sample(panel, other, box)
        found = full_solution(panel, other, box, known=full, **options)  # type: ignore[arg-type]
        reached.append(found.loglik)
        if found.loglik > full.loglik + 1e-6:
            full = found
    full = _certified(panel, full, box)
    seconds["search"] = time.process_time() - clock
    clock = time.process_time()
    fits = {1: one, full.points: full}
    if path and full.points > 1:
        fits = path_by_points(panel, one, full, box, progress=progress)
        better = [f for f in fits.values() if f.loglik > full.loglik + 1e-6]
        if better:
            # a fit with fewer points beat the search: start again from there
            best = max(better, key=lambda f: f.loglik)
            full = full_solution(panel, best, box, **options)  # type: ignore[arg-type]
            full = _certified(panel, full, box)
            fits = {j: f for j, f in fits.items() if j < full.points} | {full.points: full}
    seconds["path"] = time.process_time() - clock
    return Solution(full=full, path=fits, box=box, starts=tuple(reached), seconds=seconds)


def _compile(panel: Panel) -> None:
    """Have every kernel compiled, or read from the cache, on a few units."""
    few = only_units(panel, np.arange(panel.units) < 8)
    at = hazards(few, np.zeros(few.active.shape))
    c = few.channels
    mixing = Mixing(mu=np.full((c, 2), -2.0), p=np.full(2, 0.5), top=np.full(c, np.inf))
    evaluate(few, at, mixing)
    evaluate(few, at, mixing, precise=False)
    maxima(
        few,
        at,
        mixing,
        Box(low=mixing.mu[:, 0] - 1, high=mixing.mu[:, 0] + 1, middle=mixing.mu[:, 0]),
    )


def _from_sample(panel: Panel, begin: Fit, box: Box) -> Fit:
    """Where a search in a sample of persons ends: near the solution, at a fraction of the work.

    A sample that is large itself begins where a search in a tenth of it ends, and so on.
    """
    sizes = [max(SAMPLE, panel.persons // 10)]
    while sizes[-1] > LARGE:
        sizes.append(max(SAMPLE, sizes[-1] // 10))
    order = np.argsort(mix(_SAMPLE_SEED, np.arange(panel.persons)), kind="stable")
    for size in reversed(sizes):
        inside = np.zeros(panel.persons, dtype=bool)
        inside[order[:size]] = True
        part = only_units(panel, inside[panel.person])
        at = hazards(part, begin.at.beta)
        start = replace(begin, at=at, loglik=log_likelihood(part, at, begin.mixing))
        begin = full_solution(part, start, box, tolerance=1.0)
    at = hazards(panel, begin.at.beta)
    return replace(begin, at=at, loglik=log_likelihood(panel, at, begin.mixing), certificate=None)


def _other_start(panel: Panel, one: Fit, full: Fit, number: int) -> Fit:
    """Coefficients on the other side of the solution, seen from no heterogeneity; one mass point.

    The likelihood isn't concave in coefficients and mixing distribution together, so the solution
    must be met from elsewhere as well.
    """
    gap = full.at.beta - one.at.beta
    beta = full.at.beta + (-1.0) ** (number + 1) * (number + 1) // 2 * gap
    at = hazards(panel, beta)
    fit = Fit(at=at, mixing=one.mixing, loglik=log_likelihood(panel, at, one.mixing))
    return maximise(panel, fit, fixed_coefficients=True, tolerance=1e-3)


def _certified(panel: Panel, fit: Fit, box: Box) -> Fit:
    """The fit tidied, polished, and with the largest directional derivative on a finer grid."""
    fit = maximise(panel, tidied(panel, fit, box), polish=True)
    found = maxima(panel, fit.at, fit.mixing, box, step=0.15)
    return replace(fit, certificate=max(found.largest, 0.0) if np.isfinite(found.largest) else None)
