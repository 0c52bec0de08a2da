"""What makes a hazard regression impossible, said before it is tried."""

from __future__ import annotations

import numpy as np

from tiltakeval.errors import InputError
from tiltakeval.numerics.glm_cells import HazardCells


def refuse_hopeless(cells: HazardCells, link: str) -> None:
    """Raise InputError without events, with a step or a level of a 0/1 covariate without any (or
    with an event every time), or with a covariate that is the same wherever the exit is possible."""
    where = f"exit '{cells.exit}'"
    events = float(cells.events.sum())
    if events <= 0:
        raise InputError(
            f"no event in {_count(float(cells.trials.sum()))} {_what(link)}",
            where=where,
            remedy="Leave this exit out, or join it with another.",
        )
    by_step = np.bincount(cells.step, weights=cells.events, minlength=cells.steps)
    if (by_step <= 0).any():
        empty = [cells.labels[i] if cells.labels else str(i) for i in np.flatnonzero(by_step <= 0)]
        raise InputError(
            f"no event in {len(empty)} time step(s): {', '.join(empty[:5])}",
            where=where,
            remedy="Give fewer steps (steps = ...), or leave them out to have them joined.",
        )
    codes = cells.x.shape[0]
    trials_by_code = np.bincount(cells.code, weights=cells.trials, minlength=codes)
    events_by_code = np.bincount(cells.code, weights=cells.events, minlength=codes)
    seen = trials_by_code > 0
    for j, name in enumerate(cells.names):
        column = np.asarray(cells.x[:, j])
        low, high = column[seen].min(), column[seen].max()
        place = f"{where}, covariate '{name}'"
        if low == high:
            raise InputError(
                f"the same value in all {_count(trials_by_code.sum())} "
                f"{_what(link)} where the exit is possible",
                where=place,
                remedy="Leave the covariate out.",
            )
        on = column == high
        if not (on | (column == low))[seen].all():
            continue
        for level, rows in ((high, on), (low, ~on)):
            exits = float(events_by_code[rows].sum())
            trials = float(trials_by_code[rows].sum())
            if exits <= 0 or (link != "exponential" and exits >= trials):
                share = "no event" if exits <= 0 else "an event every time"
                raise InputError(
                    f"{share} in the {_count(trials)} {_what(link)} where it is {level:g} "
                    f"(separation: its coefficient has no finite value)",
                    where=place,
                    remedy="Join the level with another, or leave the covariate out.",
                )


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or float(value).is_integer() else f"{value:.2f}"


def _what(link: str) -> str:
    return "units of time at risk" if link == "exponential" else "trials"
