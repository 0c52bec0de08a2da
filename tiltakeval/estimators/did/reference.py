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
    """The event time of the base period of ``cells``; None where cohorts have it at different ones (a
    period is missing), where it is an event time of other cohorts, or where the user looks elsewhere."""
    cells = list(cells)
    found = {int(periods[cell.b] - cell.cohort) for cell in cells}
    events = {int(periods[cell.t] - cell.cohort) for cell in cells}
    if len(found) != 1 or found & events:
        return None
    event = found.pop()
    return event if asked is None or asked.shows(event) else None


def reference_row(event: int) -> dict[str, Any]:
    """What is particular to the row."""
    return {"term": TERM, "horizon": event, "estimate": 0.0, "status": REFERENCE}
