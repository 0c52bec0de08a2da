"""Drawings of hazard models: ratios by stage and time, and by number of mass points. See figures.py."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from tiltakeval.disclosure.release import Released, require_released
from tiltakeval.report.canvas import (
    FAINT,
    GREY,
    INK,
    STYLE,
    Drawing,
    Floats,
    Look,
    new_axes,
    rendered,
)
from tiltakeval.report.words import Words

TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Intervals are drawn no further than this times, or one over it.
WIDEST = 12.0


def ratio_panel(
    released: Released,
    stages: Sequence[str],
    *,
    words: Words,
    look: Look,
    key: str,
    alt: str,
) -> Drawing:
    """A hazard ratio with its interval for every stage, one below another, on a log scale."""
    table = require_released(released, Released, "ratio_panel").table
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 40 + 24 * len(stages), (148, 34, 10, 6))
        y = np.arange(len(stages))[::-1].astype(float)
        low, high, point = (
            table[name].to_numpy(dtype="float64") for name in ("conf_low", "conf_high", "estimate")
        )
        bound = np.log(WIDEST)
        axes.hlines(y, np.clip(low, -bound, bound), np.clip(high, -bound, bound), color=look.colour,
                    linewidth=2, alpha=0.5)  # fmt: skip
        axes.plot(point, y, look.marker, color=look.colour, markersize=6.5, zorder=4)
        axes.set_yticks(y, stages)
        axes.set_ylim(-0.7, len(stages) - 0.3)
        axes.tick_params(axis="y", length=0)
        axes.axvline(0, color=INK, linewidth=1.0, zorder=2)
        _log_axis(axes, np.concatenate([low, high, [0.0]]), words, "x")
        axes.set_xlabel(words("hazards.axis"), labelpad=2)
        return rendered(figure, key=key, alt=alt)


def points_panel(
    released: Released,
    counts: Sequence[int],
    *,
    aic: int | None,
    words: Words,
    look: Look,
    key: str,
    alt: str,
) -> Drawing:
    """A hazard ratio with its interval by number of mass points, the lowest AIC marked."""
    table = require_released(released, Released, "points_panel").table
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 200, (44, 36, 8, 8))
        low, high, point = (
            table[name].to_numpy(dtype="float64") for name in ("conf_low", "conf_high", "estimate")
        )
        bound = np.log(WIDEST)
        at = np.asarray(counts, dtype=float)
        axes.vlines(at, np.clip(low, -bound, bound), np.clip(high, -bound, bound), color=look.colour,
                    linewidth=2, alpha=0.5)  # fmt: skip
        axes.plot(at, point, look.marker, color=look.colour, markersize=6.5, zorder=4)
        axes.axhline(0, color=INK, linewidth=1.0, zorder=2)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        _log_axis(axes, np.concatenate([low, high, [0.0]]), words, "y")
        axes.set_xlim(at.min() - 0.7, at.max() + 0.7)
        step = 1 if at.max() <= 10 else 2 if at.max() <= 20 else 5
        axes.set_xticks(np.arange(int(at.min()), at.max() + 0.5, step))
        axes.set_xlabel(words("hazards.points"), labelpad=2)
        if aic is not None and aic in counts:
            axes.axvline(aic, color=GREY, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1)
            axes.text(aic + 0.15, axes.get_ylim()[1], "AIC", va="top", ha="left", fontsize=9.5)
        return rendered(figure, key=key, alt=alt)


def _log_axis(axes: Axes, values: Floats, words: Words, which: str) -> None:
    """An axis of logs with ratios as ticks, wide enough for the values."""
    shown = values[np.isfinite(values)]
    bound = np.log(WIDEST)
    low, high = max(shown.min(), -bound) - 0.1, min(shown.max(), bound) + 0.1
    low, high = min(low, -np.log(2) - 0.1), max(high, np.log(2) + 0.1)
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    axis.set_major_locator(FixedLocator([np.log(t) for t in TICKS if low <= np.log(t) <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(
        FuncFormatter(lambda v, _: words.number(np.exp(v), 1 if v < 1.5 else 0))
    )
