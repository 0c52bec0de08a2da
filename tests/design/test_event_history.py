"""Event histories from prepared files: layout, risk sets, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.event_history import EventHistory, event_history_from_frame
from tiltakeval.errors import InputError
from tiltakeval.study.one_line import DESIGNS


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["q7", "q7", "q7", "z1", "a3", "a3"],
            "length": [1.5, 2.0, 0.5, 4.0, 0.1, 0.2],
            "from": [0.0, 1.5, 3.5, 0.0, 0.0, 0.1],
            "to": [1.5, 3.5, 4.0, 4.0, 0.1, 0.3],
            "d": [2, 0, 1, 0, 2, 1],
            "in": [0, 1, 0, 0, 0, 1],
            "post": [0, 0, 1, 0, 0, 0],
            "s": ["u", "p", "p", "u", "u", "p"],
            "x": [1.0, 1.0, 2.0, 0.5, 0.0, 0.0],
            "sex": ["f", "f", "f", "m", "m", "m"],
            "w": [2.0, 2.0, 2.0, 1.0, 1.0, 1.0],
            "office": [1, 1, 1, 1, 2, 2],
            "seen": [1.0, 1.0, 1.0, 0.0, 0.0, 0.0],
        }
    )


SETTINGS = {
    "id": "id",
    "duration": "length",
    "event": "d",
    "exits": "1:job,2:programme",
    "covariates": "x,sex",
    "programme": "in,post",
}


def history(df: pd.DataFrame | None = None, **changes: object) -> EventHistory:
    given = {**SETTINGS, **changes}
    given = {name: value for name, value in given.items() if value is not None}
    return event_history_from_frame(frame() if df is None else df, **given)  # type: ignore[arg-type]


def test_row_lengths_add_up_within_the_person() -> None:
    found = history()
    assert (found.n, found.persons) == (6, 3)
    assert found.person.tolist() == [0, 0, 0, 1, 2, 2]
    assert found.start.tolist() == [0.0, 1.5, 3.5, 0.0, 0.0, 0.1]
    assert found.stop.tolist() == [1.5, 3.5, 4.0, 4.0, 0.1, 0.1 + 0.2]
    assert found.event.tolist() == [2, 0, 1, 0, 2, 1]
    assert found.transitions == ("job", "programme")
    assert found.covariate_names == ("x", "sex=m", "in", "post")
    assert found.attrition.steps.persons.tolist() == [3]


def test_status_enters_exits_but_not_entries_and_bars_a_new_entry() -> None:
    found = history()
    assert found.enters.tolist() == [[True] * 4, [True, True, False, False]]
    assert found.at_risk[:, 0].all()
    assert found.at_risk[:, 1].tolist() == [True, False, False, True, True, False]


def test_an_entry_is_known_by_its_name_or_declared() -> None:
    named = history(exits="1:job,2:post")
    assert named.enters[1].tolist() == [True, True, False, False]
    declared = history(exits="1:job,2:course", entries="course")
    assert declared.at_risk[:, 1].tolist() == [True, False, False, True, True, False]
    plain = history(exits="1:job,2:course")
    assert plain.at_risk.all() and plain.enters.all()


def test_declared_risk_sets() -> None:
    found = history(state="s", risk_sets="u:job+programme,p:job")
    assert found.at_risk[:, 1].tolist() == [True, False, False, True, True, False]
    with pytest.raises(InputError, match=r"column 's': 3 rows are in state\(s\) without .*: p"):
        history(state="s", risk_sets="u:job+programme")
    with pytest.raises(InputError, match="Did you mean 'programme'"):
        history(state="s", risk_sets="u:job+program,p:job")
    with pytest.raises(InputError, match="go together"):
        history(state="s")


def test_start_and_stop_give_the_same_as_lengths() -> None:
    lengths, times = history(), history(duration=None, start="from", stop="to")
    for name in ("person", "event", "at_risk", "covariates", "enters"):
        assert np.array_equal(getattr(lengths, name), getattr(times, name))
    np.testing.assert_allclose(lengths.stop, times.stop)


def test_times_restart_in_every_spell() -> None:
    found = history(frame().assign(n=[1, 1, 2, 1, 1, 1]), spell="n", event="d")
    assert found.start.tolist() == [0.0, 1.5, 0.0, 0.0, 0.0, 0.1]
    assert found.persons == 3 and found.spell is not None
    assert found.spell.tolist() == [0, 0, 1, 2, 3, 3]


def test_rows_before_observation_are_kept_apart_and_cut() -> None:
    found = history(observed_from="seen")
    assert found.start.tolist() == [1.0, 1.5, 3.5, 0.0, 0.0, 0.1]
    assert found.before is not None
    assert found.before.stop.tolist() == [1.0] and found.before.event.tolist() == [0]
    assert found.before.person.tolist() == [0]
    with pytest.raises(InputError, match="1 persons have no row after they come under"):
        history(frame().assign(seen=[9.0, 9.0, 9.0, 0, 0, 0]), observed_from="seen")


def test_weights_clusters_and_subgroups() -> None:
    found = history(weight="w", cluster="office", subgroups="sex")
    assert found.weight.tolist() == [2, 2, 2, 1, 1, 1]
    assert found.cluster.tolist() == [0, 0, 0, 0, 1, 1]
    assert found.subgroups["sex"].codes.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"length": [1, 0, -1, 0, 1, 1]}, "column 'length': 2 rows have zero duration and 1 a neg"),
        ({"d": [2, 2, 1, 0, 2, 1]}, "column 'd': 1 rows end in a transition .*: 1 programme"),
        ({"d": [2, 7, 1, 0, 2, 8]}, r"column 'd': 2 rows have event code\(s\) .* named: 7, 8"),
        ({"d": [2, 0, 0, 0, 2, 0]}, "column 'd': job never happens in 6 rows"),
        ({"x": [1.0] * 6}, "column 'x': the covariate is constant in all 6 rows where job"),
        ({"x": [1.0, 2, 3, 1, 1, 4]}, "column 'x': .* in all 3 rows where programme"),
        ({"x": [1.0, np.nan, 3, 1, np.nan, 4]}, "column 'x': 2 of 6 values of the covariate"),
        ({"id": ["q7", "z1", "q7", "z1", "a3", "a3"]}, r"column 'id': the rows of 2 person\(s\)"),
        ({"id": ["q7", None, "q7", "z1", "a3", "a3"]}, "column 'id': 1 of 6 rows have no person"),
        ({"d": [2, None, 1, 0, 2, 1]}, "column 'd': 1 of 6 rows have no event code"),
        ({"length": [1, 2, np.nan, 4, 1, 1]}, "column 'length': 1 of 6 rows have no duration"),
        ({"length": [1, 2, np.inf, 4, 1, 1]}, "column 'length': 1 of 6 rows .* finite number"),
        ({"in": [0, 2, 0, 0, 0, 1]}, "column 'in': 1 of 6 rows .* neither 0 nor 1"),
        ({"in": [0, None, 0, 0, 0, 1]}, "column 'in': 1 of 6 rows have no programme status"),
    ],
)
def test_what_cannot_be_used_is_named_and_counted(changed: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        history(frame().assign(**changed))
    assert not any(name in str(caught.value) for name in ("q7", "z1", "a3"))


def test_a_person_never_at_risk_is_refused() -> None:
    with pytest.raises(InputError, match="1 of 3 persons have no row at risk"):
        history(
            frame().assign(s=["u", "p", "p", "n", "u", "p"]),
            state="s",
            risk_sets="u:job+programme,p:job,n:none",
        )


def test_what_must_be_constant_within_a_person() -> None:
    with pytest.raises(InputError, match=r"column 'w': the value changes within 1 person\(s\)"):
        history(frame().assign(w=[1.0, 2, 1, 1, 1, 1]), weight="w")
    with pytest.raises(InputError, match="3 rows have a negative weight"):
        history(frame().assign(w=[-1.0, -1, -1, 1, 1, 1]), weight="w")
    with pytest.raises(InputError, match="column 'office': the value changes within 2"):
        history(frame().assign(office=[1, 1, 2, 1, 1, 2]), cluster="office")


def test_times_must_be_given_once_and_in_order() -> None:
    with pytest.raises(InputError, match="times must be given once"):
        history(duration=None)
    with pytest.raises(InputError, match="times must be given once"):
        history(stop="to")
    shuffled = frame().iloc[[1, 0, 2, 3, 4, 5]]
    with pytest.raises(InputError, match="1 rows start before the person's row"):
        history(shuffled, duration=None, start="from", stop="to")


def test_exits_must_be_named() -> None:
    for text, said in (("job", "isn't code:name"), ("0:job", "nothing happens"), ("", "no exit")):
        with pytest.raises(InputError, match=said):
            history(exits=text)
    with pytest.raises(InputError, match="unknown column 'lenght'"):
        history(duration="lenght")


def test_it_can_be_used_from_the_command_line() -> None:
    assert DESIGNS["event_history"] is event_history_from_frame


def test_the_reference_file(shared: Path) -> None:
    df = pd.read_csv(shared / "reference" / "timing_of_events.csv")
    found = history(df, duration="duration", covariates="x1,x2", programme="alpha")
    assert (found.n, found.persons) == (8589, 5000)
    assert np.array_equal(found.at_risk[:, 1], df.alpha == 0)
    np.testing.assert_allclose(found.duration, df.duration, rtol=1e-9, atol=1e-12)


def test_taking_rows_takes_all_that_belongs_to_them() -> None:
    whole = history(subgroups="sex")
    rows = np.array([5, 0, 0])
    part = whole.take(rows)
    for name in ("person", "start", "stop", "event", "at_risk", "covariates", "weight", "cluster"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[rows])
    np.testing.assert_array_equal(part.subgroups["sex"].codes, whole.subgroups["sex"].codes[rows])
    np.testing.assert_array_equal(part.duration, whole.duration[rows])
    assert whole.take(whole.person == 0).n == 3
