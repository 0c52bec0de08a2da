"""Effects of a roll-out by the dose in which it came."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from tiltakeval.design.doses import DosedRollout
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import with_bands
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.beside import Beside, with_reference
from tiltakeval.estimators.did.dose.basis import bins_of, rounded, spline_of
from tiltakeval.estimators.did.dose.fit import excess_of
from tiltakeval.estimators.did.dose.level import Level, Wanted
from tiltakeval.estimators.did.level import standard_covariates
from tiltakeval.estimators.did.plan import OTHERS, cells, check_options, refuse_no_never
from tiltakeval.estimators.did.reference import reference_of
from tiltakeval.estimators.did.result import groups_of, result_of, strata_of
from tiltakeval.estimators.did.rows import Rows, levels_of

_CHOICES = {
    "comparison": tuple(OTHERS),
    "average": ("cohorts", "cells"),
    "errors": ("sampling", "conditional"),
    "divisor": ("leverage", "g_minus_1", "g"),
}
#: What effects by dose are, and what they aren't.
ASSUMES = (
    "parallel trends: effects at a dose are those on the units that got it. Differences and slopes "
    "between doses are effects of more dose only under strong parallel trends: that units of one dose "
    "would, with another, have changed as those who got it"
)
#: The terms that are zero by definition in the base period.
OVER_TIME = (
    "effect_by_event_time",
    "effect_by_dose_and_event_time",
    "slope_linear_by_event_time",
)
#: The terms with joint bands, and over what.
BANDED = {
    "effect_at_dose": "cohort",
    "slope_at_dose": "cohort",
    "effect_by_dose": "cohort",
    "effect_by_dose_and_event_time": "horizon",
    "slope_linear_by_event_time": "horizon",
}


@dataclass(frozen=True, kw_only=True)
class DoseResponse:
    """ATT(d | d): what a roll-out did to units that got the dose d, by bins of the dose and along a
    curve. Callaway, Goodman-Bacon & Sant'Anna (2024, NBER Working Paper 32117).

    A cohort's changes since its last period before the start, less those of the comparison (``not_yet``
    or ``never`` treated), are regressed on functions of the dose, period by period: bins (``bins``: a
    number of about equal ones, or inner cut points), a straight line, and with ``curve`` a spline of
    ``degree`` with ``knots`` inner knots, evaluated at ``doses`` (default: round numbers near the
    10, 25, 50, 75 and 90 % quantiles). Covariates constant in a unit adjust the comparison's changes by
    a regression.

    ``average``: along doses, ``cohorts`` weigh by their units, each with the plain mean over its periods
    (as contdid and diff-diff), or all ``cells`` by their units. ``errors``: ``sampling`` counts that
    numbers of units by cohort and dose are those of a sample, ``conditional`` takes them as given.
    ``divisor``: each cluster's residuals are divided by what its leverage leaves (`dose.leverage`),
    with Welch's degrees of freedom as in `GroupTimeATT`; or squares of influence are multiplied by
    G / (G - 1), or (``g``) not. ``anticipation`` and ``min_clusters`` as in `GroupTimeATT`.
    """

    comparison: Literal["not_yet", "never", "not_yet_treated", "never_treated"] = "not_yet"
    anticipation: int = 0
    bins: int | tuple[float, ...] = 3
    curve: bool = True
    degree: int = 3
    knots: int = 0
    doses: tuple[float, ...] | None = None
    average: Literal["cohorts", "cells"] = "cohorts"
    min_clusters: int = 2
    errors: Literal["sampling", "conditional"] = "sampling"
    divisor: Literal["leverage", "g_minus_1", "g"] = "leverage"
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    seed: int = 0

    def estimate(self, design: DosedRollout) -> Estimates:
        """Rows by outcome and subgroup: all doses together as `GroupTimeATT` has them (``effect``,
        ``effect_overall``, ``effect_over_cohorts``, ``effect_by_event_time``); ``effect_by_dose`` and
        ``effect_by_dose_and_event_time`` by bin; ``effect_at_dose``, ``slope_at_dose``, and
        ``slope_overall`` (the mean slope at the doses received) along the curve; ``slope_linear``,
        ``slope_linear_by_event_time``. Doses stand in the column ``cohort``. Raises InputError.
        """
        began = time.process_time()
        self._check(design)
        plan = list(
            cells(
                design,
                comparison=OTHERS[self.comparison],
                base="universal",
                anticipation=self.anticipation,
            )
        )
        treated = design.first <= design.periods[-1]
        doses = design.dose[treated]
        spline = spline_of(doses, degree=self.degree, knots=self.knots) if self.curve else None
        wanted = Wanted(
            bins=bins_of(doses, self.bins),
            spline=spline,
            doses=self._grid(doses),
            by_cohort=self.average == "cohorts",
            sampling=self.errors == "sampling",
            least=self.min_clusters,
            leverage=self.divisor == "leverage",
        )
        groups = groups_of(design, 4 * len(plan))
        rows = Rows(design, groups, None, "g_minus_1" if self.divisor == "g_minus_1" else "g")
        for label, inside in levels_of(design):
            x, _, dropped = standard_covariates(design, inside)
            rows.notes["collinear"] += [n for n in dropped if n not in rows.notes["collinear"]]
            for k in range(len(design.outcome_names)):
                y = np.ascontiguousarray(design.outcomes[:, :, k])
                found = [
                    excess_of(design, c, inside, y, x, self.min_clusters, groups, wanted.leverage)
                    for c in plan
                ]
                made = Level(design, found, groups, wanted).rows()
                made = with_reference(made, reference_of(design.periods, plan), OVER_TIME)
                rows.add_beside(label, k, [_per_dose(row, design.units[k]) for row in made])
        rows.notes["assumes"] = ASSUMES
        options: dict[str, Any] = asdict(self)
        out = result_of(
            design,
            rows,
            groups,
            self,
            key="dose_response",
            options=options,
            began=began,
            strata=strata_of(design, groups) if wanted.leverage else None,
        )
        if self.bands and out.influence is not None:
            for term, over in BANDED.items():
                if (out.table["term"] == term).any():
                    out = with_bands(
                        out, within=(over,), terms=(term,), level=self.level, draws=self.draws,
                        seed=self.seed,
                    )  # fmt: skip
        return out

    def held(self, design: DosedRollout, part: DosedRollout | None = None) -> DoseResponse:
        """The same with the bins and doses that this design gives, as far as ``part`` of it has them."""
        every, own = (one.dose[one.first <= one.periods[-1]] for one in (design, part or design))
        cuts, grid = bins_of(every, self.bins).cuts, self._grid(every)
        if own.size:
            low, high = own.min(), own.max()
            grid = grid[(grid >= low) & (grid <= high)]
            cuts = None if cuts is None else tuple(c for c in cuts if low <= c < high)
        return replace(
            self,
            bins=self.bins if cuts is None else cuts,
            doses=tuple(float(d) for d in grid),
        )

    def _grid(self, doses: np.ndarray) -> np.ndarray:
        """The doses at which the curve is shown. Raises InputError for those outside the data."""
        if self.doses is None:
            middle = np.quantile(doses, [0.1, 0.25, 0.5, 0.75, 0.9])
            return rounded(middle, float(doses.min()), float(doses.max()))
        grid = np.array(sorted(set(self.doses)), dtype=np.float64)
        outside = int(((grid < doses.min()) | (grid > doses.max())).sum())
        if outside:
            raise InputError(
                f"{outside} of {grid.size} doses lie outside those received",
                where="doses",
                remedy="Name doses within their range, or leave doses out to have some chosen.",
            )
        return grid

    def _check(self, design: DosedRollout) -> None:
        """Raise InputError for a choice there isn't."""
        if not isinstance(design, DosedRollout):
            raise InputError(
                "this estimator needs every treated unit's dose",
                where="dose_response",
                remedy="Read the file with doses.doses_from_frame.",
            )
        check_options(
            self, _CHOICES, {"anticipation": 0, "degree": 1, "knots": 0, "min_clusters": 1}
        )
        if OTHERS[self.comparison] == "never":
            refuse_no_never(design, self.anticipation)


def _per_dose(row: Beside, unit: str) -> Beside:
    """The row with its unit: the outcome's, of slopes per unit of dose."""
    shown = f"{unit} per dose" if str(row.labels["term"]).startswith("slope") else unit
    return replace(row, labels={"unit": shown, **row.labels})
