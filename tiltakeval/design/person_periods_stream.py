"""Person-periods in the engine, visited batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.design.person_periods import BATCH, Batch
from tiltakeval.engine import Engine


def column(rows: pa.Table | pa.RecordBatch, name: str, kind: Any = np.int64) -> NDArray:
    """A column as an array of the given type."""
    return rows[name].to_numpy(zero_copy_only=False).astype(kind, copy=False)


@dataclass(frozen=True)
class Stream:
    """The rows of ``kept`` (person, key, time, event and, where given, cluster, weight, exposure) as
    ``PersonPeriods.batches``: ``keys`` of the codes and numbers of the ``cells``, sorted."""

    engine: Engine
    kept: Table
    keys: NDArray[np.int64]
    cells: NDArray[np.int64]
    periods: int
    persons: NDArray[np.int64]
    clusters: NDArray[np.int64]

    def __call__(self) -> Iterator[Batch]:
        code_at, cell_at = Finder.of(self.keys), Finder.of(self.cells)
        person_at, cluster_at = Finder.of(self.persons), Finder.of(self.clusters)
        for rows in self.engine.arrow_batches(self.kept, rows=BATCH):
            code = code_at(column(rows, "key"))
            person = column(rows, "person")
            names = rows.schema.names
            place = person_at(person)
            weight = column(rows, "weight", np.float64) if "weight" in names else None
            weight = np.ones(code.size) if weight is None else weight
            spent = weight
            if "exposure" in names:
                spent = weight * column(rows, "exposure", np.float64)
            yield Batch(
                place,
                cluster_at(column(rows, "cluster")) if "cluster" in names else place,
                cell_at(code * self.periods + column(rows, "time")),
                column(rows, "event"),
                weight,
                spent,
            )


@dataclass(frozen=True)
class Finder:
    """Positions of numbers in a sorted list: by a table where the range is small enough."""

    values: NDArray[np.int64]
    table: NDArray[np.int32] | None

    @classmethod
    def of(cls, values: NDArray[np.int64]) -> Finder:
        span = int(values[-1] - values[0]) + 1
        if span > max(8 * values.size, 4_000_000):
            return cls(values, None)
        table = np.zeros(span, dtype=np.int32)
        table[values - values[0]] = np.arange(values.size)
        return cls(values, table)

    def __call__(self, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.table is None:
            return np.searchsorted(self.values, wanted)
        return self.table[wanted - self.values[0]].astype(np.int64)
