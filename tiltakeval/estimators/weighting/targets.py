"""Whose effect: the target populations and the pairs of arms compared on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown

TargetName = Literal["att", "ate", "programmes", "overlap"]
Contrasts = Literal["none", "all"] | Sequence[Sequence[str]]
TARGETS = ("att", "ate", "programmes", "overlap")


@dataclass(frozen=True)
class Target:
    """``arms`` T whose units are described, ``required`` arms they must be able to enter, the pairs.

    ``label`` becomes part of the result's population. With ``overlap`` units count by how well they
    are met in every arm of T (``numerics.scores``).
    """

    label: str
    arms: tuple[int, ...]
    required: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    overlap: bool = False

    def terms(self, pair: tuple[int, int]) -> tuple[str, ...]:
        """What is reported of a pair: the effect and, unless another pair has them, the two means."""
        if pair[1] == 0 or len(self.pairs) == 1:
            return ("effect", "mean_treated", "mean_comparison")
        return ("effect",)


def population_label(design: CrossSection, target: Target) -> str:
    """The population column: the design's population and the target, ``jobseeker:att``."""
    return f"{design.population}:{target.label}"


def make_targets(
    name: TargetName, design: CrossSection, contrasts: Contrasts, *, present: Sequence[int]
) -> tuple[Target, ...]:
    """Targets for an estimator's ``target`` and ``contrasts`` among the arms ``present``.

    att: each programme on its own participants. ate: each on all units that could enter it.
    programmes: all programmes on the units in any of them that could have entered every one.
    overlap: all units that could have entered every arm, weighted by overlap.
    A contrast of two programmes is made on the units in either (att) or all units (ate) that could
    have entered both.
    """
    if name not in TARGETS:
        raise unknown("target", name, TARGETS, where="target")
    programmes = [a for a in present if a != 0]
    pairs = _pairs(contrasts, design, programmes)
    everyone = tuple(present)
    if name == "programmes":
        with_none = [(a, 0) for a in programmes]
        return (Target("programmes", tuple(programmes), everyone, (*with_none, *pairs)),)
    if name == "overlap":
        with_none = [(a, 0) for a in programmes]
        return (Target("overlap", everyone, everyone, (*with_none, *pairs), overlap=True),)
    if name == "att":
        own = [Target("att", (a,), (a, 0), ((a, 0),)) for a in programmes]
        return (*own, *(Target("either", tuple(sorted(pair)), pair, (pair,)) for pair in pairs))
    own = [Target("ate", everyone, (a, 0), ((a, 0),)) for a in programmes]
    return (*own, *(Target("ate", everyone, pair, (pair,)) for pair in pairs))


def _pairs(
    contrasts: Contrasts, design: CrossSection, programmes: Sequence[int]
) -> list[tuple[int, int]]:
    if contrasts == "none" or not contrasts:
        return []
    if contrasts == "all":
        return [(a, b) for i, a in enumerate(programmes) for b in programmes[i + 1 :]]
    found = []
    for pair in contrasts:
        if isinstance(pair, str) or len(pair) != 2:
            raise InputError(
                "a contrast names two programmes",
                where="contrasts",
                remedy="Write contrasts as 'all', 'none', or pairs such as [['aft', 'amo']].",
            )
        for key in pair:
            if key not in design.arms[1:]:
                raise unknown("programme", str(key), design.arms[1:], where="contrasts")
        a, b = (design.arms.index(key) for key in pair)
        if a in programmes and b in programmes:
            found.append((a, b))
    return found
