"""Cohorts of a roll-out that are too small to report, and the units that stay."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.treatment_paths import TreatmentPaths
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check

#: The attrition step, and the check, of cohorts too small to report.
LARGE, SMALL = "cohort_large_enough", "small_cohorts"


def large_cohorts(design: StaggeredPanel, smallest: int) -> tuple[StaggeredPanel, list[Check]]:
    """The design without the units of cohorts with fewer than ``smallest`` units or clusters.

    Cohorts are units treated from the same period; where treatment may end or take several values,
    those whose treatment first changes in the same period, from the same value, in the same direction.
    The check ``small_cohorts`` says how many cohorts that was. Raises InputError when none is left.
    """
    cohort = cohorts_of(design)
    there = np.unique(cohort[cohort >= 0])
    small = [g for g in there if _size(design, cohort == g) < smallest]
    scope = {"population": design.population}
    if not small:
        return design, [Check(key=SMALL, status="passed", scope=scope, threshold=smallest)]
    if len(small) == there.size:
        raise InputError(
            f"all {there.size} cohorts have fewer than {smallest} units or clusters",
            where=f"sample {design.population}, smallest_cohort",
            remedy="Let a period be longer (quarters, years), so that more start together.",
        )
    check = Check(
        key=SMALL,
        status="informative",
        scope=scope,
        statistic=float(len(small)),
        threshold=smallest,
        message={"cohorts": int(there.size)},
    )
    out = take(design, ~np.isin(cohort, small))
    step = Attrition.of(design.population, [(LARGE, None, out.n)])
    return replace(out, attrition=Attrition.concat([design.attrition, step])), [check]


def cohorts_of(design: StaggeredPanel) -> NDArray[np.int64]:
    """[n] the number of each unit's cohort; -1 where it never starts."""
    key = [design.first]
    if isinstance(design, TreatmentPaths):
        at = np.searchsorted(design.periods, np.minimum(design.first, design.periods[-1]))
        now = design.status[np.arange(design.n), at]
        key += [design.baseline, np.sign(now - design.baseline)]
    number = np.unique(np.stack(key), axis=1, return_inverse=True)[1].reshape(-1)
    return np.where(np.isfinite(design.first), number, -1).astype(np.int64)


def _size(design: StaggeredPanel, inside: np.ndarray) -> int:
    """Units or clusters of a cohort, the fewer of them."""
    return min(int(inside.sum()), int(np.unique(design.cluster[inside]).size))


def take(design: StaggeredPanel, keep: NDArray[np.bool_]) -> StaggeredPanel:
    """The units where ``keep`` [n] is true, of any design with a row a unit."""
    cut: dict[str, Any] = {}
    for field in fields(design):
        value = getattr(design, field.name)
        if field.name != "periods" and isinstance(value, np.ndarray):
            cut[field.name] = value[keep]
    cut["cluster"] = np.unique(cut["cluster"], return_inverse=True)[1].astype(np.int64)
    if design.unit_names:
        cut["unit_names"] = tuple(np.array(design.unit_names)[keep])
    cut["subgroups"] = {
        name: replace(group, codes=group.codes[keep]) for name, group in design.subgroups.items()
    }
    return replace(design, **cut)
