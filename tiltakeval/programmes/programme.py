"""A labour-market programme as data: names, codes, who may enter, how long, rates, costs."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Literal

from tiltakeval.months import month_index

NOT_GIVEN = "not given"
"""Status of a fact its sources do not state. Nothing is filled in for it."""

WEEKS_PER_MONTH = 30.4375 / 7

STATES = (
    "jobseeker",
    "nedsatt_arbeidsevne",
    "sykmeldt",
    "ansatt",
    "uforetrygd",
    "sosialhjelp",
    "flyktning_nyankommet",
    "innvandrer_hjemmevaerende",
)
"""States a person may enter from; the first two are the base states of the spells table."""

DELIVERY = (
    "employer",
    "tendered",
    "in_house",
    "approved_organiser",
    "municipal",
    "county",
    "ordinary_education",
    "health_service",
)
SYSTEMS = ("arena", "valp", "team_tiltak", "behandlingstema", "tiltakeval")
INNSATSGRUPPER = ("IKVAL", "BFORM", "BATT", "VARIG")


@dataclass(frozen=True)
class Provenance:
    """Where a fact comes from: a source, or assumed by this toolkit, or neither (not given)."""

    source: str | None = None
    assumed: bool = False


@dataclass(frozen=True, kw_only=True)
class Code:
    """A code the programme is registered under. ``start <= date < stop``; None is open."""

    system: str
    code: str
    start: dt.date | None = None
    stop: dt.date | None = None
    label: str | None = None
    earlier_labels: tuple[str, ...] = ()
    form: str | None = None
    trial: bool = False
    phase_out: bool = False
    misspelt: bool = False
    provenance: Provenance = Provenance()

    def valid(self, day: dt.date) -> bool:
        """Whether the code stands for the programme on that day."""
        return _within(day, self.start, self.stop)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who may enter: any of the states, at an age in whole years, while the rule holds.

    ``innsatsgrupper`` is empty where no restriction is known; ``condition`` holds what a register
    can't tell.
    """

    states: tuple[str, ...]
    min_age: int | None = None
    max_age: int | None = None
    start: dt.date | None = None
    stop: dt.date | None = None
    innsatsgrupper: tuple[str, ...] = ()
    innsatsgruppe_source: str | None = None
    condition: str | None = None
    note: str | None = None
    provenance: Provenance = Provenance()


@dataclass(frozen=True, kw_only=True)
class Duration:
    """How long a place may last, in months: ``limit`` is "limited", "none" or "not given"."""

    states: tuple[str, ...]
    limit: Literal["limited", "none", "not given"]
    usual_months: float | None = None
    max_months: float | None = None
    start: dt.date | None = None
    stop: dt.date | None = None
    note: str | None = None
    provenance: Provenance = Provenance()


@dataclass(frozen=True, kw_only=True)
class Subsidy:
    """A subsidy rate (share of ``base``) for months first..last of the place; None: not given."""

    states: tuple[str, ...]
    rate: float | None
    first_month: int = 0
    last_month: int | None = None
    start: dt.date | None = None
    stop: dt.date | None = None
    base: str | None = None
    cap_g_per_year: float | None = None
    note: str | None = None
    provenance: Provenance = Provenance()


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cost field in its own unit and price year; ``value`` None: the sources do not give it."""

    item: str
    unit: str
    value: float | None = None
    year: int | None = None
    note: str | None = None
    provenance: Provenance = Provenance()


@dataclass(frozen=True, kw_only=True)
class Programme:
    """One programme. Built by ``catalogue.load`` from ``catalogue/<key>.toml``."""

    key: str
    group: str
    name_nb: str
    name_en: str
    codes: tuple[Code, ...]
    entry: tuple[Entry, ...]
    durations: tuple[Duration, ...]
    subsidies: tuple[Subsidy, ...]
    costs: tuple[Cost, ...]
    available_from: dt.date | None
    available_to: dt.date | None
    predecessors: tuple[str, ...]
    successors: tuple[str, ...]
    delivery: tuple[str, ...]
    employment_is_aim: bool
    subsidises_wage: bool
    gives_tiltakspenger: bool | None
    provenance: dict[str, Provenance]
    """By section: name, availability, delivery, aim, wage, allowance."""
    notes: tuple[str, ...] = ()

    @property
    def target_states(self) -> tuple[str, ...]:
        """Every state from which some rule, at some time, lets a person in."""
        return tuple(s for s in STATES if any(s in rule.states for rule in self.entry))

    @property
    def arena_codes(self) -> tuple[str, ...]:
        """Codes in Arena, historical ones included."""
        return tuple(c.code for c in self.codes if c.system == "arena")

    @property
    def source(self) -> str | None:
        """Source of the programme's name."""
        return self.provenance["name"].source

    def name(self, language: str) -> str:
        """The name in ``nb`` or ``en``."""
        return self.name_nb if language == "nb" else self.name_en

    def open_to(self, state: str, month: int, age: int, innsatsgruppe: str | None = None) -> bool:
        """Whether a person in ``state``, ``age`` whole years old, may enter in ``month``.

        ``month`` is a month index. ``innsatsgruppe`` is only held against the rules when given.
        Conditions no register shows (a diagnosis in treatment, say) are not part of the answer.
        """
        return any(
            row.first_month <= month < row.stop_month
            and row.min_age <= age <= row.max_age
            and (
                not row.innsatsgrupper
                or innsatsgruppe is None
                or innsatsgruppe in row.innsatsgrupper
            )
            for row in self.windows(state)
        )

    def windows(self, state: str) -> tuple[Window, ...]:
        """The entry rules for ``state`` with dates as months, cut to when the programme existed."""
        found = []
        for rule in self.entry:
            if state not in rule.states:
                continue
            first = max(_first_month(self.available_from), _first_month(rule.start))
            stop = min(_stop_month(self.available_to), _stop_month(rule.stop))
            if first < stop:
                low = 0 if rule.min_age is None else rule.min_age
                high = 200 if rule.max_age is None else rule.max_age
                found.append(Window(self.key, state, first, stop, low, high, rule.innsatsgrupper))
        return tuple(found)

    def duration(self, state: str, on: dt.date | None = None) -> Duration | None:
        """The duration rule for a state (on a date), or None when none is declared."""
        for rule in self.durations:
            if state in rule.states and (on is None or _within(on, rule.start, rule.stop)):
                return rule
        return None

    def max_duration_months(self, state: str, on: dt.date | None = None) -> float | None:
        """Longest stay in months: infinite without a limit, None where not given."""
        rule = self.duration(state, on)
        if rule is None or rule.limit == "not given":
            return None
        if rule.limit == "none":
            return math.inf
        return rule.max_months if rule.max_months is not None else rule.usual_months

    def subsidy_rate(self, state: str, month_in_programme: int, on: dt.date) -> float | None:
        """Subsidised share of the wage bill in that month (0 = first) of a place running ``on`` a
        date: 0 for a programme that subsidises no wage, None where the rate is not given."""
        if not self.subsidises_wage:
            return 0.0
        for rule in self.subsidies:
            last = math.inf if rule.last_month is None else rule.last_month
            in_months = rule.first_month <= month_in_programme <= last
            if state in rule.states and in_months and _within(on, rule.start, rule.stop):
                return rule.rate
        return None

    def cost(self, item: str) -> Cost | None:
        """The cost field of that name, or None."""
        return next((c for c in self.costs if c.item == item), None)


@dataclass(frozen=True)
class Window:
    """An entry rule as whole months: first <= month < stop, min_age <= age <= max_age."""

    programme: str
    state: str
    first_month: int
    stop_month: int
    min_age: int
    max_age: int
    innsatsgrupper: tuple[str, ...] = ()


def _within(day: dt.date, start: dt.date | None, stop: dt.date | None) -> bool:
    return (start is None or start <= day) and (stop is None or day < stop)


def _first_month(day: dt.date | None) -> int:
    return 0 if day is None else month_index(day)


def _stop_month(day: dt.date | None) -> int:
    """First month wholly past ``day``: a rule that ends inside a month still holds in it."""
    if day is None:
        return 12 * 10_000
    return month_index(day) + (1 if day.day > 1 else 0)
