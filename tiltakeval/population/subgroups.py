"""Subgroups fixed in advance; each unit's group is known at time zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import unknown
from tiltakeval.population import covariates as raw
from tiltakeval.population.features import Facts


@dataclass(frozen=True)
class Grouping:
    """A subgroup: level names and the code of each unit, -1 where unknown."""

    levels: tuple[str, ...]
    codes: NDArray[np.int16]


def _banded(values: NDArray, edges: Sequence[int], labels: Sequence[str]) -> Grouping:
    codes = np.searchsorted(np.asarray(edges), values, side="right").astype(np.int16)
    return Grouping(tuple(labels), codes)


def _coded(values: NDArray, labels: Sequence[str]) -> Grouping:
    return Grouping(tuple(labels), values.astype(np.int16))


def _entry_year(f: Facts) -> Grouping:
    years, codes = np.unique(f["k"] // 12, return_inverse=True)
    return Grouping(tuple(str(y) for y in years), codes.astype(np.int16))


#: Subgroups fixed in advance; bounds are in the labels (Meld. St. 33: ages 18-29, 30-59, 60-66).
SUBGROUPS: Mapping[str, Callable[[Facts], Grouping]] = {
    "age_band": lambda f: _banded(f["age_months"] // 12, (30, 60), ("18-29", "30-59", "60-66")),
    "sex": lambda f: _coded(f["female"], ("male", "female")),
    "landgruppe": lambda f: _coded(f["landgruppe"], ("0", "1", "2", "3")),
    "education": lambda f: _coded(
        np.where(f["education"] == 3, -1, f["education"]), raw.EDUCATION[:3]
    ),
    "diagnosis": lambda f: _coded(f["diagnosis"], raw.DIAGNOSIS),
    "innsatsgruppe": lambda f: _coded(f["innsatsgruppe"], raw.INNSATSGRUPPER),
    "registered_band": lambda f: _banded(f["registered_months"], (6, 12), ("0-5", "6-11", "12+")),
    "work_history": lambda f: _banded(f["worked_24"], (1, 13), ("0", "1-12", "13-24")),
    "entry_year": _entry_year,
}


def subgroup(name: str) -> Callable[[Facts], Grouping]:
    """The subgroup of that name. Raises InputError with the nearest name."""
    if name not in SUBGROUPS:
        raise unknown("subgroup", name, SUBGROUPS, where="subgroups")
    return SUBGROUPS[name]
