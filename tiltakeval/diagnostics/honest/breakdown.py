"""How large a violation must be before an interval no longer excludes zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tiltakeval.diagnostics.honest.event_study import EventStudy
from tiltakeval.diagnostics.honest.relative import Interval, relative_interval
from tiltakeval.diagnostics.honest.smooth import smooth_interval
from tiltakeval.errors import InputError

#: The Mbar a search goes through first, so that the smallest one that fails is found.
MBARS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Breakdown:
    """The largest violation at which an interval excludes ``null``.

    ``value`` is None where ``found`` isn't ``value``: ``none`` (not even parallel, or straight,
    trends exclude it) or ``beyond_grid`` (every violation up to ``searched`` does).
    """

    value: float | None
    found: Literal["value", "none", "beyond_grid"]
    searched: float


def relative_breakdown(
    study: EventStudy,
    *,
    null: float = 0.0,
    level: float = 0.95,
    mbars: Sequence[float] = MBARS,
    tolerance: float = 1e-3,
) -> Breakdown:
    """The breakdown Mbar of Delta^RM: the first of ``mbars`` whose interval holds ``null`` is
    found, and the step before it halved down to ``tolerance``.
    """
    grid = sorted({0.0, *(float(m) for m in mbars)})

    def holds(m: float) -> bool:
        return relative_interval(study, m, level=level, tolerance=1e-3).holds(null)

    return _search(holds, grid, tolerance)


def smooth_breakdown(
    study: EventStudy, *, null: float = 0.0, level: float = 0.95, tolerance: float = 1e-3
) -> Breakdown:
    """The breakdown M of Delta^SD, to ``tolerance`` of itself; it always exists or is ``none``."""

    def interval(m: float) -> Interval:
        return smooth_interval(study, m, level=level)

    if interval(0.0).holds(null):
        return Breakdown(None, "none", 0.0)
    high = study.std_error
    for _ in range(200):
        if interval(high).holds(null):
            break
        high *= 2.0
    else:
        return Breakdown(None, "beyond_grid", high)
    low = high / 2.0
    while low > 1e-12 * high and interval(low).holds(null):
        low /= 2.0
    return _search(lambda m: interval(m).holds(null), [0.0, low, 2.0 * low], tolerance * low)


def _search(holds: Callable[[float], bool], grid: list[float], tolerance: float) -> Breakdown:
    if tolerance <= 0:
        raise InputError("the tolerance must be above 0", where="breakdown")
    low = None
    for high in grid:
        if holds(high):
            break
        low = high
    else:
        return Breakdown(None, "beyond_grid", grid[-1])
    if low is None:
        return Breakdown(None, "none", grid[-1])
    while high - low > tolerance:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return Breakdown(low, "value", grid[-1])
