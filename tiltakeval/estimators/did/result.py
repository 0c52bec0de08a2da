"""The result of a difference-in-differences estimator, from its gathered rows."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiltakeval import __version__
from tiltakeval.design.sections import StaggeredSections
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import with_bands, with_inference
from tiltakeval.estimates.inference import MAX_GROUPS, Influence
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.did.absorbing import refuse_paths
from tiltakeval.estimators.did.rows import BANDS, Rows
from tiltakeval.estimators.numerics.groups import Groups, cross_groups, deal_groups

#: Influence is kept by cluster while units x cells are at most so many.
EXACT_BELOW = 4e6


class Options(Protocol):
    """What every estimator here can be told about its result."""

    @property
    def level(self) -> float: ...
    @property
    def bands(self) -> bool: ...
    @property
    def draws(self) -> int: ...
    @property
    def seed(self) -> int: ...


def groups_of(
    design: StaggeredPanel,
    cells: int,
    exact_below: float | None = None,
    *,
    sections: bool = False,
    paths: bool = False,
) -> Groups:
    """The design's clusters, dealt into groups where the influence on ``cells`` would be large.

    Raises InputError for repeated cross-sections where the estimator doesn't take ``sections``, and,
    where it doesn't take ``paths``, for treatment paths that aren't a roll-out.
    """
    if not paths:
        refuse_paths(design)
    if isinstance(design, StaggeredSections) and not sections:
        raise InputError(
            "this estimator follows units; repeated cross-sections follow nobody",
            where="panel",
            remedy="Use group_time_att; or add rows up to offices and periods, which are a panel.",
        )
    size = design.n * cells * len(design.outcome_names)
    few = size <= (EXACT_BELOW if exact_below is None else exact_below)
    most = max(design.n, MAX_GROUPS) if few else MAX_GROUPS
    if design.other_cluster is not None:
        kinds = (f"{design.cluster_kind}, second", design.cluster_kind)
        return cross_groups(design.other_cluster, design.cluster, kinds=kinds, max_groups=most)
    return deal_groups(design.cluster, kind=design.cluster_kind, max_groups=most)


def strata_of(design: StaggeredPanel, groups: Groups) -> NDArray[np.int64] | None:
    """[groups] the cohort of every cluster; None where clusters are dealt, or hold several cohorts."""
    if groups.form is not None or groups.count != groups.n_clusters:
        return None
    code = np.unique(design.first, return_inverse=True)[1].reshape(-1)
    out = np.zeros(groups.count, dtype=np.int64)
    out[groups.group] = code
    return out if (out[groups.group] == code).all() else None


def check_balance(design: StaggeredPanel, balance: int | None) -> None:
    """Raise InputError where no cohort is seen ``balance`` periods after its start."""
    longest = max((float(design.periods[-1] - g) for g in design.cohorts), default=-1.0)
    if balance is not None and balance > longest:
        raise InputError(
            f"no cohort is seen {balance} periods after its start",
            where="balance",
            remedy=f"The longest follow-up is {longest:.0f}.",
        )


def result_of(
    design: StaggeredPanel,
    rows: Rows,
    groups: Groups,
    estimator: Options,
    *,
    key: str,
    options: dict[str, Any],
    began: float,
    strata: NDArray[np.int64] | None = None,
    varying: bool = False,
) -> Estimates:
    """The rows with errors, intervals and bands; ``began`` is the process time of the start, ``strata``
    [groups] which of them start together."""
    if design.varying is not None and not varying:
        raise InputError(
            f"{key} takes no covariates that vary with time",
            where="varying",
            remedy="Use group_time_att; or give covariates constant in a unit.",
        )
    table = tidy(rows.table()).assign(
        population=f"{design.population}:att",
        estimand=design.estimand,
        programme=design.programme,
        time_origin=design.time_origin,
        source=f"tiltakeval {__version__} {key}",
    )
    run: dict[str, Any] = {
        "estimator": type(estimator).__name__,
        "options": options,
        "design": design.fingerprint,
        "version": __version__,
        "groups": groups.count,
        "cluster": design.cluster_kind,
        "missing_rows": rows.missing,
        **rows.notes,
    }
    if not rows.columns:
        run["cpu_seconds"] = round(time.process_time() - began, 4)
        return Estimates(table, attrition=design.attrition, run=run)
    influence = Influence(
        frame=groups.frame,
        kind=design.cluster_kind,
        n_clusters=groups.n_clusters,
        values=dict(rows.values()),
        rows=dict(rows.positions()),
        form=groups.form,
        strata=strata,
    )
    level = estimator.level
    out = with_inference(table, influence, level=level, attrition=design.attrition)
    if estimator.bands:
        for within, terms in BANDS:
            out = with_bands(
                out, within=within, terms=terms, level=level, draws=estimator.draws,
                seed=estimator.seed,
            )  # fmt: skip
    run["cpu_seconds"] = round(time.process_time() - began, 4)
    return Estimates(out.table, influence=out.influence, attrition=design.attrition, run=run)
