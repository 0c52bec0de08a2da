"""Roll-outs: a cohort hidden must not be what is left when the cohorts shown are taken from an average.

Effects by cohort and period add up to averages by event time, by period and overall, with weights
(cohort sizes) that are printed. Where a cohort of a group is hidden, another is hidden with it, so that
the average overall gives only the two together; the other averages go, since in some period or at some
event time the hidden cohort may stand alone. Groups that add up to one another are hidden alike.
Groups of doses add up to the average in the same way: where one is hidden, so are the others. So do
those whose treatment goes up and those where it goes down.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from tiltakeval.disclosure.rules import RuleSet
from tiltakeval.estimates.table import key_columns

OVERALL, BY_COHORT, BY_EVENT = "effect_overall", "effect_by_cohort", "effect_by_event_time"
#: Terms whose rows are parts of one whole: groups of doses, and directions.
PARTS = ("effect_by_dose", "effect_by_dose_and_event_time")
DIRECTIONS = ("_up", "_down")
REASON = "an average minus the cohorts shown"
_INNER = ("subgroup", "outcome", "unit", "horizon", "cohort", "period", "term")


def hide_cohorts(
    table: pd.DataFrame, counts: pd.DataFrame, rules: RuleSet, reason: pd.Series
) -> pd.Series:
    """``reason`` [n] ("" where a row may be shown) with the rows of roll-outs added that would give a
    hidden cohort away. Other results are left as they are."""
    if not (table["term"] == OVERALL).any() or not (reason != "").any():
        return reason
    reason = reason.copy()
    family = table.groupby(
        [name for name in key_columns() if name not in _INNER], sort=False, dropna=False
    ).ngroup()
    for code in family[table["term"] == OVERALL].unique():
        rows = table[family == code]
        for place in _given_away(rows, counts.loc[rows.index, "n_treated"], rules, reason):
            if reason.at[place] == "":
                reason.at[place] = REASON
    return reason


def _given_away(
    rows: pd.DataFrame, treated: pd.Series, rules: RuleSet, reason: pd.Series
) -> set[Hashable]:
    """The rows of one roll-out (all its groups and outcomes) to hide."""
    hidden = reason.loc[rows.index] != ""
    cell = rows["term"] == "effect"
    before = (rows["horizon"] < 0).fillna(False)
    out: set[Hashable] = _parts(rows, hidden)
    lost = rows[hidden & cell & before]
    at = rows[rows["term"] == BY_EVENT]
    for subgroup, horizon in set(zip(lost["subgroup"], lost["horizon"])):
        out |= set(at.index[(at["subgroup"] == subgroup) & (at["horizon"] == horizon)])
    of_cohort = (rows["cohort"] != "") & rows["term"].isin(["effect", BY_COHORT])
    small = rows[hidden & of_cohort & ~before]
    sizes = treated[of_cohort].groupby([rows["subgroup"], rows["cohort"]]).max()
    groups = list(dict.fromkeys(rows["subgroup"]))
    for together in _together(groups, set(small["subgroup"])):
        chosen = set(small.loc[small["subgroup"].isin(together), "cohort"])
        alone = _complete(chosen, [sizes[g] for g in together if g in sizes.index], rules)
        inside = rows["subgroup"].isin(together)
        kept = of_cohort & ~rows["cohort"].isin(chosen)
        if not alone:
            kept |= rows["term"] == OVERALL
        kept |= before & (rows["term"] == BY_EVENT)
        out |= set(rows.index[inside & ~kept])
    return out


def _parts(rows: pd.DataFrame, hidden: pd.Series) -> set[Hashable]:
    """The rows of parts of one whole of which some part is hidden."""
    found: set[Hashable] = set()
    stem = rows["term"].str.removesuffix(DIRECTIONS[0]).str.removesuffix(DIRECTIONS[1])
    part = rows["term"].isin(PARTS) | (stem != rows["term"])
    mine = rows[part].assign(stem=stem[part], small=hidden[part])
    for _, same in mine.groupby(
        ["subgroup", "outcome", "stem", "horizon"], dropna=False, sort=False
    ):
        if same["small"].any():
            found |= set(same.index)
    return found


def _together(groups: list[str], touched: set[str]) -> list[list[str]]:
    """Which groups are hidden alike: all of them where everybody's cohort is small, else the levels of
    the grouping that has one."""
    if "all" in touched:
        return [groups]
    names = {group.split("=", 1)[0] for group in touched}
    return [[g for g in groups if g.split("=", 1)[0] == name] for name in sorted(names)]


def _complete(chosen: set[str], sizes: list[pd.Series], rules: RuleSet) -> bool:
    """Add cohorts to ``chosen`` until they are two and no small number in any group; True if they
    can't be, and the average of all would be theirs."""
    total = sum((size.reindex(_names(sizes)).fillna(0) for size in sizes), start=0)
    for name in pd.Series(total).sort_values(kind="stable").index:
        if len(chosen) > 1 and not any(_small(size, chosen, rules) for size in sizes):
            return False
        chosen.add(str(name))
    return len(chosen) < 2 or any(_small(size, chosen, rules) for size in sizes)


def _names(sizes: list[pd.Series]) -> list[str]:
    return list(dict.fromkeys(name for size in sizes for name in size.index))


def _small(size: pd.Series, chosen: set[str], rules: RuleSet) -> bool:
    total = float(size[size.index.isin(chosen)].fillna(0).sum())
    return bool(rules.small(np.array([total]))[0])
