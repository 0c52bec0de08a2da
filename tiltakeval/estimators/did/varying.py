"""Covariates that vary with time, as regressions with unit effects use them.

They enter with one slope each. What they are worth hangs on a condition no regression can see from
outside: the programme must not change them. A covariate that it does change takes part of the effect
away (a bad control); the check ``covariates_moved`` says which move when the programme comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: A covariate whose values differ by less than this share of the largest within every unit is constant.
STILL = 1e-12
ASSUMED = (
    "covariates that vary with time are taken as untouched by the programme: one that it changes takes "
    "part of the effect away"
)


@dataclass(frozen=True)
class Varying:
    """``values`` [m, T, p] are less the unit's mean and divided by ``scale`` [p], which makes their
    variance around it 1; 0 in rows that aren't used. ``names`` [p] are theirs. ``constant`` are those
    that vary in no unit, which say nothing beside unit effects."""

    values: Floats
    scale: Floats
    names: tuple[str, ...]
    constant: tuple[str, ...]


def known_rows(design: StaggeredPanel) -> Bools | None:
    """[n, T] the unit-periods with a value of every covariate that varies; None without such. Raises
    InputError for one that is an outcome too."""
    if design.varying is None or not design.varying_names:
        return None
    both = [name for name in design.varying_names if name in design.outcome_names]
    if both:
        raise InputError(
            f"{' and '.join(both)} can't be an outcome and a covariate",
            where="varying",
            remedy="Leave it out of one of them.",
        )
    known = np.isfinite(design.varying[:, :, 0])
    for j in range(1, design.varying.shape[2]):
        known &= np.isfinite(design.varying[:, :, j])
    return np.asarray(known)


def over_time(v: Floats) -> Floats:
    """[m, p] sums over periods of ``v`` [m, T, p], as one product: that is faster than adding."""
    m, periods, p = v.shape
    return np.asarray(v.reshape(m, periods * p) @ np.tile(np.eye(p), (periods, 1)))


def standard_varying(v: Floats, seen: Bools, weight: Floats, names: tuple[str, ...]) -> Varying:
    """Covariates ``v`` [m, T, p] in the rows ``seen`` [m, T] of units with ``weight`` [m]."""
    values = np.where(seen[:, :, None], v, 0.0)
    p = v.shape[2]
    large = np.array([np.abs(values[:, :, j]).max(initial=0.0) for j in range(p)])
    count = seen.sum(axis=1)
    values -= (over_time(values) / np.maximum(count, 1)[:, None])[:, None, :]
    if not seen.all():
        values *= seen[:, :, None]
    rows = max(float(weight @ count), 1e-300)
    scale = np.sqrt(weight @ over_time(values**2) / rows)
    moves = scale > STILL * large
    if not moves.all():
        values = values[:, :, moves]
    values /= scale[moves]
    return Varying(
        values,
        scale[moves],
        tuple(name for name, used in zip(names, moves) if used),
        tuple(name for name, used in zip(names, moves) if not used),
    )


def note_collinear(notes: dict[str, Any], names: tuple[str, ...]) -> None:
    """Add covariates that say nothing to a run's notes, once each."""
    notes["collinear"] += [name for name in names if name not in notes["collinear"]]


def said_of(design: StaggeredPanel) -> dict[str, Any]:
    """What a result's run says: which covariates vary, what is assumed of them, and how many rows with
    an outcome have no value of some covariate and are left out, by outcome. Empty without such."""
    known = known_rows(design)
    if known is None:
        return {}
    lost = {
        name: int((np.isfinite(design.outcomes[:, :, k]) & ~known).sum())
        for k, name in enumerate(design.outcome_names)
    }
    missing = {
        name: int((~np.isfinite(design.varying[:, :, j])).sum())  # type: ignore[index]
        for j, name in enumerate(design.varying_names)
    }
    return {
        "varying": {
            "covariates": list(design.varying_names),
            "assumed": ASSUMED,
            "rows_left_out": lost,
            "rows_without_value": missing,
        }
    }
