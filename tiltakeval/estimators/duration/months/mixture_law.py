"""A timing-of-events fit as a law of hazards for one programme's participants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimators.duration.mixture.errors import Information
from tiltakeval.estimators.duration.mixture.hazards import hazards
from tiltakeval.estimators.duration.mixture.likelihood import Mixing, log_densities
from tiltakeval.estimators.duration.mixture.newton import Fit
from tiltakeval.estimators.duration.mixture.panel import Panel, until
from tiltakeval.estimators.duration.months.law import STEP, Numbers
from tiltakeval.estimators.duration.months.paths import Paths, Rates, paths, paths_of_each
from tiltakeval.estimators.duration.months.stages import Stages, few

Floats = NDArray[np.float64]
NEVER = -2


@dataclass(frozen=True)
class MixtureLaw:
    """Hazards of participants under a fit: their covariates, the mass points their past makes likely.

    ``design`` is the history the panel was made of, row for row; ``entered`` the panel of the
    participants' rows before month zero, whose likelihood weighs the mass points. ``month`` is a month
    in the design's unit of time. Paths are means over the participants of ``stages``, who stand for
    all ``participants``.
    """

    information: Information
    design: EventHistory
    stages: Stages
    entered: Panel
    cuts: Floats
    exits: tuple[str, ...]
    participants: int
    kind: str
    labels: dict[str, str]
    month: float = 1.0

    @property
    def panel(self) -> Panel:
        """Everybody's arrays of the likelihood."""
        return self.information.panel

    @property
    def fit(self) -> Fit:
        """The fit."""
        return self.information.fit

    @cached_property
    def _free(self) -> NDArray[np.int64]:
        """Positions of the parameters that move, among all: coefficients, finite mass points, logits."""
        size, mixing = self.panel.coefficients, self.fit.mixing
        finite = size + np.flatnonzero(mixing.free.ravel())
        logits = size + mixing.mu.size + np.arange(mixing.points)
        return np.concatenate([np.arange(size), finite, logits])

    @cached_property
    def _all(self) -> Floats:
        return np.concatenate(
            [
                self.fit.at.beta[self.panel.active],
                self.fit.mixing.mu.ravel(),
                np.log(np.maximum(self.fit.mixing.p, 1e-300)),
            ]
        )

    @property
    def theta(self) -> Floats:
        """Coefficients (scaled covariates), log mass points, log probabilities."""
        return self._all[self._free]

    def rates(self, theta: Floats, months: int) -> Rates:
        """Hazards of the participants at the parameters, with the posterior of their mass points.

        Covariates stay as they are at month zero.
        """
        beta, mixing = self._parameters(theta)
        mu, raw, panel = mixing.mu, beta / self.panel.scale, self.panel
        base = np.empty((self.stages.row.size, mixing.points, months, len(self.exits)))
        factor = {stage: np.ones((months, len(self.exits))) for stage in self.stages.column}
        for e, t in enumerate(self._transitions):
            index = self._x @ raw[t] - panel.centre @ raw[t]
            by_step = np.concatenate([[0.0], raw[t][self._steps]])
            duration = by_step[self._step_at(months)]
            log_hazard = index[:, None, None] + mu[t][None, :, None] + duration[:, None, :]
            base[..., e] = self.month * np.exp(np.clip(log_hazard, -700, 50))
            for stage in self.stages.column:
                at_column, k = self._held(stage), np.maximum(self._held(stage), 0)
                never = (at_column == NEVER) | (at_column >= 0) & ~panel.active[t, k]
                effect = np.where(at_column >= 0, raw[t][k], 0.0)
                factor[stage][:, e] = np.where(never, 0.0, np.exp(effect))
        return Rates(
            base=base,
            share=self._share(beta, mixing),
            waiting=factor["waiting"],
            inside=factor["inside"],
            after=factor["after"],
            begin=self.stages.begin,
            leave=self.stages.leave,
            waits=self.stages.waits,
        )

    def derivatives(self, numbers: Numbers, months: int) -> Floats:
        """[m, P] derivatives of numbers read off the mean paths, by the parameters.

        A parameter moves the posterior of the mass points, the hazards by one factor in all months
        (coefficients, mass points), in some of them (steps), or in a stage (statuses). Paths are
        followed anew only for every exit, step and status; the rest is sums over participants.
        """
        panel, size = self.panel, self.panel.coefficients
        rates = self.rates(self.theta, months)
        position = np.full(panel.active.shape, -1)
        position[panel.active] = np.arange(size)
        each = numbers(paths_of_each(rates))
        out = np.zeros((each.shape[-1], self._all.size))
        out[:, self._free] = np.tensordot(self._share_by_parameter(), each, ((1, 2), (0, 1))).T
        step_at = self._step_at(months)

        def moved(follow: Callable[[Rates], Paths], **change: Floats) -> Floats:
            """What the numbers gain when logs of ``base`` or factors gain ``change``: [N, J, m] where
            ``follow`` gives the paths of each, [m] where it gives their mean."""
            up, down = (
                replace(
                    rates, **{n: getattr(rates, n) * np.exp(sign * d) for n, d in change.items()}
                )
                for sign in (STEP, -STEP)
            )
            return (numbers(follow(up)) - numbers(follow(down))) / (2 * STEP)

        for e, t in enumerate(self._transitions):
            unit = np.eye(len(self.exits))[e]
            level = rates.share[..., None] * moved(paths_of_each, base=unit)
            used = np.flatnonzero(panel.active[t])
            by_covariate = (self._x[:, used] - panel.centre[used]).T @ level.sum(axis=1)
            out[:, position[t, used]] += (by_covariate / panel.scale[used, None]).T
            points = size + t * self.fit.mixing.points + np.arange(self.fit.mixing.points)
            out[:, points] += level.sum(axis=0).T
            for s, k in enumerate(self._steps, 1):
                if panel.active[t, k] and (step_at == s).any():
                    here = (step_at == s)[:, None, :, None] * unit
                    out[:, position[t, k]] += moved(paths, base=here) / panel.scale[k]
            for stage in self.stages.column:
                at_column = self._held(stage)
                for k in np.unique(at_column[at_column >= 0]):
                    if panel.active[t, k]:
                        here = (at_column == k)[:, None] * unit
                        out[:, position[t, k]] += moved(paths, **{stage: here}) / panel.scale[k]
        return out[:, self._free]

    def influence(self, jacobian: Floats) -> Influence:
        """Influence of functions of the parameters, by cluster."""
        gradients = np.zeros((jacobian.shape[0], self._all.size))
        gradients[:, self._free] = jacobian
        groups = self.information.groups
        return Influence(
            frame=groups.frame,
            kind=self.design.cluster_kind,
            n_clusters=groups.n_clusters,
            values={"months": self.information.errors(gradients, kind=self.kind).influence},
            rows={"months": np.arange(jacobian.shape[0])},
        )

    def _parameters(self, theta: Floats) -> tuple[Floats, Mixing]:
        """Coefficients [K, p] and mass points."""
        full, panel, mixing = self._all.copy(), self.panel, self.fit.mixing
        full[self._free] = theta
        size = panel.coefficients
        beta = np.zeros(panel.active.shape)
        beta[panel.active] = full[:size]
        mu = full[size : size + mixing.mu.size].reshape(mixing.mu.shape)
        p = np.exp(full[size + mixing.mu.size :])
        return beta, replace(mixing, mu=mu, p=p / p.sum())

    def _share(self, beta: Floats, mixing: Mixing) -> Floats:
        """[N, J] what a participant's mass points count for, given the past."""
        at = hazards(self.entered, beta)
        post, _ = log_densities(self.entered, at, mixing, 0, self.entered.units)
        share = post * self.entered.weight[:, None]
        return share / share.sum()

    def _share_by_parameter(self) -> Floats:
        """[P, N, J] derivatives of the shares, by central differences: these cost no paths."""
        out = np.empty((self.theta.size, self.stages.row.size, self.fit.mixing.points))
        for k, value in enumerate(self.theta):
            change = np.zeros(self.theta.size)
            change[k] = STEP * max(1.0, abs(value))
            up = self._share(*self._parameters(self.theta + change))
            out[k] = (up - self._share(*self._parameters(self.theta - change))) / (2 * change[k])
        return out

    @cached_property
    def _transitions(self) -> list[int]:
        return [self.panel.transitions.index(name) for name in self.exits]

    def _held(self, stage: str) -> NDArray[np.int64]:
        """[months] the panel's status column that holds in each month of a stage, -1 for none.

        ``NEVER`` for a status in which none of the exits happens: it enters no hazard.
        """
        return np.array([self._position(c) for c in self.stages.column[stage]], dtype=np.int64)

    @cached_property
    def _x(self) -> Floats:
        """[N, p] the participants' covariates at month zero in the panel's order, no status on, and no
        step of duration: that changes by month."""
        names = {name: i for i, name in enumerate(self.design.covariate_names)}
        out = np.zeros((self.stages.row.size, len(self.panel.names)))
        for k, name in enumerate(self.panel.names):
            if name in names and name not in self.design.programme and k not in self._steps:
                out[:, k] = self.design.covariates[self.stages.row, names[name]]
        return out

    @cached_property
    def _steps(self) -> NDArray[np.int64]:
        """Positions of the duration steps among the panel's covariates, in order of time."""
        names = [name for name in self.design.covariate_names if name.startswith("duration [")]
        return np.array([self.panel.names.index(name) for name in names], dtype=np.int64)

    def _step_at(self, months: int) -> NDArray[np.int64]:
        """[N, months] the step that holds in the middle of each month since month zero."""
        middle = self.stages.elapsed[:, None] + self.month * (np.arange(months) + 0.5)
        return np.searchsorted(self.cuts, middle, side="right")

    def _position(self, column: int) -> int:
        """Position of a design's status among the panel's, -1 for none."""
        if column < 0:
            return -1
        name = self.design.covariate_names[column]
        return self.panel.names.index(name) if name in self.panel.names else NEVER


def law_of(
    information: Information,
    design: EventHistory,
    stages: Stages,
    *,
    cuts: Sequence[float],
    kind: str,
    labels: dict[str, str],
    month: float = 1.0,
) -> MixtureLaw:
    """The law of one programme's participants. ``design`` is cut at ``cuts`` like the panel's rows.

    Exits are the transitions that a status enters. Raises InputError where the model has what these
    paths can't follow: a time before observation, or effects that vary between persons.
    """
    panel = information.panel
    if design.n != panel.length.size or panel.channels != len(panel.transitions):
        raise InputError(
            "months can't be computed with persons of weight zero, or effects that vary between "
            "persons",
            where="months",
        )
    followed = few(stages)
    return MixtureLaw(
        information=information,
        design=design,
        stages=followed,
        entered=until(
            panel, np.searchsorted(panel.first, followed.row, side="right") - 1, followed.row
        ),
        cuts=np.asarray(cuts, dtype=np.float64),
        exits=exits_of(design),
        participants=int(np.unique(design.person[stages.row]).size),
        kind=kind,
        labels=labels,
        month=month,
    )


def exits_of(design: EventHistory) -> tuple[str, ...]:
    """The transitions that a status enters."""
    status = [i for i, n in enumerate(design.covariate_names) if n in design.programme]
    return tuple(n for t, n in enumerate(design.transitions) if design.enters[t, status].any())
