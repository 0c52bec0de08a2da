"""A timing-of-events fit as a law of hazards for one programme's participants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimators.duration.mixture.errors import errors_of
from tiltakeval.estimators.duration.mixture.hazards import hazards
from tiltakeval.estimators.duration.mixture.likelihood import log_densities
from tiltakeval.estimators.duration.mixture.newton import Fit
from tiltakeval.estimators.duration.mixture.panel import Panel, until
from tiltakeval.estimators.duration.months.paths import Rates
from tiltakeval.estimators.duration.months.stages import Stages
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
#: Paths are means over at most so many participants, an even sample of them all.
MOST_PARTICIPANTS = 1_000


@dataclass(frozen=True)
class MixtureLaw:
    """Hazards of participants under a fit: their covariates, the mass points their past makes likely.

    ``design`` is the history the panel was made of, row for row; ``entered`` the panel of the
    participants' rows before month zero, whose likelihood weighs the mass points. ``month`` is a month
    in the design's unit of time.
    """

    panel: Panel
    fit: Fit
    design: EventHistory
    stages: Stages
    entered: Panel
    cuts: Floats
    exits: tuple[str, ...]
    groups: Groups
    kind: str
    labels: dict[str, str]
    month: float = 1.0

    @property
    def participants(self) -> int:
        """Participants the paths are means over."""
        return int(self.stages.row.size)

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
        """Hazards of the participants at the parameters, with the posterior of their mass points."""
        panel, mixing = self.panel, self.fit.mixing
        full = self._all.copy()
        full[self._free] = theta
        size = panel.coefficients
        beta = np.zeros(panel.active.shape)
        beta[panel.active] = full[:size]
        mu = full[size : size + mixing.mu.size].reshape(mixing.mu.shape)
        p = np.exp(full[size + mixing.mu.size :])
        changed = replace(mixing, mu=mu, p=p / p.sum())
        at = hazards(self.entered, beta)
        post, _ = log_densities(self.entered, at, changed, 0, self.entered.units)
        share = post * self.entered.weight[:, None]
        raw = beta / panel.scale
        base = np.empty((self.participants, mixing.points, months, len(self.exits)))
        factor = {stage: np.ones((months, len(self.exits))) for stage in self.stages.column}
        for e, name in enumerate(self.exits):
            t = panel.transitions.index(name)
            index = self._x @ raw[t] - panel.centre @ raw[t]
            by_step = np.concatenate([[0.0], raw[t][self._steps]])
            duration = by_step[self._step_at(months)]
            log_hazard = index[:, None, None] + mu[t][None, :, None] + duration[:, None, :]
            base[..., e] = self.month * np.exp(np.clip(log_hazard, -700, 50))
            for stage, column in self.stages.column.items():
                at_column = np.array([self._position(c) for c in column])
                effect = np.where(at_column >= 0, raw[t][np.maximum(at_column, 0)], 0.0)
                factor[stage][:, e] = np.exp(effect)
        return Rates(
            base=base,
            share=share / share.sum(),
            waiting=factor["waiting"],
            inside=factor["inside"],
            after=factor["after"],
            begin=self.stages.begin,
            leave=self.stages.leave,
            waits=self.stages.waits,
        )

    def influence(self, jacobian: Floats) -> Influence:
        """Influence of functions of the parameters, by cluster."""
        gradients = np.zeros((jacobian.shape[0], self._all.size))
        gradients[:, self._free] = jacobian
        errors = errors_of(self.panel, self.fit, gradients, self.groups, kind=self.kind)
        return Influence(
            frame=self.groups.frame,
            kind=self.design.cluster_kind,
            n_clusters=self.groups.n_clusters,
            values={"months": errors.influence},
            rows={"months": np.arange(jacobian.shape[0])},
        )

    @cached_property
    def _x(self) -> Floats:
        """[N, p] the participants' covariates at month zero in the panel's order, no status on."""
        names = {name: i for i, name in enumerate(self.design.covariate_names)}
        out = np.zeros((self.participants, len(self.panel.names)))
        for k, name in enumerate(self.panel.names):
            if name in names and name not in self.design.programme:
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
        """Position of a design's covariate among the panel's, -1 for none."""
        if column < 0:
            return -1
        name = self.design.covariate_names[column]
        return self.panel.names.index(name) if name in self.panel.names else -1


def law_of(
    panel: Panel,
    fit: Fit,
    design: EventHistory,
    stages: Stages,
    *,
    cuts: Sequence[float],
    groups: Groups,
    kind: str,
    labels: dict[str, str],
    month: float = 1.0,
) -> MixtureLaw:
    """The law of one programme's participants. ``design`` is cut at ``cuts`` like the panel's rows.

    Exits are the transitions that a status enters. Raises InputError where the model has what these
    paths can't follow: a time before observation, or effects that vary between persons.
    """
    if design.n != panel.length.size:
        raise InputError(
            "months can't be computed with delayed entry or persons of weight zero",
            where="months",
            remedy="Leave them out, or set delayed_entry = ignore.",
        )
    if panel.channels != len(panel.transitions):
        raise InputError(
            "months can't be computed with an effect that varies between persons", where="random"
        )
    stages = _few(stages, MOST_PARTICIPANTS)
    status = [i for i, n in enumerate(design.covariate_names) if n in design.programme]
    exits = tuple(
        name for t, name in enumerate(design.transitions) if design.enters[t, status].any()
    )
    return MixtureLaw(
        panel=panel,
        fit=fit,
        design=design,
        stages=stages,
        entered=until(
            panel, np.searchsorted(panel.first, stages.row, side="right") - 1, stages.row
        ),
        cuts=np.asarray(cuts, dtype=np.float64),
        exits=exits,
        groups=groups,
        kind=kind,
        labels=labels,
        month=month,
    )


def _few(stages: Stages, most: int) -> Stages:
    n = stages.row.size
    if n <= most:
        return stages
    at = np.linspace(0, n - 1, most).round().astype(np.int64)
    return replace(stages, row=stages.row[at], elapsed=stages.elapsed[at])
