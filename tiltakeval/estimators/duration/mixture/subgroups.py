"""Subgroups of whole persons, each with hazards and heterogeneity of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError

#: Fewer exits than this while in a status, and a subgroup's effect isn't estimated.
FEWEST_EVENTS = 10


def levels_of(design: EventHistory) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Label and rows of every level. Raises InputError for a subgroup that changes within persons."""
    same = design.person[1:] == design.person[:-1]
    for name, group in design.subgroups.items():
        moved = int(np.unique(design.person[1:][same & (np.diff(group.codes) != 0)]).size)
        if moved:
            raise InputError(
                f"the subgroup changes within {moved} person(s)",
                where=f"subgroup {name}",
                remedy="Use the value at the start of the spell.",
            )
        for code in range(len(group.levels)):
            yield group.label(name, code), group.codes == code


def only(design: EventHistory, rows: NDArray[np.bool_]) -> tuple[EventHistory, NDArray[np.int64]]:
    """The design with the persons of the given rows, and their numbers in the whole design.

    Covariates that don't vary among them where a transition is possible no longer enter it.
    """
    persons = np.unique(design.person[rows])
    number = np.full(design.persons, -1)
    number[persons] = np.arange(persons.size)
    before = design.before
    if before is not None:
        early = before.take(number[before.person] >= 0)
        before = replace(early, person=number[early.person]) if early.n else None
    part = design.take(rows)
    out = replace(part, person=number[part.person], before=before)
    enters = out.enters.copy()
    for t in range(len(out.transitions)):
        x = out.covariates[out.at_risk[:, t]]
        enters[t] &= x.min(axis=0, initial=np.inf) < x.max(axis=0, initial=-np.inf)
    return replace(out, enters=enters), persons


def supported(design: EventHistory) -> bool:
    """Whether every status has exits enough, of every kind it enters."""
    for name in design.programme:
        k = design.covariate_names.index(name)
        for t in np.flatnonzero(design.enters[:, k]):
            happened = (design.event == t + 1) & (design.covariates[:, k] > 0)
            if happened.sum() < FEWEST_EVENTS:
                return False
    return True
