"""Covariates in blocks that people speak of: demographics, education, work history, health, ..."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tiltakeval.errors import InputError, unknown

#: Block and the names of its covariates in a register study; the first that matches.
PATTERNS: tuple[tuple[str, str], ...] = (
    ("demographics", r"age(_.*)?|female|sex(_.*)?|landgruppe_.*"),
    ("education", r"education(_.*)?"),
    ("health", r"diagnosis(_.*)?|innsatsgruppe_.*|nedsatt_arbeidsevne"),
    ("registration", r"registered_.*|earlier_registration|other_state_before"),
    ("work_history", r"worked_\d+|subsidised_24|earnings_\d+"),
    ("benefits", r".*_(3|12)"),
    ("earlier_programmes", r"programmes_24|unbegun_24|since_end_.*|last_.*|running|pending"),
    ("calendar", r"month_\d\d|trend_.*|year_\d+"),
    ("office", r"office(_.*)?|vacancies(_.*)?|municipality(_.*)?"),
)
#: Most blocks of single covariates looked at; more are refused rather than dropped.
MOST = 40


def covariate_blocks(
    names: Sequence[str], given: Mapping[str, Sequence[str]] | None = None
) -> dict[str, tuple[int, ...]]:
    """Positions of the covariates ``names`` by block.

    A register study's covariates have blocks of their own; an indicator ``variable=level`` of a
    prepared file goes with its variable, another covariate stands alone. ``given`` names blocks instead:
    block -> covariates (or variables); covariates not named are in none. Raises InputError for a name
    that isn't a covariate, a covariate in two blocks, or more than ``MOST`` blocks.
    """
    found: dict[str, list[int]] = {}
    if given is None:
        for position, name in enumerate(names):
            found.setdefault(_block(name), []).append(position)
    else:
        taken: dict[int, str] = {}
        for block, members in given.items():
            members = (members,) if isinstance(members, str) else members
            for member in members:
                at = [i for i, name in enumerate(names) if member in (name, _variable(name))]
                if not at:
                    raise unknown("covariate", str(member), names, where=f"block '{block}'")
                for i in at:
                    if taken.get(i, block) != block:
                        raise InputError(
                            f"'{names[i]}' is in two blocks", where=f"{taken[i]}, {block}"
                        )
                    taken[i] = block
                found.setdefault(block, []).extend(i for i in at if i not in found.get(block, []))
    if len(found) > MOST:
        raise InputError(
            f"{len(found)} blocks of covariates is more than {MOST}",
            where="blocks",
            remedy="Name blocks of several covariates.",
        )
    return {block: tuple(sorted(at)) for block, at in found.items()}


def columns_of(
    block: Sequence[int], sources: Sequence[Sequence[int]], *, columns: int
) -> tuple[int, ...]:
    """Columns of a basis that any covariate of ``block`` is part of."""
    inside = set(block)
    return tuple(j for j in range(columns) if inside & set(sources[j]))


def _variable(name: str) -> str:
    return name.split("=", 1)[0]


def _block(name: str) -> str:
    for block, pattern in PATTERNS:
        if re.fullmatch(pattern, name):
            return block
    return _variable(name)
