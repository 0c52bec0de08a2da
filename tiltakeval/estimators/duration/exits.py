"""Remaining and leaving over time, by arm: Kaplan-Meier and Aalen-Johansen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tiltakeval.design.durations import Durations
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.duration.arm_weights import Adjust
from tiltakeval.estimators.duration.curve_rows import (
    Wanted,
    estimate_curves,
    every_time,
    whole_times,
)
from tiltakeval.estimators.duration.intervals import Interval, check_interval
from tiltakeval.estimators.duration.product_limit import Ties


@dataclass(frozen=True, kw_only=True)
class KaplanMeier:
    """Probability of remaining beyond each time (Kaplan & Meier 1958), for each arm and subgroup.

    ``exit`` names the exit that counts (others are then censoring); left out, any exit does.
    ``times`` are whole times to report, by default every one up to the longest spell (at most 120).
    ``ties`` says whether spells censored at a time count as at risk of the exits at that time.
    ``adjust`` weights the arms by their propensity to be alike in the design's covariates: ``att``
    (each programme's participants; the default where there are covariates), ``ate`` (everybody) or
    ``none``; ``floor`` as in ``AIPW``. ``interval`` is the pointwise interval: plain, loglog, arcsine
    or wilson; bands are on the same scale. Differences between each arm and the first are rows with
    term ``survival_difference``; under ``att`` the weighted comparison is ``survival_comparison``.
    """

    exit: str | None = None
    times: Sequence[int] | int = ()
    ties: Ties = "exits_first"
    adjust: Adjust = "auto"
    floor: float = 0.01
    interval: Interval = "wilson"
    level: float = 0.95
    bands: bool = True

    def estimate(self, design: Durations) -> Estimates:
        """Rows by arm, subgroup and time. Raises InputError."""
        check_interval(self.interval)
        if self.exit is not None and self.exit not in design.event_names:
            raise unknown("exit", self.exit, design.event_names, where="exit")
        code = design.event
        if self.exit is not None:
            code = np.where(code == design.event_names.index(self.exit) + 1, 1, 0)
        else:
            code = np.minimum(code, 1)
        return estimate_curves(
            self,
            design,
            code,
            [Wanted("survival", "survival", (self.exit or single_exit(design),), design.unit)],
            whole_times(self.times, every_time(design)),
            key="kaplan_meier",
        )


@dataclass(frozen=True, kw_only=True)
class AalenJohansen:
    """Probability of having left by each exit by each time (Aalen & Johansen 1978).

    Ties between exits are exact. Options as in ``KaplanMeier``; differences between arms have term
    ``cumulative_incidence_difference``.
    """

    times: Sequence[int] | int = ()
    ties: Ties = "exits_first"
    adjust: Adjust = "auto"
    floor: float = 0.01
    interval: Interval = "wilson"
    level: float = 0.95
    bands: bool = True

    def estimate(self, design: Durations) -> Estimates:
        """Rows by arm, exit, subgroup and time. Raises InputError."""
        check_interval(self.interval)
        return estimate_curves(
            self,
            design,
            design.event,
            [Wanted("incidence", "cumulative_incidence", design.event_names, design.unit)],
            whole_times(self.times, every_time(design)),
            key="aalen_johansen",
        )


def single_exit(design: Durations) -> str:
    """What leaving is called where exits aren't told apart. Raises InputError without any."""
    if not (design.event > 0).any():
        raise InputError("every spell is censored", where="event")
    return design.event_names[0] if len(design.event_names) == 1 else "any_exit"
