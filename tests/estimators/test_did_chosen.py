import numpy as np
import pytest
from invented_rollouts import make_rollout

from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import linear
from tiltakeval.estimators import build

KEYS = ("group_time_att", "did_imputation", "two_stage", "sun_abraham", "etwfe")
OWN = {"group_time_att": {"divisor": "g_minus_1"}, "did_imputation": {"auxiliary_mean": "plain"}}


@pytest.fixture(scope="module")
def design():
    return make_rollout(300, seed=3)


def _built(key, **options):
    return build(key, bands=False, **OWN.get(key, {}), **options)


def _events(found):
    rows = found.select(subgroup="all", outcome=found.table["outcome"].iloc[0])
    return rows.select(term="effect_by_event_time", status="ok")


@pytest.mark.parametrize("key", KEYS)
def test_a_window_is_the_mean_of_its_event_times_with_its_error(design, key):
    found = _built(key, windows="0-1").estimate(design)
    events = _events(found)
    inside = events.table["horizon"].isin([0, 1]).to_numpy()
    assert inside.sum() == 2
    mean = linear(events, (inside / 2)[None, :], events.table.iloc[:1].drop(columns="estimate"))
    own = found.select(term="effect_in_window", subgroup="all", outcome=events.table.outcome[0])
    assert own.table["period"].tolist() == ["0-1"]
    assert own.table["estimate"][0] == pytest.approx(mean.table["estimate"][0], rel=1e-10)
    # two regressions have an error of their own for each of their indicators
    close = 0.1 if key == "two_stage" else 1e-8
    assert own.table["std_error"][0] == pytest.approx(mean.table["std_error"][0], rel=close)
    assert own.table["n_treated"][0] > 0


@pytest.mark.parametrize("key", KEYS)
def test_own_weights_are_normalised_and_add_up_the_rows_they_name(design, key, tmp_path):
    label = [design.label(g) for g in design.cohorts]
    plain = (
        _built(key).estimate(design).select(term="effect_by_cohort", status="ok", subgroup="all")
    )
    outcome = plain.table["outcome"].iloc[0]
    plain = plain.select(outcome=outcome).table.set_index("cohort")["estimate"]
    two = [one for one in label if one in plain.index][:2]
    file = tmp_path / "weights.csv"
    file.write_text(f"name,cohort,weight\nlean,{two[0]},3\nlean,{two[1]},1\n", encoding="utf-8")
    found = _built(key, averages=str(file)).estimate(design)
    own = found.select(term="effect_by_weights", subgroup="all", outcome=outcome).table
    wanted = 0.75 * plain[two[0]] + 0.25 * plain[two[1]]
    assert own["period"].tolist() == ["lean"]
    assert own["estimate"][0] == pytest.approx(wanted, rel=1e-10)
    assert own["std_error"][0] > 0


def test_cells_and_periods_have_weights_too(design):
    plain = _built("group_time_att").estimate(design).select(subgroup="all")
    plain = plain.select(outcome=plain.table["outcome"].iloc[0])
    cell = plain.select(term="effect", status="ok").table.query("horizon == 1").iloc[0]
    when = plain.select(term="effect_by_period", status="ok").table.iloc[-1]
    given = {
        "cell": [{"cohort": cell.cohort, "horizon": 1, "weight": 5}],
        "same": [{"cohort": cell.cohort, "period": cell.period, "weight": 1}],
        "late": [{"period": when.period, "weight": 2}, {"period": cell.period, "weight": 0}],
    }
    found = _built("group_time_att", averages=given).estimate(design).select(subgroup="all")
    own = found.select(term="effect_by_weights", outcome=cell.outcome).table.set_index("period")
    for name in ("cell", "same"):
        assert own.estimate[name] == pytest.approx(cell.estimate)
        assert own.std_error[name] == pytest.approx(cell.std_error)
    assert own.estimate["late"] == pytest.approx(when.estimate)
    assert own.std_error["late"] == pytest.approx(when.std_error)


def test_event_times_outside_the_window_have_no_rows_and_no_part_in_sums(design):
    found = _built("group_time_att", earliest=-1, latest=1).estimate(design)
    events = _events(found).table
    assert set(events["horizon"]) <= {-1, 0, 1}
    mean = found.select(term="effect_over_event_times", subgroup="all").table
    after = events[events.horizon >= 0]
    assert mean["estimate"][0] == pytest.approx(after.estimate.mean())
    path = found.select(term="cumulated_path", subgroup="all").table
    assert path["horizon"].max() == 1


def test_a_part_that_cant_be_had_ends_the_average_or_is_left_out_with_a_word(design):
    last = int(design.periods[-1] - design.cohorts[0])
    wide = f"{last}-{last + 1}"
    refused = _built("group_time_att", windows=wide).estimate(design)
    row = refused.select(term="effect_in_window").table.iloc[0]
    assert row.status == "not_supported" and np.isnan(row.estimate)
    said = [one for one in refused.run["not_supported"] if one.get("term") == "effect_in_window"]
    assert "50% of the weight" in said[0]["reason"]
    rest = _built("group_time_att", windows=wide, absent="reweight").estimate(design)
    row = rest.select(term="effect_in_window").table.iloc[0]
    end = rest.select(term="effect_by_event_time", subgroup=row.subgroup, outcome=row.outcome)
    assert row.estimate == pytest.approx(end.select(horizon=last).table["estimate"][0])
    assert "of the rest" in rest.run["averages"][0]["reason"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"windows": "3-1"}, "no range"),
        ({"windows": "x"}, "no range"),
        ({"earliest": 2, "latest": 1}, "lies after"),
        ({"averages": "nowhere.csv"}, "no such file"),
        ({"averages": {"a": [{"horizon": 0, "weight": -1}]}}, "no weight"),
        ({"averages": {"a": [{"horizon": 0, "weight": 0}]}}, "above 0"),
        ({"averages": {"a": [{"cohort": "1850", "weight": 1}]}}, "unknown cohort"),
        ({"averages": {"a": [{"weight": 1}]}}, "name a cohort"),
        ({"averages": {"a": [{"horizon": 0, "weight": 1}] * 2}}, "repeat"),
        ({"averages": {"a": [{"horizon": 0, "wieght": 1}]}}, "unknown column"),
        ({"averages": {"a": [{"period": "x", "horizon": 0, "weight": 1}]}}, "unknown period|name"),
        ({"absent": "drop"}, "unknown choice"),
    ],
)
def test_choices_there_arent_are_refused(design, options, said):
    with pytest.raises(InputError, match=said):
        _built("group_time_att", **options).estimate(design)
