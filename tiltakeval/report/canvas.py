"""What the drawings of a report share: style, axes, month and number scales. See figures.py."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from tiltakeval.disclosure.release import Released, require_released
from tiltakeval.report.svg import tidy_svg
from tiltakeval.report.words import SCALE, Words

INK, GREY, FAINT = "#23262a", "#6f7785", "#cfd3d8"
# Aksel's 600 shades (at least 4.5:1 on white), each with a marker of its own.
COLOURS = ("#2176d4", "#ca5000", "#00893c", "#905bd3", "#e22948", "#457c9d", "#757c00", "#b65681")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
STYLE: Any = {
    "svg.hashsalt": "tiltakeval",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "path.simplify": False,
}
Floats = NDArray[np.floating]
Limits = tuple[float, float]


@dataclass(frozen=True)
class Drawing:
    """SVG text and the alternative text inside it."""

    svg: str
    alt: str


@dataclass(frozen=True)
class Look:
    """Colour and marker of a programme: two channels, so that colour is never needed alone."""

    colour: str
    marker: str

    @classmethod
    def of(cls, index: int) -> Look:
        """The look of the programme at this place in the study."""
        return cls(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])


def rendered(figure: Figure, *, key: str, alt: str) -> Drawing:
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return Drawing(tidy_svg(buffer.getvalue(), prefix=f"{key}-", alt=alt), alt)


def new_axes(
    width: float, height: float, box: tuple[float, float, float, float]
) -> tuple[Figure, Axes]:
    """A figure in points with its axes' (left, bottom, right, top) margins in points."""
    figure = Figure(figsize=(width / 72, height / 72), facecolor="none")
    left, bottom, right, top = box
    axes = figure.add_axes(
        (
            left / width,
            bottom / height,
            (width - left - right) / width,
            (height - bottom - top) / height,
        )
    )
    axes.set_facecolor("none")
    return figure, axes


def scaled(table: pd.DataFrame, unit: str, names: Sequence[str]) -> list[Floats]:
    scale = SCALE.get(unit, 1.0)
    return [table[name].to_numpy(dtype="float64") * scale for name in names]


def shared_limits(released: Released, *, truth: Released | None = None) -> Limits | None:
    """Lowest and highest value of all rows (bands where there are, else intervals), with zero."""
    values: list[Floats] = [np.zeros(1)]
    gates = [require_released(released, Released, "shared_limits")]
    if truth is not None:
        gates.append(require_released(truth, Released, "shared_limits"))
    for gate in gates:
        table = gate.table
        for low, high in (("band_low", "band_high"), ("conf_low", "conf_high")):
            for unit in table["unit"].unique():
                part = table[table["unit"] == unit]
                values += scaled(part, str(unit), (low, high, "estimate"))
    joined = np.concatenate(values)
    joined = joined[np.isfinite(joined)]
    if joined.size < 2:
        return None
    margin = 0.06 * (joined.max() - joined.min() or 1.0)
    return float(joined.min() - margin), float(joined.max() + margin)


def origin_of(table: pd.DataFrame) -> str:
    """What month 0 is in a table of one family."""
    return str(table["time_origin"].iloc[0]) if len(table) else "none"


def start_of(table: pd.DataFrame) -> float:
    """Where a curve begins: everybody is there at time 0, and nobody has left."""
    return 1.0 if str(table["term"].iloc[0]).startswith("survival") else 0.0


def number_axis(axes: Axes, words: Words, which: str = "y") -> None:
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    ticks = axis.get_majorticklocs()
    step = float(np.min(np.diff(ticks))) if len(ticks) > 1 else 1.0
    decimals = int(np.clip(np.ceil(-np.log10(step) - 1e-9), 0, 4)) if step > 0 else 0
    if step > 0 and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6:
        decimals += 1
    axis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value, decimals)))


def month_axis(axes: Axes, months: Floats, words: Words, origin: str) -> None:
    first, last = float(months.min()), float(months.max())
    step = 6 if last - first <= 50 else 12
    start = int(np.ceil(first / step) * step)
    axes.set_xticks(np.arange(start, last + 0.5, step))
    axes.set_xlim(first - 0.8, last + 0.8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
    key = f"figure.months_{origin}"
    axes.set_xlabel(words(key if words.has(key) else "figure.months_none"), labelpad=2)


def ground(
    axes: Axes, months: Floats, words: Words, limits: Limits | None, origin: str = "none"
) -> None:
    level_ground(axes, limits)
    month_axis(axes, months, words, origin)
    number_axis(axes, words)
    if months.min() < 0:
        axes.axvspan(float(months.min()) - 0.8, -0.5, color="#eceef0", linewidth=0, zorder=0)
        top = axes.get_ylim()[1]
        axes.text(
            float(months.min()) - 0.4,
            top,
            words("figure.before"),
            va="top",
            ha="left",
            fontsize=9.5,
        )
    axes.axvline(0, color=GREY, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1)


def ribbons(axes: Axes, table: pd.DataFrame, unit: str, look: Look) -> None:
    """Band, interval and line of one profile, month by month; gaps where nothing may be shown."""
    months = table["horizon"].to_numpy(dtype="float64")
    for names, opacity in ((("band_low", "band_high"), 0.16), (("conf_low", "conf_high"), 0.34)):
        low, high = scaled(table, unit, names)
        there = np.isfinite(low) & np.isfinite(high)
        if there.any():
            axes.fill_between(
                months, low, high, where=there, color=look.colour, alpha=opacity, linewidth=0
            )
    (line,) = scaled(table, unit, ("estimate",))
    marks = [i for i, month in enumerate(months) if month % 6 == 0]
    axes.plot(
        months,
        line,
        color=look.colour,
        linewidth=2,
        marker=look.marker,
        markersize=6.5,
        markevery=marks,
        markeredgecolor="white",
        markeredgewidth=0.6,
        zorder=4,
    )


def truth_line(axes: Axes, truth: Released, unit: str, words: Words) -> None:
    table = require_released(truth, Released, "a figure").table.sort_values("horizon")
    if table.empty:
        return
    (line,) = scaled(table, unit, ("estimate",))
    months = table["horizon"].to_numpy(dtype="float64")
    axes.plot(months, line, color=INK, linewidth=1.3, linestyle=(0, (5, 2.5)), zorder=5)


def shortened(text: str, length: int) -> str:
    """The text, cut with an ellipsis when longer than ``length``."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def row_ground(axes: Axes, rows: int, limits: Limits | None) -> None:
    """Axes with a line of the drawing for each of ``rows``, zero marked."""
    axes.set_ylim(-0.6, rows - 0.4)
    if limits is not None:
        axes.set_xlim(*limits)
    axes.axvline(0, color=INK, linewidth=1.0)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def row_names(
    axes: Axes, place: Floats, names: Sequence[str], *, longest: int, size: float = 9.5
) -> None:
    """The rows' names at the left, cut at ``longest`` letters."""
    axes.set_yticks(place, [shortened(name, longest) for name in names])
    axes.tick_params(axis="y", length=0, labelsize=size)
    axes.spines["left"].set_visible(False)


def row_hidden(axes: Axes, place: Floats, words: Words) -> None:
    """Says of each row at ``place`` that its number isn't shown."""
    for at in place:
        axes.text(
            0.5,
            at,
            words("figure.hidden"),
            va="center",
            ha="center",
            fontsize=9.5,
            color=INK,
            transform=axes.get_yaxis_transform(),
            zorder=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )


def level_ground(axes: Axes, limits: Limits | None) -> None:
    """Axes with horizontal grid lines, zero marked."""
    if limits is not None:
        axes.set_ylim(*limits)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axhline(0, color=INK, linewidth=1.0, zorder=2)


def truth_strokes(axes: Axes, values: Floats, place: Floats) -> None:
    """The true values of rows, as upright strokes."""
    axes.plot(
        values,
        place,
        linestyle="none",
        marker="|",
        color=INK,
        markersize=13,
        markeredgewidth=1.8,
        zorder=6,
    )
