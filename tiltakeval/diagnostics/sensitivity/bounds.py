"""Omitted-variable bounds of every effect a weighting estimator reports, with confidence bounds.

The bounds of an effect theta under an unseen factor of strength C are theta -+ C S. Their influence is
that of theta -+ C times that of S, so that a one-sided interval at ``level`` on either side holds the
truth with at least that probability when the factor is no stronger (Chernozhukov et al. 2022,
theorem 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.sensitivity import strength as shares
from tiltakeval.diagnostics.sensitivity.fitted import Spread, outcomes_of
from tiltakeval.diagnostics.sensitivity.moments import (
    Moments,
    Residuals,
    moments,
    residuals_of,
)
from tiltakeval.diagnostics.sensitivity.riesz import Weights, targets_in, weights_of
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import row_degrees
from tiltakeval.estimates.inference import Form, standard_errors
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.estimators.weighting.support import level_matrix

Floats = NDArray[np.floating]
KEYS = ["population", "programme", "comparator", "subgroup", "outcome", "horizon"]


@dataclass(frozen=True)
class Bounded:
    """Effects and what an unseen factor could do to each of R of them.

    ``table`` has the keys of each effect, estimate, std_error, sigma, nu, scale (S), and ``plugged``
    (``Moments``). ``z_theta`` and ``z_scale`` [G, R] are influence sums by group; ``df`` [R].
    """

    table: pd.DataFrame
    z_theta: NDArray[np.float64]
    z_scale: NDArray[np.float64]
    df: NDArray[np.float64]
    form: Form | None = None

    def at(self, *, y: float, d: float, rho: float = 1.0, level: float = 0.95) -> pd.DataFrame:
        """Bounds under a factor that explains shares ``y`` and ``d``: bound_low, bound_high, and the
        ends of one-sided intervals at ``level`` below and above them, conf_low and conf_high."""
        c = float(shares.strength(y, d, rho))
        theta, scale = self._numbers()
        t = stats.t.ppf(_one_sided(level), self.df)
        low = theta - c * scale
        high = theta + c * scale
        below = standard_errors(self.z_theta - c * self.z_scale, self.form)
        above = standard_errors(self.z_theta + c * self.z_scale, self.form)
        return self.table.assign(
            bound_low=low, bound_high=high, conf_low=low - t * below, conf_high=high + t * above
        )

    def to_null(self, *, null: float = 0.0, level: float = 0.95) -> tuple[Floats, Floats]:
        """[R] strengths C at which the bound, and its confidence bound, reach ``null``."""
        theta, scale = self._numbers()
        gap = np.abs(theta - null)
        side = np.where(theta >= null, 1.0, -1.0)
        own, other = (standard_errors(z, self.form) ** 2 for z in (self.z_theta, self.z_scale))
        both = standard_errors(side * self.z_theta - self.z_scale, self.form) ** 2
        cross = (own + other - both) / 2
        t = stats.t.ppf(_one_sided(level), self.df)
        with np.errstate(divide="ignore", invalid="ignore"):
            point = np.where(gap > 0, np.where(scale > 0, gap / scale, np.inf), 0.0)
        interval = shares.strength_to_zero(gap, scale, own=own, cross=cross, other=other, t=t)
        return np.asarray(point, dtype=np.float64), interval

    def robustness(
        self, *, null: float = 0.0, level: float = 0.95, rho: float = 1.0
    ) -> pd.DataFrame:
        """The table with ``robustness_value`` (RV) and ``robustness_value_interval`` (RVa): the share of
        both outcome and weights at which the bound, and its one-sided confidence bound at ``level``,
        reach ``null``."""
        shares.check_shares(rho=rho)
        point, interval = self.to_null(null=null, level=level)
        return self.table.assign(
            robustness_value=shares.share_of(point, rho),
            robustness_value_interval=shares.share_of(interval, rho),
        )

    def contour(self, row: int, **grids: Any) -> tuple[Floats, Floats, Floats]:
        """Grids and bounds of one effect for a figure (``strength.contour``)."""
        theta, scale = self._numbers()
        return shares.contour(float(theta[row]), float(scale[row]), **grids)

    def rows(self, **where: Any) -> Bounded:
        """The effects matching every column given (a value or a list of them)."""
        hit = np.ones(len(self.table), dtype=bool)
        for name, value in where.items():
            many = value if isinstance(value, list | tuple) else [value]
            hit &= self.table[name].isin(many).to_numpy()
        at = np.flatnonzero(hit)
        return replace(
            self,
            table=self.table.iloc[at].reset_index(drop=True),
            z_theta=self.z_theta[:, at],
            z_scale=self.z_scale[:, at],
            df=self.df[at],
        )

    def _numbers(self) -> tuple[Floats, Floats]:
        return self.table["estimate"].to_numpy(float), self.table["scale"].to_numpy(float)


def bounds(
    design: CrossSection,
    nuisance: Nuisance,
    estimates: Estimates,
    *,
    where: Mapping[str, Any] | None = None,
) -> Bounded:
    """What an unseen factor could do to every effect in ``estimates`` of a weighting estimator.

    ``where`` picks effects by column (a value or list of values): horizon, outcome, subgroup, ... The
    outcome regressions are fitted anew by the estimator's learner. Raises InputError when the
    estimates aren't of these units, or none is left.
    """
    effects, positions = effects_of(estimates, where)
    parts: list[tuple[pd.DataFrame, Floats, Floats]] = []
    for job in jobs_of(design, nuisance, effects, options_of(estimates)):
        found = job.moments()
        level = np.array([job.levels.index(s) for s in job.rows["subgroup"]])
        keys = [key_of(row) for _, row in job.rows.iterrows()]
        column = np.array([job.keys.index(key) for key in keys])
        parts.append(_picked(job.rows, found, level, column))
    table = pd.concat([part[0] for part in parts])
    order = np.argsort(table.index.to_numpy(), kind="stable")
    z_scale = np.hstack([part[1] for part in parts])[:, order]
    own = np.hstack([part[2] for part in parts])[:, order]
    return Bounded(
        table=_shown(table.sort_index()),
        z_theta=influence_of(estimates, positions, nuisance, otherwise=own),
        z_scale=np.asarray(z_scale, dtype=np.float64),
        df=np.asarray(row_degrees(effects, nuisance.groups.count), dtype=np.float64),
        form=nuisance.groups.form,
    )


def cumulated_bounds(
    design: CrossSection,
    nuisance: Nuisance,
    estimates: Estimates,
    *,
    months: Iterable[int],
    where: Mapping[str, Any] | None = None,
) -> Bounded:
    """The same for effects added up over ``months``, one row (``horizon`` the last month) per effect.

    With every unit observed in all months and no censoring weights, the residuals are added up by
    unit; else the months' bounds are, which is never too narrow (column ``joint`` says which).
    Raises InputError for a month that isn't there.
    """
    wanted = sorted({int(month) for month in months})
    lacking = [m for m in wanted if m not in design.horizons]
    if lacking or not wanted:
        raise InputError(
            "no months to add up" if not wanted else f"month {lacking[0]} isn't in the design",
            where="months",
        )
    effects, positions = effects_of(estimates, {**(where or {}), "horizon": wanted})
    tables, z_scale, z_own, z_theta, degrees = [], [], [], [], []
    z_rows = influence_of(estimates, positions, nuisance, otherwise=None)
    df = np.asarray(row_degrees(effects, nuisance.groups.count), dtype=np.float64)
    for job in jobs_of(design, nuisance, effects, options_of(estimates)):
        by = job.rows.groupby(["subgroup", "outcome"], sort=False)
        for (subgroup, outcome), rows in by:
            if len(rows) != len(wanted):
                continue  # a month without an estimate has no sum
            level = job.levels.index(subgroup)
            keys = [(month, str(outcome)) for month in wanted]
            found = job.residuals(keys)
            member = job.members[:, [level]]
            inside = found.seen[member[:, 0] > 0]
            joint = found.censor is None and bool((inside.all(axis=1) == inside.any(axis=1)).all())
            part = moments(
                job.weights, found.total() if joint else found, nuisance.groups, members=member
            )
            first = rows.iloc[[0]].assign(
                horizon=wanted[-1],
                estimate=rows["estimate"].sum(),
                sigma=np.sqrt(part.sigma2).sum(),
                nu=np.sqrt(part.nu2).mean(),
                scale=part.scale.sum(),
                plugged=part.plugged.any(),
                joint=joint,
            )
            tables.append(first)
            z_scale.append(part.z_scale.sum(axis=(1, 2)))
            z_own.append(part.z_theta.sum(axis=(1, 2)))
            at = effects.index.get_indexer(rows.index)
            z_theta.append(None if z_rows is None else z_rows[:, at].sum(axis=1))
            degrees.append(df[at].min())
    if not tables:
        raise InputError("no effect has an estimate in every month to add up", where="months")
    z = np.stack([own if z is None else z for own, z in zip(z_own, z_theta)], axis=1)
    table = pd.concat(tables, ignore_index=True)
    table["std_error"] = standard_errors(z, nuisance.groups.form)
    return Bounded(
        table=_shown(table),
        z_theta=z,
        z_scale=np.stack(z_scale, axis=1),
        df=np.array(degrees),
        form=nuisance.groups.form,
    )


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
    found = []
    by = effects.groupby(["population", "programme", "comparator"], sort=False)
    for (population, a, b), rows in by:
        pair = _pair(design, nuisance, str(a), str(b))
        target = targets_in(str(population), pair, present=nuisance.present)
        weights = weights_of(design, nuisance, target, pair, propensity=propensity)
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


def _picked(
    rows: pd.DataFrame, found: Moments, level: NDArray, column: NDArray
) -> tuple[pd.DataFrame, Floats, Floats]:
    table = rows.assign(
        sigma=np.sqrt(found.sigma2[level, column]),
        nu=np.sqrt(found.nu2[level, column]),
        scale=found.scale[level, column],
        plugged=found.plugged[level, column],
    )
    return table, found.z_scale[:, level, column], found.z_theta[:, level, column]


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    more = ["joint"] if "joint" in table.columns else []
    names = [*KEYS, "estimate", "std_error", "sigma", "nu", "scale", "plugged", *more]
    return table[names].reset_index(drop=True)


def _one_sided(level: float) -> float:
    if not 0.5 < level < 1:
        raise InputError("the level must lie between 0.5 and 1", where="level")
    return level
