"""One diagnostic and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Status = Literal["passed", "failed", "informative", "not_evaluated"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One diagnostic: what was looked at, the number found, the threshold fixed in advance.

    ``key`` names the check and its texts in the report; ``scope`` says for which population,
    programme, subgroup or table; ``message`` holds the values its text needs. ``detail`` is an
    aggregate table (never rows of persons). ``counts`` names the columns of ``detail`` that are
    counts of persons, which disclosure control must see.
    """

    key: str
    status: Status
    scope: Mapping[str, str] = field(default_factory=dict)
    statistic: float | None = None
    threshold: float | None = None
    message: Mapping[str, Any] = field(default_factory=dict)
    detail: pd.DataFrame | None = None
    counts: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping; ``detail`` becomes a list of records."""
        rows = None if self.detail is None else self.detail.to_dict(orient="records")
        return {
            "key": self.key,
            "status": self.status,
            "scope": dict(self.scope),
            "statistic": self.statistic,
            "threshold": self.threshold,
            "message": dict(self.message),
            "detail": rows,
        }
