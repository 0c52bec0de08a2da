"""Programmes against one another in a study on a register: what can't be compared."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from tiltakeval.errors import InputError
from tiltakeval.study.spec_parts import repeated

if TYPE_CHECKING:
    from tiltakeval.study.spec_register import Analysis, Base, Contrast

AGAINST = "vs_programme_b"


def comparison_errors(
    bases: Sequence[Base], analyses: Sequence[Analysis], contrasts: Sequence[Contrast]
) -> list[InputError]:
    """What is wrong with programmes against one another."""
    errors = []
    for number, one in enumerate(contrasts, 1):
        errors += _pair_errors(bases, (one.programme, one.against), f"contrast {number}")
    if contrasts and all(set(a.estimands) == {AGAINST} for a in analyses):
        errors.append(
            InputError(
                "a contrast needs an analysis with another estimand than vs_programme_b",
                where="contrast",
                remedy="Write it under pairs of the analysis instead.",
            )
        )
    for number, analysis in enumerate(analyses, 1):
        where = f"analysis {number}"
        for place, pair in enumerate(analysis.pairs, 1):
            errors += _pair_errors(bases, pair, f"{where}, pairs {place}")
        twice = repeated([" and ".join(sorted(pair)) for pair in analysis.pairs])
        if twice:
            errors.append(InputError(f"{twice} are paired twice", where=f"{where}, pairs"))
        if contrasts or AGAINST in analysis.estimands:
            errors += _weighting_only(analysis.estimator, f"{where}, estimator")
        if AGAINST not in analysis.estimands:
            if analysis.pairs:
                errors.append(
                    InputError(
                        "pairs are only compared under the estimand vs_programme_b",
                        where=f"{where}, pairs",
                        remedy=f'Add "{AGAINST}" to its estimands, or leave pairs out.',
                    )
                )
            continue
        if all(len(base.arms) < 2 for base in bases):
            errors.append(
                InputError(
                    f"{AGAINST} compares programmes, and every base has one arm",
                    where=f"{where}, estimands",
                    remedy="Add another programme to the arms of a [[base]].",
                )
            )
    return [*errors, *_common_errors(bases, analyses)]


def _pair_errors(bases: Sequence[Base], pair: tuple[str, str], where: str) -> list[InputError]:
    one, other = pair
    if one == other:
        return [InputError(f"'{one}' can't be compared with itself", where=where)]
    if any({one, other} <= set(base.arms) for base in bases):
        return []
    arms = "; ".join(f"{base.state}: {', '.join(base.arms)}" for base in bases)
    return [
        InputError(
            f"{one} and {other} aren't both arms of one base",
            where=where,
            remedy=f"Arms are {arms}.",
        )
    ]


def _common_errors(bases: Sequence[Base], analyses: Sequence[Analysis]) -> list[InputError]:
    """A base has one common population: two would have the same name in the results."""
    errors = []
    for base in bases:
        sets = {
            frozenset(key for pair in pairs for key in pair)
            for analysis in analyses
            if AGAINST in analysis.estimands
            for pairs in [
                [p for p in analysis.pairs if set(p) <= set(base.arms)]
                if analysis.pairs
                else list(combinations(base.arms, 2))
            ]
        }
        if len({chosen for chosen in sets if len(chosen) > 2}) > 1:
            errors.append(
                InputError(
                    "two analyses compare different programmes on a common population",
                    where=f"base {base.state}",
                    remedy="Name the same pairs in both, or use [[contrast]] for pairs on "
                    "populations of their own.",
                )
            )
    return errors


def _weighting_only(estimator: str, where: str) -> list[InputError]:
    from tiltakeval.estimators import ESTIMATORS

    if "target" in ESTIMATORS[estimator].fixed:
        return []
    fit = ", ".join(key for key, entry in ESTIMATORS.items() if "target" in entry.fixed)
    return [
        InputError(
            f"{estimator} can't compare programmes on a common population",
            where=where,
            remedy=f"Use one of {fit}.",
        )
    ]
