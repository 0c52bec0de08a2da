"""Whatever the counts, an attacker with totals and differences finds no small cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltakeval.disclosure.release import release_attrition, release_estimates
from tiltakeval.disclosure.rules import RuleSet
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.table import Estimates, tidy

counts = st.one_of(st.integers(0, 8), st.integers(9, 400))
thresholds = st.sampled_from([3, 4, 10])
COLUMNS = ("n_treated", "n_comparison")


def rules(threshold: int) -> RuleSet:
    return RuleSet(name="t", dated="2024-01-01", threshold=threshold, symbol="*")


@st.composite
def tables(draw: st.DrawFn) -> Estimates:
    rows = []
    dims = draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))
    months = draw(st.integers(1, 3))
    for month in range(months):
        unnamed = draw(st.integers(0, 5))
        levels = [[(draw(counts), draw(counts)) for _ in range(size)] for size in dims]
        first = tuple(sum(c[i] for c in levels[0]) + unnamed for i in (0, 1))
        cells = [("all", *first)]
        for d, group in enumerate(levels):
            cells += [(f"d{d}={j}", *c) for j, c in enumerate(group)]
        for outcome in ("a", "b"):
            for subgroup, treated, comparison in cells:
                rows.append({"estimand": "now_vs_wait", "programme": "aft", "subgroup": subgroup,
                             "outcome": outcome, "unit": "nok", "horizon": month, "estimate": 1.0,
                             "n_treated": treated, "n_comparison": comparison})  # fmt: skip
    return Estimates(tidy(rows))


@settings(max_examples=60, deadline=None)
@given(tables(), thresholds)
def test_no_small_cell_is_printed_or_follows_from_totals(estimates: Estimates, threshold: int):
    table = release_estimates(estimates, rules(threshold)).table
    raw = estimates.table
    gone = table["status"] == "suppressed"
    assert table.loc[gone, ["estimate", *COLUMNS]].isna().all(axis=None)
    for column in COLUMNS:
        shown = table[column].dropna().astype(int)
        assert not ((shown > 0) & (shown < threshold)).any()
        # an attacker may use counts of rows shown whose count was left out only for its step
        known = raw[column].where(~gone)
        for keys, group in raw.groupby(["outcome", "horizon"]):
            part = known[group.index]
            total = part[raw.loc[group.index, "subgroup"] == "all"]
            if total.isna().all():
                continue
            for dim in {s.split("=")[0] for s in group["subgroup"] if "=" in s}:
                levels = part[group["subgroup"].str.startswith(f"{dim}=")]
                rest = int(total.iloc[0]) - int(levels.fillna(0).sum())
                assert not 0 < rest < threshold, (keys, dim)
        # the hidden set is the same whatever the outcome
        sets = [frozenset(zip(g["subgroup"][gone[g.index]], g["horizon"][gone[g.index]]))
                for _, g in raw.groupby("outcome")]  # fmt: skip
        assert len(set(sets)) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 60), thresholds)
def test_steps_of_months_and_filters_are_never_small(losses, last, threshold):
    left = (last + np.cumsum(losses[::-1]))[::-1]
    rows = [{"estimand": "e", "programme": "p", "outcome": "o", "unit": "nok", "horizon": h,
             "estimate": 1.0, "n_treated": int(n), "n_comparison": 1_000}
            for h, n in enumerate(left)]  # fmt: skip
    printed = release_estimates(Estimates(tidy(rows)), rules(threshold)).table["n_treated"]
    steps = [("s" + str(i), int(n), None) for i, n in enumerate(left)]
    table = release_attrition(Attrition.of("p", steps), rules(threshold)).table
    for series in (printed, table["persons"]):
        values = series.dropna().astype(int).to_numpy()
        gaps = np.abs(np.subtract.outer(values, values))
        assert not ((values > 0) & (values < threshold)).any()
        neighbours = np.abs(np.diff(values))
        assert not ((neighbours > 0) & (neighbours < threshold)).any()
        assert not ((gaps > 0) & (gaps < threshold)).any()
    removed = table["removed_persons"].dropna().astype(int)
    assert not ((removed > 0) & (removed < threshold)).any()
    assert isinstance(table, pd.DataFrame)
