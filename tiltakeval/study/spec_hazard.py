"""The part of a register study's file that asks for a hazard model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from tiltakeval.errors import InputError
from tiltakeval.study import vocabulary
from tiltakeval.study.spec_parts import Estimator, Slug, Table, one_of

Exit = Annotated[str, one_of("exit", tuple(vocabulary.EXITS))]
Category = Annotated[str, one_of("category", tuple(vocabulary.CATEGORIES))]
JOB = "job"


def _hazard_model(key: str) -> str:
    from tiltakeval.estimators import ESTIMATORS

    if ESTIMATORS[key].design != "event_history":
        fit = ", ".join(k for k, e in ESTIMATORS.items() if e.design == "event_history")
        raise ValueError(InputError(f"{key} is no model of hazards", remedy=f"Use one of {fit}."))
    return key


class Hazard(Table):
    """One model of the hazard of leaving the register, in every base population: spells registered
    from the study's first month of entry on, to the end of the extract, with their first programme."""

    key: Slug = Field(description="name of the model in results")
    estimator: Annotated[Estimator, AfterValidator(_hazard_model)] = Field(
        description="a registered estimator of hazards (tiltakeval estimators)"
    )
    persons: int | None = Field(
        None, ge=500, description="most persons used, drawn by the study's seed; left out: all"
    )
    exits: dict[Slug, tuple[Exit, ...]] = Field(
        default_factory=lambda: {
            JOB: (JOB,),
            "other": tuple(name for name in vocabulary.EXITS if name != JOB),
        },
        min_length=1,
        description="exits told apart, and which ways out each is; in none: as if still there",
    )
    covariates: tuple[Category, ...] = Field(
        ("sex", "age", "landgruppe", "education", "diagnosis", "innsatsgruppe", "worked_24"),
        description="categories that enter the hazards",
    )
    subgroups: tuple[Category, ...] = Field((), description="groupings, by the value at first")
    in_from: tuple[int, ...] = Field(
        (0,), min_length=1, description="months since the start at which a band of status begins"
    )
    after_from: tuple[int, ...] = Field(
        (0,), min_length=1, description="months since the end at which a band of status begins"
    )
    least_starts: int = Field(
        100,
        ge=10,
        description="programmes fewer have begun are one of the others in this model, and the report "
        "says so",
    )
    fewest: int = Field(
        10,
        ge=0,
        description="a band of status with fewer exits joins the next, and a level with fewer events "
        "of a transition counts there with the base",
    )
    entries: Literal["each", "any"] = Field(
        "each",
        description="whether each programme's entry has a hazard of its own, or all share one",
    )
    income: bool = Field(
        False,
        description="with months: what they come to in pay and benefits, by the means of the register "
        "in the 12 months after each exit and while registered",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of the estimator")

    @model_validator(mode="after")
    def _bands(self) -> Hazard:
        for name, edges in (("in_from", self.in_from), ("after_from", self.after_from)):
            if edges[0] != 0 or list(edges) != sorted(set(edges)):
                raise ValueError(InputError("must be ascending months, the first 0", where=name))
        if self.income and not self.options.get("months"):
            raise ValueError(
                InputError("income is of months of work", remedy="Set months under its options.")
            )
        return self
