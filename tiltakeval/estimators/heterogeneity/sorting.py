"""Effects sorted by a prediction: by groups of predicted effect, who is most and least affected, and by
predicted outcome without a programme."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.gate import group_effects
from tiltakeval.estimators.heterogeneity.ranked import check_cate, share_above
from tiltakeval.estimators.heterogeneity.rows import (
    Lines,
    label_of,
    mean_of,
    over_splits,
    support,
    supported,
)
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]


def sorted_effects(scores: UnitScores, cate: Floats, *, groups: int = 5) -> Lines:
    """Effects of every programme in equal groups by its own predicted effect, 1 the smallest.

    Ranked within folds (sorted group effects: Chernozhukov, Demirer, Duflo & Fernandez-Val 2018, with
    doubly robust scores). ``cate`` must come from other units, and for valid errors from the folds
    before (``dr_learner``'s ``sequential``): predictions from all other folds have fitted the errors of
    the units they are compared on, fold against fold. A last row per programme is the difference of
    the last and the first group.
    """
    tau = check_cate(scores, cate)
    parts = []
    for a in range(1, len(scores.arms)):
        member = _groups(scores, tau[:, a - 1], groups, a)
        names = [f"predicted_effect={g + 1}/{groups}" for g in range(groups)]
        found = group_effects(scores, member=member, names=names, term="sorted_effect")
        own = [i for i, row in enumerate(found.labels) if row["programme"] == scores.arms[a]]
        mine = found.combine(np.eye(len(found))[own], [found.labels[i] for i in own])
        parts.append(with_difference(mine, "predicted_effect", "sorted_effect_difference"))
    return stacked(parts, family="over predicted effect, programme")


def by_predicted_outcome(scores: UnitScores, *, groups: int = 3) -> Lines:
    """Effects in equal groups by the outcome predicted without a programme, 1 the smallest.

    Predictions come from comparison units of other folds: with predictions from the same units, those
    who did badly by chance look like those with poor prospects (Abadie, Chingos & West 2018, Review of
    Economics and Statistics 100:567-580). A last row per programme: last group less first.
    """
    names = [f"predicted_outcome={g + 1}/{groups}" for g in range(groups)]
    parts = []
    for a, name in enumerate(scores.arms[1:], 1):
        if a == 1 or scores.target == "treated":  # else the same people are described
            member = _groups(scores, scores.fitted[:, 0], groups, a)
            found = group_effects(scores, member=member, names=names, term="effect")
        own = [i for i, row in enumerate(found.labels) if row["programme"] == name]
        mine = found.combine(np.eye(len(found))[own], [found.labels[i] for i in own])
        parts.append(with_difference(mine, "predicted_outcome", "effect_difference"))
    return stacked(parts, family="over predicted outcome, programme")


def classification(
    scores: UnitScores, cate: Floats, *, covariates: Sequence[str] = (), share: float = 0.2
) -> Lines:
    """Mean covariates of the ``share`` most and least affected by every programme, and differences.

    Rows have the covariate as outcome, the outcome affected as period, and terms ``mean_most``,
    ``mean_least``, ``mean_difference`` (classification analysis: Chernozhukov, Demirer, Duflo &
    Fernandez-Val 2018). Who belongs to a group is taken as predicted: it describes the prediction, not
    the unknown effects.
    """
    if not 0 < share <= 0.5:
        raise InputError("the share must be above 0 and at most a half", where="share")
    names = list(covariates) or list(scores.names)
    for name in names:
        if name not in scores.names:
            raise unknown("covariate", name, scores.names, where="classification")
    tau = check_cate(scores, cate)
    x = scores.x[:, [scores.names.index(name) for name in names]]
    parts = []
    for a in range(1, len(scores.arms)):
        d = scores.scores_of(a)[1]
        u = share_above(scores, tau[:, a - 1], scores.weight * d)
        most, least = u <= share, u > 1 - share
        theta, z = over_splits(scores, lambda s, m=most * d: mean_of(s.weight * m, x))  # type: ignore[misc]
        low, low_z = over_splits(scores, lambda s, m=least * d: mean_of(s.weight * m, x))  # type: ignore[misc]
        for term, member, point, influence in (
            ("mean_most", most, theta, z),
            ("mean_least", least, low, low_z),
            ("mean_difference", most | least, theta - low, z - low_z),
        ):
            support_of = support(scores, member, a)
            label = label_of(scores, a, term=term, unit="mean", subgroup="all", **support_of)
            if not supported(label):
                point, influence = np.full(len(names), np.nan), np.zeros(influence.shape)
            of = {"period": scores.labels.outcome}  # whose effects most and least are of
            rows = tuple({**label, **of, "outcome": name} for name in names)
            parts.append(Lines(rows, point, influence))
    return stacked(parts)


def with_difference(lines: Lines, name: str, term: str) -> Lines:
    """``lines`` and a row with the last less the first."""
    first, last = lines.labels[0], lines.labels[-1]
    counts = {k: min(first[k], last[k]) for k in ("n_treated", "n_comparison", "n_effective")}
    label = {
        **last,
        **counts,
        "n_clusters": first["n_clusters"] + last["n_clusters"],
        "subgroup": f"{name}=last-first",
        "term": term,
    }
    return Lines(
        (*lines.labels, label),
        np.append(lines.theta, lines.theta[-1] - lines.theta[0]),
        np.column_stack([lines.z, lines.z[:, -1] - lines.z[:, 0]]),
        lines.family,
    )


def stacked(parts: Sequence[Lines], family: str | None = None) -> Lines:
    """Lines below one another (one family, the first's unless given)."""
    return Lines(
        tuple(label for part in parts for label in part.labels),
        np.concatenate([part.theta for part in parts]),
        np.hstack([part.z for part in parts]),
        (parts[0].family if parts else "") if family is None else family,
    )


def _groups(scores: UnitScores, value: Floats, groups: int, a: int) -> NDArray[np.bool_]:
    """[n, groups] equal groups, from the smallest to the largest value, of those described by the effect
    of programme ``a``, within folds; others are where they would be."""
    if groups < 2:
        raise InputError("at least two groups are needed", where="groups")
    u = 1.0 - share_above(scores, value, scores.weight * scores.scores_of(a)[1])
    number = np.clip(np.floor(np.nan_to_num(u) * groups), 0, groups - 1)
    return np.asarray((number[:, None] == np.arange(groups)) & np.isfinite(u)[:, None])
