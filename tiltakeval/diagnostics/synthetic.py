"""Whether a synthetic comparison runs parallel before treatment, and how few units and periods it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates

#: A fit before treatment that leaves more than this, relative to what a mean of all units would leave.
WORST_FIT = 0.5
#: A unit with more weight than this is the comparison, near enough.
LARGEST_WEIGHT = 0.5


def synthetic_fit(*, estimates: Estimates, worst_fit: float = WORST_FIT) -> tuple[Check, ...]:
    """How far the cohort's path before treatment lies from the comparison's.

    ``statistic`` is the root mean square of the difference (less its mean, but for synthetic control)
    over that of comparison units' own distances from their mean, the largest over cohorts. A mean of
    many treated units lies nearer than one unit by itself would. Without weights (``did``) it says what
    weights could have mended. A close fit doesn't show that paths would have stayed close.
    """
    return tuple(_fits(estimates, worst_fit))


def _fits(estimates: Estimates, limit: float) -> Iterator[Check]:
    for scope, detail in _of_all_units(estimates):
        ratio = detail["relative_rmse"].max()
        told = detail[["cohort", "periods_before", "rmse_before", "spread_before", "relative_rmse"]]
        known = bool(pd.notna(ratio))
        yield Check(
            key="synthetic_fit",
            status="not_evaluated" if not known else "passed" if ratio <= limit else "failed",
            scope=scope,
            statistic=float(ratio) if known else None,
            threshold=limit,
            message={"cohorts": len(told)},
            detail=told,
        )


def synthetic_concentration(
    *, estimates: Estimates, largest_weight: float = LARGEST_WEIGHT
) -> tuple[Check, ...]:
    """How few units and periods the comparison rests on.

    ``statistic`` is the largest weight of one unit in any cohort's comparison; the detail has effective
    numbers of units and periods (1 / sum of squared weights) and the largest weights by unit.
    """
    out = []
    for scope, detail in _of_all_units(estimates):
        worst = float(detail["largest_unit"].max())
        columns = ["cohort", "comparison", "effective_units", "largest_unit"]
        columns += ["effective_periods", "largest_period", "unit_weights", "period_weights"]
        out.append(
            Check(
                key="synthetic_concentration",
                status="passed" if worst <= largest_weight else "failed",
                scope=scope,
                statistic=worst,
                threshold=largest_weight,
                message={
                    "cohorts": len(detail),
                    "effective_units": float(detail["effective_units"].min()),
                    "effective_periods": float(detail["effective_periods"].min()),
                },
                detail=detail[columns],
                counts=("comparison",),
            )
        )
    return tuple(out)


def _of_all_units(estimates: Estimates) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """By outcome, what the run tells of the cohorts of all units."""
    told: list[dict[str, Any]] = [
        one for one in estimates.run.get("synthetic", []) if one["subgroup"] == "all"
    ]
    for outcome in dict.fromkeys(one["outcome"] for one in told):
        detail = pd.DataFrame([one for one in told if one["outcome"] == outcome])
        yield {"outcome": str(outcome)}, detail
