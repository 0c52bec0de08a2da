"""The estimates of a roll-out with everything a report says of them, however its panel was made.

`run_rollout` is where any source of a `StaggeredPanel` (a file, a register) enters the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tiltakeval.design.entry import check_entry, overridden
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.diagnostics.honest.robust import robust_intervals
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.diagnostics.rollout_designs import paths_cross
from tiltakeval.diagnostics.treated_clusters import treated_clusters
from tiltakeval.diagnostics.varying_covariates import covariates_moved
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.study.rollout_cohorts import large_cohorts
from tiltakeval.study.spec_rollout import RolloutThresholds

#: What checks' messages may tell, and the checks whose details tell too much or are in one language.
TOLD = (
    *("over", "rows", "wald", "rank", "largest_error", "test", "power", "slope", "bias"),
    *("bias_if_passed", "periods", "level", "breakdown", "value", "searched", "periods_before"),
    *("cohorts_change", "base", "clusters", "cohorts", "reason", "side", "effective", "cells"),
    *("dropped", "dropped_in_some_cells", "effective_units", "effective_periods"),
    *("mean", "standard_deviation", "made"),
)
NO_DETAIL = (
    *("pretrend", "bacon", "negative_weights", "foreign_weights", "two_way_misleads"),
    "treated_clusters",
    *("synthetic_fit", "synthetic_concentration", "comparisons_left_out"),
)
#: Counts in a run's notes that may be of few.
UNTOLD = ("crossing", "unclear_changes", "outside_0_to_1")


def run_rollout(
    design: StaggeredPanel, estimator: Any, limits: RolloutThresholds
) -> tuple[Estimates, list[Check]]:
    """One estimator on one roll-out: estimates with influence, attrition and run, and their checks.

    Cohorts of fewer than ``limits.smallest_cohort`` units or clusters are left out first (they could
    not be shown, and would make others unshowable), and counted in attrition. To the estimator's rows
    come robust ones (term ``robust_interval``) for every Mbar of ``limits.mbar``, for the first effect
    and the mean. Raises InputError for an entry that hangs on the outcome without an override, where no
    cohort is large enough, and for whatever the estimator refuses.
    """
    check_entry(design.entry, design.override, where=f"sample {design.population}, entry")
    kept, checks = large_cohorts(design, limits.smallest_cohort)
    estimates = estimator.estimate(kept)
    everybody = estimates.select(subgroup="all")
    window = limits.window or common_window(kept)
    checks = [
        *entry_checks(design),
        *checks,
        *treated_clusters(design=kept, treated_clusters=limits.treated_clusters),
        *covariates_moved(design=kept, estimates=everybody, placebo_level=limits.placebo_level),
        *paths_cross(design=kept, crossing_share=limits.crossing_share),
        *rollout(
            estimates=everybody,
            pretrend_level=limits.pretrend_level,
            pretrend_power=limits.pretrend_power,
            breakdown_mbar=limits.breakdown_mbar,
            effective_clusters=limits.effective_clusters,
            window=window,
            prediction_spread=limits.prediction_spread,
            worst_fit=limits.worst_fit,
            largest_weight=limits.largest_weight,
        ),
    ]
    checks = [tellable(check) for check in checks]
    run = {**told_run(estimates.run), "trend_window": window}
    return replace(with_robust(estimates, everybody, limits, window), run=run), checks


def told_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says of a run: lists of facts by cohort, period or unit (which may be small, or
    estimates that a report hides) as their number, and counts of few units not at all."""
    out: dict[str, Any] = {}
    for name, value in run.items():
        if name in UNTOLD:
            continue
        if isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            value = len(value)
        elif isinstance(value, Mapping):
            value = {key: one for key, one in value.items() if key not in UNTOLD}
        out[name] = value
    return out


def entry_checks(design: StaggeredPanel) -> list[Check]:
    """A failed check with the reason given, where the entry hangs on the outcome."""
    reason = overridden(design.entry, design.override)
    if not reason:
        return []
    return [Check(key="entry_overridden", status="failed", message={"reason": reason})]


def tellable(check: Check) -> Check:
    """The check without what tells small counts, estimates that a report shows or hides elsewhere, or
    sentences of one language: reasons become words of a closed list (the report's ``label.reason``)."""
    detail = check.detail
    if check.key == "cells_not_supported" and detail is not None:
        reasons = detail["kind"].astype(str)
        detail = reasons.value_counts().rename_axis("reason").reset_index(name="cells")
        return replace(check, message={"reasons": sorted(set(reasons))}, detail=detail)
    if detail is not None and check.key == "pretrend_power":
        detail = detail.drop(columns="estimate")
    elif check.key in NO_DETAIL:
        detail = None
    told = {k: v for k, v in check.message.items() if k in TOLD and _finite(v)}
    return replace(check, message=told, detail=detail)


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or bool(np.isfinite(value))


def common_window(design: StaggeredPanel) -> tuple[int, int] | None:
    """First and last event time every cohort is seen in; None where none lies two before the start."""
    first, last = design.periods[0], design.periods[-1]
    cohorts = design.cohorts
    cohorts = cohorts[cohorts <= last]
    window = int((first + 1 - cohorts).max()), int((last - cohorts).min())
    return window if window[0] < -1 else None


def with_robust(
    estimates: Estimates,
    everybody: Estimates,
    limits: RolloutThresholds,
    window: tuple[int, int] | None,
) -> Estimates:
    """The estimates with robust intervals for ``everybody`` added, where they can be had."""
    parts = [estimates]
    for outcome in dict.fromkeys(everybody.table["outcome"]):
        for at in (0, "mean"):
            try:
                rows, _ = robust_intervals(
                    estimates=everybody.select(outcome=outcome),
                    mbar=limits.mbar,
                    at=at,  # type: ignore[arg-type]
                    level=float(estimates.run.get("options", {}).get("level", 0.95)),
                    window=window,
                    breakdown_mbar=limits.breakdown_mbar,
                )
            except InputError:  # the check robust_to_trends says why
                continue
            parts.append(rows)
    if len(parts) == 1:
        return estimates
    return replace(Estimates.concat(parts), attrition=estimates.attrition, run=estimates.run)
