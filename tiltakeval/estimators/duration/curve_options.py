"""The options that all curves share, and the times they are read at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.durations import Durations
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.duration.arm_weights import Adjust
from tiltakeval.estimators.duration.intervals import Interval, check_interval
from tiltakeval.estimators.duration.product_limit import Ties

MAX_TIMES = 120
TIES = ("exits_first", "censoring_first")


@dataclass(frozen=True, kw_only=True)
class CurveOptions:
    """What all curves can be asked.

    ``times`` are whole times to report, ``ties`` says whether spells censored at a time count as at
    risk of the exits at that time. ``adjust`` weights the arms by their propensity to be alike in the
    design's covariates: ``att`` (each programme's participants; the default where there are
    covariates), ``ate`` (everybody) or ``none``; ``floor`` as in ``AIPW``. ``interval`` is the
    pointwise interval: plain, loglog, arcsine or wilson; bands are on the same scale.
    """

    times: Sequence[int] | int = ()
    ties: Ties = "exits_first"
    adjust: Adjust = "auto"
    floor: float = 0.01
    interval: Interval = "wilson"
    level: float = 0.95
    bands: bool = True


def check_options(options: CurveOptions) -> None:
    """Raise InputError for a choice there isn't."""
    check_interval(options.interval)
    if options.ties not in TIES:
        raise unknown("order", options.ties, TIES, where="ties")
    if not 0.5 < options.level < 1:
        raise InputError("the level must lie between 0.5 and 1", where="level")


def whole_times(given: Sequence[int] | int, default: NDArray[np.float64]) -> NDArray[np.float64]:
    """The requested times, sorted; whole numbers at least 0. Raises InputError."""
    asked = [given] if isinstance(given, int | float) else list(given)
    if not asked:
        return default
    times = np.array(sorted(set(asked)), dtype=np.float64)
    if (times < 0).any() or (times != np.floor(times)).any():
        raise InputError("times must be whole numbers, at least 0", where="times")
    return times


def every_time(design: Durations) -> NDArray[np.float64]:
    """1, 2, … up to the longest spell, at most ``MAX_TIMES``."""
    longest = int(np.floor(design.duration.max()))
    return np.arange(1, min(max(longest, 1), MAX_TIMES) + 1, dtype=np.float64)
