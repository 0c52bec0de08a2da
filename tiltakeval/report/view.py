"""What a report looks up again and again: which rows, in which order, under which name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.disclosure.release import Released
from tiltakeval.report.canvas import Look
from tiltakeval.report.material import ReportMaterial
from tiltakeval.report.words import Words

EFFECTS = ("effect", "placebo")
BY_EVENT = "effect_by_event_time"
BY_POINTS = "log_hazard_ratio_by_points"


class View:
    """A study's material in one language."""

    def __init__(self, material: ReportMaterial, language: str) -> None:
        self.material = material
        self.words = Words(
            language,
            material.labels,
            material.programmes,
            material.outcomes,
            time_unit=material.time_unit,
        )
        self.language = language
        self._numbers: dict[str, int] = {}

    @cached_property
    def table(self) -> pd.DataFrame:
        """The released estimates."""
        return self.material.estimates.table

    @cached_property
    def hazards(self) -> Released | None:
        """Estimates of models of hazards: beside the main ones, or, in a study of spells, those with
        unobserved heterogeneity."""
        if self.material.hazards is not None or not self.spells:
            return self.material.hazards
        mixed = self.table.loc[self.table["term"] == BY_POINTS, "analysis"]
        return self.material.estimates.select(analysis=list(set(mixed))) if len(mixed) else None

    @cached_property
    def rules_symbol(self) -> str:
        """What stands for a suppressed number."""
        return self.material.estimates.rules.symbol

    @cached_property
    def monthly(self) -> pd.DataFrame:
        """Monthly effects against no programme, for everybody."""
        table = self.table
        terms = (BY_EVENT,) if self.rollout else EFFECTS
        keep = table["term"].isin(terms) & table["horizon"].notna()
        return table[keep & (table["comparator"] == "none") & (table["subgroup"] == "all")]

    def _order(self, found: Iterable[Any], first: Iterable[str]) -> list[str]:
        seen = [str(key) for key in dict.fromkeys(found)]
        wanted = [key for key in dict.fromkeys(first) if key in seen]
        return wanted + [key for key in seen if key not in wanted]

    @cached_property
    def populations(self) -> list[str]:
        """Populations with monthly effects, in the study's order."""
        found = self._order(self.monthly["population"], self.material.populations)
        return [p for p in found if p in self.material.populations] or found

    @cached_property
    def trials(self) -> bool:
        """Whether the study is one of target trials on a register."""
        dated = self.table["time_origin"].isin(["vedtak", "start"]).any()
        return self.material.level == "register" and bool(dated) and not self.rollout

    @cached_property
    def rollout(self) -> bool:
        """Whether the study is of a roll-out: effects by time since units' start."""
        return bool(self.table["term"].eq(BY_EVENT).any())

    @cached_property
    def spells(self) -> bool:
        """Whether the study is of spells: durations or event histories."""
        return self.material.level in ("durations", "event_history")

    def text(self, key: str) -> str:
        """The key of a text as it is for the study's level, where there is one of its own."""
        level = self.material.level
        kinds = [
            level,
            *(["staggered"] * self.rollout),
            *(["spells"] if self.spells else []),
            *(["file"] * (level != "register")),
        ]
        return next((f"{key}_{k}" for k in kinds if self.words.has(f"{key}_{k}")), key)

    @cached_property
    def estimands(self) -> list[str]:
        """Estimands of all effects, the primary one first."""
        return self._order(self.table["estimand"], [self.material.primary_estimand])

    @cached_property
    def programmes(self) -> list[str]:
        """Programmes, in the study's order."""
        found = self._order(self.table["programme"], self.material.programmes)
        return [key for key in found if key not in ("none", "")]

    @cached_property
    def primary_outcome(self) -> str:
        """The outcome the report leads with."""
        outcomes = self.outcomes
        wanted = self.material.primary_outcome
        return wanted if wanted in outcomes or not outcomes else outcomes[0]

    @cached_property
    def outcomes(self) -> list[str]:
        """Outcomes with effects, the primary one first."""
        terms = (*EFFECTS, BY_EVENT, "effect_overall") if self.rollout else EFFECTS
        table = self.table[self.table["term"].isin(terms)]
        first = [self.material.primary_outcome, *self.material.outcomes]
        return self._order(table["outcome"], first)

    def look(self, programme: str) -> Look:
        """Colour and marker of a programme."""
        known = self.programmes
        return Look.of(known.index(programme) if programme in known else len(known))

    def key(self, stem: str) -> str:
        """A page-wide unique id for a drawing."""
        self._numbers[stem] = self._numbers.get(stem, 0) + 1
        return f"{stem}{self._numbers[stem]}"

    def part(self, source: Released | None = None, /, **where: Any) -> Released:
        """The main rows matching ``where``: of the first analysis, time origin and whole cohort."""
        gate = (self.material.estimates if source is None else source).select(**where)
        table = gate.table
        for name in ("analysis", "time_origin", "cohort", "study"):
            if len(table) and (table[name] != table[name].iloc[0]).any():
                gate = gate.select(**{name: table[name].iloc[0]})
                table = gate.table
        return gate

    def truth(self, **where: Any) -> Released | None:
        """Known effects matching ``where``, if there are any."""
        if self.material.truth is None:
            return None
        found = self.part(self.material.truth, **where)
        return found if len(found) else None

    def month(self, table: pd.DataFrame) -> int | None:
        """The month answers are given for: the summary month, or the last one before it."""
        months = table["horizon"].dropna().astype(int)
        months = months[(months >= 0) & (months <= self.material.summary_month)]
        return None if months.empty else int(months.max())

    def shown_month(self, table: pd.DataFrame) -> int | None:
        """The last month up to the summary month in which most of the rows are shown."""
        last = self.month(table)
        if last is None:
            return None
        rows = table[table["estimate"].notna() & (table["horizon"] <= last)]
        shown = rows.groupby("horizon").size()
        if shown.empty:
            return last
        return int(shown.index[shown == shown.max()].max())

    def programme(self, key: str) -> str:
        """A programme's full name."""
        return self.words.label("programme", key)

    def short(self, key: str) -> str:
        """A programme's name for the middle of a sentence: its acronym, if it has one, or the name
        without what stands in parentheses."""
        head, _, rest = self.programme(key).partition(" (")
        acronym = rest.rstrip(")")
        if acronym.isupper() and len(acronym) <= 5:
            return acronym
        return head if head[1:2].isupper() else head[:1].lower() + head[1:]

    @cached_property
    def single(self) -> pd.DataFrame:
        """Effects with one outcome date, for everybody."""
        table = self.table
        keep = (table["term"] == "effect") & table["horizon"].isna() & (table["period"] == "")
        keep &= (table["subgroup"] == "all") & (table["comparator"] == "none")
        keep &= not self.rollout
        return table[keep & ~(table["status"] == "not_supported")]

    def unsupported(self, population: str, estimand: str) -> list[str]:
        """Programmes that can't be estimated at all in a population."""
        table = self.table
        rows = table[
            (table["status"] == "not_supported")
            & (table["estimand"] == estimand)
            & (table["term"] == "effect")
        ]
        base = rows["population"].str.split(r"[:/|]", n=1, regex=True).str[0]
        rows = rows[base.isin([population, population.split(":")[0]])]
        here = self.monthly[self.monthly["population"] == population]
        shown = set(
            here.loc[here["estimate"].notna() | (here["status"] == "suppressed"), "programme"]
        )
        return [key for key in self.programmes if key in set(rows["programme"]) - shown]

    def outcome(self, key: str) -> str:
        """An outcome's name."""
        return self.words.label("outcome", key)

    def population(self, key: str) -> str:
        """A population's name, with a capital."""
        key = key.removesuffix(":att") if self.rollout else key  # all units that are treated
        return upper_first(self.words.label("population", key))


def number(row: pd.Series | pd.DataFrame, name: str) -> float:
    """A value of a row as float, NaN when missing."""
    value = row[name]
    return (
        float("nan") if value is None or value is pd.NA else float(np.asarray(value, dtype=float))
    )


def upper_first(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
