"""Drawings of what works for whom: by subgroup, by predicted effect, targeting. See figures.py."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

from tiltakeval.disclosure.release import Released, require_released
from tiltakeval.report.canvas import (
    GREY,
    INK,
    STYLE,
    Drawing,
    Limits,
    Look,
    level_ground,
    new_axes,
    number_axis,
    rendered,
    row_ground,
    row_hidden,
    row_names,
    scaled,
    truth_strokes,
)
from tiltakeval.report.words import Words


def group_forest(
    released: Released,
    shrunk: Released,
    names: Sequence[str],
    *,
    average: float,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    limits: Limits | None = None,
    truth: Released | None = None,
) -> Drawing:
    """Effects by group, one line each: thin joint interval, thick interval of the group alone, and a
    hollow diamond below for the estimate drawn towards the average (the dashed line, in the unit shown).

    Rows of ``released`` are named by ``names``; those of ``shrunk`` and ``truth`` are matched by
    subgroup.
    """
    table = require_released(released, Released, "group_forest").table
    beside = require_released(shrunk, Released, "group_forest").table.set_index("subgroup")
    unit = str(table["unit"].iloc[0])
    columns = ("estimate", "conf_low", "conf_high", "band_low", "band_high")
    point, low, high, wide_low, wide_high = scaled(table, unit, columns)
    place = np.arange(len(table))[::-1].astype(float)
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 46 + 26 * len(table), (136, 34, 10, 6))
        row_ground(axes, len(table), limits)
        if np.isfinite(average):
            axes.axvline(average, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        axes.hlines(place, wide_low, wide_high, color=look.colour, linewidth=1.1, alpha=0.8)
        axes.hlines(place, low, high, color=look.colour, linewidth=3.2, alpha=0.55)
        axes.plot(point, place, linestyle="none", marker=look.marker, color=look.colour,
                  markersize=6.5, markeredgecolor="white", markeredgewidth=0.6, zorder=4)  # fmt: skip
        (drawn,) = scaled(beside.reindex(table["subgroup"]), unit, ("estimate",))
        axes.plot(drawn, place - 0.32, linestyle="none", marker="D", color=INK, markersize=4.6,
                  markerfacecolor="white", markeredgewidth=1.2, zorder=5)  # fmt: skip
        if truth is not None:
            known = require_released(truth, Released, "group_forest").table.set_index("subgroup")
            (true,) = scaled(known.reindex(table["subgroup"]), unit, ("estimate",))
            truth_strokes(axes, true, place)
        row_hidden(axes, place[~np.isfinite(point)], words)
        row_names(axes, place, names, longest=23)
        number_axis(axes, words, "x")
        axes.set_xlabel(words.unit(unit), labelpad=2)
        return rendered(figure, key=key, alt=alt)


def predicted_panel(
    released: Released,
    *,
    average: float,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    limits: Limits | None = None,
) -> Drawing:
    """Mean effects of equal groups from the smallest to the largest predicted effect, with intervals."""
    table = require_released(released, Released, "predicted_panel").table
    unit = str(table["unit"].iloc[0])
    point, low, high = scaled(table, unit, ("estimate", "conf_low", "conf_high"))
    at = np.arange(1, len(table) + 1).astype(float)
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 205, (44, 36, 8, 8))
        level_ground(axes, limits)
        if np.isfinite(average):
            axes.axhline(average, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)
        axes.vlines(at, low, high, color=look.colour, linewidth=2.6, alpha=0.6)
        axes.plot(at, point, linestyle="none", marker=look.marker, color=look.colour,
                  markersize=7, markeredgecolor="white", markeredgewidth=0.6, zorder=4)  # fmt: skip
        axes.set_xlim(0.5, len(table) + 0.5)
        axes.set_xticks(at, [words.number(i) for i in at])
        axes.set_xlabel(words("for_whom.axis_predicted"), labelpad=2)
        number_axis(axes, words)
        return rendered(figure, key=key, alt=alt)


def targeting_panel(
    released: Released,
    shares: Sequence[float],
    *,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    limits: Limits | None = None,
) -> Drawing:
    """What the share ranked first gains over the average, by that share (per cent), with intervals; at
    100 per cent it is nothing."""
    table = require_released(released, Released, "targeting_panel").table
    unit = str(table["unit"].iloc[0])
    order = np.argsort(np.asarray(shares))
    columns = scaled(table, unit, ("estimate", "conf_low", "conf_high"))
    point, low, high = (np.append(values[order], 0.0) for values in columns)
    at = np.append(np.asarray(shares, dtype=float)[order], 100.0)
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 205, (44, 36, 8, 8))
        level_ground(axes, limits)
        axes.fill_between(at, low, high, color=look.colour, alpha=0.22, linewidth=0)
        axes.plot(at, point, color=look.colour, linewidth=2, marker=look.marker, markersize=5.5,
                  markeredgecolor="white", markeredgewidth=0.6, zorder=4)  # fmt: skip
        axes.set_xlim(0, 102)
        axes.set_xticks([10, 30, 50, 70, 100])
        axes.set_xlabel(words("for_whom.axis_share"), labelpad=2)
        number_axis(axes, words)
        return rendered(figure, key=key, alt=alt)


def values_panel(
    released: Released,
    names: Sequence[str],
    *,
    factor: float,
    words: Words,
    look: Look,
    key: str,
    alt: str,
    label: str,
    truth: Released | None = None,
) -> Drawing:
    """What rules gain over today's practice, with intervals, one line each, times ``factor``; upright
    strokes for the true gains, matched by programme."""
    table = require_released(released, Released, "values_panel").table
    point, low, high = (
        table[name].to_numpy(dtype="float64") * factor
        for name in ("estimate", "conf_low", "conf_high")
    )
    place = np.arange(len(table))[::-1].astype(float)
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(340, 46 + 26 * len(table), (172, 34, 10, 6))
        row_ground(axes, len(table), None)
        axes.hlines(place, low, high, color=look.colour, linewidth=2.6, alpha=0.6)
        axes.plot(point, place, linestyle="none", marker=look.marker, color=look.colour,
                  markersize=6.5, markeredgecolor="white", markeredgewidth=0.6, zorder=4)  # fmt: skip
        if truth is not None:
            known = require_released(truth, Released, "values_panel").table.set_index("programme")
            true = known["estimate"].reindex(table["programme"]).to_numpy(dtype="float64")
            truth_strokes(axes, factor * true, place)
        row_names(axes, place, names, longest=33)
        number_axis(axes, words, "x")
        axes.set_xlabel(label, labelpad=2)
        return rendered(figure, key=key, alt=alt)
