"""Comparison cohorts that triple differences had to do without."""

from __future__ import annotations

import pandas as pd

from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates


def comparisons_left_out(*, estimates: Estimates) -> tuple[Check, ...]:
    """Comparison cohorts that couldn't be used in some cell, as they lack an eligible or ineligible
    group, or too few clusters; ``statistic`` counts cells times cohorts. Effects rest on the others."""
    found = estimates.run.get("comparisons_left_out", [])
    if not found:
        return ()
    detail = pd.DataFrame(found)
    return (
        Check(
            key="comparisons_left_out",
            status="informative",
            statistic=float(len(found)),
            message={"reasons": sorted(set(detail["reason"]))},
            detail=detail,
        ),
    )
