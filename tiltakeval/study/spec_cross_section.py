"""The study file of a study on a prepared file with a row a unit."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from tiltakeval.errors import InputError
from tiltakeval.study.spec_controls import NegativeControl, control_errors
from tiltakeval.study.spec_file import FileStudy, SampleAnalysis
from tiltakeval.study.spec_for_whom import ForWhom, for_whom_errors, key_errors
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


class CrossSectionStudy(FileStudy):
    """A study on a prepared file with declared columns: one row a unit."""

    takes: ClassVar[tuple[str, ...]] = ("cross_section",)

    level: Literal["cross_section"] = Field(description="cross_section")
    columns: Columns = Field(description="what the columns are")
    analysis: tuple[SampleAnalysis, ...] = Field(min_length=1, description="analyses")
    for_whom: tuple[ForWhom, ...] = Field(
        (), description="what works for whom, and rules that deal places"
    )
    negative_control: tuple[NegativeControl, ...] = Field(
        (), description="effects that can't be there, looked for as a check"
    )

    def _own_errors(self) -> list[InputError]:
        groupings = tuple(self.columns.subgroups)
        outcomes = tuple(self.columns.outcomes)
        shared: dict[str, Any] = {
            "analyses": {a.key: (a.outcomes or outcomes, groupings) for a in self.analysis},
            "programmes": [self.columns.programme],
            "last": None,
        }
        errors = for_whom_errors(self.for_whom, **shared)
        errors += control_errors(self.negative_control, **shared)
        return errors + key_errors(self.for_whom, [a.key for a in self.analysis])
