"""Which rows of a result table may be shown, and which of their counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.disclosure.cells import complementary, thin_series
from tiltakeval.disclosure.cohorts import hide_cohorts
from tiltakeval.disclosure.rules import RuleSet
from tiltakeval.estimates.table import key_columns, schema

Uncounted = Literal["withhold", "allow"]
Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]

COUNTS = tuple(n for n, s in schema().items() if s.get("disclosure") == "count")
VALUES = tuple(n for n, s in schema().items() if s.get("disclosure") == "value")
ADDITIVE = ("n_treated", "n_comparison")
STEPPED = ("n_treated", "n_comparison", "n_clusters")
MEANS = ("mean_treated", "mean_comparison")
CURVES = ("survival", "incidence", "cumulative_incidence")
DIFFERENCE = "_difference"
_WINDOW = re.compile(r"^(-?\d+)-(-?\d+)$")


def _number(table: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.int64]:
    """A number for each distinct combination of the columns."""
    return table.groupby(list(columns), sort=False, dropna=False).ngroup().to_numpy(np.int64)


def _keys(*without: str) -> list[str]:
    return [name for name in key_columns() if name not in without]


def inherited_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Counts [n, 5] as floats; rows without n_treated and n_comparison get their family's smallest.

    The family is the same programme, subgroup and outcome (else any outcome) of the same analysis:
    cumulated and other derived rows rest on the months they are made from.
    """
    counts = table[list(COUNTS)].astype("float64")
    narrow = _keys("horizon", "period", "term", "unit")
    for columns in (narrow, [name for name in narrow if name != "outcome"]):
        bare = counts[list(ADDITIVE)].isna().all(axis=1)
        if not bare.any():
            break
        group = _number(table, columns)
        smallest = counts.groupby(group).transform("min")
        counts.loc[bare] = smallest.loc[bare]
    return counts


def _events(table: pd.DataFrame, counts: pd.DataFrame) -> Floats:
    """[n, 2] persons with and without the outcome, where a row gives them away.

    From n_events where counted; a mean of a share times its count otherwise.
    """
    out = np.full((len(table), 2), np.nan)
    share = (table["unit"] == "share").to_numpy()
    for term, column in zip(MEANS, ADDITIVE):
        rows = share & (table["term"] == term).to_numpy()
        number = counts[column].to_numpy()[rows]
        having = np.round(table["estimate"].to_numpy()[rows] * number)
        out[rows, 0] = having
        out[rows, 1] = number - having
    counted = table["n_events"].notna().to_numpy()
    out[counted, 0] = table["n_events"].astype("float64").to_numpy()[counted]
    return out


class _Levels:
    """How the rows of a table add up over subgroups: total row and group of each level."""

    def __init__(self, table: pd.DataFrame, counts: pd.DataFrame) -> None:
        rest = _number(table, _keys("subgroup"))
        subgroup = table["subgroup"].astype(str)
        self.dim = subgroup.str.split("=", n=1).str[0].where(subgroup.str.contains("="))
        total = np.full(rest.max() + 1 if rest.size else 0, -1, dtype=np.int64)
        is_all = (subgroup == "all").to_numpy()
        total[rest[is_all]] = np.flatnonzero(is_all)
        dim_code = pd.factorize(self.dim)[0]
        self.group = np.where(dim_code >= 0, rest * (dim_code.max(initial=0) + 1) + dim_code, -1)
        self.total_row = np.where(dim_code >= 0, total[rest], -1)
        size = counts[list(ADDITIVE)].sum(axis=1).to_numpy()
        keys = pd.DataFrame({"size": size, "name": subgroup.to_numpy()})
        self.order = np.empty(len(table), dtype=np.int64)
        self.order[keys.sort_values(["size", "name"], kind="stable").index.to_numpy()] = np.arange(
            len(table)
        )


def _small_groups(table: pd.DataFrame, counts: pd.DataFrame, rules: RuleSet) -> pd.Series:
    """Reason per row ("" = none) from the number of persons: small, or given away by a total."""
    reason = pd.Series("", index=table.index, dtype=object)
    for name in COUNTS:
        if name == "n_events":
            continue
        small = rules.small(counts[name].to_numpy())
        reason[small & (reason == "").to_numpy()] = f"small {name}"
    cell = _number(table, _keys("outcome", "unit", "term"))
    levels = _Levels(table, counts)
    hidden = (reason != "").to_numpy()
    while True:
        before = hidden
        whole = np.bincount(cell, weights=hidden, minlength=cell.max(initial=-1) + 1) > 0
        hidden = whole[cell]
        hidden = complementary(
            hidden,
            total_row=levels.total_row,
            group=levels.group,
            counts=counts[list(ADDITIVE)].to_numpy(),
            order=levels.order,
            threshold=rules.threshold,
            zeros=rules.zeros_disclosive,
        )
        if (hidden == before).all():
            break
    first = pd.Series(reason).where(reason != "").groupby(cell).transform("first").fillna("")
    reason = reason.where(reason != "", first)
    return reason.where(~(hidden & (reason == "").to_numpy()), "total minus the rows shown")


def _small_events(
    table: pd.DataFrame, counts: pd.DataFrame, rules: RuleSet, reason: pd.Series
) -> pd.Series:
    """Reasons added where few persons have the outcome, or few don't."""
    events = _events(table, counts)
    small = rules.small(events).any(axis=1)
    small &= ~((table["estimate"].isna()).to_numpy() & table["n_events"].isna().to_numpy())
    mean = table["term"].isin(MEANS).to_numpy()
    own = small & ~mean
    cell = _number(table, _keys("term", "unit"))
    count = cell.max(initial=-1) + 1
    levels = _Levels(table, counts)
    hidden = (reason != "").to_numpy() | small
    while True:
        before = hidden
        all_terms = np.bincount(cell, weights=own, minlength=count) > 0
        means = np.bincount(cell, weights=hidden & mean, minlength=count) > 0
        hidden = hidden | all_terms[cell] | (means[cell] & mean)
        hidden = complementary(
            hidden,
            total_row=levels.total_row,
            group=levels.group,
            counts=events,
            order=levels.order,
            threshold=rules.threshold,
            zeros=rules.zeros_disclosive,
        )
        if (hidden == before).all():
            break
    reason = reason.where(~(small & (reason == "").to_numpy()), "few with or without the outcome")
    return reason.where(~(hidden & (reason == "").to_numpy()), "given away by the rows shown")


def _small_curve_steps(
    table: pd.DataFrame, counts: pd.DataFrame, rules: RuleSet, reason: pd.Series
) -> pd.Series:
    """Months of a survival or incidence curve at which few persons left since the month shown last."""
    term = table["term"].astype(str)
    of_curve = term.str.startswith(CURVES).to_numpy()
    differs = of_curve & term.str.endswith(DIFFERENCE).to_numpy()
    curve = of_curve & ~differs & (reason == "").to_numpy()
    if not of_curve.any():
        return reason
    reason = reason.copy()
    number = counts["n_treated"].fillna(counts["n_comparison"]).to_numpy()
    values = table["estimate"].to_numpy()
    part = table[curve]
    series = _number(part, _keys("horizon"))
    places = part.index.to_numpy()
    for code in range(series.max(initial=-1) + 1):
        rows = places[series == code]
        rows = rows[np.argsort(table["horizon"].iloc[rows].astype("float64"), kind="stable")]
        start = np.nanmax(np.append(number[rows], -1.0))
        if start < 0:
            continue
        last = 1.0 if term.iloc[rows[0]].startswith("survival") else 0.0
        for row in rows:
            left = np.round(abs(values[row] - last) * start)
            if 0 < left < rules.threshold:
                reason.iloc[row] = "few left since the month shown last"
            elif np.isfinite(values[row]):
                last = values[row]
    return _hide_differences(table, reason, of_curve & ~differs, differs)


def _hide_differences(
    table: pd.DataFrame, reason: pd.Series, arms: Bools, differs: Bools
) -> pd.Series:
    """Differences of two arms' curves are hidden where either arm is: the other arm is shown."""
    lost = arms & (reason != "").to_numpy()
    rest = _keys("programme", "comparator", "term")
    hidden = set(table.loc[lost, [*rest, "programme", "term"]].itertuples(index=False, name=None))
    for place in np.flatnonzero(differs & (reason == "").to_numpy()):
        row = table.iloc[place]
        key, base = tuple(row[name] for name in rest), str(row["term"]).removesuffix(DIFFERENCE)
        if any((*key, arm, base) in hidden for arm in (row["programme"], row["comparator"])):
            reason.iloc[place] = "given away by the rows shown"
    return reason


def _windows(table: pd.DataFrame) -> Floats:
    """[n, 2] first and last month a derived row adds up; NaN for others."""
    out = np.full((len(table), 2), np.nan)
    for text in table["period"].unique():
        found = _WINDOW.match(str(text))
        if found:
            out[(table["period"] == text).to_numpy()] = float(found[1]), float(found[2])
    path = (table["term"] == "cumulated_path").to_numpy()
    out[path, 0] = 0.0
    out[path, 1] = table["horizon"].astype("float64").to_numpy()[path]
    return out


def _built_on_hidden(table: pd.DataFrame, reason: pd.Series) -> pd.Series:
    """Sums and means over months are hidden when a month's effect within them is."""
    windows = _windows(table)
    derived = np.isfinite(windows).all(axis=1) & (reason == "").to_numpy()
    monthly = (table["term"] == "effect").to_numpy() & ~np.isfinite(windows).all(axis=1)
    lost = monthly & (reason != "").to_numpy() & table["horizon"].notna().to_numpy()
    if not (derived.any() and lost.any()):
        return reason
    family = _number(table, _keys("horizon", "period", "term", "unit"))
    horizon = table["horizon"].astype("float64").to_numpy()
    hit = np.zeros(len(table), dtype=bool)
    for code in np.unique(family[lost]):
        months = horizon[lost & (family == code)]
        rows = np.flatnonzero(derived & (family == code))
        inside = (months[None, :] >= windows[rows, :1]) & (months[None, :] <= windows[rows, 1:])
        hit[rows] = inside.any(axis=1)
    return reason.where(~hit, "adds up a hidden month")


def hidden_rows(table: pd.DataFrame, rules: RuleSet, *, uncounted: Uncounted) -> pd.Series:
    """Reason per row of a result table why it can't be shown; "" where it can."""
    table = table.reset_index(drop=True)
    counts = inherited_counts(table)
    reason = _small_groups(table, counts, rules)
    reason = _small_events(table, counts, rules, reason)
    reason = _small_curve_steps(table, counts, rules, reason)
    reason = hide_cohorts(table, counts, rules, reason)
    reason = _built_on_hidden(table, reason)
    if uncounted == "withhold":
        bare = counts[list(ADDITIVE)].isna().all(axis=1) & table["estimate"].notna()
        reason = reason.where(
            ~(bare & (reason == "")), "no count says how many persons it rests on"
        )
    return reason


def stepped_counts(table: pd.DataFrame, rules: RuleSet, hidden: Bools) -> dict[str, Bools]:
    """Which counts to leave out, by column, because they differ by little from an earlier month."""
    out = {name: np.zeros(len(table), dtype=bool) for name in STEPPED}
    monthly = table["horizon"].notna().to_numpy() & ~hidden
    if not monthly.any():
        return out
    part = table[monthly].reset_index(drop=True)
    places = np.flatnonzero(monthly)
    family = _number(part, _keys("subgroup", "horizon"))
    done: dict[tuple[object, ...], Bools] = {}
    order = np.argsort(family, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(family[order])) + 1):
        subgroup, names = pd.factorize(part["subgroup"].iloc[rows])
        month, months = pd.factorize(part["horizon"].iloc[rows].astype("int64"), sort=True)
        dims = [None if "=" not in str(name) else str(name).split("=", 1)[0] for name in names]
        for column in STEPPED:
            counts = np.full((len(names), len(months)), np.nan)
            counts[subgroup, month] = part[column].iloc[rows].astype("float64")
            key = (tuple(dims), counts.shape, counts.tobytes())
            if key not in done:
                done[key] = thin_series(counts, dims=dims, threshold=rules.threshold)
            out[column][places[rows]] = done[key][subgroup, month]
    return out
