"""Effects by group for `[[for_whom]]`, and groups by predicted effect where predictions are good."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.heterogeneity.cate import dr_learner
from tiltakeval.estimators.heterogeneity.rows import Lines, estimates_of
from tiltakeval.estimators.heterogeneity.scores import UnitScores
from tiltakeval.estimators.heterogeneity.sorting import classification, sorted_effects
from tiltakeval.study.for_whom_asked import LEAST, PREDICTED, Asked

BEATS = "test_calibration_gain"
#: Columns that tell the models of bends and seasons, not a reader who somebody is.
_TECHNICAL = re.compile(
    r"_(squared|log|missing)$|^(trend|month|year|office|municipality)_|_(\d+_)?up$"
)
_BAND = re.compile(r"^(age|registered|since_end)_\d+_\d+$")


def effects(asked: Asked, scores: UnitScores, *, threshold: int, draws: int) -> Estimates:
    """Effects, their differences and tests; groups by predicted effect where predictions are good."""
    main, spec = asked.heterogeneity, asked.spec
    parts, tests, _ = main.lines(scores)
    wanted = set(spec.parts) & set(PREDICTED)
    good = [
        test["programme"]
        for test in tests
        if test["term"] == BEATS and test["p_value"] < spec.shown_at and test["programme"] != "all"
    ]
    if wanted and good:
        tau = dr_learner(scores, learner=main.cate, sequential=True, seed=main.seed)
        if "sorted" in wanted:
            parts.append(_of(sorted_effects(scores, tau, groups=main.groups), good))
        if "classification" in wanted:
            names = list(main.moderators) or _readable(scores.names)
            lines = classification(scores, tau, covariates=names, share=main.most)
            parts.append(
                _safe(_of(lines, good), scores, np.isfinite(tau[:, 0]), main.most, threshold)
            )
    return estimates_of(
        scores, parts, tests=tests, level=main.level, draws=draws, source="heterogeneity"
    )


def _of(lines: Lines, programmes: Sequence[str]) -> Lines:
    """The lines of some programmes."""
    return _some(lines, [row["programme"] in programmes for row in lines.labels])


def _some(lines: Lines, keep: Sequence[bool]) -> Lines:
    at = np.flatnonzero(keep)
    labels = tuple(lines.labels[i] for i in at)
    return Lines(labels, lines.theta[at], lines.z[:, at], lines.family)


def _readable(names: Sequence[str]) -> list[str]:
    """Columns that say who somebody is, without bends, bands and seasons."""
    kept = [n for n in names if not _TECHNICAL.search(n) and not is_band(n)]
    return kept or list(names)


def is_band(name: str) -> bool:
    """Whether a column is an indicator of a band of a number that has a column of its own."""
    return _BAND.match(name) is not None


def _safe(
    lines: Lines, scores: UnitScores, known: NDArray[np.bool_], share: float, threshold: int
) -> Lines:
    """The lines without indicators that few in a group may have, or may lack.

    With weights w of at most W, a weighted mean m over a part ``share`` of the weight of those ``known``
    (with a prediction) and described rests on at least m share sum(w) / W units.
    """
    x, w = scores.x, scores.weight
    binary = {name for j, name in enumerate(scores.names) if set(np.unique(x[:, j])) <= {0.0, 1.0}}
    described = (w * known)[:, None] * scores.counted
    units = dict(zip(scores.arms[1:], share * described.sum(axis=0) / w.max()))
    least = max(threshold, LEAST)
    lost = {
        (row["programme"], row["outcome"])
        for row, mean in zip(lines.labels, lines.theta)
        if row["outcome"] in binary
        and row["term"] != "mean_difference"
        and not min(mean, 1.0 - mean) * units[row["programme"]] >= least
    }
    return _some(lines, [(r["programme"], r["outcome"]) not in lost for r in lines.labels])
