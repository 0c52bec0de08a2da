"""Spells until an exit: what the duration estimators see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.estimates.attrition import Attrition


@dataclass(frozen=True, kw_only=True)
class Durations:
    """n spells: ``duration`` [n] > 0, ``event`` [n] 0 = censored, 1.. = ``event_names``, and arms.

    ``entry`` [n] is the time from which the spell is observed (left truncation), 0 by default.
    """

    duration: NDArray[np.float64]
    event: NDArray[np.int16]
    event_names: tuple[str, ...]
    arm: NDArray[np.int16]
    arms: tuple[str, ...]
    weight: NDArray[np.float64]
    person: NDArray[np.int64]
    entry: NDArray[np.float64]
    subgroups: Mapping[str, Subgroup]
    population: str
    estimand: str = "vs_comparison"
    time_origin: str = "none"
    unit: str = "share"
    attrition: Attrition = field(default_factory=Attrition)
    fingerprint: str = ""

    @property
    def n(self) -> int:
        """Number of spells."""
        return int(self.duration.shape[0])
