"""Averages and event times that the user chooses: windows, own weights, which leads and lags."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown

#: What a line of weights may name: a cohort, a period, an event time, or a cohort in one of the others.
_NAMED = ("cohort", "period", "horizon")
_PLACES = (
    {"cohort"},
    {"period"},
    {"horizon"},
    {"cohort", "period"},
    {"cohort", "horizon"},
)
_WINDOW = re.compile(r"^\s*(-?\d+)\s*(?:-|:|\.\.|to)\s*(-?\d+)\s*$")
WINDOW, WEIGHTED = "effect_in_window", "effect_by_weights"


@dataclass(frozen=True)
class Part:
    """An effect with its weight: of a cohort, a period, an event time, or (two given) a cell. ``cohort``
    and ``period`` are positions, ``event`` an event time."""

    weight: float
    cohort: int | None = None
    period: int | None = None
    event: int | None = None

    def said(self, design: StaggeredPanel) -> str:
        """In words."""
        parts = []
        if self.cohort is not None:
            parts.append(f"cohort {design.label(design.cohorts[self.cohort])}")
        if self.period is not None:
            parts.append(f"period {design.label(design.periods[self.period])}")
        if self.event is not None:
            parts.append(f"event time {self.event}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Wanted:
    """An average the user asks for: its term and name, and its parts, whose weights add up to 1."""

    term: str
    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Asked:
    """All of them, the event times that rows are for, and whether effects that can't be had are left out
    of an average (``reweight``) or the average with them."""

    wanted: tuple[Wanted, ...] = ()
    earliest: int | None = None
    latest: int | None = None
    reweight: bool = False

    def shows(self, event: int) -> bool:
        """Whether there is a row for the event time."""
        return (self.earliest is None or event >= self.earliest) and (
            self.latest is None or event <= self.latest
        )


@dataclass(frozen=True, kw_only=True)
class Averages:
    """Options of every estimator with effects by cohort and period.

    ``earliest`` and ``latest``: event times with a row of their own; bands, means and sums over event
    time are over these. ``windows``: ranges of event times such as ``0-12, 13-24``, each a row
    ``effect_in_window`` (the mean over its event times, named in ``period``). ``averages``: the user's
    own weights, a row ``effect_by_weights`` for each name: a CSV file with the columns ``weight``,
    ``name`` (one average if left out), and ``cohort``, ``period`` or ``horizon`` (event time) or a
    cohort and one of the others; or a mapping from names to lists of such lines. Weights are at least 0
    and are divided by their sum. Where a part with weight can't be estimated, the average can't
    (``absent = "refuse"``), or is of the rest (``reweight``), and the run says what is missing.
    """

    earliest: int | None = None
    latest: int | None = None
    windows: str = ""
    averages: str | Mapping[str, Any] | None = None
    absent: Literal["refuse", "reweight"] = "refuse"

    def asked(self, design: StaggeredPanel) -> Asked:
        """What is asked of this design. Raises InputError."""
        if self.absent not in ("refuse", "reweight"):
            raise unknown("choice", self.absent, ("refuse", "reweight"), where="absent")
        if self.earliest is not None and self.latest is not None and self.earliest > self.latest:
            raise InputError(
                f"the earliest event time {self.earliest} lies after the latest {self.latest}",
                where="earliest",
            )
        wanted = [_window(text) for text in self.windows.split(",") if text.strip()]
        given = self.averages
        if given is not None:
            lines = _from_file(given) if isinstance(given, str) else given
            wanted += [_weighted(name, rows, design) for name, rows in lines.items()]
        return Asked(tuple(wanted), self.earliest, self.latest, self.absent == "reweight")


def _window(text: str) -> Wanted:
    found = _WINDOW.match(text)
    if found is None or int(found[1]) > int(found[2]):
        raise InputError(
            f"'{text.strip()}' is no range of event times",
            where="windows",
            remedy="Write first and last: windows = 0-12, 13-24.",
        )
    events = range(int(found[1]), int(found[2]) + 1)
    name = f"{found[1]}-{found[2]}"
    return Wanted(WINDOW, name, tuple(Part(1 / len(events), event=e) for e in events))


def _from_file(name: str) -> dict[str, list[dict[str, Any]]]:
    path = Path(name)
    if not path.is_file():
        raise InputError("there is no such file of weights", where=f"averages = {path.name}")
    out: dict[str, list[dict[str, Any]]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line in csv.DictReader(file):
            own = {k.strip(): (v or "").strip() for k, v in line.items() if k is not None}
            out.setdefault(own.pop("name", "") or "user", []).append(
                {k: v for k, v in own.items() if v != ""}
            )
    if not out:
        raise InputError("the file has no weights", where=f"averages = {path.name}")
    return out


def _weighted(name: str, lines: Any, design: StaggeredPanel) -> Wanted:
    """A named average from its lines. Raises InputError."""
    where = f"averages, {name}"
    if not isinstance(lines, Iterable) or isinstance(lines, str | Mapping):
        raise InputError("weights are a list of lines", where=where)
    rows = [dict(line) for line in lines]
    strange = sorted({str(k) for row in rows for k in row} - {*_NAMED, "weight"})
    if strange:
        raise unknown("column of weights", strange[0], (*_NAMED, "weight"), where=where)
    weights = [_number(row.get("weight"), where) for row in rows]
    total = sum(weights)
    if not total > 0:
        raise InputError("no weight is above 0", where=where)
    places = {frozenset(row) - {"weight"} for row in rows}
    if len(places) != 1 or set(next(iter(places))) not in _PLACES:
        raise InputError(
            "lines of weights name a cohort, a period or an event time (horizon), or a cohort and one "
            "of the others, all of an average the same",
            where=where,
        )
    parts = [_part(row, weight / total, design, where) for row, weight in zip(rows, weights)]
    keys = [(part.cohort, part.period, part.event) for part in parts]
    if len(set(keys)) < len(keys):
        raise InputError(f"{len(keys) - len(set(keys))} lines repeat others", where=where)
    return Wanted(WEIGHTED, name, tuple(part for part in parts if part.weight > 0))


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise InputError(
            f"'{value}' is no weight: a number, at least 0",
            where=where,
            remedy="For the difference of two averages take the contrast of their rows.",
        )
    return number


def _part(row: Mapping[str, Any], weight: float, design: StaggeredPanel, where: str) -> Part:
    place: dict[str, int] = {}
    for name, values in (("cohort", design.cohorts), ("period", design.periods)):
        if name in row:
            labels = [design.label(v) for v in values]
            if str(row[name]) not in labels:
                raise unknown(name, str(row[name]), labels, where=where)
            place[name] = labels.index(str(row[name]))
    if "horizon" in row:
        try:
            place["event"] = int(str(row["horizon"]))
        except ValueError:
            raise InputError(f"'{row['horizon']}' is no event time", where=where) from None
    return Part(weight, **place)
