"""What is dealt anew over clusters in permutation tests: starts, starts with doses, or whole paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.doses import DosedRollout
from tiltakeval.design.intensity import IntensityRollout
from tiltakeval.design.sections import StaggeredSections
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.treatment_paths import TreatmentPaths, paths_of
from tiltakeval.errors import InputError, counted
from tiltakeval.estimators.did.few_clusters.rows import start_of_cluster

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What is said of the outcomes that hold treatment.
UNIT, DOSE = " (treatment)", " (dose)"


@dataclass(frozen=True)
class Dealing:
    """``code`` [G] numbers what each cluster got, ``strata`` [G] within which it is dealt. ``design``
    has after each outcome treatment as one more (and, of a slope, the dose); ``dealt`` is that design
    where cluster g got what has number way[g]. ``what`` is dealt, in words."""

    code: Floats
    strata: Ints
    design: StaggeredPanel
    dealt: Callable[[Floats], StaggeredPanel]
    what: str = "start dates"
    slopes: bool = False

    def held(self, term: str) -> str:
        """Which treatment a row of ``term`` is an effect of."""
        return DOSE if self.slopes and term.startswith("slope") else UNIT


def dealing_of(estimator: Any, design: StaggeredPanel, strata: Ints) -> Dealing:
    """What is dealt in a design within ``strata`` [G]. Raises InputError where clusters didn't get one
    thing as a whole."""
    if isinstance(design, TreatmentPaths):
        return _paths(design, strata)
    if isinstance(design, DosedRollout):
        return _doses(design, strata)
    treated = _treated(design)
    if isinstance(design, IntensityRollout):
        if design.predicted is None:
            raise InputError("a prediction must be given before start dates are dealt")
        treated = treated * design.predicted[:, None]
    if hasattr(estimator, "can_be_treated"):
        treated = treated * estimator.can_be_treated(design)[:, None]
    doubled = _with(design, [(UNIT, treated)])
    return Dealing(
        start_of_cluster(design),
        strata,
        doubled,
        lambda way: replace(doubled, first=way[design.cluster]),
    )


def _treated(design: StaggeredPanel) -> Floats:
    """[n, T] whether units are treated (rows of cross-sections have one period)."""
    when = design.periods[None, :]
    if isinstance(design, StaggeredSections):
        when = design.periods[design.when][:, None]
    return np.asarray((when >= design.first[:, None]) * 1.0)


def _doses(design: DosedRollout, strata: Ints) -> Dealing:
    start = start_of_cluster(design)
    dose = np.zeros(start.size)
    dose[design.cluster] = design.dose
    mixed = np.unique(design.cluster[dose[design.cluster] != design.dose]).size
    if mixed:
        raise InputError(
            f"units of {counted(mixed, 'cluster')} have different doses, so that they can't be dealt",
            where=f"cluster ({design.cluster_kind})",
            remedy="Say inference = jackknife or bootstrap_t.",
        )
    kinds, code = np.unique(np.stack([start, dose], axis=1), axis=0, return_inverse=True)
    on = _treated(design)
    doubled = _with(design, [(UNIT, on), (DOSE, on * design.dose[:, None])])

    def dealt(way: Floats) -> StaggeredPanel:
        got = kinds[way.astype(np.int64)][design.cluster]
        return replace(doubled, first=got[:, 0], dose=got[:, 1])

    return Dealing(
        code.reshape(-1).astype(np.float64), strata, doubled, dealt, "start dates with doses", True
    )


def _paths(design: TreatmentPaths, strata: Ints) -> Dealing:
    """Whole paths, among clusters that started alike: only they are compared. A path must be known."""
    clusters = int(design.cluster.max()) + 1
    path = np.full((clusters, design.periods.size), np.nan)
    known = np.isfinite(design.status)
    for t in range(design.periods.size):
        path[design.cluster[known[:, t]], t] = design.status[known[:, t], t]
    path = _filled(path)
    off = known & (path[design.cluster] != design.status)
    mixed = np.unique(design.cluster[off.any(axis=1)]).size
    if mixed:
        raise InputError(
            f"units of {counted(mixed, 'cluster')} have different treatment paths, or no row where "
            "treatment changes, so that paths can't be dealt",
            where=f"cluster ({design.cluster_kind})",
            remedy="Cluster by what is treated as a whole, or say inference = jackknife or bootstrap_t.",
        )
    doubled = _with(design, [(UNIT, path[design.cluster])])
    own = {f.name: getattr(doubled, f.name) for f in fields(StaggeredPanel)}
    kinds, code = np.unique(path, axis=0, return_inverse=True)

    def dealt(way: Floats) -> StaggeredPanel:
        return paths_of(kinds[way.astype(np.int64)][design.cluster], **own)

    whole = dealt(code.reshape(-1).astype(np.float64))
    assert isinstance(whole, TreatmentPaths)
    unseen = (whole.first != design.first) | (whole.baseline != design.baseline)
    if unseen.any() or design.unclear:
        lost = max(int(unseen.sum()), design.unclear)
        raise InputError(
            f"{counted(lost, 'unit')} change or come in while no row says what treatment is, so that "
            "paths can't be dealt",
            where="treatment",
            remedy="Say inference = jackknife or bootstrap_t.",
        )
    _, both = np.unique(np.stack([strata, path[:, 0]], axis=1), axis=0, return_inverse=True)
    within = both.reshape(-1).astype(np.int64)
    return Dealing(code.reshape(-1).astype(np.float64), within, whole, dealt, "treatment paths")


def _filled(path: Floats) -> Floats:
    """Paths [G, T] with the last value known where there is none, at the beginning the first."""
    out = path.copy()
    for t in range(1, out.shape[1]):
        out[:, t] = np.where(np.isfinite(out[:, t]), out[:, t], out[:, t - 1])
    for t in range(out.shape[1] - 2, -1, -1):
        out[:, t] = np.where(np.isfinite(out[:, t]), out[:, t], out[:, t + 1])
    return out


def _with(design: Any, treatments: Sequence[tuple[str, Floats]]) -> Any:
    """The design with, after its outcomes, ``treatments`` [n, T] where each has a value."""
    there = np.isfinite(design.outcomes)
    more = [np.where(there, values[:, :, None], np.nan) for _, values in treatments]
    names = [name + suffix for suffix, _ in treatments for name in design.outcome_names]
    return replace(
        design,
        outcomes=np.concatenate([design.outcomes, *more], axis=2),
        outcome_names=(*design.outcome_names, *names),
        units=design.units * (1 + len(treatments)),
    )
