"""The study file of a study on a register extract."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tiltakeval.errors import InputError, InputErrors
from tiltakeval.study.spec_against import AGAINST, comparison_errors
from tiltakeval.study.spec_controls import NegativeControl, control_errors
from tiltakeval.study.spec_for_whom import ForWhom, for_whom_errors
from tiltakeval.study.spec_hazard import Hazard
from tiltakeval.study.spec_parts import (
    Covariate,
    Estimand,
    Estimator,
    Inference,
    Month,
    Outcome,
    Programme,
    RuleSet,
    Slug,
    State,
    SubgroupName,
    Table,
    Text,
    Thresholds,
    repeated,
)


class Entry(Table):
    """Who enters when, and how long they are followed."""

    entry: tuple[Month, Month] = Field(description="first and last month of time zero")
    time_origin: Literal["vedtak", "start"] = Field(
        "vedtak", description="what month 0 is: the decision (vedtak) or the start"
    )
    horizon: int = Field(36, ge=1, le=240, description="months followed after month 0")
    placebo_months: int = Field(
        12,
        ge=0,
        le=36,
        description="months checked, just before the 24 the covariates look back on",
    )
    ages: tuple[int, int] = Field((18, 66), description="youngest and oldest age at month 0")
    min_months_registered: int = Field(1, ge=0, description="shortest registration at month 0")
    max_months_registered: int | None = Field(
        None, ge=0, description="longest registration at month 0; left out: no limit"
    )
    innsatsgruppe_rules: bool = Field(
        False, description="hold persons to the catalogue's rules on innsatsgruppe too"
    )
    innsatsgrupper: tuple[str, ...] = Field((), description="only these; left out: all")
    death: Literal["zero", "censor"] = Field(
        "zero", description="outcomes after death: zero, or not observed"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Entry:
        if self.entry[0] > self.entry[1]:
            raise ValueError(
                InputError(f"the window {self.entry[0]} to {self.entry[1]} is reversed")
            )
        if self.ages[0] > self.ages[1]:
            raise ValueError(InputError(f"ages {self.ages[0]} to {self.ages[1]} are reversed"))
        return self


class Base(Table):
    """One base population and the programmes studied in it."""

    state: State = Field(description="base state: jobseeker or nedsatt_arbeidsevne")
    arms: tuple[Programme, ...] = Field(min_length=1, description="programmes, by catalogue key")
    conditions: dict[Programme, dict[str, tuple[str, ...]]] = Field(
        default_factory=dict,
        description="per programme, levels of diagnosis_group or innsatsgruppe it is open to, "
        "beyond the catalogue's rules",
    )

    @model_validator(mode="after")
    def _open_to_state(self) -> Base:
        from tiltakeval.programmes import catalogue

        known = catalogue.load()
        shut = [key for key in self.arms if self.state not in known[key].target_states]
        if shut:
            raise ValueError(
                InputError(
                    f"{', '.join(shut)}: by the catalogue not open to {self.state}",
                    where="arms",
                    remedy="Take it out here, or put it under another [[base]].",
                )
            )
        return self


class Sampling(Table):
    """How comparison person-months are sampled within each trial (all treated are kept)."""

    comparison_units: int = Field(
        150_000,
        ge=1_000,
        description="comparison person-months kept in each base population, about",
    )


class LockIn(Table):
    """Summaries of the lock-in."""

    windows: tuple[int, ...] = Field(
        (6, 12, 24, 36), min_length=1, description="months at which effects are cumulated"
    )
    depth_window: tuple[int, int] = Field((1, 6), description="months averaged for the depth")
    outcomes: tuple[Outcome, ...] = Field(
        ("work_unsubsidised", "earnings_nok", "benefits_total_nok"),
        description="outcomes that are cumulated",
    )


class Analysis(Table):
    """One estimator on every base population, for every arm, outcome, month and subgroup."""

    key: Slug = Field(description="name of the analysis in results")
    estimator: Estimator = Field(description="a registered estimator (tiltakeval estimators)")
    estimands: tuple[Estimand, ...] = Field(min_length=1, description="what is estimated")
    outcomes: tuple[Outcome, ...] = Field(min_length=1, description="outcomes")
    subgroups: tuple[SubgroupName, ...] = Field((), description="pre-specified groupings")
    pairs: tuple[tuple[Programme, Programme], ...] = Field(
        (),
        description="with vs_programme_b: the pairs compared, all on one population (participants "
        "of any programme named who could have entered all of them); left out: every pair of the "
        "base's arms",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of the estimator")


class Contrast(Table):
    """Two programmes against one another, on a population of their own: those in either who could
    enter both. With the estimand vs_programme_b all pairs share one population instead."""

    programme: Programme = Field(description="catalogue key")
    against: Programme = Field(description="catalogue key")


class RegisterStudy(Table):
    """A study on a register extract (or an invented one)."""

    level: Literal["register"] = Field(description="register")
    slug: Slug = Field(description="short name; the folder under reports/")
    title: Text = Field(description="title of the report")
    question: Text = Field(description="the question, in one sentence")
    register_: str = Field(
        "synthetic:standard",
        alias="register",
        pattern=r"^synthetic:[a-z0-9_]+$",
        description="the invented world used when no extract is given on the command line",
    )
    persons: int = Field(100_000, ge=500, description="size of the invented register")
    seed: int = Field(ge=0, description="seed of sampling, folds and bands")
    price_year: int = Field(2023, ge=2000, le=2100, description="year whose kroner amounts are in")
    population: Entry = Field(description="who enters when, and how long they are followed")
    base: tuple[Base, ...] = Field(min_length=1, description="base populations with their arms")
    covariates: tuple[Covariate, ...] = Field(
        ("standard",), min_length=1, description="sets and blocks of covariates, all before month 0"
    )
    primary: Estimand = Field(description="the estimand the report leads with")
    analysis: tuple[Analysis, ...] = Field(min_length=1, description="analyses")
    contrast: tuple[Contrast, ...] = Field((), description="programmes against one another")
    hazard: tuple[Hazard, ...] = Field((), description="models of the hazard of leaving")
    for_whom: tuple[ForWhom, ...] = Field(
        (), description="what works for whom, and rules that deal places"
    )
    negative_control: tuple[NegativeControl, ...] = Field(
        (), description="effects that can't be there, looked for as a check"
    )
    sampling: Sampling = Field(Sampling(), description="sampling of comparison person-months")
    inference: Inference = Field(Inference(), description="errors, intervals and bands")
    checks: Thresholds = Field(Thresholds(), description="limits of the checks")
    lock_in: LockIn = Field(LockIn(), description="summaries of the lock-in")
    rules: RuleSet = Field("nav", description="disclosure rule set")
    summary_month: int = Field(24, ge=0, description="month the short answers are given for")
    notes: Text | None = Field(None, description="what a reader must know about this study")
    labels: dict[str, Text] = Field(
        default_factory=dict, description="names of what the report has no built-in name for"
    )
    truth: bool = Field(True, description="show the known effects beside, on invented data")
    truth_persons: int = Field(
        1_000_000, ge=1_000, description="persons the known effects are computed on, at most"
    )

    @property
    def models(self) -> tuple[Analysis | Hazard, ...]:
        """Everything that estimates."""
        return (*self.analysis, *self.hazard)

    @model_validator(mode="after")
    def _consistent(self) -> RegisterStudy:
        errors = [
            *self._key_errors(),
            *comparison_errors(self.base, self.analysis, self.contrast),
            *self._for_whom_errors(),
        ]
        if all(self.primary not in analysis.estimands for analysis in self.analysis):
            errors.append(InputError(f"no analysis estimates the primary estimand {self.primary}"))
        late = [w for w in self.lock_in.windows if w > self.population.horizon]
        if late:
            errors.append(
                InputError(
                    f"lock_in window {late[0]} is beyond the horizon {self.population.horizon}"
                )
            )
        if errors:
            raise ValueError(InputErrors(errors, title="the study contradicts itself"))
        return self

    def _key_errors(self) -> list[InputError]:
        errors = []
        twice = repeated([model.key for model in (*self.models, *self.for_whom)])
        if twice:
            errors.append(InputError(f"the key '{twice}' is used twice"))
        twice = repeated([base.state for base in self.base])
        if twice:
            errors.append(InputError(f"base state '{twice}' is given twice"))
        return errors

    def _for_whom_errors(self) -> list[InputError]:
        """Tables that ask for what no analysis has."""
        known = {
            a.key: (a.outcomes, a.subgroups) for a in self.analysis if a.estimands != (AGAINST,)
        }
        programmes = list(dict.fromkeys(arm for base in self.base for arm in base.arms))
        shared: dict[str, Any] = {"analyses": known, "programmes": programmes}
        last = self.population.horizon
        return [
            *for_whom_errors(self.for_whom, last=last, **shared),
            *control_errors(self.negative_control, last=last, **shared),
        ]
