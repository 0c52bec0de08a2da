"""The eligible of a cohort against one other group at a time, in repeated cross-sections."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.sections import StaggeredSections
from tiltakeval.estimators.did.cells.section_fit import fit_section
from tiltakeval.estimators.did.level import standard_covariates, too_few
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.triple.pairs import Group, Pair, Settings
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class SectionPairs:
    """Pairs of one outcome among the rows ``inside`` [n], each a person in a period."""

    def __init__(
        self,
        design: StaggeredSections,
        inside: Bools,
        units: Mapping[Group, Ints],
        outcome: int,
        groups: Groups,
        settings: Settings,
    ) -> None:
        self.design, self.units, self.groups, self.settings = design, units, groups, settings
        x, self.names, self.dropped = standard_covariates(design, inside)
        self.basis = np.concatenate([np.ones((1, design.n)), x.T])
        self.y = design.outcomes[:, 0, outcome]

    def pair(self, own: Group, other: Group, t: int, b: int) -> Pair:
        """The group ``own`` against ``other`` in period ``t``, from the base ``b`` (places)."""
        design, settings = self.design, self.settings
        mine, rest = (self._rows(key, t, b) for key in (own, other))
        at, treated = np.concatenate([mine, rest]), mine.size
        after = design.when[at] == t
        for side in (after[:treated], after[treated:]):
            if not (side.any() and (~side).any()):
                return Pair(
                    reason=Reason(Why.NOT_SEEN, "nobody of a group is seen in one of the periods")
                )
        cluster = design.cluster[at]
        reason = too_few(design, cluster[:treated], cluster[treated:], settings.min_clusters)
        if reason:
            return Pair(reason=reason)
        fit = fit_section(
            y=self.y[at],
            after=after,
            treated=treated,
            x=np.ascontiguousarray(self.basis[:, at]),
            weight=design.weight[at],
            method=settings.method,
            names=self.names,
            max_propensity=settings.max_propensity,
        )
        if fit.z is None or fit.odds is None:
            return Pair(reason=fit.reason)
        label = self.groups.label[at].astype(np.int64)
        raw = np.bincount(label, fit.z, self.groups.labels).astype(np.float64)
        kept = raw
        if settings.leverage:
            factor = np.concatenate(
                [
                    _alone(label[:treated], design.weight[mine]),
                    _alone(label[treated:], fit.odds),
                ]
            )
            kept = np.bincount(label, fit.z * factor, self.groups.labels).astype(np.float64)
        return Pair(
            att=fit.att,
            z=kept,
            raw=raw,
            at=at,
            treated=treated,
            odds=fit.odds,
            trimmed=fit.trimmed,
        )

    def _rows(self, key: Group, t: int, b: int) -> Ints:
        at = self.units[key]
        when = self.design.when[at]
        return np.asarray(at[((when == t) | (when == b)) & np.isfinite(self.y[at])])


def _alone(label: Ints, weight: Floats) -> Floats:
    """[m] (1 - share)^(-1/2) of each row's cluster in its side's weight."""
    share = np.bincount(label, weights=weight) / weight.sum()
    single = share > 1 - 1e-9
    factor: Floats = np.where(single, 1.0, 1 / np.sqrt(np.where(single, 1.0, 1 - share)))
    return factor[label]
