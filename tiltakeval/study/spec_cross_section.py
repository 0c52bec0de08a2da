"""The study file of a study on a prepared file with a row a unit."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tiltakeval.study.spec_asking import AskingStudy
from tiltakeval.study.spec_file import SampleAnalysis
from tiltakeval.study.spec_parts import Table

__all__ = ["Columns", "CrossSectionStudy"]


class Columns(Table):
    """What the columns of the file are."""

    treatment: str = Field(description="0/1 column of the treatment")
    programme: str = Field(description="what the treatment is called in results")
    outcomes: dict[str, str] = Field(min_length=1, description="outcome columns and their units")
    covariates: tuple[str, ...] = Field((), description="covariate columns, before treatment")
    derived: dict[str, str] = Field(
        default_factory=dict,
        description="columns made from others: a comparison ('re74 == 0') or a product ('a * b')",
    )
    cluster: str | None = Field(
        None, description="column of the clusters; left out: each row its own"
    )
    subgroups: dict[str, str] = Field(
        default_factory=dict, description="groupings: name and column"
    )


class CrossSectionStudy(AskingStudy):
    """A study on a prepared file with declared columns: one row a unit."""

    takes: ClassVar[tuple[str, ...]] = ("cross_section",)

    level: Literal["cross_section"] = Field(description="cross_section")
    columns: Columns = Field(description="what the columns are")
    analysis: tuple[SampleAnalysis, ...] = Field(min_length=1, description="analyses")
