"""Whether treatment paths are a roll-out: from none to a treatment that stays."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.treatment_paths import TreatmentPaths
from tiltakeval.errors import InputError, counted

REMEDY = "Use switching_att, which compares units that started alike."


def as_rollout(design: StaggeredPanel) -> StaggeredPanel:
    """The design without its treatment paths, if it has any. Raises InputError as `refuse_paths`."""
    if not isinstance(design, TreatmentPaths):
        return design
    refuse_paths(design)
    return StaggeredPanel(**{f.name: getattr(design, f.name) for f in fields(StaggeredPanel)})


def refuse_paths(design: StaggeredPanel) -> None:
    """Raise InputError for treatment paths whose treatment isn't switched on once, from none, for good.

    Taken for a roll-out from their first change on, units that stop would be treated for good, units
    that start treated would be untreated until they change, and units that change unseen never treated.
    """
    if not isinstance(design, TreatmentPaths):
        return
    status = np.where(np.isfinite(design.status), design.status, design.baseline[:, None])
    on = design.periods[None, :] >= design.first[:, None]
    begun = np.where(on.any(axis=1), on.argmax(axis=1), 0)
    after = status[np.arange(design.n), begun]
    moved = (on & (status != after[:, None])).any(axis=1)
    wrong = (
        ("ends, or changes again, in", int(moved.sum())),
        ("is there from the first row in", int((design.baseline != 0).sum())),
        ("goes below 0 in", int((on.any(axis=1) & (after < 0)).sum())),
        ("changes while no row is seen in", design.unclear),
    )
    said = [f"it {what} {counted(units, 'unit')}" for what, units in wrong if units]
    if said:
        raise InputError(
            f"this estimator is for treatment that starts once and stays; {', '.join(said)}",
            where="treatment",
            remedy=REMEDY,
        )
