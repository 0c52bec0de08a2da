"""The study file of a study on a prepared file with declared columns."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tiltakeval.errors import InputError, unknown
from tiltakeval.study.spec_parts import (
    Estimator,
    Inference,
    RuleSet,
    Slug,
    Table,
    Text,
    Thresholds,
    repeated,
)


class Part(Table):
    """Rows of one data source."""

    source: str = Field(
        description="causaldata:nsw_mixtape, a named source, or a file beside the study"
    )
    where: str | None = Field(None, description="rows kept: a column, ==, != or a bound, a value")


class Sample(Table):
    """The rows of one analysis: parts of sources stacked."""

    key: Slug = Field(description="name of the sample")
    parts: tuple[Part, ...] = Field(min_length=1, description="sources stacked")


class Columns(Table):
    """What the columns of the file are."""

    treatment: str = Field(description="0/1 column of the treatment")
    programme: str = Field(description="what the treatment is called in results")
    outcomes: dict[str, str] = Field(min_length=1, description="outcome columns and their units")
    covariates: tuple[str, ...] = Field((), description="covariate columns, before treatment")
    derived: dict[str, str] = Field(
        default_factory=dict,
        description="columns made from others: a column, a comparison, a number",
    )
    cluster: str | None = Field(
        None, description="column of the clusters; left out: each row its own"
    )
    subgroups: dict[str, str] = Field(
        default_factory=dict, description="groupings: name and column"
    )


class SampleAnalysis(Table):
    """One estimator on one sample."""

    key: Slug = Field(description="name of the analysis in results")
    sample: str = Field(description="key of a sample")
    estimator: Estimator = Field(description="a registered estimator (tiltakeval estimators)")
    outcomes: tuple[str, ...] = Field((), description="outcomes; left out: all declared")
    covariates: tuple[str, ...] | None = Field(
        None, description="covariates; left out: all declared"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of the estimator")


class Published(Table):
    """A published figure and the analysis that should meet it."""

    key: Slug = Field(description="name of the comparison")
    analysis: str = Field(description="key of the analysis it is compared with")
    outcome: str = Field(description="outcome column")
    estimate: float = Field(description="the published estimate")
    std_error: float | None = Field(None, ge=0, description="the published standard error")
    source: str = Field(description="the publication")
    population: str | None = Field(None, description="label, where it differs from the sample's")
    absolute: float | None = Field(None, ge=0, description="agreement: this close in the unit")
    relative: float | None = Field(None, ge=0, description="agreement: this close as a share")
    max_z: float | None = Field(
        None, ge=0, description="agreement: this many standard errors apart"
    )


class CrossSectionStudy(Table):
    """A study on a prepared file with declared columns: one row a unit."""

    level: Literal["cross_section"] = Field(description="cross_section")
    slug: Slug = Field(description="short name; the folder under reports/")
    title: Text = Field(description="title of the report")
    question: Text = Field(description="the question, in one sentence")
    seed: int = Field(ge=0, description="seed of folds and learners")
    sample: tuple[Sample, ...] = Field(min_length=1, description="samples")
    columns: Columns = Field(description="what the columns are")
    analysis: tuple[SampleAnalysis, ...] = Field(min_length=1, description="analyses")
    published: tuple[Published, ...] = Field((), description="published figures to agree with")
    inference: Inference = Field(Inference(), description="errors, intervals and bands")
    checks: Thresholds = Field(Thresholds(), description="limits of the checks")
    notes: Text | None = Field(None, description="what a reader must know about this study")
    labels: dict[str, Text] = Field(
        default_factory=dict, description="names of what the report has no built-in name for"
    )
    rules: RuleSet = Field("nav", description="disclosure rule set")

    @model_validator(mode="after")
    def _consistent(self) -> CrossSectionStudy:
        samples = [sample.key for sample in self.sample]
        analyses = [analysis.key for analysis in self.analysis]
        for kind, names in (("sample", samples), ("analysis", analyses)):
            twice = repeated(names)
            if twice:
                raise ValueError(InputError(f"{kind} key '{twice}' is used twice"))
        for number, analysis in enumerate(self.analysis, 1):
            if analysis.sample not in samples:
                raise ValueError(
                    unknown("sample", analysis.sample, samples, where=f"analysis {number}")
                )
            for name in analysis.outcomes:
                if name not in self.columns.outcomes:
                    known = list(self.columns.outcomes)
                    raise ValueError(unknown("outcome", name, known, where=f"analysis {number}"))
        for number, figure in enumerate(self.published, 1):
            if figure.analysis not in analyses:
                place = f"published {number}"
                raise ValueError(unknown("analysis", figure.analysis, analyses, where=place))
        return self
