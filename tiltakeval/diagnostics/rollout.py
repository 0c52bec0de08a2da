"""Checks of a roll-out: trends before treatment, what they could hide, cells without estimate,
covariates, overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.diagnostics.bacon import bacon
from tiltakeval.diagnostics.honest.checks import pretrend_power as power_of
from tiltakeval.diagnostics.honest.checks import robust_to_trends
from tiltakeval.diagnostics.not_imputed import rows_not_imputed
from tiltakeval.diagnostics.placebo import wald
from tiltakeval.diagnostics.rollout_designs import PREDICTION_SPREAD, treatment_received
from tiltakeval.diagnostics.rollout_designs import prediction_spread as spread_of
from tiltakeval.diagnostics.synthetic import (
    LARGEST_WEIGHT,
    WORST_FIT,
    synthetic_concentration,
    synthetic_fit,
)
from tiltakeval.diagnostics.triple import comparisons_left_out
from tiltakeval.diagnostics.twfe_weights import twfe_weights
from tiltakeval.diagnostics.varying_covariates import rows_without_covariates
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates

#: The mean effect of all units.
MEAN = "effect_overall"
#: Terms tested jointly before treatment, and what the rows of each are.
OVER = {
    "effect_by_event_time": "event_time",
    "effect": "cohort_and_period",
    "slope_linear_by_event_time": "dose",
}
#: Of these a test is made only where there are such rows.
ONLY_WHERE = ("slope_linear_by_event_time",)


def rollout(
    *,
    estimates: Estimates,
    pretrend_level: float = 0.05,
    pretrend_power: float = 0.8,
    breakdown_mbar: float = 1.0,
    effective_clusters: float = 30,
    window: tuple[int, int] | None = None,
    prediction_spread: float = PREDICTION_SPREAD,
    worst_fit: float = WORST_FIT,
    largest_weight: float = LARGEST_WEIGHT,
) -> tuple[Check, ...]:
    """The checks of a group-time estimator's result (with its influence and run).

    ``pretrend_power`` is the power at which the trend that a test would find is given; the others are
    limits. ``window`` are the first and last event time used (all by default).
    """
    return (
        *pretrend(estimates=estimates, pretrend_level=pretrend_level, window=window),
        *power_of(
            estimates=estimates,
            pretrend_level=pretrend_level,
            power=(0.5, pretrend_power),
            window=window,
        ),
        *robust_to_trends(estimates=estimates, breakdown_mbar=breakdown_mbar, window=window),
        *bacon(estimates=estimates),
        *twfe_weights(estimates=estimates, placebo_level=pretrend_level),
        *few_clusters(estimates=estimates, effective_clusters=effective_clusters),
        *cells_not_supported(estimates=estimates),
        *collinear_covariates(estimates=estimates),
        *overlap_in_cells(estimates=estimates),
        *rows_not_imputed(estimates=estimates),
        *rows_without_covariates(estimates=estimates),
        *synthetic_fit(estimates=estimates, worst_fit=worst_fit),
        *synthetic_concentration(estimates=estimates, largest_weight=largest_weight),
        *comparisons_left_out(estimates=estimates),
        *spread_of(estimates=estimates, prediction_spread=prediction_spread),
        *treatment_received(estimates=estimates),
        *units_left_out(estimates=estimates),
    )


def pretrend(
    *,
    estimates: Estimates,
    pretrend_level: float = 0.05,
    window: tuple[int, int] | None = None,
) -> tuple[Check, ...]:
    """Joint tests that effects before treatment (and its anticipation) are zero, all units.

    Hotelling's T squared of the rows by event time, and of those by cohort and period; ``statistic`` is
    the p value. Passing doesn't show that trends are parallel: it shows no departure that is large
    against the errors, which ``largest_error`` in the message gives.
    """
    return tuple(_pretrends(estimates, pretrend_level, window))


def _pretrends(
    estimates: Estimates, level: float, window: tuple[int, int] | None
) -> Iterator[Check]:
    ahead = int(estimates.run.get("options", {}).get("anticipation", 0))
    table = estimates.table
    if window is not None:
        table = table[(table["horizon"] >= window[0]).fillna(False)]
    for term, over in OVER.items():
        if term in ONLY_WHERE and not (table["term"] == term).any():
            continue
        rows = table[
            (table["term"] == term)
            & (table["subgroup"] == "all")
            & (table["status"] == "ok")
            & (table["horizon"] < -ahead).fillna(False)
        ]
        for outcome in dict.fromkeys(table["outcome"]):
            mine = rows[rows["outcome"] == outcome]
            at = mine.index.to_numpy(dtype=np.int64)
            test = None
            if at.size and estimates.influence is not None:
                theta = mine["estimate"].to_numpy(dtype=np.float64)
                units = float(mine[["n_treated", "n_comparison"]].min().min())
                influence = estimates.influence
                test = wald(theta, influence.columns(at), units, influence.form)
            message: dict[str, Any] = {"over": over, "rows": int(at.size)}
            if test is None:
                yield Check(
                    key="pretrend",
                    status="not_evaluated",
                    scope={"outcome": outcome, "over": over},
                    threshold=level,
                    message={
                        **message,
                        "why": "more rows than the units can bear"
                        if at.size
                        else "no period before",
                    },
                )
                continue
            yield Check(
                key="pretrend",
                status="passed" if test.p_value >= level else "failed",
                scope={"outcome": outcome, "over": over},
                statistic=test.p_value,
                threshold=level,
                message={
                    **message,
                    "wald": test.statistic,
                    "rank": test.rank,
                    "largest_error": float(mine["std_error"].max()),
                },
                detail=mine[["cohort", "period", "horizon", "estimate", "std_error"]].reset_index(
                    drop=True
                ),
            )


def few_clusters(*, estimates: Estimates, effective_clusters: float = 30) -> tuple[Check, ...]:
    """How many clusters, in effect, carry the error of the mean effect: 3 (sum z^2)^2 / sum z^4.

    z are the clusters' influences. It is the number of clusters where all vary alike (normal z has
    E z^4 = 3 (E z^2)^2), and near that of the smaller side where one side is small. With few, errors and
    intervals are less sure than they look: Satterthwaite's degrees of freedom, with the influence in
    place of what it is expected to be. A check per outcome; fails below ``effective_clusters``.
    """
    influence = estimates.influence
    if influence is None:
        return ()
    table, found = estimates.table, []
    rows = table[(table["term"] == MEAN) & (table["subgroup"] == "all") & (table["status"] == "ok")]
    for at, outcome in zip(rows.index.to_numpy(dtype=np.int64), rows["outcome"]):
        squares = influence.columns([at])[:, 0] ** 2
        total = float((squares**2).sum())
        effective = 3 * float(squares.sum()) ** 2 / total if total > 0 else 0.0
        effective = round(min(effective, float(influence.n_clusters)), 1)
        found.append(
            Check(
                key="few_clusters",
                status="passed" if effective >= effective_clusters else "failed",
                scope={"outcome": str(outcome)},
                statistic=effective,
                threshold=effective_clusters,
                message={"clusters": influence.n_clusters},
            )
        )
    return tuple(found)


def cells_not_supported(*, estimates: Estimates) -> tuple[Check, ...]:
    """How many cohorts and periods have no estimate, and why."""
    lost = estimates.run.get("not_supported", [])
    if not lost:
        return ()
    detail = pd.DataFrame(lost)
    return (
        Check(
            key="cells_not_supported",
            status="informative",
            statistic=float(len(lost)),
            message={"reasons": sorted(set(detail["reason"]))},
            detail=detail,
        ),
    )


def collinear_covariates(*, estimates: Estimates) -> tuple[Check, ...]:
    """Which covariates were dropped, everywhere or in some cells."""
    everywhere = list(estimates.run.get("collinear", []))
    somewhere = list(estimates.run.get("collinear_in_cells", []))
    if not (everywhere or somewhere):
        return ()
    return (
        Check(
            key="collinear_covariates",
            status="informative",
            statistic=float(len({*everywhere, *somewhere})),
            message={"dropped": everywhere, "dropped_in_some_cells": somewhere},
        ),
    )


def overlap_in_cells(*, estimates: Estimates) -> tuple[Check, ...]:
    """Cells in which comparison units had too high a propensity to be used."""
    found = estimates.run.get("trimmed", [])
    if not found:
        return ()
    detail = pd.DataFrame(found)
    return (
        Check(
            key="overlap_in_cells",
            status="failed",
            statistic=float(detail["units"].max()),
            message={"cells": len(found)},
            detail=detail,
            counts=("units",),
        ),
    )


def units_left_out(*, estimates: Estimates) -> tuple[Check, ...]:
    """Units of the data that are not analysed, by why."""
    steps = estimates.attrition.removed()
    lost = steps[steps["removed_units"].fillna(0) > 0]
    if lost.empty:
        return ()
    detail = lost[["step", "removed_units"]].reset_index(drop=True)
    return (
        Check(
            key="units_left_out",
            status="informative",
            statistic=float(detail["removed_units"].sum()),
            message={
                f"{step}": int(count)
                for step, count in zip(detail["step"], detail["removed_units"])
            },
            detail=detail,
            counts=("removed_units",),
        ),
    )
