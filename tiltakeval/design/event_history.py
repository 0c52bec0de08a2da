"""Event histories: rows of constant covariates, several exits and entries, risk sets that change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import (
    frame_fingerprint,
    listed,
    numeric_covariates,
    refuse_missing,
    require_columns,
    subgroup_of,
)
from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.event_risk import refuse_impossible, refuse_never, risk_sets_of
from tiltakeval.design.event_rows import (
    event_codes,
    exits_of,
    numbers,
    refuse_broken_order,
    refuse_constant,
    refuse_varying,
    row_times,
    split_at,
    status_columns,
)
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition


@dataclass(frozen=True, kw_only=True)
class EventHistory:
    """R rows of constant covariates; a person's rows are adjacent and in time order.

    ``person`` [R] numbers persons densely from 0. A row lasts from ``start`` to ``stop`` [R], times
    since the spell's origin; ``event`` [R] is what happens at its end: 0 nothing, j the transition
    ``transitions[j - 1]``. ``at_risk`` [R, K] says which transitions are possible in the row.
    ``covariates`` [R, p], of which ``programme`` names those that are programme status (0/1);
    ``enters`` [K, p] says which covariate enters which transition's hazard. ``weight`` [R] and
    ``cluster`` [R] are constant within a person. ``spell`` [R] numbers spells within the file where a
    person has several; times restart in each.

    ``before`` holds, in the same layout and with the same person numbers, the rows between a spell's
    origin and the time the person came under observation (delayed entry). Nobody is observed at risk
    in them, so an estimator without unobserved heterogeneity leaves them alone; one with it conditions
    on them.
    """

    person: NDArray[np.int64]
    start: NDArray[np.float64]
    stop: NDArray[np.float64]
    event: NDArray[np.int16]
    transitions: tuple[str, ...]
    at_risk: NDArray[np.bool_]
    covariates: NDArray[np.float64]
    covariate_names: tuple[str, ...]
    enters: NDArray[np.bool_]
    programme: tuple[str, ...]
    weight: NDArray[np.float64]
    cluster: NDArray[np.int64]
    subgroups: Mapping[str, Subgroup] = field(default_factory=dict)
    population: str = "file"
    estimand: str = "vs_comparison"
    time_origin: str = "none"
    spell: NDArray[np.int64] | None = None
    before: EventHistory | None = None
    attrition: Attrition = field(default_factory=Attrition)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        rows, k, p = self.n, len(self.transitions), len(self.covariate_names)
        shapes: dict[str, tuple[NDArray, tuple[int, ...]]] = {
            "start": (self.start, (rows,)),
            "stop": (self.stop, (rows,)),
            "event": (self.event, (rows,)),
            "at_risk": (self.at_risk, (rows, k)),
            "covariates": (self.covariates, (rows, p)),
            "enters": (self.enters, (k, p)),
            "weight": (self.weight, (rows,)),
            "cluster": (self.cluster, (rows,)),
        }
        wrong = [
            f"{name} is {array.shape}, not {shape}"
            for name, (array, shape) in shapes.items()
            if array.shape != shape
        ]
        if wrong:
            raise ValueError("event history arrays disagree: " + "; ".join(wrong))

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.person.shape[0])

    @property
    def persons(self) -> int:
        """Number of persons."""
        return int(self.person[-1]) + 1 if self.n else 0

    @property
    def duration(self) -> NDArray[np.float64]:
        """[R] length of each row."""
        return self.stop - self.start

    @property
    def cluster_kind(self) -> str:
        """What errors are clustered by: "person", or "cluster" where clusters are declared."""
        return "person" if np.array_equal(self.cluster, self.person) else "cluster"

    def take(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> EventHistory:
        """The design with some of its rows (a mask, or positions, which may repeat).

        Persons keep their numbers, and ``before`` stays as it is.
        """
        return replace(
            self,
            person=self.person[rows],
            start=self.start[rows],
            stop=self.stop[rows],
            event=self.event[rows],
            at_risk=self.at_risk[rows],
            covariates=self.covariates[rows],
            weight=self.weight[rows],
            cluster=self.cluster[rows],
            spell=None if self.spell is None else self.spell[rows],
            subgroups={
                name: Subgroup(levels=group.levels, codes=group.codes[rows])
                for name, group in self.subgroups.items()
            },
        )


def event_history_from_frame(
    df: pd.DataFrame,
    *,
    id: str,
    event: str,
    exits: str | Mapping[str, str],
    duration: str | None = None,
    start: str | None = None,
    stop: str | None = None,
    covariates: str | Sequence[str] = (),
    programme: str | Sequence[str] = (),
    entries: str | Sequence[str] = (),
    state: str | None = None,
    risk_sets: str | Mapping[str, str | Sequence[str]] | None = None,
    spell: str | None = None,
    observed_from: str | None = None,
    weight: str | None = None,
    cluster: str | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    population: str = "file",
    where: str = "prepared file",
) -> EventHistory:
    """An event history from a prepared file: a row for every stretch of constant covariates.

    ``id`` groups the rows of a person, which must be adjacent and in time order. Times are either
    ``duration``, the length of each row (they add up from 0 within the person, or within ``spell``),
    or ``start`` and ``stop``. ``event`` is what happens at the end of the row, 0 (or none) for
    nothing, with ``exits`` naming the other codes: "1:job,2:programme".

    ``programme`` are 0/1 columns of programme status (waiting, taking part, after ...). They enter
    every transition that isn't an entry to a programme; ``entries`` names those, by default the
    transitions called programme, beginning with programme\\_, or called after a status column. An
    entry is possible only where every status is 0, unless ``state`` (a column) and ``risk_sets``
    ("0:job+programme,1:job") say what is possible in each state.

    ``observed_from`` is the time (one per spell) from which the person is observed: rows, or parts of
    rows, before it become ``before``. Raises InputError naming column and count, never a person.
    """
    names, status = listed(covariates), listed(programme)
    groups = (
        dict(subgroups) if isinstance(subgroups, Mapping) else {k: k for k in listed(subgroups)}
    )
    columns_used = [id, event, duration, start, stop, *names, *status, state, spell, observed_from]
    require_columns(df, [*columns_used, weight, cluster, *groups.values()], where=where)
    if df.empty:
        raise InputError("the file has no rows", where=where)
    for name, what in ((id, "person"), (event, "event code (0 is none)"), (spell, "spell")):
        if name is not None:
            refuse_missing(df[name], column=name, what=what, where=where)
    person = refuse_broken_order(df[id], column=id, what="person", where=where)
    part = person
    if spell is not None:
        both = pd.Series(list(zip(person, df[spell])))
        part = refuse_broken_order(both, column=spell, what="spell", where=where)
    begin, end = row_times(
        df, part, duration=duration, start=start, stop=stop, where=where, restarts=spell is not None
    )
    codes, transitions = exits_of(exits, where="exits")
    happened = event_codes(df[event], codes, transitions, where=where)
    names = tuple(name for name in names if name not in status)
    x, x_names = numeric_covariates(df, names, where=where)
    flags = status_columns(df, status, where=where)
    x, x_names = np.concatenate([x, flags], axis=1), (*x_names, *status)
    at_risk, is_entry = risk_sets_of(
        df,
        flags,
        status=status,
        transitions=transitions,
        entries=listed(entries),
        state=state,
        risk_sets=risk_sets,
        where=where,
    )
    refuse_impossible(happened, at_risk, transitions, person, column=event, where=where)
    enters = np.ones((len(transitions), len(x_names)), dtype=bool)
    enters[np.ix_(is_entry, np.isin(x_names, status))] = False
    w = np.ones(len(df)) if weight is None else numbers(df, weight, what="weight", where=where)
    if (w < 0).any():
        raise InputError(
            f"{int((w < 0).sum())} rows have a negative weight", where=f"{where}, column '{weight}'"
        )
    refuse_varying(w, person, column=weight, where=where)
    unit = person
    if cluster is not None:
        refuse_missing(df[cluster], column=cluster, what="cluster", where=where)
        unit = pd.factorize(df[cluster], sort=True)[0].astype(np.int64)
        refuse_varying(unit, person, column=cluster, where=where)
    used = [name for name in (*columns_used, weight) if name]
    columns: dict[str, Any] = {
        "person": person,
        "start": begin,
        "stop": end,
        "event": happened,
        "at_risk": at_risk,
        "covariates": x,
        "weight": w,
        "cluster": unit,
        "spell": part,
    }
    codes_of = {name: subgroup_of(df[column]) for name, column in groups.items()}
    shared: dict[str, Any] = {
        "transitions": transitions,
        "covariate_names": x_names,
        "enters": enters,
        "programme": status,
        "population": population,
        "fingerprint": frame_fingerprint(df[list(dict.fromkeys(used))]),
    }
    before = None
    if observed_from is not None:
        origin = numbers(df, observed_from, what="time of coming under observation", where=where)
        refuse_varying(origin, part, column=observed_from, where=where)
        columns, earlier, row = split_at(columns, origin, column=observed_from, where=where)
        codes_of = {k: Subgroup(levels=g.levels, codes=g.codes[row]) for k, g in codes_of.items()}
        refuse_never(columns["at_risk"], columns["person"], where=where)
        if earlier["person"].size:
            before = EventHistory(**earlier, **shared)
    refuse_constant(columns["covariates"], columns["at_risk"], enters, x_names, transitions, where)
    persons = int(columns["person"][-1]) + 1
    return EventHistory(
        **columns,
        **shared,
        subgroups=codes_of,
        before=before,
        attrition=Attrition.of(population, [("rows_of_file", persons, len(df))]),
    )
