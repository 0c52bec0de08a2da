"""The part of a study file that names negative controls: effects that can't be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, model_validator

from tiltakeval.errors import InputError, unknown
from tiltakeval.study.spec_parts import Slug, Table, Text, repeated

#: The outcome that is the same for all in month 0 by the definition of the population.
REGISTERED = "registered"


class NegativeControl(Table):
    """A programme that can't affect an outcome, in a group, in some months: an effect found there is
    one of hidden differences or of the method. Or a programme drawn by lot among people without one."""

    key: Slug = Field(description="name in the checks")
    kind: Literal["no_effect", "drawn"] = Field(
        "no_effect",
        description="no_effect: the programme can't affect the outcome, for the reason given; drawn: "
        "the programme is dealt by lot, for the sake of the test, to people of the comparison group "
        "who are like its participants",
    )
    analysis: Slug | None = Field(
        None, description="key of the analysis whose effects are looked at; left out: the first"
    )
    programme: str = Field(description="the programme")
    outcome: str = Field(description="one of the analysis's outcomes")
    months: tuple[int, int] | None = Field(
        None,
        description="first and last month whose mean effect is tested; left out: the summary month",
    )
    subgroup: str = Field(
        "all", description="the group, as in results (age_band=60-66); drawn: all only"
    )
    draws: int = Field(20, ge=10, le=200, description="with drawn: how many times it is dealt")
    reason: Text | None = Field(
        None, description="with no_effect: why there can be no effect, a sentence"
    )

    @model_validator(mode="after")
    def _whole(self) -> NegativeControl:
        if self.kind == "no_effect" and self.reason is None:
            raise ValueError(
                InputError(
                    "a negative control needs the reason why there can be no effect",
                    where=self.key,
                    remedy="Write it under reason, in both languages.",
                )
            )
        if self.kind == "drawn" and (self.subgroup != "all" or self.reason is not None):
            raise ValueError(
                InputError(
                    "a programme that is drawn has neither a subgroup nor a reason", where=self.key
                )
            )
        if self.months is not None and not 0 <= self.months[0] <= self.months[1]:
            raise ValueError(
                InputError(f"months {self.months[0]} to {self.months[1]} can't be", where=self.key)
            )
        return self


def control_errors(
    asked: Sequence[NegativeControl],
    *,
    analyses: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    programmes: Sequence[str] | None,
    last: int | None,
) -> list[InputError]:
    """What the tables say that the study doesn't have; the arguments as in ``for_whom_errors``."""
    errors: list[InputError] = []
    twice = repeated([one.key for one in asked])
    if twice:
        errors.append(InputError(f"the key '{twice}' is used twice", where="negative_control"))
    for number, one in enumerate(asked, 1):
        where = f"negative_control {number}"
        key = next(iter(analyses), "") if one.analysis is None else one.analysis
        if key not in analyses:
            errors.append(unknown("analysis", key, list(analyses), where=f"{where}, analysis"))
            continue
        outcomes, subgroups = analyses[key]
        named = [("outcome", one.outcome, outcomes)]
        if programmes is not None:
            named.append(("programme", one.programme, programmes))
        if one.subgroup != "all":
            named.append(("subgroup", one.subgroup.partition("=")[0], subgroups))
        errors += [
            unknown(kind, name, list(known), where=where)
            for kind, name, known in named
            if name not in known
        ]
        if last is None and one.months is not None:
            errors.append(InputError("outcomes of this study have no months", where=where))
        elif last is not None and one.months is not None and one.months[1] > last:
            errors.append(
                InputError(f"month {one.months[1]} is beyond the horizon {last}", where=where)
            )
        elif one.outcome == REGISTERED and one.months == (0, 0):
            errors.append(
                InputError(
                    "everybody is registered in month 0, so that no effect can be found",
                    where=where,
                    remedy="Name a later month, or another outcome.",
                )
            )
    return errors
