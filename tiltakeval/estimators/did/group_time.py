"""Effects of a staggered roll-out by cohort and period, and their averages."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.sections import StaggeredSections
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.cells.section_level import estimate_sections
from tiltakeval.estimators.did.chosen import Averages
from tiltakeval.estimators.did.level import Level, estimate_level
from tiltakeval.estimators.did.plan import COMPARISONS, Cell, planned, refuse_no_never
from tiltakeval.estimators.did.result import (
    EXACT_BELOW,
    check_balance,
    groups_of,
    result_of,
    strata_of,
)
from tiltakeval.estimators.did.rows import Rows, levels_of
from tiltakeval.estimators.numerics.groups import Groups

Bools = NDArray[np.bool_]

_CHOICES = {
    "method": ("dr", "ipw", "reg"),
    "base": ("varying", "universal"),
    "divisor": ("leverage", "g_minus_1", "g"),
}


@dataclass(frozen=True, kw_only=True)
class GroupTimeATT(Averages):
    """Effects on each cohort of a roll-out, period by period. Callaway & Sant'Anna (2021).

    ``method``: doubly robust (``dr``), normalised weights (``ipw``) or outcome regression (``reg``);
    they are one where there are no covariates. ``comparison``: units ``never`` treated, all ``not_yet``
    treated, or the cohort treated ``last``, until it is. ``base``: periods before treatment are measured
    from the period before them (``varying``), or like effects from the last period before treatment
    (``universal``). ``anticipation``: periods before its start in which treatment may matter.
    ``balance``: averages by event time use cohorts seen that many periods after start. Cohorts or
    comparisons of fewer than ``min_clusters`` clusters get no estimate (with one, the error would be
    that of the comparison only). Comparison units with a propensity above ``max_propensity`` are
    left out, and counted in a check.

    Covariates that vary with time (the design's ``varying``) are taken in the cell's base period, which
    lies before treatment; with ``covariate_changes`` also their change from it. That is measured after
    treatment, and right only where treatment leaves these covariates ``untouched``: say why, in words.

    A cell uses the units seen both in its period and in its base: long differences of the same units.
    With rows missing at random given the covariates it estimates the same effects; else it describes the
    units seen twice. Cohorts weigh by all their units in averages.

    Errors are clustered by the design's ``cluster``; averages include that cohorts' sizes are estimated.
    A mean over G clusters has the squares of its influence divided by one less each cluster's share,
    which makes its variance unbiased: with ``divisor = "leverage"`` this is done side by side, as few
    offices of a cohort can face many that are never treated (Bell & McCaffrey 2002, Survey Methodology
    28:169-181). ``g_minus_1`` multiplies the sum of squares by G / (G - 1) of all clusters, as elsewhere
    here; ``g`` doesn't, as R's did and its ports. With ``leverage``, where clusters start as a whole,
    intervals and bands have Welch's degrees of freedom from the clusters of each cohort.
    """

    method: Literal["dr", "ipw", "reg"] = "dr"
    comparison: Literal["not_yet", "never", "last", "not_yet_treated", "never_treated"] = "not_yet"
    base: Literal["varying", "universal"] = "varying"
    anticipation: int = 0
    balance: int | None = None
    min_clusters: int = 2
    max_propensity: float = 0.995
    covariate_changes: bool = False
    untouched: str = ""
    divisor: Literal["leverage", "g_minus_1", "g"] = "leverage"
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    seed: int = 0

    def estimate(self, design: StaggeredPanel) -> Estimates:
        """Rows by cohort and period (term ``effect``), and averages (``effect_overall``,
        ``effect_by_cohort``, ``effect_by_period``, ``effect_by_event_time``, ``effect_over_...`` the
        means of these, ``cumulated_path``), by outcome and subgroup. Raises InputError.
        """
        began = time.process_time()
        self._check()
        comparison = COMPARISONS[self.comparison]
        if comparison == "never":
            refuse_no_never(design, self.anticipation)
        if self.covariate_changes and design.varying is None:
            raise InputError(
                "no covariate that varies with time is declared",
                where="covariate_changes",
                remedy="Say varying = their columns.",
            )
        check_balance(design, self.balance)
        plan = planned(
            design,
            comparison=comparison,
            base=self.base,
            anticipation=self.anticipation,
        )
        groups = groups_of(design, len(plan), EXACT_BELOW, sections=True)
        # every side has its own factor with leverage, so that G / (G - 1) is taken out
        divisor = "g_minus_1" if self.divisor == "g_minus_1" else "g"
        rows = Rows(
            design,
            groups,
            self.balance,
            divisor,
            small=self.divisor == "leverage",
            asked=self.asked(design),
            one_base=self.base == "universal",
        )
        for label, inside in levels_of(design):
            for k in range(len(design.outcome_names)):
                rows.add(label, k, inside, self._level(design, plan, inside, k, groups))
        return result_of(
            design,
            rows,
            groups,
            self,
            key="group_time_att",
            options=asdict(self),
            began=began,
            varying=True,
            strata=strata_of(design, groups) if self.divisor == "leverage" else None,
        )

    def _level(
        self, design: StaggeredPanel, plan: list[Cell], inside: Bools, k: int, groups: Groups
    ) -> Level:
        leverage = self.divisor == "leverage"
        if isinstance(design, StaggeredSections):
            return estimate_sections(
                design, plan, inside, k, groups, method=self.method, min_clusters=self.min_clusters,
                max_propensity=self.max_propensity, leverage=leverage,
            )  # fmt: skip
        return estimate_level(
            design, plan, inside, k, groups, method=self.method, min_clusters=self.min_clusters,
            max_propensity=self.max_propensity, leverage=leverage, changes=self.covariate_changes,
        )  # fmt: skip

    def _check(self) -> None:
        """Raise InputError for a choice there isn't."""
        for name, valid in _CHOICES.items():
            if getattr(self, name) not in valid:
                raise unknown("choice", str(getattr(self, name)), valid, where=name)
        if self.comparison not in COMPARISONS:
            raise unknown("comparison", self.comparison, COMPARISONS, where="comparison")
        if self.covariate_changes != bool(self.untouched.strip()):
            raise InputError(
                "changes of covariates are measured after treatment, and may be what it made of them"
                if self.covariate_changes
                else "no change of a covariate is used that treatment could have touched",
                where="untouched",
                remedy='Leave covariate_changes out; or say, in untouched = "...", why treatment '
                "doesn't change these covariates: the result keeps the reason.",
            )
        if self.anticipation < 0:
            raise InputError(
                "anticipation is a number of periods, at least 0", where="anticipation"
            )
        if self.balance is not None and self.balance < 0:
            raise InputError("an event time to balance to is at least 0", where="balance")
        if self.min_clusters < 1:
            raise InputError("at least one cluster is needed", where="min_clusters")
        if not 0 < self.max_propensity <= 1:
            raise InputError("the highest propensity lies between 0 and 1", where="max_propensity")
        if not 0.5 < self.level < 1:
            raise InputError("the level must lie between 0.5 and 1", where="level")
