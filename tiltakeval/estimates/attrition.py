"""Who was lost where: one line per filter between the register and the units analysed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

COLUMNS = ("population", "step", "persons", "units")


@dataclass(frozen=True)
class Attrition:
    """Counts left after each filter, in order.

    ``steps`` has columns population, step (a key the report words), persons, units (person-months
    or trials; missing where the step is about persons).
    """

    steps: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(COLUMNS)))

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.steps.columns]
        if missing:
            raise ValueError(f"attrition lacks columns {missing}")

    @classmethod
    def of(cls, population: str, rows: Iterable[tuple[str, int | None, int | None]]) -> Attrition:
        """Build from (step, persons, units) rows in order."""
        table = pd.DataFrame([(population, *row) for row in rows], columns=list(COLUMNS)).astype(
            {"persons": "Int64", "units": "Int64"}
        )
        return cls(table)

    @classmethod
    def concat(cls, parts: Sequence[Attrition]) -> Attrition:
        """The parts below one another, without repeats."""
        tables = [part.steps for part in parts if len(part.steps)]
        if not tables:
            return cls()
        return cls(pd.concat(tables, ignore_index=True).drop_duplicates(ignore_index=True))

    def removed(self) -> pd.DataFrame:
        """``steps`` with removed_persons and removed_units against the line before."""
        out = self.steps.copy()
        for name in ("persons", "units"):
            out[f"removed_{name}"] = -out.groupby("population", sort=False)[name].diff()
        return out
