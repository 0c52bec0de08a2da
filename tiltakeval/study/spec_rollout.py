"""The study file of a roll-out: a row a unit and period, each unit treated from some period on;
in doses, among people likelier or less likely to take part, or with treatment that ends
(`rollout_kinds`).

The same parts (``RolloutThresholds``, ``Entry``) serve a roll-out read from registers: what makes a
`StaggeredPanel` enters the pipeline at `rollouts.run_rollout`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from tiltakeval.design.entry import ENTRIES, check_entry
from tiltakeval.errors import InputError, InputErrors
from tiltakeval.study.rollout_kinds import KINDS, OWN, kind_of, lacking
from tiltakeval.study.spec_file import FileStudy, SampleAnalysis, TimeUnit
from tiltakeval.study.spec_parts import Share, Table, Thresholds, one_of

Entry = Annotated[str, one_of("entry", tuple(ENTRIES))]


def _increasing(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(v < 0 for v in values) or list(values) != sorted(set(values)):
        raise ValueError("must be increasing, from 0 up")
    return values


class RolloutColumns(Table):
    """What the columns of the panel are."""

    unit: str | None = Field(
        None,
        description="column of the unit: an office, a municipality, a person; left out with "
        "panel = false",
    )
    panel: bool = Field(
        True, description="false: rows are persons in samples of each period, whom nobody follows"
    )
    period: str = Field(
        description="column of the period: whole numbers (years), months YYYY-MM, quarters YYYYQ1 or "
        "half-years YYYYH1"
    )
    first: str | None = Field(
        None,
        description="column of the unit's first treated period; empty, infinite, never, and 0 where "
        "all periods are above 0, mean that it never is",
    )
    treated: str | None = Field(
        None, description="in place of first: 0/1 column of the status, which may not go back to 0"
    )
    group: str | None = Field(
        None, description="in place of first: 0/1 column of those a rule is for; with date"
    )
    date: int | str | None = Field(
        None, description="first period in which the rule holds for the group"
    )
    never: int | str | None = Field(
        None, description="value of first that means never, besides those above"
    )
    treatment: str | None = Field(
        None,
        description="for switching_att: column of the treatment in the row's period, 0/1 or any "
        "number, which may end, come back or change",
    )
    dose: str | None = Field(
        None,
        description="for dose_response: column of the dose, constant in a unit or 0 until the start; "
        "above 0 where treated",
    )
    predicted: str | None = Field(
        None,
        description="for intensity: column of predicted participation, 0 to 1, constant in a unit",
    )
    participation: str | None = Field(
        None,
        description="for intensity, in place of predicted: column of whether the unit ever took part "
        "(0 to 1), empty where the programme didn't come; predicted here from predictors",
    )
    predictors: tuple[str, ...] = Field(
        (), description="with participation: columns known before the start that foretell it"
    )
    outcomes: dict[str, str] = Field(min_length=1, description="outcome columns and their units")
    covariates: tuple[str, ...] = Field(
        (), description="covariate columns, constant in a unit or read in covariate_period"
    )
    covariate_period: int | str | None = Field(
        None, description="period covariates, weights and groups are read in, where they change"
    )
    varying: tuple[str, ...] = Field((), description="covariate columns that change over time")
    derived: dict[str, str] = Field(
        default_factory=dict,
        description="columns made from others: a comparison ('re74 == 0') or a product ('a * b')",
    )
    weight: str | None = Field(None, description="column of weights, above 0")
    cluster: str | None = Field(
        None, description="column errors are clustered by; left out: the unit"
    )
    subgroups: dict[str, str] = Field(
        default_factory=dict, description="groupings of units: name and column"
    )
    unit_names: str | None = Field(
        None, description="column of units' names that may be shown: of offices, never of persons"
    )
    programme: str = Field("treated", description="what the treatment is called in results")

    @model_validator(mode="after")
    def _declared_once(self) -> RolloutColumns:
        from tiltakeval.design.staggered_starts import group_declared  # which imports pandas

        starts = (self.first, self.treated, self.group, self.date)
        found: list[InputError] = []
        if any(s is not None for s in starts) or all(getattr(self, n) is None for n in OWN):
            try:
                group_declared(*starts, where="columns")
            except InputError as error:
                found.append(error)
        if self.panel == (self.unit is None):
            found.append(
                InputError(
                    "'unit' is missing"
                    if self.panel
                    else "unit says nothing where nobody is followed",
                    where="columns",
                    remedy="Say unit = a column; or panel = false, where rows are persons in samples.",
                )
            )
        if self.predicted is not None and (self.participation or self.predictors):
            found.append(
                InputError(
                    "predicted participation is declared twice",
                    where="columns",
                    remedy="Say predicted = a column; or participation and predictors.",
                )
            )
        elif (self.participation is None) != (not self.predictors):
            found.append(
                InputError(
                    "participation and predictors go together",
                    where="columns",
                    remedy="Participation is predicted from columns known before the start.",
                )
            )
        if found:
            raise ValueError(InputErrors(found, title="the columns contradict themselves"))
        return self


class RolloutThresholds(Thresholds):
    """Limits of the checks of a roll-out, fixed before an effect is seen."""

    pretrend_level: Share = Field(0.05, description="level of the joint tests before treatment")
    pretrend_power: Share = Field(
        0.8, description="power at which the trend that a test would find is given"
    )
    window: tuple[int, int] | None = Field(
        None,
        description="first and last period since the start that tests of trends and robust intervals "
        "use; left out: those that every cohort is seen in",
    )
    mbar: Annotated[tuple[float, ...], AfterValidator(_increasing)] = Field(
        (0.0, 0.5, 1.0, 1.5, 2.0),
        description="violations after treatment, relative to the largest before it, that robust "
        "intervals are given for",
    )
    breakdown_mbar: float = Field(
        1.0, gt=0, description="violation the effect must bear without covering zero"
    )
    smallest_cohort: int = Field(
        5, ge=1, description="fewest units (and clusters) in a cohort; smaller ones are left out"
    )
    effective_clusters: float = Field(
        30, gt=0, description="smallest effective number of clusters behind the mean effect"
    )
    treated_clusters: int = Field(
        10, ge=2, description="fewest clusters among the treated, or among those compared with"
    )
    crossing_share: Share = Field(
        0.1,
        description="with switching_att: largest share of the units whose treatment changes that go to "
        "both sides of where they started",
    )
    prediction_spread: float = Field(
        0.25,
        gt=0,
        description="with intensity: smallest standard deviation of predicted participation, relative "
        "to its mean",
    )
    worst_fit: float = Field(
        0.5,
        gt=0,
        description="with synthetic_did: largest distance from the comparison before the start, "
        "relative to single units' from the mean of all",
    )
    largest_weight: Share = Field(
        0.5, description="with synthetic_did: largest weight of one unit in a comparison"
    )


class RolloutFileAnalysis(SampleAnalysis):
    """One estimator on one sample."""

    varying: tuple[str, ...] | None = Field(
        None, description="covariates that change over time; left out: all declared"
    )


class StaggeredStudy(FileStudy):
    """A study of a roll-out on a prepared panel: a long file, a row a unit and period."""

    takes: ClassVar[tuple[str, ...]] = tuple(KINDS)

    level: Literal["staggered"] = Field(description="staggered")
    entry: Entry = Field(
        description="who decides when units start: "
        + "; ".join(f"{name} ({meaning})" for name, meaning in ENTRIES.items())
    )
    override: str | None = Field(
        None,
        validate_default=True,
        description="why differences in differences are used where the entry hangs on the outcome, "
        "in words; the report prints it",
    )
    columns: RolloutColumns = Field(description="what the columns are")
    analysis: tuple[RolloutFileAnalysis, ...] = Field(min_length=1, description="analyses")
    checks: RolloutThresholds = Field(RolloutThresholds(), description="limits of the checks")
    time_unit: TimeUnit = Field("months", description="what a period is")
    summary_month: int = Field(
        12, ge=0, description="periods since the start the short answers are given for"
    )

    @field_validator("override")
    @classmethod
    def _entry_is_right(cls, override: str | None, found: ValidationInfo) -> str | None:
        try:
            if "entry" in found.data:  # else the entry itself is wrong, and said so
                check_entry(found.data["entry"], override, where="entry")
        except InputError as error:
            raise ValueError(error) from None
        return override

    @property
    def kind(self) -> str:
        """The design of the first analysis, which the report leads with."""
        return kind_of(self.analysis[0].estimator)

    def _estimator_errors(self, key: str, where: str) -> list[InputError]:
        found = super()._estimator_errors(key, where)
        return found or list(lacking(key, self.columns, where=where))
