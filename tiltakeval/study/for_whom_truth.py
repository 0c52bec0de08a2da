"""The truth beside `[[for_whom]]` in a study on an invented register: effects by group among those who
could have entered every programme compared, and what rules are worth among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.estimates.check import Check
from tiltakeval.estimates.lockin import CUMULATED_UNIT
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.spells.outcomes import OUTCOMES as DECLARED
from tiltakeval.study.for_whom_rules import RULES, TREE
from tiltakeval.study.known_truth import TRUTH_SEED, threads
from tiltakeval.study.spec_for_whom import ForWhom
from tiltakeval.study.spec_register import RegisterStudy
from tiltakeval.synthetic.common_kernel import FEATURES
from tiltakeval.synthetic.common_truth import (
    FOREVER,
    LEAF,
    CommonSpec,
    CommonSums,
    Mean,
    Tree,
    common_sums,
    effect_weights,
    mean_of,
    rule_weights,
)
from tiltakeval.synthetic.truth import TruthSpec
from tiltakeval.synthetic.truth_kernel import OUTCOMES
from tiltakeval.synthetic.truth_rows import cells
from tiltakeval.synthetic.world import World

#: What the world opens a programme to, beyond the catalogue's rules.
OWN_CONDITIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "ips": {"diagnosis_group": ("mental",)}
}
WAIT = "now_vs_wait"


def true_for_whom(
    spec: RegisterStudy, world: World, persons: int, found: Estimates, checks: Sequence[Check]
) -> Estimates | None:
    """The truth of what ``found`` holds on whom it works for, or None where the world has none.

    Of ``persons`` other persons of the same world, with the labels of the estimates: effects by group,
    and values and gains of today's practice, of everybody in one programme, of today's places by lot,
    and of the tree as the check shows it with as many places as it was judged with. None for estimands
    other than now against waiting, month 0 at the start, and populations the world can't tell: by
    innsatsgruppe, or by conditions of the study's own. Raises InputError.
    """
    rows: list[dict[str, Any]] = []
    for (population, key), table in found.table.groupby(["population", "analysis"], sort=False):
        state, _, kind = str(population).partition(":")
        one = next(one for one in spec.for_whom if one.key == key)
        average = _rows(table, term="effect", subgroup="all")
        arms = tuple(dict.fromkeys(average["programme"].astype(str)))
        if kind != "common" or not _known(spec, one, state, arms, str(average["estimand"].iloc[0])):
            continue
        main, tree = _tree(checks, state, str(key), arms)
        first, period = average.iloc[0], str(average["period"].iloc[0])
        month = int(period.rpartition("-")[2]) if one.cumulated else int(first["horizon"])
        entry = spec.population
        asked = CommonSpec(
            programmes=arms,
            base_state=state,
            outcome=one.outcome,
            horizon=month,
            summed=one.cumulated,
            entry=entry.entry,
            ages=entry.ages,
            registered=(
                max(entry.min_months_registered, 1),
                FOREVER if entry.max_months_registered is None else entry.max_months_registered,
            ),
            tree=tree or LEAF,
        )
        sums = common_sums(world, persons, TRUTH_SEED, asked, threads=threads())
        unit = DECLARED[one.outcome].unit
        common = {
            "population": population,
            "analysis": key,
            "outcome": one.outcome,
            "unit": CUMULATED_UNIT.get(unit, unit) if one.cumulated else unit,
            "time_origin": "vedtak",
            "horizon": pd.NA if one.cumulated else month,
            "period": period,
            "source": "truth",
        }
        if sums.count.sum() < 2:
            continue
        rows += [{**common, "estimand": WAIT, **row} for row in _effects(sums, arms)]
        if (table["term"] == "policy_value").any():
            own = {**common, "estimand": RULES, "period": period if one.cumulated else ""}
            rows += [{**own, **row} for row in _values(sums, arms, table, main, tree)]
    return Estimates(tidy(rows)) if rows else None


def _rows(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    for name, value in where.items():
        table = table[table[name] == value]
    return table


def _known(
    spec: RegisterStudy, one: ForWhom, state: str, arms: Sequence[str], estimand: str
) -> bool:
    """Whether the world has the truth for these units, programmes and this outcome."""
    entry = spec.population
    base = next(base for base in spec.base if base.state == state)
    own = {
        arm: wanted
        for arm, wanted in base.conditions.items()
        if arm in arms and dict(wanted) != dict(OWN_CONDITIONS.get(arm, {}))
    }
    plain = not (entry.innsatsgrupper or entry.innsatsgruppe_rules or own)
    return plain and entry.time_origin == "vedtak" and estimand == WAIT and one.outcome in OUTCOMES


def _tree(
    checks: Sequence[Check], state: str, key: str, arms: Sequence[str]
) -> tuple[str, Tree | None]:
    """The rule whose tree the check shows, and the tree; None where there is none, or it asks for, or
    leaves out, what the world can't tell."""
    for check in checks:
        if check.key != TREE or check.detail is None:
            continue
        if (check.scope.get("population"), check.scope.get("analysis")) != (state, key):
            continue
        detail, main = check.detail, str((check.message or {}).get("main", ""))
        asked = set(detail["covariate"]) - {""}
        hidden = (detail["kind"] == "leaf") & (detail["programme"] == "")
        if not asked <= set(FEATURES) or hidden.any() or not main.startswith("rule_tree"):
            return main, None
        nodes = detail.drop_duplicates("node").sort_values("node")
        offers = np.zeros((len(nodes), len(arms) + 1))
        for _, row in detail[detail["kind"] == "leaf"].iterrows():
            place = 0 if row["programme"] == "none" else 1 + arms.index(str(row["programme"]))
            offers[int(row["node"]), place] = float(row["part"])
        return main, Tree(
            feature=[str(name) for name in nodes["covariate"]],
            cut=[float(at) for at in nodes["threshold"].fillna(0.0)],
            left=[int(node) for node in nodes["left"]],
            right=[int(node) for node in nodes["right"]],
            offers=offers,
        )
    return "", None


def _row(mean: Mean, **keys: str) -> dict[str, Any]:
    counts = {"n_treated": mean.n, "n_comparison": mean.n}
    return {**keys, "estimate": mean.estimate, "std_error": mean.std_error, **counts}


def _effects(sums: CommonSums, arms: Sequence[str]) -> list[dict[str, Any]]:
    """Effects of every programme for everybody and by group."""
    out = []
    for label, inside in cells(TruthSpec(arms=())):
        cross = sums.cross[inside].sum(axis=0)
        if cross[0, 0] < 2:
            continue
        for a, name in enumerate(arms):
            mean = mean_of(cross, effect_weights(len(cross), a))
            out.append(_row(mean, term="effect", programme=name, comparator="none", subgroup=label))
    return out


def _values(
    sums: CommonSums, arms: Sequence[str], table: pd.DataFrame, main: str, tree: Tree | None
) -> list[dict[str, Any]]:
    """Values of rules, and their gains over today's practice."""
    cross, futures = sums.cross.sum(axis=0), sums.cross.shape[1]
    unit = np.eye(futures)
    today = unit[1]
    shares = sums.count.sum(axis=0) / sums.count.sum()
    plain = {"today": today, "rule_everyone_none": unit[2]}
    plain |= {f"rule_everyone_{name}": unit[3 + a] for a, name in enumerate(arms)}
    plain["rule_random"] = np.concatenate([[0.0, 0.0], shares])
    found = {name: (cross, weights) for name, weights in plain.items()}
    if tree is not None:
        given = _rows(table, term="policy_share", comparator=main, subgroup="all")
        share = given.set_index("programme")["estimate"]
        places = {
            a: float(share[n]) for a, n in enumerate(arms) if np.isfinite(share.get(n, np.nan))
        }
        found[main] = (sums.leaf_cross, rule_weights(sums, tree, places))
    there = set(_rows(table, term="policy_value", subgroup="all")["programme"])
    out = []
    for name, (of, weights) in found.items():
        if name not in there:
            continue
        keys = {"programme": name, "subgroup": "all"}
        out.append(_row(mean_of(of, weights), term="policy_value", **keys))
        if name != "today":
            gain = mean_of(of, weights - today)
            out.append(_row(gain, term="policy_gain", comparator="today", **keys))
    return out
