"""The study files of studies on spells: a row a spell, or a row a stretch of a spell."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tiltakeval.errors import InputError, unknown
from tiltakeval.study.spec_asking import AskingStudy
from tiltakeval.study.spec_file import FileAnalysis, FileStudy, SampleAnalysis, TimeUnit
from tiltakeval.study.spec_parts import Table

#: Measures of a spell that grow the longer it lasts, and parts of for_whom that rank people by effect.
LONGER, RANKED = ("restricted_mean", "survival"), ("sorted", "classification", "targeting")


class _Shared(Table):
    covariates: tuple[str, ...] = Field((), description="covariate columns, known at the start")
    derived: dict[str, str] = Field(
        default_factory=dict,
        description="columns made from others: a comparison ('re74 == 0') or a product ('a * b')",
    )
    weight: str | None = Field(None, description="column of sampling weights")
    cluster: str | None = Field(
        None, description="column of the clusters; left out: each person (or row) its own"
    )
    subgroups: dict[str, str] = Field(
        default_factory=dict, description="groupings: name and column"
    )


class SpellOutcome(Table):
    """A number for each spell, whatever censoring hides of it: an outcome for estimators of effects."""

    within: int = Field(ge=1, description="the time up to which it is counted")
    measure: Literal["restricted_mean", "survival", "incidence", "time_lost"] = Field(
        "restricted_mean",
        description="restricted_mean: time until any exit; survival: no exit by then; incidence: the "
        "exit by then; time_lost: time since the exit",
    )
    exit: str | None = Field(
        None, description="the exit of incidence and time_lost, where there are several"
    )


class SpellColumns(_Shared):
    """What the columns are, in a file with a row a spell."""

    duration: str = Field(description="column of how long the spell lasted")
    event: str | tuple[str, ...] = Field(
        description="column naming the exit, or a 0/1 column for each exit"
    )
    censored: str | int = Field(0, description="value of the exit column that is no exit")
    exits: dict[str, str] = Field(
        default_factory=dict, description="values of the exit column and what they are called"
    )
    treatment: str | None = Field(None, description="column of the arms; left out: one curve")
    comparison: str | int | None = Field(
        None, description="value of the treatment that the others are compared with"
    )
    entry: str | None = Field(
        None, description="column of the time from which the spell is observed; left out: 0"
    )
    outcomes: dict[str, SpellOutcome] = Field(
        default_factory=dict, description="what spells come to, for estimators of effects, by name"
    )


class HistoryColumns(_Shared):
    """What the columns are, in a file with a row for each stretch of a spell."""

    id: str = Field(description="column of the person; rows of a person together, in time order")
    event: str = Field(description="column of what happens at the end of the row, 0 for nothing")
    exits: dict[str, str] = Field(
        min_length=1, description="values of the event column and what they are called"
    )
    duration: str | None = Field(None, description="column of the length of the row")
    start: str | None = Field(None, description="column of when the row starts, if no duration")
    stop: str | None = Field(None, description="column of when the row stops, if no duration")
    programme: tuple[str, ...] = Field((), description="0/1 columns of programme status")
    entries: tuple[str, ...] = Field(
        (), description="exits that are entries to a programme; left out: those called so"
    )
    state: str | None = Field(None, description="column of the state, with risk_sets")
    risk_sets: dict[str, str] = Field(
        default_factory=dict, description="states and the exits possible in them: job+programme"
    )
    spell: str | None = Field(None, description="column of the spell, where persons have several")
    observed_from: str | None = Field(
        None, description="column of the time from which the person is observed"
    )


class SpellAnalysis(SampleAnalysis):
    """One estimator on one sample."""

    subgroups: tuple[str, ...] | None = Field(
        None, description="groupings; left out: all declared; []: everybody together alone"
    )
    by_arm: bool = Field(True, description="by treatment; false: everybody together")


class DurationStudy(AskingStudy):
    """A study on prepared spells: how long, until which exit, and what a programme does to that."""

    takes: ClassVar[tuple[str, ...]] = ("durations", "event_history", "cross_section")

    level: Literal["durations"] = Field(description="durations")
    columns: SpellColumns = Field(description="what the columns are")
    analysis: tuple[SpellAnalysis, ...] = Field(min_length=1, description="analyses")
    time_unit: TimeUnit = Field("months", description="what durations are counted in")
    summary_month: int = Field(24, ge=0, description="time the short answers are given for")

    def _own_errors(self) -> list[InputError]:
        columns, errors = self.columns, list[InputError]()
        for number, one in enumerate(self.analysis, 1):
            where = f"analysis {number}"
            if one.of_units and (columns.treatment is None or not columns.outcomes):
                errors.append(
                    InputError(
                        f"{one.estimator} compares arms in an outcome, and none is declared",
                        where=where,
                        remedy="Name the treatment under [columns], and what spells come to under "
                        "[columns.outcomes]: time_to_job = { within = 24 }.",
                    )
                )
            if one.of_units and not one.by_arm:
                errors.append(
                    InputError(f"{one.estimator} compares arms", where=f"{where}, by_arm")
                )
            errors += [
                unknown("subgroup", name, list(columns.subgroups), where=f"{where}, subgroups")
                for name in one.subgroups or ()
                if name not in columns.subgroups
            ]
            if one.outcomes and not one.of_units:
                errors.append(
                    InputError(
                        f"{one.estimator} takes the spells themselves", where=f"{where}, outcomes"
                    )
                )
        for number, asked in enumerate(self.for_whom, 1):
            outcome = columns.outcomes.get(asked.outcome)
            ranked = set(asked.parts) & set(RANKED) or asked.policy is not None
            if outcome is not None and outcome.measure in LONGER and ranked:
                errors.append(
                    InputError(
                        f"'{asked.outcome}' is larger the longer people stay, so that those ranked "
                        "first would be those held back most, not those helped most",
                        where=f"for_whom {number}, outcome",
                        remedy="Use an outcome with the measure time_lost or incidence, or leave out "
                        f"policy and the parts {', '.join(RANKED)}.",
                    )
                )
        return errors + super()._own_errors()


class EventHistoryStudy(FileStudy):
    """A study on event histories: exits, and how programme status and covariates move them."""

    takes: ClassVar[tuple[str, ...]] = ("event_history",)

    level: Literal["event_history"] = Field(description="event_history")
    columns: HistoryColumns = Field(description="what the columns are")
    analysis: tuple[FileAnalysis, ...] = Field(min_length=1, description="analyses")
    time_unit: TimeUnit = Field("months", description="what time is counted in")
    summary_month: int = Field(24, ge=0, description="time the short answers are given for")
