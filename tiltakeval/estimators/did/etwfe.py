"""The two-way regression that lets every effect be its own: Wooldridge's extended two-way effects."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.chosen import Averages
from tiltakeval.estimators.did.plan import cells, refuse_no_never
from tiltakeval.estimators.did.result import check_balance
from tiltakeval.estimators.did.two_way.by_cells import by_cells
from tiltakeval.estimators.did.two_way.kept import Kept
from tiltakeval.estimators.did.two_way.result import Errors, check_options


@dataclass(frozen=True, kw_only=True)
class ExtendedTwoWay(Averages):
    """y_it = a_i + f_t + x_i'p_t + sum over cohorts g and periods t of D_gt (b_gt + (x_i - m_g)'s_gt),
    least squares, with m_g the cohort's mean covariates: b_gt is the effect on the cohort. Wooldridge
    (2021, "Two-way fixed effects, the two-way Mundlak regression, and difference-in-differences
    estimators"; 2025, Empirical Economics 69:2545-2587).

    ``comparison``: all untreated rows (``not_yet``; D_gt from the start and its ``anticipation`` on, so
    that all of a unit's periods before are its base), or units ``never`` treated (D_gt in every period
    but the last before; those before the start are placebos). Without covariates and gaps the first is
    the imputation estimator, the second Sun & Abraham's. Covariates that vary with time have one slope
    each, over all rows, treated ones too, and none of their own in cells.

    ``shares``: cohorts weigh by their numbers of units, whose sampling, like that of m_g, is part of the
    errors (``estimated``), or by the rows of each cell with both taken as given, as diff-diff has it
    (``fixed``). ``errors`` names a small-sample convention (`two_way.result.small_sample`);
    ``balance`` and ``min_clusters`` as in `GroupTimeATT`.
    """

    comparison: Literal["not_yet", "never", "not_yet_treated", "never_treated"] = "not_yet"
    anticipation: int = 0
    balance: int | None = None
    shares: Literal["estimated", "fixed"] = "estimated"
    errors: Errors = "clustered"
    min_clusters: int = 2
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    seed: int = 0

    def estimate(self, design: StaggeredPanel) -> Estimates:
        """Rows and averages as `GroupTimeATT` has them. Raises InputError."""
        return self._estimate(design)[0]

    def with_regressions(self, design: StaggeredPanel) -> tuple[Estimates, Sequence[Kept]]:
        """`estimate`, with the regressions behind its rows."""
        return self._estimate(design, keep=True)

    def _estimate(
        self, design: StaggeredPanel, keep: bool = False
    ) -> tuple[Estimates, Sequence[Kept]]:
        began = time.process_time()
        check_options(
            self,
            comparison=("not_yet", "never", "not_yet_treated", "never_treated"),
            shares=("estimated", "fixed"),
        )
        never = self.comparison.startswith("never")
        if never:
            refuse_no_never(design, self.anticipation, "Say comparison=not_yet.")
        check_balance(design, self.balance)
        plan = [
            cell
            for cell in cells(
                design,
                comparison="never" if never else "not_yet",
                base="universal",
                anticipation=self.anticipation,
            )
            if never or cell.kind != "before"
        ]
        return by_cells(
            self, design, plan, key="etwfe", began=began, one_base=never, centred=True, keep=keep
        )
