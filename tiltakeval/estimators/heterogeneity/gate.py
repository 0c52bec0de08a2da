"""Effects by declared subgroup (GATE), against the average, and whether they differ at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimators.heterogeneity.multiple import step_down, wald
from tiltakeval.estimators.heterogeneity.rows import (
    Lines,
    effect_means,
    label_of,
    level_members,
    over_splits,
    support,
    supported,
)
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]


def group_effects(
    scores: UnitScores, *, member: NDArray[np.bool_], names: list[str], term: str, family: str = ""
) -> Lines:
    """The effect of every programme among the units of each column of ``member`` [n, L]; rows run over
    programmes within levels. Rows with too few units have NaN."""
    arms = range(1, len(scores.arms))
    labels = [
        label_of(scores, a, subgroup=name, term=term, **support(scores, member[:, j], a))
        for j, name in enumerate(names)
        for a in arms
    ]
    enough = np.array([supported(label) for label in labels])

    def compute(split: UnitScores) -> tuple[Floats, Floats]:
        theta, values = effect_means(split, member)
        return np.where(enough, theta, np.nan), np.where(enough, values, 0.0)

    theta, z = over_splits(scores, compute)
    return Lines(tuple(labels), theta, z, family)


def gate(scores: UnitScores) -> tuple[Lines, Lines, Lines]:
    """Average effects (``all``), effects by level, and the levels' differences from the average.

    The bands of the second and third are joint over all levels of all subgroups and all programmes.
    """
    everybody = np.ones((scores.n, 1), dtype=bool)
    average = group_effects(
        scores, member=everybody, names=["all"], term="effect", family="average"
    )
    found = level_members(scores)
    if not found:
        nothing = Lines((), np.zeros(0), np.zeros((average.z.shape[0], 0)))
        return average, nothing, nothing
    member = np.column_stack([m for _, _, m in found])
    by_level = group_effects(
        scores,
        member=member,
        names=[name for _, name, _ in found],
        term="effect",
        family="over subgroup, programme",
    )
    return average, by_level, minus_average(average, by_level)


def minus_average(average: Lines, by_level: Lines, term: str = "effect_minus_average") -> Lines:
    """Each row of ``by_level`` less the average effect of its programme."""
    of = {label["programme"]: i for i, label in enumerate(average.labels)}
    at = np.array([of[label["programme"]] for label in by_level.labels], dtype=np.int64)
    return Lines(
        tuple({**label, "term": term} for label in by_level.labels),
        by_level.theta - average.theta[at],
        np.where(by_level.good(), by_level.z - average.z[:, at], 0.0),
        family="over subgroup, programme",
    )


def equality_tests(
    scores: UnitScores,
    by_level: Lines,
    difference: Lines | None,
    *,
    term: str = "test_equal_effects",
) -> list[dict[str, Any]]:
    """Tests that effects don't vary over levels: a row per subgroup variable and programme, per
    variable with all programmes together, and over everything.

    The first two are Wald tests of the differences between levels; that over all variables takes the
    largest |t| of the levels' differences from the average, as the levels of several variables
    together have no invertible covariance; it is left out without ``difference``. Levels that aren't
    supported are left out.
    """
    form = scores.groups.form
    out: list[dict[str, Any]] = []
    variable = np.array([str(label["subgroup"]).split("=")[0] for label in by_level.labels], object)
    programme = np.array([label["programme"] for label in by_level.labels], dtype=object)
    good = by_level.good()
    for name in scores.subgroups:
        gaps, influences = [], []
        for a in scores.arms[1:]:
            at = np.flatnonzero(good & (variable == name) & (programme == a))
            if at.size < 2:
                continue
            gap = by_level.theta[at[1:]] - by_level.theta[at[0]]
            z = by_level.z[:, at[1:]] - by_level.z[:, at[:1]]
            gaps.append(gap)
            influences.append(z)
            f, _, p = wald(gap, z, df=joint_df(scores, by_level, at), form=form)
            out.append(
                {
                    **counts_of_all(scores),
                    "programme": a,
                    "comparator": scores.arms[0],
                    "subgroup": name,
                    "term": term,
                    "unit": "F",
                    "estimate": f,
                    "p_value": p,
                }
            )
        if gaps and len(scores.arms) > 2:
            at = np.flatnonzero(good & (variable == name))
            f, _, p = wald(
                np.concatenate(gaps),
                np.hstack(influences),
                df=_pooled_df(scores, by_level, at),
                form=form,
            )
            out.append({**_joint(scores, name, term), "unit": "F", "estimate": f, "p_value": p})
    if difference is not None and difference.good().any():
        at = np.flatnonzero(difference.good())
        adjusted = step_down(
            difference.theta[at], difference.z[:, at], df=joint_df(scores, by_level, at), form=form
        )
        out.append(
            {
                **_joint(scores, "all", term),
                "unit": "largest t",
                "estimate": float(np.fmax.reduce(_t(difference, at, scores))),
                "p_value": float(np.fmin.reduce(adjusted)),
            }
        )
    return out


def step_down_rows(scores: UnitScores, lines: Lines) -> list[dict[str, Any]]:
    """A row for every one of ``lines``: |t| and its step-down p value over all of them; term
    ``step_down:`` and the row's own."""
    at = np.flatnonzero(lines.good())
    if not at.size:
        return []
    form = scores.groups.form
    p = step_down(lines.theta[at], lines.z[:, at], df=joint_df(scores, lines, at), form=form)
    t = _t(lines, at, scores)
    return [
        {
            **lines.labels[i],
            "term": f"step_down:{lines.labels[i]['term']}",
            "unit": "t",
            "estimate": float(t[j]),
            "p_value": float(p[j]),
        }
        for j, i in enumerate(at)
    ]


def _t(lines: Lines, at: NDArray[np.int64], scores: UnitScores) -> NDArray[np.float64]:
    se = standard_errors(lines.z[:, at], scores.groups.form)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(se > 0, np.abs(lines.theta[at]) / se, np.nan))


def joint_df(scores: UnitScores, lines: Lines, at: NDArray[np.int64]) -> float:
    """Degrees of freedom of a joint test: groups less one, or the smallest arm of a row less one."""
    least = min(min(lines.labels[i]["n_treated"], lines.labels[i]["n_comparison"]) for i in at)
    return float(max(min(scores.groups.count, least) - 1, 1))


def _pooled_df(scores: UnitScores, lines: Lines, at: NDArray[np.int64]) -> float:
    """Of a test over programmes: their smallest cells together, as each estimates its own variances."""
    own = [
        min(lines.labels[i]["n_treated"] for i in at if lines.labels[i]["programme"] == a) - 1
        for a in {lines.labels[i]["programme"] for i in at}
    ]
    return float(max(min(scores.groups.count - 1, sum(own)), 1))


def counts_of_all(scores: UnitScores) -> dict[str, Any]:
    return {
        "n_treated": int((scores.arm > 0).sum()),
        "n_comparison": int((scores.arm == 0).sum()),
        "n_clusters": int(np.unique(scores.cluster).size),
    }


def _joint(scores: UnitScores, subgroup: str, term: str) -> Mapping[str, Any]:
    """Labels of a test over all programmes."""
    return {
        **counts_of_all(scores),
        "programme": "all",
        "comparator": scores.arms[0],
        "subgroup": subgroup,
        "term": term,
    }
