"""Whether inference on a roll-out rests on few clusters of either side."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.few_clusters.effective import count_sides

#: Below so many clusters on the smaller side a wild cluster bootstrap has little to go by as well.
VERY_FEW = 5


def treated_clusters(*, design: StaggeredPanel, treated_clusters: int = 10) -> tuple[Check, ...]:
    """Clusters ever treated inside the panel and those not (where all are: those of the last cohort).

    Fails with fewer than ``treated_clusters`` on the smaller side: errors by cluster are then too
    small, and t intervals with G - 1 degrees of freedom too short (MacKinnon & Webb 2018, Econometrics
    Journal 21:114-135), whatever the number of all clusters. The message has G1 (``smaller``), the
    effective number of clusters (`few_clusters.effective`) and what to do (docs/few-clusters.md).
    No outcome is looked at; `few_clusters` judges the effective number behind an estimate.
    """
    last = design.cohorts[-1] if design.cohorts.size else np.inf
    treated = design.first <= design.periods[-1]
    if treated.all():
        treated = design.first < last
    if treated.all() or not treated.any():
        return ()
    sides = count_sides(treated, design.cluster, design.weight)
    smaller = min(sides.treated, sides.comparison)
    side = "treated" if sides.treated <= sides.comparison else "comparison"
    enough = smaller >= treated_clusters
    said = f"inference rests on {smaller} {side} clusters of {sides.clusters} (G1 = {smaller})"
    advice = ""
    if smaller < VERY_FEW:
        advice = "permutation of start dates (inference = permutation) is what is left"
    elif not enough:
        advice = "use inference = bootstrap_t, cr2 (of twfe) or permutation"
    cohorts = [
        {
            "cohort": design.label(g) if np.isfinite(g) else "never",
            "n_clusters": int(np.unique(design.cluster[design.first == g]).size),
            "n_units": int((design.first == g).sum()),
        }
        for g in np.unique(design.first)
    ]
    return (
        Check(
            key="treated_clusters",
            status="passed" if enough else "failed",
            scope={"cluster": design.cluster_kind},
            statistic=float(smaller),
            threshold=float(treated_clusters),
            message={
                "said": said,
                "advice": advice,
                "smaller": smaller,
                "side": side,
                "clusters": sides.clusters,
                "treated": sides.treated,
                "comparison": sides.comparison,
                "both": sides.both,
                "effective": sides.effective,
                "largest_share": sides.largest,
            },
            detail=pd.DataFrame(cohorts),
            counts=("n_clusters", "n_units"),
        ),
    )
