"""The one result type: a tidy table of estimates with the influence behind them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.inference import Influence


@cache
def schema() -> Mapping[str, Mapping[str, str]]:
    """The columns of a result table in order, each with role, type, meaning, disclosure rule."""
    text = resources.files("tiltakeval.estimates").joinpath("schema.toml").read_text("utf-8")
    return tomllib.loads(text)


def key_columns() -> tuple[str, ...]:
    """The columns that together say what an estimate is of."""
    return tuple(name for name, spec in schema().items() if spec["role"] == "key")


_DEFAULTS: Mapping[str, Any] = {
    "study": "",
    "analysis": "",
    "comparator": "none",
    "subgroup": "all",
    "time_origin": "none",
    "cohort": "",
    "period": "",
    "term": "effect",
    "conf_level": 0.95,
    "band_family": "",
    "status": "ok",
    "source": "",
}


def tidy(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows in the schema's columns, order and types; columns left out get their default.

    Raises ValueError for a column the schema doesn't have.
    """
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    extra = [name for name in table.columns if name not in schema()]
    if extra:
        raise ValueError(f"not in the result schema: {extra}")
    if _is_tidy(table):
        return table.copy()
    columns = {}
    for name, spec in schema().items():
        kind = spec["type"]
        default = _DEFAULTS.get(name, "" if kind == "string" else None)
        if name not in table.columns:
            columns[name] = _filled(kind, default, len(table))
        elif kind == "string":
            missing = table[name].isna().to_numpy()
            texts = np.empty(len(table), dtype=object)
            texts[:] = [
                default if gone else str(value)
                for value, gone in zip(table[name].tolist(), missing)
            ]
            columns[name] = texts
        else:
            values = table[name]
            if name in _DEFAULTS and values.isna().any():
                values = values.where(values.notna(), default)
            numbers = pd.to_numeric(values)
            if kind == "Int64":
                columns[name] = numbers.astype("Int64").array
            else:
                columns[name] = numbers.astype("float64").to_numpy()
    return pd.DataFrame(columns)


def _filled(kind: str, value: Any, size: int) -> Any:
    """A column of one value."""
    if kind == "Int64":
        return pd.array([value] * size, dtype="Int64")
    if kind == "string":
        return np.full(size, value, dtype=object)
    return np.full(size, np.nan if value is None else value, dtype=np.float64)


def _is_tidy(table: pd.DataFrame) -> bool:
    """Whether `tidy` would change nothing."""
    if list(table.columns) != list(schema()) or not isinstance(table.index, pd.RangeIndex):
        return False
    if len(table) == 0 or table.index[0] != 0 or table.index.step != 1:
        return False
    for name, spec in schema().items():
        column, kind = table[name], spec["type"]
        if kind == "string":
            if column.dtype != object or not all(type(v) is str for v in column.tolist()):
                return False
        elif str(column.dtype) != kind or (name in _DEFAULTS and column.isna().any()):
            return False
    return True


@dataclass(frozen=True)
class Estimates:
    """Estimates of any estimator, truths, published figures and reference output alike.

    ``table`` has the columns of ``schema.toml``. ``influence`` (or else ``covariance``, [rows, rows])
    lets estimates be combined with valid errors; a result with neither refuses to be combined.
    ``run`` tells estimator, options, seed, fingerprints and versions.
    """

    table: pd.DataFrame
    influence: Influence | None = None
    covariance: NDArray[np.floating] | None = None
    attrition: Attrition = field(default_factory=Attrition)
    run: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if list(self.table.columns) != list(schema()):
            object.__setattr__(self, "table", tidy(self.table))

    def __len__(self) -> int:
        return len(self.table)

    def positions(self, **where: Any) -> NDArray[np.int64]:
        """Row positions matching every given column (a value, or a collection of values)."""
        mask = np.ones(len(self.table), dtype=bool)
        for name, value in where.items():
            column = self.table[name]
            many = isinstance(value, list | tuple | set | frozenset | np.ndarray | range)
            hit = column.isin(list(value)) if many else column == value
            mask &= hit.fillna(False).to_numpy(dtype=bool)
        return np.flatnonzero(mask)

    def select(self, **where: Any) -> Estimates:
        """The matching rows, with their influence or covariance."""
        return self.take(self.positions(**where))

    def take(self, positions: Sequence[int] | NDArray[np.int64]) -> Estimates:
        """The rows at the given positions, in that order."""
        keep = np.asarray(positions, dtype=np.int64)
        table = self.table.iloc[keep].reset_index(drop=True)
        covariance = None if self.covariance is None else self.covariance[np.ix_(keep, keep)]
        influence = None
        if self.influence is not None and keep.size:
            old = self.influence
            new = np.full(len(self.table), -1, dtype=np.int64)
            new[keep] = np.arange(keep.size)
            values, rows = {}, {}
            for block, where in old.rows.items():
                kept = new[where] >= 0
                if kept.any():
                    values[block] = old.values[block][:, kept]
                    rows[block] = new[where[kept]]
            if values:
                influence = replace(old, values=values, rows=rows)
        return replace(self, table=table, influence=influence, covariance=covariance)

    def assign(self, **columns: Any) -> Estimates:
        """The same estimates with key or note columns set (study, analysis, …)."""
        return replace(self, table=tidy(self.table.assign(**columns)))

    @classmethod
    def concat(cls, parts: Sequence[Estimates]) -> Estimates:
        """The parts below one another. Influence is kept when all share one frame."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls(tidy([]))
        table = pd.concat([part.table for part in parts], ignore_index=True)
        offsets = np.cumsum([0] + [len(part) for part in parts])
        frames = {None if p.influence is None else p.influence.frame for p in parts}
        influence = None
        if len(frames) == 1 and None not in frames:
            first = parts[0].influence
            assert first is not None
            values, rows = {}, {}
            for i, (part, offset) in enumerate(zip(parts, offsets)):
                assert part.influence is not None
                for block, where in part.influence.rows.items():
                    name = f"{i}/{block}" if len(parts) > 1 else block
                    values[name] = part.influence.values[block]
                    rows[name] = where + offset
            influence = replace(first, values=values, rows=rows)
        run: dict[str, Any] = {}
        for part in parts:
            run.update(part.run)
        attrition = Attrition.concat([part.attrition for part in parts])
        return cls(table, influence=influence, attrition=attrition, run=run)

    def write(self, path: Path) -> None:
        """Write the table (parquet or csv by ending), with attrition and run beside it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            self.table.to_csv(path, index=False, float_format="%.10g")
        elif path.suffix == ".parquet":
            self.table.to_parquet(path, index=False)
        else:
            raise InputError(
                f"can't write results as '{path.suffix}'", remedy="Use .parquet or .csv."
            )
        steps = self.attrition.steps.astype(object).where(self.attrition.steps.notna(), None)
        beside = {"run": self.run, "attrition": steps.to_dict(orient="records")}
        path.with_suffix(".json").write_text(
            json.dumps(beside, ensure_ascii=False, indent=1, default=str), "utf-8"
        )

    @classmethod
    def read(cls, path: Path) -> Estimates:
        """Read what ``write`` wrote (without influence). Raises InputError when it isn't there."""
        if not path.exists():
            raise InputError("no such result file", where=path.name)
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        beside = path.with_suffix(".json")
        run, attrition = {}, Attrition()
        if beside.exists():
            stored = json.loads(beside.read_text("utf-8"))
            run = stored["run"]
            if stored["attrition"]:
                attrition = Attrition(pd.DataFrame(stored["attrition"]))
        return cls(tidy(table), attrition=attrition, run=run)

    def records(self) -> list[dict[str, Any]]:
        """JSON-ready rows; missing numbers are None."""
        plain = self.table.astype(object).where(self.table.notna(), None)
        return plain.to_dict(orient="records")
