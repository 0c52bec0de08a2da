"""Named, dated rule sets for what may be published."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """What counts as a small cell, and how it is shown. See ``rules.toml`` for the fields."""

    name: str
    dated: str
    threshold: int
    symbol: str
    rounding: int = 0
    zeros_disclosive: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        if self.threshold < 2:
            raise InputError(
                f"a threshold of {self.threshold} hides nothing",
                where=f"disclosure rules '{self.name}'",
                remedy="Use a threshold of 2 or more.",
            )
        if self.rounding < 0:
            raise InputError("rounding is negative", where=f"disclosure rules '{self.name}'")

    def small(self, counts: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which counts may not be shown (missing counts: False)."""
        with np.errstate(invalid="ignore"):
            few = (counts > 0) & (counts < self.threshold)
            return few | (counts == 0) if self.zeros_disclosive else few

    def rounded(self, counts: NDArray[np.floating]) -> NDArray[np.floating]:
        """Counts rounded to whole numbers, or to the base when the rule states one."""
        base = self.rounding or 1
        return np.round(counts / base) * base

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        return asdict(self)


def _sets(path: Path | None) -> Mapping[str, Mapping[str, Any]]:
    if path is None:
        text = resources.files("tiltakeval.disclosure").joinpath("rules.toml").read_text("utf-8")
    elif path.exists():
        text = path.read_text("utf-8")
    else:
        raise InputError("no such file of disclosure rules", where=path.name)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = "disclosure rules" if path is None else path.name
        raise InputError(f"not valid TOML: {error}", where=where) from None


def rule_names(path: Path | None = None) -> tuple[str, ...]:
    """The names of the rule sets."""
    return tuple(_sets(path))


def load_rules(name: str, path: Path | None = None) -> RuleSet:
    """The rule set of that name, from the package or a file of one's own. Raises InputError."""
    sets = _sets(path)
    if name not in sets:
        raise unknown("disclosure rule set", name, sets)
    try:
        return RuleSet(name=name, **sets[name])
    except TypeError as error:
        raise InputError(
            f"a field is missing or unknown ({error})", where=f"disclosure rules '{name}'"
        ) from None
