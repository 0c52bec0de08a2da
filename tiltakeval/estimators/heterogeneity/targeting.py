"""Does a ranking find those who gain most? The targeting curve (TOC) and its area (RATE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.heterogeneity.calibration import one_sided
from tiltakeval.estimators.heterogeneity.ranked import check_cate, shares_between
from tiltakeval.estimators.heterogeneity.rows import Lines, label_of, over_splits, support
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def targeting(
    scores: UnitScores, priority: Floats, *, shares: Sequence[float] = SHARES
) -> tuple[Lines, list[dict[str, Any]]]:
    """TOC, AUTOC and Qini of every programme when units are ranked by ``priority`` [n, A - 1].

    TOC(q) is the mean effect among the share q ranked first less the mean effect of all; AUTOC its
    area, Qini that of q TOC(q) (Yadlowsky, Fleming, Shah, Brunskill & Wager 2025, Journal of the
    American Statistical Association 120:38-51). Rows: term ``toc`` with subgroup ``ranked_first=10%``,
    ``autoc``, ``qini``; one-sided tests of AUTOC and Qini, adjusted for the number of programmes. The
    ranking must come from other units (out of fold) and is taken as given; its ranks within folds are
    estimated, and their part is in the influence.
    """
    order = check_cate(scores, priority)
    known = np.isfinite(order[:, 0])
    arms = range(1, len(scores.arms))
    per_arm = [(f"ranked_first={round(100 * q)}%", "toc") for q in shares]
    per_arm += [("all", "autoc"), ("all", "qini")]
    labels = [
        label_of(scores, a, subgroup=name, term=term, **support(scores, known, a))
        for a in arms
        for name, term in per_arm
    ]

    def compute(split: UnitScores) -> tuple[Floats, Floats]:
        w = split.weight * known
        n, d = split.all_scores()
        thetas, values = [], []
        for j in range(len(arms)):
            between = shares_between(scores, order[:, j], w * d[:, j])
            theta, each = _curve(between[known], n[known, j], w[known], shares, d[known, j])
            thetas.append(theta)
            full = np.zeros((scores.n, theta.size))
            full[known] = each
            values.append(full)
        return np.concatenate(thetas), np.hstack(values)

    theta, z = over_splits(scores, compute)
    lines = Lines(tuple(labels), theta, z)
    k = len(per_arm)
    tests = [
        *one_sided(scores, lines, range(k - 2, len(labels), k)),
        *one_sided(scores, lines, range(k - 1, len(labels), k)),
    ]
    return lines, tests


def by_need(scores: UnitScores, cate: Floats) -> tuple[Lines, list[dict[str, Any]]]:
    """The same when those with the lowest predicted outcome without a programme come first, and whether
    ranking by predicted effect ``cate`` does better.

    Rows ``toc_need``, ``autoc_need``, ``qini_need``, and of both areas ``..._effect_less_need``, on the
    same units. Outcomes are predicted from comparison units of other folds
    (``sorting.by_predicted_outcome``).
    """
    known = np.isfinite(check_cate(scores, cate)).all(axis=1)
    lowest = np.where(known, -scores.fitted[:, 0], np.nan)
    need, tests = targeting(scores, np.repeat(lowest[:, None], len(scores.arms) - 1, axis=1))
    effect, _ = targeting(scores, cate)
    labels = tuple({**row, "term": f"{row['term']}_need"} for row in need.labels)
    areas = [i for i, row in enumerate(need.labels) if row["term"] != "toc"]
    less = Lines(
        tuple(
            {**need.labels[i], "term": f"{need.labels[i]['term']}_effect_less_need"} for i in areas
        ),
        effect.theta[areas] - need.theta[areas],
        effect.z[:, areas] - need.z[:, areas],
    )
    lines = Lines(
        (*labels, *less.labels),
        np.concatenate([need.theta, less.theta]),
        np.hstack([need.z, less.z]),
    )
    return lines, [{**row, "term": f"{row['term']}_need"} for row in tests]


def _curve(
    between: Floats, n: Floats, weight: Floats, shares: Sequence[float], d: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """TOC at every share, AUTOC, Qini, and the influence [n, S + 2] of units ranked ``between`` [n, 2].

    With y centred at its mean, TOC(q) = E[y 1{u <= q}] / q, whose influence is
    ((y - m(q)) 1{u <= q} + q m(q)) / q - y, m(q) the mean of y at rank q: who is ranked first changes
    with everybody else. AUTOC = E[-y log u], Qini = E[y (1 - u)], with the same part from the ranks. The
    mean at a rank is smoothed over neighbours. Units of one rank are in any share as far as it reaches.
    Of scores ``n`` with denominators ``d``: means are ratios, ranks those among units with d.
    """
    s = weight / (weight @ d)
    # a unit that isn't described itself (d = 0) has a rank, but no place of its own
    least = 0.5 * float((s * d)[s * d > 0].min())
    start, stop = np.clip(between.T, 0.0, 1.0)
    width = stop - start
    u = np.maximum((start + stop) / 2, least)
    y = n - d * (s @ n)
    order = np.argsort(u, kind="stable")
    su, sd = u[order], (s * d)[order]
    near = _smooth(s[order] * y[order], sd)
    theta = np.empty(len(shares) + 2)
    values = np.empty((u.size, len(shares) + 2))
    for i, q in enumerate(shares):
        first = np.where(
            width > 0, np.clip((q - start) / np.where(width > 0, width, 1.0), 0.0, 1.0), u <= q
        )
        level = float(np.interp(q, su, near))
        theta[i] = (s * first) @ y / q
        values[:, i] = ((y - d * level) * first + d * q * level) / q - y - d * theta[i]
    # sum over q >= u of m(q) / q (or m(q)) dq: the part of u's own rank in the ranks of those below
    logs = [end * np.log(np.maximum(end, 1e-300)) for end in (start, stop)]
    safe = np.where(width > 0, width, 1.0)
    log_mean = np.where(width > 0, 1.0 - (logs[1] - logs[0]) / safe, -np.log(u))
    for i, (weights, slope) in enumerate(((log_mean, 1.0 / su), (1.0 - u, np.ones(su.size)))):
        at = len(shares) + i
        below = np.empty(u.size)
        below[order] = np.cumsum((near * slope * sd)[::-1])[::-1]
        mean_below = (s * d) @ below
        theta[at] = s @ (weights * y)
        centre = float((s * d) @ weights)
        values[:, at] = weights * y - d * (theta[at] + below - mean_below) - centre * y
    # ranks are dealt within folds, which leaves a little of the mean
    return theta, (values - d[:, None] * (s @ values)) * s[:, None]


def _smooth(sy: Floats, s: Floats) -> NDArray[np.float64]:
    """Running mean, of sums ``sy`` over weights ``s``, over about a tenth of the units; the ends use
    what there is."""
    n = sy.size
    half = max(1, n // 20)
    total = np.concatenate([[0.0], np.cumsum(sy)])
    mass = np.concatenate([[0.0], np.cumsum(s)])
    low = np.maximum(np.arange(n) - half, 0)
    high = np.minimum(np.arange(n) + half + 1, n)
    held = mass[high] - mass[low]
    return np.asarray((total[high] - total[low]) / np.where(held > 0, held, 1.0))
