"""Effects of a treatment that may end, come back or take several values."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.treatment_paths import TreatmentPaths
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.combine import with_bands
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.beside import Beside, with_reference
from tiltakeval.estimators.did.cells.leverage import MANY
from tiltakeval.estimators.did.level import Support, standard_covariates
from tiltakeval.estimators.did.reference import shared_base
from tiltakeval.estimators.did.result import groups_of, result_of
from tiltakeval.estimators.did.rows import Rows, levels_of
from tiltakeval.estimators.did.switching.averages import (
    DIRECTIONS,
    OVER_TIME,
    averages,
    beside,
    cell_row,
)
from tiltakeval.estimators.did.switching.controls import slopes_of
from tiltakeval.estimators.did.switching.fit import Fitted, Kind, Sample, fit_cell
from tiltakeval.estimators.did.switching.plan import (
    Cell,
    Crossing,
    Placebos,
    Switchers,
    cells_of,
    followed,
    switchers_of,
)
from tiltakeval.estimators.numerics.groups import Groups

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_CHOICES = {
    "method": ("dr", "ipw", "reg"),
    "placebos": ("symmetric", "all", "none"),
    "crossing": ("cut", "drop", "keep"),
    "errors": ("sampling", "conditional", "recentred"),
    "divisor": ("leverage", "g_minus_1", "g"),
}
#: Terms over event time, with those of a direction.
PATHS = tuple(
    term + suffix for term in OVER_TIME for suffix in ("", *(f"_{d}" for d in DIRECTIONS.values()))
)
MISSING = (
    "each cell uses the units seen in both of its periods; a treatment lasts until it is seen to"
)


@dataclass(frozen=True, kw_only=True)
class SwitchingATT:
    """What the treatment a unit actually had did, against keeping the one it started with.
    de Chaisemartin & D'Haultfoeuille (2024, Review of Economics and Statistics; 2020, American Economic
    Review 110:2964-2996); the estimates of did_multiplegt_dyn.

    Units whose treatment first changes in a period are compared with those that started with the same
    treatment and have not changed by then, whatever they do later: the effect at event time e is that of
    all treatment since the first change, which may have ended meanwhile. Units that change downwards
    count with a minus, so that every effect is that of more treatment. Needs parallel trends of what
    outcomes had been under each unit's first treatment, among units that share it, and no anticipation.

    ``placebos``: ``symmetric`` (as long before the base as the effect is after, same units), ``all``
    (every period before, against all that change later) or ``none``. ``crossing``: units whose
    treatment is now above, now below where it started are left out from the first such period on
    (``cut``), altogether (``drop``) or not at all (``keep``). ``balance``: event times rest on groups
    seen that long. ``effects``: how many periods from the first change on are looked at, and averaged
    (default: all). ``within``: a declared subgroup; units are compared with those of their own
    level. ``anticipation``, ``method``, ``min_clusters``, ``max_propensity`` as in `GroupTimeATT`; a
    group of one switcher has no row of its own, but is part of averages. Covariates constant in a unit
    enter by ``method``, those that vary by `switching.controls`.

    ``errors``: ``sampling`` (units are a sample: who switches when varies too), ``conditional`` (paths
    given, as did_multiplegt_dyn and its ports have it) or ``recentred`` (the influence of the effect
    less its mean over units of one path start, as diff-diff; understates where these are few).
    ``divisor`` as in `GroupTimeATT`.
    """

    method: Literal["dr", "ipw", "reg"] = "dr"
    placebos: Placebos = "symmetric"
    crossing: Crossing = "cut"
    anticipation: int = 0
    balance: int | None = None
    effects: int | None = None
    within: str | None = None
    min_clusters: int = 2
    max_propensity: float = 0.995
    errors: Kind = "sampling"
    divisor: Literal["leverage", "g_minus_1", "g"] = "leverage"
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    seed: int = 0

    def estimate(self, design: TreatmentPaths) -> Estimates:
        """Rows by group of switchers and period (term ``effect``); averages ``effect_by_event_time``,
        ``effect_per_treatment_by_event_time`` (normalised by the treatment received so far),
        ``effect_overall``, ``effect_per_treatment`` (average total effect per unit of treatment),
        ``cumulated_path``; where both directions occur also ``..._up`` and ``..._down``. By outcome and
        subgroup. Raises InputError.
        """
        began = time.process_time()
        self._check(design)
        follow = followed(design, self.crossing)
        sets = None if self.within is None else design.subgroups[self.within].codes.astype(np.int64)
        groups_by = switchers_of(design, self.anticipation, sets)
        cohort = _cohorts(design, groups_by)
        plan = [
            cell
            for who in groups_by
            for cell in cells_of(design, who, self.anticipation, self.placebos)
            if self.effects is None or cell.reach - who.first < self.effects
        ]
        groups = groups_of(design, len(plan), paths=True)
        divisor = "g_minus_1" if self.divisor == "g_minus_1" else "g"
        rows = Rows(design, groups, None, divisor, MISSING)
        rows.notes |= {
            "crossing": int((~follow).any(axis=1).sum()),
            "unclear_changes": design.unclear,
            "treatment_received": [],
        }
        few = groups.form is None and groups.count <= MANY
        settled = self.divisor == "leverage" and few
        nobody = _nobody(design)
        for label, inside in levels_of(design):
            x, names, dropped = standard_covariates(design, inside)
            rows.notes["collinear"] += [n for n in dropped if n not in rows.notes["collinear"]]
            for k, name in enumerate(design.outcome_names):
                y = np.ascontiguousarray(design.outcomes[:, :, k])
                sample = Sample(design, inside, y, x, names, follow, cohort, groups, sets)
                cells = self._cells(sample, plan)
                found = averages(
                    design, cells, unit=design.units[k], balance=self.balance,
                    least=self.min_clusters, sampling=self.errors == "sampling", settled=settled,
                )  # fmt: skip
                beside_rows = [cell_row(design, one, nobody, self.within) for one in cells]
                beside_rows += with_reference(
                    (beside(row, nobody) for row in found), _base(design, plan), PATHS
                )
                rows.add_beside(label, k, _with_units(beside_rows, design.units[k]))
                _note(rows, label, name, cells, design, self.within)
        strata = None
        if self.divisor == "leverage" and groups.form is None and groups.count == groups.n_clusters:
            strata = _strata(cohort, groups)
        options: dict[str, Any] = asdict(self)
        out = result_of(
            design, rows, groups, self, key="switching_att", options=options, began=began,
            strata=strata, varying=True,
        )  # fmt: skip
        return self._banded(out)

    def _cells(self, sample: Sample, plan: list[Cell]) -> list[Fitted]:
        slopes = slopes_of(sample.design, sample.y, sample.inside, sample.groups, self.anticipation)
        return [
            fit_cell(
                sample, cell, slopes, method=self.method, min_clusters=self.min_clusters,
                max_propensity=self.max_propensity, leverage=self.divisor == "leverage",
                kind=self.errors,
            )
            for cell in plan
        ]  # fmt: skip

    def _banded(self, out: Estimates) -> Estimates:
        """Bands over event time of the terms that only switching has."""
        if not self.bands or out.influence is None:
            return out
        for term in PATHS:
            if (out.table["term"] == term).any():
                out = with_bands(
                    out, within=("horizon",), terms=(term,), level=self.level, draws=self.draws,
                    seed=self.seed,
                )  # fmt: skip
        return out

    def _check(self, design: TreatmentPaths) -> None:
        """Raise InputError for a choice there isn't."""
        if not isinstance(design, TreatmentPaths):
            raise InputError(
                "this estimator needs every unit's treatment in every period",
                where="switching_att",
                remedy="Read the file with treatment_paths.paths_from_frame.",
            )
        for name, valid in _CHOICES.items():
            if getattr(self, name) not in valid:
                raise unknown("choice", str(getattr(self, name)), valid, where=name)
        if self.anticipation < 0:
            raise InputError(
                "anticipation is a number of periods, at least 0", where="anticipation"
            )
        if self.balance is not None and self.balance < 0:
            raise InputError("an event time to balance to is at least 0", where="balance")
        if self.effects is not None and self.effects < 1:
            raise InputError("at least one effect is needed", where="effects")
        if self.min_clusters < 1:
            raise InputError("at least one cluster is needed", where="min_clusters")
        if not 0 < self.max_propensity <= 1:
            raise InputError("the highest propensity lies between 0 and 1", where="max_propensity")
        if not 0.5 < self.level < 1:
            raise InputError("the level must lie between 0.5 and 1", where="level")
        if self.within is not None and self.within not in design.subgroups:
            raise unknown("subgroup", self.within, design.subgroups, where="within")
        if self.errors == "recentred" and design.covariate_names:
            raise InputError(
                "recentred errors are for effects without covariates constant in a unit",
                where="errors",
                remedy="Say errors = sampling or conditional.",
            )


def _base(design: TreatmentPaths, plan: list[Cell]) -> int | None:
    """The event time that all effects are measured from."""
    grid = design.periods
    return shared_base(
        (int(grid[one.b] - grid[one.who.first]), one.event) for one in plan if one.b >= 0
    )


def _cohorts(design: TreatmentPaths, groups: list[Switchers]) -> Ints:
    """[n] a number for all that share baseline, first change and direction."""
    out = np.unique(design.baseline, return_inverse=True)[1].reshape(-1).astype(np.int64)
    beyond = int(out.max(initial=-1)) + 1
    numbers: dict[tuple[float, int, int], int] = {}
    for who in groups:
        key = (who.baseline, who.first, who.sign)
        out[who.members] = beyond + numbers.setdefault(key, len(numbers))
    return np.unique(out, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _strata(cohort: Ints, groups: Groups) -> Ints | None:
    """[groups] the cohort of every cluster, those alone in theirs together (one number tells nothing of
    a variance); None where a cluster holds several."""
    out = np.zeros(groups.count, dtype=np.int64)
    out[groups.group] = cohort
    if not (out[groups.group] == cohort).all():
        return None
    alone = np.bincount(out)[out] == 1
    return np.where(alone, -1, out)


def _nobody(design: TreatmentPaths) -> Support:
    none = np.packbits(np.zeros(design.n, dtype=bool))
    clusters = np.packbits(np.zeros(int(design.cluster.max()) + 1, dtype=bool))
    return Support(none, none, clusters, 0.0, 0)


def _with_units(rows: list[Beside], unit: str) -> list[Beside]:
    """Rows with the outcome's unit unless they say another."""
    return [replace(row, labels={"unit": unit, **row.labels}) for row in rows]


def _note(
    rows: Rows,
    label: str,
    outcome: str,
    cells: list[Fitted],
    design: TreatmentPaths,
    within: str | None,
) -> None:
    """The mean treatment received so far by event time, and cells in which units were trimmed."""
    for event in sorted({one.cell.event for one in cells if one.cell.effect}):
        good = [one.total for one in cells if one.total is not None and one.cell.event == event]
        if good:
            n, so_far, now = np.sum(good, axis=0)
            rows.notes["treatment_received"].append(
                {
                    "subgroup": label,
                    "outcome": outcome,
                    "horizon": event,
                    "so_far": float(so_far / n),
                    "now": float(now / n),
                }
            )
    for one in cells:
        if one.support is not None and one.support.trimmed:
            labels = cell_row(design, one, one.support, within).labels
            rows.notes["trimmed"].append(
                {
                    "subgroup": label,
                    "outcome": outcome,
                    "cohort": labels["cohort"],
                    "period": labels["period"],
                    "units": one.support.trimmed,
                }
            )
