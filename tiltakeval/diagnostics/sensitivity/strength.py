"""How strong an unseen factor is, in shares: the closed forms of omitted-variable bounds.

With C = |rho| sqrt(y d / (1 - d)), where ``y`` is the share of the residual variance of the outcome
that the factor explains, ``d`` the share of the variation of the full weights (Riesz representer)
that it adds, and ``rho`` how far the two go together, an effect is off by at most C S with
S = sigma nu: residual sd of the outcome times root mean square of the weights (Chernozhukov, Cinelli,
Newey, Sharma & Syrgkanis 2022, "Long Story Short", NBER 30302, theorem 2). Everything takes and
returns floats or arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiltakeval.errors import InputError

Floats = NDArray[np.floating]


def check_shares(*, y: ArrayLike = 0.0, d: ArrayLike = 0.0, rho: ArrayLike = 1.0) -> None:
    """Raise InputError unless 0 <= y <= 1, 0 <= d < 1 and -1 <= rho <= 1."""
    values = {"y": np.asarray(y), "d": np.asarray(d), "rho": np.asarray(rho)}
    for name, value in values.items():
        low, high = (-1.0, 1.0) if name == "rho" else (0.0, 1.0)
        outside = ~(np.isfinite(value) & (value >= low) & (value <= high))
        if outside.any() or (name == "d" and (value == 1.0).any()):
            span = "from -1 to 1" if name == "rho" else "at least 0 and at most 1"
            raise InputError(
                f"the strength of an unseen factor must be {'below 1' if name == 'd' else span}",
                where=name,
                remedy="Shares are numbers such as 0.05, not per cent.",
            )


def strength(y: ArrayLike, d: ArrayLike, rho: ArrayLike = 1.0) -> Any:
    """C of a factor with shares ``y`` and ``d``. Raises InputError for shares that aren't shares."""
    check_shares(y=y, d=d, rho=rho)
    y, d = np.asarray(y, dtype=np.float64), np.asarray(d, dtype=np.float64)
    return np.abs(rho) * np.sqrt(y * d / (1.0 - d))


def share_of(c: ArrayLike, rho: float = 1.0) -> Any:
    """The r at which a factor with y = d = r has strength ``c`` >= 0 (1 when no share is enough)."""
    c = np.asarray(c, dtype=np.float64)
    if rho == 0:
        return np.where(c > 0, 1.0, 0.0)[()]
    with np.errstate(over="ignore", invalid="ignore"):
        q = (c / abs(rho)) ** 2
        # 2q / (q + sqrt(q^2 + 4q)) is the root without cancellation, 1 in the limit
        found = 2.0 * q / (q + np.sqrt(q * q + 4.0 * q))
    return np.where(q > 0, np.where(np.isfinite(found), found, 1.0), 0.0)[()]


def bias_bound(*, sigma: float, nu: float, y: float, d: float) -> float:
    """Largest bias from a factor that explains shares ``y`` of the outcome and ``d`` of the weights."""
    return float(np.sqrt(y * d / (1 - d)) * sigma * nu)


def robustness_value(gap: float, *, sigma: float, nu: float) -> float:
    """The r at which sqrt(r * r / (1 - r)) sigma nu equals ``gap`` >= 0."""
    if sigma * nu <= 0:  # nothing is left for a hidden factor to explain
        return float(gap > 0)
    return float(share_of(max(gap, 0.0) / (sigma * nu)))


def strength_to_zero(
    gap: ArrayLike,
    scale: ArrayLike,
    *,
    own: ArrayLike,
    cross: ArrayLike,
    other: ArrayLike,
    t: ArrayLike,
) -> NDArray[np.float64]:
    """C at which the one-sided confidence bound of gap - C scale reaches zero; 0 where it is there now.

    ``gap`` >= 0 is the distance of the estimate from the null; ``own``, ``cross``, ``other`` are the
    variance of the gap, its covariance with the scale, and the variance of the scale; ``t`` the
    critical value.
    """
    gap, scale, own, cross, other, t = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in (gap, scale, own, cross, other, t))
    )
    # (gap - C scale)^2 = t^2 (own - 2 C cross + C^2 other), on the side where gap - C scale >= 0
    a = scale**2 - t**2 * other
    b = gap * scale - t**2 * cross
    c = gap**2 - t**2 * own
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.maximum(b * b - a * c, 0.0))
        found = np.where(b + root > 0, c / (b + root), np.inf)
        found = np.where(scale <= 0, np.inf, found)  # nothing is left for a hidden factor to move
    start = (gap > 0) & (c > 0)
    return np.asarray(np.where(start, found, 0.0), dtype=np.float64)


def times(c: ArrayLike, *, y: ArrayLike, d: ArrayLike) -> Any:
    """How many times as strong as a known factor with shares (y, d) an unseen one must be to reach C.

    The k at which strength(k y, k d) = c, with k y held at 1 beyond that; infinite for a known factor
    that explains nothing.
    """
    c, y, d = (np.asarray(v, dtype=np.float64) for v in (c, y, d))
    q = c * c
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # k^2 y d = q (1 - k d), the root without cancellation
        k = 2.0 * q / (q * d + np.sqrt((q * d) ** 2 + 4.0 * y * d * q))
        capped = q / (d * (1.0 + q))  # k d = q (1 - k d)
        k = np.where(k * y > 1.0, capped, k)
        k = np.where((y > 0) & (d > 0) & np.isfinite(c), k, np.inf)
    return np.where(q > 0, k, 0.0)[()]


def contour(
    estimate: float,
    scale: float,
    *,
    y: ArrayLike | None = None,
    d: ArrayLike | None = None,
    rho: float = 1.0,
) -> tuple[Floats, Floats, Floats]:
    """Grids y [k], d [m] and the estimate nearest zero that such factors allow, [k, m]: for a figure.

    The estimate moves towards, and past, zero by C ``scale``.
    """
    y = np.linspace(0.0, 0.5, 51) if y is None else np.asarray(y, dtype=np.float64)
    d = np.linspace(0.0, 0.5, 51) if d is None else np.asarray(d, dtype=np.float64)
    side = 1.0 if estimate >= 0 else -1.0
    return y, d, estimate - side * strength(y[:, None], d[None, :], rho) * scale
