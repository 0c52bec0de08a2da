"""Inference that fits designs with few clusters, for any estimator of a roll-out.

`FewClusters` wraps an estimator: it has the same rows and estimates, with errors, intervals and p values
by the method named. The command line and study files say ``inference = ...`` among its options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.few_clusters.influence import bootstrap_t
from tiltakeval.estimates.few_clusters.weights import WEIGHTS
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.few_clusters.jackknife import jackknife_errors
from tiltakeval.estimators.did.few_clusters.of_regression import Asked, of_regression
from tiltakeval.estimators.did.few_clusters.permutation import permuted
from tiltakeval.estimators.did.few_clusters.rows import cohort_of_cluster
from tiltakeval.estimators.did.two_way.kept import Kept

Floats = NDArray[np.float64]
Method = Literal["cluster", "bootstrap_t", "jackknife", "permutation", "wild", "cr2", "cr3"]
METHODS: tuple[str, ...] = get_args(Method)
DEGREES = ("satterthwaite", "clusters")
#: Methods that need the regression itself.
OF_REGRESSION = ("wild", "cr2", "cr3")
_MEANS = (
    "its effects are differences of mean changes, whose errors have each cluster's leverage taken out "
    "already, with degrees of freedom from the clusters of each side"
)
_OWN = "treated rows have an effect each, so that they leave no residual to multiply"
#: Why an estimator has no regression for these methods, and what to do.
NO_REGRESSION = {
    **dict.fromkeys(
        ("group_time_att", "triple_difference", "switching_att", "dose_response"),
        (_MEANS, "Leave inference out, or say jackknife, bootstrap_t or permutation."),
    ),
    "intensity": (
        "slopes of changes have each cluster's leverage taken out already",
        "Leave inference out, or say method = two_way, jackknife, bootstrap_t or permutation.",
    ),
    **dict.fromkeys(
        ("did_imputation", "two_stage"),
        (_OWN, "Use etwfe (without gaps and covariates the same estimates), or say jackknife."),
    ),
}
#: Estimators with errors of their own: their weights hang on the outcome.
OWN_ERRORS = ("synthetic_did",)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Options of few-cluster inference, beside an estimator's own.

    ``inference``: ``cluster`` (errors from influence summed over clusters, as everywhere),
    ``bootstrap_t`` (`estimates.few_clusters.influence`), ``jackknife`` (each cluster left out),
    ``permutation`` (what clusters got, and when, dealt anew over them, within ``strata``, a declared
    subgroup), and for regressions ``wild`` (wild cluster bootstrap; ``null_imposed`` on its residuals or
    not), ``cr2``, ``cr3``. ``degrees`` of freedom of the last two: ``satterthwaite``, from the
    regressors (default of ``cr2``), or those of ``clusters`` of the smaller side, less one (of ``cr3``).
    ``replications`` bootstrap draws or dealings; ``bootstrap_weights`` rademacher, webb or mammen
    (default rademacher, webb for ``bootstrap_t``); ``studentised`` dealings.
    """

    inference: Method = "cluster"
    replications: int = 999
    bootstrap_weights: str | None = None
    null_imposed: bool = True
    studentised: bool = True
    strata: str | None = None
    degrees: Literal["satterthwaite", "clusters"] | None = None


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
        if choice.inference in OF_REGRESSION and self.key not in OWN_ERRORS:
            self._refuse_no_regression()
        if choice.degrees not in (None, *DEGREES):
            raise unknown("degrees of freedom", choice.degrees, DEGREES, where="degrees")
        if choice.degrees is not None and choice.inference not in ("cr2", "cr3", "cluster"):
            raise InputError(
                f"{choice.inference} has no degrees of freedom",
                where="degrees",
                remedy="They are those of cr2 and cr3.",
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
        method = self.choice.inference
        kept: Sequence[Kept] = ()
        if method in OF_REGRESSION:
            estimates, kept = self.estimator.with_regressions(design)
        else:
            estimates = self.estimator.estimate(design)
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
        more: dict[str, Any] = {}
        if method in OF_REGRESSION:
            asked = self._asked(level, seed)
            out, said, more["rows"] = of_regression(estimates, kept, asked)
        elif method == "bootstrap_t":
            out = self._bootstrapped(design, estimates, level, seed)
        elif method == "jackknife":
            out, said = jackknife_errors(self.estimator, design, estimates, level=level)
        else:
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
        note = {"method": method, "said": said, **asdict(self.choice), **more}
        note.pop("inference")
        return replace(out, run={**estimates.run, "inference": note})

    def _refuse_no_regression(self) -> None:
        """Raise InputError where the estimator isn't a regression."""
        two_way = self.key == "intensity" and getattr(self.estimator, "method", "") == "two_way"
        if hasattr(self.estimator, "with_regressions") and (self.key != "intensity" or two_way):
            return
        why, remedy = NO_REGRESSION.get(
            self.key,
            ("it is no regression", "Say inference = jackknife, bootstrap_t or permutation."),
        )
        raise InputError(
            f"{self.choice.inference} is for regressions, which {self.key or 'this'} isn't: {why}",
            where="inference",
            remedy=remedy,
        )

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

    def _asked(self, level: float, seed: int) -> Asked:
        choice = self.choice
        default = "satterthwaite" if choice.inference == "cr2" else "clusters"
        return Asked(
            method=choice.inference,
            replications=choice.replications,
            weights=choice.bootstrap_weights or "rademacher",
            restricted=choice.null_imposed,
            satterthwaite=(choice.degrees or default) == "satterthwaite",
            level=level,
            seed=seed,
        )


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
