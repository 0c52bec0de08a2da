"""Stacked difference-in-differences: a clean experiment for every cohort, put together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.absorbing import as_rollout
from tiltakeval.estimators.did.plan import refuse_no_never
from tiltakeval.estimators.did.reasons import why_of
from tiltakeval.estimators.did.result import groups_of, result_of
from tiltakeval.estimators.did.rows import Rows
from tiltakeval.estimators.did.two_way.kept import Kept
from tiltakeval.estimators.did.two_way.result import (
    MISSING,
    every_level,
)
from tiltakeval.estimators.did.two_way.stacks import Stack, pooled, separate, stacks_of
from tiltakeval.estimators.did.varying import note_collinear, said_of

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Stacked:
    """Every cohort with the units that stay clean throughout its window (``before`` periods before the
    start to ``after`` after it), an experiment of its own; the experiments together. Cengiz, Dube,
    Lindner & Zipperer (2019, Quarterly Journal of Economics 134:1405-1454).

    Only cohorts whose window lies inside the panel have a stack, so that all event times describe the
    same cohorts; the run (``stacks``) says which and how many units. Clean units are ``not_yet`` treated
    by the window's end (and ``anticipation``), or ``never``; the period left out is the last before
    treatment and its anticipation.

    ``weights``: with ``treated`` each stack has unit and period effects of its own, and stacks count by
    their treated units: the trimmed aggregate effect on the treated of Wing, Freedman & Hollingsworth
    (2024, NBER working paper 32054). ``shares``: these numbers are estimated too, or taken as given
    (``fixed``, by rows). ``weighted_regression`` is their regression: effects of event times that all
    stacks share, clean units weighted to the treated's shares. Without gaps the estimates are the same;
    errors then count differences between stacks' periods as noise. ``regression``: least squares over
    all stacks without weights, effects of unit by stack and period by stack: stacks count by the
    variance of treatment in them, which is nobody's estimand.

    Covariates enter times periods, those that vary with time with a slope each in every stack (one for
    all stacks in the regressions).

    A unit that serves in several stacks is one cluster. ``min_clusters`` as in `GroupTimeATT`.
    """

    before: int = 2
    after: int = 2
    comparison: Literal["not_yet", "never", "not_yet_treated", "never_treated"] = "not_yet"
    weights: Literal["treated", "weighted_regression", "regression"] = "treated"
    shares: Literal["estimated", "fixed"] = "estimated"
    anticipation: int = 0
    min_clusters: int = 2
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    seed: int = 0

    def estimate(self, design: StaggeredPanel) -> Estimates:
        """Rows and averages as `GroupTimeATT` has them, or by event time alone (the regressions).
        Raises InputError."""
        return self._estimate(design)[0]

    def with_regressions(self, design: StaggeredPanel) -> tuple[Estimates, Sequence[Kept]]:
        """`estimate`, with the regressions behind its rows."""
        return self._estimate(design, keep=True)

    def _estimate(
        self, design: StaggeredPanel, keep: bool = False
    ) -> tuple[Estimates, Sequence[Kept]]:
        began = time.process_time()
        self._check()
        design = as_rollout(design)
        never = self.comparison.startswith("never")
        if never:
            refuse_no_never(design, self.anticipation, "Say comparison=not_yet.")
        stacks = stacks_of(
            design,
            before=self.before,
            after=self.after,
            anticipation=self.anticipation,
            never=never,
        )
        kept = [stack for stack in stacks if not stack.reason]
        if not kept:
            raise InputError(
                "no cohort has its window inside the panel and units to compare with",
                where=f"before = {self.before}, after = {self.after}",
                remedy="Ask for a shorter window.",
            )
        groups = groups_of(design, len(kept) * (self.before + self.after))
        rows = Rows(design, groups, None, "g_minus_1", MISSING, keep=keep, one_base=True)
        rows.notes |= {
            "stacks": [_said(design, stack) for stack in kept],
            "estimand": _of(design, kept),
            **said_of(design),
        }
        rows.notes["not_supported"] += [
            {
                "subgroup": "all",
                "outcome": "",
                "cohort": design.label(stack.cohort),
                "period": "",
                "reason": f"cohort {design.label(stack.cohort)}: {stack.reason}",
                "kind": str(why_of(stack.reason)),
            }
            for stack in stacks
            if stack.reason
        ]
        for label, inside, k in every_level(design):
            if self.weights != "treated":
                common = self.weights == "weighted_regression"
                found, dropped = pooled(design, kept, inside, k, groups, self.min_clusters, common)
                note_collinear(rows.notes, dropped)
                rows.add_beside(label, k, found)
                continue
            level = separate(
                design, kept, inside, k, groups, self.min_clusters, self.shares == "fixed"
            )
            treated = np.isin(design.first, [stack.cohort for stack in kept])
            rows.add(label, k, inside & treated, level)
        out = result_of(
            design,
            rows,
            groups,
            self,
            key="stacked",
            options=asdict(self),
            began=began,
            varying=True,
        )
        return out, rows.kept

    def _check(self) -> None:
        """Raise InputError for a choice there isn't, or a number that makes no sense."""
        for name, valid in (
            ("comparison", ("not_yet", "never", "not_yet_treated", "never_treated")),
            ("weights", ("treated", "weighted_regression", "regression")),
            ("shares", ("estimated", "fixed")),
        ):
            if getattr(self, name) not in valid:
                raise unknown("choice", str(getattr(self, name)), valid, where=name)
        if self.anticipation < 0:
            raise InputError(
                "anticipation is a number of periods, at least 0", where="anticipation"
            )
        if self.before < 1 + self.anticipation:
            raise InputError(
                f"the window must hold the base period, {1 + self.anticipation} before the start",
                where="before",
            )
        if self.after < 0:
            raise InputError("a window ends at event time 0 or later", where="after")
        if self.min_clusters < 1:
            raise InputError("at least one cluster is needed", where="min_clusters")
        if not 0.5 < self.level < 1:
            raise InputError("the level must lie between 0.5 and 1", where="level")


def _said(design: StaggeredPanel, stack: Stack) -> dict[str, Any]:
    return {
        "cohort": design.label(stack.cohort),
        "treated_units": int(stack.treated.sum()),
        "clean_units": int(stack.clean.sum()),
    }


def _of(design: StaggeredPanel, kept: list[Stack]) -> str:
    """The estimand in words."""
    total = sum(design.weight[stack.treated].sum() for stack in kept)
    parts = ", ".join(
        f"{design.label(stack.cohort)} ({100 * design.weight[stack.treated].sum() / total:.0f} %)"
        for stack in kept
    )
    return f"mean effect on the treated of cohorts {parts}, in periods of their windows"
