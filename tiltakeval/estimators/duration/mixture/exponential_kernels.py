"""The exponential function inside compiled loops, so that they vectorise: the library's doesn't.

Range reduction by powers of two and a Taylor polynomial of degree 12 on half an octave (Cody and Waite
1980): within two units in the last place.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
#: Adding it rounds to a whole number, which the lowest bits of the sum then hold.
ROUNDING = 6755399441055744.0
#: Below, the result is nought: relative to one nothing is lost, and products don't get subnormal.
NOUGHT = -170.0


@intrinsic
def _bits(typing, number):  # type: ignore
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _number(typing, bits):  # type: ignore
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


# sums must not be reordered here: (x + ROUNDING) - ROUNDING isn't x
@njit(nogil=True, fastmath={"contract"})
def exponential(x):  # type: ignore
    """exp(x) for x up to 700; 0 below ``NOUGHT``."""
    shifted = x * LOG2_E + ROUNDING
    whole = shifted - ROUNDING
    r = (x - whole * LN2_HIGH) - whole * LN2_LOW
    p = 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    value = _number(_bits(p) + (_bits(shifted) << 52))  # type: ignore
    return value if x >= NOUGHT else 0.0
