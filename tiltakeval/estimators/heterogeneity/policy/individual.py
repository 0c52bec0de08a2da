"""Everyone's best arm within limits: an assignment problem solved by prices.

At the best prices everyone takes the arm with the largest gain less price, and only people at a margin
are undecided. Prices are found on the smoothed dual (softmax, falling temperature); the linear programme
is then solved for those at a margin alone, and its prices are checked against everyone else, so that the
result is that of the whole programme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tiltakeval.estimators.heterogeneity.policy.limits import Codes, Limit, bounds, loads
from tiltakeval.estimators.heterogeneity.policy.programme import divide

Floats = NDArray[np.floating]
TIE = 1e-9
CONTESTED = 400


@dataclass(frozen=True)
class Assignment:
    """``probability`` [n, A]: 0 or 1 but for at most one unit a limit; ``prices`` [K]; ``excess`` [K]
    by how much limits are passed that can't be kept (zeros as a rule)."""

    probability: NDArray[np.float64]
    prices: NDArray[np.float64]
    excess: NDArray[np.float64]


def best_of(gain: Floats, eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[n] the eligible arm with the largest gain; the first of equal ones."""
    return np.where(eligible, gain, -np.inf).argmax(axis=1).astype(np.int64)


def priced(gain: Floats, prices: Floats, load: Floats) -> NDArray[np.float64]:
    """[n, A] gains less what the limits charge."""
    charge = np.tensordot(prices, load, axes=1) if prices.size else 0.0
    return np.asarray(gain - charge, dtype=np.float64)


def assign(
    gain: Floats,
    *,
    eligible: NDArray[np.bool_],
    weight: Floats,
    limits: Sequence[Limit],
    codes: Codes,
    start: Floats | None = None,
    seed: int = 0,
) -> Assignment:
    """The assignment with the largest weighted sum of ``gain`` [n, A] within ``limits``.

    Everyone gets one eligible arm. Equal gains are told apart by lot (``seed``): people are taken in
    an order drawn at random, and gains changed by a thousand-millionth of their range. ``start`` prices
    save time. Raises InputError where arm 0 is
    barred to anybody or the programme can't be solved.
    """
    n, arms = gain.shape
    w = weight / weight.sum()
    if not limits:
        return Assignment(np.eye(arms)[best_of(gain, eligible)], np.empty(0), np.empty(0))
    span = max(float(np.ptp(gain[eligible])), 1e-12)
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    gain, eligible, w = gain[order], eligible[order], w[order]
    codes = {name: values[order] for name, values in codes.items()}
    lot = rng.random(gain.shape)
    lot[:, 0] = 0.0
    g = np.where(eligible, gain - TIE * span * lot, -np.inf)
    load, bound = loads(limits, codes, eligible), bounds(limits)
    prices = _smoothed(g, w, load, bound, span, start)
    few = min(n, CONTESTED + 20 * len(limits))
    inside = np.zeros(n, dtype=bool)
    inside[np.argsort(_margin(priced(g, prices, load)), kind="stable")[:few]] = True
    while True:
        chosen = priced(g, prices, load).argmax(axis=1)
        out = np.zeros((n, arms))
        outside = np.flatnonzero(~inside)
        out[outside, chosen[outside]] = 1.0
        spent = np.einsum("i,kia,ia->k", w[outside], load[:, outside], out[outside])
        wi = w[inside, None]
        allowed = eligible[inside]
        reward = np.where(allowed, g[inside], 0.0) * wi
        found = divide(reward, load[:, inside] * wi, bound - spent, allowed)
        out[inside] = found.share
        again = priced(g, found.prices, load)
        wrong = again[outside].max(axis=1) > again[outside, chosen[outside]] + 10 * TIE * span
        passed = (found.excess > 1e-9 * np.maximum(np.abs(bound), 1e-3)).any()
        if inside.all() or not (wrong.any() or passed):
            back = np.empty_like(out)
            back[order] = out
            return Assignment(back, found.prices, found.excess)
        if passed:
            more = np.argsort(np.where(inside, np.inf, _margin(again)), kind="stable")
            inside[more[: 3 * int(inside.sum())]] = True
        inside[outside[wrong]] = True
        prices = prices if passed else found.prices


def _margin(g: Floats) -> NDArray[np.float64]:
    """[n] how much the best arm is better than the next."""
    two = np.sort(g, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def _smoothed(
    g: Floats, w: Floats, load: Floats, bound: Floats, span: float, start: Floats | None
) -> NDArray[np.float64]:
    """[K] prices minimising the dual with a softmax in place of the maximum."""
    unit = np.maximum(np.abs(load).reshape(len(load), -1).max(axis=1), 1e-12)
    scaled, limit = load / unit[:, None, None], bound / unit
    prices = np.zeros(bound.size) if start is None else start * unit

    def dual(theta: Floats, temperature: float) -> tuple[float, Floats]:
        net = g - np.tensordot(theta, scaled, axes=1)
        top = net.max(axis=1, keepdims=True)
        parts = np.exp((net - top) / temperature)
        total = parts.sum(axis=1, keepdims=True)
        value = w @ (top[:, 0] + temperature * np.log(total[:, 0])) + theta @ limit
        used = np.tensordot(scaled, parts / total * w[:, None], axes=2)
        return float(value) / span, (limit - used) / span

    for temperature in (0.1, 0.01, 0.001)[0 if start is None else 2 :]:
        prices = minimize(
            dual,
            prices,
            args=(temperature * span,),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, None)] * bound.size,
            options={"maxiter": 60},
        ).x
    return np.asarray(prices / unit)
