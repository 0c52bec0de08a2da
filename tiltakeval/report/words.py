"""All words and numbers a report shows, in one language."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from tiltakeval.errors import unknown
from tiltakeval.report.material import LANGUAGES, Texts

MINUS = "\u2212"
THIN = "\u202f"
DECIMALS = {"share": 1, "percent": 1, "months": 1, "nok": 0, "usd": 0, "log": 3}
SCALE = {"share": 100.0}
#: Texts in which a month is one of the calendar, whatever the study counts in.
CALENDAR = (
    *("time.", "unit.", "label.outcome.", "label.covariate", "summary.costs", "summary.total"),
    "label.step.registered_whole_month",
)


@cache
def _texts(language: str) -> Mapping[str, str]:
    """The text files of a language, flattened to dotted keys: ``nb.toml``, ``rollouts.nb.toml``, …"""
    if language not in LANGUAGES:
        raise unknown("language", language, LANGUAGES)
    folder = resources.files("tiltakeval.report").joinpath("text")
    files = sorted(one.name for one in folder.iterdir() if one.name.endswith(f"{language}.toml"))
    found: dict[str, str] = {}
    for name in files:
        own = dict(_flat(tomllib.loads(folder.joinpath(name).read_text("utf-8")), ""))
        twice = sorted(set(own) & set(found))
        if twice:
            raise ValueError(f"text/{name}: {twice[0]} is in another file too")
        found |= own
    return found


@cache
def _in_unit(language: str, time_unit: str) -> Mapping[str, str]:
    """The texts with the words for months replaced by those of another unit of time.

    The text file lists the words, longer ones first where one holds another. Fields in braces and
    names that speak of calendar months stay.
    """
    texts = _texts(language)
    stem = f"time.{time_unit}."
    words = {key.removeprefix(stem): new for key, new in texts.items() if key.startswith(stem)}
    if not words:
        return texts
    by_text = {texts[f"time.months.{key}"]: new for key, new in words.items()}
    longest = sorted(by_text, key=len, reverse=True)
    pattern = re.compile(r"\b(" + "|".join(longest) + r")\b", re.IGNORECASE)

    def other(match: re.Match[str]) -> str:
        new = by_text[match[0].lower()]
        return new[:1].upper() + new[1:] if match[0][:1].isupper() else new

    def turned(key: str, text: str) -> str:
        if key.startswith(CALENDAR):
            return text
        parts = re.split(r"({[^}]*})", text)
        return "".join(p if p.startswith("{") else pattern.sub(other, p) for p in parts)

    return {key: turned(key, text) for key, text in texts.items()}


def _flat(table: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        out += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, str(value))]
    return out


class Words:
    """Texts and number formats of one language, with the labels a study brings.

    ``words("summary.costs", programme=…)`` gives a text with its fields filled in (KeyError for an
    unknown key); ``words.label("outcome", key)`` the name of a thing.
    """

    def __init__(
        self, language: str, *labels: Mapping[str, Texts], time_unit: str = "months"
    ) -> None:
        self.language = language
        self._texts = _in_unit(language, time_unit)
        self._labels = {
            key: texts[language]
            for table in labels
            for key, texts in table.items()
            if texts.get(language)
        }

    def __call__(self, key: str, **fields: Any) -> str:
        text = self._texts[key]
        return text.format(**fields) if fields else text

    def has(self, key: str) -> bool:
        """Whether there is a text of that key."""
        return key in self._texts

    def label(self, kind: str, key: str) -> str:
        """What ``key`` is called: the study's label, the built-in one, or the key made readable."""
        key = str(key)
        if key in self._labels:
            return self._labels[key]
        if self.has(f"label.{kind}.{key}"):
            return self._texts[f"label.{kind}.{key}"]
        if kind in ("subgroup", "covariate") and "=" in key:
            name, level = key.split("=", 1)
            level = re.sub(r"(?<=\d)-(?=\d)", "–", self.label("level", level))
            return level if name == "sex" else f"{self.label('grouping', name)} {level}"
        if kind == "covariate":
            return self._covariate(key)
        for mark in ("/", "|", ":"):
            if kind == "population" and mark in key:
                parts = [self.label(kind, part.strip()) for part in key.split(mark)]
                return f"{parts[0]} ({', '.join(parts[1:])})"
        return key.replace("_", " ")

    def _covariate(self, key: str) -> str:
        """A covariate's name from its pattern: window of months, band, level, log or the bare word."""
        t = self._texts
        window = re.fullmatch(r"(.+)_(\d+)", key)
        if window and f"label.covariate_window.{window[1]}" in t:
            return t[f"label.covariate_window.{window[1]}"].format(months=window[2])
        band = re.fullmatch(r"([a-z_]+?)_(\d+)_(\d+|up)", key)
        if band and f"label.covariate_band.{band[1]}" in t:
            high = "+" if band[3] == "up" else f"–{band[3]}"
            return t[f"label.covariate_band.{band[1]}"].format(band=f"{band[2]}{high}")
        for stem in (
            "landgruppe",
            "education",
            "diagnosis",
            "innsatsgruppe",
            "last",
            "month",
            "year",
        ):
            level = key.removeprefix(f"{stem}_")
            if level != key:
                kind = "programme" if stem == "last" else "level"
                name = self.label(kind, level).split(" (", 1)[0]
                return f"{t[f'label.covariate_level.{stem}']} {name}"
        return key.replace("_", " ")

    def number(self, value: float | int | None, decimals: int = 0, *, signed: bool = False) -> str:
        """A number in the language's style; a missing one is a dash."""
        if value is None or not np.isfinite(float(value)):
            return "–"
        text = f"{abs(float(value)):,.{decimals}f}"
        negative = float(value) < 0 and any(c in "123456789" for c in text)
        if self.language == "nb":
            text = text.replace(",", THIN).replace(".", ",")
        positive = "+" if signed and any(c in "123456789" for c in text) else ""
        return (MINUS if negative else positive) + text

    def amount(
        self, value: float | None, unit: str, *, signed: bool = False, extra: int = 0
    ) -> str:
        """A number of the unit as shown (shares in per cent), without the unit's name."""
        if value is None or not np.isfinite(float(value)):
            return "–"
        decimals = DECIMALS.get(unit.lower(), 2) + extra
        return self.number(float(value) * SCALE.get(unit.lower(), 1.0), decimals, signed=signed)

    def interval(self, low: float | None, high: float | None, unit: str, *, extra: int = 0) -> str:
        """``[a; b]`` in bokmål, ``[a, b]`` in English; a missing end is left open.

        English numbers with commas of their own are set apart by a word: ``[-1,200 to 3,400]``.
        """
        if low is None or high is None or (np.isnan(low) and np.isnan(high)):
            return "–"
        ends = [
            self("number.open") if np.isnan(end) else self.amount(end, unit, extra=extra)
            for end in (low, high)
        ]
        if self.language == "en" and any("," in end for end in ends):
            return f"[{self('word.from_to', low=ends[0], high=ends[1])}]"
        return f"[{('; ' if self.language == 'nb' else ', ').join(ends)}]"

    def unit(self, unit: str, *, difference: bool = True) -> str:
        """The unit's name: percentage points for a difference of shares."""
        key = f"unit.{unit.lower()}.{'difference' if difference else 'level'}"
        return self(key) if self.has(key) else unit

    def listed(self, items: list[str]) -> str:
        """``a, b and c``."""
        if len(items) < 2:
            return "".join(items)
        return f"{', '.join(items[:-1])} {self('word.and')} {items[-1]}"
