"""Omitted-variable bounds of every effect a weighting estimator reports, with confidence bounds.

The bounds of an effect theta under an unseen factor of strength C are theta -+ C S. Their influence is
that of theta -+ C times that of S, so that a one-sided interval at ``level`` on either side holds the
truth with at least that probability when the factor is no stronger (Chernozhukov et al. 2022,
theorem 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.sensitivity import strength as shares
from tiltakeval.diagnostics.sensitivity.jobs import (
    KEYS,
    effects_of,
    influence_of,
    jobs_of,
    key_of,
    options_of,
)
from tiltakeval.diagnostics.sensitivity.moments import Moments
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import row_degrees
from tiltakeval.estimates.inference import Form, standard_errors
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.weighting.nuisance import Nuisance

Floats = NDArray[np.floating]


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
    whole: bool = False,
) -> Bounded:
    """What an unseen factor could do to every effect in ``estimates`` of a weighting estimator.

    ``where`` picks effects by column (a value or list of values): horizon, outcome, subgroup, ... The
    outcome regressions are fitted anew by the estimator's learner. ``whole`` counts shares of effects on
    participants as DoubleML does (``riesz``). Raises InputError when the estimates aren't of these
    units, or none is left.
    """
    effects, positions = effects_of(estimates, where)
    parts: list[tuple[pd.DataFrame, Floats, Floats]] = []
    for job in jobs_of(design, nuisance, effects, options_of(estimates), whole=whole):
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
        table=shown(table.sort_index()),
        z_theta=influence_of(estimates, positions, nuisance, otherwise=own),
        z_scale=np.asarray(z_scale, dtype=np.float64),
        df=np.asarray(row_degrees(effects, nuisance.groups.count), dtype=np.float64),
        form=nuisance.groups.form,
    )


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


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of ``Bounded.table``."""
    more = ["joint"] if "joint" in table.columns else []
    names = [*KEYS, "estimate", "std_error", "sigma", "nu", "scale", "plugged", *more]
    return table[names].reset_index(drop=True)


def _one_sided(level: float) -> float:
    if not 0.5 < level < 1:
        raise InputError("the level must lie between 0.5 and 1", where="level")
    return level
