"""How robust effects are to what isn't seen: bounds, yardsticks, and the check that studies run."""

from tiltakeval.diagnostics.sensitivity.bounds import Bounded, bounds
from tiltakeval.diagnostics.sensitivity.check import sensitivity
from tiltakeval.diagnostics.sensitivity.cumulated import cumulated_bounds
from tiltakeval.diagnostics.sensitivity.left_out import blocks_left_out
from tiltakeval.diagnostics.sensitivity.marginal import OddsBounds, hajek_range, odds_bounds
from tiltakeval.diagnostics.sensitivity.strength import bias_bound, contour, robustness_value

__all__ = [
    "Bounded",
    "OddsBounds",
    "bias_bound",
    "blocks_left_out",
    "bounds",
    "contour",
    "cumulated_bounds",
    "hajek_range",
    "odds_bounds",
    "robustness_value",
    "sensitivity",
]
