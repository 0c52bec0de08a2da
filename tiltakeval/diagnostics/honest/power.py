"""What a test of trends before treatment can see, and what slips through it.

Roth (2022, American Economic Review: Insights 4:305-322): a straight difference in trends,
delta_t = slope * t with t periods since the base, and two tests of the estimates before it:
jointly (Hotelling's T squared as in `diagnostics.placebo.wald`) and one by one (none is
significant). For each, the slope found with a given probability, the bias that slope puts on the
effect, and the bias among the studies that pass: l'delta + Cov(l'beta, before) V^-1 (E[before |
passed] - E[before]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats
from scipy.stats import qmc

from tiltakeval.diagnostics.honest.event_study import EventStudy, require_full_rank
from tiltakeval.errors import InputError

Floats = NDArray[np.floating]
TESTS = ("joint", "single")


@dataclass(frozen=True)
class Power:
    """A slope a period, the test's power against it, and the bias of the target: in all studies
    (``bias``) and in those that pass the test (``bias_if_passed``).
    """

    test: str
    power: float
    slope: float
    bias: float
    bias_if_passed: float


def pretrend_power(
    study: EventStudy,
    *,
    power: Sequence[float] = (0.5, 0.8),
    level: float = 0.05,
    draws: int = 4096,
    seed: int = 0,
) -> list[Power]:
    """For each test and wanted power, the (positive) slope that is found with that power.

    ``level`` is the size of the joint test and of each single one. The joint test is exact: a
    non-central F, or chi-square where ``study.groups`` is infinite; it is left out with no more
    groups than periods before treatment. The single tests integrate over a box by ``draws``
    quasi-random points (Genz 1992), always the same for one ``seed``. Raises InputError for a
    singular covariance before treatment.
    """
    if not all(level < p < 1 for p in power):
        raise InputError("a power to reach lies between the test's level and 1", where="power")
    if not 0 < level < 1:
        raise InputError("the level must lie between 0 and 1", where="level")
    require_full_rank(study, "power of the test before treatment")
    tests = []
    if study.groups - study.before > 1:
        tests.append(("joint", _Joint(study, level)))
    tests.append(("single", _Single(study, level, draws, seed)))  # type: ignore[arg-type]
    out = []
    for name, test in tests:
        for wanted in power:
            slope = test.slope(wanted)
            reached, mean = test.passed(slope)
            bias = float(study.target @ study.times) * slope
            k = study.before
            before = study.sigma[:k, :k]
            weights = np.linalg.solve(before, study.sigma[:k] @ study.target)
            moved = float(weights @ (mean - slope * study.times[:k]))
            out.append(Power(name, 1.0 - reached, slope, bias, bias + moved))
    return out


class _Joint:
    """Hotelling's test; with a non-centrality n, E[before | passed] is its mean times a ratio.

    E[z; |z|^2 <= c] = mean * P(chi2_{k+2}(n) <= c), and so for any c independent of z.
    """

    def __init__(self, study: EventStudy, level: float) -> None:
        k = study.before
        self.k, self.rest = k, study.groups - k
        self.times = study.times[:k].astype(np.float64)
        self.norm = float(self.times @ np.linalg.solve(study.sigma[:k, :k], self.times))
        known = np.isinf(study.groups)
        self.cut = stats.chi2.isf(level, k) if known else stats.f.isf(level, k, self.rest)

    def _below(self, k: int, nc: float) -> float:
        if np.isinf(self.rest):
            return float(stats.ncx2.cdf(self.cut, k, nc))
        return float(stats.ncf.cdf(self.cut * self.k / k, k, self.rest, nc))

    def slope(self, power: float) -> float:
        high = 1.0
        while 1 - self._below(self.k, high) < power:
            high *= 2
        nc = optimize.brentq(lambda n: 1 - self._below(self.k, n) - power, 1e-12, high, xtol=1e-12)
        return float(np.sqrt(nc / self.norm))

    def passed(self, slope: float) -> tuple[float, Floats]:
        nc = slope**2 * self.norm
        passing = self._below(self.k, nc)
        return passing, slope * self.times * self._below(self.k + 2, nc) / passing


class _Single:
    """No estimate before treatment is significant: a box, integrated coordinate by coordinate."""

    def __init__(self, study: EventStudy, level: float, draws: int, seed: int) -> None:
        k = study.before
        self.times = study.times[:k].astype(np.float64)
        self.root = np.linalg.cholesky(study.sigma[:k, :k])
        residual = study.groups - 1
        quantile = (
            stats.norm.isf(level / 2) if np.isinf(residual) else stats.t.isf(level / 2, residual)
        )
        self.half = float(quantile) * np.sqrt(np.diag(study.sigma)[:k])
        power = max(int(np.ceil(np.log2(max(draws, 2)))), 1)
        points = qmc.Sobol(k, scramble=True, rng=np.random.default_rng(seed)).random_base2(power)
        self.points = np.clip(points, 1e-12, 1 - 1e-12)

    def passed(self, slope: float) -> tuple[float, Floats]:
        """P(all within), and E[before | all within] by importance weights."""
        mean = slope * self.times
        drawn = np.zeros_like(self.points)
        weight = np.ones(len(self.points))
        for i in range(len(mean)):
            shift = mean[i] + drawn[:, :i] @ self.root[i, :i]
            low = special.ndtr((-self.half[i] - shift) / self.root[i, i])
            high = special.ndtr((self.half[i] - shift) / self.root[i, i])
            drawn[:, i] = special.ndtri(
                np.clip(low + self.points[:, i] * (high - low), 1e-300, 1 - 1e-16)
            )
            weight *= high - low
        total = weight.sum()
        if total <= 0:
            return 0.0, mean
        return float(weight.mean()), mean + (weight @ drawn / total) @ self.root.T

    def slope(self, power: float) -> float:
        def gap(slope: float) -> float:
            return 1 - self.passed(slope)[0] - power

        if (
            gap(0.0) >= 0
        ):  # many periods, each tested by itself, reject that often without any trend
            return 0.0
        high = float((self.half / np.abs(self.times)).min())
        while gap(high) < 0:
            high *= 2
        return float(optimize.brentq(gap, 0.0, high, xtol=1e-12 * high, rtol=1e-10))
