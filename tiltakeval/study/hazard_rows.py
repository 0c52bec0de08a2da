"""What a study makes of a hazard model's rows and run: names of statuses, how the search ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tiltakeval.estimates.check import Check, Status

RATIO = "log_hazard_ratio"
POINTS, AGREE = "mass_points", "mass_points_agree"
#: The largest certificate a fit may end with: what the log-likelihood could still rise by.
CERTIFIED = 1e-3
#: Standard errors that effects may differ by between the lowest AIC and the full likelihood.
APART = 1.0
_STATUS = r"^(?P<programme>.+?)_(?P<stage>waiting|in|after)(?:_(?P<first>\d+)_(?P<last>\d+|up))?$"
_ORIGIN = {"waiting": "vedtak", "in": "start", "after": "end"}
TOLD = (
    "estimator", "options", "design", "version", "persons", "log_likelihood", "points",
    "certificate", "gradient_norm", "chosen",
)  # fmt: skip


def named(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a status, by programme, time origin and months since: in place of the column's name.

    Bands may have been joined, so that they are read off the names.
    """
    out = table.copy()
    parts = out["programme"].str.extract(_STATUS)
    known = parts["stage"].notna()
    whole = parts["first"].isna()
    last = parts["last"].replace("up", "").fillna("")
    period = (parts["first"].fillna("") + "-" + last).mask(whole, "")
    out.loc[known, "programme"] = parts.loc[known, "programme"]
    out.loc[known, "time_origin"] = parts.loc[known, "stage"].map(_ORIGIN)
    out.loc[known, "horizon"] = parts.loc[known, "first"].fillna("0").astype(int)
    own = known & (out["period"] == "")
    out.loc[own, "period"] = period[own]
    return out


def told(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run may tell in a manifest: nothing that rests on few persons."""
    told = {name: run[name] for name in TOLD if name in run}
    told["options"] = {k: v for k, v in run["options"].items() if k != "amounts"}
    return told


def points_checks(
    table: pd.DataFrame, run: Mapping[str, Any], scope: Mapping[str, str]
) -> list[Check]:
    """How the search for mass points ended, what each number of them gives, and whether the effects
    hang on how many there are: their largest difference between the lowest AIC and the full
    likelihood, in standard errors. ``table`` holds the model's rows as the estimator gives them."""
    fits = pd.DataFrame(run["path"])[["points", "log_likelihood", "aic", "bic"]]
    certificate, aic = run["certificate"], run["chosen"]["aic"]
    ended = "not_evaluated" if certificate is None else _verdict(certificate, CERTIFIED)
    checks = [
        Check(
            key=POINTS,
            status=ended,
            scope=scope,
            statistic=certificate,
            threshold=CERTIFIED,
            message={
                "points": run["points"],
                "aic_points": aic,
                "averaged": run.get("options", {}).get("points") == "averaged",
            },
            detail=fits,
        )
    ]
    rows = table[(table["subgroup"] == "all") & (table["term"] == f"{RATIO}_by_points")]
    at = {
        points: rows[rows["period"] == f"points={points}"].set_index(["programme", "outcome"])
        for points in (aic, run["points"])
    }
    gap = (at[aic]["estimate"] - at[run["points"]]["estimate"]).abs()
    largest = (gap / at[run["points"]]["std_error"]).max()
    if pd.notna(largest):
        checks.append(
            Check(
                key=AGREE,
                status=_verdict(float(largest), APART),
                scope=scope,
                statistic=float(largest),
                threshold=APART,
            )
        )
    return checks


def _verdict(value: float, limit: float) -> Status:
    return "passed" if value <= limit else "failed"
