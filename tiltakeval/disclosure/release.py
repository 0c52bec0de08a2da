"""The gate: results in, released results out. Pages, figures and published files take these only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.disclosure.cells import keep_steps
from tiltakeval.disclosure.details import is_count_name, release_detail
from tiltakeval.disclosure.rules import RuleSet, load_rules
from tiltakeval.disclosure.suppress import (
    COUNTS,
    VALUES,
    Uncounted,
    hidden_rows,
    stepped_counts,
)
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates, key_columns, schema

_PASS = object()
# shares of the participants, given to the nearest per cent so that they can't be turned into counts
COARSE_SHARES = ("outside", "clipped", "trimmed", "trimmed_treated", "largest_weight")
COUNTED_STATISTICS = (
    *("support", "overlap", "effective_units"),
    *("units_left_out", "overlap_in_cells", "rows_not_imputed", "treated_clusters"),
    "rows_without_covariates",
)
LOG_COLUMNS = (*key_columns(), "column", "reason")


class NotReleasedError(TypeError):
    """Something that hasn't passed disclosure control was handed to a page, figure or file."""


class Gated:
    """A frozen object that only this module builds."""

    __slots__ = ("_log", "_rules", "_sealed", "_table")
    _kind = ""
    _table: pd.DataFrame
    _rules: RuleSet
    _log: pd.DataFrame

    def __init__(
        self, table: pd.DataFrame, rules: RuleSet, log: pd.DataFrame, *, _pass: object = None
    ) -> None:
        if _pass is not _PASS:
            raise NotReleasedError(
                f"{type(self).__name__} can't be built by hand; use the functions of "
                "tiltakeval.disclosure.release (release_estimates, release_checks, "
                "release_attrition)"
            )
        for name, value in (("_table", table), ("_rules", rules), ("_log", log), ("_sealed", True)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __reduce__(self) -> Any:
        raise NotReleasedError(f"{type(self).__name__} can't be pickled; write_released keeps it")

    def __len__(self) -> int:
        return len(self._table)

    @property
    def table(self) -> pd.DataFrame:
        """A copy of the released table: suppressed numbers missing, status "suppressed"."""
        return self._table.copy()

    @property
    def rules(self) -> RuleSet:
        """The rule set it was released under."""
        return self._rules

    @property
    def log(self) -> pd.DataFrame:
        """A copy of the suppression log: which cells, why; never the numbers."""
        return self._log.copy()


class Released(Gated):
    """Released estimates (truths and published figures too); columns as in ``schema.toml``."""

    __slots__ = ("_coded",)
    _kind = "estimates"
    _coded: dict[str, tuple[NDArray[np.intp], pd.Index]]

    def __init__(
        self, table: pd.DataFrame, rules: RuleSet, log: pd.DataFrame, *, _pass: object = None
    ) -> None:
        super().__init__(table, rules, log, _pass=_pass)
        object.__setattr__(self, "_coded", {})

    def select(self, **where: Any) -> Released:
        """The rows matching every given column (a value, a list of values, or None for missing)."""
        rows: NDArray[np.intp] = np.arange(len(self))
        for name, value in where.items():
            codes, levels = self._codes(name)
            if value is None:
                rows = rows[codes[rows] == -1]
                continue
            many = isinstance(value, list | tuple | set | frozenset | range)
            hit = levels.isin(list(value) if many else [value])
            rows = rows[np.append(hit, False)[codes[rows]]]  # -1, missing, finds the last
        part = self._table.iloc[rows].reset_index(drop=True)
        return Released(part, self._rules, self._log, _pass=_PASS)

    def _codes(self, name: str) -> tuple[NDArray[np.intp], pd.Index]:
        """A column as numbers, -1 for missing, and their values: a page selects a thousand times."""
        if name not in self._coded:
            codes, levels = pd.factorize(self._table[name])
            self._coded[name] = codes, pd.Index(levels)
        return self._coded[name]


@dataclass(frozen=True, kw_only=True)
class ReleasedCheck:
    """One check as it may be shown."""

    key: str
    status: str
    scope: Mapping[str, str]
    statistic: float | None
    threshold: float | None
    message: Mapping[str, Any]
    detail: pd.DataFrame | None


class ReleasedChecks(Gated):
    """Released checks; ``table`` has one row per check, ``items`` the checks with their details."""

    __slots__ = ("_items",)
    _kind = "checks"
    _items: tuple[ReleasedCheck, ...]

    def __init__(
        self,
        table: pd.DataFrame,
        rules: RuleSet,
        log: pd.DataFrame,
        items: tuple[ReleasedCheck, ...] = (),
        *,
        _pass: object = None,
    ) -> None:
        super().__init__(table, rules, log, _pass=_pass)
        object.__setattr__(self, "_items", items)

    @property
    def items(self) -> tuple[ReleasedCheck, ...]:
        """The checks, in order."""
        return self._items


class ReleasedAttrition(Gated):
    """Released attrition: population, step, persons, units, removed_persons, removed_units, status."""

    __slots__ = ()
    _kind = "attrition"


AnyReleased = Released | ReleasedChecks | ReleasedAttrition
G = TypeVar("G", bound=Gated)


def require_released(value: object, kind: type[G] | tuple[type[Any], ...], what: str) -> G:
    """``value`` if it passed disclosure control. Raises NotReleasedError otherwise."""
    if not isinstance(value, kind):
        names = kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind)
        raise NotReleasedError(
            f"{what} takes {names}, not {type(value).__name__}; pass it through "
            "tiltakeval.disclosure.release first"
        )
    return value  # type: ignore[return-value]


def _rules(rules: RuleSet | str) -> RuleSet:
    return load_rules(rules) if isinstance(rules, str) else rules


def release_estimates(
    estimates: Estimates, rules: RuleSet | str, *, uncounted: Uncounted = "withhold"
) -> Released:
    """Estimates with every small cell, and what would give one away, suppressed.

    A row is suppressed (status "suppressed", all values and counts missing) when a count it rests on
    is small; when few persons have, or lack, the outcome; when the row for everybody minus the rows
    shown would give it; when it adds up a suppressed month. Counts that differ by little from the
    month printed before are left out. A row without any count rests on nobody knows how many and is
    suppressed too, unless ``uncounted="allow"`` (a known truth of invented persons, published
    figures). Influence, run and attrition don't come along.
    """
    rule = _rules(rules)
    table = estimates.table.reset_index(drop=True).copy()
    reason = hidden_rows(table, rule, uncounted=uncounted)
    hidden = (reason != "").to_numpy()
    steps = stepped_counts(table, rule, hidden)
    notes = [table.loc[hidden, list(key_columns())].assign(column="all", reason=reason[hidden])]
    for name, blank in steps.items():
        blank = blank & ~hidden
        table[name] = table[name].mask(blank)
        keys = table.loc[blank, list(key_columns())]
        notes.append(keys.assign(column=name, reason="differs by little from the month before"))
    for name in COUNTS:
        counts = rule.rounded(table[name].astype("float64").to_numpy(dtype="float64"))
        kept = pd.Series(counts).mask(hidden)
        table[name] = kept if schema()[name]["type"] == "float64" else kept.astype("Int64")
    for name in VALUES:
        table[name] = table[name].mask(hidden)
    table["status"] = table["status"].mask(hidden, "suppressed")
    log = pd.concat(notes, ignore_index=True)[list(LOG_COLUMNS)]
    return Released(table, rule, log, _pass=_PASS)


def release_checks(checks: Sequence[Check], rules: RuleSet | str) -> ReleasedChecks:
    """Checks with small counts in their detail tables and messages suppressed."""
    rule = _rules(rules)
    items, log, rows = [], [], []
    for check in checks:
        detail, reasons = release_detail(check, rule)
        message = {
            key: rule.symbol
            if _small_message(key, value, check, rule)
            else (round(float(value), 2) if key in COARSE_SHARES else value)
            for key, value in check.message.items()
        }
        for column, number, why in reasons:
            log.append({"check": check.key, "column": column, "rows": number, "reason": why})
        few = _small_statistic(check, rule)
        if few:
            log.append({"check": check.key, "column": "statistic", "rows": 1, "reason": "small"})
        statistic = None if few else check.statistic
        items.append(
            ReleasedCheck(
                key=check.key,
                status=check.status,
                scope=dict(check.scope),
                statistic=statistic,
                threshold=check.threshold,
                message=message,
                detail=detail,
            )
        )
        scope = "; ".join(f"{k}={v}" for k, v in check.scope.items())
        rows.append((check.key, check.status, scope, statistic, check.threshold))
    table = pd.DataFrame(rows, columns=["key", "status", "scope", "statistic", "threshold"])
    table = table.astype({"statistic": "float64", "threshold": "float64"})
    notes = pd.DataFrame(log, columns=["check", "column", "rows", "reason"])
    return ReleasedChecks(table, rule, notes, tuple(items), _pass=_PASS)


def _small_statistic(check: Check, rules: RuleSet) -> bool:
    """Whether a check's statistic is itself a small number of persons."""
    if check.statistic is None or check.key not in COUNTED_STATISTICS:
        return False
    return bool(rules.small(np.array([float(check.statistic)]))[0])


def _small_message(key: str, value: Any, check: Check, rules: RuleSet) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    if key not in check.counts and not is_count_name(key):
        return False
    return bool(rules.small(np.array([float(value)]))[0])


def release_attrition(attrition: Attrition, rules: RuleSet | str) -> ReleasedAttrition:
    """Attrition in which no count, and no difference of two counts shown, is small.

    Where a filter removed few, the count before it is left out, so that the number removed is shown
    together with that of the neighbouring filter. ``removed_…`` are differences of the counts shown.
    """
    rule = _rules(rules)
    table = attrition.steps.reset_index(drop=True).copy()
    out = table[["population", "step"]].copy()
    log = []
    status = pd.Series("ok", index=table.index, dtype=object)
    for name in ("persons", "units"):
        counts = table[name].astype("Float64").to_numpy(dtype="float64", na_value=np.nan)
        shown = np.full(counts.shape, np.nan)
        removed = np.full(counts.shape, np.nan)
        for population in table["population"].unique():
            rows = np.flatnonzero((table["population"] == population).to_numpy())
            keep = keep_steps(counts[rows], rule.small)
            lost = rows[~keep & np.isfinite(counts[rows])]
            for row in lost:
                why = "small, or a small number removed"
                log.append((population, table["step"].iloc[row], name, why))
            status.iloc[lost] = "suppressed"
            kept = rows[keep]
            shown[kept] = rule.rounded(counts[kept])
            removed[kept[1:]] = -np.diff(shown[kept])
        out[name] = pd.Series(shown).astype("Int64")
        out[f"removed_{name}"] = pd.Series(removed).astype("Int64")
    out["status"] = status
    notes = pd.DataFrame(log, columns=["population", "step", "column", "reason"])
    return ReleasedAttrition(out, rule, notes, _pass=_PASS)
