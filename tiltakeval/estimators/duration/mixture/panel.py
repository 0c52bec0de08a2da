"""An event history as the arrays the likelihood is made of: units, channels, rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.duration.mixture.columns import columns_of, scaled
from tiltakeval.estimators.duration.mixture.interval import Ends

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """U units, R rows, K transitions, C channels, p = p1 + p2 covariates.

    A unit is a person's history, or (delayed entry) the part of it before observation, which counts
    with minus the person's weight: the likelihood is then conditional on it. A channel is a
    transition, or a transition under a status whose effect varies between persons; each channel has
    its own coordinate in the mixing distribution.

    ``x_unit`` [U, p1] covariates constant in every unit, ``x_row`` [R, p2] the others, both divided by
    ``scale`` [p] after subtracting ``centre`` [p] (order: unit, row; ``names`` alike). ``active``
    [K, p]: which coefficients exist. ``channel`` [R, K]: the channel of a transition in a row, -1
    where it isn't possible. ``first`` [U + 1]: where a unit's rows begin. ``events`` [U, C];
    ``x_events`` [U, K, p2]: sum of x_row over rows that end in the transition. ``programme`` names the
    columns that are programme status. ``ends`` (interval timing) are the rows that end in a transition,
    whose ``length`` is then 0 among the rows.
    """

    weight: Floats
    person: Ints
    first: Ints
    x_unit: Floats
    x_row: Floats
    length: Floats
    event: NDArray[np.int16]
    channel: NDArray[np.int16]
    transition: NDArray[np.int64]
    channel_names: tuple[str, ...]
    transitions: tuple[str, ...]
    names: tuple[str, ...]
    centre: Floats
    scale: Floats
    active: NDArray[np.bool_]
    events: Floats
    x_events: Floats
    persons: int
    programme: tuple[str, ...]
    ends: Ends | None = None

    @property
    def units(self) -> int:
        """Number of units."""
        return int(self.weight.shape[0])

    @property
    def channels(self) -> int:
        """Number of channels: coordinates of a mass point."""
        return int(self.transition.shape[0])

    @property
    def conditional(self) -> bool:
        """Whether some units enter with negative weight (delayed entry)."""
        return bool((self.weight < 0).any())

    @property
    def coefficients(self) -> int:
        """Number of coefficients."""
        return int(self.active.sum())

    @cached_property
    def total_weight(self) -> float:
        """Sum of the units' weights."""
        return float(self.weight.sum())

    @cached_property
    def x_single(self) -> NDArray[np.float32]:
        """[U, p1] the unit covariates in single precision."""
        return self.x_unit.astype(np.float32)

    @cached_property
    def event_totals(self) -> Floats:
        """[K, p] weighted sums over events of the covariates."""
        unit = (self.event_unit * self.weight[:, None]).T @ self.x_unit
        return np.concatenate([unit, np.einsum("u,utk->tk", self.weight, self.x_events)], axis=1)

    @cached_property
    def event_unit(self) -> Floats:
        """[U, K] events by transition."""
        out = np.zeros((self.units, len(self.transitions)))
        for c, t in enumerate(self.transition):
            out[:, t] += self.events[:, c]
        return out


def panel_of(design: EventHistory, *, varying: Sequence[str] = (), interval: bool = False) -> Panel:
    """The arrays of a design; ``varying`` are status columns whose effect varies between persons.

    With ``interval``, a transition is known to have happened some time within its row.

    Raises InputError for statuses that can't vary, or coefficients the data can't determine.
    """
    for name in varying:
        if name not in design.programme:
            raise unknown("programme status", name, design.programme, where="random")
    person, length, event = design.person, design.duration, design.event
    x, possible, weight = design.covariates, design.at_risk, design.weight
    unit = person
    sign = np.ones(design.n)
    if design.before is not None:
        unit, order, sign = _with_before(design)
        early = design.before
        person = np.concatenate([design.person, early.person, early.person])[order]
        length = np.concatenate([length, early.duration, early.duration])[order]
        event = np.concatenate([event, early.event, early.event])[order]
        x = np.concatenate([x, early.covariates, early.covariates])[order]
        possible = np.concatenate([possible, early.at_risk, early.at_risk])[order]
        weight = np.concatenate([weight, early.weight, early.weight])[order]
    opens = np.flatnonzero(np.r_[True, np.diff(unit) != 0])
    first = np.r_[opens, unit.size].astype(np.int64)
    channel, transition, channel_names, enters = _channels(design, x, possible, varying)
    columns = columns_of(x, np.r_[True, np.diff(unit) != 0])
    entering = enters.any(axis=0)
    unit_columns = np.flatnonzero(entering & columns.fixed)
    row_columns = np.flatnonzero(entering & ~columns.fixed)
    order_of = np.r_[unit_columns, row_columns]
    enters = enters[:, order_of]
    x_row = scaled(x, None, row_columns, columns)
    happened = event > 0
    row_unit = np.repeat(np.arange(opens.size), np.diff(first))
    events, x_events = _event_sums(transition.size, row_unit, event, channel, x_row, opens.size)
    ends = None
    if interval:
        ends = Ends(
            unit=row_unit[happened],
            length=length[happened],
            x=scaled(x, np.flatnonzero(happened), order_of, columns),
            channel=channel[happened],
        )
        length = np.where(happened, 0.0, length)
    return Panel(
        weight=(weight * sign)[opens],
        person=person[opens],
        first=first,
        x_unit=scaled(x, opens, unit_columns, columns),
        x_row=x_row,
        length=np.ascontiguousarray(length),
        event=event,
        channel=np.ascontiguousarray(channel),
        transition=transition,
        channel_names=channel_names,
        transitions=design.transitions,
        names=tuple(design.covariate_names[i] for i in order_of),
        centre=columns.centre[order_of],
        scale=columns.scale[order_of],
        active=enters,
        events=events,
        x_events=x_events,
        persons=design.persons,
        programme=design.programme,
        ends=ends,
    )


def drop_weightless(panel: Panel) -> Panel:
    """Without the units of weight zero."""
    keep = panel.weight != 0
    return panel if keep.all() else only_units(panel, keep)


def only_units(panel: Panel, keep: NDArray[np.bool_]) -> Panel:
    """The panel with some of its units; persons keep their numbers."""
    return until(panel, np.flatnonzero(keep), panel.first[1:][keep])


def until(panel: Panel, unit: Ints, stop: Ints) -> Panel:
    """Units [N] (some may be there more than once), each with its rows before row ``stop`` [N]."""
    counts = stop - panel.first[unit]
    first = np.r_[0, np.cumsum(counts)].astype(np.int64)
    rows = np.repeat(panel.first[unit] - first[:-1], counts) + np.arange(first[-1])
    of_row = np.repeat(np.arange(unit.size), counts)
    event, channel, x_row = panel.event[rows], panel.channel[rows], panel.x_row[rows]
    events, x_events = _event_sums(panel.transition.size, of_row, event, channel, x_row, unit.size)
    ends = panel.ends
    if ends is not None:
        happened = event > 0
        number = np.cumsum(panel.event > 0) - 1
        ends = ends.take(number[rows[happened]], of_row[happened])
    return replace(
        panel,
        weight=panel.weight[unit],
        person=panel.person[unit],
        first=first,
        x_unit=panel.x_unit[unit],
        x_row=x_row,
        length=panel.length[rows],
        event=event,
        channel=channel,
        events=events,
        x_events=x_events,
        ends=ends,
    )


def _event_sums(
    channels: int,
    unit: Ints,
    event: NDArray[np.int16],
    channel: NDArray[np.int16],
    x_row: Floats,
    units: int,
) -> tuple[Floats, Floats]:
    """``events`` [U, C] and ``x_events`` [U, K, p2] of rows [R] of the units ``unit`` [R]."""
    happened = np.flatnonzero(event > 0)
    of, t = unit[happened], event[happened] - 1
    events = np.zeros((units, channels))
    np.add.at(events, (of, channel[happened, t]), 1.0)
    x_events = np.zeros((units, channel.shape[1], x_row.shape[1]))
    np.add.at(x_events, (of, t), x_row[happened])
    return events, x_events


def _with_before(design: EventHistory) -> tuple[Ints, Ints, Floats]:
    """Unit number, order and sign of rows: whole histories (+), then early parts (-)."""
    early = design.before
    assert early is not None
    persons = design.persons
    unit = np.concatenate([design.person, early.person, persons + early.person])
    when = np.concatenate([np.ones(design.n), np.zeros(early.n), np.zeros(early.n)])
    order = np.lexsort((when, unit))
    unit = unit[order]
    dense = np.cumsum(np.r_[0, np.diff(unit) != 0])
    return dense, order, np.where(unit >= persons, -1.0, 1.0)


def _channels(
    design: EventHistory, x: Floats, possible: NDArray[np.bool_], varying: Sequence[str]
) -> tuple[NDArray[np.int16], Ints, tuple[str, ...], NDArray[np.bool_]]:
    """Channel of every row and transition, the channels' transitions and names, and what enters."""
    k = len(design.transitions)
    channel = np.where(possible, np.arange(k), -1).astype(np.int16)
    transition, names = list(range(k)), list(design.transitions)
    enters = design.enters.copy()
    columns = [design.covariate_names.index(name) for name in varying]
    both = (x[:, columns] > 0).sum(axis=1) > 1 if columns else np.zeros(len(x), dtype=bool)
    if both.any():
        raise InputError(
            f"{int(both.sum())} rows have several of the statuses whose effect varies",
            where=", ".join(varying),
            remedy="Statuses with an effect that varies between persons must exclude one another.",
        )
    for name, column in zip(varying, columns):
        for t in np.flatnonzero(enters[:, column]):
            rows = possible[:, t] & (x[:, column] > 0)
            channel[rows, t] = len(transition)
            transition.append(int(t))
            names.append(f"{design.transitions[t]}|{name}")
            enters[t, column] = False
    return channel, np.array(transition, dtype=np.int64), tuple(names), enters
