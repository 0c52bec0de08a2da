"""Effects of a staggered roll-out by two regressions: untreated rows first, then what they leave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.aggregate import Average
from tiltakeval.estimators.did.chosen import Averages
from tiltakeval.estimators.did.imputed.run import Choices, event_times, impute, treated_cells
from tiltakeval.estimators.did.plan import Cell
from tiltakeval.estimators.did.result import check_balance, groups_of, result_of

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TwoStage(Averages):
    """Gardner (2021, Two-stage differences in differences); did2s.

    Unit and period effects (and what covariates change of them) are fitted to untreated rows; outcomes
    less these are regressed on indicators of treatment: one for ``effect_overall``, one for each event
    time, cohort, period, or cohort and period for the rows of that name. The coefficients are
    `Imputation`'s estimates. Errors are those of the two regressions' moments taken together, clustered
    by the design's ``cluster``: they take the effects behind one indicator to be equal but for noise,
    so they hold where effects differ too, and are then larger than `Imputation`'s. Options are as there.
    """

    covariates: Literal["by_period", "linear"] = "by_period"
    anticipation: int = 0
    balance: int | None = None
    leads: int | None = None
    min_clusters: int = 2
    divisor: Literal["g_minus_1", "g"] = "g_minus_1"
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    seed: int = 0

    def estimate(self, design: StaggeredPanel) -> Estimates:
        """Rows as those of `Imputation`, by outcome and subgroup. Raises InputError."""
        began = time.process_time()
        choices = Choices(
            covariates=self.covariates,
            anticipation=self.anticipation,
            balance=self.balance,
            leads=self.leads,
            min_clusters=self.min_clusters,
            divisor=self.divisor,
            level=self.level,
            asked=self.asked(design),
            plain_mean=True,
            sharing=lambda row, cells: _indicators(design, row, cells),
        )
        choices.check()
        check_balance(design, self.balance)
        plan = treated_cells(design, self.anticipation)
        groups = groups_of(design, len(plan))
        rows = impute(design, plan, groups, choices)
        return result_of(
            design, rows, groups, self, key="two_stage", options=asdict(self), began=began,
            varying=True,
        )  # fmt: skip


def _indicators(design: StaggeredPanel, row: Average, cells: Sequence[Cell]) -> Ints:
    """Which indicator of the second regression each cell belongs to, for a row's term."""
    if row.term in ("effect_by_cohort", "effect_over_cohorts"):
        return np.array([c.cohort for c in cells]).astype(np.int64)
    if row.term in ("effect_by_period", "effect_over_periods"):
        return np.array([c.t for c in cells], dtype=np.int64)
    if row.term == "effect_overall":
        return np.zeros(len(cells), dtype=np.int64)
    return event_times(design, cells)
