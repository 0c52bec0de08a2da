"""Effects by what their bounds are made from: a job for each target population and pair of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.sensitivity.fitted import Spread, outcomes_of
from tiltakeval.diagnostics.sensitivity.moments import Moments, Residuals, moments, residuals_of
from tiltakeval.diagnostics.sensitivity.riesz import Weights, targets_in, weights_of
from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.estimators.weighting.support import level_matrix

Floats = NDArray[np.floating]
KEYS = ["population", "programme", "comparator", "subgroup", "outcome", "horizon"]


@dataclass(frozen=True)
class Job:
    """The effects of one pair on one target: their rows, weights, and how to get their moments."""

    design: CrossSection
    nuisance: Nuisance
    rows: pd.DataFrame
    weights: Weights
    spread: Spread
    levels: list[str]
    members: NDArray[np.float64]
    keys: list[tuple[int | None, str]]

    def residuals(self, keys: Sequence[tuple[int | None, str]] | None = None) -> Residuals:
        """Residuals of this job's columns."""
        wanted = self.keys if keys is None else keys
        return residuals_of(self.design, self.spread, self.weights, wanted)

    def moments(self) -> Moments:
        """Moments of every level and column that some effect has."""
        return moments(self.weights, self.residuals(), self.nuisance.groups, members=self.members)


def effects_of(
    estimates: Estimates, where: Mapping[str, Any] | None
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Rows of effects with an estimate, and their positions. Raises InputError when none is left."""
    table = estimates.table
    hit = (table["term"] == "effect") & table["estimate"].notna()
    for name, value in (where or {}).items():
        if name not in table.columns:
            raise InputError(f"estimates have no column '{name}'", where="where")
        many = value if isinstance(value, list | tuple) else [value]
        hit &= table[name].isin(many)
    if not hit.any():
        raise InputError(
            "there is no effect to bound",
            where="estimates",
            remedy="Use estimates of aipw_… or ipw_…, and months and outcomes that are in them.",
        )
    positions = np.flatnonzero(hit.to_numpy())
    return table.iloc[positions].reset_index(drop=True), positions


def options_of(estimates: Estimates) -> Mapping[str, Any]:
    """The estimator's options, as its run recorded them."""
    found = estimates.run.get("options", {}) if isinstance(estimates.run, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def jobs_of(
    design: CrossSection,
    nuisance: Nuisance,
    effects: pd.DataFrame,
    options: Mapping[str, Any],
    *,
    spread: Spread | None = None,
    propensity: Floats | None = None,
    whole: bool = False,
) -> list[Job]:
    """A job for each population and pair of arms among ``effects``. Raises InputError for arms, outcomes
    or months that the design hasn't."""
    if nuisance.propensity.shape[0] != design.n:
        raise InputError(
            f"{nuisance.propensity.shape[0]} units have propensities, the design has {design.n}",
            where="nuisance",
        )
    wanted = sorted({key_of(row) for _, row in effects.iterrows()}, key=str)
    for horizon, outcome in wanted:
        if outcome not in design.outcome_names or horizon not in design.horizons:
            raise InputError(
                f"the design has no outcome '{outcome}' at month {horizon}", where="estimates"
            )
    pairs = [
        _pair(design, nuisance, str(a), str(b))
        for a, b in effects[["programme", "comparator"]].drop_duplicates().to_numpy()
    ]
    if spread is None:
        outcomes = outcomes_of(design, nuisance, wanted, pairs)
        spread = Spread(outcomes, outcomes.predicted(options))
    labels, members = level_matrix(design)
    compared = tuple(design.arms.index(str(name)) for name in options.get("compare") or ())
    found = []
    by = effects.groupby(["population", "programme", "comparator"], sort=False)
    for (population, a, b), rows in by:
        pair = _pair(design, nuisance, str(a), str(b))
        target = targets_in(str(population), pair, present=compared or nuisance.present)
        weights = weights_of(design, nuisance, target, pair, propensity=propensity, whole=whole)
        levels = [level for level in labels if level in set(rows["subgroup"])]
        unknown_levels = set(rows["subgroup"]) - set(labels)
        if unknown_levels:
            raise InputError(
                f"the design has no subgroup '{min(unknown_levels)}'", where="estimates"
            )
        at = [labels.index(level) for level in levels]
        found.append(
            Job(
                design=design,
                nuisance=nuisance,
                rows=rows,
                weights=weights,
                spread=spread,
                levels=levels,
                members=members[weights.units][:, at].astype(np.float64),
                keys=sorted({key_of(row) for _, row in rows.iterrows()}, key=str),
            )
        )
    return found


def key_of(row: pd.Series) -> tuple[int | None, str]:
    """(horizon, outcome) of an effect."""
    return (None if pd.isna(row["horizon"]) else int(row["horizon"]), str(row["outcome"]))


def influence_of(
    estimates: Estimates,
    positions: NDArray[np.int64],
    nuisance: Nuisance,
    *,
    otherwise: Floats | None,
) -> Any:
    """[G, R] influence of the rows; ``otherwise`` where the estimates carry none. Raises InputError when
    it is of other units, or grouped otherwise."""
    if estimates.influence is None:
        return otherwise
    if estimates.influence.frame != nuisance.groups.frame:
        raise InputError(
            "the estimates and the propensities are of different units, or clustered differently",
            where="estimates",
            remedy="Estimate with the same design and estimator that made the propensities.",
        )
    return estimates.influence.columns(positions)


def _pair(
    design: CrossSection, nuisance: Nuisance, programme: str, comparator: str
) -> tuple[int, int]:
    for name in (programme, comparator):
        if name not in design.arms or design.arms.index(name) not in nuisance.present:
            raise InputError(f"the design has no arm '{name}' with enough units", where="estimates")
    return design.arms.index(programme), design.arms.index(comparator)
