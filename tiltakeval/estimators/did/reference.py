"""The event time all effects are measured from, as a row of its own.

It is zero by definition and has no error: status ``reference``, an estimate of 0, no influence. Tests,
bands, means and sums over event time are of rows with status ``ok`` and leave it out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.chosen import Asked
from tiltakeval.estimators.did.plan import Cell

#: Status of the row.
REFERENCE = "reference"
TERM = "effect_by_event_time"


def reference_of(
    periods: NDArray[np.int64], cells: Iterable[Cell], asked: Asked | None = None
) -> int | None:
    """The event time of the base period of ``cells`` that have one, if they share it (`shared_base`)
    and the user doesn't look elsewhere."""
    event = shared_base(
        (int(periods[cell.b] - cell.cohort), int(periods[cell.t] - cell.cohort))
        for cell in cells
        if cell.b >= 0
    )
    return event if event is None or asked is None or asked.shows(event) else None


def shared_base(cells: Iterable[tuple[int, int]]) -> int | None:
    """The event time of the base, from each cell's base and own event time; None where cohorts have it
    at different ones (a period is missing) or where it is an event time of other cohorts."""
    pairs = list(cells)
    bases = {base for base, _ in pairs}
    return bases.pop() if len(bases) == 1 and not bases & {own for _, own in pairs} else None


def reference_row(event: int, term: str = TERM) -> dict[str, Any]:
    """What is particular to the row."""
    return {"term": term, "horizon": event, "estimate": 0.0, "status": REFERENCE}
