"""Inference that fits designs with few clusters, for any estimator of a roll-out.

`FewClusters` wraps an estimator: it has the same rows and estimates, with errors, intervals and p values
by the method named. The command line and study files say ``inference = ...`` among its options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.combine import row_degrees
from tiltakeval.estimates.few_clusters.influence import bootstrap_t
from tiltakeval.estimates.few_clusters.moments import Moments
from tiltakeval.estimates.few_clusters.robust import cr2, cr3, leverage
from tiltakeval.estimates.few_clusters.weights import WEIGHTS
from tiltakeval.estimates.few_clusters.wild import wild_of_regression
from tiltakeval.estimates.inference import intervals
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.few_clusters.jackknife import jackknife_errors
from tiltakeval.estimators.did.few_clusters.permutation import permuted
from tiltakeval.estimators.did.few_clusters.regression import static_moments
from tiltakeval.estimators.did.few_clusters.rows import set_columns, without_intervals
from tiltakeval.estimators.did.rows import levels_of

Floats = NDArray[np.float64]
Method = Literal["cluster", "bootstrap_t", "jackknife", "permutation", "wild", "cr2", "cr3"]
METHODS: tuple[str, ...] = get_args(Method)
#: Methods that need the regression itself.
OF_REGRESSION = ("wild", "cr2", "cr3")
#: Estimators with errors of their own: their weights hang on the outcome.
OWN_ERRORS = ("synthetic_did",)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Options of few-cluster inference, beside an estimator's own.

    ``inference``: ``cluster`` (errors from influence summed over clusters, as everywhere),
    ``bootstrap_t`` (`estimates.few_clusters.influence`), ``jackknife`` (each cluster left out),
    ``permutation`` (start dates dealt anew over clusters, within ``strata``, a declared subgroup), and
    for ``twfe`` ``wild`` (wild cluster bootstrap; ``null_imposed`` on its residuals or not), ``cr2``,
    ``cr3``. ``replications`` bootstrap draws or dealings; ``bootstrap_weights`` rademacher, webb or
    mammen (default rademacher, webb for ``bootstrap_t``); ``studentised`` dealings.
    """

    inference: Method = "cluster"
    replications: int = 999
    bootstrap_weights: str | None = None
    null_imposed: bool = True
    studentised: bool = True
    strata: str | None = None


@dataclass(frozen=True, kw_only=True)
class FewClusters:
    """An estimator with the inference of ``choice``. ``key`` is the estimator's."""

    estimator: Any
    choice: Choice
    key: str = ""

    def __post_init__(self) -> None:
        choice = self.choice
        if choice.inference not in METHODS:
            raise unknown("inference", choice.inference, METHODS, where="inference")
        if choice.inference in OF_REGRESSION and self.key != "twfe":
            raise InputError(
                f"{choice.inference} is for the regression twfe",
                where="inference",
                remedy="Say inference = jackknife, bootstrap_t or permutation.",
            )
        if choice.inference == "permutation" and getattr(self.estimator, "combine", "") == "gmm":
            raise InputError(
                "dealings need weights of comparison cohorts that don't hang on the outcome",
                where="inference",
                remedy="Say combine = size.",
            )
        if self.key in OWN_ERRORS and choice.inference != "cluster":
            raise InputError(
                f"{self.key} finds its errors by weighing anew, or with weights as they are",
                where="inference",
                remedy="Say errors = jackknife, placebo or bootstrap.",
            )
        if choice.bootstrap_weights is not None and choice.bootstrap_weights not in WEIGHTS:
            raise unknown("weights", choice.bootstrap_weights, WEIGHTS, where="bootstrap_weights")
        if choice.replications < 99:
            raise InputError(
                f"{choice.replications} replications are too few",
                where="replications",
                remedy="Use 999 or more.",
            )

    def estimate(self, design: StaggeredPanel) -> Estimates:
        """The estimator's rows; the run's ``inference`` tells the method and what it couldn't do."""
        estimates = self.estimator.estimate(design)
        method = self.choice.inference
        if method == "cluster" or estimates.influence is None:
            return estimates  # type: ignore[no-any-return]
        if estimates.influence.form is not None:
            raise InputError(
                f"{method} is for one clustering",
                where="inference",
                remedy="Cluster by one column, or say inference = cluster.",
            )
        level = float(getattr(self.estimator, "level", 0.95))
        seed = int(getattr(self.estimator, "seed", 0))
        said: list[str] = []
        if method == "bootstrap_t":
            out = self._bootstrapped(design, estimates, level, seed)
        elif method == "jackknife":
            out, said = jackknife_errors(self.estimator, design, estimates, level=level)
        elif method == "permutation":
            out, said = permuted(
                self.estimator,
                design,
                estimates,
                draws=self.choice.replications,
                seed=seed,
                level=level,
                studentised=self.choice.studentised,
                strata=self.choice.strata,
            )
        else:
            out, said = self._regression(design, estimates, level, seed)
        note = {"method": method, "said": said, **_plain(self.choice)}
        return replace(out, run={**estimates.run, "inference": note})

    def _bootstrapped(
        self, design: StaggeredPanel, estimates: Estimates, level: float, seed: int
    ) -> Estimates:
        assert estimates.influence is not None
        clusters = int(design.cluster.max()) + 1
        strata: NDArray[np.int64] | None = None
        size: Floats | None = None
        if estimates.influence.groups == clusters:
            strata = cohort_of_cluster(design)
            size = np.bincount(design.cluster, design.weight).astype(np.float64)
        return bootstrap_t(
            estimates,
            weights=self.choice.bootstrap_weights or "webb",
            draws=self.choice.replications,
            seed=seed,
            level=level,
            strata=strata,
            size=size,
        )

    def _regression(
        self, design: StaggeredPanel, estimates: Estimates, level: float, seed: int
    ) -> tuple[Estimates, list[str]]:
        out, said = without_intervals(estimates), []
        for label, inside in levels_of(design):
            for k, name in enumerate(design.outcome_names):
                rows = estimates.positions(subgroup=label, outcome=name, status="ok")
                if not rows.size:
                    continue
                moments, combination, _ = static_moments(design, inside, k)
                carried = leverage(moments, combination)
                notes = [
                    f"{carried.effective:.1f} clusters in effect by partial leverage, the largest "
                    f"has {carried.partial.max():.0%}"
                ]
                if self.choice.inference == "wild":
                    found, more = self._wild(moments, combination, level, seed)
                else:
                    house = float(row_degrees(estimates.table, moments.clusters)[rows[0]])
                    found, more = self._robust(moments, combination, level, house)
                out = set_columns(out, rows, **{c: np.array([v]) for c, v in found.items()})
                said += [f"{label}, {name}: {note}" for note in (*notes, *more)]
        return out, said

    def _wild(
        self, moments: Moments, combination: Floats, level: float, seed: int
    ) -> tuple[dict[str, float], list[str]]:
        found = wild_of_regression(moments, combination).replications(
            restricted=self.choice.null_imposed,
            weights=self.choice.bootstrap_weights or "rademacher",
            draws=self.choice.replications,
            seed=seed,
        )
        low, high = found.interval(level)
        notes = []
        if not (np.isfinite(low) and np.isfinite(high)):
            notes.append("no value is rejected at an end of the interval")
        return {"conf_low": low, "conf_high": high, "p_value": found.p_value()}, notes

    def _robust(
        self, moments: Moments, combination: Floats, level: float, house: float
    ) -> tuple[dict[str, float], list[str]]:
        """CR2 with its own degrees of freedom, CR3 with the ``house``'s."""
        second = self.choice.inference == "cr2"
        found = (cr2 if second else cr3)(moments, combination)
        df = found.df if second else house
        point, se = np.array([found.estimate]), np.array([found.std_error])
        low, high, p = (float(v[0]) for v in intervals(point, se, level=level, df=df))
        values = {"std_error": found.std_error, "conf_low": low, "conf_high": high, "p_value": p}
        notes = [found.reason] if found.reason else []
        if second and not found.reason:
            notes.append(f"{df:.1f} degrees of freedom")
        return values, notes


def with_choice(key: str, kind: type, options: Mapping[str, Any]) -> Any:
    """The estimator ``kind`` of ``key`` with its own ``options``, wrapped where they choose another
    inference. Raises InputError for options of an inference that isn't chosen."""
    names = {f.name for f in fields(Choice)}
    chosen = {name: value for name, value in options.items() if name in names}
    estimator = kind(**{name: value for name, value in options.items() if name not in names})
    choice = Choice(**chosen)
    wrapped = FewClusters(estimator=estimator, choice=choice, key=key)
    if choice.inference != "cluster":
        return wrapped
    idle = [name for name, value in chosen.items() if value != getattr(Choice, name)]
    if idle:
        raise InputError(
            f"{' and '.join(idle)} says nothing without an inference that uses it",
            where=key,
            remedy=f"Say inference = one of {', '.join(METHODS[1:])}.",
        )
    return estimator


def cohort_of_cluster(design: StaggeredPanel) -> NDArray[np.int64]:
    """[G] number of the cohort all units of a cluster are in; clusters with several are one more.

    Cohorts of fewer than two clusters are put with those (a mean of one leaves nothing over).
    """
    _, cohort = np.unique(
        np.where(design.first > design.periods[-1], np.inf, design.first), return_inverse=True
    )
    clusters = int(design.cluster.max()) + 1
    low = np.full(clusters, cohort.max() + 1)
    high = np.full(clusters, -1)
    np.minimum.at(low, design.cluster, cohort)
    np.maximum.at(high, design.cluster, cohort)
    out = np.where(low == high, low, -1)
    names, times = np.unique(out, return_counts=True)
    out[np.isin(out, names[times < 2])] = -1
    return np.asarray(out, dtype=np.int64)


def _plain(choice: Choice) -> dict[str, Any]:
    return {
        "replications": choice.replications,
        "bootstrap_weights": choice.bootstrap_weights,
        "null_imposed": choice.null_imposed,
        "studentised": choice.studentised,
        "strata": choice.strata,
    }
