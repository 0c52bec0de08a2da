"""Participants' own exits beside the model's: Aalen-Johansen's curve, and a misfit that shows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.durations import durations_from_frame
from tiltakeval.design.event_history import EventHistory, event_history_from_frame
from tiltakeval.estimators.duration.exits import AalenJohansen
from tiltakeval.estimators.duration.grouped_hazard import GroupedHazard
from tiltakeval.study.hazard_rows import OBSERVED, follows


def spells(n: int, *, held: float, seed: int = 0) -> pd.DataFrame:
    """A row a stretch: before and in a programme that nobody leaves for ``held`` months."""
    rng = np.random.default_rng(seed)
    leaves, enters = rng.exponential(10.0, n), rng.exponential(8.0, n)
    end = rng.uniform(15.0, 40.0, n)  # of observation
    took = (enters < leaves) & (enters < end)
    left = np.where(took, enters + held + rng.exponential(12.0, n), leaves)
    which = np.where(rng.random(n) < 0.7, 1, 2)
    stop = np.minimum(left, end)
    first = pd.DataFrame(
        {
            "id": np.arange(n),
            "start": 0.0,
            "stop": np.where(took, enters, stop),
            "d": np.where(took, 3, np.where(leaves < end, which, 0)),
            "aft_in": 0,
        }
    )
    second = pd.DataFrame(
        {
            "id": np.arange(n),
            "start": enters,
            "stop": stop,
            "d": np.where(left < end, which, 0),
            "aft_in": 1,
        }
    )[took]
    table = pd.concat([first, second]).sort_values(["id", "start"], ignore_index=True)
    return table[table.stop > table.start]


def history(df: pd.DataFrame) -> EventHistory:
    return event_history_from_frame(
        df,
        id="id",
        start="start",
        stop="stop",
        event="d",
        exits="1:job,2:education,3:programme",
        programme="aft_in",
    )


@pytest.fixture(scope="module")
def good() -> tuple[pd.DataFrame, pd.DataFrame]:
    df = spells(3_000, held=0.0)
    return df, GroupedHazard(steps=(0,), months=24).estimate(history(df)).table


def test_observed_shares_are_those_of_aalen_johansen(good) -> None:
    df, table = good
    inside = df[df.aft_in == 1]
    spent = inside.assign(duration=inside.stop - inside.start)
    design = durations_from_frame(spent, duration="duration", event="d", exits="1:job,2:education")
    wanted = AalenJohansen(times=(6, 12, 24)).estimate(design).table
    found = table[table.term == OBSERVED].set_index(["outcome", "horizon"])
    for _, row in wanted.iterrows():
        own = found.loc[(row.outcome, row.horizon)]
        assert own.estimate == pytest.approx(row.estimate, abs=1e-12)
        # the curve's own errors count G / (G - 1)
        assert own.std_error == pytest.approx(row.std_error, rel=1e-3)
    assert (found.n_treated == len(inside)).all()


def test_a_model_that_follows_participants_passes(good) -> None:
    (check,) = follows(good[1], {"population": "file"})
    assert check.status == "passed" and check.statistic <= 0.03
    assert check.scope == {"population": "file", "programme": "aft"}


def test_a_hazard_that_waits_within_the_programme_is_seen() -> None:
    table = GroupedHazard(steps=(0,), months=24).estimate(history(spells(3_000, held=5.0))).table
    (check,) = follows(table, {})
    assert check.status == "failed"
    assert check.message == {"month": 6, "outcome": "job"} and check.statistic > 0.08
    assert check.statistic == round(check.statistic, 2)
