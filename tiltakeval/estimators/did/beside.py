"""Rows of a result that aren't averages of cells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.level import Support
from tiltakeval.estimators.did.reference import TERM
from tiltakeval.estimators.did.two_way.kept import Regressed

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Beside:
    """A row with its ``labels`` (term, horizon), estimate, influence ``z`` [size] by group and support;
    or the reason there is no estimate. ``of`` is the regression whose coefficients make it.
    Or it is the row of the ``reference``."""

    labels: Mapping[str, Any]
    support: Support
    estimate: float = np.nan
    z: Floats | None = None
    reason: str = ""
    of: Regressed | None = None
    reference: bool = False


def reference_beside(event: int, support: Support, **labels: Any) -> Beside:
    """The row of the event time that is left out, in the series with ``labels``."""
    return Beside({"term": TERM, **labels, "horizon": event}, support, 0.0, reference=True)


def with_reference(
    rows: Iterable[Beside], base: int | None, terms: Collection[str]
) -> Iterator[Beside]:
    """The rows; where event time ``base`` is every effect's base, with its row at its place in each
    series of ``terms`` over event time that has an estimate."""
    for labels, found in groupby(rows, _series):
        series = list(found)
        known = any(row.z is not None for row in series)
        if base is None or labels["term"] not in terms or not known:
            yield from series
            continue
        yield from (row for row in series if row.labels["horizon"] < base)
        yield reference_beside(base, series[0].support, **labels)
        yield from (row for row in series if row.labels["horizon"] >= base)


def _series(row: Beside) -> dict[str, Any]:
    return {name: value for name, value in row.labels.items() if name != "horizon"}
