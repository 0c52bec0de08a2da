"""Averages over cohorts and periods of functions of the dose, with influence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """A cell's ``value`` with influence ``z`` [size]; it stands for units that weigh ``held`` [size] by
    group. ``cohort`` says which cells share units."""

    cohort: float
    value: float
    z: Floats
    held: Floats


def average(
    parts: Sequence[Part], *, by_cohort: bool, sampling: bool
) -> tuple[float, Floats] | None:
    """The mean of cells weighing as their units do; ``by_cohort``: of cohorts' plain means over their
    cells. With ``sampling`` the influence counts that the numbers of units are those of a sample."""
    if not parts:
        return None
    if by_cohort:
        cohorts = dict.fromkeys(one.cohort for one in parts)
        parts = [_mean([one for one in parts if one.cohort == g]) for g in cohorts]
    size = np.array([one.held.sum() for one in parts])
    total = float(size.sum())
    if not total > 0:
        return None
    value = float(sum(n * one.value for n, one in zip(size, parts))) / total
    z = np.sum([n * one.z for n, one in zip(size, parts)], axis=0) / total
    if sampling:
        z = z + np.sum([one.held * (one.value - value) for one in parts], axis=0) / total
    return value, np.asarray(z)


def _mean(parts: Sequence[Part]) -> Part:
    """A cohort's plain mean over its cells; it weighs as its largest cell does."""
    largest = max(parts, key=lambda one: float(one.held.sum()))
    return Part(
        parts[0].cohort,
        float(np.mean([one.value for one in parts])),
        np.mean([one.z for one in parts], axis=0),
        largest.held,
    )
