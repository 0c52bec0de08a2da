"""Effects of participation, from a roll-out times predicted participation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tiltakeval.design.intensity import IntensityRollout
from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.beside import with_reference
from tiltakeval.estimators.did.intensity.predict import Model, Prediction, predict
from tiltakeval.estimators.did.intensity.regression import TwoWay
from tiltakeval.estimators.did.intensity.rows import Fit, with_prediction
from tiltakeval.estimators.did.intensity.slopes import Slopes
from tiltakeval.estimators.did.level import standard_covariates
from tiltakeval.estimators.did.plan import OTHERS, cells, check_options, refuse_no_never
from tiltakeval.estimators.did.reference import TERM, reference_of
from tiltakeval.estimators.did.result import groups_of, result_of, strata_of
from tiltakeval.estimators.did.rows import Rows, levels_of
from tiltakeval.estimators.did.two_way.kept import Kept

_CHOICES = {
    "method": ("slopes", "two_way"),
    "comparison": tuple(OTHERS),
    "model": ("logit", "linear"),
    "errors": ("prediction_estimated", "prediction_given"),
    "divisor": ("leverage", "g_minus_1", "g"),
}


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """What a unit more of predicted participation adds to the effect of a roll-out: the effect on those
    who take part because of it, where the programme touches others not at all or all alike. The design
    of Markussen & Roed (2016, Labour Economics 40), who follow the Norwegian Qualification Programme's
    introduction office by office among persons likelier and less likely to be in it.

    ``slopes``: changes since the last period before a cohort's start are regressed on predicted
    participation, in the cohort and in its comparison (``not_yet`` reached or ``never``); the effect is
    the difference of slopes, period by period, and averages weigh by predicted participants.
    ``two_way``: y_it = a_i + f_t + h_t p_i + d_e + b_e p_i, least squares with unit and period effects,
    as published; with ``exposure`` false the d_e are left out. It mixes cohorts where effects differ.

    The prediction is given, or made here by ``model`` (a logit of shares, or ``linear``) among units
    that the programme reached; ``prediction_estimated`` errors count that, ``prediction_given`` ones
    don't. Covariates have slopes of their own in each comparison (times periods in ``two_way``).
    ``anticipation``, ``min_clusters`` as in `GroupTimeATT`. ``divisor``: of ``slopes``, ``leverage`` as
    in `DoseResponse`; ``two_way`` then multiplies squares by G / (G - 1).
    """

    method: Literal["slopes", "two_way"] = "slopes"
    comparison: Literal["not_yet", "never", "not_yet_treated", "never_treated"] = "not_yet"
    model: Model = "logit"
    exposure: bool = True
    anticipation: int = 0
    min_clusters: int = 2
    errors: Literal["prediction_estimated", "prediction_given"] = "prediction_estimated"
    divisor: Literal["leverage", "g_minus_1", "g"] = "leverage"
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    seed: int = 0

    def estimate(self, design: IntensityRollout) -> Estimates:
        """Terms ``effect_overall`` and ``effect_by_event_time`` (before the start: placebos), with
        ``slopes`` also ``effect`` by cohort and period; by outcome and subgroup. Raises InputError."""
        return self._estimate(design)[0]

    def with_regressions(self, design: IntensityRollout) -> tuple[Estimates, Sequence[Kept]]:
        """`estimate`, with the regressions behind its rows (of ``two_way``)."""
        return self._estimate(design, keep=True)

    def _estimate(
        self, design: IntensityRollout, keep: bool = False
    ) -> tuple[Estimates, Sequence[Kept]]:
        began = time.process_time()
        self._check(design)
        plan = list(
            cells(
                design,
                comparison=OTHERS[self.comparison],
                base="universal",
                anticipation=self.anticipation,
            )
        )
        groups = groups_of(design, len(plan) + 1)
        prediction = predict(design, self.model, groups)
        leverage = self.divisor == "leverage" and self.method == "slopes"
        plain = self.divisor == "g_minus_1" or (self.method == "two_way" and self.divisor != "g")
        rows = Rows(design, groups, None, "g_minus_1" if plain else "g", keep=keep)
        rows.notes["prediction"] = self._said(design, prediction)
        rows.notes["collinear"] += list(prediction.dropped)
        for label, inside in levels_of(design):
            x, _, dropped = standard_covariates(design, inside)
            rows.notes["collinear"] += [n for n in dropped if n not in rows.notes["collinear"]]
            for k in range(len(design.outcome_names)):
                fit: Fit
                if self.method == "slopes":
                    y = np.ascontiguousarray(design.outcomes[:, :, k])
                    fit = Slopes(design, plan, inside, y, x, groups, self.min_clusters, leverage)
                else:
                    fit = TwoWay(
                        design, inside, k, groups, self.min_clusters, -1 - self.anticipation,
                        self.exposure,
                    )  # fmt: skip
                found = with_prediction(fit, prediction, self.errors == "prediction_estimated")
                base = reference_of(design.periods, plan)
                if self.method == "two_way":
                    base = -1 - self.anticipation
                rows.add_beside(label, k, list(with_reference(found, base, (TERM,))))
        options: dict[str, Any] = asdict(self)
        out = result_of(
            design,
            rows,
            groups,
            self,
            key="intensity",
            options=options,
            began=began,
            strata=strata_of(design, groups) if leverage else None,
        )
        return out, rows.kept

    def predicted(self, design: IntensityRollout) -> np.ndarray:
        """[n] predicted participation, given or made here."""
        return predict(design, self.model, groups_of(design, 1)).value

    def _said(self, design: IntensityRollout, prediction: Prediction) -> dict[str, Any]:
        """What the prediction is and how far it tells units apart."""
        value, w = prediction.value, design.weight
        mean = float(w @ value / w.sum())
        told: dict[str, Any] = {
            "mean": mean,
            "standard_deviation": float(np.sqrt(w @ (value - mean) ** 2 / w.sum())),
            "outside_0_to_1": int(((value < 0) | (value > 1)).sum()),
        }
        if prediction.given is not None:
            return {**told, "made": "elsewhere", "counted_in_errors": False}
        counted = self.errors == "prediction_estimated"
        told |= {"made": prediction.model, "units": prediction.fitted}
        told |= {"predictors": list(prediction.names), "counted_in_errors": counted}
        return told

    def _check(self, design: IntensityRollout) -> None:
        """Raise InputError for a choice there isn't."""
        if not isinstance(design, IntensityRollout):
            raise InputError(
                "this estimator needs predicted participation",
                where="intensity",
                remedy="Read the file with intensity.intensity_from_frame.",
            )
        check_options(self, _CHOICES, {"anticipation": 0, "min_clusters": 1})
        if OTHERS[self.comparison] == "never":
            refuse_no_never(design, self.anticipation)
