"""Hazard regression on person-periods collapsed to cells: the same likelihood, at register scale."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval import __version__
from tiltakeval.design.event_history import EventHistory
from tiltakeval.design.person_periods import PersonPeriods
from tiltakeval.design.person_periods_history import periods_of_history
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.combine import with_bands, with_inference
from tiltakeval.estimates.inference import MAX_GROUPS
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.duration.grouped_hazard_columns import interacted, plain
from tiltakeval.estimators.duration.grouped_hazard_fit import (
    Columns,
    Model,
    Transition,
    fit_columns,
)
from tiltakeval.estimators.duration.grouped_hazard_rows import Rows
from tiltakeval.estimators.duration.grouped_hazard_steps import edges_of_history, given_steps
from tiltakeval.estimators.duration.mixture.subgroups import levels_of
from tiltakeval.estimators.duration.months.grouped_law import GroupedFit, months_of_grouped
from tiltakeval.estimators.duration.months.mixture_law import exits_of
from tiltakeval.estimators.duration.months.of_fit import Question, asked
from tiltakeval.estimators.duration.months.of_fit import check as check_months
from tiltakeval.estimators.numerics.groups import Groups, deal_groups
from tiltakeval.numerics.glm_links import LINKS

Floats = NDArray[np.float64]
#: Clusters stay as they are while groups x coefficients is at most this, so that errors are exact.
EXACT_BELOW = 4e6
#: Fewest persons behind an effect in a subgroup.
LEAST_PERSONS = 5


@dataclass(frozen=True, kw_only=True)
class GroupedHazard:
    """Hazards of each transition from cells of covariates x time, by maximum likelihood.

    ``model``: "exponential" (piecewise-constant hazards, exact time at risk; Holford 1980), or in
    whole periods "cloglog" (proportional hazards seen once a period; Prentice & Gloeckler 1978) or
    "logit". ``sharing``: each transition its own hazard with other exits taken as staying on ("none"),
    or, with cloglog, P(exit j) = h_j / H (1 - exp(-H)) ("exact").

    ``steps`` are the times at which the baseline takes a new level (0: a constant hazard); left out,
    periods are joined until each step has ``step_events`` events of the transition. ``period`` is the
    length of a period in a discrete-time model. ``rare``: a 0/1 covariate that is never on at an event
    has no finite coefficient: "error", or "leave_out" it and the rows in which it is on, with a row
    that says so. ``only`` names the transitions to fit. Errors are clustered by person, or by the
    design's cluster. ``months``: follow participants so many months from their first status, and report
    months of work lost and gained (`months.consequences`), of event histories and proportional hazards;
    ``month`` and ``amounts`` as in timing_of_events. There is no unobserved heterogeneity here: what
    selection on it does to these months is in them.

    Rows: term ``log_hazard_ratio`` (programme status), ``coefficient``, ``baseline`` (log hazard by
    step, covariates 0); effects in the design's subgroups from models in which status, and only it,
    is interacted with the subgroup's levels.
    """

    model: Literal["exponential", "cloglog", "logit"] = "exponential"
    sharing: Literal["none", "exact"] = "none"
    steps: Sequence[float] | float = ()
    period: float = 1.0
    step_events: int = 10
    rare: Literal["error", "leave_out"] = "error"
    only: Sequence[str] | str = ()
    months: int = 0
    month: float = 1.0
    amounts: Mapping[str, float] | Sequence[str] | str = ()
    level: float = 0.95
    bands: bool = True

    def __post_init__(self) -> None:
        if self.model not in LINKS:
            raise unknown("hazard model", self.model, LINKS, where="model")
        if self.sharing not in ("none", "exact"):
            raise unknown("sharing", self.sharing, ("none", "exact"), where="sharing")
        if self.rare not in ("error", "leave_out"):
            raise unknown("rule", self.rare, ("error", "leave_out"), where="rare")
        if self.sharing == "exact" and self.model != "cloglog":
            raise InputError(
                f"exits share an interval exactly only under cloglog, not {self.model}",
                where="sharing",
                remedy="Set model = cloglog; exact times have no ties to share.",
            )
        if not self.period > 0 or self.step_events < 1:
            raise InputError("must be above 0", where="period, step_events")
        given_steps(self.steps)
        if self._question().months and self.model == "logit":
            raise InputError(
                "months can't be computed from a logit: a status doesn't multiply the hazard",
                where="model",
                remedy="Use model = cloglog.",
            )

    def estimate(self, design: EventHistory | PersonPeriods) -> Estimates:
        """Rows by transition. Raises InputError."""
        began = time.process_time()
        discrete = self.model != "exponential"
        steps = given_steps(self.steps)
        history = design if isinstance(design, EventHistory) else None
        if self.months:
            if history is None:
                raise InputError("months are computed from event histories", where="months")
            check_months(history, varying=False)
        if isinstance(design, EventHistory):
            edges = edges_of_history(design, steps=steps, period=self.period, discrete=discrete)
            design = periods_of_history(design, edges)
        if discrete and not design.whole:
            raise InputError(
                "some rows cover only part of a period",
                where="model",
                remedy="Use model = exponential, or a tie rule that keeps months whole.",
            )
        wanted = self._wanted(design.transitions)
        model = Model(self.model, self.sharing == "exact", steps, self.step_events)
        columns = plain(design, drop=self.rare == "leave_out")
        fitted = fit_columns(design, columns, model, wanted)
        widest = sum(tr.width for tr in fitted)
        few = design.clusters.size * widest <= EXACT_BELOW
        groups = deal_groups(
            design.clusters,
            kind=design.cluster_kind,
            max_groups=max(design.clusters.size, MAX_GROUPS) if few else MAX_GROUPS,
        )
        rows = Rows(design, groups, exponential=not discrete)
        fits = [(columns, fitted, rows.add(columns, fitted))]
        for name in design.subgroups if design.programme else ():
            part = interacted(design, name, least=LEAST_PERSONS)
            found = fit_columns(design, part, model, wanted)
            fits.append((part, found, rows.add(part, found)))
        run = {
            "estimator": type(self).__name__,
            "options": asdict(self),
            "design": design.fingerprint,
            "version": __version__,
            "groups": groups.count,
            **_summary(design, fitted),
            "cpu_seconds": time.process_time() - began,
        }
        table = tidy(pd.DataFrame(rows.records)).assign(
            population=design.population,
            estimand=design.estimand,
            unit="log",
            source=f"tiltakeval {__version__} grouped_hazard",
        )
        out = with_inference(
            table, rows.influence(), level=self.level, attrition=design.attrition, run=run
        )
        if self.bands:
            out = with_bands(
                out,
                within=("horizon", "period"),
                level=self.level,
                terms=("log_hazard_ratio", "baseline"),
            )
        if history is None or not self.months:
            return out
        source = str(table["source"].iloc[0])
        more = [part.assign(source=source) for part in self._months(history, fits, groups)]
        run["cpu_seconds"] = time.process_time() - began
        found_all = Estimates.concat([out, *more])
        return Estimates(
            found_all.table, influence=found_all.influence, attrition=design.attrition, run=run
        )

    def _question(self) -> Question:
        return asked(self.months, self.month, self.amounts)

    def _months(
        self,
        history: EventHistory,
        fits: Sequence[tuple[Columns, list[Transition], list[Floats]]],
        groups: Groups,
    ) -> Iterator[Estimates]:
        """Months of work, for all and for every subgroup, from the model that has its own status."""
        length = 1.0 if self.model == "exponential" else self.period
        exits = exits_of(history)
        whole = np.ones(history.n, dtype=bool)
        levels = [("all", whole), *levels_of(history)] if len(fits) > 1 else [("all", whole)]
        for label, inside in levels:
            name = label.partition("=")[0]
            at = 0 if label == "all" else 1 + list(history.subgroups).index(name)
            columns, fitted, z = fits[at]
            kept = [k for k, tr in enumerate(fitted) if history.transitions[tr.number] in exits]
            fit = GroupedFit(
                design=history if label == "all" else history.take(inside),
                columns=columns,
                transitions=tuple(fitted[k] for k in kept),
                influence=tuple(z[k] for k in kept),
                groups=groups,
                subgroup=label,
            )
            yield from months_of_grouped(fit, self._question(), length=length)

    def _wanted(self, transitions: tuple[str, ...]) -> list[int]:
        names = (self.only,) if isinstance(self.only, str) else tuple(self.only)
        for name in names:
            if name not in transitions:
                raise unknown("transition", name, transitions, where="only")
        return [j for j, name in enumerate(transitions) if not names or name in names]


def _summary(design: PersonPeriods, fitted: Sequence[Transition]) -> dict[str, Any]:
    """What a run tells: likelihood, size, and per transition events and steps."""
    maxima = list({id(tr.maximum): tr.maximum for tr in fitted}.values())
    names = [design.transitions[tr.number] for tr in fitted]
    return {
        "log_likelihood": float(sum(m.log_likelihood for m in maxima)),
        "iterations": [m.iterations for m in maxima],
        "gradient": max(m.gradient for m in maxima),
        "rows": design.rows,
        "cells": design.cells,
        "codes": int(design.x.shape[0]),
        "persons": design.persons,
        "events": {n: int(design.counts[:, tr.number].sum()) for n, tr in zip(names, fitted)},
        "steps": {n: list(tr.steps.begin) for n, tr in zip(names, fitted)},
        "left_out": {n: len(tr.left_out) for n, tr in zip(names, fitted) if tr.left_out},
    }
