"""What each block of covariates does for the answer: the yardstick for what isn't seen.

Each block is left out of both the propensities and the outcome regressions. What it then takes with it
says how strong an unseen factor "as strong as everything known about ..." would be: the share it
explains of the residual variance of the outcome, and the share of the mean square of the weights it
carries (Chernozhukov et al. 2022, section 6: gain metrics of long against short).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.sensitivity import strength as shares
from tiltakeval.diagnostics.sensitivity.blocks import columns_of, covariate_blocks
from tiltakeval.diagnostics.sensitivity.bounds import Bounded, bounds
from tiltakeval.diagnostics.sensitivity.fitted import Spread, outcomes_of
from tiltakeval.diagnostics.sensitivity.jobs import (
    KEYS,
    effects_of,
    jobs_of,
    key_of,
    options_of,
)
from tiltakeval.diagnostics.sensitivity.moments import Moments
from tiltakeval.diagnostics.sensitivity.odds_without import propensities_without
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import row_degrees
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.weighting.nuisance import Nuisance

Floats = NDArray[np.floating]


def blocks_left_out(
    design: CrossSection,
    nuisance: Nuisance,
    estimates: Estimates,
    *,
    blocks: Mapping[str, Sequence[str]] | None = None,
    where: Mapping[str, Any] | None = None,
    bounded: Bounded | None = None,
    level: float = 0.95,
    whole: bool = False,
) -> pd.DataFrame:
    """Every effect without every block of covariates: a row per effect x block, in that order.

    Columns: the effect's keys and estimate; ``block``, ``covariates`` (how many); ``difference`` (the
    effect without the block less that with it), ``difference_se``, ``difference_low``,
    ``difference_high``;
    ``outcome_share`` and ``weight_share``, what a factor as strong as the block would explain (0 where
    leaving it out gains); ``rho`` how far the block's two parts go together (-1 to 1);
    ``bias`` what a factor that strong, at worst, would cause; ``times`` and ``times_interval`` how many
    times as strong a factor must be for the bound, or the end of its interval at ``level``, to
    reach zero (infinite for a block that explains nothing).

    Both fits are made here by ridge and logit on the nuisance's columns, whatever the estimator's
    learners, so that they differ by the block alone. ``blocks`` as in ``covariate_blocks``; ``where``,
    ``whole`` and ``bounded`` (the same effects' bounds, saves fitting them again) as in ``bounds``.
    Products of covariates go with any block they are made of. Raises InputError.
    """
    effects, _ = effects_of(estimates, where)
    if bounded is None:
        bounded = bounds(design, nuisance, estimates, where=where, whole=whole)
    elif len(bounded.table) != len(effects):
        raise InputError("the bounds are of other effects", where="bounded")
    named = covariate_blocks(design.covariate_names, blocks)
    if not nuisance.sources:
        raise InputError(
            "the nuisance's columns aren't known by covariate",
            where="nuisance",
            remedy="Use the nuisance that the estimator makes.",
        )
    columns = nuisance.basis.shape[1]
    dropped = [columns_of(at, nuisance.sources, columns=columns) for at in named.values()]
    options = options_of(estimates)
    found = _refits(design, nuisance, effects, [(), *dropped], options, whole)
    point, interval = bounded.to_null(level=(1 + level) / 2)  # an end of the two-sided interval
    degrees = np.asarray(row_degrees(effects, nuisance.groups.count), dtype=np.float64)
    t = stats.t.ppf(0.5 + level / 2, degrees)
    first = found[0]
    parts: list[pd.DataFrame] = []
    for (block, covariates), short in zip(named.items(), found[1:]):
        parts.append(
            _compared(effects, first, short, bounded, t).assign(
                block=block,
                covariates=len(covariates),
                number=len(parts),
                point=point,
                interval=interval,
            )
        )
    table = pd.concat(parts, ignore_index=True)
    y, d = (table[name].to_numpy() for name in ("outcome_share", "weight_share"))
    table["times"] = shares.times(table["point"], y=y, d=d)
    table["times_interval"] = shares.times(table["interval"], y=y, d=d)
    names = [*KEYS, "estimate", "block", "covariates", "difference", "difference_se"]
    names += ["difference_low", "difference_high", "outcome_share", "weight_share", "rho"]
    names += ["bias", "times", "times_interval"]
    return table.sort_values(["effect", "number"], kind="stable")[names].reset_index(drop=True)


class _Fit:
    """Of one set of columns, [R] effects: theta, sigma2, nu2 and influence z [G, R] of theta."""

    def __init__(self, size: int, groups: int) -> None:
        self.theta, self.sigma2, self.nu2 = (np.full(size, np.nan) for _ in range(3))
        self.z = np.zeros((groups, size))

    def put(self, at: NDArray, found: Moments, level: NDArray, column: NDArray) -> None:
        """Take over the cells (level, column) as effects ``at``."""
        self.theta[at] = found.theta[level, column]
        self.sigma2[at] = found.sigma2[level, column]
        self.nu2[at] = found.nu2[level, column]
        self.z[:, at] = found.z_theta[:, level, column]


def _refits(
    design: CrossSection,
    nuisance: Nuisance,
    effects: pd.DataFrame,
    sets: Sequence[Sequence[int]],
    options: Mapping[str, Any],
    whole: bool,
) -> list[_Fit]:
    """A fit of all effects without each of ``sets`` of columns."""
    wanted = sorted({key_of(row) for _, row in effects.iterrows()}, key=str)
    pairs = [
        (design.arms.index(str(a)), design.arms.index(str(b)))
        for a, b in effects[["programme", "comparator"]].drop_duplicates().to_numpy()
    ]
    outcomes = outcomes_of(design, nuisance, wanted, pairs)
    sums = outcomes.sums()
    floor = float(options.get("floor", 0.01))
    propensities = propensities_without(design, nuisance, sets, fold=outcomes.fold, floor=floor)
    out = []
    for columns, propensity in zip(sets, propensities):
        fit = _Fit(len(effects), nuisance.groups.size)
        jobs = jobs_of(
            design,
            nuisance,
            effects,
            options,
            spread=Spread(outcomes, sums.fit(without=columns)),
            propensity=propensity,
            whole=whole,
        )
        for job in jobs:
            level = np.array([job.levels.index(s) for s in job.rows["subgroup"]])
            column = np.array([job.keys.index(key_of(row)) for _, row in job.rows.iterrows()])
            fit.put(job.rows.index.to_numpy(), job.moments(), level, column)
        out.append(fit)
    return out


def _compared(
    effects: pd.DataFrame, whole: _Fit, short: _Fit, bounded: Bounded, t: Floats
) -> pd.DataFrame:
    """With against without a block: differences with errors, gains, bias of as strong a factor."""
    difference = short.theta - whole.theta
    se = standard_errors(short.z - whole.z, bounded.form)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.clip(np.nan_to_num(short.sigma2 / whole.sigma2 - 1.0), 0.0, 1.0)
        d = np.clip(np.nan_to_num(1.0 - short.nu2 / whole.nu2), 0.0, 0.999)
        apart = np.sqrt((short.sigma2 - whole.sigma2) * (whole.nu2 - short.nu2))
        rho = np.clip(difference / apart, -1.0, 1.0)
    return effects[[*KEYS, "estimate"]].assign(
        effect=np.arange(len(effects)),
        difference=difference,
        difference_se=se,
        difference_low=difference - t * se,
        difference_high=difference + t * se,
        outcome_share=y,
        weight_share=d,
        rho=rho,
        bias=shares.strength(y, d) * bounded.table["scale"].to_numpy(),
    )
