"""Person-periods collapsed to cells: what grouped hazard models see.

A cell is a covariate code x time, with its trials, time at risk and events by transition: all that a
hazard model's likelihood needs, however many rows there are. Errors by person need the rows once
more; ``batches`` visits them, each pointing to its cell, without keeping them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.estimates.attrition import Attrition

Floats = NDArray[np.float64]

#: Rows visited at a time.
BATCH = 1_000_000


@dataclass(frozen=True)
class Batch:
    """Rows of person-periods, in any order: ``person`` and ``cluster`` [n] positions in 0..persons-1
    and in ``PersonPeriods.clusters``, ``cell`` [n], ``event`` [n] (0 none, j = transitions[j - 1]),
    ``weight`` [n] and ``exposure`` [n] (weight x time at risk)."""

    person: NDArray[np.int64]
    cluster: NDArray[np.int64]
    cell: NDArray[np.int64]
    event: NDArray[np.integer]
    weight: Floats
    exposure: Floats


@dataclass(frozen=True)
class StatusLabel:
    """What a status column is of: a programme, counted from a decision ("vedtak"), "start" or "end",
    at ``horizon`` months since (the first of ``period``)."""

    programme: str
    time_origin: str = "none"
    horizon: int | None = None
    period: str = ""


@dataclass(frozen=True, kw_only=True)
class PersonPeriods:
    """C covariate codes, M cells, K transitions.

    ``x`` [C, p] covariates by code, ``covariate_names`` [p], ``programme`` the label of those that are
    programme status; ``enters`` [K, p] which covariate enters which transition's hazard; ``at_risk``
    [C, K]; ``subgroups`` hold codes [C]. Cells: ``code``, ``time`` [M] (position in ``edges`` [T + 1],
    the time since the spell's origin at which each period begins), ``trials`` [M] (weighted rows),
    ``exposure`` [M] (weighted time at risk), ``events`` [M, K] (weighted), ``counts`` [M, K] (rows).
    ``whole``: every row covers its whole period, as discrete-time models need. ``clusters`` the
    clusters' numbers, sorted.
    """

    x: NDArray
    covariate_names: tuple[str, ...]
    programme: Mapping[str, StatusLabel]
    enters: NDArray[np.bool_]
    at_risk: NDArray[np.bool_]
    transitions: tuple[str, ...]
    code: NDArray[np.int64]
    time: NDArray[np.int64]
    trials: Floats
    exposure: Floats
    events: Floats
    counts: Floats
    edges: Floats
    whole: bool
    rows: int
    persons: int
    clusters: NDArray[np.int64]
    batches: Callable[[], Iterator[Batch]]
    cluster_kind: str = "person"
    subgroups: Mapping[str, Subgroup] = field(default_factory=dict)
    population: str = "file"
    estimand: str = "vs_comparison"
    time_origin: str = "none"
    attrition: Attrition = field(default_factory=Attrition)
    fingerprint: str = ""

    @property
    def cells(self) -> int:
        """Number of cells."""
        return int(self.code.shape[0])

    @property
    def periods(self) -> int:
        """Number of time periods."""
        return int(self.edges.shape[0]) - 1

    def support(self, masks: NDArray[np.bool_]) -> NDArray[np.int64]:
        """[Q] how many persons ever have a code of each mask [Q, C]; one pass over the rows."""
        seen = np.zeros((len(masks), self.persons), dtype=bool)
        for batch in self.batches():
            code = self.code[batch.cell]
            # rows of a person often lie together with one code: visit each stretch once
            fresh = np.ones(code.size, dtype=bool)
            fresh[1:] = (code[1:] != code[:-1]) | (batch.person[1:] != batch.person[:-1])
            code, person = code[fresh], batch.person[fresh]
            for mask, found in zip(masks, seen):
                found[person[mask[code]]] = True
        return seen.sum(axis=1)


def unique_codes(
    columns: NDArray[np.floating], extra: NDArray[np.integer] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row of each distinct combination of the columns' values (and ``extra`` [n, q]), and the
    code [n] of each row. When most rows differ they are left as they are: a code a row."""
    n = len(columns)
    with np.errstate(over="ignore"):
        h = np.zeros(n, dtype=np.uint64)
        for part in (columns, extra):
            if part is None:
                continue
            for j in range(part.shape[1]):
                value = np.ascontiguousarray(part[:, j], dtype=np.float64) + 0.0  # -0.0 is 0.0
                h = (h ^ value.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
                h ^= h >> np.uint64(29)
                h *= np.uint64(0xBF58476D1CE4E5B9)
                h ^= h >> np.uint64(32)
    _, first, code = np.unique(h, return_index=True, return_inverse=True)
    code = code.reshape(-1)
    same = len(first) < 0.7 * n
    for part in (columns, extra) if same else ():
        for j in range(part.shape[1] if part is not None else 0):
            assert part is not None
            if not np.array_equal(part[first, j][code], part[:, j]):  # two combinations, one hash
                same = False
    if not same:
        return np.arange(n), np.arange(n)
    return first.astype(np.int64), code.astype(np.int64)


@dataclass(frozen=True)
class Pieces:
    """Rows in memory: ``code`` of covariates, ``time`` (period), ``event``, ``weight``, ``exposure``
    (weight x time at risk), ``person`` (dense) and ``cluster`` (any number), [n] each."""

    code: NDArray[np.int64]
    time: NDArray[np.int64]
    event: NDArray[np.integer]
    weight: Floats
    exposure: Floats
    person: NDArray[np.int64]
    cluster: NDArray[np.int64]

    def gathered(self, *, codes: int, periods: int, transitions: int) -> dict[str, Any]:
        """The fields of ``PersonPeriods`` about cells and rows. Where there is a code a row, rows are
        cells."""
        n = self.code.size
        own = codes >= 0.7 * n
        if own:
            cell, m_code, m_time = np.arange(n), self.code, self.time
        else:
            cell, m_code, m_time = cells_of(self.code, self.time, codes, periods)
        m = m_code.size

        def sums(values: Floats) -> Floats:
            if own:
                return values
            return np.bincount(cell, weights=values, minlength=m).astype(np.float64)

        happened = [self.event == j + 1 for j in range(transitions)]
        clusters, of_row = np.unique(self.cluster, return_inverse=True)
        of_row = of_row.reshape(-1).astype(np.int64)

        def batches() -> Iterator[Batch]:
            for i in range(0, n, BATCH):
                at = slice(i, i + BATCH)
                yield Batch(
                    self.person[at],
                    of_row[at],
                    cell[at],
                    self.event[at],
                    self.weight[at],
                    self.exposure[at],
                )

        return {
            "code": m_code.astype(np.int64),
            "time": m_time.astype(np.int64),
            "trials": sums(self.weight),
            "exposure": sums(self.exposure),
            "events": np.stack([sums(self.weight * hit) for hit in happened], axis=1),
            "counts": np.stack([sums(hit * 1.0) for hit in happened], axis=1),
            "rows": n,
            "persons": int(self.person.max()) + 1,
            "clusters": clusters.astype(np.int64),
            "batches": batches,
        }


def cells_of(
    code: NDArray[np.int64], time: NDArray[np.int64], codes: int, periods: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The cell [n] of each row, and the cells' codes and times."""
    key = code * periods + time
    if codes * periods <= max(4 * key.size, 1_000_000):
        used = np.flatnonzero(np.bincount(key, minlength=codes * periods))
        at = np.zeros(codes * periods, dtype=np.int64)
        at[used] = np.arange(used.size)
        cell = at[key]
    else:
        used, cell = np.unique(key, return_inverse=True)
        cell = cell.reshape(-1)
    return cell, used // periods, used % periods
