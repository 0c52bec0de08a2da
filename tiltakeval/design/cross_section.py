"""Units with a baseline and outcomes at one or more horizons: what the weighting estimators see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.attrition import Attrition

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

#: The closed vocabulary of estimands.
ESTIMANDS = (
    "now_vs_wait",
    "vs_no_programme",
    "vs_without_this_programme",
    "vs_programme_b",
    "itt_offer",
    "late",
    "vs_comparison",  # a prepared cross-section: treated against its declared comparison group
)
COMPARISON = "none"


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """A pre-specified grouping of the units: level names and a code per unit (-1 where missing)."""

    levels: tuple[str, ...]
    codes: Ints

    def label(self, name: str, level: int) -> str:
        """The subgroup's label in results, ``name=level``."""
        return f"{name}={self.levels[level]}"


@dataclass(frozen=True, kw_only=True)
class CrossSection:
    """n units, A arms (arm 0 is the comparison), p covariates, T horizons, K outcomes.

    ``outcomes`` is [n, T, K] float32 with NaN where the month isn't observed for the unit (end of
    data, emigration), never a stand-in for zero. ``eligible`` [n, A] says which arms the unit could
    legally have entered. ``censor_weight`` [n, T, A] (None unless the estimand needs it) multiplies a
    *comparison* unit's outcome in contrasts with arm a: 0 from the month it leaves the comparison
    by starting a programme, else the inverse probability of having remained. ``person`` numbers
    persons densely from 0 (no identifiers); ``office`` likewise or None. ``weight`` are the known
    sampling weights of the units.
    """

    arms: tuple[str, ...]
    arm: Ints
    eligible: NDArray[np.bool_]
    weight: Floats
    person: Ints
    covariates: Floats
    covariate_names: tuple[str, ...]
    outcomes: Floats
    outcome_names: tuple[str, ...]
    units: tuple[str, ...]
    horizons: tuple[int | None, ...]
    population: str
    estimand: str
    time_origin: str
    office: Ints | None = None
    placebo: Floats | None = None
    placebo_names: tuple[str, ...] = ()
    placebo_horizons: tuple[int, ...] = ()
    censor_weight: Floats | None = None
    subgroups: Mapping[str, Subgroup] = field(default_factory=dict)
    attrition: Attrition = field(default_factory=Attrition)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        n, arms = self.n, len(self.arms)
        shapes = {
            "eligible": (self.eligible, (n, arms)),
            "weight": (self.weight, (n,)),
            "person": (self.person, (n,)),
            "covariates": (self.covariates, (n, len(self.covariate_names))),
            "outcomes": (self.outcomes, (n, len(self.horizons), len(self.outcome_names))),
        }
        if self.office is not None:
            shapes["office"] = (self.office, (n,))
        if self.placebo is not None:
            expected = (n, len(self.placebo_horizons), len(self.placebo_names))
            shapes["placebo"] = (self.placebo, expected)
        if self.censor_weight is not None:
            shapes["censor_weight"] = (self.censor_weight, (n, len(self.horizons), arms))
        for name, group in self.subgroups.items():
            shapes[f"subgroup {name}"] = (group.codes, (n,))
        wrong = [
            f"{name} is {array.shape}, not {shape}"
            for name, (array, shape) in shapes.items()
            if array.shape != shape
        ]
        if wrong:
            raise ValueError("cross-section arrays disagree: " + "; ".join(wrong))
        if len(self.units) != len(self.outcome_names):
            raise ValueError("one unit per outcome is needed")
        if self.estimand not in ESTIMANDS:
            raise unknown("estimand", self.estimand, ESTIMANDS)
        if not np.isfinite(self.covariates).all():
            bad = [
                name
                for name, column in zip(self.covariate_names, self.covariates.T)
                if not np.isfinite(column).all()
            ]
            raise InputError(
                f"missing or infinite values in {len(bad)} covariate(s)",
                where=", ".join(bad[:5]),
                remedy="Fill them by a declared rule, or add an indicator for missing.",
            )
        if not (np.isfinite(self.weight).all() and (self.weight >= 0).all()):
            raise InputError("sampling weights must be finite and not negative", where="weight")

    @property
    def n(self) -> int:
        """Number of units."""
        return int(self.arm.shape[0])

    def counts(self) -> dict[str, int]:
        """Units per arm."""
        found = np.bincount(self.arm, minlength=len(self.arms))
        return {name: int(count) for name, count in zip(self.arms, found)}

    def take(self, keep: NDArray[np.bool_] | Ints) -> CrossSection:
        """The design with a subset of units (a mask or positions); nothing else changes."""

        def cut(array: NDArray) -> NDArray:
            return array[keep]

        return replace(
            self,
            arm=cut(self.arm),
            eligible=cut(self.eligible),
            weight=cut(self.weight),
            person=cut(self.person),
            covariates=cut(self.covariates),
            outcomes=cut(self.outcomes),
            office=None if self.office is None else cut(self.office),
            placebo=None if self.placebo is None else cut(self.placebo),
            censor_weight=None if self.censor_weight is None else cut(self.censor_weight),
            subgroups={
                name: Subgroup(levels=group.levels, codes=cut(group.codes))
                for name, group in self.subgroups.items()
            },
        )
