"""Effects of a staggered roll-out as treated outcomes less imputed untreated ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.aggregate import Average
from tiltakeval.estimators.did.chosen import Averages
from tiltakeval.estimators.did.imputed.run import Choices, event_times, impute, treated_cells
from tiltakeval.estimators.did.plan import Cell
from tiltakeval.estimators.did.result import check_balance, groups_of, result_of

Ints = NDArray[np.int64]
Labels = Callable[[StaggeredPanel, Sequence[Cell]], Ints]

_AUXILIARY: dict[str, Labels | None] = {
    "cohort_event_time": None,
    "event_time": event_times,
    "cohort": lambda _, cells: np.array([c.cohort for c in cells]).astype(np.int64),
    "treated": lambda _, cells: np.zeros(len(cells), dtype=np.int64),
}
_MEANS = ("squared", "plain")


@dataclass(frozen=True, kw_only=True)
class Imputation(Averages):
    """Borusyak, Jaravel & Spiess (2024, Review of Economic Studies 91:3253-3285).

    Unit and period effects are fitted to untreated rows only, and every treated row's effect is its
    outcome less their sum. With equal variances and no correlation over time this uses untreated rows
    best of all; it takes trends to be parallel in every period, not only from the last one before
    treatment. ``covariates`` change the period effects: freely (``by_period``) or along a straight line
    (``linear``). The design's ``varying`` covariates have one slope each, from untreated rows; treated
    rows are imputed at their own values, so that the programme must leave these alone.

    ``anticipation``: rows so many periods before the start aren't untreated. ``balance``: averages by
    event time use cohorts seen that many periods after start. ``leads``: event times before treatment in
    the test of trends (at most 6 by default). Cohorts seen in fewer than ``min_clusters`` clusters get
    no estimate: nothing could be said of their error.

    Rows of treated units that can't be imputed, because the unit isn't seen untreated or the period's
    effect isn't known, are left out of their cell and counted; without any other row the cell has none.

    Averages weigh treated rows equally (times the unit's weight). Errors are clustered by the design's
    ``cluster`` and take as given who is treated when and seen. In them treated rows' effects are
    measured from an average over similar rows, ``auxiliary``: of the same cohort and event time, or a
    coarser one, which makes them larger where effects differ, but bears cohorts of few units better.
    That average weighs rows by the square of their cluster's weight in the estimate, the paper's
    choice and makes errors smallest (``auxiliary_mean = "squared"``), or as the estimate does
    (``plain``); the two differ only where clusters' weights do.
    ``leave_one_out`` leaves a cluster out of its own average (only with ``cohort_event_time``).
    ``divisor = "g"`` leaves out the factor G / (G - 1), as did_imputation does.
    """

    covariates: Literal["by_period", "linear"] = "by_period"
    auxiliary: Literal["cohort_event_time", "event_time", "cohort", "treated"] = "cohort_event_time"
    auxiliary_mean: Literal["squared", "plain"] = "squared"
    leave_one_out: bool = False
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
        """Rows by cohort and period (term ``effect``), their averages as those of ``group_time_att``,
        and tests of trends (``effect_by_event_time`` with a negative horizon), by outcome and subgroup.
        Raises InputError.
        """
        began = time.process_time()
        if self.auxiliary not in _AUXILIARY:
            raise unknown("choice", self.auxiliary, _AUXILIARY, where="auxiliary")
        if self.auxiliary_mean not in _MEANS:
            raise unknown("choice", self.auxiliary_mean, _MEANS, where="auxiliary_mean")
        labels = _AUXILIARY[self.auxiliary]
        choices = Choices(
            covariates=self.covariates,
            anticipation=self.anticipation,
            balance=self.balance,
            leads=self.leads,
            min_clusters=self.min_clusters,
            divisor=self.divisor,
            level=self.level,
            asked=self.asked(design),
            leave_one_out=self.leave_one_out,
            plain_mean=self.auxiliary_mean == "plain",
            sharing=_shared(design, labels) if labels else None,
        )
        choices.check()
        if self.leave_one_out and labels:
            raise InputError(
                "a cluster is left out of its own average only where that is over a cohort and period",
                where="leave_one_out",
                remedy="Say auxiliary=cohort_event_time.",
            )
        if self.leave_one_out and design.other_cluster is not None:
            raise InputError(
                "a cluster is left out of its own average for one clustering, not for two",
                where="leave_one_out",
                remedy="Leave it out, or cluster by one column.",
            )
        check_balance(design, self.balance)
        plan = treated_cells(design, self.anticipation)
        groups = groups_of(design, len(plan))
        rows = impute(design, plan, groups, choices)
        return result_of(
            design, rows, groups, self, key="did_imputation", options=asdict(self), began=began,
            varying=True,
        )  # fmt: skip


def _shared(design: StaggeredPanel, labels: Labels) -> Callable[[Average, Sequence[Cell]], Ints]:
    return lambda _, cells: labels(design, cells)
