"""The drawing of how strong an unseen factor would have to be: contours of what it would leave.

Axes are the shares of the weights (who gets the programme) and of the outcome that it explains (Cinelli
& Hazlett 2020; Chernozhukov, Cinelli, Newey, Sharma & Syrgkanis 2022). An estimate theta becomes
theta - C S with C = sqrt(y d / (1 - d)), so that every contour is a curve y = C^2 (1 - d) / d and
nothing but released numbers is needed: S follows from the estimate and its robustness value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tiltakeval.disclosure.release import ReleasedChecks, require_released
from tiltakeval.report.canvas import (
    FAINT,
    GREY,
    INK,
    STYLE,
    Drawing,
    Floats,
    Look,
    new_axes,
    number_axis,
    rendered,
    shortened,
)
from tiltakeval.report.words import SCALE, Words

#: Yardsticks named in a drawing; the rest are marks without a name, and all are in the table.
NAMED = 4
#: And only those whose strength is at least this share of the strongest one's.
LEAST = 0.2


@dataclass(frozen=True)
class Known:
    """A yardstick: what it is called, and the shares of the weights and of the outcome it explains."""

    name: str
    weights: float
    outcome: float


@dataclass(frozen=True)
class Strength:
    """An effect, and the strengths C at which it, and its interval, reach zero (0: it isn't clear)."""

    estimate: float
    to_zero: float
    to_unclear: float

    @classmethod
    def of(cls, estimate: float, value: float, value_interval: float) -> Strength:
        """From the robustness values: the share r explained of both, C = r / sqrt(1 - r)."""
        return cls(estimate, *(r / np.sqrt(1.0 - r) for r in (value, value_interval)))

    def left(self, weights: float, outcome: float) -> float:
        """The estimate that a factor with these shares would leave, at worst."""
        c = np.sqrt(outcome * weights / (1.0 - weights))
        return float(self.estimate * (1.0 - c / self.to_zero))


def strength_contour(
    checks: ReleasedChecks,
    found: Strength,
    known: Sequence[Known],
    *,
    unit: str,
    words: Words,
    look: Look,
    key: str,
    alt: str,
) -> Drawing:
    """Contours of the estimate left, the one at zero and the one from where the effect isn't clear, and
    what is known as marks, the strongest ones named.

    ``checks`` is where the numbers come from; ``known`` in the order of importance.
    """
    require_released(checks, ReleasedChecks, "strength_contour")
    top = _extent(found, known)
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 250, (44, 36, 10, 8))
        axes.set_xlim(0.0, 100 * top)
        axes.set_ylim(0.0, 100 * top)
        axes.grid(color=FAINT, linewidth=0.4)
        axes.set_axisbelow(True)
        d = np.linspace(top / 400, top, 400)
        scale = SCALE.get(unit, 1.0)
        whole = scale * found.estimate
        levels = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(
            min(0, whole), max(0, whole)
        )
        inside = [level for level in levels if 0 < level / whole < 1]
        for level in inside:
            c = found.to_zero * (1.0 - level / whole)
            _curve(axes, d, c, top, color=GREY, linewidth=0.9)
            _level(axes, c, top, words.number(level, _decimals(inside)))
        if found.to_unclear > 0:
            _curve(axes, d, found.to_unclear, top, color=look.colour, linewidth=2.0, dashed=True)
        _curve(axes, d, found.to_zero, top, color=INK, linewidth=2.2)
        _marks(axes, known, top, look)
        number_axis(axes, words)
        number_axis(axes, words, "x")
        axes.set_xlabel(words("hidden.axis_weights"), labelpad=2)
        axes.set_ylabel(words("hidden.axis_outcome"), labelpad=2)
        return rendered(figure, key=key, alt=alt)


def _extent(found: Strength, known: Sequence[Known]) -> float:
    """The largest share drawn: the zero contour, and every yardstick that is no stronger than it."""
    both = found.to_zero**2
    value = 2 * both / (both + np.sqrt(both**2 + 4 * both))
    shares = [s for one in known for s in (one.weights, one.outcome) if s <= 3 * value]
    return float(min(0.98, max(1.45 * value, *(1.2 * s for s in shares), 0.01)))


def _curve(
    axes: Axes,
    d: Floats,
    c: float,
    top: float,
    *,
    color: str,
    linewidth: float,
    dashed: bool = False,
) -> None:
    y = c**2 * (1.0 - d) / d
    inside = y <= 1.02 * top
    style = (0, (5, 2.5)) if dashed else "-"
    axes.plot(100 * d[inside], 100 * y[inside], color=color, linewidth=linewidth, linestyle=style)


def _level(axes: Axes, c: float, top: float, text: str) -> None:
    """The level written on its contour near the upper edge, away from the yardsticks."""
    y = 0.94 * top
    d = c**2 / (c**2 + y)
    if 0.04 * top < d < 0.96 * top:
        axes.text(100 * d, 100 * y, text, fontsize=8.5, color=INK, va="center", ha="center",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip


def _decimals(levels: Sequence[float]) -> int:
    """Decimals that tell every level as it is, three at most."""
    return next((k for k in range(3) if np.allclose(levels, np.round(levels, k), atol=1e-9)), 3)


def _marks(axes: Axes, known: Sequence[Known], top: float, look: Look) -> None:
    """Yardsticks inside the drawing, the first ones named beside it with names kept apart."""
    seen = [one for one in known if one.weights <= top and one.outcome <= top]
    axes.plot([100 * one.weights for one in seen], [100 * one.outcome for one in seen], linestyle="none",
              marker=look.marker, markersize=6.5, color=look.colour, markeredgecolor="white",
              markeredgewidth=0.6, zorder=5, clip_on=False)  # fmt: skip
    last = -np.inf
    strongest = max((one.weights * one.outcome for one in seen), default=0.0)
    named = [one for one in seen[:NAMED] if one.weights * one.outcome > LEAST**2 * strongest]
    for one in sorted(named, key=lambda one: one.outcome):
        at = max(one.outcome / top + 0.035, last + 0.065)
        last = at
        right = one.weights < 0.55 * top
        axes.annotate(
            shortened(one.name, 26), (100 * one.weights, 100 * one.outcome),
            xytext=((one.weights / top) + (0.035 if right else -0.035), at), textcoords="axes fraction",
            ha="left" if right else "right", va="center", fontsize=9, zorder=6,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip
