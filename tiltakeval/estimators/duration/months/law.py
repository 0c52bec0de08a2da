"""What a fitted hazard model must tell for months of work to be computed from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimates.inference import Influence
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
