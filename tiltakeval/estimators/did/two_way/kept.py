"""Regressions kept beside a result, for inference that needs more of them than influence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.two_way.fit import Block, Panel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Fit:
    """One least-squares fit, as `two_way.fit.regress` takes it."""

    panel: Panel
    blocks: Sequence[Block]
    owner: Ints


@dataclass(frozen=True)
class Regressed:
    """Estimates that are linear in the coefficients of ``fits``: ``maps`` [K, r], the coefficients of
    all fits one after another. What estimates weigh by (cohorts' shares and mean covariates) is in
    ``maps`` as given; ``given`` says so where it is estimated."""

    fits: tuple[Fit, ...]
    maps: Floats
    given: str = ""

    def one(self, place: int) -> Regressed:
        """That of one of the estimates."""
        return replace(self, maps=self.maps[:, place : place + 1])

    def times(self, weights: Floats) -> Regressed:
        """Sums of the estimates by ``weights`` [r, s]."""
        return replace(self, maps=self.maps @ weights)


@dataclass(frozen=True)
class Kept:
    """The regression of one outcome and subgroup: the result's ``rows`` [r], and the ``design`` whose
    units its panels have."""

    regressed: Regressed
    rows: Ints
    design: StaggeredPanel


def joined(several: Sequence[Regressed]) -> Regressed:
    """Several as one, with all their estimates in order. Those of the same fits share coefficients."""
    first = {id(one.fits): one for one in reversed(several)}
    starts, k = dict[int, int](), 0
    for key, one in first.items():
        starts[key] = k
        k += one.maps.shape[0]
    ends = np.cumsum([one.maps.shape[1] for one in several])
    maps = np.zeros((k, int(ends[-1])))
    for one, end in zip(several, ends):
        low = starts[id(one.fits)]
        maps[low : low + one.maps.shape[0], end - one.maps.shape[1] : end] = one.maps
    given = next((one.given for one in several if one.given), "")
    return Regressed(tuple(fit for one in first.values() for fit in one.fits), maps, given)
