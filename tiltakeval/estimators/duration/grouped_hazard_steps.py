"""Time steps of the baseline: given, or joined until each has enough events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError

Floats = NDArray[np.float64]

#: Most whole-number periods that exact times are cut at by themselves; else quantiles of event times.
MOST_PERIODS = 400
QUANTILES = 10
#: No baseline has more steps than about this many, unless they are given.
MOST_STEPS = 200


@dataclass(frozen=True)
class Steps:
    """``of_time`` [T] the step of each period (-1: nobody at risk); ``begin``, ``end`` [S] times."""

    of_time: NDArray[np.int64]
    begin: tuple[float, ...]
    end: tuple[float, ...]

    @property
    def count(self) -> int:
        """Number of steps."""
        return len(self.begin)

    def label(self, step: int) -> str:
        """``begin-end``, in the time's own unit."""
        return f"{self.begin[step]:g}-{self.end[step]:g}"


def given_steps(steps: object) -> Floats:
    """The option as ascending times, the first 0 at most. Raises InputError."""
    values = np.atleast_1d(np.asarray(steps, dtype=np.float64)).reshape(-1)
    if not np.isfinite(values).all() or (values < 0).any() or (np.diff(np.sort(values)) <= 0).any():
        raise InputError(
            "the times at which steps begin must be different numbers, none below 0",
            where="steps",
            remedy="For example steps = 0,3,6,12; steps = 0 for a constant hazard.",
        )
    return np.sort(values)


def edges_of_history(
    history: EventHistory, *, steps: Floats, period: float, discrete: bool
) -> Floats:
    """[T + 1] where an event history is cut. Raises InputError for parts of periods in a
    discrete-time model."""
    last = float(history.stop.max())
    if discrete:
        for name, values in (("start", history.start), ("stop", history.stop)):
            off = np.abs(values / period - np.round(values / period)) > 1e-6
            if off.any():
                raise InputError(
                    f"{int(off.sum())} of {history.n} rows {name} inside a period of {period:g}",
                    where="model",
                    remedy="Discrete-time hazards need whole periods: set period to their length, "
                    "or use model = exponential.",
                )
        return period * np.arange(round(last / period) + 1, dtype=np.float64)
    if steps.size:
        inner = steps[(steps > 0) & (steps < last)]
        return np.concatenate([[0.0], inner, [last]])
    times = history.stop[history.event > 0]
    whole = np.array_equal(history.stop, np.round(history.stop))
    if whole and np.array_equal(history.start, np.round(history.start)) and last <= MOST_PERIODS:
        return np.arange(last + 1, dtype=np.float64)
    inner = np.quantile(times, np.arange(1, QUANTILES) / QUANTILES) if times.size else times
    if last >= QUANTILES:  # whole times where that can be: they are easier to read
        inner = np.round(inner)
    inner = np.unique(inner[(inner > 0) & (inner < last)])
    return np.concatenate([[0.0], inner, [last]])


def steps_of(
    edges: Floats, at_risk: NDArray, events: NDArray, *, steps: Floats, least: int
) -> Steps:
    """Steps of one transition from what is at risk and happens in each period, [T] each.

    With ``steps`` given they are taken as they are, save those in which nobody is at risk. Else
    periods are joined with those that follow until each step has ``least`` events; a last one with
    fewer goes to the step before.
    """
    periods = edges.size - 1
    of_time = np.full(periods, -1, dtype=np.int64)
    seen = np.flatnonzero(at_risk > 0)
    if steps.size:
        raw = np.searchsorted(steps, edges[:-1] * (1 + 1e-12), side="right") - 1
        _, code = np.unique(np.maximum(raw[seen], 0), return_inverse=True)
        of_time[seen] = code.reshape(-1)
    else:
        enough = max(float(least), float(events.sum()) / MOST_STEPS)
        step, found = 0, 0.0
        left = float(events[seen].sum())
        for t in seen:
            of_time[t] = step
            found += float(events[t])
            left -= float(events[t])
            if found >= enough and left >= enough:
                step, found = step + 1, 0.0
    count = int(of_time.max(initial=-1)) + 1
    begin = [float(edges[np.flatnonzero(of_time == s)[0]]) for s in range(count)]
    end = [float(edges[np.flatnonzero(of_time == s)[-1] + 1]) for s in range(count)]
    return Steps(of_time, tuple(begin), tuple(end))
