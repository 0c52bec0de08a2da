"""What a study makes of a hazard model's rows and run: names of statuses, how the search ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tiltakeval.estimates.check import Check

POINTS = "mass_points"
#: The largest certificate a fit may end with: what the log-likelihood could still rise by.
CERTIFIED = 1e-3
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


def points_check(run: Mapping[str, Any], scope: Mapping[str, str]) -> Check:
    """How the fit ended, and what each number of mass points gives."""
    fits = pd.DataFrame(run["path"])[["points", "log_likelihood", "aic", "bic"]]
    return Check(
        key=POINTS,
        status="passed" if run["certificate"] <= CERTIFIED else "failed",
        scope=scope,
        statistic=run["certificate"],
        threshold=CERTIFIED,
        message={"points": run["points"], "aic_points": run["chosen"]["aic"]},
        detail=fits,
    )
