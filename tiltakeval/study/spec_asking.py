"""What studies that compare units may ask beside their effects: for whom, and effects that can't be."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tiltakeval.errors import InputError
from tiltakeval.study.spec_controls import NegativeControl, control_errors
from tiltakeval.study.spec_file import FileStudy
from tiltakeval.study.spec_for_whom import ForWhom, for_whom_errors, key_errors


class AskingStudy(FileStudy):
    """A study on prepared files with analyses that compare units with a row each in the design."""

    for_whom: tuple[ForWhom, ...] = Field(
        (), description="what works for whom, and rules that deal places"
    )
    negative_control: tuple[NegativeControl, ...] = Field(
        (), description="effects that can't be there, looked for as a check"
    )

    def _own_errors(self) -> list[InputError]:
        columns, programme = self.columns, getattr(self.columns, "programme", None)
        known, analyses = tuple(columns.outcomes), {}
        for one in self.analyses:
            if one.of_units:
                own = getattr(one, "subgroups", None)
                groupings = tuple(columns.subgroups) if own is None else own
                analyses[one.key] = (getattr(one, "outcomes", ()) or known, groupings)
        shared: dict[str, Any] = {
            "analyses": analyses,
            "programmes": None if programme is None else [programme],
            "last": self.last_period,
        }
        return [
            *for_whom_errors(self.for_whom, **shared),
            *control_errors(self.negative_control, **shared),
            *key_errors(self.for_whom, [a.key for a in self.analyses]),
        ]
