"""Remaining and leaving over time, by arm: Kaplan-Meier and Aalen-Johansen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiltakeval.design.durations import Durations
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.duration.curve_options import CurveOptions, every_time, whole_times
from tiltakeval.estimators.duration.curve_rows import Wanted, estimate_curves


@dataclass(frozen=True, kw_only=True)
class KaplanMeier(CurveOptions):
    """Probability of remaining beyond each time (Kaplan & Meier 1958), for each arm and subgroup.

    ``exit`` names the exit that counts (others are then censoring); left out, any exit does.
    ``times`` are by default every whole time up to the longest spell (at most 120); other options as in
    ``CurveOptions``. Differences between each arm and the first are rows with term
    ``survival_difference``; under ``att`` the weighted comparison is ``survival_comparison``.
    """

    exit: str | None = None

    def estimate(self, design: Durations) -> Estimates:
        """Rows by arm, subgroup and time. Raises InputError."""
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
class AalenJohansen(CurveOptions):
    """Probability of having left by each exit by each time (Aalen & Johansen 1978).

    Ties between exits are exact. ``times`` as in ``KaplanMeier``, other options as in ``CurveOptions``;
    differences between arms have term ``cumulative_incidence_difference``.
    """

    def estimate(self, design: Durations) -> Estimates:
        """Rows by arm, exit, subgroup and time. Raises InputError."""
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
