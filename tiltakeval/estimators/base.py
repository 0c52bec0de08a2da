"""What every estimator is: options in the constructor, data in ``estimate``, no state after."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from tiltakeval.estimates.table import Estimates


@runtime_checkable
class Estimator(Protocol):
    """Anything with ``estimate(design) -> Estimates``; a frozen dataclass of its options."""

    def estimate(self, design: Any) -> Estimates:
        """Estimates from a design of the kind the estimator takes. Raises InputError."""
        ...
