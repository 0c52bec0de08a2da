"""Drawings along a number: effects by dose, treatment received by time. See figures.py."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tiltakeval.disclosure.release import Released, require_released
from tiltakeval.report.canvas import (
    FAINT,
    INK,
    STYLE,
    Drawing,
    Limits,
    Look,
    new_axes,
    number_axis,
    rendered,
    scaled,
)
from tiltakeval.report.words import Words


def dose_panel(
    released: Released,
    doses: Sequence[float],
    *,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    axis: str,
    limits: Limits | None = None,
) -> Drawing:
    """Effects by dose (``doses``, one a row, called ``axis``) with pointwise intervals and a band for
    the whole curve."""
    table = require_released(released, Released, "dose_panel").table
    unit = str(table["unit"].iloc[0])
    order = np.argsort(doses, kind="stable")
    at = np.asarray(doses, dtype=np.float64)[order]
    rows = table.iloc[order]
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 215, (48, 36, 8, 8))
        if limits is not None:
            axes.set_ylim(*limits)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.axhline(0, color=INK, linewidth=1.0)
        for names, opacity in (
            (("band_low", "band_high"), 0.16),
            (("conf_low", "conf_high"), 0.34),
        ):
            low, high = scaled(rows, unit, names)
            axes.fill_between(at, low, high, color=look.colour, alpha=opacity, linewidth=0)
        (line,) = scaled(rows, unit, ("estimate",))
        axes.plot(at, line, color=look.colour, linewidth=2, zorder=4)
        axes.plot(
            at, line, linestyle="none", marker=look.marker, color=look.colour, markersize=6,
            markeredgecolor="white", markeredgewidth=0.6, zorder=5,
        )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value, words)))
        number_axis(axes, words)
        axes.set_xlabel(axis, labelpad=2)
        return rendered(figure, key=key, alt=alt)


def received_panel(
    at: Sequence[float], now: Sequence[float], *, words: Words, look: Look, key: str, alt: str
) -> Drawing:
    """Mean treatment beyond the starting point by time since the change, as steps."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 170, (48, 36, 8, 8))
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.axhline(0, color=INK, linewidth=1.0)
        axes.plot(at, now, color=look.colour, linewidth=1.6)
        axes.plot(
            at, now, linestyle="none", marker=look.marker, color=look.colour, markersize=6,
            markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
        axes.set_ylim(min(0.0, *now) - 0.02, 1.1 * max(0.0, *now) + 0.02)
        axes.set_xlim(float(min(at)) - 0.7, float(max(at)) + 0.7)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
        number_axis(axes, words)
        axes.set_xlabel(words("figure.months_start_paths"), labelpad=2)
        return rendered(figure, key=key, alt=alt)


def _plain(value: float, words: Words) -> str:
    """A number with the decimals it needs, at most two."""
    decimals = next((n for n in (0, 1) if abs(value - round(value, n)) < 1e-9), 2)
    return words.number(value, decimals)
