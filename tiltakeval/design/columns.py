"""Columns of a prepared file, read with errors that name the column and what to do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.cross_section import COMPARISON, Subgroup
from tiltakeval.errors import InputError, InputErrors, unknown

MAX_LEVELS = 50
MAX_ARMS = 20


def listed(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names from a sequence, or from text with commas."""
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


def refuse_missing(values: pd.Series, *, column: str, what: str, where: str) -> None:
    """Raise InputError when values of the column are missing, with their count."""
    count = int(values.isna().sum())
    if count:
        raise InputError(
            f"{count} of {len(values)} rows have no {what}",
            where=f"{where}, column '{column}'",
            remedy="Drop these rows or fill them by a declared rule before estimating.",
        )


def code_arms(
    values: pd.Series,
    *,
    comparison: str | float | int | bool | None,
    where: str,
    names: Mapping[str, str] | None = None,
) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """Arm names (comparison first, called "none") and a code per row.

    0/1 and boolean columns need no declaration: 0 is the comparison and the arm is named after the
    column. Otherwise each value is an arm, and ``comparison`` names the value that isn't.
    """
    column = str(values.name)
    refuse_missing(values, column=column, what="treatment", where=where)
    plain = values.astype(object)
    levels = sorted(plain.unique(), key=lambda v: (str(type(v)), v))
    if len(levels) < 2:
        raise InputError(
            "every row has the same treatment",
            where=f"{where}, column '{column}'",
            remedy="The file must hold both treated and comparison rows.",
        )
    if len(levels) > MAX_ARMS:
        raise InputError(
            f"{len(levels)} different treatments: more than {MAX_ARMS}",
            where=f"{where}, column '{column}'",
            remedy="The treatment must be a 0/1 column or name a few arms.",
        )
    text = {as_text(level): level for level in levels}
    if comparison is not None:
        key = as_text(comparison)
        if key not in text:
            raise unknown("value of the treatment column", key, text, where="comparison")
    elif "0" in text:
        key = "0"
    else:
        raise InputError(
            "which rows are the comparison isn't clear",
            where=f"{where}, column '{column}'",
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


def as_text(value: object) -> str:
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
                    f"{count} of {len(df)} values of the covariate are missing",
                    where=place,
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
                    f"the covariate is text with {len(levels)} different values",
                    where=place,
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


def outcome_column(df: pd.DataFrame, name: str, *, where: str) -> NDArray[np.float32]:
    """[n] float32 outcome, NaN where missing. Raises InputError for text or nothing observed."""
    values = df[name]
    if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
        raise InputError(
            "an outcome must be a number",
            where=f"{where}, column '{name}'",
            remedy="Code it as a number (0/1 for a share).",
        )
    array = values.astype("float64").to_numpy(dtype=np.float64)
    if not np.isfinite(array).any():
        raise InputError("no value of the outcome is observed", where=f"{where}, column '{name}'")
    return np.where(np.isfinite(array), array, np.nan).astype(np.float32)


def unit_of(values: NDArray) -> str:
    """``share`` for 0/1 values, else ``value``."""
    flat = values.reshape(-1)
    for piece in pieces(flat.size):  # most columns show what they are at once
        seen = flat[piece]
        if (np.isfinite(seen) & (seen != 0) & (seen != 1)).any():
            return "value"
    return "share"


def pieces(size: int) -> Iterator[slice]:
    """Slices of at most 65,536 rows: what is made of them stays in the cache, and no fresh memory is
    asked for."""
    return (slice(i, min(i + 65_536, size)) for i in range(0, size, 65_536))


def subgroup_of(values: pd.Series) -> Subgroup:
    """A subgrouping by a column's values; missing values are in no level."""
    codes, levels = pd.factorize(values, sort=True)
    if len(levels) > MAX_LEVELS:
        raise InputError(
            f"{len(levels)} levels are too many for subgroups",
            where=f"column '{values.name}'",
            remedy=f"Group it into at most {MAX_LEVELS} levels.",
        )
    return Subgroup(levels=tuple(as_text(level) for level in levels), codes=codes.astype(np.int16))


def frame_fingerprint(df: pd.DataFrame) -> str:
    """A short hash of the columns' names and values, whatever the index."""
    digest = hashlib.sha256("|".join(map(str, df.columns)).encode())
    hashed = pd.util.hash_pandas_object(df.reset_index(drop=True), index=False)
    digest.update(hashed.to_numpy().tobytes())
    return digest.hexdigest()[:16]
