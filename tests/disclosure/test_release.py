"""Only what may be shown passes, and nothing shown gives away what is hidden."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from tiltakeval.disclosure.release import (
    NotReleasedError,
    Released,
    release_attrition,
    release_checks,
    release_estimates,
    require_released,
)
from tiltakeval.disclosure.rules import RuleSet, load_rules, rule_names
from tiltakeval.disclosure.write import write_released
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates, tidy

BASE = {"estimand": "now_vs_wait", "programme": "aft", "outcome": "earnings_nok", "unit": "nok",
        "estimate": 100.0, "std_error": 1.0, "conf_low": 98.0, "conf_high": 102.0,
        "n_treated": 500, "n_comparison": 5_000}  # fmt: skip


def made(*rows: dict) -> Estimates:
    return Estimates(tidy([{**BASE, **row} for row in rows]))


def hidden(released: Released) -> list[bool]:
    return (released.table["status"] == "suppressed").tolist()


def test_rule_sets_are_named_dated_and_sourced():
    assert {"nav", "ssb", "strict10"} <= set(rule_names())
    for name in rule_names():
        rules = load_rules(name)
        assert rules.dated
        assert rules.source
        assert rules.symbol
    with pytest.raises(InputError, match="Did you mean 'nav'"):
        load_rules("nva")
    with pytest.raises(InputError, match="hides nothing"):
        RuleSet(name="open", dated="2024-01-01", threshold=1, symbol="*")


@pytest.mark.parametrize(
    "column", ["n_treated", "n_comparison", "n_events", "n_clusters", "n_effective"]
)
def test_a_small_count_in_any_column_hides_the_whole_row(column):
    released = release_estimates(made({column: 3}, {column: 4, "programme": "amo"}), "nav")
    first = released.table.iloc[0]
    assert first["status"] == "suppressed"
    for name in ("estimate", "std_error", "conf_low", "conf_high", "n_treated", column):
        assert pd.isna(first[name])
    assert released.table.iloc[1]["status"] == "ok"
    assert released.table.iloc[1]["estimate"] == 100


def test_thresholds_follow_the_rule_set():
    rows = [{"n_treated": n, "programme": f"p{n}"} for n in (2, 3, 4, 9, 10)]
    assert hidden(release_estimates(made(*rows), "ssb")) == [True, False, False, False, False]
    assert hidden(release_estimates(made(*rows), "nav")) == [True, True, False, False, False]
    assert hidden(release_estimates(made(*rows), "strict10")) == [True] * 4 + [False]


def test_rounding_only_where_the_rule_states_a_base():
    rows = made({"n_treated": 523, "n_effective": 77.7})
    assert release_estimates(rows, "nav").table["n_treated"].iloc[0] == 523
    assert release_estimates(rows, "strict10").table["n_treated"].iloc[0] == 525
    assert release_estimates(rows, "strict10").table["n_effective"].iloc[0] == 80


def test_two_level_subgroup_is_hidden_on_both_sides():
    released = release_estimates(
        made({"n_treated": 100}, {"subgroup": "sex=female", "n_treated": 98},
             {"subgroup": "sex=male", "n_treated": 2}), "nav")  # fmt: skip
    assert hidden(released) == [False, True, True]


def test_a_small_unnamed_rest_hides_the_smallest_level():
    released = release_estimates(
        made({"n_treated": 100}, {"subgroup": "sex=female", "n_treated": 60},
             {"subgroup": "sex=male", "n_treated": 38}), "nav")  # fmt: skip
    assert hidden(released) == [False, False, True]


def test_a_hidden_group_is_hidden_for_every_outcome_and_term():
    rows = [{"outcome": outcome, "term": term, "unit": "nok", "n_treated": n}
            for outcome, n in (("earnings_nok", 3), ("benefits_total_nok", 50))
            for term in ("effect", "mean_treated", "mean_comparison")]  # fmt: skip
    assert all(hidden(release_estimates(made(*rows), "nav")))


def test_a_mean_that_stands_for_few_persons_is_hidden_with_its_counterpart():
    share = {"unit": "share", "outcome": "work_any", "n_treated": 100, "n_comparison": 1_000}
    rows = [{**share, "term": "effect", "estimate": 0.01},
            {**share, "term": "mean_treated", "estimate": 0.02},
            {**share, "term": "mean_comparison", "estimate": 0.01}]  # fmt: skip
    assert hidden(release_estimates(made(*rows), "nav")) == [False, True, True]
    rows[1]["estimate"], rows[2]["estimate"] = 0.98, 0.9
    assert hidden(release_estimates(made(*rows), "nav")) == [False, True, True]
    rows[1]["estimate"] = 0.5
    assert hidden(release_estimates(made(*rows), "nav")) == [False, False, False]


def test_sums_over_a_hidden_month_are_hidden():
    monthly = [{"horizon": h, "n_treated": 3 if h == 5 else 50} for h in range(13)]
    sums = [{"term": "cumulated", "period": p, "n_treated": 50} for p in ("0-4", "0-6", "0-12")]
    path = [{"term": "cumulated_path", "horizon": h, "n_treated": 50} for h in (4, 6)]
    released = release_estimates(made(*monthly, *sums, *path), "nav")
    assert hidden(released)[13:] == [False, True, True, False, True]


def test_rows_without_counts_need_a_family_or_permission():
    bare = {"n_treated": None, "n_comparison": None}
    small = made({"n_treated": 3}, {**bare, "term": "depth", "period": "1-6"})
    assert hidden(release_estimates(small, "nav")) == [True, True]
    alone = made({**bare, "study": "truth"})
    assert hidden(release_estimates(alone, "nav")) == [True]
    assert hidden(release_estimates(alone, "nav", uncounted="allow")) == [False]


def test_steps_of_printed_counts_are_never_small():
    counts = [500, 499, 498, 497, 496, 496, 480, 478]
    rows = [{"horizon": h, "n_treated": n} for h, n in enumerate(counts)]
    released = release_estimates(made(*rows), "nav")
    printed = released.table["n_treated"]
    assert printed.tolist()[0] == 500
    assert not any(hidden(released))
    steps = np.abs(np.diff(printed.dropna().astype(int)))
    assert all(step == 0 or step >= 4 for step in steps)
    assert set(released.log["column"]) == {"n_treated"}


def test_small_steps_of_a_curve_are_hidden():
    values = [0.0, 0.01, 0.012, 0.014, 0.03]
    rows = [{"term": "cumulative_incidence", "unit": "share", "horizon": h, "estimate": v,
             "n_treated": 1_000} for h, v in enumerate(values)]  # fmt: skip
    assert hidden(release_estimates(made(*rows), "nav")) == [False, False, True, False, False]


def test_a_difference_of_curves_is_hidden_with_either_arm():
    rows = [{"term": "cumulative_incidence", "unit": "share", "programme": p, "estimate": v,
             "horizon": 1} for p, v in (("none", 0.004), ("aft", 0.2))]  # fmt: skip
    rows.append({**rows[1], "term": "cumulative_incidence_difference", "estimate": 0.196})
    assert hidden(release_estimates(made(*rows), "nav")) == [True, False, True]


def test_strict_rules_hide_zeros_too():
    rows = [{"n_events": 0}, {"n_events": 40, "programme": "amo"}]
    assert hidden(release_estimates(made(*rows), "nav")) == [False, False]
    assert hidden(release_estimates(made(*rows), "strict10")) == [True, False]


def test_attrition_never_prints_a_small_difference():
    steps = [("a", 1_000, 5_000), ("b", 998, 4_990), ("c", 900, 4_500), ("d", 897, 4_400)]
    released = release_attrition(Attrition.of("jobseeker", steps), "nav").table
    persons = released["persons"]
    assert persons.iloc[-1] == 897
    gaps = np.abs(np.diff(persons.dropna().astype(int)))
    assert all(gap >= 4 or gap == 0 for gap in gaps)
    assert (released["removed_persons"].dropna() >= 4).all()
    assert released["units"].tolist() == [5_000, 4_990, 4_500, 4_400]
    tiny = release_attrition(Attrition.of("x", [("a", 50, None), ("b", 3, None)]), "nav").table
    assert tiny["persons"].tolist()[0] == 50
    assert pd.isna(tiny["persons"].iloc[1])
    assert pd.isna(tiny["removed_persons"]).all()


def test_check_details_lose_small_rows_and_what_gives_them_away():
    detail = pd.DataFrame(
        {"bin": ["a", "b", "c"], "n_treated": [2, 30, 400], "share": [0.1, 0.2, 0.7]}
    )
    check = Check(key="overlap", status="passed", detail=detail, counts=("n_treated",),
                  message={"n_small": 2, "months": 2})  # fmt: skip
    item = release_checks([check], "nav").items[0]
    assert item.detail is not None
    assert item.detail["status"].tolist() == ["suppressed", "suppressed", "ok"]
    assert item.detail["share"].isna().tolist() == [True, True, False]
    assert item.message == {"n_small": "*", "months": 2}


def test_undeclared_counts_and_telling_shares_are_found():
    detail = pd.DataFrame({"covariate": ["a", "b", "c"], "mean_treated": [0.004, 0.3, 0.5],
                           "n_treated": [500, 500, 500]})  # fmt: skip
    item = release_checks([Check(key="balance", status="passed", detail=detail)], "nav").items[0]
    assert item.detail is not None
    assert item.detail["status"].iloc[0] == "suppressed"


def test_shares_of_levels_do_not_give_one_another_away():
    detail = pd.DataFrame({"covariate": ["g=a", "g=b", "age"], "mean_treated": [0.6, 0.398, 41.0],
                           "n_treated": 1_000})  # fmt: skip
    check = Check(key="balance", status="passed", detail=detail, counts=("n_treated",))
    item = release_checks([check], "nav").items[0]
    assert item.detail is not None
    assert item.detail["status"].tolist() == ["ok", "suppressed", "ok"]


def test_statistics_that_are_counts_and_estimates_without_counts_are_left_out():
    few = Check(key="support", status="failed", statistic=2.0, threshold=50)
    bare = Check(key="sensitivity", status="informative", statistic=0.3,
                 detail=pd.DataFrame({"outcome": ["a"], "estimate": [1.0]}),
                 message={"outside": 2 / 185})  # fmt: skip
    items = release_checks([few, bare], "nav").items
    assert items[0].statistic is None
    assert items[0].status == "failed"
    assert items[1].statistic == 0.3
    assert items[1].message["outside"] == 0.01
    assert items[1].detail is not None
    assert "estimate" not in items[1].detail.columns


def test_rows_of_persons_are_refused():
    detail = pd.DataFrame({"person_id": [1], "n": [50]})
    with pytest.raises(InputError, match="person_id"):
        release_checks([Check(key="x", status="passed", detail=detail)], "nav")
    with pytest.raises(InputError, match="no column"):
        release_checks([Check(key="x", status="passed", detail=pd.DataFrame({"a": [1]}),
                              counts=("n",))], "nav")  # fmt: skip


def test_released_can_only_be_made_by_the_gate():
    released = release_estimates(made({}), "nav")
    with pytest.raises(NotReleasedError, match="can't be built by hand"):
        Released(made({}).table, load_rules("nav"), pd.DataFrame())
    with pytest.raises(NotReleasedError):
        pickle.dumps(released)
    with pytest.raises(NotReleasedError):
        copy.copy(released)
    with pytest.raises(AttributeError, match="frozen"):
        released._table = made({}).table
    with pytest.raises(AttributeError, match="frozen"):
        released.extra = 1
    with pytest.raises(NotReleasedError, match="takes Released, not Estimates"):
        require_released(made({}), Released, "a figure")
    copied = released.table
    copied.loc[0, "estimate"] = 1.0
    assert released.table["estimate"].iloc[0] == 100


def test_written_files_hold_missing_values_and_a_log_without_numbers(tmp_path):
    released = release_estimates(
        made({"n_treated": 3, "estimate": 987_654.0}, {"programme": "amo"}), "nav"
    )
    paths = write_released(released, tmp_path)
    assert [path.name for path in paths] == ["estimates.csv", "estimates.json"]
    back = pd.read_csv(paths[0])
    assert back["estimate"].isna().tolist() == [True, False]
    assert "987654" not in paths[0].read_text() + paths[1].read_text()
    assert '"reason": "small n_treated"' in paths[1].read_text()
    with pytest.raises(NotReleasedError):
        write_released(made({}), tmp_path)
