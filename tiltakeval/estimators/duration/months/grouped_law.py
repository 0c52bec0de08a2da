"""Grouped hazards as a law for one programme's participants: observed covariates are all there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.duration.grouped_hazard_fit import Columns, Transition
from tiltakeval.estimators.duration.months.consequences import consequences
from tiltakeval.estimators.duration.months.law import Numbers, by_differences
from tiltakeval.estimators.duration.months.observed import with_observed
from tiltakeval.estimators.duration.months.of_fit import Question, labels_of, without
from tiltakeval.estimators.duration.months.paths import Rates
from tiltakeval.estimators.duration.months.stages import Stages, few, programmes_of, stages_of
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
#: A log hazard that stands for none.
NONE = -700.0


@dataclass(frozen=True)
class GroupedFit:
    """A model of some transitions: its columns, a `Transition` for each, the influence [G, width] of
    their coefficients, and the ``subgroup`` ("all") whose participants are followed: those of
    ``design``, the history of its persons."""

    design: EventHistory
    columns: Columns
    transitions: tuple[Transition, ...]
    influence: tuple[Floats, ...]
    groups: Groups
    subgroup: str = "all"


@dataclass(frozen=True)
class GroupedLaw:
    """Hazards of participants under proportional hazards: covariates as they are at month zero.

    ``length`` is that of what a coefficient's exponential is the hazard of (a unit of time, or a
    period), ``month`` a month, both in the design's unit of time.
    """

    fit: GroupedFit
    stages: Stages
    participants: int
    labels: dict[str, str]
    length: float
    month: float

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the transitions."""
        return tuple(self.fit.design.transitions[tr.number] for tr in self.fit.transitions)

    @property
    def theta(self) -> Floats:
        """Baselines and coefficients of the transitions, one after the other."""
        return np.concatenate([tr.fit.coef for tr in self.fit.transitions])

    def rates(self, theta: Floats, months: int) -> Rates:
        """Hazards of the participants at the parameters."""
        n, exits = self.stages.row.size, len(self.fit.transitions)
        base = np.empty((n, 1, months, exits))
        factor = {stage: np.ones((months, exits)) for stage in self.stages.column}
        ends = np.cumsum([tr.width for tr in self.fit.transitions])[:-1]
        for e, (tr, coef) in enumerate(zip(self.fit.transitions, np.split(theta, ends))):
            steps, slopes = coef[: tr.steps.count], coef[tr.steps.count :]
            index = self._x[:, tr.columns] @ slopes
            index[self._never(tr)] = NONE
            log_hazard = steps[self._step_at(tr, months)] + index[:, None]
            base[:, 0, :, e] = self.month / self.length * np.exp(np.clip(log_hazard, NONE, 50))
            for stage, held in self.stages.column.items():
                factor[stage][:, e] = [self._factor(tr, slopes, column) for column in held]
        weight = self.fit.design.weight[self.stages.row]
        return Rates(
            base=base,
            share=(weight / weight.sum())[:, None],
            waiting=factor["waiting"],
            inside=factor["inside"],
            after=factor["after"],
            begin=self.stages.begin,
            leave=self.stages.leave,
            waits=self.stages.waits,
        )

    def derivatives(self, numbers: Numbers, months: int) -> Floats:
        """[m, P] derivatives of numbers read off the mean paths, by the parameters."""
        return by_differences(self, numbers, months)

    def influence(self, jacobian: Floats) -> Influence:
        """Influence of functions of the parameters, by cluster."""
        groups = self.fit.groups
        return Influence(
            frame=groups.frame,
            kind=self.fit.design.cluster_kind,
            n_clusters=groups.n_clusters,
            values={"months": np.hstack(self.fit.influence) @ jacobian.T},
            rows={"months": np.arange(jacobian.shape[0])},
        )

    @cached_property
    def _x(self) -> Floats:
        """[N, p] participants' values of the model's columns at month zero, no status on."""
        design, columns, row = self.fit.design, self.fit.columns, self.stages.row
        place = {name: i for i, name in enumerate(design.covariate_names)}
        levels = {
            group.label(name, level): group.codes[row] == level
            for name, group in design.subgroups.items()
            for level in range(len(group.levels))
        }
        out = np.zeros((row.size, len(columns.names)))
        for c, name in enumerate(columns.names):
            if columns.status[c] is None:
                out[:, c] = design.covariates[row, place[name]] if name in place else levels[name]
        return out

    def _never(self, tr: Transition) -> NDArray[np.bool_]:
        """[N] participants with a 0/1 covariate that no event has: the hazard tends to none."""
        design, names = self.fit.design, self.fit.columns.names
        hit = design.event == tr.number + 1
        out = np.zeros(self.stages.row.size, dtype=bool)
        for c in tr.left_out:
            if self.fit.columns.status[c] is None:
                on = design.covariates[hit, design.covariate_names.index(names[c])] != 0
                if not on.any():
                    out |= self._x[:, c] != 0
        return out

    def _factor(self, tr: Transition, slopes: Floats, column: int) -> float:
        """What a status (a column of the design, -1 for none) multiplies the hazard by."""
        if column < 0:
            return 1.0
        columns, name = self.fit.columns, self.fit.design.covariate_names[column]
        for c, own in enumerate(columns.names):
            if own == name and columns.within[c] == self.fit.subgroup:
                if c in tr.left_out:
                    return 0.0
                at = np.flatnonzero(tr.columns == c)
                return float(np.exp(slopes[at[0]])) if at.size else 1.0
        return 1.0

    def _step_at(self, tr: Transition, months: int) -> NDArray[np.int64]:
        """[N, months] the baseline's step in the middle of each month; the last one goes on."""
        middle = self.stages.elapsed[:, None] + self.month * (np.arange(months) + 0.5)
        at = np.searchsorted(np.asarray(tr.steps.begin), middle, side="right") - 1
        return np.clip(at, 0, tr.steps.count - 1)


def months_of_grouped(fit: GroupedFit, question: Question, *, length: float) -> Iterator[Estimates]:
    """What `consequences` gives, for each programme. Where a subgroup has too few, rows say so."""
    design = fit.design
    for programme, names in programmes_of(design.programme).items():
        labels = labels_of(design, programme, names, fit.subgroup)
        try:
            stages = stages_of(design, **names, months=question.months, month=question.month)
            law = GroupedLaw(
                fit=fit,
                stages=few(stages),
                participants=int(np.unique(design.person[stages.row]).size),
                labels=labels,
                length=length,
                month=question.month,
            )
            if fit.subgroup != "all" and _lacks(law, names):
                raise InputError("too few in the subgroup", where=fit.subgroup)
            found = consequences(
                law, months=question.months, windows=question.windows, amounts=question.amounts
            )
            yield with_observed(
                found, design, stages, law.exits, months=question.months, month=question.month
            )
        except InputError:
            if fit.subgroup == "all":
                raise
            yield without(labels, design, question, fit.groups)


def _lacks(law: GroupedLaw, names: Mapping[str, Sequence[str]]) -> bool:
    """Whether a status has no coefficient of its own in the subgroup."""
    columns, wanted = law.fit.columns, {name for each in names.values() for name in each}
    own = {
        name: c
        for c, (name, within) in enumerate(zip(columns.names, columns.within))
        if name in wanted and within == law.fit.subgroup
    }
    dropped = {c for tr in law.fit.transitions for c in tr.left_out}
    return len(own) < len(wanted) or bool(dropped & set(own.values()))
