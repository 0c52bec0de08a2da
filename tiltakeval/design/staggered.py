"""Staggered roll-outs: units seen over periods, each treated from some period on, or never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.months import month_label

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class StaggeredPanel:
    """n units, T periods, K outcomes, p covariates that don't vary with time.

    ``outcomes`` [n, T, K] float64, NaN where the unit has no row or no value. ``periods`` [T] are
    increasing whole numbers (months as ``year * 12 + month - 1`` when ``monthly``). ``first`` [n] is the
    period from which the unit is treated, for good; infinite where it never is. ``cluster`` [n] numbers
    the clusters of errors densely; ``cluster_kind`` says what they are; with ``other_cluster`` [n], of
    which there are no fewer, errors are clustered both ways (`estimates.inference.Form`). ``weight`` [n]
    > 0. ``entry`` and ``override`` say who decides when treatment starts (`entry.ENTRIES`).
    ``varying`` [n, T, q] are numeric covariates that change over time, NaN where not known.
    With ``parts_of_year`` 4 or 2 periods are quarters or half-years, year * parts + part from 0.
    ``unit_names`` [n] may be shown (offices), and are empty otherwise.
    """

    outcomes: Floats
    outcome_names: tuple[str, ...]
    units: tuple[str, ...]
    periods: NDArray[np.int64]
    first: Floats
    covariates: Floats
    covariate_names: tuple[str, ...]
    weight: Floats
    cluster: NDArray[np.int64]
    subgroups: Mapping[str, Subgroup]
    population: str
    estimand: str = "vs_comparison"
    programme: str = "treated"
    time_origin: str = "start"
    cluster_kind: str = "unit"
    other_cluster: NDArray[np.int64] | None = None
    varying: Floats | None = None
    varying_names: tuple[str, ...] = ()
    monthly: bool = False
    attrition: Attrition = field(default_factory=Attrition)
    fingerprint: str = ""
    entry: str | None = None
    override: str | None = None
    parts_of_year: int = 1
    unit_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise InputError where covariates that vary, or names, are those of other units."""
        if self.unit_names and len(self.unit_names) != self.n:
            raise InputError(
                f"{len(self.unit_names)} names were given for {self.n} units", where="unit_names"
            )
        if self.varying is not None and self.varying.shape[:2] != self.outcomes.shape[:2]:
            raise InputError(
                f"covariates that vary have {self.varying.shape[0]} units, outcomes "
                f"{self.outcomes.shape[0]}",
                where="varying",
            )

    @property
    def n(self) -> int:
        """Number of units."""
        return int(self.first.size)

    @property
    def cohorts(self) -> Floats:
        """The first treated periods there are, in order; infinity (never) left out."""
        found = np.unique(self.first)
        return found[np.isfinite(found)]

    def label(self, period: float) -> str:
        """A period or cohort as it is shown: YYYY-MM for months, YYYY-Q1 for quarters, YYYY-H1."""
        if self.parts_of_year > 1:
            year, part = divmod(int(period), self.parts_of_year)
            return f"{year:04d}-{'Q' if self.parts_of_year == 4 else 'H'}{part + 1}"
        return month_label(int(period)) if self.monthly else str(int(period))
