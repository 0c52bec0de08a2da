"""Duration dependence in steps: rows cut at given times, with an indicator for every step but one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError


def with_steps(design: EventHistory, cuts: Sequence[float], *, strict: bool = True) -> EventHistory:
    """The design with rows cut at ``cuts`` and indicators named "duration [3, 6)" and so on.

    The hazards of all transitions get a step of their own. Raises InputError for cut points that
    aren't positive and increasing, or, if ``strict``, a step without events of some transition.
    """
    times = np.asarray(cuts, dtype=np.float64)
    if not times.size:
        return design
    if (times <= 0).any() or (np.diff(times) <= 0).any() or not np.isfinite(times).all():
        raise InputError(
            "cut points must be positive and increasing",
            where="steps",
            remedy="For example: steps=3,6,12",
        )
    names = tuple(f"duration {label}" for label in _labels(times))
    out = _cut(design, times, names)
    if not strict:
        return out
    step = np.searchsorted(times, out.start, side="right")
    for t, transition in enumerate(out.transitions):
        for s, name in enumerate((f"duration [0, {times[0]:g})", *names)):
            inside = (step == s) & out.at_risk[:, t]
            if not (out.event[inside] == t + 1).any():
                raise InputError(
                    f"no {transition} among the {int(inside.sum())} rows of the step",
                    where=f"steps, {name}",
                    remedy="Choose fewer or other cut points, so that every step has events of "
                    "every kind.",
                )
    return out


def _labels(times: NDArray[np.float64]) -> list[str]:
    ends = [f"{stop:g})" for stop in times[1:]] + ["inf)"]
    return [f"[{start:g}, {stop}" for start, stop in zip(times, ends)]


def _cut(design: EventHistory, times: NDArray[np.float64], names: tuple[str, ...]) -> EventHistory:
    """Rows cut at the times; what happens stays with the last part."""
    first = np.searchsorted(times, design.start, side="right")
    last = np.searchsorted(times, design.stop, side="left")
    parts = last - first + 1
    row = np.repeat(np.arange(design.n), parts)
    place = np.arange(row.size) - np.repeat(np.cumsum(parts) - parts, parts)
    step = first[row] + place
    bounds = np.concatenate([[-np.inf], times, [np.inf]])
    start = np.maximum(design.start[row], bounds[step])
    stop = np.minimum(design.stop[row], bounds[step + 1])
    final = place == parts[row] - 1
    k = len(design.transitions)
    # the covariates, most of what there is, are copied once
    bare = replace(
        design,
        covariates=design.covariates[:, :0],
        covariate_names=(),
        enters=design.enters[:, :0],
    )
    return replace(
        bare.take(row),
        start=start,
        stop=stop,
        event=np.where(final, design.event[row], 0).astype(np.int16),
        covariates=_with_flags(design.covariates, row, step, times.size),
        covariate_names=(*design.covariate_names, *names),
        enters=np.concatenate([design.enters, np.ones((k, times.size), dtype=bool)], axis=1),
        before=None if design.before is None else _cut(design.before, times, names),
    )


def _with_flags(
    x: NDArray[np.float64], row: NDArray[np.int64], step: NDArray[np.int64], steps: int
) -> NDArray[np.float64]:
    """[R, p + steps] rows ``row`` of x, with indicators of the steps but the first."""
    p = x.shape[1]
    out = np.empty((row.size, p + steps))
    block = 32_768
    for lo in range(0, row.size, block):
        part = slice(lo, lo + block)
        out[part, :p] = x[row[part]]
        out[part, p:] = step[part, None] == np.arange(1, steps + 1)
    return out
