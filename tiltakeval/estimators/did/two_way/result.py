"""What panel regressions share around the fit: error conventions, support, the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.level import Support
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.rows import levels_of
from tiltakeval.estimators.did.two_way.columns import Sample
from tiltakeval.estimators.did.two_way.fit import Block, Regression, scores
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Errors = Literal["clustered", "fixest", "linearmodels", "statsmodels"]

ERRORS = ("clustered", "fixest", "linearmodels", "statsmodels")
MISSING = "the rows there are have unit and period effects of their own"


def small_sample(errors: Errors, *, clusters: int, rows: int, rank: int, units: int) -> float:
    """What the sum of squared cluster scores is multiplied by.

    ``rank`` counts regressors and period effects (one period left out), ``units`` the unit effects.
    With G clusters, N rows: ``clustered`` G / (G - 1), as everywhere here; ``fixest`` (R's fixest and
    pyfixest) times (N - 1) / (N - K), K without the unit effects, which are nested in the clusters;
    ``statsmodels`` the same with K including them, as least squares on dummies has it;
    ``linearmodels`` N / (N - K) alone, with them.
    """
    g, n = float(clusters), float(rows)
    if g < 2:
        return np.nan
    full = n - rank - units
    if errors == "fixest":
        return g / (g - 1) * (n - 1) / (n - rank - 1)
    if errors == "clustered":
        return g / (g - 1)
    if full <= 0:
        raise InputError(
            f"{rows} rows are too few for {rank + units} coefficients and effects",
            where=f"errors = {errors}",
            remedy="Say errors = clustered, which doesn't count them.",
        )
    return n / full if errors == "linearmodels" else g / (g - 1) * (n - 1) / full


def summed(
    sample: Sample, blocks: Sequence[Block], found: Regression, maps: Floats, groups: Groups
) -> Floats:
    """[size, r] influence on ``maps`` [K, r] of the coefficients, by group."""
    z = np.zeros((groups.size, maps.shape[1]))
    for units, part in scores(sample.panel, blocks, found, maps):
        z += groups.add_up(part, units)
    return z


def scale_of(
    errors: Errors, design: StaggeredPanel, sample: Sample, found: Regression, groups: Groups
) -> float:
    """What influence is multiplied by so that the house formula gives the errors asked for.

    The house multiplies by G / (G - 1) with G all clusters of the design.
    """
    used = np.zeros(design.n, dtype=bool)
    used[np.concatenate(sample.members)] = True
    clusters = int(clusters_of(design, used).sum())
    factor = small_sample(
        errors, clusters=clusters, rows=found.rows, rank=found.rank, units=found.units
    )
    return float(np.sqrt(factor * (groups.n_clusters - 1) / groups.n_clusters))


def clusters_of(design: StaggeredPanel, units: Bools) -> Bools:
    """[clusters] which of the design's clusters the units [n] are in."""
    flag = np.zeros(int(design.cluster.max(initial=-1)) + 1, dtype=bool)
    flag[design.cluster[units]] = True
    return flag


def support_of(design: StaggeredPanel, treated: Bools, comparison: Bools) -> Support:
    """Units [n] on either side of an estimate, with their clusters."""
    flag = clusters_of(design, treated | comparison)
    w = design.weight[comparison]
    return Support(
        treated=np.packbits(treated),
        comparison=np.packbits(comparison),
        clusters=np.packbits(flag),
        effective=float(w.sum() ** 2 / (w @ w)) if w.size else 0.0,
        trimmed=0,
    )


def too_few(design: StaggeredPanel, treated: Bools, comparison: Bools, least: int) -> str:
    """Why the sides have fewer than ``least`` clusters each or twice that together, or nothing."""
    kind = "unit" if design.cluster_kind == "unit" else f"cluster ({design.cluster_kind})"
    for side, said, needed in (
        (treated, " treated", least),
        (comparison, " to compare with", least),
        (treated | comparison, "", 2 * least),
    ):
        count = int(clusters_of(design, side).sum())
        if count < needed:
            return Reason(Why.TOO_FEW, f"only {count} {kind}{said}, {needed} are needed")
    return ""


def test_of(estimate: float, z: Floats, groups: Groups) -> dict[str, float]:
    """Estimate, error and two-sided p of one number from its influence [size]."""
    error = float(standard_errors(z[:, None], groups.form)[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(abs(estimate) / error, groups.count - 1) if error > 0 else np.nan
    return {"estimate": float(estimate), "std_error": error, "p_value": float(p)}


def two_way(estimates: Estimates, design: StaggeredPanel) -> Estimates:
    """The result labelled as describing a mixture with the regression's own weights."""
    return estimates.assign(population=f"{design.population}:two_way")


def check_options(estimator: Any, **choices: Sequence[str]) -> None:
    """Raise InputError for a choice there isn't, or a number that makes no sense."""
    for name, valid in {"errors": ERRORS, **choices}.items():
        if getattr(estimator, name) not in valid:
            raise unknown("choice", str(getattr(estimator, name)), valid, where=name)
    if getattr(estimator, "anticipation", 0) < 0:
        raise InputError("anticipation is a number of periods, at least 0", where="anticipation")
    if estimator.min_clusters < 1:
        raise InputError("at least one cluster is needed", where="min_clusters")
    if not 0.5 < estimator.level < 1:
        raise InputError("the level must lie between 0.5 and 1", where="level")


def every_level(design: StaggeredPanel) -> Iterator[tuple[str, Bools, int]]:
    """Label and units of all and each subgroup, with each outcome's position."""
    for label, inside in levels_of(design):
        for k in range(len(design.outcome_names)):
            yield label, inside, k
