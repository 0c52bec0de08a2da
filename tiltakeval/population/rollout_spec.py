"""What a roll-out over offices is, read from registers: one frozen declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from tiltakeval.errors import InputError, InputErrors, unknown
from tiltakeval.population.spec import STATES
from tiltakeval.spells.outcomes import BENEFITS, OUTCOMES

WHO = ("fixed", "current", "entering")
#: Months in each kind of period; a period's number is its first month's index over that.
PERIODS: Mapping[str, int] = {"month": 1, "quarter": 3, "half_year": 6, "year": 12}
#: Splits of the eligible with their levels; known in the month that makes somebody eligible.
SPLITS: Mapping[str, tuple[str, ...]] = {
    "sex": ("male", "female"),
    "age_band": ("18-29", "30-59", "60-66"),
    "landgruppe": ("0", "1", "2", "3"),
    **{name: ("no", "yes") for name in BENEFITS},
}
#: Facts that participation may be predicted from: splits, and what else is known in the base month.
FACTS: Mapping[str, tuple[str, ...]] = {
    **SPLITS,
    "mental_diagnosis": ("no", "yes"),
    "registered_band": ("0-5", "6-11", "12+"),
}
#: Between the levels of several facts in one label.
JOIN = "|"
#: More profiles than this leave hardly anybody in each.
MAX_PROFILES = 500
TABLES = ("jobs", "benefits")


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """A programme introduced office by office, and the group whose outcomes are followed there.

    programme: catalogue key. window: first and last month (month indices, both included) in which
    outcomes are measured; whole periods. state: base state.

    who, the eligible, by facts known in one month (the *base month*) alone: "fixed", those eligible in
    the month ``reference`` (default the window's first), followed through the window, so that the
    programme can't change who they are; "current", in every month those eligible then, their outcome
    ``after`` months later (repeated cross-sections: the programme may change who is there, which the
    composition shows); "entering", those in their spell's first whole month, likewise.
    Eligible means registered in the state through the whole month, of the ages (whole years, both
    included), alive and resident, with none of the benefits ``without`` and, unless empty, one of
    ``receiving`` paid for the month.

    unit: "office" or "region" (offices by a table given beside). office: of the spell's start, or in
    force in the base month ("month"). starts: "table", the registers' roll-out table, or
    "participants", the first month in which somebody starts the programme with ``least`` starts within
    ``within`` months from it. An office without a start is never treated.

    period: "month", "quarter", "half_year" or "year"; a unit is treated from the period its start is in.
    split: a fact of the base month (``SPLITS``) by which every unit is cut in two or more, such as a
    benefit that bars from the programme: the group it can't reach is the third difference. death:
    outcomes after it are 0 ("zero") or unknown ("censor"); after emigration they're unknown. fewest:
    unit-periods of fewer persons have no value. price_year: of fixed prices, None nominal.
    predictors: facts of the base month (``FACTS``) by which every unit is cut further, into profiles of
    persons alike, to predict from them who takes part.
    """

    programme: str
    window: tuple[int, int]
    outcomes: tuple[str, ...] = ("work_unsubsidised",)
    state: str = "nedsatt_arbeidsevne"
    who: str = "fixed"
    reference: int | None = None
    after: int = 0
    age: tuple[int, int] = (18, 66)
    without: tuple[str, ...] = ()
    receiving: tuple[str, ...] = ()
    unit: str = "office"
    office: str = "month"
    starts: str = "table"
    least: int = 3
    within: int = 3
    period: str = "year"
    split: str | None = None
    death: str = "zero"
    fewest: int = 1
    price_year: int | None = 2023
    predictors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        faults: list[InputError] = []
        for kind, given, known in (
            ("base state", self.state, STATES),
            ("rule", self.who, WHO),
            ("unit", self.unit, ("office", "region")),
            ("rule", self.office, ("spell_start", "month")),
            ("rule", self.starts, ("table", "participants")),
            ("period", self.period, tuple(PERIODS)),
            ("split", self.split, tuple(SPLITS)),
            ("rule", self.death, ("zero", "censor")),
        ):
            if given is not None and given not in known:
                faults.append(unknown(kind, given, known, where="roll-out"))
        for name in self.predictors:
            if name not in FACTS:
                faults.append(unknown("predictor", name, FACTS, where="roll-out, predictors"))
        named = [*self.predictors, *([self.split] if self.split else [])]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            faults.append(
                InputError(
                    f"'{twice[0]}' is used twice to cut the eligible", where="roll-out, predictors"
                )
            )
        elif not faults and len(self.levels) > MAX_PROFILES:
            faults.append(
                InputError(
                    f"the predictors make {len(self.levels)} profiles, more than {MAX_PROFILES}",
                    where="roll-out, predictors",
                    remedy="Name fewer.",
                )
            )
        for name in (*self.without, *self.receiving):
            if name not in BENEFITS:
                faults.append(unknown("benefit", name, BENEFITS, where="roll-out"))
        both = [name for name in self.without if name in self.receiving]
        if both:
            faults.append(InputError(f"nobody has {both[0]} and is without it", where="roll-out"))
        faults += self._outcome_faults()
        faults += self._month_faults()
        if self.age[0] > self.age[1]:
            faults.append(InputError("the lowest age is above the highest", where="roll-out, age"))
        for field, least in (("after", 0), ("least", 1), ("within", 1), ("fewest", 1)):
            if getattr(self, field) < least:
                faults.append(InputError(f"must be {least} or more", where=f"roll-out, {field}"))
        if faults:
            raise InputErrors(faults, title="The roll-out can't be built as declared.")

    @property
    def step(self) -> int:
        """Months in a period."""
        return PERIODS[self.period]

    @property
    def base_months(self) -> tuple[int, int]:
        """First and last month in which somebody becomes eligible."""
        if self.who == "fixed":
            month = self.window[0] if self.reference is None else self.reference
            return month, month
        return self.window[0] - self.after, self.window[1] - self.after

    @property
    def facts(self) -> tuple[str, ...]:
        """The facts that units are cut by: the split, then the predictors."""
        return (*(() if self.split is None else (self.split,)), *self.predictors)

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels of the split, or of it and the predictors together (``JOIN`` between them); one without
        a name where there is neither."""
        return tuple(JOIN.join(one) for one in product(*(FACTS[name] for name in self.facts)))

    def _outcome_faults(self) -> list[InputError]:
        faults = []
        if not self.outcomes:
            faults.append(InputError("no outcome is named", where="roll-out, outcomes"))
        for name in self.outcomes:
            if name not in OUTCOMES:
                faults.append(unknown("outcome", name, OUTCOMES, where="roll-out, outcomes"))
            elif OUTCOMES[name].table not in TABLES:
                fit = [key for key, one in OUTCOMES.items() if one.table in TABLES]
                faults.append(
                    InputError(
                        f"'{name}' isn't a monthly outcome of jobs or benefits",
                        where="roll-out, outcomes",
                        remedy=f"Use one of {', '.join(fit)}.",
                    )
                )
        return faults

    def _month_faults(self) -> list[InputError]:
        first, last = self.window
        if first > last:
            return [InputError("the window ends before it begins", where="roll-out, window")]
        if self.period not in PERIODS:
            return []
        faults = []
        if first % self.step or (last + 1) % self.step:
            faults.append(
                InputError(
                    f"the window doesn't hold whole periods of {self.step} months",
                    where="roll-out, window",
                    remedy="Begin and end it with a period, or choose a shorter period.",
                )
            )
        if last + 1 - first < 2 * self.step:
            faults.append(InputError("the window has one period only", where="roll-out, window"))
        if self.who != "fixed" and self.reference is not None:
            faults.append(
                InputError(f"'{self.who}' has no reference month", where="roll-out, reference")
            )
        if self.who == "fixed" and self.after:
            faults.append(
                InputError(
                    "a fixed group is followed through the window", where="roll-out, after",
                    remedy='Leave it out, or say who = "current".',
                )
            )  # fmt: skip
        if self.who == "fixed" and self.base_months[0] > last:
            faults.append(
                InputError("lies after the window", where="roll-out, reference")
            )  # the group's outcomes before its reference month are a look back
        return faults
