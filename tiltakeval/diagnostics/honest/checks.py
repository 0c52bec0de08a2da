"""The diagnostics of this package as checks that never stop an analysis: what can't be had says why."""

from __future__ import annotations

from dataclasses import replace

from tiltakeval.diagnostics.honest import robust
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates


def robust_to_trends(*, estimates: Estimates, breakdown_mbar: float = 1.0) -> tuple[Check, ...]:
    """The breakdown Mbar of the first effect and of the mean effect of every series by event time.

    As `robust.robust_intervals`; ``scope["target"]`` is ``first`` or ``mean``. A result without such
    series, or with one that can't be used, gives a check ``not_evaluated`` with the reason in
    ``message["why"]``.
    """
    found: list[Check] = []
    for name in ("first", "mean"):
        try:
            _, checks = robust.robust_intervals(
                estimates=estimates,
                mbar=(breakdown_mbar,),
                at="mean" if name == "mean" else 0,
                breakdown_mbar=breakdown_mbar,
            )
        except InputError as error:
            return (_not("robust_to_trends", error, breakdown_mbar),)
        found.extend(replace(c, scope={**c.scope, "target": name}) for c in checks)
    return tuple(found)


def pretrend_power(*, estimates: Estimates, pretrend_level: float = 0.05) -> tuple[Check, ...]:
    """Which slopes the tests before treatment would find: as `robust.pretrend_power`."""
    try:
        return robust.pretrend_power(estimates=estimates, pretrend_level=pretrend_level)
    except InputError as error:
        return (_not("pretrend_power", error, pretrend_level),)


def _not(key: str, error: InputError, threshold: float) -> Check:
    return Check(key=key, status="not_evaluated", threshold=threshold, message={"why": str(error)})
