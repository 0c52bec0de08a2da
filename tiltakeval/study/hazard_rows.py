"""What a study makes of a hazard model's rows and run: names of statuses, how the search ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tiltakeval.estimates.check import Check, Status
from tiltakeval.population.person_status import OTHER

RATIO = "log_hazard_ratio"
POINTS, AGREE, FOLLOWS = "mass_points", "mass_points_agree", "hazard_follows"
#: The largest certificate a fit may end with: what the log-likelihood could still rise by.
CERTIFIED = 1e-3
#: Standard errors that effects may differ by between the lowest AIC and the full likelihood.
APART = 1.0
#: The largest gap between the share of participants that has left and what the model makes of it, in
#: these months; gaps within two errors of the share aren't counted.
GAP, MONTHS = 0.03, (3, 6, 12, 24, 36)
OBSERVED = "mean_observed"
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


def follows(table: pd.DataFrame, scope: Mapping[str, str]) -> list[Check]:
    """Whether the model follows each programme's own participants out of the register: the path with
    the programme needs no counterfactual, and a model that misses it can't be trusted on the rest.

    The statistic is the largest gap between the model's share and the observed one, over exits and
    `MONTHS`, to the nearest per cent, so that it can't be turned into a count.
    """
    keys = ["programme", "outcome", "horizon"]
    rows = table[(table["subgroup"] == "all") & table["horizon"].isin(MONTHS)]
    rows = rows[rows["programme"] != OTHER]  # none of the study's
    observed = rows[rows["term"] == OBSERVED]
    both = rows[rows["term"] == "mean_treated"].merge(observed, on=keys, suffixes=("", "_observed"))
    both["gap"] = (both["estimate"] - both["estimate_observed"]).abs()
    both.loc[both["gap"] <= 2 * both["std_error_observed"], "gap"] = 0.0
    found = []
    for programme, part in both.dropna(subset=["gap"]).groupby("programme", sort=False):
        worst = part.loc[part["gap"].idxmax()]
        gap = round(float(worst["gap"]), 2)
        found.append(
            Check(
                key=FOLLOWS,
                status=_verdict(gap, GAP),
                scope={**scope, "programme": str(programme)},
                statistic=gap,
                threshold=GAP,
                message={"month": int(worst["horizon"]), "outcome": str(worst["outcome"])},
            )
        )
    return found


def _verdict(value: float, limit: float) -> Status:
    return "passed" if value <= limit else "failed"
