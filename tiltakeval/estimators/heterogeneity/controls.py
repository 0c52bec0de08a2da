"""Effects that can't be there: on outcomes from before time zero, and of programmes that can't work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimators.heterogeneity.gate import counts_of_all, gate, joint_df
from tiltakeval.estimators.heterogeneity.multiple import step_down
from tiltakeval.estimators.heterogeneity.rows import Lines, label_of
from tiltakeval.estimators.heterogeneity.scores import UnitScores, unit_score_sets
from tiltakeval.estimators.heterogeneity.sorting import stacked
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.nuisance import Nuisance

TERM = "test_negative_control"


def placebo_lines(
    design: CrossSection,
    options: AIPW,
    *,
    arms: Sequence[str] | None,
    nuisances: Sequence[Nuisance],
) -> Iterator[tuple[UnitScores, Lines, list[dict[str, Any]]]]:
    """For every placebo outcome and month of the design: its scores, the ``placebo`` rows (on average
    and by level, as `gate`) and per programme ``test_placebo``, that all of them are 0.

    Raises InputError for a design without placebo outcomes.
    """
    if design.placebo is None or not design.placebo_horizons:
        raise InputError(
            "no outcome from before time zero is declared",
            where="parts, placebo",
            remedy="Name placebo outcomes, or leave the part out.",
        )
    unit = dict(zip(design.outcome_names, design.units))
    before = replace(
        design,
        outcomes=design.placebo,
        outcome_names=design.placebo_names,
        units=tuple(unit.get(name, "") for name in design.placebo_names),
        horizons=design.placebo_horizons,
        placebo=None,
        placebo_names=(),
        placebo_horizons=(),
        censor_weight=None,
    )
    columns = [
        (t, k)
        for t in range(len(before.horizons))
        for k in range(len(before.outcome_names))
        if np.isfinite(before.outcomes[:, t, k]).any()
    ]
    for scores in unit_score_sets(before, options, columns, arms=arms, nuisances=nuisances):
        average, by_level, _ = gate(scores)
        lines = stacked([average, by_level], family="over subgroup, programme")
        rows = tuple({**row, "term": "placebo"} for row in lines.labels)
        found = replace(lines, labels=rows)
        yield scores, found, none_there(scores, found, scores.arms[1:], term="test_placebo")


def negative_controls(
    scores: UnitScores, average: Lines, by_level: Lines, programmes: Sequence[str]
) -> list[dict[str, Any]]:
    """A test for each of ``programmes`` that none of its effects, on average and by level, is there.

    They are programmes that can't have had an effect: places offered and withdrawn, courses not begun
    by the month of the outcome. A small p value says that people who get programmes differ from those
    who don't in ways the covariates don't hold. Raises InputError for one that isn't compared.
    """
    for name in programmes:
        if name not in scores.arms[1:]:
            raise unknown("programme", str(name), scores.arms[1:], where="negative_controls")
    lines = stacked([average, by_level]) if len(by_level) else average
    return none_there(scores, lines, programmes, term=TERM)


def none_there(
    scores: UnitScores, lines: Lines, programmes: Sequence[str], *, term: str
) -> list[dict[str, Any]]:
    """Per programme: the largest |t| of its rows in ``lines``, and the p value of one as large."""
    form = scores.groups.form
    out = []
    for name in programmes:
        own = [i for i, row in enumerate(lines.labels) if row["programme"] == name]
        at = np.array([i for i in own if np.isfinite(lines.theta[i])], dtype=np.int64)
        se = standard_errors(lines.z[:, at], form) if at.size else np.zeros(0)
        at = at[se > 0]
        if not at.size:
            continue
        t = np.abs(lines.theta[at]) / se[se > 0]
        p = step_down(lines.theta[at], lines.z[:, at], df=joint_df(scores, lines, at), form=form)
        out.append(
            {
                **counts_of_all(scores),
                **label_of(scores, scores.arms.index(name), subgroup="all", term=term),
                "unit": "largest t",
                "estimate": float(t.max()),
                "p_value": float(np.nanmin(p)),
            }
        )
    return out
