"""Hazard ratios of programme status: by elapsed time, by model, and by number of mass points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Panel, Panels, Table
from tiltakeval.report.hazard_figures import points_panel, ratio_panel
from tiltakeval.report.tables import not_shown
from tiltakeval.report.view import BY_POINTS, View, number, upper_first

RATIO = "log_hazard_ratio"
STAGES = ("vedtak", "start", "end")


def ratios(
    view: View, part: Released, programmes: list[str], population: str, leaving: str
) -> Panels | None:
    words, analysis = view.words, _most_detailed(part)
    if analysis is None:
        return None
    panels = []
    for programme in programmes:
        gate = _ratio_rows(part, programme, analysis)
        if not len(gate):
            continue
        rows = gate.table
        name = view.programme(programme)
        stages = [stage_name(row, view) for _, row in rows.iterrows()]
        lines = [
            [stage, *_ratio_cells(row, view)] for stage, (_, row) in zip(stages, rows.iterrows())
        ]
        table = Table(
            f"{name}: {words('hazards.ratio_numbers')}",
            [words("hazards.stage"), words("hazards.ratio"), words("hazards.interval")],
            lines,
            folded=words("table.show_numbers"),
        )
        if rows["estimate"].notna().sum() < 2:
            panels.append(Panel(upper_first(name), None, table, words("hazards.too_few")))
            continue
        said = "; ".join(f"{line[0]}: {line[1]}" for line in lines)
        alt = words("alt.ratios", title=name, text=said)
        drawing = ratio_panel(
            gate, stages, words=words, look=view.look(programme), key=view.key("ratio"), alt=alt
        )
        panels.append(Panel(upper_first(name), drawing, table))
    if not panels:
        return None
    caption = words(
        "hazards.caption_ratios",
        outcome=view.outcome(leaving),
        population=view.population(population),
    )
    return Panels(caption, panels, note=words("hazards.note_ratios"))


def compared(
    view: View, part: Released, programmes: list[str], population: str, leaving: str
) -> Table | None:
    """Ratios without heterogeneity, at the lowest AIC, at the full likelihood and (where that is what
    is reported) averaged over fits, side by side."""
    words = view.words
    for analysis in _mixtures(part):
        known = _mass_points(view, population, analysis)
        shown = ("1", str(known.get("aic_points")), str(known.get("points")))
        average = bool(known.get("averaged"))
        lines = []
        for programme in programmes:
            reported = _ratio_rows(part, programme, analysis).table
            for _, row in reported.iterrows():
                stage = stage_name(row, view)
                name = upper_first(view.short(programme))
                line = [f"{name}, {stage}" if stage else name]
                for points in shown:
                    others = part.select(
                        term=BY_POINTS,
                        analysis=analysis,
                        programme=programme,
                        time_origin=row["time_origin"],
                        horizon=None if pd.isna(row["horizon"]) else int(row["horizon"]),
                        period=f"points={points}",
                    ).table
                    line.append("–" if others.empty else _ratio_text(others.iloc[0], view))
                lines.append([*line, _ratio_text(row, view)] if average else line)
        if not lines:
            continue
        columns = [
            words("hazards.stage"),
            words("hazards.one_point"),
            words("hazards.aic_points", points=known.get("aic_points", "–")),
            words("hazards.full_points"),
            *([words("hazards.averaged_points")] if average else []),
        ]
        caption = words(
            "hazards.caption_compared",
            outcome=view.outcome(leaving),
            population=view.population(population),
        )
        return Table(caption, columns, lines)
    return None


def by_points(
    view: View, part: Released, programmes: list[str], population: str, leaving: str
) -> Panels | None:
    words = view.words
    for analysis in _mixtures(part):
        gates = {
            key: gate
            for key in programmes
            if len(gate := _inside(part.select(term=BY_POINTS, programme=key, analysis=analysis)))
        }
        panels = []
        aic = _mass_points(view, population, analysis).get("aic_points")
        for programme, gate in gates.items():
            name = view.programme(programme)
            rows = gate.table
            if rows["estimate"].notna().sum() < 2:
                continue
            counts = [int(str(period).partition("=")[2]) for period in rows["period"]]
            lines = [
                [str(c), *_ratio_cells(row, view)] for c, (_, row) in zip(counts, rows.iterrows())
            ]
            said = "; ".join(f"{line[0]}: {line[1]}" for line in lines)
            drawing = points_panel(
                gate,
                counts,
                aic=None if aic is None else int(aic),
                words=words,
                look=view.look(programme),
                key=view.key("points"),
                alt=words("alt.points", title=name, text=said),
            )
            table = Table(
                f"{name}: {words('hazards.points_numbers')}",
                [words("hazards.points"), words("hazards.ratio"), words("hazards.interval")],
                lines,
                folded=words("table.show_numbers"),
            )
            panels.append(Panel(upper_first(name), drawing, table))
        if panels:
            caption = words(
                "hazards.caption_points",
                outcome=view.outcome(leaving),
                population=view.population(population),
            )
            return Panels(caption, panels, note=words("hazards.note_points"))
    return None


def _inside(gate: Released) -> Released:
    """The rows of being in the programme, from its first month; all where stages aren't told."""
    found = gate.select(time_origin="start", horizon=0)
    return found if len(found) else gate


def _ratio_rows(part: Released, programme: str, analysis: str) -> Released:
    """Ratios of a programme's statuses, in order of time."""
    gate = part.select(term=RATIO, programme=programme, analysis=analysis)
    staged = gate.select(time_origin=list(STAGES))
    return staged if len(staged) else gate


def _most_detailed(part: Released) -> str | None:
    """The analysis with the most bands of status."""
    table = part.table[(part.table["term"] == RATIO) & part.table["time_origin"].isin(STAGES)]
    if table.empty:
        return None
    bands = table.groupby("analysis", sort=False)[["time_origin", "horizon"]].apply(
        lambda rows: len(rows.drop_duplicates())
    )
    return str(bands.idxmax()) if bands.max() > len(STAGES) else None


def stage_name(row: pd.Series, view: View) -> str:
    """What a status is: waiting, in the programme, or after it, with its months."""
    period = str(row["period"]).replace("-", "–")
    if row["time_origin"] not in STAGES:
        return ""
    key = f"hazards.stage_{row['time_origin']}"
    if not period or period.startswith("points") or period == "0–":
        return view.words(key)
    if period.endswith("–"):
        period = f"{period[:-1]}+"
    return view.words(f"{key}_months", months=period)


def _ratio_cells(row: pd.Series, view: View) -> list[str]:
    words = view.words
    if np.isnan(number(row, "estimate")):
        return [not_shown(row, view), "–"]
    low, high = (float(np.exp(number(row, end))) for end in ("conf_low", "conf_high"))
    ratio = float(np.exp(number(row, "estimate")))
    return [words.number(ratio, 2), words.interval(low, high, "ratio")]


def _ratio_text(row: pd.Series, view: View) -> str:
    ratio, interval = _ratio_cells(row, view)
    return ratio if interval == "–" else f"{ratio} {interval}"


def _mixtures(part: Released) -> list[str]:
    """Analyses with unobserved heterogeneity: those with effects by number of points."""
    table = part.table
    return list(dict.fromkeys(table.loc[table["term"] == BY_POINTS, "analysis"]))


def _mass_points(view: View, population: str, analysis: str) -> Mapping[str, Any]:
    """What the check of the search says: points, those of the lowest AIC, whether fits are averaged."""
    scope = {"population": population, "analysis": analysis}
    for check in view.material.checks.items:
        if check.key == "mass_points" and dict(check.scope) == scope:
            return dict(check.message)
    return {}
