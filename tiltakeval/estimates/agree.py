"""Compare estimates with a truth, a published figure or reference output: all are ``Estimates``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates

#: What two results must share to be about the same thing.
KEYS = (
    "population",
    "estimand",
    "programme",
    "comparator",
    "subgroup",
    "outcome",
    "horizon",
    "period",
)


def agree(
    found: Estimates,
    reference: Estimates,
    *,
    on: Sequence[str] = (*KEYS, "term"),
    absolute: float | None = None,
    relative: float | None = None,
    max_z: float | None = None,
    se_relative: float | None = None,
    key: str = "agreement",
) -> Check:
    """One check: do the estimates agree with the reference, row by row?

    A row agrees when it is within ``absolute`` or ``relative`` of the reference (either suffices), or,
    with ``max_z``, when the difference is at most that many standard errors (both errors count).
    ``se_relative`` also compares standard errors. The check's ``detail`` has a line per matched row:
    the keys, estimate, reference, difference, z, covered (the interval contains the reference), agrees.
    Raises InputError when nothing matches, or a reference row is met by several estimates.
    """
    if absolute is None and relative is None and max_z is None:
        raise InputError("say how close is close: absolute, relative or max_z")
    columns = [*on, "estimate", "std_error", "conf_low", "conf_high"]
    left, right = found.table[columns], reference.table[[*on, "estimate", "std_error", "source"]]
    for side, table in (("estimates", left), ("reference", right)):
        repeated = int(table.duplicated(list(on)).sum())
        if repeated:
            raise InputError(
                f"{repeated} row(s) of the {side} repeat the same keys", where=", ".join(on)
            )
    both = left.merge(right, on=list(on), suffixes=("", "_reference"))
    if both.empty:
        raise InputError(
            "no estimate matches the reference",
            where=", ".join(on),
            remedy="Compare the labels of both sides: population, estimand, programme, outcome.",
        )
    gap = both["estimate"] - both["estimate_reference"]
    spread = np.hypot(both["std_error"].fillna(0.0), both["std_error_reference"].fillna(0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(spread > 0, gap / spread, np.nan)
    agrees = pd.Series(False, index=both.index)
    if absolute is not None:
        agrees |= gap.abs() <= absolute
    if relative is not None:
        agrees |= gap.abs() <= relative * both["estimate_reference"].abs()
    if max_z is not None:
        agrees |= pd.Series(np.abs(z) <= max_z, index=both.index)
    if se_relative is not None:
        ratio = both["std_error"] / both["std_error_reference"]
        agrees &= ((ratio - 1).abs() <= se_relative) | ratio.isna()
    inside = (both["conf_low"] <= both["estimate_reference"]) & (
        both["estimate_reference"] <= both["conf_high"]
    )
    detail = both.assign(difference=gap, z=z, covered=inside, agrees=agrees)
    return Check(
        key=key,
        status="passed" if bool(agrees.all()) else "failed",
        statistic=float(agrees.mean()),
        threshold=1.0,
        message={"rows": len(both), "agree": int(agrees.sum()), "covered": int(inside.sum())},
        detail=detail,
    )
