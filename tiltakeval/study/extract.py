"""Check an extract before anything is run on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiltakeval.engine import connect
from tiltakeval.estimates.check import Check
from tiltakeval.programmes import catalogue
from tiltakeval.registers import quality


@dataclass(frozen=True)
class Findings:
    """What the quality rules found."""

    checks: tuple[Check, ...]

    @property
    def errors(self) -> int:
        """How many findings make the extract unfit for use."""
        return len(quality.errors(self.checks))

    def text(self) -> str:
        """The findings for a terminal."""
        return quality.summary(self.checks)


def check_extract(folder: Path, *, source: str = "canonical") -> Findings:
    """Every finding about the extract in ``folder``. Raises InputError when there is none."""
    with connect() as engine:
        checks = quality.check_extract(
            folder, engine=engine, catalogue=catalogue.load(), source=source
        )
    return Findings(tuple(checks))
