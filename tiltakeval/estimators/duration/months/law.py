"""What a fitted hazard model must tell for months of work to be computed from it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimates.inference import Influence
from tiltakeval.estimators.duration.months.paths import Rates

Floats = NDArray[np.float64]


class HazardLaw(Protocol):
    """A fitted model's hazards for the participants of one programme, as a function of its parameters.

    ``exits`` names the exits [E] in the order of `Rates`; ``participants`` is how many persons the paths
    are means over; ``labels`` are key columns of the rows (population, programme, subgroup, …).
    """

    exits: tuple[str, ...]
    participants: int
    labels: dict[str, str]

    @property
    def theta(self) -> Floats:
        """The estimated parameters, [P]."""

    def rates(self, theta: Floats, months: int) -> Rates:
        """Hazards of the participants at any parameters."""

    def influence(self, jacobian: Floats) -> Influence:
        """Influence of m numbers with derivatives ``jacobian`` [m, P], in one block over rows 0..m-1."""
