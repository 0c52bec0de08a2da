"""Heterogeneity found by a causal forest, in the one result type: aggregates only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tiltakeval import __version__
from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.heterogeneity.estimator import PREDICTED, Heterogeneity, Part
from tiltakeval.estimators.heterogeneity.forest.from_scores import held_out_effects
from tiltakeval.estimators.heterogeneity.forest.options import ForestOptions
from tiltakeval.estimators.heterogeneity.rows import Lines
from tiltakeval.estimators.heterogeneity.scores import UnitScores
from tiltakeval.estimators.weighting.nuisance import Nuisance

SOURCE = f"tiltakeval {__version__}"


@dataclass(frozen=True, kw_only=True)
class CausalForest(Heterogeneity):
    """``Heterogeneity`` with predicted effects from causal forests of the folds before a unit's own.

    Averages, groups and tests are weighted means of doubly robust scores, as there; the forest only
    says who is expected to gain more. ``forest_trees``, ``targets``, ``honesty``, ``screening``: see
    ``ForestOptions``. What is predicted for a person never stands in the result.
    """

    parts: Sequence[Part] = ("calibration", "sorted")
    forest_trees: int = 500
    targets: Literal["each", "joint"] = "each"
    honesty: float = 0.6
    screening: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self.growing()  # raises for what a forest refuses

    def growing(self) -> ForestOptions:
        """How the forests are grown."""
        return ForestOptions(
            trees=self.forest_trees,
            targets=self.targets,
            honesty=self.honesty,
            screening=self.screening,
            seed=self.seed,
        )

    def estimate(
        self, design: CrossSection, nuisance: Nuisance | None = None, *, cate: Any = None
    ) -> Estimates:
        """All rows of every outcome and horizon asked for; see ``Heterogeneity``. Raises InputError."""
        found = super().estimate(design, nuisance, cate=cate)
        return replace(found, table=found.table.assign(source=f"{SOURCE} causal_forest"))

    def lines(
        self, scores: UnitScores, *, cate: Any = None
    ) -> tuple[list[Lines], list[dict[str, Any]], dict[str, float]]:
        """Rows, tests and notes of one outcome at one horizon, from its scores."""
        if cate is None and PREDICTED & set(self.parts):
            cate = held_out_effects(scores, self.growing())
        return super().lines(scores, cate=cate)
