"""What the models of both study levels share: checked names, texts, inference, thresholds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tiltakeval.errors import InputError, unknown
from tiltakeval.months import month_label, parse_month
from tiltakeval.study import vocabulary


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def one_of(kind: str, known: tuple[str, ...]) -> AfterValidator:
    """Refuses a name that isn't among the known ones, and says which is nearest."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(unknown(kind, name, known)) from None
        return name

    return AfterValidator(check)


def _month(text: str) -> str:
    try:
        return month_label(parse_month(text))
    except InputError as error:
        raise ValueError(error) from None


def _programme(key: str) -> str:
    from tiltakeval.programmes import catalogue

    known = catalogue.load()
    if key not in known:
        raise ValueError(unknown("programme", key, list(known)))
    return key


def _estimator(key: str) -> str:
    from tiltakeval.estimators import ESTIMATORS

    if key not in ESTIMATORS:
        raise ValueError(unknown("estimator", key, list(ESTIMATORS)))
    return key


Month = Annotated[str, AfterValidator(_month)]
State = Annotated[str, one_of("base state", tuple(vocabulary.STATES))]
Estimand = Annotated[str, one_of("estimand", tuple(vocabulary.ESTIMANDS))]
Outcome = Annotated[str, one_of("outcome", tuple(vocabulary.OUTCOMES))]
SubgroupName = Annotated[str, one_of("subgroup", tuple(vocabulary.SUBGROUPS))]
Covariate = Annotated[str, one_of("covariate", tuple(vocabulary.COVARIATES))]
Programme = Annotated[str, AfterValidator(_programme)]
Estimator = Annotated[str, AfterValidator(_estimator)]
Share = Annotated[float, Field(gt=0, lt=1)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


RuleSet = Annotated[str, one_of("rule set", vocabulary.RULE_SETS)]


class Text(Table):
    """A text in both languages of the report."""

    nb: str = Field(min_length=1, description="the text in bokmål")
    en: str = Field(min_length=1, description="the text in English")


class Inference(Table):
    """Errors, intervals and bands."""

    level: Share = Field(0.95, description="level of intervals and simultaneous bands")
    cluster: Literal["person", "office", "person_office"] = Field(
        "person", description="what errors are clustered by; person_office: by both at once"
    )
    draws: int = Field(999, ge=99, description="draws for the simultaneous bands")


class Thresholds(Table):
    """Limits of the checks, fixed before an effect is seen."""

    balance_smd: float = Field(
        0.1, gt=0, description="largest standardised mean difference after weighting"
    )
    overlap_share: float = Field(
        0.05, gt=0, lt=1, description="largest share of treated outside common support"
    )
    effective_units: float = Field(
        200, gt=0, description="smallest effective number of comparison units"
    )
    support_units: int = Field(50, ge=1, description="fewest units on either side of an effect")
    placebo_level: Share = Field(0.05, description="level of the joint test of placebo outcomes")


def repeated(names: list[str]) -> str | None:
    return next((name for i, name in enumerate(names) if name in names[:i]), None)
