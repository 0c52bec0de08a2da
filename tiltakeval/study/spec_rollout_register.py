"""The study file of a roll-out over offices, read from a register extract (or an invented one)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tiltakeval.errors import InputError, InputErrors, unknown
from tiltakeval.months import parse_month
from tiltakeval.population.rollout import CHARACTERISTICS
from tiltakeval.population.rollout_spec import FACTS, SPLITS, WHO, RolloutSpec
from tiltakeval.spells.outcomes import BENEFITS
from tiltakeval.study.rollout_kinds import kind_of
from tiltakeval.study.spec_parts import (
    Estimator,
    Inference,
    Month,
    Outcome,
    Programme,
    RuleSet,
    Slug,
    State,
    Table,
    Text,
    one_of,
    repeated,
)
from tiltakeval.study.spec_rollout import RolloutColumns, RolloutThresholds

#: What a period is, in words of horizons.
UNITS = {"month": "months", "quarter": "quarters", "year": "years"}
Benefit = Annotated[str, one_of("benefit", BENEFITS)]


class Rollout(Table):
    """The programme, the offices' starts, and the eligible whose outcomes are followed there."""

    programme: Programme = Field(description="the programme that is introduced, by catalogue key")
    window: tuple[Month, Month] = Field(description="first and last month outcomes are measured in")
    period: Literal["month", "quarter", "year"] = Field("year", description="what a period is")
    outcomes: tuple[Outcome, ...] = Field(
        ("work_unsubsidised",), min_length=1, description="monthly outcomes of jobs and benefits"
    )
    state: State = Field(description="base state of the eligible")
    who: Annotated[str, one_of("rule", WHO)] = Field(
        "fixed",
        description="fixed (eligible in the month reference, followed through the window), current "
        "(in every month those eligible then, their outcome after months later) or entering (those "
        "in their spell's first whole month, likewise)",
    )
    reference: Month | None = Field(
        None, description="with fixed: the month the group is chosen in; left out: the first"
    )
    after: int = Field(0, ge=0, description="months from being eligible to the outcome")
    ages: tuple[int, int] = Field((18, 66), description="youngest and oldest age when eligible")
    without: tuple[Benefit, ...] = Field((), description="benefits the eligible don't receive")
    receiving: tuple[Benefit, ...] = Field(
        (), description="benefits of which the eligible receive at least one; left out: no matter"
    )
    office: Literal["month", "spell_start"] = Field(
        "month", description="whose office counts: that in force when eligible, or at spell start"
    )
    starts: Literal["table", "participants"] = Field(
        "table",
        description="an office's start: from the roll-out table, or the first month in which somebody "
        "starts the programme, with least starts within months from it",
    )
    least: int = Field(3, ge=1, description="with participants: fewest starts")
    within: int = Field(3, ge=1, description="with participants: months they fall in")
    split: Annotated[str, one_of("split", tuple(SPLITS))] | None = Field(
        None, description="a fact by which the eligible are also compared: sex, …, or a benefit"
    )
    predictors: tuple[Annotated[str, one_of("predictor", tuple(FACTS))], ...] = Field(
        (),
        description="for intensity: facts of the eligible, known when they become so, from which it is "
        "predicted who takes part; persons alike in all of them are one unit of an office",
    )
    covariates: tuple[Annotated[str, one_of("covariate", CHARACTERISTICS)], ...] = Field(
        (), description="means of the eligible before any start, adjusted for"
    )
    death: Literal["zero", "censor"] = Field(
        "zero", description="outcomes after death: zero, or not observed"
    )
    fewest: int = Field(5, ge=1, description="fewest person-months behind an office's mean")


class RolloutAnalysis(Table):
    """One estimator on the roll-out."""

    key: Slug = Field(description="name of the analysis in results")
    estimator: Estimator = Field(description="an estimator of roll-outs (tiltakeval estimators)")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the estimator")

    @property
    def covariates(self) -> None:
        """Those of the roll-out."""
        return None


class RegisterRolloutStudy(Table):
    """A study of a programme introduced office by office, on a register extract."""

    level: Literal["rollout"] = Field(description="rollout")
    slug: Slug = Field(description="short name; the folder under reports/")
    title: Text = Field(description="title of the report")
    question: Text = Field(description="the question, in one sentence")
    register_: str = Field(
        "synthetic:kvp_rollout",
        alias="register",
        pattern=r"^synthetic:[a-z0-9_]+$",
        description="the invented world used when no extract is given on the command line",
    )
    persons: int = Field(200_000, ge=500, description="size of the invented register")
    seed: int = Field(ge=0, description="seed of bands")
    price_year: int = Field(2023, ge=2000, le=2100, description="year whose kroner amounts are in")
    rollout: Rollout = Field(description="the roll-out and who is followed")
    analysis: tuple[RolloutAnalysis, ...] = Field(min_length=1, description="analyses")
    inference: Inference = Field(Inference(), description="errors, intervals and bands")
    checks: RolloutThresholds = Field(RolloutThresholds(), description="limits of the checks")
    rules: RuleSet = Field("nav", description="disclosure rule set")
    summary_month: int = Field(
        4, ge=0, description="periods since the start the short answers are given for"
    )
    notes: Text | None = Field(None, description="what a reader must know about this study")
    labels: dict[str, Text] = Field(
        default_factory=dict, description="names of what the report has no built-in name for"
    )
    truth: bool = Field(True, description="show the known effects beside, on invented data")
    truth_persons: int = Field(
        1_000_000, ge=1_000, description="persons the known effects are computed on, at most"
    )

    @property
    def entry(self) -> str:
        """Who decides when treatment starts: offices."""
        return "office"

    @property
    def override(self) -> None:
        """There is nothing to override."""
        return None

    @property
    def time_unit(self) -> str:
        """What a period is."""
        return UNITS[self.rollout.period]

    @property
    def time_units(self) -> str:
        """The unit horizons are counted in."""
        return self.time_unit

    @property
    def analyses(self) -> Sequence[RolloutAnalysis]:
        """The analyses."""
        return self.analysis

    @property
    def columns(self) -> RolloutColumns:
        """The panel as if it were a file's, for what is said of both."""
        return RolloutColumns(
            unit="office",
            predictors=self.rollout.predictors,
            participation=self.rollout.programme if self.rollout.predictors else None,
            period=self.rollout.period,
            first="start",
            outcomes=dict.fromkeys(self.rollout.outcomes, ""),
            covariates=self.rollout.covariates,
            programme=self.rollout.programme,
        )

    def declared(self) -> RolloutSpec:
        """The roll-out that is read. Raises InputErrors for what contradicts itself."""
        r = self.rollout
        return RolloutSpec(
            programme=r.programme,
            window=(parse_month(r.window[0]), parse_month(r.window[1])),
            outcomes=r.outcomes,
            state=r.state,
            who=r.who,
            reference=None if r.reference is None else parse_month(r.reference),
            after=r.after,
            age=r.ages,
            without=r.without,
            receiving=r.receiving,
            office=r.office,
            starts=r.starts,
            least=r.least,
            within=r.within,
            period=r.period,
            split=r.split,
            death=r.death,
            predictors=r.predictors,
            fewest=r.fewest,
            price_year=self.price_year,
        )

    @model_validator(mode="after")
    def _consistent(self) -> RegisterRolloutStudy:
        from tiltakeval.estimators import ESTIMATORS

        errors: list[InputError] = []
        twice = repeated([analysis.key for analysis in self.analysis])
        if twice:
            errors.append(InputError(f"analysis key '{twice}' is used twice"))
        fit = [name for name, one in ESTIMATORS.items() if one.design in ("staggered", "intensity")]
        errors += [
            unknown("estimator of roll-outs", one.estimator, fit, where=f"analysis {number}")
            for number, one in enumerate(self.analysis, 1)
            if one.estimator not in fit
        ]
        errors += [
            InputError(
                f"{one.estimator} needs what participation is predicted from",
                where=f"analysis {number}, estimator",
                remedy=f"Say predictors = a list of {', '.join(FACTS)}, under [rollout].",
            )
            for number, one in enumerate(self.analysis, 1)
            if one.estimator in fit and kind_of(one.estimator) == "intensity"
            if not self.rollout.predictors
        ]
        try:
            self.declared()
        except InputErrors as found:
            errors += found.errors
        if errors:
            raise ValueError(InputErrors(errors, title="the study contradicts itself"))
        return self
