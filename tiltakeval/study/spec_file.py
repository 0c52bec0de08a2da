"""What the study files on prepared data share: samples, analyses, published figures, their checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from tiltakeval.errors import InputError, InputErrors, unknown
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

TimeUnit = Literal["days", "weeks", "two_weeks", "months", "quarters", "years"]


class Part(Table):
    """Rows of one data source."""

    source: str = Field(
        description="causaldata:nsw_mixtape, a named source, a file beside the study, or data:NAME, "
        "a file in the folder (or the file itself) given with --data"
    )
    where: str | None = Field(None, description="rows kept: a column, ==, != or a bound, a value")


class Sample(Table):
    """The rows of one analysis: parts of sources stacked."""

    key: Slug = Field(description="name of the sample")
    parts: tuple[Part, ...] = Field(min_length=1, description="sources stacked")


class FileAnalysis(Table):
    """One estimator on one sample."""

    key: Slug = Field(description="name of the analysis in results")
    sample: str = Field(description="key of a sample")
    estimator: Estimator = Field(description="a registered estimator (tiltakeval estimators)")
    covariates: tuple[str, ...] | None = Field(
        None, description="covariates; left out: all declared"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of the estimator")

    @property
    def of_units(self) -> bool:
        """Whether the estimator compares units with one row each."""
        from tiltakeval.estimators import ESTIMATORS

        return ESTIMATORS[self.estimator].design == "cross_section"


class SampleAnalysis(FileAnalysis):
    """One estimator on one sample."""

    outcomes: tuple[str, ...] = Field((), description="outcomes; left out: all declared")


class Published(Table):
    """A published figure and the analysis that should meet it."""

    key: Slug = Field(description="name of the comparison")
    analysis: str = Field(description="key of the analysis it is compared with")
    outcome: str = Field(description="outcome column, or exit")
    estimate: float = Field(description="the published estimate")
    std_error: float | None = Field(None, ge=0, description="the published standard error")
    source: str = Field(description="the publication")
    term: str = Field("effect", description="what the figure is: effect, survival, coefficient, …")
    programme: str | None = Field(
        None, description="programme, arm or covariate, where the analysis has several"
    )
    horizon: int | None = Field(None, description="period, where the analysis has several")
    population: str | None = Field(None, description="label, where it differs from the sample's")
    absolute: float | None = Field(None, ge=0, description="agreement: this close in the unit")
    relative: float | None = Field(None, ge=0, description="agreement: this close as a share")
    max_z: float | None = Field(
        None, ge=0, description="agreement: this many standard errors apart"
    )


class FileStudy(Table):
    """A study on prepared files with declared columns."""

    #: Designs an estimator of this level may take.
    takes: ClassVar[tuple[str, ...]] = ()

    level: str = Field(description="level of entry")
    slug: Slug = Field(description="short name; the folder under reports/")
    title: Text = Field(description="title of the report")
    question: Text = Field(description="the question, in one sentence")
    seed: int = Field(ge=0, description="seed of folds and learners")
    sample: tuple[Sample, ...] = Field(min_length=1, description="samples")
    columns: Any = Field(description="what the columns are")
    analysis: Any = Field(min_length=1, description="analyses")
    published: tuple[Published, ...] = Field((), description="published figures to agree with")
    inference: Inference = Field(Inference(), description="errors, intervals and bands")
    checks: Thresholds = Field(Thresholds(), description="limits of the checks")
    notes: Text | None = Field(None, description="what a reader must know about this study")
    labels: dict[str, Text] = Field(
        default_factory=dict, description="names of what the report has no built-in name for"
    )
    rules: RuleSet = Field("nav", description="disclosure rule set")

    @property
    def analyses(self) -> Sequence[FileAnalysis]:
        """The analyses, whatever their level adds to them."""
        found: tuple[FileAnalysis, ...] = self.analysis
        return found

    @property
    def time_units(self) -> str:
        """The unit horizons are counted in."""
        return str(getattr(self, "time_unit", "months"))

    @property
    def last_period(self) -> int | None:
        """The last period of the outcomes; None where they have one date."""
        return None

    @property
    def from_command_line(self) -> bool:
        """Whether a sample is read from what ``--data`` names."""
        return any(p.source.startswith("data:") for s in self.sample for p in s.parts)

    @model_validator(mode="after")
    def _consistent(self) -> FileStudy:
        samples = [sample.key for sample in self.sample]
        keys = [analysis.key for analysis in self.analyses]
        errors = []
        for kind, names in (("sample", samples), ("analysis", keys)):
            twice = repeated(names)
            if twice:
                errors.append(InputError(f"{kind} key '{twice}' is used twice"))
        for number, analysis in enumerate(self.analyses, 1):
            where = f"analysis {number}"
            if analysis.sample not in samples:
                errors.append(unknown("sample", analysis.sample, samples, where=where))
            errors += self._estimator_errors(analysis.estimator, where)
            known = getattr(self.columns, "outcomes", None) or {}
            for name in getattr(analysis, "outcomes", ()):
                if name not in known:
                    errors.append(unknown("outcome", name, known, where=where))
        for number, figure in enumerate(self.published, 1):
            where = f"published {number}"
            if figure.analysis not in keys:
                errors.append(unknown("analysis", figure.analysis, keys, where=where))
            if figure.absolute is None and figure.relative is None and figure.max_z is None:
                errors.append(
                    InputError("say how close is close: absolute, relative or max_z", where=where)
                )
        errors += self._own_errors()
        if errors:
            raise ValueError(InputErrors(errors, title="the study contradicts itself"))
        return self

    def _own_errors(self) -> list[InputError]:
        """What else contradicts itself at the level."""
        return []

    def _estimator_errors(self, key: str, where: str) -> list[InputError]:
        """An estimator that takes another kind of data than the level gives."""
        from tiltakeval.estimators import ESTIMATORS

        if ESTIMATORS[key].design in self.takes:
            return []
        fit = ", ".join(name for name, e in ESTIMATORS.items() if e.design in self.takes)
        return [
            InputError(
                f"{key} can't be estimated at the level {self.level}",
                where=f"{where}, estimator",
                remedy=f"Use one of {fit or '(none is installed)'}.",
            )
        ]
