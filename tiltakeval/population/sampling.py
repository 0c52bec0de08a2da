"""Draws keyed by (seed, person number, month): the same in every engine and in NumPy.

Engines' own hash functions differ between engines and versions, so the mixing is written out in
32-bit arithmetic (two rounds of multiply and xor-shift) that no 64-bit integer overflows.
"""

from __future__ import annotations

import numpy as np
from ibis.expr.types import IntegerValue
from numpy.typing import NDArray

MASK = 0xFFFFFFFF
_MULTIPLIER = 73244475
_PERSON = 1640531527
_MONTH = 668265263
_PURPOSE = 374761393


def _mix(x: IntegerValue) -> IntegerValue:
    x = ((x ^ (x >> 16)) * _MULTIPLIER) & MASK
    x = ((x ^ (x >> 16)) * _MULTIPLIER) & MASK
    return x ^ (x >> 16)


def person_mark(person: IntegerValue, seed: int) -> IntegerValue:
    """A 32-bit mark of a person (dense number) under a seed; computed once a person."""
    key = int(_mix_int(seed & MASK) ^ _mix_int((seed >> 32) & MASK ^ 0x5BD1E995))
    return _mix(((person.cast("int64") * _PERSON) & MASK) ^ key)


def month_draw(mark: IntegerValue, month: IntegerValue, purpose: int = 0) -> IntegerValue:
    """A number in 0 .. 2**32 - 1 for a marked person, a month (an int32 column, not a sum: engines
    and Ibis disagree about the type of sums) and a purpose; keep it when below share * 2**32."""
    key = month.cast("int64") * _MONTH + purpose * _PURPOSE
    return _mix(mark ^ (key & MASK))


def _mix_int(x: int) -> int:
    for _ in range(2):
        x = ((x ^ (x >> 16)) * _MULTIPLIER) & MASK
    return x ^ (x >> 16)


def draws(
    seed: int, person: NDArray[np.integer], month: NDArray[np.integer] | int, purpose: int = 0
) -> NDArray:
    """The same draws in NumPy: int64 in 0 .. 2**32 - 1."""

    def mix(x: NDArray) -> NDArray:
        for _ in range(2):
            x = ((x ^ (x >> 16)) * _MULTIPLIER) & MASK
        return x ^ (x >> 16)

    key = _mix_int(seed & MASK) ^ _mix_int((seed >> 32) & MASK ^ 0x5BD1E995)
    mark = mix(((person.astype(np.int64) * _PERSON) & MASK) ^ key)
    keyed = np.asarray(month, dtype=np.int64) * _MONTH + purpose * _PURPOSE
    return mix(mark ^ (keyed & MASK))


def folds(seed: int, person: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """A fold 0 .. count-1 per row; the same for all rows of a person."""
    found: NDArray[np.int64] = draws(seed, person, 1, 2) % count
    return found
