"""Event studies weighted by cohort shares: Sun & Abraham's interaction-weighted estimator."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.absorbing import as_rollout
from tiltakeval.estimators.did.chosen import Averages
from tiltakeval.estimators.did.plan import cells, refuse_no_never
from tiltakeval.estimators.did.result import check_balance
from tiltakeval.estimators.did.two_way.by_cells import by_cells
from tiltakeval.estimators.did.two_way.kept import Kept
from tiltakeval.estimators.did.two_way.result import Errors, check_options


@dataclass(frozen=True, kw_only=True)
class SunAbraham(Averages):
    """y_it = a_i + f_t + sum over cohorts g and event times e of b_ge 1{g_i = g} 1{t - g = e}, least
    squares, each cohort's last period before treatment (and its ``anticipation``) left out; averages
    over cohorts by their shares. Sun & Abraham (2021, Journal of Econometrics 225:175-199).

    ``comparison``: units ``never`` treated, or the cohort treated ``last``, with the periods from its
    start (or anticipation) on left out. Covariates enter times periods, those
    that vary with time with one slope each.

    ``shares``: cohorts weigh by their numbers of units, whose sampling is part of the errors
    (``estimated``), or by the rows of each cell, taken as given, as R's fixest and diff-diff have it
    (``fixed``). ``errors`` names a small-sample convention (`two_way.result.small_sample`).
    ``balance`` and ``min_clusters`` as in `GroupTimeATT`. Any pattern of missing rows: unit effects then
    borrow from all of a unit's rows, where group-time effects compare two periods only.
    """

    comparison: Literal["never", "last", "never_treated", "last_treated"] = "never"
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
        """Rows and averages as `GroupTimeATT` has them, all measured from the base period. Raises
        InputError."""
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
            comparison=("never", "last", "never_treated", "last_treated"),
            shares=("estimated", "fixed"),
        )
        if self.comparison.startswith("last"):
            design = before_last(as_rollout(design), self.anticipation)
        refuse_no_never(
            design,
            self.anticipation,
            "Say comparison=last to compare with the cohort treated last.",
        )
        check_balance(design, self.balance)
        plan = list(
            cells(design, comparison="never", base="universal", anticipation=self.anticipation)
        )
        return by_cells(
            self,
            design,
            plan,
            key="sun_abraham",
            began=began,
            one_base=True,
            centred=False,
            keep=keep,
        )


def before_last(design: StaggeredPanel, anticipation: int) -> StaggeredPanel:
    """The periods in which the cohort treated last (inside the panel) is untreated; units never treated
    inside the panel are left out. Raises InputError where no other cohort is treated in them."""
    ever = design.first <= design.periods[-1]
    last = float(design.first[ever].max(initial=-np.inf))
    keep = design.periods < last - anticipation
    if not (design.first[ever] <= design.periods[keep].max(initial=np.iinfo(np.int64).min)).any():
        raise InputError(
            "no cohort is treated before the last one",
            where="comparison",
            remedy="Say comparison=never to compare with units never treated.",
        )
    group = {name: replace(one, codes=one.codes[ever]) for name, one in design.subgroups.items()}
    return replace(
        design,
        outcomes=np.ascontiguousarray(design.outcomes[ever][:, keep]),
        periods=design.periods[keep],
        first=design.first[ever],
        covariates=design.covariates[ever],
        varying=None if design.varying is None else design.varying[ever][:, keep],
        weight=design.weight[ever],
        unit_names=(),
        cluster=np.unique(design.cluster[ever], return_inverse=True)[1].astype(np.int64),
        other_cluster=None if design.other_cluster is None else design.other_cluster[ever],
        subgroups=group,
    )
