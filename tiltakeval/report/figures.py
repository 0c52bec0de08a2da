"""Every drawing of a report. Released results in, SVG out; same input, same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tiltakeval.disclosure.release import Released, ReleasedChecks, require_released
from tiltakeval.report.canvas import (
    FAINT,
    GREY,
    INK,
    STYLE,
    Drawing,
    Floats,
    Limits,
    Look,
    ground,
    new_axes,
    number_axis,
    origin_of,
    rendered,
    ribbons,
    row_ground,
    row_hidden,
    row_names,
    scaled,
    shortened,
    start_of,
    truth_line,
)
from tiltakeval.report.words import SCALE, Words


def effect_panel(
    released: Released,
    *,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    limits: Limits | None = None,
    truth: Released | None = None,
) -> Drawing:
    """One programme's effect by month: line, pointwise interval, simultaneous band, placebo months.

    ``released`` holds the rows of one family (terms effect and placebo). Also draws a cumulated path.
    """
    table = require_released(released, Released, "effect_panel").table
    unit = str(table["unit"].iloc[0])
    table = table[table["horizon"].notna()].sort_values("horizon")
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 215, (44, 36, 8, 8))
        for _, part in table.groupby(table["horizon"] < 0, sort=True):
            ribbons(axes, part, unit, look)
        if truth is not None:
            truth_line(axes, truth, unit, words)
        ground(axes, table["horizon"].to_numpy(dtype="float64"), words, limits, origin_of(table))
        return rendered(figure, key=key, alt=alt)


def path_panel(
    released: Released,
    break_even: Released,
    *,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    limits: Limits | None = None,
    truth: Released | None = None,
) -> Drawing:
    """Cumulated effect by month with its band, and the break-even set drawn along the zero line.

    ``break_even`` holds at most one row; an open set ends in an arrow at the last month.
    """
    table = require_released(released, Released, "path_panel").table.sort_values("horizon")
    spot = require_released(break_even, Released, "path_panel").table
    unit = str(table["unit"].iloc[0])
    months = table["horizon"].to_numpy(dtype="float64")
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 215, (44, 36, 8, 8))
        ribbons(axes, table, unit, look)
        if truth is not None:
            truth_line(axes, truth, unit, words)
        ground(axes, months, words, limits, origin_of(table))
        if len(spot) and spot["status"].iloc[0] in ("ok", "open"):
            _break_even(axes, spot.iloc[0], float(months.max()))
        return rendered(figure, key=key, alt=alt)


def _break_even(axes: Axes, row: pd.Series, last: float) -> None:
    low, high = float(row["conf_low"]), float(row["conf_high"])
    if np.isnan(low):
        return
    end = last if np.isnan(high) else high
    axes.plot([low, end], [0, 0], color=INK, linewidth=4, solid_capstyle="butt", zorder=6)
    axes.plot([low], [0], color=INK, marker="|", markersize=11, markeredgewidth=2, zorder=6)
    tip = ">" if np.isnan(high) else "|"
    axes.plot([end], [0], color=INK, marker=tip, markersize=9, markeredgewidth=2, zorder=6)
    if np.isfinite(row["estimate"]):
        axes.plot(
            [row["estimate"]],
            [0],
            marker="D",
            color="white",
            markersize=6,
            zorder=7,
            markeredgecolor=INK,
            markeredgewidth=1.6,
        )


def forest(
    released: Released,
    names: Sequence[str],
    *,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    limits: Limits | None = None,
) -> Drawing:
    """Estimates with intervals, one line each, named by ``names`` (same order as the rows)."""
    table = require_released(released, Released, "forest").table
    unit = str(table["unit"].iloc[0])
    estimate, low, high = scaled(table, unit, ("estimate", "conf_low", "conf_high"))
    place = np.arange(len(table))[::-1].astype(float)
    height = 46 + 21 * len(table)
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, height, (152, 34, 10, 6))
        row_ground(axes, len(table), limits)
        axes.hlines(place, low, high, color=look.colour, linewidth=2.2)
        axes.plot(
            estimate,
            place,
            linestyle="none",
            marker=look.marker,
            color=look.colour,
            markersize=6.5,
            markeredgecolor="white",
            markeredgewidth=0.6,
        )
        row_hidden(axes, place[~np.isfinite(estimate)], words)
        row_names(axes, place, names, longest=25, size=10)
        number_axis(axes, words, "x")
        axes.set_xlabel(words.unit(unit), labelpad=2)
        return rendered(figure, key=key, alt=alt)


def love(
    checks: ReleasedChecks,
    position: int,
    names: Sequence[str],
    rows: Sequence[int],
    *,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    columns: tuple[str, str] = ("smd_before", "smd_after"),
) -> Drawing:
    """Standardised differences before (hollow) and after (filled) weighting; threshold as dashed lines.

    ``rows`` are the rows of the check's detail to draw, named by ``names``.
    """
    check = require_released(checks, ReleasedChecks, "love").items[position]
    assert check.detail is not None
    detail = check.detail.iloc[list(rows)]
    before, after = (np.abs(detail[name].to_numpy(dtype="float64")) for name in columns)
    place = np.arange(len(detail))[::-1].astype(float)
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 46 + 18 * len(detail), (164, 34, 10, 6))
        row_ground(axes, len(detail), None)
        if check.threshold is not None:
            axes.axvline(check.threshold, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.hlines(place, before, after, color=FAINT, linewidth=2)
        axes.plot(
            before,
            place,
            linestyle="none",
            marker=look.marker,
            markersize=6,
            markerfacecolor="white",
            color=GREY,
            markeredgewidth=1.4,
        )
        axes.plot(
            after, place, linestyle="none", marker=look.marker, markersize=6, color=look.colour
        )
        axes.set_xlim(left=-0.01)
        row_names(axes, place, names, longest=27)
        number_axis(axes, words, "x")
        axes.set_xlabel(words("figure.smd"), labelpad=2)
        return rendered(figure, key=key, alt=alt)


def curves(
    arms: Sequence[tuple[Released, str]],
    *,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    limits: Limits | None = None,
) -> Drawing:
    """Kaplan-Meier or Aalen-Johansen curves as steps, one per arm: first solid, second dashed.

    Gaps where a month may not be shown; a curve that never leaves its start has no areas.
    """
    looks = ((look.colour, "-"), (INK, (0, (5, 2.5))))
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 215, (44, 36, 8, 8))
        months: list[Floats] = []
        ends: list[tuple[str, float, float]] = []
        for (released, name), (colour, dashes) in zip(arms, looks):
            table = require_released(released, Released, "curves").table.sort_values("horizon")
            if not table["estimate"].notna().any():
                continue
            unit = str(table["unit"].iloc[0])
            # everybody is there at time 0, and nobody has left
            begin = start_of(table) * SCALE.get(unit, 1.0)
            columns = ("estimate", "conf_low", "conf_high", "band_low", "band_high")
            line, low, high, wide_low, wide_high = (
                np.repeat(np.concatenate([[begin], values]), 2)[:-1]
                for values in scaled(table, unit, columns)
            )
            at = np.concatenate([[0.0], table["horizon"].to_numpy(dtype="float64")])
            months.append(at)
            at = np.repeat(at, 2)[1:]
            moves = bool((line[np.isfinite(line)] != begin).any())
            for under, over, opacity in ((wide_low, wide_high, 0.1), (low, high, 0.22)):
                if moves and np.isfinite(under[2:]).any():
                    axes.fill_between(at, under, over, color=colour, alpha=opacity, linewidth=0)
            axes.plot(at, line, color=colour, linestyle=dashes, linewidth=1.8)
            last = np.flatnonzero(np.isfinite(line))[-1]
            ends.append((name, float(at[last]), float(line[last])))
        origin = origin_of(arms[0][0].table) if arms else "none"
        origin = "spell" if origin == "none" else origin
        ground(axes, np.concatenate(months or [np.array([0.0, 1.0])]), words, limits, origin)
        _name_ends(axes, ends)
        return rendered(figure, key=key, alt=alt)


def _name_ends(axes: Axes, ends: Sequence[tuple[str, float, float]]) -> None:
    """The names of two curves at their ends (name, x, y), the upper one's above and the lower one's
    below, unless they would collide: the legend has them too."""
    low, high = axes.get_ylim()
    heights = [y for _, _, y in ends]
    if len(ends) < 2 or max(heights) - min(heights) < 0.05 * (high - low):
        return
    for name, x, y in ends:
        above = y == max(heights)
        axes.annotate(
            shortened(name, 26),
            (x, y),
            xytext=(-2, 4 if above else -4),
            fontsize=9.5,
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
        )
