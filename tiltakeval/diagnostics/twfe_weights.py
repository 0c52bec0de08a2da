"""What a two-way regression weighs together: negative weights, other periods' effects, and how far it
ends from the mean of the effects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates

#: Largest sum of negative weights, in absolute value (all weights sum to 1).
NEGATIVE = 0.05
#: Largest weight that a lead or lag gives to effects at other event times.
FOREIGN = 0.10


def twfe_weights(
    *,
    estimates: Estimates,
    negative_weight: float = NEGATIVE,
    foreign_weight: float = FOREIGN,
    placebo_level: float = 0.05,
) -> tuple[Check, ...]:
    """The checks of what is in the run of a two-way regression.

    ``negative_weights``: the sum of the weights below zero (de Chaisemartin & D'Haultfoeuille 2020);
    ``foreign_weights``: the largest weight of an event time's coefficient on effects at others (Sun &
    Abraham 2021); ``two_way_misleads``: the test, at ``placebo_level``, that the estimate is the mean
    of the effects by cohort and period.
    """
    return (
        *_negative(estimates, negative_weight),
        *_foreign(estimates, foreign_weight),
        *_misleads(estimates, placebo_level),
    )


def _scope(found: dict[str, Any]) -> dict[str, str]:
    scope = {"outcome": str(found["outcome"])}
    if found["subgroup"] != "all":
        scope["subgroup"] = str(found["subgroup"])
    return scope


def _negative(estimates: Estimates, limit: float) -> Iterator[Check]:
    for found in estimates.run.get("weights", ()):
        total = abs(found["negative_sum"])
        said = (
            f"{found['negative']} of {found['cells']} effects by cohort and period have negative "
            f"weights, which sum to {found['negative_sum']:.3f}"
        )
        reasons = [said]
        if np.isfinite(found["sd_to_zero"]):
            reasons.append(
                f"the mean effect could be zero if effects differ with a standard deviation of "
                f"{found['sd_to_zero']:.3g}"
            )
        if np.isfinite(found["sd_all_opposite"]):
            reasons.append(
                f"all effects could have the other sign if it is {found['sd_all_opposite']:.3g}"
            )
        yield Check(
            key="negative_weights",
            status="passed" if total <= limit else "failed",
            scope=_scope(found),
            statistic=total,
            threshold=limit,
            message={
                "reasons": reasons,
                "sd_to_zero": found["sd_to_zero"],
                "sd_all_opposite": found["sd_all_opposite"],
            },
            detail=pd.DataFrame(found["by_cell"]),
        )


def _foreign(estimates: Estimates, limit: float) -> Iterator[Check]:
    for found in estimates.run.get("foreign_weights", ()):
        detail = pd.DataFrame(found["by_event_time"])
        if detail.empty:
            continue
        worst = detail.loc[detail["foreign"].idxmax()]
        yield Check(
            key="foreign_weights",
            status="passed" if worst["foreign"] <= limit else "failed",
            scope=_scope(found),
            statistic=float(worst["foreign"]),
            threshold=limit,
            message={
                "reasons": [
                    f"the coefficient of event time {int(worst['event_time'])} has a weight of "
                    f"{worst['foreign']:.2f} on differences between cohorts in effects at other "
                    "event times"
                ]
            },
            detail=detail,
        )


def _misleads(estimates: Estimates, level: float) -> Iterator[Check]:
    for found in estimates.run.get("against_cells", ()):
        if not np.isfinite(found.get("p_value", np.nan)):
            yield Check(
                key="two_way_misleads",
                status="not_evaluated",
                scope=_scope(found),
                threshold=level,
                message={"why": "no effect by cohort and period can be had, or they are one"},
            )
            continue
        said = (
            f"the two-way estimate is {found['two_way']:.4g}, the mean of the effects by cohort and "
            f"period {found['mean_of_cells']:.4g} (they go from {found['smallest']:.4g} to "
            f"{found['largest']:.4g}); difference {found['difference']:.4g}, standard error "
            f"{found['difference_error']:.2g}"
        )
        reasons = [said]
        if found["two_way"] * found["mean_of_cells"] < 0:
            reasons.append("they have opposite signs")
        if found["cells_lost"]:
            reasons.append(
                f"{found['cells_lost']} of {found['cells']} effects can't be had and aren't in the mean"
            )
        yield Check(
            key="two_way_misleads",
            status="passed" if found["p_value"] >= level else "failed",
            scope=_scope(found),
            statistic=found["p_value"],
            threshold=level,
            message={"reasons": reasons},
        )
