"""Outcome regressions of some outcomes and months, unit by unit, as the estimators fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimators.numerics.groups import deal_folds
from tiltakeval.estimators.numerics.layout import (
    Layout,
    OutcomeBlock,
    make_layout,
    outcome_block,
)
from tiltakeval.estimators.numerics.learners import Trees
from tiltakeval.estimators.numerics.outcomes import fit_outcomes
from tiltakeval.estimators.numerics.ridge import Predictions, Regression, RidgeSums
from tiltakeval.estimators.numerics.threads import one_thread
from tiltakeval.estimators.weighting.nuisance import Nuisance

Floats = NDArray[np.floating]
FOLDS = 5


@dataclass(frozen=True)
class Outcomes:
    """C columns of outcomes (horizon x outcome) of a design's n units, and the sums to fit them by.

    ``columns`` maps (horizon, outcome) to the column. Units of ``layout`` are ``units`` [m], sorted.
    ``model`` says which regression an arm's mean has: (arm, -1), for the comparison (0, programme).
    """

    columns: Mapping[tuple[int | None, str], int]
    units: NDArray[np.int64]
    layout: Layout
    block: OutcomeBlock
    regressions: tuple[Regression, ...]
    model: Mapping[tuple[int, int], int]
    censor: NDArray[np.float32] | None
    x: NDArray[np.float64]
    w: NDArray[np.float64]
    names: int
    cluster: NDArray[np.int64]
    fold: NDArray[np.int16]
    n: int

    def place(self, arm: int, programme: int) -> int:
        """The regression of ``arm`` in a comparison of ``programme``."""
        return self.model[(arm, -1) if arm else (0, programme)]

    def sums(self) -> RidgeSums:
        """Cross-products, once for all sets of columns."""
        with one_thread():
            return RidgeSums(
                self.regressions,
                x=self.x,
                w=self.w,
                block=self.block,
                layout=self.layout,
                names=self.names,
            )

    def predicted(self, options: Mapping[str, Any]) -> Predictions:
        """Predictions by the learner of an estimator's options (``learner_outcome``, ``trees``, ...)."""
        seeds = options.get("seeds", 1)
        seed = int(options.get("seed", 0)) if isinstance(seeds, int) else int(seeds[0])
        with one_thread():
            return fit_outcomes(
                str(options.get("learner_outcome", "ridge")),
                self.regressions,
                x=self.x,
                w=self.w,
                block=self.block,
                layout=self.layout,
                names=self.names,
                cluster=self.cluster,
                trees=Trees(int(options.get("trees", 300)), int(options.get("min_leaf", 10)), seed),
            )[0]


class Spread:
    """Predictions of all units in the design's order, each regression's made when first asked for."""

    def __init__(self, outcomes: Outcomes, predictions: Predictions) -> None:
        self.outcomes, self.predictions = outcomes, predictions
        self.known: dict[int, NDArray[np.float64]] = {}

    def of(self, arm: int, programme: int) -> NDArray[np.float64]:
        """[n, C] what ``arm`` is expected to lead to, as compared with ``programme``; NaN for units not
        kept."""
        model = self.outcomes.place(arm, programme)
        if model not in self.known:
            layout, block = self.outcomes.layout, self.outcomes.block
            out = np.full((self.outcomes.n, block.y.shape[1]), np.nan)
            for fold in range(layout.folds):
                start = layout.rows(fold, 0).start  # a fold's arms lie side by side
                rows = slice(start, layout.rows(fold, layout.block.shape[1] - 1).stop)
                if rows.stop > rows.start:
                    found = self.predictions.of(model, fold, rows)
                    out[self.outcomes.units[rows]] = found + block.centre
            self.known[model] = out
        return self.known[model]


def outcomes_of(
    design: CrossSection,
    nuisance: Nuisance,
    wanted: Sequence[tuple[int | None, str]],
    pairs: Sequence[tuple[int, int]],
) -> Outcomes:
    """The outcomes and months ``wanted`` (horizon, outcome), and the regressions that ``pairs`` need.

    All months of ``wanted`` are taken with all its outcomes, so that penalties are chosen as in the
    estimators. Where the propensities weren't cross-fitted, folds are dealt here.
    """
    months = [h for h in design.horizons if h in {h for h, _ in wanted}]
    names = [k for k in design.outcome_names if k in {k for _, k in wanted}]
    at_month = [design.horizons.index(h) for h in months]
    at_name = [design.outcome_names.index(k) for k in names]
    fold = nuisance.fold
    if int(fold.max(initial=0)) == 0:
        fold = deal_folds(
            nuisance.groups,
            arm=design.arm,
            arms=design.arms,
            weight=design.weight,
            folds=FOLDS,
            seed=0,
        )
    kept = np.flatnonzero(nuisance.kept)
    layout = make_layout(
        fold=fold[kept],
        arm=design.arm[kept],
        group=nuisance.groups.label[kept],
        folds=int(fold.max()) + 1,
        arms=len(design.arms),
        tie=nuisance.groups.cluster[kept],
        into=nuisance.groups.into,
    )
    units = kept[layout.order]
    censor = None if design.censor_weight is None else design.censor_weight[:, at_month]
    regressions, model = _regressions(pairs, None if censor is None else censor[units])
    columns = {
        (h, k): i * len(names) + j for i, h in enumerate(months) for j, k in enumerate(names)
    }
    return Outcomes(
        columns=columns,
        units=units,
        layout=layout,
        block=outcome_block(
            design.outcomes[:, at_month][:, :, at_name], weight=design.weight, order=units
        ),
        regressions=tuple(regressions),
        model=model,
        censor=censor,
        x=nuisance.basis[units],
        w=design.weight[units].astype(np.float64),
        names=len(names),
        cluster=nuisance.groups.cluster[units],
        fold=fold,
        n=design.n,
    )


def _regressions(
    pairs: Sequence[tuple[int, int]], censor: Floats | None
) -> tuple[list[Regression], dict[tuple[int, int], int]]:
    """The comparison's regressions (one per programme with other censoring weights), then the arms'."""
    programmes = sorted({a for a, b in pairs if b == 0})
    found: list[Regression] = []
    model: dict[tuple[int, int], int] = {}
    if censor is None or not programmes:
        found.append(Regression(0))
        model |= {(0, a): 0 for a in programmes}
    else:
        for a in programmes:
            same = [
                b for b in programmes if b < a and np.array_equal(censor[:, :, a], censor[:, :, b])
            ]
            if same:
                model[(0, a)] = model[(0, same[0])]
                continue
            model[(0, a)] = len(found)
            found.append(Regression(0, np.ascontiguousarray(censor[:, :, a])))
    for arm in sorted({a for pair in pairs for a in pair if a}):
        model[(arm, -1)] = len(found)
        found.append(Regression(arm))
    return found, model
