import numpy as np
import pandas as pd
import pytest

from tiltakeval.errors import InputError
from tiltakeval.estimates.agree import agree
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.combine import contrast, linear, with_bands, with_inference
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimates.table import Estimates, schema, tidy


def made(k=4, groups=300, seed=0, frame="f", **columns):
    """k monthly effects with a known covariance."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(groups, k)) @ np.triu(np.ones((k, k))) / 100
    rows = [
        dict(
            population="jobseeker",
            estimand="now_vs_wait",
            programme="amo",
            outcome="work_any",
            unit="share",
            horizon=h,
            estimate=0.1 * h,
            **columns,
        )
        for h in range(k)
    ]
    influence = Influence(frame, "person", groups, {"amo": z}, {"amo": np.arange(k)})
    return with_inference(tidy(rows), influence), z


def test_tables_have_the_schema_whatever_was_given():
    table = tidy([{"programme": "aft", "estimate": 1, "horizon": None}])
    assert list(table.columns) == list(schema())
    assert table["subgroup"].tolist() == ["all"]
    assert str(table["horizon"].dtype) == "Int64"
    assert table["horizon"].isna().all()
    with pytest.raises(ValueError, match="colour"):
        tidy([{"colour": "red"}])


def test_linear_combination_has_the_error_of_the_sum_of_influences():
    estimates, z = made()
    rows = pd.DataFrame({"term": ["cumulated"], "programme": ["amo"]})
    total = linear(estimates, np.ones((1, 4)), rows)
    summed = z.sum(axis=1)
    expected = np.sqrt(summed @ summed * 300 / 299)
    assert total.table["estimate"].iloc[0] == pytest.approx(0.6)
    assert total.table["std_error"].iloc[0] == pytest.approx(expected)


def test_linear_combination_through_a_covariance_and_refusal_without_either():
    estimates, z = made()
    covariance = z.T @ z * 300 / 299
    plain = Estimates(estimates.table, covariance=covariance)
    rows = pd.DataFrame({"term": ["sum"]})
    by_influence = linear(estimates, np.ones((1, 4)), rows).table["std_error"].iloc[0]
    assert linear(plain, np.ones((1, 4)), rows).table["std_error"].iloc[0] == pytest.approx(
        by_influence
    )
    with pytest.raises(InputError, match="neither influence nor covariance"):
        linear(Estimates(estimates.table), np.ones((1, 4)), rows)


def test_contrast_counts_what_both_sides_share_and_refuses_other_clusters():
    estimates, z = made()
    difference = contrast(estimates.take([3]), estimates.take([1]), comparator="aft")
    expected = np.sqrt(((z[:, 3] - z[:, 1]) ** 2).sum() * 300 / 299)
    assert difference.table["std_error"].iloc[0] == pytest.approx(expected)
    assert difference.table["estimate"].iloc[0] == pytest.approx(0.2)
    assert difference.table["comparator"].tolist() == ["aft"]
    other, _ = made(frame="g")
    with pytest.raises(InputError, match="share one set of clusters"):
        contrast(estimates.take([3]), other.take([1]))


def test_take_and_concat_keep_influence_with_its_rows():
    estimates, z = made()
    twice = Estimates.concat([estimates.assign(subgroup="sex=female"), estimates])
    assert np.allclose(twice.influence.columns([2, 6]), z[:, [2, 2]])
    back = twice.select(subgroup="all", horizon=[3, 1])
    assert back.table["horizon"].tolist() == [1, 3]
    assert np.allclose(back.influence.columns([0, 1]), z[:, [1, 3]])
    other, _ = made(frame="g")
    assert Estimates.concat([estimates, other]).influence is None


def test_bands_are_wider_than_intervals_and_one_value_per_family():
    estimates, _ = made(k=8)
    both = Estimates.concat([estimates, estimates.assign(subgroup="sex=male")])
    table = with_bands(both).table
    half = (table["band_high"] - table["estimate"]) / table["std_error"]
    assert (table["band_high"] > table["conf_high"]).all()
    assert half.groupby(table["subgroup"]).std().max() < 1e-12


@pytest.mark.parametrize("name", ["result.parquet", "result.csv"])
def test_results_survive_writing_and_reading(tmp_path, name):
    estimates, _ = made()
    lost = Attrition.of("jobseeker", [("in register", 100, None), ("eligible", 80, 200)])
    full = Estimates(estimates.table, attrition=lost, run={"seed": 1})
    full.write(tmp_path / name)
    again = Estimates.read(tmp_path / name)
    pd.testing.assert_frame_equal(again.table, full.table)
    assert again.run == {"seed": 1}
    assert again.attrition.removed()["removed_persons"].tolist()[1] == 20
    with pytest.raises(InputError, match="no such result"):
        Estimates.read(tmp_path / "other.parquet")


def test_agree_counts_rows_and_names_what_does_not_match():
    estimates, _ = made()
    truth = Estimates(estimates.table.assign(estimate=lambda t: t["estimate"] + 0.001, source="x"))
    check = agree(estimates, truth, absolute=0.002)
    assert check.status == "passed"
    assert check.detail["difference"].tolist() == pytest.approx([-0.001] * 4)
    assert agree(estimates, truth, absolute=0.0005).status == "failed"
    assert agree(estimates, truth, max_z=2).status == "passed"
    with pytest.raises(InputError, match="no estimate matches"):
        agree(estimates, truth.assign(programme="aft"), absolute=1)
    with pytest.raises(InputError, match="repeat the same keys"):
        agree(Estimates.concat([estimates, estimates]), truth, absolute=1)
