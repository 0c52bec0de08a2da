"""What a population of target trials is: one frozen declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tiltakeval.errors import InputError, InputErrors, unknown

STATES = ("jobseeker", "nedsatt_arbeidsevne")
ESTIMANDS = ("now_vs_wait", "vs_no_programme", "vs_without_this_programme", "vs_programme_b")
CONDITIONS = ("diagnosis_group", "innsatsgruppe")


@dataclass(frozen=True, kw_only=True)
class PopulationSpec:
    """Sequential target trials, one a calendar month of the entry window.

    base: base state. arms: programme keys. entry: first and last trial month (month indices, both
    included). time_zero: "vedtak" (decision month) or "start". age: whole years, both included.
    min_months_registered: months between registration and the first trial (1: registered through
    the whole trial month). max_months_registered: longest registration at a trial, None no limit.
    max_comparison_per_trial / max_comparison: most comparison person-months in a trial / in all
    (shared equally over the trials); more are sampled with known weights. death: outcomes after it
    are 0 ("zero") or unknown ("censor"); emigration and the end of the data always make them
    unknown. innsatsgrupper: only those (empty: all). arm_conditions: per arm, levels of
    diagnosis_group or innsatsgruppe the arm is open to beyond the catalogue's rules, e.g.
    ``{"ips": {"diagnosis_group": ("mental",)}}``. legal_rules: hold units to the catalogue's rules on
    state, age and date; innsatsgruppe_rules: and to its rules on innsatsgruppe.
    """

    base: str
    arms: tuple[str, ...]
    entry: tuple[int, int]
    time_zero: Literal["vedtak", "start"] = "vedtak"
    estimand: str = "now_vs_wait"
    age: tuple[int, int] = (18, 66)
    min_months_registered: int = 1
    max_months_registered: int | None = None
    max_comparison_per_trial: int | None = None
    max_comparison: int | None = None
    seed: int = 1
    horizon: int = 36
    placebo_months: int = 12
    death: Literal["zero", "censor"] = "zero"
    innsatsgrupper: tuple[str, ...] = ()
    subgroups: tuple[str, ...] = ()
    arm_conditions: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    legal_rules: bool = True
    innsatsgruppe_rules: bool = False

    def __post_init__(self) -> None:
        faults: list[InputError] = []
        if self.base not in STATES:
            faults.append(unknown("base state", self.base, STATES, where="population.base"))
        if self.estimand not in ESTIMANDS:
            faults.append(unknown("estimand", self.estimand, ESTIMANDS, where="arms.estimand"))
        if self.time_zero not in ("vedtak", "start"):
            faults.append(unknown("time zero", self.time_zero, ("vedtak", "start")))
        if not self.arms or len(set(self.arms)) != len(self.arms) or "none" in self.arms:
            faults.append(
                InputError(
                    "the arms must be different programmes, at least one",
                    where="arms.treated",
                    remedy="Name programmes of the catalogue; the comparison arm is added itself.",
                )
            )
        if self.entry[0] > self.entry[1]:
            faults.append(
                InputError(
                    "the entry window ends before it begins",
                    where="population.entry",
                    remedy="Give the first month, then the last.",
                )
            )
        if self.age[0] > self.age[1]:
            faults.append(InputError("the lowest age is above the highest", where="population.age"))
        if self.horizon < 0 or self.placebo_months < 0 or self.min_months_registered < 0:
            faults.append(InputError("months can't be negative", where="population"))
        for arm, conditions in self.arm_conditions.items():
            if arm not in self.arms:
                faults.append(unknown("arm", arm, self.arms, where="arms.conditions"))
            faults += [
                unknown("condition", name, CONDITIONS, where=f"arms.conditions.{arm}")
                for name in conditions
                if name not in CONDITIONS
            ]
        if faults:
            raise InputErrors(faults, title="The population can't be built as declared.")

    @property
    def trials(self) -> int:
        """Number of trial months."""
        return self.entry[1] - self.entry[0] + 1

    @property
    def cap(self) -> int | None:
        """Most comparison person-months in one trial, or None."""
        caps = [self.max_comparison_per_trial]
        if self.max_comparison is not None:
            caps.append(max(1, self.max_comparison // self.trials))
        given = [c for c in caps if c is not None]
        return min(given) if given else None
