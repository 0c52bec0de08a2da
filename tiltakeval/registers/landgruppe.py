"""Country of birth to landgruppe, from ``landgruppe.toml`` or a file like it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
from ibis.expr.types import IntegerValue, StringValue

from tiltakeval.errors import InputError, InputErrors, counted

FILE = Path(__file__).parent / "landgruppe.toml"
_COUNTRY = re.compile(r"^[A-Z]{3}$")


@dataclass(frozen=True)
class Landgrupper:
    """A version of the lookup. ``groups``: ISO alpha-3 -> 0..3; ``labels``: language -> group."""

    version: str
    source: str
    groups: Mapping[str, int]
    unknown: tuple[str, ...]
    labels: Mapping[str, Mapping[int, str]]

    def group(self, country: str) -> int | None:
        """The country's group, None when the country is unknown or not in the lookup."""
        return self.groups.get(country)

    def expression(self, country: StringValue) -> IntegerValue:
        """The group of a column of countries: 0..3, missing where unknown."""
        branches = [
            (country.isin([c for c, g in self.groups.items() if g == number]), number)
            for number in sorted(set(self.groups.values()))
        ]
        return ibis.cases(*branches, else_=ibis.null("int64")).cast("int64")


def lookup(path: Path = FILE) -> Landgrupper:
    """Read a lookup. Raises InputErrors with every fault: bad codes, a country in two groups."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"can't be read ({type(error).__name__})", where=path.name, remedy="Give a TOML file."
        ) from None
    faults: list[InputError] = []
    groups: dict[str, int] = {}
    for text, countries in values.get("groups", {}).items():
        if text not in ("0", "1", "2", "3"):
            faults.append(
                InputError(f"'{text}' is no landgruppe", where=path.name, remedy="Use 0-3.")
            )
            continue
        for country in countries:
            where = f"{path.name}: groups.{text}"
            if not isinstance(country, str) or not _COUNTRY.match(country):
                faults.append(
                    InputError(
                        f"'{country}' is no country code", where=where, remedy="Use ISO alpha-3."
                    )
                )
            elif country in groups:
                faults.append(
                    InputError(
                        f"{country} is also in group {groups[country]}",
                        where=where,
                        remedy="Keep it in one group.",
                    )
                )
            else:
                groups[country] = int(text)
    for needed in ("version", "source", "groups"):
        if needed not in values:
            faults.append(InputError(f"has no '{needed}'", where=path.name, remedy="Add it."))
    if faults:
        raise InputErrors(
            faults, title=f"The landgruppe lookup has {counted(len(faults), 'fault')}."
        )
    labels = {
        language: {int(number): str(label) for number, label in found.items()}
        for language, found in values.get("labels", {}).items()
    }
    unknown = tuple(values.get("unknown", ()))
    return Landgrupper(values["version"], values["source"], groups, unknown, labels)
