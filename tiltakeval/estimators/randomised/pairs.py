"""Arms compared pair by pair as they are: the loop and labels the plain estimators share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval import __version__
from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimates.combine import with_bands, with_inference
from tiltakeval.estimates.inference import MAX_GROUPS, Influence
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.numerics.groups import Groups, deal_groups
from tiltakeval.estimators.weighting.nuisance import Cluster, check_design, clusters
from tiltakeval.estimators.weighting.support import level_matrix

Floats = NDArray[np.floating]
#: Influence entries up to which clusters stay as they are, so that errors are exact.
EXACT_BELOW = 5e7


@dataclass(frozen=True)
class Sample:
    """Units of two arms with some outcomes observed: ``rows`` into the design, y [m, c] with no NaN.

    ``treated`` [m], ``columns`` the c outcome columns (horizon x outcome), ``single`` says that every
    cluster has one unit here.
    """

    rows: NDArray[np.int64]
    treated: NDArray[np.bool_]
    y: NDArray[np.float64]
    weight: NDArray[np.float64]
    columns: NDArray[np.int64]
    single: bool


#: (estimates by term, each [c]; influence by unit and term, each [m, c]) of a sample
Fit = Callable[[Sample], tuple[dict[str, Floats], dict[str, Floats]]]


def exact_groups(design: CrossSection, cluster: Cluster, rows: int) -> Groups:
    """The clusters as they are when the influence then stays small, else dealt into groups."""
    if cluster == "person" and design.n * rows <= EXACT_BELOW:
        return deal_groups(design.person, kind="person", max_groups=max(design.n, MAX_GROUPS))
    return clusters(design, cluster)


def _samples(
    design: CrossSection, outcomes: Floats, member: Floats, programme: int
) -> Iterator[tuple[int, Sample]]:
    """Per subgroup level, the units of a pair for each set of outcomes observed together."""
    arm = design.arm
    open_to = design.eligible[:, programme] & design.eligible[:, 0] & (design.weight > 0)
    pair = open_to & ((arm == programme) | (arm == 0))
    flat = outcomes.reshape(design.n, -1)
    seen = np.isfinite(flat)
    kinds: dict[bytes, list[int]] = {}
    for c in range(flat.shape[1]):
        kinds.setdefault(np.packbits(seen[:, c]).tobytes(), []).append(c)
    for level in range(member.shape[1]):
        for same in kinds.values():
            rows = np.flatnonzero(pair & (member[:, level] > 0) & seen[:, same[0]])
            yield (
                level,
                Sample(
                    rows=rows,
                    treated=arm[rows] == programme,
                    y=flat[rows][:, same].astype(np.float64),
                    weight=design.weight[rows].astype(np.float64),
                    columns=np.array(same),
                    single=np.unique(design.person[rows]).size == rows.size,
                ),
            )


def estimate_pairs(
    estimator: Any,
    design: CrossSection,
    fit: Fit,
    *,
    key: str,
    terms: Sequence[str],
    least: int = 2,
    estimand: str | None = None,
    effective: bool = True,
) -> Estimates:
    """Every programme against arm 0 with ``fit``, for all subgroups, horizons and outcomes.

    ``fit`` is called with samples of at least ``least`` units in each arm; other rows get status
    ``not_supported``. Estimator options used: cluster, level, bands.
    """
    check_design(design)
    jobs: list[tuple[str, Floats, Sequence[str], Sequence[int | None]]] = [
        ("", design.outcomes, design.outcome_names, design.horizons)
    ]
    if design.placebo is not None and design.placebo_horizons:
        jobs.append(("placebo", design.placebo, design.placebo_names, design.placebo_horizons))
    labels, member = level_matrix(design)
    total = len(design.arms) * len(labels) * len(terms) * sum(j[1][0].size for j in jobs)
    groups = exact_groups(design, estimator.cluster, total)
    records: list[dict[str, Any]] = []
    columns: list[Floats] = []
    positions: list[int] = []
    units = dict(zip(design.outcome_names, design.units))
    for kind, outcomes, names, horizons in jobs:
        wanted = ("effect",) if kind else tuple(terms)
        for programme in range(1, len(design.arms)):
            for level, sample in _samples(design, outcomes, member, programme):
                counts = int(sample.treated.sum()), int((~sample.treated).sum())
                found, influence = fit(sample) if min(counts) >= least else ({}, {})
                used = np.unique(groups.cluster[sample.rows]).size
                z = {term: groups.add_up(v, sample.rows) for term, v in influence.items()}
                w = sample.weight[~sample.treated]
                for i, c in enumerate(sample.columns):
                    for term in wanted:
                        value = float(found[term][i]) if term in found else np.nan
                        good = np.isfinite(value) and used >= 2
                        records.append(
                            {
                                "population": design.population,
                                "estimand": estimand or design.estimand,
                                "programme": design.arms[programme],
                                "comparator": design.arms[0],
                                "subgroup": labels[level],
                                "outcome": names[c % len(names)],
                                "unit": units.get(names[c % len(names)], ""),
                                "time_origin": design.time_origin,
                                "horizon": horizons[c // len(names)],
                                "term": kind or term,
                                "estimate": value if good else np.nan,
                                "n_treated": counts[0],
                                "n_comparison": counts[1],
                                "n_clusters": used,
                                "n_effective": w.sum() ** 2 / (w**2).sum()
                                if effective and w.size
                                else np.nan,
                                "status": "ok" if good else "not_supported",
                                "source": f"tiltakeval {__version__} {key}",
                            }
                        )
                        if good:
                            positions.append(len(records) - 1)
                            columns.append(z[term][:, i])
    table = tidy(pd.DataFrame(records))
    values = {key: np.stack(columns, axis=1)} if columns else {}
    rows = {key: np.array(positions, dtype=np.int64)} if columns else {}
    influence_of_all = Influence(
        frame=groups.frame,
        kind=estimator.cluster,
        n_clusters=groups.n_clusters,
        values=values,
        rows=rows,
        form=groups.form,
    )
    run = {
        "estimator": type(estimator).__name__,
        "options": asdict(estimator),
        "design": design.fingerprint,
        "version": __version__,
        "groups": groups.count,
    }
    if not columns:
        return Estimates(table, attrition=design.attrition, run=run)
    out = with_inference(
        table, influence_of_all, level=estimator.level, attrition=design.attrition, run=run
    )
    return with_bands(out, level=estimator.level) if estimator.bands else out


def per_group_scale(groups: int) -> float:
    """sqrt((G - 1) / G): takes off the influence's own factor where the error has another one."""
    return float(np.sqrt((groups - 1) / groups))
