"""The best fit found at every number of mass points: pruned from above, grown from below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.directions import Box, maxima
from tiltakeval.estimators.duration.mixture.likelihood import Mixing, log_likelihood
from tiltakeval.estimators.duration.mixture.newton import Fit, maximise
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.duration.mixture.search import with_points
from tiltakeval.estimators.duration.mixture.tidy import distance, joined, snapped, without
from tiltakeval.estimators.duration.mixture.weights import best_weights

#: Ways of having one point fewer that are tried, and how many changes of a fit are followed up.
TRIED, REFITTED = 10, 2
#: A fit replaces another of the same count when it is better by this much.
BETTER = 1e-4
Progress = Callable[[str, Fit], None]


def path_by_points(
    panel: Panel,
    one: Fit,
    full: Fit,
    box: Box,
    *,
    effort: int = 8,
    progress: Progress | None = None,
) -> dict[int, Fit]:
    """The best fit found with 1, 2, ... points, up to those of ``full``.

    Growing point by point can end units of log-likelihood below the best fit of its size, and so can
    pruning. Both are done, and again from every fit that was improved, at most ``effort`` times a
    count.
    """
    walk = _Walk(panel, box, one, full, progress)
    for j in range(full.points, 2, -1):
        walk.prune(j)
    for j in range(1, full.points - 1):
        walk.grow(j)
    budget = effort * full.points
    while walk.changed and budget > 0:
        j = max(walk.changed)
        walk.changed.discard(j)
        walk.prune(j)
        walk.grow(j)
        budget -= 2
    return dict(sorted(walk.path.items()))


class _Walk:
    """The best fits so far and which of them haven't been pruned and grown since they changed."""

    def __init__(
        self, panel: Panel, box: Box, one: Fit, full: Fit, progress: Progress | None
    ) -> None:
        self.panel, self.box, self.progress = panel, box, progress
        self.most = full.points
        self.path: dict[int, Fit] = {1: one, full.points: full}
        self.changed: set[int] = set()
        # starts already followed: counts and log-likelihoods tell them apart
        self.followed: set[tuple[int, float]] = set()

    def prune(self, j: int) -> None:
        """From the fit with j points to fewer."""
        if j in self.path and j > 2:
            self.changed.discard(j)
            for start in self._fewer(self.path[j])[:REFITTED]:
                self._follow(start)

    def grow(self, j: int) -> None:
        """From the fit with j points to one more, at the largest directional derivatives."""
        if j not in self.path or j + 1 >= self.most:
            return
        fit = self.path[j]
        found = maxima(self.panel, fit.at, fit.mixing, self.box, step=0.4)
        self.path[j] = fit = replace(fit, certificate=found.largest)
        trials = [
            with_points(self.panel, fit, found.mu[:, m : m + 1])
            for m in range(min(4, found.value.size))
            if found.value[m] > BETTER
        ]
        trials.sort(key=lambda f: -f.loglik)
        for start in trials[:REFITTED]:
            self._follow(start)

    def _follow(self, start: Fit) -> None:
        key = (start.points, round(start.loglik, 4))
        if key in self.followed:
            return
        self.followed.add(key)
        old = self.path.get(start.points)
        beat = -np.inf if old is None else old.loglik + BETTER
        fit = _refit(self.panel, start, self.box, beat)
        if 1 < fit.points < self.most and (old is None or fit.loglik > old.loglik + BETTER):
            self.path[fit.points] = fit
            self.changed.add(fit.points)
            if self.progress is not None:
                self.progress("path", fit)

    def _fewer(self, fit: Fit) -> list[Fit]:
        """Fits with one point fewer and the best probabilities, most likely first."""
        p, apart = fit.mixing.p, distance(fit.mixing, self.box)
        trials: list[tuple[float, Mixing]] = []
        for j in range(fit.points):
            trials.append((float(p[j]), without(fit.mixing, j)))
            for k in range(j):
                cost = p[j] * p[k] / (p[j] + p[k]) * min(1.0, apart[j, k] ** 2)
                trials.append((float(cost), joined(fit.mixing, j, k)))
        trials.sort(key=lambda pair: pair[0])
        found = []
        for _, mixing in trials[:TRIED]:
            if not self.panel.conditional:
                mixing = best_weights(self.panel, fit.at, mixing, rounds=4)
            loglik = log_likelihood(self.panel, fit.at, mixing)
            found.append(replace(fit, mixing=mixing, loglik=loglik, certificate=None))
        return sorted(found, key=lambda f: -f.loglik)


def _refit(panel: Panel, start: Fit, box: Box, beat: float) -> Fit:
    """The maximum near a start, or less where that won't come to ``beat``.

    A point on its way to a hazard of zero is put there.
    """
    fit = start
    for rounds in (8, 8, 40):
        fit = maximise(panel, fit, tolerance=1e-5, rounds=rounds, beat=beat)
        if fit.abandoned:
            break
        free: NDArray[np.bool_] = fit.mixing.free
        fit = snapped(panel, fit, box, loss=1e-7 if fit.converged else 1e-3)
        if fit.converged and np.array_equal(free, fit.mixing.free):
            break
    return fit
