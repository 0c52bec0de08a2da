"""Intervals where the difference in trends bends by at most M a period.

Rambachan & Roth (2023), section 2.4.2 and 3.2: Delta^SD(M) = {delta: |delta_t+1 - 2 delta_t +
delta_t-1| <= M} with delta = 0 in the base period, and fixed-length confidence intervals around
an estimate that is linear in all coefficients, chosen to be shortest (Donoho 1994; Armstrong &
Kolesar 2018).

With slope s and bends d_k (k = -K+1, ..., P-1), delta_t = t s + sum of (|t| - |k|) d_k over the k
between 0 and t. An estimate l'beta + v'beta_before has a bounded bias only if it doesn't move
with s, and is then biased by at most M (C + sum |a_j|), where C comes from l alone and a_j = sum
over m > j of (m - j) v_-m are free for j = 1, ..., K-1. The least variance for each sum |a_j| is
a lasso, whose path is followed exactly (Osborne, Presnell & Turlach 2000); the interval's half
length is minimised along it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from tiltakeval.diagnostics.honest.event_study import EventStudy, require_full_rank
from tiltakeval.diagnostics.honest.relative import Interval
from tiltakeval.errors import InputError

Floats = NDArray[np.floating]


def smooth_interval(study: EventStudy, m: float, *, level: float = 0.95) -> Interval:
    """The shortest fixed-length interval of the target under Delta^SD(``m``).

    ``m`` is in the outcome's unit per period squared; m = 0 takes the difference in trends to be a
    straight line. The ``estimate`` is linear in the event study with ``weights``. Raises InputError
    for a singular covariance before treatment.
    """
    if not (np.isfinite(m) and m >= 0):
        raise InputError("M is a finite number, at least 0", where="M")
    if not 0.5 < level < 1:
        raise InputError("the level must lie between 0.5 and 1", where="level")
    require_full_rank(study, "smoothness")
    k, p, alpha = study.before, study.after, 1.0 - level
    later = np.arange(1, p + 1)
    bends = np.clip(later[None, :] - np.arange(p)[:, None], 0, None) @ study.weights
    always = float(np.abs(bends).sum())
    # v_-m = a_m-1 - 2 a_m + a_m+1 with a_0 = sum of t l_t; columns by time: -K, ..., -1
    start = float(later @ study.weights)
    free = np.zeros((study.beta.size, k - 1))
    for j in range(1, k):
        for back, value in ((j - 1, 1.0), (j, -2.0), (j + 1, 1.0)):
            if back >= 1:
                free[k - back, j - 1] += value
    fixed = study.target.copy()
    fixed[k - 1] += start
    q = free.T @ study.sigma @ free
    linear = free.T @ study.sigma @ fixed
    constant = float(fixed @ study.sigma @ fixed)

    def half(a: Floats) -> float:
        sd = float(np.sqrt(max(constant + float((2 * linear + q @ a) @ a), 0.0)))
        return half_length(m * (always + float(np.abs(a).sum())), sd, alpha)

    where = np.zeros(k - 1)
    best = half(where)
    for left, right in _path(q, linear):

        def along(share: float, left: Floats = left, right: Floats = right) -> float:
            return half(left + share * (right - left))

        found = optimize.minimize_scalar(
            along, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-9}
        )
        for share in (0.0, 1.0, float(found.x)):
            value = along(share)
            if value < best:
                best, where = value, left + share * (right - left)
    weights = fixed + free @ where
    centre = float(weights @ study.beta)
    return Interval(
        centre - best,
        centre + best,
        centre,
        float(np.sqrt(weights @ study.sigma @ weights)),
        weights,
        m * (always + float(np.abs(where).sum())),
    )


def half_length(bias: float, sd: float, alpha: float) -> float:
    """The 1 - ``alpha`` quantile of |N(bias, sd^2)|, by Newton's method."""
    if sd <= 0:
        return bias
    b = abs(bias) / sd
    c = b - float(special.ndtri(alpha))  # where only the upper tail counts: exact for a large b
    if b < 1:
        c = -float(special.ndtri(alpha / 2)) + b
    for _ in range(60):
        # 1 - P(|N| <= c) is convex beyond b, so that steps from its right overshoot once at most
        over = special.ndtr(b - c) + special.ndtr(-b - c) - alpha
        slope = (np.exp(-0.5 * (c - b) ** 2) + np.exp(-0.5 * (c + b) ** 2)) / np.sqrt(2 * np.pi)
        step = over / slope
        c += step
        if abs(step) < 1e-13 * c:
            break
    return float(c * sd)


def _path(q: Floats, linear: Floats) -> Iterator[tuple[Floats, Floats]]:
    """The pieces of min a'Qa / 2 + linear'a + penalty sum |a|, from a = 0 to no penalty."""
    size = linear.size
    if size == 0 or not linear.any():
        return
    a = np.zeros(size)
    penalty = float(np.abs(linear).max())
    active = np.zeros(size, dtype=bool)
    sign = np.zeros(size)
    joining = int(np.abs(linear).argmax())
    active[joining], sign[joining] = True, -np.sign(linear[joining])
    for _ in range(50 * size):
        if penalty <= 0:
            return
        on = np.flatnonzero(active)
        direction = np.zeros(size)  # the change of a as the penalty falls by one
        direction[on] = np.linalg.solve(q[np.ix_(on, on)], sign[on])
        gradient, change = linear + q @ a, q @ direction
        best, event = penalty, (-1, 0.0)
        for i in range(size):
            if active[i]:  # reaches zero and leaves
                if direction[i] * sign[i] < 0:
                    step = -a[i] / direction[i]
                    if 1e-14 * penalty < step < best:
                        best, event = step, (i, 0.0)
            else:  # its gradient reaches the penalty and it joins
                for side in (1.0, -1.0):
                    speed = side * change[i] + 1.0
                    if speed > 1e-14:
                        step = (penalty - side * gradient[i]) / speed
                        if 1e-12 * penalty < step < best:
                            best, event = step, (i, -side)
        new = a + best * direction
        if event[0] >= 0 and event[1] == 0.0:
            new[event[0]] = 0.0
        yield a, new
        a, penalty = new, penalty - best
        if event[0] < 0:
            return
        active[event[0]], sign[event[0]] = event[1] != 0.0, event[1]
