"""Prepared files with declared columns, straight to a design: as a Stata user works."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.cross_section import COMPARISON, CrossSection, Subgroup
from tiltakeval.errors import InputError, InputErrors, unknown
from tiltakeval.estimates.attrition import Attrition

MAX_LEVELS = 50
MAX_ARMS = 20


def _listed(names: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        return tuple(part.strip() for part in names.split(",") if part.strip())
    return tuple(names)


def require_columns(df: pd.DataFrame, names: Sequence[str | None], *, where: str) -> None:
    """Raise InputErrors naming every column that isn't there, with the nearest that is."""
    known = [str(name) for name in df.columns]
    lost = [name for name in dict.fromkeys(names) if name and name not in known]
    errors = [unknown("column", name, known, where=where) for name in lost]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InputErrors(errors, title=f"{len(errors)} columns aren't in the file")


def _missing(values: pd.Series, *, column: str, what: str, where: str) -> None:
    count = int(values.isna().sum())
    if count:
        raise InputError(
            f"{count} of {len(values)} rows have no {what}", where=f"{where}, column '{column}'",
            remedy="Drop these rows or fill them by a declared rule before estimating.",
        )


def code_arms(
    values: pd.Series, *, comparison: str | float | int | bool | None, where: str,
    names: Mapping[str, str] | None = None,
) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """Arm names (comparison first, called "none") and a code per row.

    0/1 and boolean columns need no declaration: 0 is the comparison and the arm is named after the
    column. Otherwise each value is an arm, and ``comparison`` names the value that isn't.
    """
    column = str(values.name)
    _missing(values, column=column, what="treatment", where=where)
    plain = values.astype(object)
    levels = sorted(plain.unique(), key=lambda v: (str(type(v)), v))
    if len(levels) < 2:
        raise InputError(
            "every row has the same treatment", where=f"{where}, column '{column}'",
            remedy="The file must hold both treated and comparison rows.",
        )
    if len(levels) > MAX_ARMS:
        raise InputError(
            f"{len(levels)} different treatments: more than {MAX_ARMS}",
            where=f"{where}, column '{column}'",
            remedy="The treatment must be a 0/1 column or name a few arms.",
        )
    text = {_text(level): level for level in levels}
    if comparison is not None:
        key = _text(comparison)
        if key not in text:
            raise unknown("value of the treatment column", key, text, where="comparison")
    elif "0" in text:
        key = "0"
    else:
        raise InputError(
            "which rows are the comparison isn't clear", where=f"{where}, column '{column}'",
            remedy=f"Say comparison = one of: {', '.join(sorted(text))}.",
        )
    others = [name for name in text if name != key]
    if len(others) == 1 and others[0] == "1":
        labels = [column]
    elif key == "0" and all(name.lstrip("-").isdigit() for name in others):
        labels = [f"{column}={name}" for name in others]
    else:
        labels = others
    named = [(names or {}).get(raw, label) for raw, label in zip(others, labels)]
    code = {text[key]: 0, **{text[name]: i + 1 for i, name in enumerate(others)}}
    return (COMPARISON, *named), plain.map(code).to_numpy(dtype=np.int16)


def _text(value: object) -> str:
    """A value as text, 1.0 and True like 1."""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def numeric_covariates(
    df: pd.DataFrame, names: Sequence[str], *, where: str
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """[n, p] covariates: numbers as they are, text and categories one indicator a level but the first.

    Raises InputError for missing values (counted) or a text column with too many levels.
    """
    columns: list[NDArray[np.float64]] = []
    labels: list[str] = []
    errors: list[InputError] = []
    for name in names:
        values = df[name]
        place = f"{where}, column '{name}'"
        count = int(values.isna().sum())
        if count:
            errors.append(
                InputError(
                    f"{count} of {len(df)} values of the covariate are missing", where=place,
                    remedy="Fill them by a declared rule and add an indicator for missing.",
                )
            )
            continue
        numeric = pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)
        if numeric and not isinstance(values.dtype, pd.CategoricalDtype):
            array = values.to_numpy(dtype=np.float64)
            if not np.isfinite(array).all():
                errors.append(InputError("the covariate has infinite values", where=place))
                continue
            columns.append(array)
            labels.append(name)
            continue
        levels = sorted(values.astype(str).unique())
        if len(levels) > MAX_LEVELS:
            errors.append(
                InputError(
                    f"the covariate is text with {len(levels)} different values", where=place,
                    remedy=f"Group it into at most {MAX_LEVELS} levels, or make it a number.",
                )
            )
            continue
        for level in levels[1:]:
            columns.append((values.astype(str) == level).to_numpy(dtype=np.float64))
            labels.append(f"{name}={level}")
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InputErrors(errors, title=f"{len(errors)} covariates can't be used")
    matrix = np.stack(columns, axis=1) if columns else np.zeros((len(df), 0))
    return matrix, tuple(labels)


def _outcome(df: pd.DataFrame, name: str, *, where: str) -> NDArray[np.float32]:
    values = df[name]
    if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
        raise InputError(
            "an outcome must be a number", where=f"{where}, column '{name}'",
            remedy="Code it as a number (0/1 for a share).",
        )
    array = values.astype("float64").to_numpy(dtype=np.float64)
    if not np.isfinite(array).any():
        raise InputError("no value of the outcome is observed", where=f"{where}, column '{name}'")
    return np.where(np.isfinite(array), array, np.nan).astype(np.float32)


def _unit(values: NDArray) -> str:
    seen = values[np.isfinite(values)]
    return "share" if np.isin(seen, (0, 1)).all() else "value"


def cross_section_from_frame(
    df: pd.DataFrame,
    *,
    treatment: str,
    outcome: str | Sequence[str],
    covariates: str | Sequence[str] = (),
    weight: str | None = None,
    cluster: str | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    comparison: str | float | int | bool | None = None,
    placebo: str | Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    arms: Mapping[str, str] | None = None,
    population: str = "file",
    estimand: str = "vs_comparison",
    where: str = "prepared file",
) -> CrossSection:
    """A cross-section from a prepared file: one row a unit (or several, sharing ``cluster``).

    ``treatment`` is 0/1, or names the arms with ``comparison`` the value that is none of them;
    ``arms`` renames values. ``outcome`` are columns (missing values: not observed). ``covariates``
    must be complete; text becomes indicators. ``subgroups`` are columns (or name: column) whose
    values are the levels; ``placebo`` outcomes from before the treatment. Raises InputError with the
    column, the count of missing values or the nearest valid name.
    """
    outcomes, names = _listed(outcome), _listed(covariates)
    before = _listed(placebo)
    groups = (
        dict(subgroups) if isinstance(subgroups, Mapping) else {k: k for k in _listed(subgroups)}
    )
    if not outcomes:
        raise InputError("no outcome is declared", where=where, remedy="Say outcome = a column.")
    require_columns(
        df, [treatment, *outcomes, *names, weight, cluster, *groups.values(), *before],
        where=where,
    )
    used = [name for name in names if name in (treatment, *outcomes)]
    if used:
        raise InputError(
            f"'{used[0]}' is both a covariate and the treatment or an outcome", where=where
        )
    if df.empty:
        raise InputError("the file has no rows", where=where)
    labels, arm = code_arms(df[treatment], comparison=comparison, where=where, names=arms)
    x, x_names = numeric_covariates(df, names, where=where)
    w = np.ones(len(df))
    if weight is not None:
        _missing(df[weight], column=weight, what="weight", where=where)
        w = df[weight].to_numpy(dtype=np.float64)
    person = np.arange(len(df), dtype=np.int64)
    if cluster is not None:
        _missing(df[cluster], column=cluster, what="cluster", where=where)
        person = pd.factorize(df[cluster], sort=True)[0].astype(np.int64)
    y = np.stack([_outcome(df, name, where=where) for name in outcomes], axis=1)[:, None, :]
    y0 = None
    if before:
        y0 = np.stack([_outcome(df, name, where=where) for name in before], axis=1)[:, None, :]
    declared = units or {}
    attrition = Attrition.of(population, [("rows_of_file", int(np.unique(person).size), len(df))])
    return CrossSection(
        arms=labels,
        arm=arm,
        eligible=np.ones((len(df), len(labels)), dtype=bool),
        weight=w,
        person=person,
        covariates=x,
        covariate_names=x_names,
        outcomes=y,
        outcome_names=outcomes,
        units=tuple(declared.get(k, _unit(y[:, 0, i])) for i, k in enumerate(outcomes)),
        horizons=(None,),
        placebo=y0,
        placebo_names=before,
        placebo_horizons=(-1,) if before else (),
        subgroups={name: subgroup_of(df[column]) for name, column in groups.items()},
        population=population,
        estimand=estimand,
        time_origin="none",
        attrition=attrition,
        fingerprint=frame_fingerprint(
            df[list(dict.fromkeys([treatment, *outcomes, *names, *groups.values(), *before]))]
        ),
    )


def subgroup_of(values: pd.Series) -> Subgroup:
    """A subgrouping by a column's values; missing values are in no level."""
    codes, levels = pd.factorize(values, sort=True)
    if len(levels) > MAX_LEVELS:
        raise InputError(
            f"{len(levels)} levels are too many for subgroups", where=f"column '{values.name}'",
            remedy=f"Group it into at most {MAX_LEVELS} levels.",
        )
    return Subgroup(levels=tuple(_text(level) for level in levels), codes=codes.astype(np.int16))


def frame_fingerprint(df: pd.DataFrame) -> str:
    """A short hash of the columns' names and values, whatever the index."""
    digest = hashlib.sha256("|".join(map(str, df.columns)).encode())
    hashed = pd.util.hash_pandas_object(df.reset_index(drop=True), index=False)
    digest.update(hashed.to_numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Durations:
    """n spells: ``duration`` [n] > 0, ``event`` [n] 0 = censored, 1.. = ``event_names``, and arms.

    ``entry`` [n] is the time from which the spell is observed (left truncation), 0 by default.
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
    attrition: Attrition = Attrition()
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
    weight: str | None = None,
    cluster: str | None = None,
    entry: str | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    comparison: str | float | int | bool | None = None,
    censored: str | float | int | None = 0,
    population: str = "file",
    where: str = "prepared file",
) -> Durations:
    """Spells from a prepared file: a row a spell.

    ``event`` is one column whose values name the exit, ``censored`` the value for none (a 0/1 column
    is an exit called after the column), or several 0/1 columns, at most one of them 1 in a row.
    Without ``treatment`` all rows are one arm. Raises InputError.
    """
    columns = _listed(event)
    groups = (
        dict(subgroups) if isinstance(subgroups, Mapping) else {k: k for k in _listed(subgroups)}
    )
    require_columns(
        df, [duration, *columns, treatment, weight, cluster, entry, *groups.values()], where=where
    )
    if df.empty:
        raise InputError("the file has no rows", where=where)
    for name in (duration, *columns, weight, cluster, entry):
        if name:
            _missing(df[name], column=name, what="value", where=where)
    length = df[duration].to_numpy(dtype=np.float64)
    start = np.zeros(len(df)) if entry is None else df[entry].to_numpy(dtype=np.float64)
    if (length <= start).any():
        raise InputError(
            f"{int((length <= start).sum())} spells don't last beyond their entry",
            where=f"{where}, column '{duration}'", remedy="Durations must be above 0 (and entry).",
        )
    names, code = _events(df, columns, censored=censored, where=where)
    arms, arm = ("all",), np.zeros(len(df), dtype=np.int16)
    if treatment is not None:
        arms, arm = code_arms(df[treatment], comparison=comparison, where=where)
    person = np.arange(len(df), dtype=np.int64)
    if cluster is not None:
        person = pd.factorize(df[cluster], sort=True)[0].astype(np.int64)
    w = np.ones(len(df)) if weight is None else df[weight].to_numpy(dtype=np.float64)
    attrition = Attrition.of(population, [("rows_of_file", int(np.unique(person).size), len(df))])
    return Durations(
        duration=length, event=code, event_names=names, arm=arm, arms=arms, weight=w,
        person=person, entry=start, population=population, attrition=attrition,
        subgroups={name: subgroup_of(df[column]) for name, column in groups.items()},
        fingerprint=frame_fingerprint(df[[duration, *columns]]),
    )


def _events(
    df: pd.DataFrame, columns: Sequence[str], *, censored: str | float | int | None, where: str
) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """Names of the exits and a code per row, 0 where censored."""
    if len(columns) > 1:
        flags = df[list(columns)].to_numpy(dtype=np.float64)
        if not np.isin(flags, (0, 1)).all() or (flags.sum(axis=1) > 1).any():
            raise InputError(
                "several exit columns must be 0/1 with at most one 1 in a row",
                where=f"{where}, columns {', '.join(columns)}",
            )
        found = np.where(flags.any(axis=1), flags.argmax(axis=1) + 1, 0)
        return tuple(columns), found.astype(np.int16)
    if not columns:
        raise InputError("no exit is declared", where=where, remedy="Say event = a column.")
    values = df[columns[0]].map(_text)
    none = _text(censored)
    levels = sorted(level for level in values.unique() if level != none)
    if not levels:
        raise InputError("every spell is censored", where=f"{where}, column '{columns[0]}'")
    names = (columns[0],) if levels == ["1"] else tuple(levels)
    code = values.map({none: 0, **{level: i + 1 for i, level in enumerate(levels)}})
    return names, code.to_numpy(dtype=np.int16)
