"""Triple differences: an eligible and an ineligible group in the same offices."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.plan import COMPARISONS, planned, refuse_no_never
from tiltakeval.estimators.did.result import (
    EXACT_BELOW,
    check_balance,
    groups_of,
    result_of,
    strata_of,
)
from tiltakeval.estimators.did.rows import Rows, levels_of
from tiltakeval.estimators.did.triple.level import estimate_triple
from tiltakeval.estimators.did.triple.pairs import Settings
from tiltakeval.estimators.numerics.groups import Groups

Bools = NDArray[np.bool_]

_CHOICES = {
    "method": ("dr", "ipw", "reg"),
    "base": ("varying", "universal"),
    "combine": ("gmm", "size"),
    "divisor": ("leverage", "g_minus_1", "g"),
}


@dataclass(frozen=True, kw_only=True)
class TripleDifference:
    """Effects on the eligible of each cohort of a roll-out, period by period, net of what happens to the
    ineligible of the same places. Ortiz-Villavicencio & Sant'Anna (2025).

    ``eligible`` names a declared subgroup: with the levels 0 and 1, or as ``name=level``. Offices start
    for all their units: the ineligible have their office's start too. Effects may differ between places
    for reasons that hold both groups alike, and between groups for reasons that hold everywhere alike.

    ``method``: doubly robust, weights or outcome regression, always held to the covariates of the
    cohort's eligible, in three comparisons (`triple.pairs`); the three are one without covariates.
    ``comparison`` cohorts, ``never`` treated, ``not_yet`` treated or the one treated ``last``, are used
    one by one and combined by ``combine``: so that the variance is smallest (``gmm``) or by their size
    (``size``; with few clusters). Pooled they would be biased where eligible shares differ. ``base``,
    ``anticipation``, ``balance``, ``min_clusters``, ``max_propensity`` and ``divisor`` as in
    `GroupTimeATT`. Cohorts weigh by their eligible units.

    Panels and repeated cross-sections. Errors are clustered by the design's ``cluster`` and take the
    weights of comparison cohorts as given.
    """

    eligible: str = ""
    method: Literal["dr", "ipw", "reg"] = "dr"
    comparison: Literal["not_yet", "never", "last", "not_yet_treated", "never_treated"] = "not_yet"
    combine: Literal["gmm", "size"] = "gmm"
    base: Literal["varying", "universal"] = "varying"
    anticipation: int = 0
    balance: int | None = None
    min_clusters: int = 2
    max_propensity: float = 0.995
    divisor: Literal["leverage", "g_minus_1", "g"] = "leverage"
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    seed: int = 0

    def estimate(self, design: StaggeredPanel) -> Estimates:
        """Rows by cohort and period (term ``effect``), and averages as those of ``group_time_att``, by
        outcome and subgroup. Raises InputError."""
        began = time.process_time()
        self._check()
        name, eligible = eligible_units(design, self.eligible)
        comparison = COMPARISONS[self.comparison]
        if comparison == "never":
            refuse_no_never(design, self.anticipation)
        starting = design.first <= design.periods[-1]
        if not (starting & ~eligible).any() or not (starting & eligible).any():
            side = "ineligible" if (starting & eligible).any() else "eligible"
            raise InputError(
                f"no {side} unit is in a place that starts",
                where="eligible",
                remedy="The first treated period is that of the office, for all its units, whoever "
                "may take part.",
            )
        check_balance(design, self.balance)
        plan = planned(
            design,
            comparison=comparison,  # type: ignore[arg-type]
            base=self.base,
            anticipation=self.anticipation,
        )
        groups = groups_of(design, len(plan), EXACT_BELOW, sections=True)
        rows = Rows(
            design,
            groups,
            self.balance,
            "g_minus_1" if self.divisor == "g_minus_1" else "g",
            one_base=self.base == "universal",
        )
        rows.notes |= {"eligible": self.eligible, "comparisons_left_out": []}
        for label, inside in levels_of(design):
            if label.startswith(f"{name}="):
                continue
            for k in range(len(design.outcome_names)):
                self._level(design, plan, label, inside, eligible, k, groups, rows)
        return result_of(
            design,
            rows,
            groups,
            self,
            key="triple_difference",
            options=asdict(self),
            began=began,
            varying=True,
            strata=strata_of(design, groups) if self.divisor == "leverage" else None,
        )

    def can_be_treated(self, design: StaggeredPanel) -> Bools:
        """[n] the eligible units."""
        return eligible_units(design, self.eligible)[1]

    def _level(
        self,
        design: StaggeredPanel,
        plan: list[Any],
        label: str,
        inside: Bools,
        eligible: Bools,
        k: int,
        groups: Groups,
        rows: Rows,
    ) -> None:
        settings = Settings(
            method=self.method,
            min_clusters=self.min_clusters,
            max_propensity=self.max_propensity,
            leverage=self.divisor == "leverage",
        )
        level, left_out = estimate_triple(
            design, plan, inside, eligible, k, groups, settings, self.combine
        )
        rows.add(label, k, inside & eligible, level)
        scope = {"subgroup": label, "outcome": design.outcome_names[k]}
        rows.notes["comparisons_left_out"] += [{**scope, **one} for one in left_out]

    def _check(self) -> None:
        for name, valid in _CHOICES.items():
            if getattr(self, name) not in valid:
                raise unknown("choice", str(getattr(self, name)), valid, where=name)
        if self.comparison not in COMPARISONS:
            raise unknown("comparison", self.comparison, COMPARISONS, where="comparison")
        if self.anticipation < 0:
            raise InputError(
                "anticipation is a number of periods, at least 0", where="anticipation"
            )
        if self.min_clusters < 1:
            raise InputError("at least one cluster is needed", where="min_clusters")
        if not 0 < self.max_propensity <= 1:
            raise InputError("the highest propensity lies between 0 and 1", where="max_propensity")


def eligible_units(design: StaggeredPanel, said: str) -> tuple[str, Bools]:
    """The grouping named, and who is eligible [n]. Raises InputError for one that can't be told."""
    name, _, level = said.partition("=")
    if not name:
        raise InputError(
            "who is eligible isn't said",
            where="eligible",
            remedy="Declare a 0/1 column among subgroups, and say eligible = its name.",
        )
    if name not in design.subgroups:
        raise unknown("grouping", name, design.subgroups, where="eligible")
    group = design.subgroups[name]
    level = level or "1"
    if level not in group.levels:
        raise InputError(
            f"'{name}' has no level {level}",
            where="eligible",
            remedy=f"Say eligible = {name}=LEVEL, one of: {', '.join(group.levels)}.",
        )
    lost = int((group.codes < 0).sum())
    if lost:
        raise InputError(
            f"{lost} of {design.n} units are neither eligible nor not",
            where=f"eligible = {said}",
            remedy="Fill the column, or leave these units out.",
        )
    return name, np.asarray(group.codes == group.levels.index(level))
