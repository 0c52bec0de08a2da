"""Covariates that vary with time: do they move with the programme, and rows lost for want of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tiltakeval.design.sections import StaggeredSections
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.treatment_paths import TreatmentPaths
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.imputation import Imputation
from tiltakeval.estimators.did.varying import known_rows

MOVED = "covariates_moved"
#: Options of the estimate that say which rows are untreated and which cells count.
SHARED = ("anticipation", "min_clusters")


def covariates_moved(
    *, design: StaggeredPanel, estimates: Estimates, placebo_level: float = 0.05
) -> tuple[Check, ...]:
    """A check for each covariate that varies with time and is used in periods after the start: does it
    move with the programme? Fails when p < ``placebo_level`` divided by the number of covariates.

    The covariate is put in the outcome's place (`Imputation`, with the constant covariates): its effect
    is zero where it doesn't move with the programme, as for a placebo outcome. ``statistic`` is the p
    value of its mean effect. A failure has two readings that no data tell apart: the programme moves
    the covariate, which must then be left out, or something else did at the same time, which is what it
    is held constant for. Where the estimate is an imputation, the message says by how much the covariate
    changes it: minus its slope times that effect, which add up exactly where the same rows are used (the
    estimate is linear in the outcome). Passing isn't evidence that a covariate is untouched.
    """
    if not _used_after(design, estimates):
        return ()
    return tuple(_moved(design, estimates, placebo_level))


def _used_after(design: StaggeredPanel, estimates: Estimates) -> bool:
    """Whether values of the covariates after the start enter the estimates."""
    if design.varying is None or not design.varying_names:
        return False
    run = estimates.run
    return "varying" in run or bool(
        run.get("estimator") == "SyntheticDiD" or run.get("options", {}).get("covariate_changes")
    )


def _moved(design: StaggeredPanel, estimates: Estimates, level: float) -> Iterator[Check]:
    threshold = level / len(design.varying_names)
    given = estimates.run.get("options", {})
    options = {k: v for k, v in given.items() if k in SHARED}
    if estimates.run.get("estimator") in ("Imputation", "TwoStage"):
        options["covariates"] = given["covariates"]
    why, found = "", None
    if isinstance(design, StaggeredSections | TreatmentPaths):
        why = "treatment isn't a roll-out over units that are followed"
    else:
        try:
            found = Imputation(bands=False, **options).estimate(_as_outcomes(design)).table
        except InputError as error:
            why = error.what
    for name in design.varying_names:
        row = None
        if found is not None:
            rows = found[(found["term"] == "effect_overall") & (found["outcome"] == name)]
            row = rows[rows["status"] == "ok"].squeeze() if len(rows) else None
        if row is None or row.empty or not np.isfinite(row["p_value"]):
            yield Check(
                key=MOVED,
                status="not_evaluated",
                scope={"covariate": name},
                threshold=threshold,
                message={"why": why or "it doesn't vary, or no untreated row tells of it"},
            )
            continue
        effect, p = float(row["estimate"]), float(row["p_value"])
        yield Check(
            key=MOVED,
            status="passed" if p >= threshold else "failed",
            scope={"covariate": name},
            statistic=p,
            threshold=threshold,
            message=_message(estimates, name, effect, float(row["std_error"])),
        )


def _message(estimates: Estimates, name: str, effect: float, error: float) -> dict[str, Any]:
    said = [
        f"after the start {name} is {effect:.4g} higher than untreated rows foretell "
        f"(standard error {error:.2g})"
    ]
    for one in estimates.run.get("varying", {}).get("slopes", ()):
        if one["covariate"] == name and one["subgroup"] == "all":
            said.append(
                f"with a slope of {one['slope']:.4g} that takes {one['slope'] * effect:.4g} from the "
                f"effect on {one['outcome']}"
            )
    return {"effect": effect, "error": error, "reasons": said}


def _as_outcomes(design: StaggeredPanel) -> StaggeredPanel:
    """The covariates as outcomes, in the rows that have all of them."""
    known = known_rows(design)
    assert design.varying is not None and known is not None
    seen = known & np.isfinite(design.outcomes).any(axis=2)
    return replace(
        design,
        outcomes=np.where(seen[:, :, None], design.varying, np.nan),
        outcome_names=design.varying_names,
        units=("",) * len(design.varying_names),
        varying=None,
        varying_names=(),
        subgroups={},
    )


def rows_without_covariates(*, estimates: Estimates) -> tuple[Check, ...]:
    """Rows with an outcome that aren't used because a covariate that varies has no value there.
    ``statistic`` is the most over outcomes; the message counts missing values by covariate."""
    said = estimates.run.get("varying", {})
    lost = said.get("rows_left_out", {})
    most = max(lost.values(), default=0)
    if not most:
        return ()
    missing = {name: n for name, n in said["rows_without_value"].items() if n}
    reasons = [f"{count} rows have no value of {name}" for name, count in missing.items()]
    return (
        Check(
            key="rows_without_covariates",
            status="informative",
            statistic=float(most),
            message={"reasons": reasons},
        ),
    )
