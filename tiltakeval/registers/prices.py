"""Fixed prices and the grunnbeløp, from ``prices.toml`` or a file like it."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tiltakeval.errors import InputError

FILE = Path(__file__).parent / "prices.toml"


@dataclass(frozen=True)
class Prices:
    """``cpi``: annual average by year. ``grunnbelop``: NOK a year by first day. Both ascending."""

    cpi: Mapping[int, float]
    grunnbelop: Mapping[dt.date, int]
    sources: Mapping[str, str]

    def deflator(self, year: int, base: int) -> float:
        """Kroner of ``base`` per krone of ``year``: multiply a nominal amount by it.

        Raises InputError for a year without an index.
        """
        for wanted in (year, base):
            if wanted not in self.cpi:
                raise InputError(
                    f"no consumer price index for {wanted}",
                    where="prices.toml: cpi.index",
                    remedy=f"Years {min(self.cpi)}-{max(self.cpi)} are there; add the year.",
                )
        return self.cpi[base] / self.cpi[year]

    def deflators(self, base: int) -> dict[int, float]:
        """``deflator(year, base)`` for every year there is."""
        return {year: self.deflator(year, base) for year in self.cpi}

    def g(self, day: dt.date) -> int:
        """The grunnbeløp in force on a day, NOK a year. Raises InputError before the first."""
        found = [amount for start, amount in self.grunnbelop.items() if start <= day]
        if not found:
            raise InputError(
                f"no grunnbeløp in force on {day}",
                where="prices.toml: grunnbelop.from",
                remedy="Add the amount and its first day.",
            )
        return found[-1]


def load(path: Path = FILE) -> Prices:
    """Read a price file. Raises InputError when it isn't one."""
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0)


def deflator(year: int, base: int) -> float:
    """Kroner of ``base`` per krone of ``year``, by the shipped index."""
    return load().deflator(year, base)


@lru_cache(maxsize=8)
def _load(path: Path, _stamp: int) -> Prices:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        cpi = {int(year): float(index) for year, index in values["cpi"]["index"].items()}
        grunnbelop = {
            dt.date.fromisoformat(day): int(amount)
            for day, amount in values["grunnbelop"]["from"].items()
        }
    except (OSError, tomllib.TOMLDecodeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(
            f"is not a price file ({type(error).__name__}: {error})",
            where=path.name,
            remedy="It needs [cpi.index] (year = index) and [grunnbelop.from] (date = amount).",
        ) from None
    if any(index <= 0 for index in cpi.values()):
        raise InputError(
            "holds an index that isn't positive",
            where=f"{path.name}: cpi.index",
            remedy="Correct it.",
        )
    sources = {k: str(v.get("source", "")) for k, v in values.items() if isinstance(v, dict)}
    return Prices(dict(sorted(cpi.items())), dict(sorted(grunnbelop.items())), sources)
