"""A catalogue file to a Programme; every fault is noted with file and key, none stops the rest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tiltakeval.errors import InputError, nearest, unknown
from tiltakeval.programmes.programme import (
    DELIVERY,
    INNSATSGRUPPER,
    NOT_GIVEN,
    STATES,
    SYSTEMS,
    WEEKS_PER_MONTH,
    Code,
    Cost,
    Duration,
    Entry,
    Programme,
    Provenance,
    Subsidy,
)

_TOP = (
    "group", "codes", "entry", "duration", "subsidy", "costs", "name", "availability",
    "delivery", "aim", "wage", "allowance", "notes",
)  # fmt: skip
_SOURCE = ("source", "assumed", "note")
_PERIOD = ("from", "to")
_CODE = (
    *_PERIOD, "system", "code", "label", "earlier_labels", "form", "trial", "phase_out", "misspelt",
)  # fmt: skip
_ENTRY = (
    *_PERIOD, "states", "min_age", "max_age", "innsatsgrupper", "innsatsgruppe_source", "condition",
)  # fmt: skip
_DURATION = (*_PERIOD, "states", "usual", "maximum", "unit", "status")
_SUBSIDY = (
    *_PERIOD, "states", "rate", "first_month", "last_month", "cap_g_per_year", "base", "status",
)  # fmt: skip
_COST = ("item", "value", "unit", "year", "status")


class Section:
    """One table of a file, read key by key; what is wrong goes to ``faults``."""

    def __init__(
        self, values: Any, where: str, faults: list[InputError], known: Sequence[str]
    ) -> None:
        self.where, self.faults = where, faults
        if not isinstance(values, Mapping):
            self.fault("should be a table", "Write it as key = value pairs.")
            values = {}
        self.values: Mapping[str, Any] = values
        for key in values:
            if key not in known:
                faults.append(unknown("key", key, known, where=where))

    def fault(self, what: str, remedy: str, key: str | None = None) -> None:
        where = self.where if key is None else f"{self.where}.{key}"
        self.faults.append(InputError(what, where=where, remedy=remedy))

    def get(self, key: str, kinds: type | tuple[type, ...], *, required: bool = False) -> Any:
        """The value if it has the type, None if absent; a wrong type or a lack is a fault."""
        value = self.values.get(key)
        if value is None:
            if required:
                guess = nearest(key, self.values)
                hint = f"Is '{guess}' meant? " if guess else ""
                self.fault("is missing", f"{hint}Add it.", key)
            return None
        wanted = kinds if isinstance(kinds, tuple) else (kinds,)
        if (isinstance(value, bool) and bool not in wanted) or isinstance(value, dt.datetime):
            value_ok = False
        else:
            value_ok = isinstance(value, wanted)
        if not value_ok:
            names = " or ".join(k.__name__ for k in wanted)
            self.fault(f"is a {type(value).__name__}", f"Give a {names}.", key)
            return None
        return value

    def names(
        self, key: str, allowed: Sequence[str] | None = None, *, required: bool = False
    ) -> tuple[str, ...]:
        """A list of text values, each one of ``allowed``."""
        values = self.get(key, list, required=required) or []
        good = [v for v in values if isinstance(v, str)]
        if len(good) < len(values):
            self.fault("holds something that isn't text", "Give a list of names.", key)
        if required and key in self.values and not values:
            self.fault("is empty", "Name at least one.", key)
        for value in good:
            if allowed is not None and value not in allowed:
                self.faults.append(unknown(key, value, allowed, where=self.where))
        return tuple(good)

    def period(self) -> tuple[dt.date | None, dt.date | None]:
        start, stop = self.get("from", dt.date), self.get("to", dt.date)
        if start is not None and stop is not None and start >= stop:
            self.fault("'from' is not before 'to'", "'to' is the first day it no longer holds.")
        return start, stop

    def provenance(self, *, required: bool = True) -> Provenance:
        source, assumed = self.get("source", str), bool(self.get("assumed", bool))
        if required and not source and not assumed:
            self.fault(
                "has neither source nor assumed = true",
                "Say where it comes from, or that it is assumed.",
            )
        if source and assumed:
            self.fault("has both a source and assumed = true", "Keep one of them.")
        return Provenance(source, assumed)


def parse(key: str, values: Mapping[str, Any], file: str, faults: list[InputError]) -> Programme:
    """The programme in one file's ``values``. Faults are appended; the result is then not usable."""
    top = Section(values, file, faults, _TOP)

    def section(name: str, keys: Sequence[str]) -> Section:
        if name not in values:
            top.fault("is missing", f"Add a [{name}] table.", name)
        return Section(values.get(name, {}), f"{file}: {name}", [] if name not in values else faults,
                       (*keys, *_SOURCE))  # fmt: skip

    def rows(name: str, keys: Sequence[str], *, required: bool = True) -> list[Section]:
        found = top.get(name, list, required=required) or []
        known = (*keys, *_SOURCE)
        return [
            Section(row, f"{file}: {name}[{number}]", faults, known)
            for number, row in enumerate(found)
        ]

    name = section("name", ("nb", "en"))
    availability = section("availability", ("from", "to", "predecessors", "successors", "status"))
    delivery = section("delivery", ("kinds",))
    aim, wage = section("aim", ("employment",)), section("wage", ("subsidised",))
    origin = {
        "name": name.provenance(),
        "availability": availability.provenance(
            required=availability.get("status", str) != NOT_GIVEN
        ),
        "delivery": delivery.provenance(),
        "aim": aim.provenance(),
        "wage": wage.provenance(),
    }
    tiltakspenger = None
    if "allowance" in values:
        allowance = section("allowance", ("tiltakspenger",))
        tiltakspenger = allowance.get("tiltakspenger", bool, required=True)
        origin["allowance"] = allowance.provenance()
    start, stop = availability.period()
    return Programme(
        key=key,
        group=top.get("group", str, required=True) or "",
        name_nb=name.get("nb", str, required=True) or "",
        name_en=name.get("en", str, required=True) or "",
        codes=tuple(_code(row) for row in rows("codes", _CODE)),
        entry=tuple(_entry(row) for row in rows("entry", _ENTRY)),
        durations=tuple(_duration(row) for row in rows("duration", _DURATION)),
        subsidies=tuple(_subsidy(row) for row in rows("subsidy", _SUBSIDY, required=False)),
        costs=tuple(_cost(row) for row in rows("costs", _COST)),
        available_from=start,
        available_to=stop,
        predecessors=availability.names("predecessors"),
        successors=availability.names("successors"),
        delivery=delivery.names("kinds", DELIVERY, required=True),
        employment_is_aim=bool(aim.get("employment", bool, required=True)),
        subsidises_wage=bool(wage.get("subsidised", bool, required=True)),
        gives_tiltakspenger=tiltakspenger,
        provenance=origin,
        notes=top.names("notes"),
    )


def _code(row: Section) -> Code:
    system = row.get("system", str, required=True) or ""
    if system and system not in SYSTEMS:
        row.faults.append(unknown("system", system, SYSTEMS, where=row.where))
    start, stop = row.period()
    return Code(
        system=system,
        code=row.get("code", str, required=True) or "",
        start=start,
        stop=stop,
        label=row.get("label", str),
        earlier_labels=row.names("earlier_labels"),
        form=row.get("form", str),
        trial=bool(row.get("trial", bool)),
        phase_out=bool(row.get("phase_out", bool)),
        misspelt=bool(row.get("misspelt", bool)),
        provenance=row.provenance(),
    )


def _entry(row: Section) -> Entry:
    start, stop = row.period()
    low, high = row.get("min_age", int), row.get("max_age", int)
    if low is not None and high is not None and low > high:
        row.fault("min_age is above max_age", "Swap or correct them.")
    groups = row.names("innsatsgrupper", INNSATSGRUPPER)
    group_source = row.get("innsatsgruppe_source", str)
    if groups and not group_source:
        row.fault("innsatsgrupper has no innsatsgruppe_source", "Say where the limit comes from.")
    return Entry(
        states=row.names("states", STATES, required=True),
        min_age=low,
        max_age=high,
        start=start,
        stop=stop,
        innsatsgrupper=groups,
        innsatsgruppe_source=group_source,
        condition=row.get("condition", str),
        note=row.get("note", str),
        provenance=row.provenance(),
    )


def _duration(row: Section) -> Duration:
    start, stop = row.period()
    usual, maximum = row.get("usual", (int, float)), row.get("maximum", (int, float))
    status, unit = row.get("status", str), row.get("unit", str) or "months"
    if unit not in ("months", "weeks"):
        row.faults.append(unknown("unit", unit, ("months", "weeks"), where=row.where))
    if status not in (None, "none", NOT_GIVEN):
        row.faults.append(unknown("status", str(status), ("none", NOT_GIVEN), where=row.where))
    if (status is None) == (usual is None and maximum is None):
        row.fault(
            "needs either usual/maximum or a status",
            "Give a number, status = 'none' (no limit) or status = 'not given'.",
        )
    for value in (usual, maximum):
        if value is not None and value <= 0:
            row.fault("is not positive", "Give a length above zero.")
    if usual is not None and maximum is not None and usual > maximum:
        row.fault("usual is above maximum", "Swap or correct them.")
    scale = 1.0 if unit == "months" else 1.0 / WEEKS_PER_MONTH
    limit: Literal["limited", "none", "not given"] = "limited"
    if status == "none":
        limit = "none"
    elif status == NOT_GIVEN:
        limit = "not given"
    return Duration(
        states=row.names("states", STATES, required=True),
        limit=limit,
        usual_months=None if usual is None else usual * scale,
        max_months=None if maximum is None else maximum * scale,
        start=start,
        stop=stop,
        note=row.get("note", str),
        provenance=row.provenance(required=status != NOT_GIVEN),
    )


def _subsidy(row: Section) -> Subsidy:
    start, stop = row.period()
    not_given = row.get("status", str) == NOT_GIVEN
    rate = row.get("rate", (int, float), required=not not_given)
    if rate is not None and not 0 <= rate <= 1:
        row.fault("rate is not a share between 0 and 1", "Write 40 per cent as 0.40.")
    return Subsidy(
        states=row.names("states", STATES, required=True),
        rate=None if rate is None else float(rate),
        first_month=row.get("first_month", int) or 0,
        last_month=row.get("last_month", int),
        start=start,
        stop=stop,
        base=row.get("base", str),
        cap_g_per_year=row.get("cap_g_per_year", (int, float)),
        note=row.get("note", str),
        provenance=row.provenance(required=not not_given),
    )


def _cost(row: Section) -> Cost:
    not_given = row.get("status", str) == NOT_GIVEN
    value = row.get("value", (int, float), required=not not_given)
    if not_given and value is not None:
        row.fault("has a value and status = 'not given'", "Drop one of them.")
    return Cost(
        item=row.get("item", str, required=True) or "",
        unit=row.get("unit", str, required=True) or "",
        value=None if value is None else float(value),
        year=row.get("year", int, required=not not_given),
        note=row.get("note", str),
        provenance=row.provenance(required=not not_given),
    )
