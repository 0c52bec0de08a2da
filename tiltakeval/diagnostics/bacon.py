"""Which comparisons a two-way fixed-effects estimate is made of, and how many of them are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.two_way.bacon import FORBIDDEN
from tiltakeval.estimators.did.two_way_effects import TwoWayEffects

#: Largest share of the weight on comparisons with units already treated.
ALREADY_TREATED = 0.10


def goodman_bacon(design: StaggeredPanel) -> pd.DataFrame:
    """Every two-by-two comparison behind the two-way estimate, by outcome and subgroup.

    Columns ``subgroup``, ``outcome``, ``type``, ``treated``, ``control`` (cohorts), ``weight``,
    ``estimate``; weights sum to 1 and the weighted sum is the estimate. Goodman-Bacon (2021). Needs
    every unit in every period; covariates are left out. Empty where it can't be had.
    """
    from dataclasses import replace

    import numpy as np

    bare = replace(design, covariates=np.zeros((design.n, 0)), covariate_names=())
    run = TwoWayEffects(min_clusters=1).estimate(bare).run
    return pd.concat([_table(found) for found in run["bacon"]] or [pd.DataFrame()])


def bacon(
    *, estimates: Estimates, already_treated_share: float = ALREADY_TREATED
) -> tuple[Check, ...]:
    """A check for each decomposition in the run of a two-way estimate: fails when comparisons with
    units already treated have more than ``already_treated_share`` of the weight (``statistic``)."""
    return tuple(_checks(estimates, already_treated_share))


def _checks(estimates: Estimates, limit: float) -> Iterator[Check]:
    for found in estimates.run.get("bacon", ()):
        scope = {"outcome": found["outcome"]}
        if found["subgroup"] != "all":
            scope["subgroup"] = found["subgroup"]
        if "why" in found:
            yield Check(
                key="bacon",
                status="not_evaluated",
                scope=scope,
                threshold=limit,
                message={"why": found["why"]},
            )
            continue
        types: dict[str, dict[str, float]] = found["types"]
        share = sum(types[kind]["weight"] for kind in FORBIDDEN if kind in types)
        yield Check(
            key="bacon",
            status="passed" if share <= limit else "failed",
            scope=scope,
            statistic=share,
            threshold=limit,
            message={"reasons": [_said(types, share)], "types": types},
            detail=_table(found).drop(columns=["subgroup", "outcome"]),
        )


def _said(types: dict[str, dict[str, float]], share: float) -> str:
    said = f"{100 * share:.1f} % of the weight compares with units already treated"
    if share > 0:
        mean = (
            sum(types[k]["weight"] * types[k]["estimate"] for k in FORBIDDEN if k in types) / share
        )
        said += f" (these comparisons say {mean:.3g}"
        rest = [kind for kind in types if kind not in FORBIDDEN]
        if rest:
            weight = sum(types[k]["weight"] for k in rest)
            other = sum(types[k]["weight"] * types[k]["estimate"] for k in rest) / weight
            said += f", the others {other:.3g}"
        said += ")"
    return said


def _table(found: dict[str, Any]) -> pd.DataFrame:
    columns = ["type", "treated", "control", "weight", "estimate"]
    table = pd.DataFrame(found.get("comparisons", []), columns=columns)
    table.insert(0, "outcome", found["outcome"])
    table.insert(0, "subgroup", found["subgroup"])
    return table
