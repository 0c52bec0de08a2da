"""What participants did, beside what a hazard model says they did.

The path with the programme needs no counterfactual: the participants' own exits show it. Where a model
doesn't follow them there, the months it says they lost and gained can't be trusted either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from tiltakeval.design.event_history import EventHistory
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.duration.months.stages import Stages, spells_of
from tiltakeval.estimators.duration.product_limit import fit_curve, read

TERM = "mean_observed"


def with_observed(
    found: Estimates,
    design: EventHistory,
    stages: Stages,
    exits: Sequence[str],
    *,
    months: int,
    month: float,
) -> Estimates:
    """``found`` (of `consequences`) and rows ``mean_observed``: the share of participants that has left
    by each exit at the end of each month since month zero, as Aalen & Johansen (1978) estimate it.

    ``stages`` are those of all participants. Errors by person; the rows aren't combined with others and
    carry no influence. Months beyond the longest participant is followed have no row.
    """
    spell = spells_of(design)
    last = np.flatnonzero(np.r_[spell[1:] != spell[:-1], True])
    end = last[np.searchsorted(last, stages.row)]
    code = np.zeros(len(design.transitions) + 1, dtype=np.int64)
    for j, name in enumerate(exits):
        code[design.transitions.index(name) + 1] = j + 1
    person, group = np.unique(design.person[stages.row], return_inverse=True)
    duration = (design.stop[end] - design.start[stages.row]) / month
    curve = fit_curve(
        duration=duration,
        event=code[design.event[end]],
        exits=len(exits),
        weight=design.weight[stages.row],
        entry=np.zeros(end.size),
    )
    times = np.arange(1.0, months + 1)
    times = times[times <= duration.max()]
    reading = read(curve, "incidence", times, group=group.reshape(-1), groups=person.size)
    error = np.sqrt((reading.z**2).sum(axis=1))
    keys = found.table.loc[found.table["term"] == "mean_treated"].iloc[0]
    same = ("programme", "population", "subgroup", "estimand", "time_origin", "n_treated")
    table = tidy(
        pd.DataFrame(
            [
                {"outcome": name, "horizon": int(t), "estimate": value, "std_error": spread}
                for j, name in enumerate(exits)
                for t, value, spread in zip(times, reading.value[j], error[j])
            ]
        )
    ).assign(term=TERM, unit="share", comparator="none", **{name: keys[name] for name in same})
    assert found.influence is not None
    none = replace(found.influence, values={}, rows={})
    return Estimates.concat([found, Estimates(table, influence=none)])
