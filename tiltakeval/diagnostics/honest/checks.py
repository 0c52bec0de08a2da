"""The diagnostics of this package as checks that never stop an analysis: what can't be had says why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tiltakeval.diagnostics.honest import robust
from tiltakeval.diagnostics.honest.series import TERM
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates

#: The keys that tell series by event time apart.
APART = (
    "study", "analysis", "population", "estimand", "programme", "comparator", "subgroup", "outcome",
)  # fmt: skip


def robust_to_trends(
    *,
    estimates: Estimates,
    breakdown_mbar: float = 1.0,
    window: tuple[int, int] | None = None,
) -> tuple[Check, ...]:
    """The breakdown Mbar of the first effect and of the mean effect of every series by event time.

    As `robust.robust_intervals`, on the event times of ``window`` (all by default);
    ``scope["target"]`` is ``first`` or ``mean``. A series that can't be used, or a result without any,
    gives a check ``not_evaluated`` with the reason in ``message["why"]``.
    """
    found: list[Check] = []
    for part, scope in _parts(estimates):
        try:
            for name in ("first", "mean"):
                _, checks = robust.robust_intervals(
                    estimates=part,
                    mbar=(breakdown_mbar,),
                    at="mean" if name == "mean" else 0,
                    breakdown_mbar=breakdown_mbar,
                    window=window,
                )
                found.extend(replace(c, scope={**c.scope, "target": name}) for c in checks)
        except InputError as error:
            found.append(_not("robust_to_trends", error, breakdown_mbar, scope))
    return tuple(found)


def pretrend_power(
    *,
    estimates: Estimates,
    pretrend_level: float = 0.05,
    power: Sequence[float] = (0.5, 0.8),
    window: tuple[int, int] | None = None,
) -> tuple[Check, ...]:
    """Which slopes the tests before treatment would find: as `robust.pretrend_power`."""
    found: list[Check] = []
    for part, scope in _parts(estimates):
        try:
            found.extend(
                robust.pretrend_power(
                    estimates=part,
                    pretrend_level=pretrend_level,
                    power=tuple(sorted(set(power))),
                    window=window,
                )
            )
        except InputError as error:
            found.append(_not("pretrend_power", error, pretrend_level, scope))
    return tuple(found)


def _parts(estimates: Estimates) -> Iterator[tuple[Estimates, dict[str, str]]]:
    """The result of each series (all its terms) with the scope of its check; at least one part."""
    rows = estimates.table[estimates.table["term"] == TERM]
    if rows.empty:
        yield estimates, {}
    for names in rows[list(APART)].drop_duplicates().to_dict(orient="records"):
        scope = {name: str(names[name]) for name in robust.SCOPE}
        yield (
            estimates.select(**names),
            {name: value for name, value in scope.items() if value and value != "all"},
        )


def _not(key: str, error: InputError, threshold: float, scope: dict[str, str]) -> Check:
    return Check(
        key=key,
        status="not_evaluated",
        scope=scope,
        threshold=threshold,
        message={"why": str(error)},
    )
