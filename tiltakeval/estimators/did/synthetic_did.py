"""Synthetic difference-in-differences: few treated offices, a comparison weighted to run parallel."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.result import check_balance, groups_of, result_of, strata_of
from tiltakeval.estimators.did.rows import Rows, levels_of
from tiltakeval.estimators.did.synthetic.drawn import with_drawn_errors
from tiltakeval.estimators.did.synthetic.level import Choices, How, Plan, estimate_level, plan_of

_CHOICES = {
    "method": ("sdid", "sc", "did"),
    "comparison": ("never", "never_treated", "last"),
    "errors": ("auto", "jackknife", "placebo", "bootstrap"),
    "incomplete": ("refuse", "leave_out"),
    "solver": ("exact", "frank_wolfe"),
}


@dataclass(frozen=True, kw_only=True)
class SyntheticDiD:
    """Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021, American Economic Review 111:4088-4118).

    ``method``: ``sdid``, with weights of units and periods; ``sc``, synthetic control (weights of units
    only, levels must fit); ``did``, no weights. Every cohort is compared with units ``never`` treated,
    or with those treated ``last``, until they may be affected (``comparison``); averages weigh treated
    unit-periods (Clarke, Pailanir, Athey & Imbens 2024), which are taken as given. ``anticipation``:
    periods before the start in which treatment may matter; no weight rests on them, and their rows are
    an honest placebo where it doesn't. ``balance`` as in `GroupTimeATT`.

    ``errors``: ``jackknife`` leaves clusters out with weights as they are, and needs two treated
    clusters in every cohort; ``placebo`` treats comparison clusters in place of the treated, takes noise
    to be alike in both, and needs more clusters to compare with than treated; ``bootstrap`` draws
    clusters and needs two in every cohort. ``auto``: the jackknife where it can be had, else placebo;
    the run says which. ``resamples`` placebo cohorts (all there are, if fewer) or bootstrap draws.

    Every unit must be seen in every period: ``incomplete`` units are refused, or left out and counted.
    Covariates are taken out of outcomes first, with slopes from the comparison: those that vary over
    time by one slope, constant ones by a slope in every period. A unit's weight counts it so many times
    (relative to the mean of those compared with). ``regularisation`` is the penalty zeta of units'
    weights, the paper's if left out. ``solver``: exact weights, or (``frank_wolfe``) those at which the
    R package synthdid stops.
    """

    method: Literal["sdid", "sc", "did"] = "sdid"
    comparison: Literal["never", "never_treated", "last"] = "never"
    errors: Literal["auto", "jackknife", "placebo", "bootstrap"] = "auto"
    resamples: int = 200
    anticipation: int = 0
    balance: int | None = None
    incomplete: Literal["refuse", "leave_out"] = "refuse"
    regularisation: float | None = None
    solver: Literal["exact", "frank_wolfe"] = "exact"
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    seed: int = 0

    def estimate(self, design: StaggeredPanel) -> Estimates:
        """Rows by cohort and period (term ``effect``), averages as those of ``group_time_att``, and
        ``fit_before``: by event time before the start, what the weights left of the difference in paths
        (fitted, so no test). The run's ``synthetic`` tells weights and fit. Raises InputError.

        Errors from the jackknife come with influence, those from draws with a covariance.
        """
        began = time.process_time()
        self._check(design)
        check_balance(design, self.balance)
        plan = plan_of(
            design,
            comparison="last" if self.comparison == "last" else "never",
            anticipation=self.anticipation,
            least=1 if self.method == "did" else 2,
        )
        how, why = self._how(design, plan)
        groups = groups_of(design, design.periods.size * max(len(plan.spans), 1))
        choices = Choices(
            method=self.method,
            solver=self.solver,
            zeta=self.regularisation,
            how=how,
            resamples=self.resamples,
            seed=self.seed,
            leave_out=self.incomplete == "leave_out",
        )
        rows = Rows(design, groups, self.balance, "g_minus_1", "units with gaps are left out")
        told: list[dict[str, Any]] = []
        degrees: dict[tuple[str, str], float] = {}
        ranks: list[dict[str, Any]] = []
        for number, (label, inside) in enumerate(levels_of(design)):
            for k, outcome in enumerate(design.outcome_names):
                found = estimate_level(
                    design, plan, inside, k, groups, choices, anticipation=self.anticipation,
                    stream=number,
                )  # fmt: skip
                rows.add(label, k, inside, found.level)
                rows.add_beside(label, k, found.beside)
                scope = {"subgroup": label, "outcome": outcome}
                told += [{**scope, **one} for one in found.told]
                degrees[label, outcome] = found.df
                if np.isfinite(found.p_value) and how == "placebo":
                    ranks.append({**scope, "p_value": found.p_value})
        rows.notes |= {"synthetic": told, "errors": {"method": how, "why": why}}
        if ranks:
            rows.notes["placebo_ranks"] = ranks
        quick = self if how == "jackknife" else replace(self, bands=False)
        out = result_of(
            design,
            rows,
            groups,
            quick,
            key="synthetic_did",
            options=asdict(self),
            began=began,
            varying=True,
            strata=strata_of(design, groups) if how == "jackknife" else None,
        )
        if how == "jackknife":
            return out
        return with_drawn_errors(
            out, degrees, level=self.level, bands=self.bands, draws=self.draws, seed=self.seed
        )

    def _how(self, design: StaggeredPanel, plan: Plan) -> tuple[How, str]:
        """The method of errors and why. Raises InputError for one that can't be had."""
        if self.errors != "auto":
            return self.errors, "as asked for"
        cohorts = [span.cohort for span in plan.spans]
        sizes = [int(np.unique(design.cluster[design.first == g]).size) for g in cohorts]
        fewest = min(sizes, default=2)
        if fewest < 2:
            return "placebo", "a cohort has one treated cluster: none can be left out"
        return "jackknife", "every cohort has two treated clusters or more"

    def _check(self, design: StaggeredPanel) -> None:
        for name, valid in _CHOICES.items():
            if getattr(self, name) not in valid:
                raise unknown("choice", str(getattr(self, name)), valid, where=name)
        if self.anticipation < 0:
            raise InputError(
                "anticipation is a number of periods, at least 0", where="anticipation"
            )
        if self.resamples < 20:
            raise InputError(
                f"{self.resamples} resamples are too few", where="resamples", remedy="Use 200."
            )
        if self.regularisation is not None and not self.regularisation >= 0:
            raise InputError("the penalty is at least 0", where="regularisation")
        if design.other_cluster is not None:
            raise InputError(
                "synthetic_did clusters by one column",
                where="cluster",
                remedy="Name what starts together, as a rule the office.",
            )
