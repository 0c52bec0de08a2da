"""Robust intervals, breakdown values and the power of tests before treatment, for any result.

The functions others call: from a result with effects by event time to rows of the one result type
and checks. Arrays go through `event_study.event_study` and the functions of the modules beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.diagnostics.honest.breakdown import (
    MBARS,
    Breakdown,
    relative_breakdown,
    smooth_breakdown,
)
from tiltakeval.diagnostics.honest.power import pretrend_power as power_of
from tiltakeval.diagnostics.honest.relative import Interval, relative_interval
from tiltakeval.diagnostics.honest.series import TERM, Base, Series, Target, series_of
from tiltakeval.diagnostics.honest.smooth import smooth_interval
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.combine import linear
from tiltakeval.estimates.table import Estimates, key_columns

MBAR = (0.0, 0.5, 1.0, 1.5, 2.0)
SCOPE = ("population", "programme", "subgroup", "outcome")


def robust_intervals(
    *,
    estimates: Estimates,
    mbar: Sequence[float] = MBAR,
    m: Sequence[float] = (),
    at: Target = 0,
    level: float = 0.95,
    term: str = TERM,
    base: Base | None = None,
    anticipation: int | None = None,
    window: tuple[int, int] | None = None,
    mbars: Sequence[float] = MBARS,
    breakdown_mbar: float = 1.0,
    small_sample: bool = True,
) -> tuple[Estimates, tuple[Check, ...]]:
    """Intervals of every series under each ``mbar`` and ``m``, and a check with each breakdown
    value.

    Rows have term ``robust_interval``, the restriction in ``period`` (``Mbar=0.5``; ``M=0.01``;
    with ``0-4, `` before it where the target is over several event times), the event time in
    ``horizon`` where it is one. ``conf_low`` and ``conf_high`` are the robust interval; estimate
    and error those it is built around (the effect for Mbar, the shortest interval's centre for
    M), with their influence; no p value.

    With ``small_sample`` the covariance is inflated by (t / z)^2 of the target's degrees of freedom, so
    that Mbar = 0 gives the estimator's own interval; without it, the papers' normal approximation.

    The check ``robust_to_trends`` (by restriction) fails when the breakdown Mbar is below
    ``breakdown_mbar``, fixed in advance; for M, or with nothing to break down, it informs.
    ``statistic`` is the breakdown value, missing where ``message["breakdown"]`` is ``none`` or
    ``beyond_grid``. Other arguments as in `series_of`.
    """
    parts, checks = [], []
    for series in series_of(
        estimates, at=at, term=term, base=base, anticipation=anticipation, window=window
    ):
        study = series.inflated(level) if small_sample else series.study
        found: list[tuple[str, Interval]] = [
            (f"Mbar={v:g}", relative_interval(study, v, level=level)) for v in mbar
        ]
        found += [(f"M={v:g}", smooth_interval(study, v, level=level)) for v in m]
        if found:
            parts.append(_rows(estimates, series, found, level))
        scope = _scope(estimates, series)
        if mbar:
            most = relative_breakdown(study, level=level, mbars=mbars)
            holds = most.found == "beyond_grid" or (most.value or 0.0) >= breakdown_mbar
            verdict = "passed" if holds else "failed"
            checks.append(
                _check(
                    series,
                    {**scope, "restriction": "relative_magnitudes"},
                    most,
                    "informative" if most.found == "none" else verdict,
                    breakdown_mbar,
                )
            )
        if m:
            most = smooth_breakdown(study, level=level)
            checks.append(
                _check(series, {**scope, "restriction": "smoothness"}, most, "informative", None)
            )
    return Estimates.concat(parts), tuple(checks)


def pretrend_power(
    *,
    estimates: Estimates,
    power: Sequence[float] = (0.5, 0.8),
    pretrend_level: float = 0.05,
    at: Target = 0,
    term: str = TERM,
    base: Base | None = None,
    anticipation: int | None = None,
    window: tuple[int, int] | None = None,
    draws: int = 4096,
    seed: int = 0,
) -> tuple[Check, ...]:
    """A check ``pretrend_power`` per series: which slopes tests before treatment would find.

    ``detail`` has a line per test (``joint``, ``single``) and power: slope a period, the bias it
    puts on the target, the bias among studies that pass, and both beside the estimate.
    ``statistic`` is the slope found with the largest power asked for by the joint test (the
    single ones, where there is no joint).
    """
    out = []
    for series in series_of(
        estimates, at=at, term=term, base=base, anticipation=anticipation, window=window
    ):
        lines = power_of(series.study, power=power, level=pretrend_level, draws=draws, seed=seed)
        effect = series.study.estimate
        detail = pd.DataFrame(
            {
                "test": line.test,
                "power": line.power,
                "slope": line.slope,
                "bias": line.bias,
                "bias_if_passed": line.bias_if_passed,
                "estimate": effect,
            }
            for line in lines
        )
        first = [line for line in lines if line.test == lines[0].test]
        most = max(first, key=lambda line: line.power)
        out.append(
            Check(
                key="pretrend_power",
                status="informative",
                scope=_scope(estimates, series),
                statistic=most.slope,
                message={
                    "test": most.test,
                    "power": most.power,
                    "slope": most.slope,
                    "bias": most.bias,
                    "bias_if_passed": most.bias_if_passed,
                    "estimate": effect,
                    "periods": series.study.before,
                    "level": pretrend_level,
                },
                detail=detail,
            )
        )
    return tuple(out)


def _rows(
    estimates: Estimates, series: Series, found: list[tuple[str, Interval]], level: float
) -> Estimates:
    """The rows of one series, their estimates with influence and their ends the robust ones."""
    source = estimates.table.iloc[series.rows]
    used = series.horizons[series.study.before :][series.study.weights != 0]
    over = f"{used.min()}-{used.max()}, " if used.size > 1 else ""
    first = source.iloc[0]
    labels = pd.DataFrame(
        [
            {
                **{name: first[name] for name in key_columns() if name != "estimate"},
                "term": "robust_interval",
                "horizon": int(used[0]) if used.size == 1 else pd.NA,
                "period": over + text,
                "n_treated": source["n_treated"].min(),
                "n_comparison": source["n_comparison"].min(),
                "n_clusters": source["n_clusters"].min(),
                "source": f"{first['source']} honest",
            }
            for text, _ in found
        ]
    )
    weights = np.stack([interval.weights for _, interval in found]) @ series.matrix
    out = linear(estimates, weights, labels, level=level)
    table = out.table.assign(
        conf_low=[interval.low for _, interval in found],
        conf_high=[interval.high for _, interval in found],
        p_value=np.nan,
    )
    return Estimates(
        table,
        influence=out.influence,
        covariance=out.covariance,
        attrition=out.attrition,
        run=out.run,
    )


def _scope(estimates: Estimates, series: Series) -> dict[str, str]:
    row = estimates.table.iloc[series.rows[0]]
    return {name: str(row[name]) for name in SCOPE if row[name] and row[name] != "all"}


def _check(
    series: Series,
    scope: dict[str, str],
    most: Breakdown,
    status: Any,
    threshold: float | None,
) -> Check:
    return Check(
        key="robust_to_trends",
        status=status,
        scope=scope,
        statistic=most.value,
        threshold=threshold,
        message={
            "breakdown": most.found,
            "value": most.value,
            "searched": most.searched,
            "estimate": series.study.estimate,
            "std_error": series.study.std_error,
            "periods_before": series.study.before,
            "cohorts_change": series.mixed,
            "base": series.base,
        },
    )


def lines_of(checks: Sequence[Check]) -> Iterator[str]:
    """A short sentence for each check of this module, for a terminal."""
    for check in checks:
        m = check.message
        about = ", ".join(check.scope.values())
        if check.key == "robust_to_trends":
            said = {
                "value": f"excludes zero up to {m['value'] or 0.0:.3g}",
                "none": "does not exclude zero even without violations",
                "beyond_grid": f"excludes zero up to the end of the grid ({m['searched']:g})",
            }[m["breakdown"]]
            yield f"{about}: {said}"
        elif check.key == "pretrend_power":
            yield (
                f"{about}: a slope of {m['slope']:.4g} a period is found with power "
                f"{m['power']:.0%} and biases the effect by {m['bias']:.4g} "
                f"({m['bias_if_passed']:.4g} where the test passes)"
            )
