"""Small counts in the detail tables of checks."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tiltakeval.disclosure.rules import RuleSet
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check

_COUNT = re.compile(r"^(n|n_.*|.*_n|persons|.*units|count|counts|.*_count|number|events)$")
_PERSON = re.compile(r"^(person_?id|participation_?id|fnr|fodselsnummer|lopenr.*|unit_?id)$", re.I)
_KEYS = ("horizon", "month", "level", "year", "threshold", "trial", "period", "bin", "fold")
_ESTIMATES = ("estimate", "std_error", "conf_low", "conf_high", "mean_treated", "mean_comparison")
_SHARE = re.compile(r"^(mean|share)_(.+)$")


def is_count_name(name: str) -> bool:
    """Whether a column or value called so must be taken for a count of persons."""
    return _COUNT.match(name) is not None


def release_detail(
    check: Check, rules: RuleSet
) -> tuple[pd.DataFrame | None, list[tuple[str, int, str]]]:
    """A check's detail table with small counts and their rows' numbers missing, and what was done.

    Columns in ``check.counts`` are counts; columns named like one are taken for counts even if
    undeclared. Estimates in a table without any count are left out. A mean or share between 0 and 1
    beside a count (``mean_x`` and ``n_x``) is small when it stands for few persons. When the shown
    rows would give a hidden count away from the column's total, the next smallest row is hidden too.
    Raises InputError for a column of person identifiers or a declared count that isn't there.
    """
    if check.detail is None:
        return None, []
    table = check.detail.reset_index(drop=True).copy()
    where = f"check '{check.key}'"
    for name in table.columns:
        if _PERSON.match(str(name)):
            raise InputError(
                f"the detail table has the column '{name}'",
                where=where,
                remedy="Details of checks are aggregates; never rows of persons.",
            )
    absent = [name for name in check.counts if name not in table.columns]
    if absent:
        raise InputError(f"no column {absent} in the detail table", where=where)
    counts = [n for n in table.columns if n in check.counts or _looks_counted(table, str(n))]
    log: list[tuple[str, int, str]] = []
    if not counts:
        bare = [name for name in _ESTIMATES if name in table.columns]
        table = table.drop(columns=bare)
        log += [(name, len(table), "no count says how many persons it rests on") for name in bare]
    hidden = np.zeros(len(table), dtype=bool)
    for name in counts:
        values = _floats(table[name])
        small = rules.small(values) | _few_of(table, str(name), values, rules)
        if small.any():
            log.append((str(name), int(small.sum()), "small"))
        hidden |= small
    hidden |= _few_left(table, [str(name) for name in counts], hidden, rules, log)
    parts = [values for name in counts if len(set(values := _floats(table[name]))) > 1]
    hidden = _cover(hidden, parts, rules, log) if parts else hidden
    for name in table.columns:
        if str(name) in _KEYS or not pd.api.types.is_numeric_dtype(table[name]):
            continue
        if name in counts:
            rounded = pd.Series(rules.rounded(_floats(table[name]))).mask(hidden)
            whole = bool((rounded.dropna() % 1 == 0).all())
            table[name] = rounded.astype("Int64") if whole else rounded
        elif hidden.any():
            table[name] = table[name].astype("float64").mask(hidden)
    if counts:
        table["status"] = np.where(hidden, "suppressed", "ok")
    return table, log


def _floats(column: pd.Series) -> np.ndarray:
    return pd.to_numeric(column).astype("float64").to_numpy(dtype="float64", na_value=np.nan)


def _looks_counted(table: pd.DataFrame, name: str) -> bool:
    column = table[name]
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return False
    return is_count_name(name)


def _few_of(table: pd.DataFrame, name: str, counts: np.ndarray, rules: RuleSet) -> np.ndarray:
    """Rows where a share of the count's group stands for few persons, or all but few."""
    out = np.zeros(len(table), dtype=bool)
    for column in table.columns:
        found = _SHARE.match(str(column))
        if found is None or name not in (f"n_{found[2]}", "n"):
            continue
        share = _floats(table[column])
        with np.errstate(invalid="ignore"):
            inside = (share > 0) & (share < 1)
            few = np.round(share * counts), np.round((1 - share) * counts)
        out |= inside & (rules.small(few[0]) | rules.small(few[1]))
    return out


def _families(names: pd.Series) -> np.ndarray:
    """[n] which rows are levels of one variable ("name=level", or a common first word); -1 alone."""
    stem = (
        names.str.split("=", n=1).str[0].where(names.str.contains("="), names.str.split("_").str[0])
    )
    many = stem.groupby(stem).transform("size") > 1
    return pd.factorize(stem.where(many | names.str.contains("=")))[0]


def _few_left(
    table: pd.DataFrame,
    counts: Sequence[str],
    hidden: np.ndarray,
    rules: RuleSet,
    log: list[tuple[str, int, str]],
) -> np.ndarray:
    """Levels ("name=level") to hide because one minus the shares shown stands for few persons.

    Also guards a level left out of the table as the reference.
    """
    label = next((c for c in ("covariate", "variable", "level") if c in table.columns), None)
    pairs = [
        (f"{stem}_{name.removeprefix('n_')}", name)
        for name in counts
        for stem in ("mean", "share")
        if name.startswith("n_") and f"{stem}_{name.removeprefix('n_')}" in table.columns
    ]
    extra = np.zeros(len(table), dtype=bool)
    if label is None or not pairs:
        return extra
    group = _families(table[label].astype(str))
    out = hidden.copy()
    for code in range(group.max(initial=-1) + 1):
        rows = np.flatnonzero(group == code)
        for share, count in pairs:
            part = _floats(table[share])[rows]
            if not ((part >= 0) & (part <= 1)).all():
                continue
            persons = np.round(part * _floats(table[count])[rows])
            total = np.nanmax(_floats(table[count])[rows])
            while (shown := ~out[rows]).any():
                rest = total - np.nansum(persons[shown])
                if not 0 < rest < rules.threshold:
                    break
                out[rows[np.argmin(np.where(shown, persons, np.inf))]] = True
    extra = out & ~hidden
    if extra.any():
        log.append(("all", int(extra.sum()), "one minus the shares shown"))
    return extra


def _cover(
    hidden: np.ndarray,
    columns: Sequence[np.ndarray],
    rules: RuleSet,
    log: list[tuple[str, int, str]],
) -> np.ndarray:
    """Hide further rows until the hidden counts of a column never add up to a small number."""
    hidden = hidden.copy()
    extra = 0
    while hidden.any() and not hidden.all():
        sums = [np.nansum(values[hidden]) for values in columns]
        if not any(0 < total < rules.threshold for total in sums) and hidden.sum() > 1:
            break
        size = np.sum([np.nan_to_num(values) for values in columns], axis=0)
        size = np.where(hidden, np.inf, size)
        hidden[int(np.argmin(size))] = True
        extra += 1
    if extra:
        log.append(("all", extra, "total minus the rows shown"))
    return hidden
