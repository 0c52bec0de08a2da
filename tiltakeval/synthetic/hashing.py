"""Random numbers keyed by (seed, person, month, purpose): splitmix64 finaliser.

A number depends on nothing but its key, so a person's counterfactual paths reuse the same
draws and results do not depend on chunks or threads.
"""

# mypy: disable-error-code="untyped-decorator,no-any-return"
from __future__ import annotations

import math

import numpy as np

from tiltakeval.synthetic.compiled import compiled

G = np.uint64(0x9E3779B97F4A7C15)
M = np.uint64(0xD1B54A32D192ED03)
_A = np.uint64(0xBF58476D1CE4E5B9)
_B = np.uint64(0x94D049BB133111EB)
_TWO53 = 1.0 / 9007199254740992.0


@compiled
def mix(z: np.uint64) -> np.uint64:
    """Finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * _A
    z = (z ^ (z >> np.uint64(27))) * _B
    return z ^ (z >> np.uint64(31))


@compiled
def person_key(seed: int, person: int) -> np.uint64:
    """Key of a person in a register with this seed."""
    return mix((np.uint64(seed) * G) ^ mix(np.uint64(person + 1) * M))


@compiled
def bits(key: np.uint64, month: int, purpose: int) -> np.uint64:
    """64 random bits for (key, month, purpose)."""
    return mix(key ^ mix(np.uint64(64 * month + purpose + 1) * G))


@compiled
def uniform(key: np.uint64, month: int, purpose: int) -> float:
    """Uniform in (0, 1) for (key, month, purpose)."""
    return (float(bits(key, month, purpose) >> np.uint64(11)) + 0.5) * _TWO53


@compiled
def normal(u: float) -> float:
    """Standard normal quantile of u; Acklam's rational approximation, error below 1.2e-9."""
    if u < 0.02425 or u > 0.97575:
        q = math.sqrt(-2.0 * math.log(u if u < 0.5 else 1.0 - u))
        num = (
            ((((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838) * q
              - 2.549732539343734) * q + 4.374664141464968) * q + 2.938163982698783
        )  # fmt: skip
        den = (
            (((7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996) * q
             + 3.754408661907416) * q + 1.0
        )  # fmt: skip
        return num / den if u < 0.5 else -num / den
    q = u - 0.5
    r = q * q
    num = (
        ((((-3.969683028665376e01 * r + 2.209460984245205e02) * r - 2.759285104469687e02) * r
          + 1.383577518672690e02) * r - 3.066479806614716e01) * r + 2.506628277459239
    ) * q  # fmt: skip
    den = (
        ((((-5.447609879822406e01 * r + 1.615858368580409e02) * r - 1.556989798598866e02) * r
          + 6.680131188771972e01) * r - 1.328068155288572e01) * r + 1.0
    )  # fmt: skip
    return num / den
