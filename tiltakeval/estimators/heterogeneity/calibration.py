"""Are predicted individual effects worth showing? Tests on scores of units they weren't fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimators.heterogeneity.gate import joint_df
from tiltakeval.estimators.heterogeneity.multiple import step_down
from tiltakeval.estimators.heterogeneity.ranked import centred_by_fold, check_cate
from tiltakeval.estimators.heterogeneity.rows import Lines, label_of, over_splits, support
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]


def calibration(scores: UnitScores, cate: Floats) -> tuple[Lines, list[dict[str, Any]]]:
    """Of every programme: ``calibration_slope`` and ``calibration_gain``, and one-sided tests of both.

    ``cate`` [n, A - 1] predictions out of fold (NaN: not predicted, left out). The slope is that of the
    scores in the predictions, centred fold by fold: 1 where they are right on average, 0 where they
    know nothing (the best linear predictor of Chernozhukov, Demirer, Duflo & Fernandez-Val 2018, with
    doubly robust scores). The gain is E[(effect - average)^2] - E[(effect - prediction)^2], what is won
    in squared error over giving everybody the average; it is positive when the slope is above 1/2. Tests
    are adjusted for the number of programmes (step-down).
    """
    tau = check_cate(scores, cate)
    known = np.isfinite(tau[:, 0])
    arms = range(1, len(scores.arms))
    labels = [
        label_of(scores, a, subgroup="all", term=term, **support(scores, known, a))
        for term in ("calibration_slope", "calibration_gain")
        for a in arms
    ]
    for label in labels:
        label["unit"] = "slope" if label["term"] == "calibration_slope" else "squared"

    def compute(split: UnitScores) -> tuple[Floats, Floats]:
        n, d = split.all_scores()
        slope, gain = np.full(len(arms), np.nan), np.full(len(arms), np.nan)
        a, b = np.zeros((scores.n, len(arms))), np.zeros((scores.n, len(arms)))
        for j in range(len(arms)):
            w = split.weight * known
            share = w / (w @ d[:, j])
            c = np.nan_to_num(centred_by_fold(scores, tau[:, j], w * d[:, j]))
            y = n[:, j] - d[:, j] * (share @ n[:, j])
            square = share @ (d[:, j] * c**2)
            if square <= 1e-12 * max(float(share @ y**2), 1e-300):
                continue  # one prediction for all: nothing to calibrate
            slope[j] = share @ (c * y) / square
            a[:, j] = share * c * (y - slope[j] * d[:, j] * c) / square
            each = 2 * c * y - d[:, j] * c**2
            gain[j] = share @ each
            b[:, j] = share * (each - gain[j] * d[:, j])
        return np.concatenate([slope, gain]), np.hstack([a, b])

    theta, z = over_splits(scores, compute)
    lines = Lines(tuple(labels), theta, z)
    return lines, [
        *one_sided(scores, lines, range(len(arms))),
        *one_sided(scores, lines, range(len(arms), 2 * len(arms))),
    ]


def one_sided(scores: UnitScores, lines: Lines, rows: range) -> list[dict[str, Any]]:
    """Tests against > 0 of some rows: t with its p value adjusted for these rows (term ``test_`` + the
    row's), and, for several programmes, that of any of them."""
    form = scores.groups.form
    varied = standard_errors(lines.z, form) > 0
    at = np.array([i for i in rows if np.isfinite(lines.theta[i]) and varied[i]], dtype=np.int64)
    if not at.size:
        return []
    t = lines.theta[at] / standard_errors(lines.z[:, at], form)
    df = joint_df(scores, lines, at)
    p = step_down(lines.theta[at], lines.z[:, at], df=df, form=form, one_sided=True)
    if at.size == 1:
        p = np.asarray(stats.t.sf(t, df))
    out = [
        {
            **lines.labels[i],
            "term": f"test_{lines.labels[i]['term']}",
            "unit": "t",
            "estimate": float(t[j]),
            "p_value": float(p[j]),
        }
        for j, i in enumerate(at)
    ]
    if at.size > 1:
        first = out[int(np.argmax(t))]
        out.append({**first, "programme": "all"})
    return out
