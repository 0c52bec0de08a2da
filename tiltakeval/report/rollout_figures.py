"""Drawings of roll-outs: starts, event study, group-time heat map, sensitivity. See figures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tiltakeval.disclosure.release import Released, require_released
from tiltakeval.report.canvas import (
    FAINT,
    GREY,
    INK,
    STYLE,
    Drawing,
    Floats,
    Limits,
    Look,
    new_axes,
    number_axis,
    rendered,
    scaled,
    shortened,
)
from tiltakeval.report.words import SCALE, Words

#: Up to so many event times are drawn as points with bars, more as a line with areas.
POINTS = 30
#: Numbers are printed in a heat map of up to so many columns.
NUMBERED = 10
PALE = "#eceef0"
_DIVERGING = LinearSegmentedColormap.from_list(
    "tiltakeval", ["#8a3b00", "#e8a36b", "#f7f7f7", "#7fb0e6", "#154f92"]
)


def starts_panel(
    released: Released, names: Sequence[str], *, words: Words, look: Look, key: str, alt: str
) -> Drawing:
    """Units of every cohort as bars, by start; ``names`` are the cohorts of the rows."""
    table = require_released(released, Released, "starts_panel").table
    counts = table["n_treated"].astype("float64").to_numpy(dtype="float64")
    place = np.arange(len(table))[::-1].astype(float)
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 44 + 20 * len(table), (76, 34, 34, 6))
        axes.barh(place, np.nan_to_num(counts), color=look.colour, height=0.62)
        for at, count in zip(place, counts):
            shown = np.isfinite(count)
            text = words.number(count) if shown else words("figure.hidden")
            axes.annotate(
                text, (count if shown else 0, at), xytext=(4, 0), textcoords="offset points",
                va="center", fontsize=9.5,
            )  # fmt: skip
        axes.set_ylim(-0.6, len(table) - 0.4)
        axes.set_xlim(left=0)
        axes.set_yticks(place, [shortened(name, 12) for name in names])
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
        axes.set_xlabel(words("rollout.units_axis"), labelpad=2)
        return rendered(figure, key=key, alt=alt)


def event_panel(
    released: Released,
    *,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    limits: Limits | None = None,
    truth: Released | None = None,
    base: int | None = None,
    line: bool = False,
    axis: str = "figure.months_start",
    before: str = "figure.before",
) -> Drawing:
    """Effects by time since the start with pointwise interval and simultaneous band; periods before it
    are hollow on grey. ``base`` is the period all are measured from, drawn at zero. Many
    times, or ``line``, are drawn as a line with areas. ``axis`` and ``before`` are texts' keys."""
    table = require_released(released, Released, "event_panel").table
    table = table[table["horizon"].notna()].sort_values("horizon")
    unit = str(table["unit"].iloc[0])
    at = table["horizon"].to_numpy(dtype="float64")
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 225, (48, 36, 8, 8))
        if limits is not None:
            axes.set_ylim(*limits)
        _time_axis(axes, at, words, axis, before)
        if at.size <= POINTS and not line:
            _points(axes, table, unit, look)
        else:
            _areas(axes, table, unit, look)
        if base is not None:
            axes.plot([base], [0], "s", color="white", markeredgecolor=INK, markersize=6, zorder=5)
        if truth is not None:
            rows = require_released(truth, Released, "event_panel").table.sort_values("horizon")
            (known,) = scaled(rows, unit, ("estimate",))
            months = rows["horizon"].to_numpy(dtype="float64")
            axes.plot(months, known, color=INK, linewidth=1.3, linestyle=(0, (5, 2.5)), zorder=6)
        number_axis(axes, words)
        return rendered(figure, key=key, alt=alt)


def _time_axis(axes: Axes, at: Floats, words: Words, axis: str, before: str) -> None:
    low, high = float(at.min()) - 0.7, float(at.max()) + 0.7
    axes.set_xlim(low, high)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axhline(0, color=INK, linewidth=1.0, zorder=2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, steps=[1, 2, 3, 4, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
    axes.set_xlabel(words(axis), labelpad=2)
    if at.min() < 0:
        axes.axvspan(low, -0.5, color=PALE, linewidth=0, zorder=0)
        axes.axvline(-0.5, color=GREY, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1)
        axes.text(
            low + 0.01 * (high - low), 0.985, words(before), va="top", ha="left",
            fontsize=9.5, transform=axes.get_xaxis_transform(),
        )  # fmt: skip


def _points(axes: Axes, table: pd.DataFrame, unit: str, look: Look) -> None:
    at = table["horizon"].to_numpy(dtype="float64")
    estimate, low, high, wide_low, wide_high = scaled(
        table, unit, ("estimate", "conf_low", "conf_high", "band_low", "band_high")
    )
    axes.vlines(at, wide_low, wide_high, color=look.colour, alpha=0.3, linewidth=7)
    axes.vlines(at, low, high, color=look.colour, linewidth=1.8)
    for part, face in ((at < 0, "white"), (at >= 0, look.colour)):
        axes.plot(
            at[part], estimate[part], linestyle="none", marker=look.marker, markersize=6.5,
            markerfacecolor=face, markeredgecolor=look.colour, markeredgewidth=1.4, zorder=4,
        )  # fmt: skip


def _areas(axes: Axes, table: pd.DataFrame, unit: str, look: Look) -> None:
    for _, part in table.groupby(table["horizon"] < 0, sort=True):
        at = part["horizon"].to_numpy(dtype="float64")
        for names, opacity in (
            (("band_low", "band_high"), 0.16),
            (("conf_low", "conf_high"), 0.34),
        ):
            low, high = scaled(part, unit, names)
            axes.fill_between(at, low, high, color=look.colour, alpha=opacity, linewidth=0)
        (line,) = scaled(part, unit, ("estimate",))
        axes.plot(at, line, color=look.colour, linewidth=2, zorder=4)


def heat_map(
    released: Released, *, words: Words, key: str, alt: str, names: Mapping[str, str] | None = None
) -> Drawing:
    """Effects by cohort (rows, called by ``names``) and period (columns): colour by size, a dot where
    the interval excludes zero, a line where treatment starts; hatched where there is no number."""
    table = require_released(released, Released, "heat_map").table
    unit = str(table["unit"].iloc[0])
    cohorts, periods = (
        sorted(set(table["cohort"]), key=_order),
        sorted(set(table["period"]), key=_order),
    )
    shape = (len(cohorts), len(periods))
    row = table["cohort"].map({c: i for i, c in enumerate(cohorts)}).to_numpy()
    column = table["period"].map({p: i for i, p in enumerate(periods)}).to_numpy()
    value, low, high = (np.full(shape, np.nan) for _ in range(3))
    for grid, name in ((value, "estimate"), (low, "conf_low"), (high, "conf_high")):
        grid[row, column] = scaled(table, unit, (name,))[0]
    known = np.zeros(shape, dtype=bool)
    known[row, column] = True
    after = np.zeros(shape, dtype=bool)
    after[row, column] = (table["horizon"] >= 0).fillna(False).to_numpy(dtype=bool)
    most = float(np.nanmax(np.abs(value))) if np.isfinite(value).any() else 1.0
    most = most or 1.0
    height = max(20, min(30, 240 // max(len(cohorts), 1)))
    with mpl.rc_context(STYLE):
        called = [(names or {}).get(c, c) for c in cohorts]
        side = 58 if max(map(len, called)) <= 9 else 88
        figure, axes = new_axes(340, 74 + height * len(cohorts), (side, 62, 6, 4))
        axes.imshow(value, cmap=_DIVERGING, vmin=-most, vmax=most, aspect="auto")
        _marks(axes, value, (low > 0) | (high < 0), known, most, words, unit)
        for i in range(shape[0]):
            first = np.flatnonzero(after[i])
            if first.size:
                axes.plot([first[0] - 0.5] * 2, [i - 0.5, i + 0.5], color=INK, linewidth=2.4)
        axes.set_yticks(range(shape[0]), [shortened(c, 9 if side == 58 else 15) for c in called])
        step = -(-len(periods) // 6)
        shown = range(0, len(periods), step)
        axes.set_xticks(shown, [shortened(periods[i], 9) for i in shown])
        axes.tick_params(length=0, labelsize=9.5)
        axes.set_ylim(shape[0] - 0.5, -0.5)
        for spine in axes.spines.values():
            spine.set_visible(False)
        _scale(axes, most, words, unit, 74 + height * len(cohorts), side)
        return rendered(figure, key=key, alt=alt)


def _order(label: str) -> tuple[int, float, str]:
    """Periods in order: whole numbers as numbers, months as text."""
    try:
        return (0, float(label.split(" ")[0]), label)
    except ValueError:
        return (1, 0.0, label)


def _marks(
    axes: Axes,
    value: Floats,
    clear: np.ndarray,
    known: np.ndarray,
    most: float,
    words: Words,
    unit: str,
) -> None:
    for i, j in np.argwhere(known & ~np.isfinite(value)):
        axes.add_patch(
            mpl.patches.Rectangle(
                (j - 0.5, i - 0.5), 1, 1, facecolor="white", edgecolor=GREY, hatch="////",
                linewidth=0,
            )
        )  # fmt: skip
    numbered = value.shape[1] <= NUMBERED
    scale = SCALE.get(unit, 1.0)
    for i, j in np.argwhere(np.isfinite(value)):
        ink = "white" if abs(value[i, j]) > 0.68 * most else INK
        if numbered:
            text = words.amount(value[i, j] / scale, unit, extra=-1 if unit == "log" else 0)
            weight = "bold" if clear[i, j] else "normal"
            axes.text(j, i, text, ha="center", va="center", fontsize=8.5, color=ink, weight=weight)
        elif clear[i, j]:
            axes.plot([j], [i], "o", color=ink, markersize=2.6)


def _scale(axes: Axes, most: float, words: Words, unit: str, height: float, left: int) -> None:
    """The colours with their lowest, middle and highest value, below the map."""
    figure = axes.figure
    strip = figure.add_axes((left / 340, 18 / height, 150 / 340, 8 / height))  # type: ignore[union-attr]
    strip.imshow(np.linspace(-1, 1, 101)[None, :], cmap=_DIVERGING, aspect="auto")
    scale = SCALE.get(unit, 1.0)
    less = -1 if unit == "log" else 0
    ends = [words.amount(v / scale, unit, extra=less) for v in (-most, 0.0, most)]
    strip.set_xticks([0, 50, 100], ends)
    strip.set_yticks([])
    strip.tick_params(length=0, labelsize=9.5)
    for side in strip.spines.values():
        side.set_visible(False)
    figure.text(  # type: ignore[union-attr]
        (left + 172) / 340, 22 / height, words.unit(unit), fontsize=9.5, va="center"
    )


def _decimals(value: float) -> int:
    """Decimals that a value is written with, at most two."""
    return next((n for n in (0, 1) if value == round(value, n)), 2)


def sensitivity_panel(
    released: Released,
    mbar: Sequence[float],
    *,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    breakdown: float | None = None,
    limits: Limits | None = None,
) -> Drawing:
    """Robust intervals by how large departures from parallel trends may be (``mbar``, a value a row),
    and a dashed line at the largest that leaves zero outside."""
    table = require_released(released, Released, "sensitivity_panel").table
    unit = str(table["unit"].iloc[0])
    estimate, low, high = scaled(table, unit, ("estimate", "conf_low", "conf_high"))
    at = np.asarray(mbar, dtype=np.float64)
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 215, (48, 36, 8, 8))
        if limits is not None:
            axes.set_ylim(*limits)
        width = float(np.diff(at).min()) if at.size > 1 else 1.0
        axes.set_xlim(float(at.min()) - 0.5 * width, float(at.max()) + 0.5 * width)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.axhline(0, color=INK, linewidth=1.0)
        axes.vlines(at, low, high, color=look.colour, linewidth=2.4)
        axes.plot(
            np.tile(at, 2), np.concatenate([low, high]), linestyle="none", marker="_",
            color=look.colour, markersize=11, markeredgewidth=2,
        )  # fmt: skip
        axes.plot(
            at, estimate, linestyle="none", marker=look.marker, color=look.colour, markersize=6,
            markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
        if breakdown is not None and at.min() <= breakdown <= at.max() + 0.5 * width:
            axes.axvline(breakdown, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.set_xticks(at, [words.number(v, _decimals(v)) for v in at])
        number_axis(axes, words)
        axes.set_xlabel(words("trends.axis"), labelpad=2)
        return rendered(figure, key=key, alt=alt)
