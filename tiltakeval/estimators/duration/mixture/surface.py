"""The directional derivative as a function of the mass point: values, derivatives, ways up."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.hazards import Hazards
from tiltakeval.estimators.duration.mixture.interval import end_terms
from tiltakeval.estimators.duration.mixture.mixing import ZERO
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.duration.mixture.posterior_kernels import directional

Floats = NDArray[np.float64]
#: The box: logs of a channel's hazard relative to its mean hazard without heterogeneity.
LOWEST, HIGHEST = -12.0, 7.0


@dataclass(frozen=True, kw_only=True)
class Box:
    """``low``, ``high`` [C]: bounds of log mass points; a hazard of zero is always inside."""

    low: Floats
    high: Floats
    middle: Floats


def box_of(panel: Panel, at: Hazards) -> Box:
    """Bounds around the log mean hazard of every channel.

    Above the largest n / a of any unit every density falls, so the upper bound needn't lie higher.
    """
    integral = panel.weight @ at.a
    if panel.ends is not None and at.end_rate is not None:
        half = panel.weight[panel.ends.unit] * panel.ends.length / 2
        for t in range(len(panel.transitions)):
            inside = panel.ends.channel[:, t] >= 0
            own = panel.ends.channel[inside, t]
            np.add.at(integral, own, (half * at.end_rate[:, t])[inside])
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.log((panel.weight @ panel.events) / integral)
        top = np.log(np.max(panel.events / at.a, axis=0, initial=0.0, where=at.a > 0))
    middle = np.where(np.isfinite(mean), mean, 0.0)
    high = np.clip(np.where(np.isfinite(top), top + 0.1, middle), middle + 1.0, middle + HIGHEST)
    return Box(low=middle + LOWEST, high=high, middle=middle)


class Surface:
    """The directional derivative at one mixing distribution."""

    def __init__(self, panel: Panel, at: Hazards, offset: Floats, box: Box) -> None:
        self.total, self.box = panel.total_weight, box
        self.panel, self.hazards = panel, at
        self.n, self.a = panel.events, at.a
        self.offset, self.weight = offset, panel.weight
        self.columns = np.ascontiguousarray(self.n.T), np.ascontiguousarray(self.a.T)

    def at(self, mu: Floats) -> tuple[float, Floats, Floats]:
        """Value, gradient [C] and Hessian [C, C]."""
        return self.several(mu[:, None])[0]

    def several(self, mu: Floats) -> list[tuple[float, Floats, Floats]]:
        """The same at each of m points [C, m]: units are read once for all."""
        if self.panel.ends is not None:
            return [self._interval(mu[:, k]) for k in range(mu.shape[1])]
        c, m = mu.shape
        value, grad, hess = np.empty(m), np.empty((c, m)), np.empty((c, c, m))
        directional(*self.columns, self.offset, self.weight, mu, np.exp(mu), value, grad, hess)
        return [(value[k] - self.total, grad[:, k], hess[:, :, k]) for k in range(m)]

    def _interval(self, mu: Floats) -> tuple[float, Floats, Floats]:
        panel, at = self.panel, self.hazards
        assert panel.ends is not None and at.end_rate is not None
        v = np.exp(mu)
        terms = end_terms(panel.ends, at.end_rate, v[:, None], 0, panel.units)
        logs = self.offset + self.n @ mu - self.a @ v
        np.add.at(logs, terms.unit, terms.log[:, 0])
        ratio = self.weight * np.exp(np.clip(logs, -700.0, 80.0))
        score = self.n - self.a * v
        hess = -np.diag(v * (ratio @ self.a))
        by_row = ratio[terms.unit]
        for t in range(len(panel.transitions)):
            for c in np.unique(panel.ends.channel[:, t]):
                inside = panel.ends.channel[:, t] == c
                if c < 0:
                    continue
                np.add.at(score[:, c], terms.unit[inside], terms.first[t, inside, 0])
                for s in range(len(panel.transitions)):
                    value = terms.second[t, s, :, 0] * by_row
                    for b in np.unique(panel.ends.channel[inside, s]):
                        if b >= 0:
                            both = inside & (panel.ends.channel[:, s] == b)
                            hess[c, b] += value[both].sum()
        hess += score.T @ (score * ratio[:, None])
        return float(ratio.sum()) - self.total, ratio @ score, hess

    def climb(self, starts: list[Floats], slack: float) -> list[tuple[float, Floats]]:
        """The local maximum near each start; given up where it can't come within ``slack`` of zero.

        All climb at once, so that units are read once for a step of all.
        """
        out: list[tuple[float, Floats]] = [(-np.inf, mu) for mu in starts]
        climbers = [self._climber(mu, slack) for mu in starts]
        asked = {k: next(climber) for k, climber in enumerate(climbers)}
        while asked:
            told = self.several(np.stack(list(asked.values()), axis=1))
            waiting = {}
            for k, values in zip(asked, told):
                try:
                    waiting[k] = climbers[k].send(values)
                except StopIteration as end:
                    out[k] = end.value
            asked = waiting
        return out

    def _climber(
        self, mu: Floats, slack: float
    ) -> Generator[Floats, tuple[float, Floats, Floats], tuple[float, Floats]]:
        """Newton's method that asks for values at a point and is sent them."""
        positive = mu > ZERO
        value, grad, hess = yield mu
        for _ in range(25):
            free = positive & ~((mu >= self.box.high) & (grad > 0))
            free &= ~((mu <= self.box.low) & (grad < 0))
            if not free.any():
                break
            g = grad[free]
            values, vectors = np.linalg.eigh(-hess[np.ix_(free, free)])
            along = vectors.T @ g
            curvature = np.maximum(np.abs(values), 1e-8 * max(1.0, float(np.abs(values).max())))
            promised = float(along @ (along / curvature)) / 2
            if promised < 1e-7 or value + 3 * promised < -slack:
                break
            step = np.zeros(mu.size)
            step[free] = vectors @ (along / curvature)
            step *= min(1.0, 0.7 / float(np.abs(step).max()))
            for _ in range(12):
                inside = np.clip(mu + step, self.box.low, self.box.high)
                trial = np.where(positive, inside, ZERO)
                new = yield trial
                if new[0] > value:
                    break
                step /= 3
            else:
                break
            small = np.abs(trial - mu).max() < 1e-9
            mu, (value, grad, hess) = trial, new
            if small:
                break
        return value, mu
