"""Timing of events: what a programme does to the hazard of leaving, with unobserved heterogeneity."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from tiltakeval import __version__
from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.duration.mixture.checks import check_coefficients, check_delayed_entry
from tiltakeval.estimators.duration.mixture.newton import Fit
from tiltakeval.estimators.duration.mixture.npmle import Solution, solve
from tiltakeval.estimators.duration.mixture.panel import Panel, drop_weightless, panel_of
from tiltakeval.estimators.duration.mixture.rare import leave_out_rare
from tiltakeval.estimators.duration.mixture.report import (
    PENALTY,
    Part,
    chosen_points,
    criteria,
    errors_kind,
    groups_of,
    rule_of,
    table_of,
    taken,
    weights_of,
)
from tiltakeval.estimators.duration.mixture.saved import plain, restored, save
from tiltakeval.estimators.duration.mixture.steps import with_steps
from tiltakeval.estimators.duration.mixture.subgroups import levels_of, only, supported
from tiltakeval.estimators.duration.months import of_fit
from tiltakeval.estimators.numerics.groups import Groups

RULES = ("full", "aic", "averaged")


@dataclass(frozen=True, kw_only=True)
class TimingOfEvents:
    """Mixed proportional hazards of exits and programme entries (Abbring & van den Berg 2003).

    Every transition has hazard v_t exp(x b_t); the v of all transitions are drawn together from a
    discrete distribution with as many mass points as the likelihood asks for (Heckman & Singer 1984).
    A programme status is a covariate of the exits; that who enters, and when, depends on the same v
    is what takes selection out.

    ``points``: which fit is reported: "full" (the likelihood's maximum over all mixing
    distributions), "aic", "averaged" (over the path by number of points, weights proportional to
    exp(log-likelihood - ``penalty`` x parameters): 1 is AIC, 0 nearly the full likelihood) or a number.
    ``timing``: "interval" when a transition is only known to have happened within its row.
    ``random`` names status columns whose effect varies between persons. ``steps`` are times at which
    the hazards may step. ``rare``: what has no event of a transition on one side (a 0/1 covariate, a
    step) has no finite coefficient: "error", or "leave_out" those rows from the risk of it, the
    likelihood's limit. ``delayed_entry``: "condition" on the time before observation, or "ignore"
    it. ``errors``: "opg", "hessian", "sandwich" (clustered), or "auto": opg, but sandwich with weights
    or clusters. ``starts`` are searches from different coefficients; ``path`` also finds the best fit
    at every number of points. ``months``: follow participants so many months from their first status,
    and report months of work lost and gained (`months.consequences`); ``month`` is a month in the
    file's unit of time, ``amounts`` NOK a month by exit ("job:32000,remaining:17000"). ``restart`` and
    ``save`` are JSON files of fits. ``progress`` is called with stage and fit, or True to print to the
    terminal.
    """

    points: str | int = "full"
    penalty: float = PENALTY
    timing: Literal["exact", "interval"] = "exact"
    random: Sequence[str] | str = ()
    steps: Sequence[float] | float = ()
    rare: Literal["error", "leave_out"] = "error"
    delayed_entry: Literal["condition", "ignore"] = "condition"
    errors: Literal["auto", "opg", "hessian", "sandwich"] = "auto"
    starts: int = 2
    path: bool = True
    tolerance: float = 1e-4
    most_points: int = 60
    level: float = 0.95
    months: int = 0
    month: float = 1.0
    amounts: Mapping[str, float] | Sequence[str] | str = ()
    restart: str | None = None
    save: str | None = None
    progress: bool | Callable[[str, Fit], None] = False

    def estimate(self, design: EventHistory) -> Estimates:
        """A row for every coefficient, and the programme's effect by number of mass points.

        Terms: log_hazard_ratio (a status), coefficient (a covariate), log_hazard_ratio_by_points
        (period "points=J"). ``run`` has log_likelihood, points, certificate, gradient_norm,
        cpu_seconds, path, distribution. Raises InputError.
        """
        self._check()
        if self.months:
            of_fit.check(design, varying=bool(self._varying()))
        panel = self.panel(design)
        with threadpool_limits(limits=1, user_api="blas"):
            solution = self.solve(panel)
            clock = time.process_time()
            everybody = np.arange(design.persons)
            parts = [
                Part(label="all", design=design, panel=panel, solution=solution, person=everybody),
                *self._subgroups(design, panel),
            ]
            question = self._question()
            more = question.columns * len(design.programme) * len(parts)
            groups = groups_of(parts, more=more)
            kind = errors_kind(parts[0], self.errors)
            source = f"tiltakeval {__version__} timing_of_events"
            estimates = table_of(
                parts, groups, points=self.points, penalty=self.penalty, kind=kind,
                level=self.level, source=source,
            )  # fmt: skip
            months = self._months(parts, groups, kind) if question.months else []
            told = estimates.run
            estimates = Estimates.concat(
                [estimates, *(part.assign(source=source) for part in months)]
            )
        seconds = {**solution.seconds, "errors": time.process_time() - clock}
        if self.save is not None:
            save(Path(self.save), plain(panel, solution.full))
        return Estimates(
            estimates.table,
            influence=estimates.influence,
            attrition=design.attrition,
            run={**self._run(design, panel, solution, seconds), **told},
        )

    def panel(self, design: EventHistory) -> Panel:
        """The arrays of the likelihood, checked. Raises InputError."""
        check_delayed_entry(design, condition=self.delayed_entry == "condition")
        cut = self._cut(design)
        interval = self.timing == "interval"
        panel = drop_weightless(panel_of(cut, varying=self._varying(), interval=interval))
        check_coefficients(panel)
        return panel

    def solve(self, panel: Panel) -> Solution:
        """The fits, without errors."""
        restart = self.restart
        return solve(
            panel,
            starts=self.starts,
            path=self.path,
            tolerance=self.tolerance,
            most_points=self.most_points,
            restart=None if restart is None else lambda box: restored(Path(restart), panel, box),
            progress=_printed if self.progress is True else (self.progress or None),
        )

    def _cut(self, design: EventHistory) -> EventHistory:
        """The design with its steps, and with ``rare`` obeyed."""
        cut = with_steps(design, self._cuts(), strict=self.rare == "error")
        return cut if self.rare == "error" else leave_out_rare(cut)[0]

    def _cuts(self) -> tuple[float, ...]:
        return (self.steps,) if isinstance(self.steps, int | float) else tuple(self.steps)

    def _varying(self) -> tuple[str, ...]:
        names = (self.random,) if isinstance(self.random, str) else tuple(self.random)
        return tuple(name for name in names if name)

    def _question(self) -> of_fit.Question:
        return of_fit.asked(self.months, self.month, self.amounts)

    def _months(self, parts: Sequence[Part], groups: Groups, kind: str) -> list[Estimates]:
        """Months of work, by part and programme, from the fits that are reported."""
        found: list[Estimates] = []
        for part in parts:
            fits: list[tuple[Fit, float]] = []
            if part.solution is not None:
                rule = rule_of(part, self.points)
                weights = weights_of(part.panel, part.solution, rule, self.penalty)
                fits = [(part.solution.path[j], w) for j, w in weights.items()]
            cut = replace(part, design=self._cut(part.design))
            within = taken(groups, part.person)
            found += of_fit.months_of(
                cut, fits, within, self._question(), cuts=self._cuts(), kind=kind
            )
        return found

    def _subgroups(self, design: EventHistory, whole: Panel) -> list[Part]:
        """A fit of its own for every level with events enough; coefficients that can't be had: none."""
        parts = []
        plain = replace(self, starts=1, path=self.points == "averaged", restart=None, save=None)
        for label, rows in levels_of(design):
            if not rows.any():
                continue
            part, person = only(design, rows)
            solution, panel = None, whole
            if supported(part):
                try:
                    panel = plain.panel(part)
                    solution = plain.solve(panel)
                except InputError:
                    solution = None
            parts.append(
                Part(label=label, design=part, panel=panel, solution=solution, person=person)
            )
        return parts

    def _check(self) -> None:
        if self.points not in RULES and not (isinstance(self.points, int) and self.points > 0):
            raise InputError(
                f"'{self.points}' isn't a choice of mass points",
                where="points",
                remedy=f"Say {', '.join(RULES)} or a number of points.",
            )
        if self.points != "full" and not self.path:
            raise InputError("a choice among numbers of points needs the path", where="path")
        if self.timing not in ("exact", "interval"):
            raise unknown("timing", self.timing, ("exact", "interval"), where="timing")
        self._question()
        if not self.penalty >= 0:
            raise InputError("a penalty can't be negative", where="penalty")
        if self.rare not in ("error", "leave_out"):
            raise unknown("rule", self.rare, ("error", "leave_out"), where="rare")
        if self.starts < 1:
            raise InputError("at least one start is needed", where="starts")

    def _run(
        self, design: EventHistory, panel: Panel, solution: Solution, seconds: dict[str, float]
    ) -> dict[str, Any]:
        full = solution.full
        options = {f.name: getattr(self, f.name) for f in fields(self)}
        options["progress"] = bool(self.progress)
        low, high = solution.box.low - solution.box.middle, solution.box.high - solution.box.middle
        return {
            "estimator": type(self).__name__,
            "options": options,
            "design": design.fingerprint,
            "version": __version__,
            "persons": panel.persons,
            "rows": design.n,
            "log_likelihood": full.loglik,
            "points": full.points,
            "certificate": full.certificate,
            "certificate_box": "log hazards from "
            f"{low.min():.1f} to {high.max():+.1f} around each transition's log mean hazard, and zero",
            "gradient_norm": full.gradient_norm,
            "starts": list(solution.starts),
            "cpu_seconds": seconds["search"],
            "cpu_seconds_by_stage": seconds,
            "path": criteria(panel, solution),
            "chosen": {
                rule: chosen_points(panel, solution, rule) for rule in ("aic", "full", "bic")
            },
            "distribution": plain(panel, full)["distribution"],
        }


def _printed(stage: str, fit: Fit) -> None:
    certificate = "" if fit.certificate is None else f", certificate {fit.certificate:.2e}"
    print(
        f"{stage}: {fit.points} points, log-likelihood {fit.loglik:.5f}{certificate}",
        file=sys.stderr,
        flush=True,
    )
