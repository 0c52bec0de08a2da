"""What the regressions with an effect for every cohort and period do after their plan of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.plan import Cell
from tiltakeval.estimators.did.result import groups_of, result_of
from tiltakeval.estimators.did.rows import Rows
from tiltakeval.estimators.did.two_way.cells import anticipating, cell_level
from tiltakeval.estimators.did.two_way.columns import sample_of
from tiltakeval.estimators.did.two_way.kept import Kept
from tiltakeval.estimators.did.two_way.result import MISSING, every_level
from tiltakeval.estimators.did.varying import said_of

if TYPE_CHECKING:
    from tiltakeval.estimators.did.etwfe import ExtendedTwoWay
    from tiltakeval.estimators.did.sun_abraham import SunAbraham


def by_cells(
    estimator: SunAbraham | ExtendedTwoWay,
    design: StaggeredPanel,
    plan: Sequence[Cell],
    *,
    key: str,
    began: float,
    one_base: bool,
    centred: bool,
    keep: bool,
) -> tuple[Estimates, Sequence[Kept]]:
    """A regression of every outcome and subgroup on the cells of ``plan``, their averages, and, with
    ``keep``, the regressions. ``one_base``: effects are measured from one period; ``centred``:
    covariates less their means in the cohort have slopes in every cell. Raises InputError."""
    groups = groups_of(design, len(plan))
    rows = Rows(
        design,
        groups,
        estimator.balance,
        "g_minus_1",
        MISSING,
        asked=estimator.asked(design),
        keep=keep,
        one_base=one_base,
    )
    rows.notes |= said_of(design)
    clear = ~anticipating(design, estimator.anticipation, rows)
    for label, inside, k in every_level(design):
        found, rows.scale = cell_level(
            design,
            sample_of(design, inside & clear, k),
            plan,
            groups,
            errors=estimator.errors,
            least=estimator.min_clusters,
            centred=centred,
            fixed=estimator.shares == "fixed",
        )
        rows.add(label, k, inside & clear, found)
    out = result_of(
        design,
        rows,
        groups,
        estimator,
        key=key,
        options=asdict(estimator),
        began=began,
        varying=True,
    )
    return out, rows.kept
