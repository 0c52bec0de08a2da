"""Treated rows that imputation had to leave out."""

from __future__ import annotations

import pandas as pd

from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates


def rows_not_imputed(*, estimates: Estimates) -> tuple[Check, ...]:
    """Units of a cohort that are seen in a period but aren't in its effect, because nothing untreated
    tells what they would have had. ``statistic`` is the most in one cohort and period."""
    found = estimates.run.get("not_imputed", [])
    if not found:
        return ()
    detail = pd.DataFrame(found)
    return (
        Check(
            key="rows_not_imputed",
            status="informative",
            statistic=float(detail["units"].max()),
            message={"cells": len(found)},
            detail=detail,
            counts=("units",),
        ),
    )
