"""What a fitted hazard model must tell for months of work to be computed from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimates.inference import Influence
from tiltakeval.estimators.duration.mixture.averaging import averaged
from tiltakeval.estimators.duration.months.paths import Paths, Rates, paths

Floats = NDArray[np.float64]
#: Numbers [..., m] read off paths [..., H + 1, E], linear in them but for a constant.
Numbers = Callable[[Paths], Floats]
#: Step of central differences, relative to a parameter above 1.
STEP = 1e-5


class HazardLaw(Protocol):
    """A fitted model's hazards for a programme's participants, as a function of its parameters."""

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the exits [E], in the order of `Rates`."""

    @property
    def participants(self) -> int:
        """How many persons the paths stand for."""

    @property
    def labels(self) -> dict[str, str]:
        """Key columns of the rows (population, programme, subgroup, …)."""

    @property
    def theta(self) -> Floats:
        """The estimated parameters, [P]."""

    def rates(self, theta: Floats, months: int) -> Rates:
        """Hazards of the participants at any parameters."""

    def derivatives(self, numbers: Numbers, months: int) -> Floats:
        """[m, P] derivatives of numbers read off the mean paths, by the parameters."""

    def influence(self, jacobian: Floats) -> Influence:
        """Influence of m numbers with derivatives ``jacobian`` [m, P], in one block over rows 0..m-1."""


@dataclass(frozen=True)
class Averaged:
    """Several fits of the same participants as one law, each with its weight (they add up to one)."""

    laws: tuple[HazardLaw, ...]
    weights: tuple[float, ...]

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the exits [E]."""
        return self.laws[0].exits

    @property
    def participants(self) -> int:
        """How many persons the paths stand for."""
        return self.laws[0].participants

    @property
    def labels(self) -> dict[str, str]:
        """Key columns of the rows."""
        return self.laws[0].labels

    def told(self, numbers: Numbers, months: int) -> tuple[Floats, Influence]:
        """Means of the laws' numbers, and their influence, widened by the spread between laws."""
        found = [told(law, numbers, months) for law in self.laws]
        key = next(iter(found[0][1].values))
        value, influence = averaged(
            self.weights,
            [v for v, _ in found],
            [np.asarray(z.values[key], dtype=np.float64) for _, z in found],
        )
        return value, replace(found[0][1], values={key: influence})


def told(law: HazardLaw | Averaged, numbers: Numbers, months: int) -> tuple[Floats, Influence]:
    """Numbers [m] read off the mean paths, and their influence."""
    if isinstance(law, Averaged):
        return law.told(numbers, months)
    value = numbers(paths(law.rates(law.theta, months)))
    return value, law.influence(law.derivatives(numbers, months))


def by_differences(law: HazardLaw, numbers: Numbers, months: int) -> Floats:
    """[m, P] derivatives by central differences, parameter by parameter: for laws with few of them."""
    at = law.theta
    columns = []
    for k in range(at.size):
        change = np.zeros(at.size)
        change[k] = STEP * max(1.0, abs(at[k]))
        up = numbers(paths(law.rates(at + change, months)))
        down = numbers(paths(law.rates(at - change, months)))
        columns.append((up - down) / (2 * change[k]))
    return np.column_stack(columns)
