"""The study file of a study on a prepared panel: a row a unit and period."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tiltakeval.study.spec_asking import AskingStudy
from tiltakeval.study.spec_file import SampleAnalysis, TimeUnit
from tiltakeval.study.spec_parts import Table

#: Periods are fewer than this.
LONGEST = 100_000


class PanelColumns(Table):
    """What the columns of the panel are."""

    unit: str = Field(description="column of the unit (a person, say)")
    period: str = Field(description="column of the period: whole numbers, or months YYYY-MM")
    treatment: str = Field(description="column of the arm, the same in all rows of a unit")
    comparison: str | int = Field(0, description="value of the treatment that is no programme")
    programmes: dict[str, str] = Field(
        default_factory=dict, description="values of the treatment and what they are called"
    )
    start: str | None = Field(
        None, description="column of the unit's month zero: its first treated period"
    )
    outcomes: dict[str, str] = Field(min_length=1, description="outcome columns and their units")
    covariates: tuple[str, ...] = Field(
        (), description="covariate columns, read before month zero; an outcome gives its past value"
    )
    derived: dict[str, str] = Field(
        default_factory=dict,
        description="columns made from others: a comparison ('re74 == 0') or a product ('a * b')",
    )
    weight: str | None = Field(None, description="column of sampling weights")
    cluster: str | None = Field(
        None, description="column of the clusters; left out: each unit its own"
    )
    subgroups: dict[str, str] = Field(
        default_factory=dict, description="groupings: name and column, read before month zero"
    )


class FollowUp(Table):
    """Which periods are compared, counted from month zero."""

    month_zero: int | str | None = Field(
        None,
        description="month zero of units that have none in the start column, or of all without one",
    )
    baseline: int | None = Field(
        None, lt=0, description="period of the covariates, as -1; left out: the unit's last before"
    )
    horizon: int | None = Field(None, ge=0, description="last period followed; left out: all")
    placebo_months: int | None = Field(
        None, ge=0, description="periods checked just before the baseline; left out: all"
    )


class PanelStudy(AskingStudy):
    """A study on a prepared panel: a long file, a row a unit and period."""

    takes: ClassVar[tuple[str, ...]] = ("cross_section",)

    level: Literal["panel"] = Field(description="panel")
    columns: PanelColumns = Field(description="what the columns are")
    analysis: tuple[SampleAnalysis, ...] = Field(min_length=1, description="analyses")
    follow_up: FollowUp = Field(FollowUp(), description="periods compared")
    time_unit: TimeUnit = Field("months", description="what a period is")
    summary_month: int = Field(24, ge=0, description="period the short answers are given for")

    @property
    def last_period(self) -> int:
        """The last period followed; where all are, one that none lies beyond."""
        horizon = self.follow_up.horizon
        return LONGEST if horizon is None else horizon
