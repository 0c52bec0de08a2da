"""Restricted mean times: in the state, and lost to each exit, up to given horizons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiltakeval.design.durations import Durations
from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.duration.curve_options import CurveOptions, whole_times
from tiltakeval.estimators.duration.curve_rows import Wanted, estimate_curves
from tiltakeval.estimators.duration.exits import single_exit

HORIZONS = (6, 12, 24, 36)


@dataclass(frozen=True, kw_only=True)
class RestrictedMean(CurveOptions):
    """Mean time in the state up to each horizon, and mean time lost to each exit before it.

    Areas under the product-limit curves: ``time_in_state`` is the integral of S to the horizon
    (Royston & Parmar 2011) and ``time_lost`` by an exit that of its cumulative incidence (Andersen
    2013); the times add up to the horizon. In the spells' time unit. ``times`` are the horizons, by
    default 6, 12, 24 and 36 as far as spells are followed; other options as in ``CurveOptions``
    (intervals are on the scale of the time's share of the horizon).
    Differences between arms have terms ``time_in_state_difference`` and ``time_lost_difference``.
    """

    def estimate(self, design: Durations) -> Estimates:
        """Rows by arm, subgroup and horizon. Raises InputError."""
        longest = design.duration.max()
        default = np.array([t for t in HORIZONS if t <= longest], dtype=np.float64)
        if not len(tuple(np.atleast_1d(self.times))) and not default.size:
            default = np.array([max(np.floor(longest), 1.0)])
        times = whole_times(self.times, default)
        if (times <= 0).any():
            raise InputError("horizons must be above 0", where="times")
        single = single_exit(design)
        return estimate_curves(
            self,
            design,
            design.event,
            [
                Wanted("time_in_state", "time_in_state", (single,), design.time_unit),
                Wanted("time_lost", "time_lost", design.event_names, design.time_unit),
            ],
            times,
            key="restricted_mean",
        )
