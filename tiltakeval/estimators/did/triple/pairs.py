"""The eligible of a cohort against one other group at a time, in panels.

Ortiz-Villavicencio & Sant'Anna (2025, Better Understanding Triple Differences Estimators): with
covariates a triple difference isn't the difference of two differences, as the covariates of the eligible
of the cohort are what every comparison must be held to. It takes three, each with them as the treated:
against the ineligible of the cohort, plus the eligible of a comparison cohort, less its ineligible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.cells.fit import Method, Weighing, effects, weigh
from tiltakeval.estimators.did.cells.leverage import spread
from tiltakeval.estimators.did.level import standard_covariates, too_few
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
#: A group: the place of its cohort among the starts there are, and whether it is eligible.
Group = tuple[int, bool]


@dataclass(frozen=True)
class Pair:
    """An effect with influence summed by label: ``z`` as errors use it and ``raw``, before leverage. The
    first ``treated`` of the units ``at`` are the cohort's eligible; ``odds`` weigh the others. Or the
    ``reason`` there is none."""

    att: float = np.nan
    z: Floats = field(default_factory=lambda: np.empty(0))
    raw: Floats = field(default_factory=lambda: np.empty(0))
    at: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    treated: int = 0
    odds: Floats = field(default_factory=lambda: np.empty(0))
    trimmed: int = 0
    dropped: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Settings:
    """How pairs are compared; see `TripleDifference`."""

    method: Method
    min_clusters: int
    max_propensity: float
    leverage: bool


def groups_of_units(
    design: StaggeredPanel, inside: Bools, eligible: Bools
) -> tuple[Floats, dict[Group, Ints]]:
    """The starts there are in order, and the units of every group."""
    starts = np.unique(design.first)
    code = np.searchsorted(starts, design.first)
    return starts, {
        (c, q): np.flatnonzero(inside & (code == c) & (eligible == q))
        for c in range(starts.size)
        for q in (False, True)
    }


class PanelPairs:
    """Pairs of one outcome among the units ``inside`` [n]; the same units are weighed once."""

    def __init__(
        self,
        design: StaggeredPanel,
        inside: Bools,
        units: Mapping[Group, Ints],
        outcome: int,
        groups: Groups,
        settings: Settings,
    ) -> None:
        self.design, self.units, self.groups, self.settings = design, units, groups, settings
        x, names, self.dropped = standard_covariates(design, inside)
        self.basis = np.concatenate([np.ones((1, design.n)), x.T])
        self.names = (*names, *design.varying_names)
        self.y = np.ascontiguousarray(design.outcomes[:, :, outcome].T)
        self.moving: Floats | None = None
        if design.varying is not None:
            moving = design.varying
            mean = np.nanmean(moving[inside], axis=(0, 1))
            scale = np.nanstd(moving[inside], axis=(0, 1))
            self.moving = np.ascontiguousarray(
                ((moving - mean) / np.where(scale > 0, scale, 1.0)).transpose(2, 1, 0)
            )
        self._kept: dict[tuple[Group, Group, int, bytes], tuple[Weighing, Ints, int, str]] = {}

    def pair(self, own: Group, other: Group, t: int, b: int) -> Pair:
        """The group ``own`` against ``other`` in period ``t``, from the base ``b`` (places)."""
        change = self.y[t] - self.y[b]
        at, treated = self._seen(own, other, change, b)
        sides, reason = self._weighed(own, other, at, treated, b)
        if sides is None:
            return Pair(reason=reason)
        label = self.groups.label[at].astype(np.int64)
        att, z = effects(sides, change[at][None, :].copy())
        raw = np.bincount(label, z[0], self.groups.labels).astype(np.float64)
        kept = raw
        if self.settings.leverage:
            factor = spread(sides, label, self.groups.labels)
            kept = np.bincount(label, z[0] * factor, self.groups.labels).astype(np.float64)
        return Pair(
            att=float(att[0]),
            z=kept,
            raw=raw,
            at=at,
            treated=treated,
            odds=sides.odds,
            trimmed=sides.trimmed,
            dropped=tuple(self.names[j] for j in sides.dropped),
        )

    def _seen(self, own: Group, other: Group, change: Floats, b: int) -> tuple[Ints, int]:
        good = np.isfinite(change)
        if self.moving is not None:
            good &= np.isfinite(self.moving[:, b]).all(axis=0)
        mine, rest = (self.units[key][good[self.units[key]]] for key in (own, other))
        return np.concatenate([mine, rest]), mine.size

    def _weighed(
        self, own: Group, other: Group, at: Ints, treated: int, b: int
    ) -> tuple[Weighing | None, str]:
        complete = at.size == self.units[own].size + self.units[other].size
        key = (own, other, b if self.moving is not None else -1, b"" if complete else at.tobytes())
        if key not in self._kept:
            if not complete:  # seldom met again
                self._kept = {k: v for k, v in self._kept.items() if not k[3]}
            self._kept[key] = self._weigh(at, treated, b)
        sides, _, _, reason = self._kept[key]
        return (None if reason else sides), reason

    def _weigh(self, at: Ints, treated: int, b: int) -> tuple[Weighing, Ints, int, str]:
        design, nothing = self.design, Weighing(np.empty(0))
        cluster = design.cluster[at]
        reason = too_few(design, cluster[:treated], cluster[treated:], self.settings.min_clusters)
        if reason:
            return nothing, at, treated, reason
        x = self.basis[:, at]
        if self.moving is not None:
            x = np.concatenate([x, self.moving[:, b, at]])
        sides = weigh(
            x=x,
            treated=treated,
            weight=design.weight[at],
            method=self.settings.method,
            names=self.names,
            max_propensity=self.settings.max_propensity,
        )
        return sides, at, treated, sides.reason


def least_variance(raw: Sequence[Floats]) -> Floats | None:
    """[K] weights that add up to one and make the variance of the weighted effects smallest, from their
    influence by cluster; None where clusters are too few to tell.

    The optimal generalised method of moments when every effect estimates the same (their section 4).
    """
    if len(raw) == 1:
        return np.ones(1)
    z = np.stack(raw, axis=1)
    z = z - z.mean(axis=0)
    scale = np.sqrt(np.einsum("gk,gk->k", z, z))
    if not (scale > 0).all():
        return None
    omega = (z / scale).T @ (z / scale)
    values = np.linalg.eigvalsh(omega)
    if values[0] < 1e-9 * values[-1]:
        return None
    solved = np.linalg.solve(omega, 1 / scale) / scale
    return np.asarray(solved / solved.sum(), dtype=np.float64)
