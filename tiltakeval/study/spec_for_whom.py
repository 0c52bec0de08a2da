"""The part of a study file that asks what works for whom, and whom a rule would offer what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from tiltakeval.errors import InputError, unknown
from tiltakeval.study.spec_parts import Share, Slug, Table, repeated

Part = Literal[
    "tests", "shrunk", "balanced", "calibration", "sorted", "classification", "targeting", "hidden"
]
#: Options of the estimator `heterogeneity` that have keys of their own here.
OWN = ("target", "only_outcome", "only_horizon", "compare", "parts", "min_arm")


class Policy(Table):
    """Rules that deal places, judged on people they weren't learnt from: decision support."""

    covariates: tuple[str, ...] = Field(
        min_length=1,
        description="columns of covariates the tree may use (those of the check `covariates`, or the "
        "file's); education stands for all its levels",
    )
    depth: int = Field(2, ge=1, le=3, description="most cuts in a row")
    capacity: Literal["today", "none"] | dict[str, float] = Field(
        "today",
        description='places by programme: "today", "none" (no limit), or a table of shares of all or '
        "numbers of places, with no limit for those left out of it",
    )
    fairness: Literal["none", "equal_shares", "no_loss"] = Field(
        "none",
        description="between the levels of fairness_by: places alike (equal_shares), or none has fewer "
        "places than today (no_loss)",
    )
    fairness_by: str | None = Field(None, description="a subgroup")
    fairness_slack: float = Field(
        0.02, ge=0, description="how far apart shares may be, or how much smaller than today's"
    )
    units: int | None = Field(
        10_000,
        ge=1_000,
        description="most units without a programme that rules are learnt and judged on, drawn by the "
        "study's seed and weighted to all; every participant is kept",
    )
    min_leaf: int = Field(50, ge=10, description="fewest units in a leaf of the tree")
    options: dict[str, Any] = Field(
        default_factory=dict, description="other options of the estimator policy"
    )

    @model_validator(mode="after")
    def _fair(self) -> Policy:
        if (self.fairness != "none") != (self.fairness_by is not None):
            raise ValueError(
                InputError(
                    "fairness and fairness_by go together",
                    remedy="Say what kind of fairness, and between the levels of which subgroup.",
                )
            )
        if isinstance(self.capacity, dict):
            bad = [name for name, places in self.capacity.items() if places < 0]
            if bad:
                raise ValueError(
                    InputError(f"fewer than no places of {bad[0]} can't be", where="capacity")
                )
        return self


class ForWhom(Table):
    """Whether effects differ between people, and what rules that use it would be worth: on the units
    that could have entered every programme, or the participants among them, with the units, covariates
    and outcomes of an analysis. Decision support, about groups."""

    key: Slug = Field(description="name in results")
    analysis: Slug | None = Field(
        None, description="key of the analysis whose units are used; left out: the first"
    )
    outcome: str = Field(description="one of the analysis's outcomes")
    horizon: int | None = Field(
        None, ge=0, description="month of the outcome; left out: the summary month"
    )
    target: Literal["common", "treated"] = Field(
        "common",
        description="whom effects are of, among those who could have entered every programme: common, "
        "all of them; treated, each programme's own participants (then without policy)",
    )
    cumulated: bool = Field(
        False, description="the sum over months 0 to the horizon in place of that month"
    )
    programmes: tuple[str, ...] = Field(
        (), description="programmes compared; left out: the arms of each base"
    )
    subgroups: tuple[str, ...] = Field(
        (), description="groupings, among the analysis's; left out: all of them"
    )
    parts: tuple[Part, ...] = Field(
        get_args(Part),
        description="what is looked at beside effects by subgroup",
    )
    least: int = Field(
        100,
        ge=20,
        description="programmes with fewer participants among those who could have entered all are "
        "left out, and the report says so",
    )
    shown_at: Share = Field(
        0.05,
        description="p value below which predicted effects must beat the average for groups of them to "
        "be shown",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="options of the estimator heterogeneity; left out: the analysis's learners",
    )
    policy: Policy | None = Field(None, description="rules that deal places; left out: none")

    @model_validator(mode="after")
    def _whole(self) -> ForWhom:
        taken = [name for name in OWN if name in self.options]
        if taken:
            raise ValueError(
                InputError(
                    f"'{taken[0]}' isn't among the options here",
                    where="options",
                    remedy=f"Keys of the table itself decide {', '.join(OWN)}.",
                )
            )
        for name in ("programmes", "subgroups"):
            twice = repeated(list(getattr(self, name)))
            if twice:
                raise ValueError(InputError(f"'{twice}' is named twice", where=name))
        if self.target == "treated" and self.policy is not None:
            raise ValueError(
                InputError(
                    "rules are about everybody who could have entered, not about participants",
                    where="target",
                    remedy='Leave out policy, or say target = "common".',
                )
            )
        if self.cumulated and self.horizon == 0:
            raise ValueError(InputError("a sum over one month is that month", where="cumulated"))
        return self


def key_errors(asked: Sequence[ForWhom], analyses: Sequence[str]) -> list[InputError]:
    """A key of a table that another, or one of the study's ``analyses``, has."""
    keys = [one.key for one in asked]
    twice = repeated(keys) or next((key for key in keys if key in analyses), None)
    return [InputError(f"the key '{twice}' is used twice")] if twice else []


def for_whom_errors(
    asked: Sequence[ForWhom],
    *,
    analyses: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    programmes: Sequence[str] | None,
    last: int | None,
) -> list[InputError]:
    """What the tables say that the study doesn't have.

    ``analyses``: outcomes and subgroups of every analysis that can be used, by key; ``programmes`` None
    where the data alone tell them; ``last``: the last month, None where outcomes have no months.
    """
    errors: list[InputError] = []
    for number, one in enumerate(asked, 1):
        where = f"for_whom {number}"
        key = next(iter(analyses), "") if one.analysis is None else one.analysis
        if key not in analyses:
            errors.append(unknown("analysis", key, list(analyses), where=f"{where}, analysis"))
            continue
        outcomes, subgroups = analyses[key]
        named = [("outcome", one.outcome, outcomes)]
        named += [("subgroup", name, subgroups) for name in one.subgroups]
        arms = list(one.programmes)
        if one.policy is not None:
            if one.policy.fairness_by is not None:
                own = one.subgroups or subgroups
                named.append(("subgroup", one.policy.fairness_by, own))
            if isinstance(one.policy.capacity, dict):
                arms += one.policy.capacity
        if programmes is not None:
            named += [("programme", name, programmes) for name in arms]
        errors += [
            unknown(kind, name, list(known), where=where)
            for kind, name, known in named
            if name not in known
        ]
        if last is None and (one.horizon is not None or one.cumulated):
            errors.append(InputError("outcomes of this study have no months", where=where))
        elif last is not None and one.horizon is not None and one.horizon > last:
            errors.append(
                InputError(
                    f"month {one.horizon} is beyond the horizon {last}", where=f"{where}, horizon"
                )
            )
        if "balanced" in one.parts and len(one.subgroups or subgroups) < 2:
            errors.append(
                InputError(
                    "balanced effects hold other groupings fixed, and fewer than two are named",
                    where=f"{where}, parts",
                    remedy="Name another subgroup, or leave out balanced.",
                )
            )
    return errors
