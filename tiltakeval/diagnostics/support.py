"""How many units carry each month's estimate?"""

from __future__ import annotations

from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates

COUNTS = ("n_treated", "n_comparison", "n_clusters")


def support(*, estimates: Estimates, support_units: float = 50) -> tuple[Check, ...]:
    """A check per programme: the fewest units on either side over outcomes and months.

    Fails below ``support_units``. ``detail`` has a line per outcome and month.
    """
    table = estimates.table
    rows = table[(table["term"] == "effect") & (table["subgroup"] == "all")]
    keys = ["population", "estimand", "programme", "comparator"]
    found = []
    for names, part in rows.groupby(keys, sort=False):
        scope = {k: v for k, v in zip(keys, names) if v}
        detail = part[["outcome", "horizon", *COUNTS, "n_effective", "status"]]
        least = part[["n_treated", "n_comparison"]].min(axis=1)
        fewest = float(least.fillna(0).min())
        unsupported = int((part["status"] == "not_supported").sum())
        found.append(
            Check(
                key="support",
                status="passed" if fewest >= support_units and not unsupported else "failed",
                scope=scope,
                statistic=fewest,
                threshold=support_units,
                message={"not_supported": unsupported, "rows": len(part)},
                detail=detail.reset_index(drop=True),
                counts=COUNTS,
            )
        )
    if not found:
        return (Check(key="support", status="not_evaluated", threshold=support_units),)
    return tuple(found)
