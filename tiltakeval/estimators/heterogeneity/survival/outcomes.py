"""Spells of a file as a cross-section whose outcomes are durations freed of censoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.design.durations import Durations
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.survival.hazards import Risk, cross_fit_hazards
from tiltakeval.estimators.heterogeneity.survival.transform import (
    Worth,
    kept_from_zero,
    transformed,
    worth,
)
from tiltakeval.estimators.numerics.groups import deal_folds, deal_groups
from tiltakeval.estimators.numerics.threads import one_thread

Floats = NDArray[np.floating]
Measure = Literal["restricted_mean", "survival", "incidence", "time_lost"]
MEASURES: tuple[Measure, ...] = ("restricted_mean", "survival", "incidence", "time_lost")
#: Arms with fewer units have no hazards of their own: their outcomes are missing.
SMALLEST_ARM = 20
#: What a message tells of the longest followed is true of so many of them: of no one person.
FOLLOWED = 10
#: Durations that aren't whole are put on about this many times up to the last horizon.
CELLS = 200
#: Spells times places of the grid worked on at once.
AT_ONCE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class SpellOutcomes(CrossSection):
    """A cross-section made of spells; ``notes`` for the run record: arms too small, and the share of
    each arm whose chance of being followed was raised to the least allowed."""

    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Grid:
    """``time`` [n] places of the spells' ends, ``step`` between places, ``at`` places of horizons;
    ``middle`` where exits at a place are of times since the one before."""

    time: NDArray[np.int64]
    step: float
    at: tuple[int, ...]
    middle: bool


def spell_outcomes(
    spells: Durations,
    *,
    horizons: Sequence[int] | int,
    measure: Measure = "restricted_mean",
    exit: str | None = None,
    least_followed: float = 0.05,
    folds: int = 5,
    seed: int = 0,
) -> SpellOutcomes:
    """The spells with an outcome for every horizon (whole numbers of the spells' time unit).

    ``measure``: restricted_mean (time to any exit, up to the horizon), survival (no exit by then),
    incidence (``exit`` by then), time_lost (time from ``exit`` to the horizon). Censored spells get the
    expected outcome that they and others like them stand for (`transform`), with hazards of exit and of
    censoring by arm given covariates, cross-fitted over ``folds`` of whole clusters. A chance of still
    being followed below ``least_followed`` is raised to it; ``notes`` tell how often. Durations that
    aren't whole are put on a grid for the hazards. Raises InputError: late entry, a horizon to which
    nobody of an arm is followed, an arm that nobody leaves.
    """
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES, where="measure")
    if not 0 < least_followed < 1:
        raise InputError("must lie between 0 and 1", where="least_followed")
    if spells.entry.any():
        raise InputError(
            f"{int((spells.entry > 0).sum())} spells are followed from after their start only",
            where="entry",
            remedy="Leave them out, or use restricted_mean, which allows late entry.",
        )
    event = _codes(spells, measure, exit)
    grid = _grid(spells, horizons)
    name = measure if measure in ("restricted_mean", "survival") else f"{measure}_{exit}"
    if measure not in ("restricted_mean", "survival") and exit is None:
        name = measure
    competing = bool((event == 2).any())
    worths = [
        worth(measure, h, grid.step, competing=competing, middle=grid.middle) for h in grid.at
    ]
    outcomes = np.full((spells.n, len(worths), 1), np.nan, dtype=np.float32)
    groups = deal_groups(spells.person, kind="person")
    fold = deal_folds(
        groups, arm=spells.arm, arms=spells.arms, weight=spells.weight, folds=folds, seed=seed
    )
    notes: dict[str, Any] = {"measure": measure, "step": grid.step, "raised": {}, "too_small": []}
    for a, arm in enumerate(spells.arms):
        rows = np.flatnonzero((spells.arm == a) & (spells.weight > 0))
        if rows.size < SMALLEST_ARM:
            notes["too_small"].append(arm)
            continue
        _check_followed(spells, rows, event, grid, arm)
        found, raised = _of_arm(
            spells, rows, event[rows], grid, worths, fold[rows], folds, least_followed
        )
        outcomes[rows, :, 0] = found
        notes["raised"][arm] = raised
    x = np.zeros((spells.n, 0)) if spells.covariates is None else spells.covariates
    unit = spells.time_unit if measure in ("restricted_mean", "time_lost") else "share"
    return SpellOutcomes(
        arms=spells.arms,
        arm=spells.arm.astype(np.int64),
        eligible=np.ones((spells.n, len(spells.arms)), dtype=bool),
        weight=spells.weight,
        person=spells.person,
        covariates=x,
        covariate_names=spells.covariate_names,
        outcomes=outcomes,
        outcome_names=(name,),
        units=(unit,),
        horizons=_whole(horizons),
        population=spells.population,
        estimand=spells.estimand,
        time_origin=spells.time_origin,
        subgroups=spells.subgroups,
        attrition=spells.attrition,
        fingerprint=spells.fingerprint,
        notes=notes,
    )


def _of_arm(
    spells: Durations,
    rows: NDArray[np.int64],
    event: NDArray[np.int64],
    grid: _Grid,
    worths: Sequence[Worth],
    fold: NDArray,
    folds: int,
    least: float,
) -> tuple[NDArray[np.float64], float]:
    """Outcomes [rows, horizons] of one arm, and the share whose chance of being followed was raised."""
    times = max(grid.at)
    time, w = grid.time[rows], spells.weight[rows]
    x = np.zeros((rows.size, 0)) if spells.covariates is None else spells.covariates[rows]
    within = time <= times
    models = []
    with one_thread():
        for last, leaves in (
            (time, event == 1),
            (time, event == 2),
            (np.where(event > 0, time - 1, time), event == 0),
        ):
            risk = Risk(np.minimum(last, times), leaves & within & (last <= times))
            models.append(cross_fit_hazards(x, risk, weight=w, fold=fold, folds=folds, times=times))
    out, raised = np.empty((rows.size, len(worths))), 0
    chunk = max(1000, AT_ONCE // times)
    for start in range(0, rows.size, chunk):
        part = slice(start, start + chunk)
        f = fold[part] if folds > 1 else np.zeros(fold[part].size, dtype=np.int64)
        one, two, c = (model.of(part, f) for model in models)
        two = np.minimum(two, 1.0 - one)
        lowered, followed = kept_from_zero(c, least)
        t = np.minimum(time[part], times)
        seen = np.arange(1, times + 1) < t[:, None]
        raised += int(((lowered < c) & seen).any(axis=1).sum())
        exits = np.stack([one, two], axis=2)
        code = np.where(within[part], event[part], 0)  # beyond the last horizon: followed to it
        for j, of in enumerate(worths):
            value = _value(of, time[part], code, spells.duration[rows][part], grid)
            out[part, j] = transformed(
                # a spell that goes on beyond the grid ends after it, not at its last time
                np.minimum(time[part], times + 1),
                code,
                value,
                exit_hazard=exits,
                censoring=lowered,
                followed=followed,
                of=of,
            )
    return out, raised / rows.size


def _value(
    of: Worth, time: NDArray, code: NDArray, duration: Floats, grid: _Grid
) -> NDArray[np.float64]:
    """[n] what each spell's exit is worth; a restricted mean has the duration itself."""
    at = np.clip(time, 1, of.h) - 1
    value = of.exit[at, np.where(code == 2, 1, 0)]
    slope = of.exit[-1] - of.exit[0] if of.h > 1 else np.zeros(2)
    along = np.sign(slope)[np.where(code == 2, 1, 0)]
    # off what exits at the place are worth, where that changes with time
    off = duration - (time - 0.5 * grid.middle) * grid.step
    return np.asarray(value + along * np.where(time <= of.h, off, 0.0))


def _codes(spells: Durations, measure: Measure, exit: str | None) -> NDArray[np.int64]:
    """[n] 0 censored, 1 the exit that counts, 2 another."""
    code = np.asarray(spells.event, dtype=np.int64)
    if measure in ("restricted_mean", "survival"):
        if exit is not None:
            raise InputError(
                f"{measure} is about any exit",
                where="exit",
                remedy="Use incidence or time_lost for one kind of exit, or leave exit out.",
            )
        return np.minimum(code, 1)
    if exit is None:
        if len(spells.event_names) > 1:
            raise InputError(
                f"there are {len(spells.event_names)} kinds of exit: say which counts",
                where="exit",
                remedy=f"One of: {', '.join(spells.event_names)}.",
            )
        return code
    if exit not in spells.event_names:
        raise unknown("exit", exit, spells.event_names, where="exit")
    wanted = spells.event_names.index(exit) + 1
    return np.where(code == wanted, 1, np.where(code > 0, 2, 0))


def _whole(horizons: Sequence[int] | int) -> tuple[int, ...]:
    """The horizons, sorted. Raises InputError unless they are whole and above 0."""
    asked = [horizons] if isinstance(horizons, int | float) else list(horizons)
    if not asked or any(float(h) != int(h) or h < 1 for h in asked):
        raise InputError("horizons must be whole numbers above 0", where="horizon")
    return tuple(sorted({int(h) for h in asked}))


def _grid(spells: Durations, horizons: Sequence[int] | int) -> _Grid:
    whole = _whole(horizons)
    length = spells.duration
    near = length[length <= whole[-1]]
    per = 1 if (near == np.floor(near)).all() else max(1, -(-CELLS // whole[-1]))
    # exits at the place after them, so that what happens by a horizon does; half of those lost between
    # two places count as at risk of the exits there
    exits = np.maximum(np.ceil(length * per - 1e-9), 1)
    time = np.where(spells.event > 0, exits, np.rint(length * per))
    # a spell beyond the last horizon stays beyond it
    time = np.where(length > whole[-1], np.maximum(time, whole[-1] * per + 1), time)
    return _Grid(time.astype(np.int64), 1.0 / per, tuple(h * per for h in whole), per > 1)


def _check_followed(
    spells: Durations, rows: NDArray[np.int64], event: NDArray, grid: _Grid, arm: str
) -> None:
    """Raise InputError where an arm's outcome at a horizon isn't known from anybody."""
    for h, place in zip(_whole_of(grid), grid.at):
        time, code = grid.time[rows], event[rows]
        lost = time[(code == 0) & (time < place)]
        if lost.size and not (time > lost.max()).any():
            to = np.sort(time)[-FOLLOWED] * grid.step if time.size >= FOLLOWED else 0
            far = f" ({FOLLOWED} are, to {int(to)})" if to >= 1 else ""
            raise InputError(
                f"nobody in '{arm}' is followed to {h} {spells.time_unit}: all who hadn't left were "
                "lost before",
                where="horizon",
                remedy=f"Choose an earlier horizon{far}, or leave the arm out.",
            )
        if not ((code > 0) & (time <= place)).any():
            raise InputError(
                f"nobody of {rows.size} in '{arm}' is seen to leave by {h} {spells.time_unit}",
                where="horizon",
                remedy="Choose a later horizon, or leave the arm out.",
            )


def _whole_of(grid: _Grid) -> tuple[int, ...]:
    return tuple(round(place * grid.step) for place in grid.at)
