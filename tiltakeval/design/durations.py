"""Spells until an exit: what the non-parametric duration estimators see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import (
    as_text,
    code_arms,
    frame_fingerprint,
    listed,
    numeric_covariates,
    refuse_missing,
    require_columns,
    subgroup_of,
)
from tiltakeval.design.cross_section import Subgroup
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.attrition import Attrition


@dataclass(frozen=True, kw_only=True)
class Durations:
    """n spells: ``duration`` [n] > 0, ``event`` [n] 0 = censored, 1.. = ``event_names``, and arms.

    ``entry`` [n] is the time from which the spell is observed (left truncation), 0 by default.
    ``covariates`` [n, p] are known at time 0 and serve to weight the arms. ``time_unit`` is that of
    durations.
    """

    duration: NDArray[np.float64]
    event: NDArray[np.int16]
    event_names: tuple[str, ...]
    arm: NDArray[np.int16]
    arms: tuple[str, ...]
    weight: NDArray[np.float64]
    person: NDArray[np.int64]
    entry: NDArray[np.float64]
    subgroups: Mapping[str, Subgroup]
    population: str
    estimand: str = "vs_comparison"
    time_origin: str = "none"
    unit: str = "share"
    time_unit: str = "months"
    covariates: NDArray[np.float64] | None = None
    covariate_names: tuple[str, ...] = ()
    attrition: Attrition = field(default_factory=Attrition)
    fingerprint: str = ""

    @property
    def n(self) -> int:
        """Number of spells."""
        return int(self.duration.shape[0])


def durations_from_frame(
    df: pd.DataFrame,
    *,
    duration: str,
    event: str | Sequence[str],
    treatment: str | None = None,
    covariates: str | Sequence[str] = (),
    weight: str | None = None,
    cluster: str | None = None,
    entry: str | None = None,
    id: str | None = None,
    exits: str | Mapping[str, str] | None = None,
    programme: str | Sequence[str] = (),
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    comparison: str | float | int | bool | None = None,
    censored: str | float | int | None = 0,
    time_unit: str = "months",
    population: str = "file",
    where: str = "prepared file",
) -> Durations:
    """Spells from a prepared file: a row a spell, or, with ``id``, several rows a spell.

    ``event`` is one column whose values name the exit, ``censored`` the value for none (a 0/1 column
    is an exit called after the column), or several 0/1 columns, at most one of them 1 in a row.
    ``exits`` ("1:job,2:programme") names the values of one column. Without ``treatment`` all rows
    are one arm; ``covariates`` (from time 0) let the estimator weight the arms.

    With ``id``, rows of a person follow one another and ``duration`` is the length of each (the first
    begins at ``entry``, by default 0); the spell
    ends with its first exit of any kind, and later rows of the person don't count. Errors are
    clustered by ``id`` unless ``cluster`` says otherwise; other columns are read from the first row.
    ``programme`` names columns of programme status, which regressions read and these curves don't.
    Raises InputError with the column and the number of rows at fault.
    """
    columns, names = listed(event), listed(covariates)
    groups = (
        dict(subgroups) if isinstance(subgroups, Mapping) else {k: k for k in listed(subgroups)}
    )
    read = [duration, *columns, treatment, weight, cluster, entry, id, *names, *groups.values()]
    require_columns(df, [*read, *listed(programme)], where=where)
    if df.empty:
        raise InputError("the file has no rows", where=where)
    for name in (duration, *columns, weight, cluster, entry, id):
        if name:
            refuse_missing(df[name], column=name, what="value", where=where)
    length = _numbers(df, duration, where=where)
    start = np.zeros(len(df)) if entry is None else _numbers(df, entry, where=where)
    event_names, code = _events(df, columns, censored=censored, exits=exits, where=where)
    steps: list[tuple[str, int | None, int | None]] = []
    if id is not None:
        if (length <= 0).any():
            raise InputError(
                f"{int((length <= 0).sum())} rows have no length above 0",
                where=f"{where}, column '{duration}'",
            )
        keep, length, code = _joined(df[id], length, code, where=f"{where}, column '{id}'")
        steps.append(("rows_of_file", int(keep.size), len(df)))
        df, start = df.iloc[keep], start[keep]
        length = length + start
    if (start < 0).any() or (length <= start).any():
        bad = int(((length <= start) | (start < 0)).sum())
        raise InputError(
            f"{bad} spells don't last beyond their entry",
            where=f"{where}, column '{duration}'",
            remedy="Durations must be above 0 (and entry), entries at least 0.",
        )
    arms: tuple[str, ...] = ("all",)
    arm = np.zeros(len(df), dtype=np.int16)
    if treatment is not None:
        arms, arm = code_arms(df[treatment], comparison=comparison, where=where)
    clustering = cluster or id
    person = np.arange(len(df), dtype=np.int64)
    if clustering is not None:
        person = pd.factorize(df[clustering], sort=True)[0].astype(np.int64)
    w = np.ones(len(df)) if weight is None else _numbers(df, weight, where=where)
    if (w < 0).any() or not w.any():
        raise InputError(
            f"{int((w < 0).sum())} weights are below 0, {int((w == 0).sum())} are 0",
            where=f"{where}, column '{weight}'",
        )
    x, x_names = numeric_covariates(df, names, where=where) if names else (None, ())
    step = "spells" if id is not None else "rows_of_file"
    steps.append((step, int(person.max()) + 1, len(df)))
    return Durations(
        duration=length,
        event=code,
        event_names=event_names,
        arm=arm,
        arms=arms,
        weight=w,
        person=person,
        entry=start,
        population=population,
        time_unit=time_unit,
        covariates=x,
        covariate_names=x_names,
        attrition=Attrition.of(population, steps),
        subgroups={name: subgroup_of(df[column]) for name, column in groups.items()},
        fingerprint=frame_fingerprint(
            df[[c for c in dict.fromkeys([duration, *columns, entry, treatment, weight]) if c]]
        ),
    )


def _numbers(df: pd.DataFrame, name: str, *, where: str) -> NDArray[np.float64]:
    """A column of finite numbers. Raises InputError."""
    values = df[name]
    if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
        raise InputError("the column must hold numbers", where=f"{where}, column '{name}'")
    out = values.to_numpy(dtype=np.float64)
    bad = int((~np.isfinite(out)).sum())
    if bad:
        raise InputError(f"{bad} values are infinite", where=f"{where}, column '{name}'")
    return out


def _joined(
    person: pd.Series, length: NDArray[np.float64], code: NDArray[np.int16], *, where: str
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.int16]]:
    """First row of every person's spell, its whole length up to its first exit, and that exit."""
    number = pd.factorize(person)[0]
    begins = np.flatnonzero(np.r_[True, number[1:] != number[:-1]])
    if begins.size != number.max() + 1:
        raise InputError(
            f"the rows of {begins.size - int(number.max()) - 1} spells aren't together",
            where=where,
            remedy="Sort the file by id, then time.",
        )
    ends = np.r_[begins[1:], number.size]
    exits = np.flatnonzero(code > 0)
    after = np.searchsorted(exits, begins)
    next_exit = np.r_[exits, number.size][after]
    stops = np.where(next_exit < ends, next_exit, ends - 1)
    # summed person by person, so that equal lengths stay tied
    bounds = np.stack([begins, stops + 1], axis=1).reshape(-1)
    total = np.add.reduceat(np.r_[length, 0.0], bounds)[::2]
    return begins, total, code[stops]


def _events(
    df: pd.DataFrame,
    columns: Sequence[str],
    *,
    censored: str | float | int | None,
    exits: str | Mapping[str, str] | None,
    where: str,
) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """Names of the exits and a code per row, 0 where censored."""
    if not columns:
        raise InputError("no exit is declared", where=where, remedy="Say event = a column.")
    if len(columns) > 1:
        if exits is not None:
            raise InputError(
                "exits names the values of one column; several are declared", where="exits"
            )
        flags = df[list(columns)].to_numpy(dtype=np.float64)
        if not np.isin(flags, (0, 1)).all() or (flags.sum(axis=1) > 1).any():
            raise InputError(
                "several exit columns must be 0/1 with at most one 1 in a row",
                where=f"{where}, columns {', '.join(columns)}",
            )
        if not flags.any():
            raise InputError("every spell is censored", where=f"{where}, {', '.join(columns)}")
        found = np.where(flags.any(axis=1), flags.argmax(axis=1) + 1, 0)
        return tuple(columns), found.astype(np.int16)
    place = f"{where}, column '{columns[0]}'"
    raw, values = pd.factorize(df[columns[0]])
    texts = [as_text(value) for value in values]
    none = as_text(censored)
    levels = sorted({text for text in texts if text != none})
    if not levels:
        raise InputError("every spell is censored", where=place)
    if exits is None:
        names = (columns[0],) if levels == ["1"] else tuple(levels)
    else:
        named = _named(exits)
        strange = [text for text in levels if text not in named]
        if strange:
            raise unknown("exit", strange[0], named, where=place)
        levels = [text for text in named if text != none]
        names = tuple(named[text] for text in levels)
    number = {none: 0, **{level: i + 1 for i, level in enumerate(levels)}}
    return names, np.array([number[text] for text in texts], dtype=np.int16)[raw]


def _named(exits: str | Mapping[str, str]) -> dict[str, str]:
    """``1:job,2:education`` as a mapping of values to names. Raises InputError."""
    if isinstance(exits, Mapping):
        return {as_text(value): str(name) for value, name in exits.items()}
    out: dict[str, str] = {}
    for part in listed(exits):
        value, sign, name = part.partition(":")
        if not sign or not name or value in out or name in out.values():
            raise InputError(
                f"'{part}' isn't value:name, or repeats one",
                where="exits",
                remedy="For example: exits=1:job,2:education",
            )
        out[value] = name
    if not out:
        raise InputError("no exit is named", where="exits")
    return out
