"""Checks of roll-outs that come in doses, end, or reach some people likelier than others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tiltakeval.design.treatment_paths import TreatmentPaths
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates

#: Above this share of those whose treatment changes, too many have no effect with a sign.
CROSSING_SHARE = 0.1
#: Below this, relative to its mean, predicted participation tells people too little apart.
PREDICTION_SPREAD = 0.25


def paths_cross(*, design: object, crossing_share: float = CROSSING_SHARE) -> tuple[Check, ...]:
    """The share of units whose treatment changes that are now above, now below where they started: such
    units have no effect with a sign, and are cut from the crossing on unless the estimator is told
    otherwise. To the nearest per cent. No outcome is looked at; none for other designs."""
    if not isinstance(design, TreatmentPaths):
        return ()
    beyond = design.status - design.baseline[:, None]
    both = np.logical_and((beyond > 0).any(axis=1), (beyond < 0).any(axis=1))
    changed = np.isfinite(design.first)
    share = round(float(np.mean(both[changed])), 2) if changed.any() else 0.0
    return (
        Check(
            key="paths_cross",
            status="passed" if share <= crossing_share else "failed",
            scope={"population": design.population},
            statistic=share,
            threshold=crossing_share,
        ),
    )


def treatment_received(*, estimates: Estimates) -> tuple[Check, ...]:
    """How much more treatment than they started with units have by event time: now (``now``) and summed
    since the first change (``so_far``), means over those whose effect is measured. A check an outcome,
    informative; ``statistic`` is the mean now at the last event time."""
    return tuple(_received(estimates))


def _received(estimates: Estimates) -> Iterator[Check]:
    told = [one for one in estimates.run.get("treatment_received", []) if one["subgroup"] == "all"]
    table = estimates.table
    table = table[(table["term"] == "effect_by_event_time") & (table["subgroup"] == "all")]
    for outcome in dict.fromkeys(one["outcome"] for one in told):
        detail = pd.DataFrame([one for one in told if one["outcome"] == outcome])
        units = table[table["outcome"] == outcome].set_index("horizon")["n_treated"]
        detail["n_treated"] = detail["horizon"].map(units).astype("Int64")
        detail = detail[["horizon", "now", "so_far", "n_treated"]].dropna()
        if detail.empty:
            continue
        yield Check(
            key="treatment_received",
            status="informative",
            scope={"outcome": str(outcome)},
            statistic=float(detail["now"].iloc[-1]),
            detail=detail.reset_index(drop=True),
            counts=("n_treated",),
        )


def prediction_spread(
    *, estimates: Estimates, prediction_spread: float = PREDICTION_SPREAD
) -> tuple[Check, ...]:
    """Whether predicted participation tells units apart: its standard deviation relative to its mean.

    Where all are about as likely to take part, a slope on it rests on little, and on how the prediction
    was made. None for other designs."""
    told = estimates.run.get("prediction")
    if not told:
        return ()
    mean, spread = float(told["mean"]), float(told["standard_deviation"])
    ratio = spread / mean if mean > 0 else 0.0
    return (
        Check(
            key="prediction_spread",
            status="passed" if ratio >= prediction_spread else "failed",
            statistic=ratio,
            threshold=prediction_spread,
            message={"mean": mean, "standard_deviation": spread, "made": str(told["made"])},
        ),
    )
