"""Cox regression of every transition's hazard, with programme status that changes over time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tiltakeval import __version__
from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.combine import with_inference
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.duration.cox_fit import CoxFit, Partial, fit_cox, risk_sets
from tiltakeval.estimators.duration.curve_rows import max_groups
from tiltakeval.estimators.numerics.groups import Groups, deal_groups

Bools = NDArray[np.bool_]
LEAST_EXITS = 2
#: A subgroup with fewer exits of a kind has rows without an estimate.
LEAST_EXITS_SUBGROUP = 10


@dataclass(frozen=True, kw_only=True)
class Cox:
    """Partial likelihood of each transition's hazard (Cox 1972; Andersen & Gill 1982).

    Rows are intervals of constant covariates, so that covariates may vary with time, spells may be
    entered late, and other transitions are censoring (cause-specific hazards). ``ties`` are Efron's
    or Breslow's; ``strata`` are covariates or subgroups whose values have baseline hazards of their
    own. ``errors``: ``cluster`` from score residuals summed over clusters (Lin & Wei 1989), or
    ``model``, the inverse information. ``transitions`` limits which are estimated. Programme status
    has term ``log_hazard_ratio``, other covariates ``coefficient``; ``programme`` is the column and
    ``outcome`` the transition. Subgroups are fitted one by one.
    """

    ties: Literal["efron", "breslow"] = "efron"
    strata: Sequence[str] | str = ()
    errors: Literal["cluster", "model"] = "cluster"
    transitions: Sequence[str] | str = ()
    level: float = 0.95
    max_iterations: int = 50

    def __post_init__(self) -> None:
        if self.ties not in ("efron", "breslow"):
            raise InputError(
                f"unknown ties '{self.ties}'", where="ties", remedy="Use efron or breslow."
            )
        if self.errors not in ("cluster", "model"):
            raise InputError(
                f"unknown errors '{self.errors}'", where="errors", remedy="Use cluster or model."
            )
        if not 0.5 < self.level < 1:
            raise InputError("the level must lie between 0.5 and 1", where="level")

    def estimate(self, design: EventHistory) -> Estimates:
        """Rows by transition, subgroup and covariate. Raises InputError."""
        began = time.process_time()
        rows = _Rows(self, design, strata=_strata(design, _names(self.strata)))
        wanted = _names(self.transitions) or design.transitions
        for name in wanted:
            if name not in design.transitions:
                raise unknown("transition", name, design.transitions, where="transitions")
        everyone = np.ones(design.n, dtype=bool)
        for name in wanted:
            rows.add(design.transitions.index(name), "all", everyone)
        for name, group in design.subgroups.items():
            if name in _names(self.strata):
                continue
            for i in range(len(group.levels)):
                for transition in wanted:
                    label = group.label(name, i)
                    rows.add(design.transitions.index(transition), label, group.codes == i)
        return rows.result(began)


def _names(given: Sequence[str] | str) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _strata(design: EventHistory, names: tuple[str, ...]) -> NDArray[np.int64]:
    """[R] a number for every combination of the strata's values."""
    out = np.zeros(design.n, dtype=np.int64)
    for name in names:
        if name in design.subgroups:
            codes = design.subgroups[name].codes.astype(np.int64) + 1
        elif name in design.covariate_names:
            column = design.covariates[:, design.covariate_names.index(name)]
            codes = np.unique(column, return_inverse=True)[1].reshape(-1)
        else:
            known = [*design.covariate_names, *design.subgroups]
            raise unknown("covariate or subgroup", name, known, where="strata")
        out = np.unique(out * (codes.max() + 1) + codes, return_inverse=True)[1].reshape(-1)
    return out


@dataclass
class _Rows:
    """Fits, and gathers the rows of the table with their influence or covariance."""

    options: Cox
    design: EventHistory
    strata: NDArray[np.int64]
    records: list[dict[str, Any]] = field(default_factory=list)
    blocks: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=list)
    fits: dict[str, CoxFit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        d = self.design
        size = max_groups(int(d.cluster.max()) + 1, max(d.covariates.shape[1], 1))
        self.groups: Groups = deal_groups(d.cluster, kind=d.cluster_kind, max_groups=size)

    def add(self, j: int, label: str, inside: Bools) -> None:
        """Fit transition ``j`` among ``inside`` [R] and add its rows."""
        d = self.design
        strata = _names(self.options.strata)
        used = [c for c, n in enumerate(d.covariate_names) if d.enters[j, c] and n not in strata]
        where = f"transition '{d.transitions[j]}'" + ("" if label == "all" else f", {label}")
        rows = d.at_risk[:, j] & (d.weight > 0) & inside
        exits = rows & (d.event == j + 1)
        count = int(exits.sum())
        if label == "all" and count < LEAST_EXITS:
            raise InputError(
                f"{count} exit(s) of this kind are observed: too few to estimate a hazard from",
                where=where,
                remedy="Name the others in transitions.",
            )
        if not used:
            if label == "all":
                raise InputError(
                    "no covariate enters this transition", where=where,
                    remedy="Declare covariates or programme, or name the others in transitions.",
                )  # fmt: skip
            return
        names = tuple(d.covariate_names[c] for c in used)
        try:
            if label != "all" and count < LEAST_EXITS_SUBGROUP:
                raise InputError("too few exits", where=where)
            fit, spread = self._fit(np.flatnonzero(rows), used, exits, names, where)
        except InputError:
            if label == "all":
                raise
            fit, spread = None, None
        if fit is not None and spread is not None:
            self.blocks.append((len(self.records) + np.arange(len(names)), spread))
            self.fits[d.transitions[j] + ("" if label == "all" else f" | {label}")] = fit
        self._records(j, label, rows, exits, used, fit)

    def _fit(
        self,
        rows: NDArray[np.intp],
        used: list[int],
        exits: Bools,
        names: tuple[str, ...],
        where: str,
    ) -> tuple[CoxFit, NDArray[np.float64]]:
        """The fit, and its influence by group [G, p] or its covariance [p, p]."""
        d = self.design
        sets = risk_sets(
            d.covariates[np.ix_(rows, np.array(used))],
            d.start[rows],
            d.stop[rows],
            exits[rows],
            d.weight[rows],
            self.strata[rows],
        )
        partial = Partial(sets, efron=self.options.ties == "efron")
        fit = fit_cox(partial, names, where=where, max_iterations=self.options.max_iterations)
        if self.options.errors == "model":
            return fit, fit.inverse
        group = self.groups.group[rows][sets.kept]
        scores = partial.scores(group, self.groups.count) * sets.scale
        return fit, scores @ fit.inverse

    def _records(
        self, j: int, label: str, rows: Bools, exits: Bools, used: list[int], fit: CoxFit | None
    ) -> None:
        d = self.design
        persons = _count(d.person, rows)
        clusters = _count(self.groups.cluster, rows)
        for place, c in enumerate(used):
            name = d.covariate_names[c]
            status = name in d.programme
            record = {
                "programme": name,
                "subgroup": label,
                "outcome": d.transitions[j],
                "unit": "log",
                "term": "log_hazard_ratio" if status else "coefficient",
                "estimate": np.nan if fit is None else float(fit.coef[place]),
                "status": "not_supported" if fit is None else "ok",
                "n_treated": persons,
                "n_events": int(exits.sum()),
                "n_clusters": clusters,
            }
            # a row of a 0/1 covariate tells of those who have it: their counts decide its release
            if np.isin(d.covariates[rows, c], (0.0, 1.0)).all():
                on = d.covariates[:, c] != 0
                record["n_treated"] = _count(d.person, rows & on)
                record["n_comparison"] = _count(d.person, rows & ~on)
                record["n_events"] = int((exits & on).sum())
            self.records.append(record)

    def result(self, began: float) -> Estimates:
        """The estimates with errors."""
        d, o = self.design, self.options
        table = tidy(pd.DataFrame(self.records)).assign(
            population=d.population,
            estimand=d.estimand,
            time_origin=d.time_origin,
            source=f"tiltakeval {__version__} cox",
            conf_level=o.level,
        )
        alone = {name: fit for name, fit in self.fits.items() if " | " not in name}
        run = {
            "estimator": type(o).__name__,
            "options": asdict(o),
            "design": d.fingerprint,
            "version": __version__,
            "groups": self.groups.count,
            "log_likelihood": sum(fit.log_likelihood for fit in alone.values()),
            "log_partial_likelihood": {n: fit.log_likelihood for n, fit in self.fits.items()},
            "log_partial_likelihood_null": {
                n: fit.log_likelihood_null for n, fit in self.fits.items()
            },
            "iterations": {n: fit.iterations for n, fit in self.fits.items()},
        }
        if o.errors == "cluster":
            influence = Influence(
                frame=self.groups.frame,
                kind=d.cluster_kind,
                n_clusters=self.groups.n_clusters,
                values={str(i): z for i, (_, z) in enumerate(self.blocks)},
                rows={str(i): rows for i, (rows, _) in enumerate(self.blocks)},
            )
            out = with_inference(table, influence, level=o.level, attrition=d.attrition)
            table, covariance = out.table, None
        else:
            influence, covariance = None, np.zeros((len(table), len(table)))
            for rows, part in self.blocks:
                covariance[np.ix_(rows, rows)] = part
            table = _with_model_errors(table, covariance, o.level)
        run["cpu_seconds"] = round(time.process_time() - began, 4)
        return Estimates(
            table, influence=influence, covariance=covariance, attrition=d.attrition, run=run
        )


def _with_model_errors(
    table: pd.DataFrame, covariance: NDArray[np.float64], level: float
) -> pd.DataFrame:
    se = np.where(table["estimate"].notna(), np.sqrt(np.diag(covariance)), np.nan)
    half = stats.norm.ppf(0.5 + level / 2) * se
    return table.assign(
        std_error=se,
        conf_low=table["estimate"] - half,
        conf_high=table["estimate"] + half,
        p_value=2 * stats.norm.sf(np.abs(table["estimate"] / se)),
    )


def _count(number: NDArray[np.int64], rows: Bools) -> int:
    """How many different (dense) numbers are among the rows."""
    seen = np.zeros(int(number.max()) + 1, dtype=bool)
    seen[number[rows]] = True
    return int(seen.sum())
