"""Months of work a programme costs and gives, from a hazard model: what people ask of one.

The same rows as other estimators give: term ``effect`` by month on the share that has left by an exit
(unit share), from which `lock_in` computes months, length and break-even. Beside them the part that
comes from the programme's stages alone (waiting and lock-in) and the part that comes after it, which
add up to the cumulated effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import with_bands, with_inference
from tiltakeval.estimates.lockin import WINDOWS, lock_in
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.duration.months.law import HazardLaw
from tiltakeval.estimators.duration.months.paths import Paths, paths

Floats = NDArray[np.float64]
REMAINING = "remaining"
#: Step of the central differences, relative to a parameter above 1.
STEP = 1e-5


def consequences(
    law: HazardLaw, *, months: int = 36, windows: Iterable[int] = WINDOWS, level: float = 0.95
) -> Estimates:
    """Effects of taking part on having left, by exit and month, and the months they sum to.

    Horizon h is the end of the h-th month since month zero. Terms, for every exit and for ``remaining``
    (not having left at all): effect, mean_treated, mean_comparison (unit share) and what `lock_in`
    gives from the effects: cumulated (months), cumulated_path, depth, length, break_even. For every
    window w also cumulated_lock_in, what the programme's stages alone make of it (effect of waiting and
    of being in it, none after), and cumulated_after, the rest. Outcome ``in_programme`` (term
    mean_treated) is the share in the programme.

    Errors by the delta method through the model's influence, with derivatives by central differences;
    they hold the participants fixed. Raises InputError when ``months`` isn't positive.
    """
    kept = tuple(w for w in windows if w <= months)
    if months < 1:
        raise InputError("at least one month is needed", where="months")
    at = law.theta
    keys = _keys(law.exits, months, kept)
    value = _numbers(paths(law.rates(at, months)), kept)
    jacobian = np.empty((value.size, at.size))
    for k in range(at.size):
        change = np.zeros(at.size)
        change[k] = STEP * max(1.0, abs(at[k]))
        up = _numbers(paths(law.rates(at + change, months)), kept)
        down = _numbers(paths(law.rates(at - change, months)), kept)
        jacobian[:, k] = (up - down) / (2 * change[k])
    table = tidy(pd.DataFrame(keys)).assign(
        estimate=value,
        comparator="none",
        status="ok",
        n_treated=pd.array([law.participants] * value.size, dtype="Int64"),
        **law.labels,
    )
    found = with_inference(table, law.influence(jacobian), level=level)
    found = with_bands(found, level=level, terms=("effect",))
    return Estimates.concat([found, lock_in(found, windows=kept, level=level)])


def _numbers(found: Paths, windows: Sequence[int]) -> Floats:
    """All numbers of `_keys`, in its order."""
    one, locked, none = (
        np.column_stack([p, 1.0 - p.sum(axis=1)])[1:]
        for p in (found.with_programme, found.locked_in, found.without)
    )
    parts = [(one - none).T.ravel(), one.T.ravel(), none.T.ravel(), found.running[1:]]
    for w in windows:
        parts += [(locked - none)[:w].sum(axis=0), (one - locked)[:w].sum(axis=0)]
    return np.concatenate(parts)


def _keys(exits: Sequence[str], months: int, windows: Sequence[int]) -> list[dict[str, Any]]:
    outcomes = (*exits, REMAINING)
    monthly = [
        {"outcome": outcome, "term": term, "horizon": h, "unit": "share", "period": ""}
        for term in ("effect", "mean_treated", "mean_comparison")
        for outcome in outcomes
        for h in range(1, months + 1)
    ]
    monthly += [
        {
            "outcome": "in_programme",
            "term": "mean_treated",
            "horizon": h,
            "unit": "share",
            "period": "",
        }
        for h in range(1, months + 1)
    ]
    summed = [
        {"outcome": outcome, "term": term, "horizon": None, "unit": "months", "period": f"1-{w}"}
        for w in windows
        for term in ("cumulated_lock_in", "cumulated_after")
        for outcome in outcomes
    ]
    return monthly + summed
