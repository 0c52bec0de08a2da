"""Months of work a programme costs and gives, from a hazard model: what people ask of one.

The same rows as other estimators give: term ``effect`` by month on the share that has left by an exit
(unit share), from which `lock_in` computes months, length and break-even. Beside them the part that
comes from the programme's stages alone (waiting and lock-in) and the part that comes after it, which
add up to the cumulated effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.combine import with_bands, with_inference
from tiltakeval.estimates.lockin import WINDOWS, lock_in
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.duration.months.law import Averaged, HazardLaw, told
from tiltakeval.estimators.duration.months.paths import Paths

Floats = NDArray[np.float64]
REMAINING, INCOME = "remaining", "income_nok"
SETS = ("length", "break_even")
MONTHLY = ("effect", "mean_treated", "mean_comparison")


def consequences(
    law: HazardLaw | Averaged,
    *,
    months: int = 36,
    windows: Iterable[int] = WINDOWS,
    amounts: Mapping[str, float] | None = None,
    level: float = 0.95,
) -> Estimates:
    """Effects of taking part on having left, by exit and month, and the months they sum to.

    Horizon h is the end of the h-th month since month zero. Terms, for every exit and for ``remaining``
    (not having left at all): effect, mean_treated, mean_comparison (unit share) and what `lock_in`
    gives from the effects: cumulated (months), cumulated_path, depth, length, break_even. For every
    window w also cumulated_lock_in, what the programme's stages alone make of it (effect of waiting and
    of being in it, none after), and cumulated_after, the rest. Outcome ``in_programme`` (term
    mean_treated) is the share in the programme.

    ``amounts`` are NOK a month for those who have left by an exit and for the ``remaining`` (left out:
    nothing): outcome ``income_nok`` is then what they come to, in the same terms, unit NOK.

    Errors by the delta method through the model's influence; they hold the participants and the
    amounts fixed. Raises InputError when ``months`` isn't positive or an amount is of no outcome.
    """
    kept = tuple(w for w in windows if w <= months)
    if months < 1:
        raise InputError("at least one month is needed", where="months")
    outcomes = (*law.exits, REMAINING)
    for name in amounts or {}:
        if name not in outcomes:
            raise unknown("exit", name, outcomes, where="amounts")
    weights = np.eye(len(outcomes))
    if amounts:
        weights = np.vstack([weights, [amounts.get(name, 0.0) for name in outcomes]])

    def numbers(found: Paths) -> Floats:
        return _numbers(found, weights, kept)

    units = {name: ("share", "months") for name in outcomes} | (
        {INCOME: ("NOK", "NOK")} if amounts else {}
    )
    value, influence = told(law, numbers, months)
    table = tidy(pd.DataFrame(_keys(units, months, kept))).assign(
        estimate=value,
        comparator="none",
        status="ok",
        n_treated=pd.array([law.participants] * value.size, dtype="Int64"),
        **law.labels,
    )
    found = with_inference(table, influence, level=level)
    found = with_bands(found, level=level, terms=("effect",))
    summed = lock_in(found, windows=kept, level=level)
    # fewer remaining is the gain, so that a loss and its end are to be read off the exits
    turned = (summed.table["outcome"] == REMAINING) & summed.table["term"].isin(SETS)
    return Estimates.concat([found, summed.take(np.flatnonzero(~turned))])


def _numbers(found: Paths, weights: Floats, windows: Sequence[int]) -> Floats:
    """[..., m] all numbers of `_keys`, in its order; ``weights`` [K, E + 1] make outcomes of shares."""
    one, locked, none = (
        np.concatenate([p, 1.0 - p.sum(axis=-1, keepdims=True)], axis=-1)[..., 1:, :] @ weights.T
        for p in (found.with_programme, found.locked_in, found.without)
    )
    parts = [_by_outcome(x) for x in (one - none, one, none)]
    parts.append(found.running[..., 1:])
    for w in windows:
        parts += [(x[..., :w, :]).sum(axis=-2) for x in (locked - none, one - locked)]
    return np.concatenate(parts, axis=-1)


def _by_outcome(x: Floats) -> Floats:
    """[..., H, K] as [..., K * H]."""
    return np.swapaxes(x, -1, -2).reshape(*x.shape[:-2], -1)


def _keys(
    units: Mapping[str, tuple[str, str]], months: int, windows: Sequence[int]
) -> list[dict[str, Any]]:
    """Keys of all numbers; ``units`` by outcome, of a month's value and of a sum."""
    monthly = [(outcome, term) for term in MONTHLY for outcome in units]
    rows = [
        {"outcome": outcome, "term": term, "horizon": h, "unit": unit, "period": ""}
        for outcome, term, unit in (
            *((outcome, term, units[outcome][0]) for outcome, term in monthly),
            ("in_programme", "mean_treated", "share"),
        )
        for h in range(1, months + 1)
    ]
    return rows + [
        {"outcome": outcome, "term": term, "horizon": None, "unit": unit, "period": f"1-{w}"}
        for w in windows
        for term in ("cumulated_lock_in", "cumulated_after")
        for outcome, (_, unit) in units.items()
    ]
