"""What a place costs, in NOK: given, or from the programme catalogue where its sources say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.programmes.catalogue import Catalogue, load

_PER = re.compile(r"^NOK per (?:participant|place) and (month|year)$")
#: Fields that may stand for the running cost of a place, the first that is given counts.
ITEMS = ("operation", "total_sheltered", "total_ordinary", "grant_sheltered", "grant_ordinary")
TAX_FINANCING = 0.2
"""Cost of financing a krone of public spending by taxes: Meld. St. 33 (2023-2024), note 175."""


def place_costs(
    arms: Sequence[str],
    given: Mapping[str, float],
    *,
    months: float | None = None,
    tax_financing: float = TAX_FINANCING,
    catalogue: Catalogue | None = None,
) -> NDArray[np.float64]:
    """[A] NOK a participant costs, arm 0 nothing, with the cost of tax financing added.

    ``given`` are NOK per participant; a programme left out is looked up in the catalogue, NOK per month
    times ``months`` in the programme. The catalogue fills in nothing that its sources don't state:
    raises InputError naming every programme without a cost.
    """
    if not (np.isfinite(tax_financing) and tax_financing >= 0):
        raise InputError("the cost of tax financing must be 0 or more", where="tax_financing")
    for name, value in given.items():
        if name not in arms[1:]:
            raise unknown("programme", name, arms[1:], where="costs")
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"a cost of {value} NOK can't be", where=f"costs {name}")
    out, lacking = np.zeros(len(arms)), []
    known = load() if catalogue is None and set(arms[1:]) - set(given) else catalogue
    for a, name in enumerate(arms[1:], start=1):
        found = given.get(name)
        if found is None and known is not None:
            found = _looked_up(known, name, months)
        if found is None:
            lacking.append(name)
        else:
            out[a] = found * (1.0 + tax_financing)
    if lacking:
        raise InputError(
            f"no cost is known for {len(lacking)} programme(s): {', '.join(lacking)}",
            where="costs",
            remedy="Give NOK per participant; the catalogue's sources don't state it"
            + (", or months in the programme are missing." if months is None else "."),
        )
    return out


def _looked_up(catalogue: Catalogue, name: str, months: float | None) -> float | None:
    """NOK per participant from the catalogue, None where it doesn't say."""
    if name not in catalogue or months is None:
        return None
    for item in ITEMS:
        cost = catalogue[name].cost(item)
        if cost is None or cost.value is None:
            continue
        per = _PER.match(cost.unit)
        if per is not None:
            return float(cost.value * (months if per[1] == "month" else months / 12))
    return None
