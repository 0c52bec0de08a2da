"""Grouped hazards against statsmodels, published figures, a one-point mixture fit, and bad input."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from tiltakeval.design.event_history import event_history_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import contrast
from tiltakeval.estimators.duration.grouped_hazard import GroupedHazard

FAMILIES = {
    "exponential": sm.families.Poisson(),
    "logit": sm.families.Binomial(),
    "cloglog": sm.families.Binomial(sm.families.links.CLogLog()),
}


def person_months(persons=900, seed=1, months=12):
    """Rows of one month; two exits; a status that begins half way; several persons an office."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(persons):
        sex, age = rng.integers(0, 2), rng.integers(0, 3)
        starts = rng.integers(0, 2 * months)
        for month in range(months):
            on = int(month >= starts)
            hazard = np.exp([-2.6 + 0.3 * sex - 0.2 * age - 0.5 * on, -3.3 + 0.4 * on])
            exit_ = 0
            if rng.random() < 1 - np.exp(-hazard.sum()):
                exit_ = 1 + int(rng.random() < hazard[1] / hazard.sum())
            rows.append((person, month, month + 1, exit_, sex, age, on, person // 9))
            if exit_:
                break
    names = ["id", "start", "stop", "event", "sex", "age", "in_programme", "office"]
    return pd.DataFrame(rows, columns=names)


def history(df=None, **changes):
    given = {
        "id": "id", "start": "start", "stop": "stop", "event": "event", "exits": "1:job,2:out",
        "covariates": "sex,age", "programme": "in_programme",
    } | changes  # fmt: skip
    return event_history_from_frame(person_months() if df is None else df, **given)


def by_statsmodels(df, exit_, model, cuts, cluster):
    """Coefficients and clustered errors from rows of one month (steps, then covariates)."""
    step = np.searchsorted(cuts, df.start.to_numpy(), side="right") - 1
    x = np.column_stack(
        [np.eye(len(cuts))[step], df[["sex", "age", "in_programme"]].to_numpy(float)]
    )
    glm = sm.GLM((df.event == exit_).astype(float), x, family=FAMILIES[model])
    fit = glm.fit(tol=1e-14, maxiter=200)
    bread = np.linalg.inv(-glm.hessian(fit.params, observed=True))
    scores = pd.DataFrame(glm.score_obs(fit.params)).groupby(df[cluster].to_numpy()).sum()
    z = scores.to_numpy() @ bread
    g = len(z)
    return fit.params.to_numpy(), np.sqrt(np.diag(z.T @ z) * g / (g - 1)), fit.llf


@pytest.mark.parametrize("cluster", ["id", "office"])
@pytest.mark.parametrize("model", FAMILIES)
def test_coefficients_and_clustered_errors_are_those_of_statsmodels(model, cluster):
    df = person_months()
    design = history(df, cluster=cluster)
    found = GroupedHazard(model=model, steps=(0, 3, 6)).estimate(design)
    total = 0.0
    for number, name in enumerate(("job", "out"), start=1):
        coef, se, value = by_statsmodels(df, number, model, [0, 3, 6], cluster)
        rows = found.table[found.table.outcome == name]
        np.testing.assert_allclose(rows.estimate, coef, atol=1e-7)
        np.testing.assert_allclose(rows.std_error, se, rtol=1e-6)
        total += value
    assert found.run["log_likelihood"] == pytest.approx(total, abs=1e-6)
    assert found.run["cells"] < found.run["rows"] / 10
    assert list(rows.term) == ["baseline"] * 3 + ["coefficient"] * 2 + ["log_hazard_ratio"]
    assert list(rows.period[:3]) == ["0-3", "3-6", "6-12"] and list(rows.horizon[:3]) == [0, 3, 6]


def test_the_errors_of_statsmodels_own_cluster_option():
    df = person_months()
    found = GroupedHazard(model="logit", steps=0, only="job").estimate(history(df))
    x = sm.add_constant(df[["sex", "age", "in_programme"]].astype(float))
    fit = sm.GLM((df.event == 1).astype(float), x, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": df.id.to_numpy()}, tol=1e-13
    )
    # it also multiplies by (n - 1) / (n - k)
    other = fit.bse.to_numpy() / np.sqrt((len(df) - 1) / (len(df) - 4))
    np.testing.assert_allclose(found.table.std_error, other, rtol=1e-6)


def test_continuous_covariates_and_long_rows_give_the_same_as_single_months():
    df = person_months(300)
    rng = np.random.default_rng(5)
    df["wage"] = rng.normal(size=300)[df.id]
    short = GroupedHazard(steps=(0, 4)).estimate(history(df, covariates="sex,age,wage"))
    same = ["id", "sex", "age", "wage", "in_programme", "office"]
    long = df.groupby(same, sort=False).agg(
        start=("start", "min"), stop=("stop", "max"), event=("event", "max")
    )
    long = long.reset_index().sort_values(["id", "start"])
    other = GroupedHazard(steps=(0, 4)).estimate(history(long, covariates="sex,age,wage"))
    columns = ["estimate", "std_error", "n_events", "n_treated"]
    pd.testing.assert_frame_equal(short.table[columns], other.table[columns], rtol=1e-9)
    assert other.run["rows"] < short.run["rows"] / 3
    assert other.run["log_likelihood"] == pytest.approx(short.run["log_likelihood"], abs=1e-7)
    months = GroupedHazard(model="cloglog").estimate(history(df, covariates="sex,age,wage"))
    again = GroupedHazard(model="cloglog").estimate(history(long, covariates="sex,age,wage"))
    np.testing.assert_allclose(months.table.estimate, again.table.estimate, atol=1e-9)
    np.testing.assert_allclose(months.table.std_error, again.table.std_error, rtol=1e-8)


def test_weights_count_as_so_many_rows():
    df = person_months(250)
    df["w"] = 1.0 + df.id % 3
    weighted = GroupedHazard(steps=(0, 4), model="cloglog").estimate(history(df, weight="w"))
    copies = pd.concat(
        [df[df.w > k].assign(id=lambda d, k=k: d.id + 1000 * k) for k in range(3)]
    )  # fmt: skip
    copies["person"] = copies.id % 1000
    repeated = GroupedHazard(steps=(0, 4), model="cloglog").estimate(
        history(copies, cluster="person")
    )
    np.testing.assert_allclose(weighted.table.estimate, repeated.table.estimate, atol=1e-8)
    np.testing.assert_allclose(weighted.table.std_error, repeated.table.std_error, rtol=1e-7)


def test_exits_that_share_months_exactly_are_nearer_the_truth():
    df = person_months(6000, seed=3)
    design = history(df)
    given = {"model": "cloglog", "steps": 0}
    shared = GroupedHazard(**given, sharing="exact").estimate(design)
    truth = {"job": [-2.6, 0.3, -0.2, -0.5], "out": [-3.3, 0, 0, 0.4]}
    for name, values in truth.items():
        rows = shared.table[shared.table.outcome == name]
        assert (np.abs(rows.estimate - values) < 3.5 * rows.std_error).all()
    apart = GroupedHazard(**given).estimate(design)
    assert (shared.table.estimate - apart.table.estimate).iloc[0] > 0.005
    assert shared.run["log_likelihood"] != apart.run["log_likelihood"]
    # scores of the joint fit add up to zero over persons
    z = shared.influence.columns(np.arange(len(shared)))
    assert np.abs(z.sum(axis=0)).max() < 1e-8 * np.abs(z).sum(axis=0).max()


def test_mccall_exponential_is_the_published(shared):
    df = pd.read_csv(shared / "data" / "mccall_jobless.csv")
    df["id"] = np.arange(len(df))
    df["exit"] = (df.censor1 == 1).astype(int)
    # order of Cameron & Trivedi (2005), section 17.11: RR, DR, UI, RR*UI, DR*UI, LOGWAGE
    df["rrui"], df["drui"] = df.reprate * df.ui, df.disrate * df.ui
    first = ["reprate", "disrate", "ui", "rrui", "drui", "logwage"]
    left = ["spell", "censor1", "censor2", "censor3", "censor4", "id", "exit", *first]
    rest = [c for c in df.columns if c not in left]
    found = GroupedHazard(steps=0).estimate(
        history(df, duration="spell", start=None, stop=None, event="exit", exits="1:job",
                covariates=[*first, *rest], programme=())
    )  # fmt: skip
    rows = found.table[found.table.term == "coefficient"].set_index("programme")
    published = [0.472, -0.576, -1.425, 0.966, -0.199, 0.35]
    for name, value in zip(first, published):
        assert round(rows.estimate[name], 3 if name != "logwage" else 2) == value


def test_without_duration_steps_it_is_the_mixture_model_with_one_point(shared):
    df = pd.read_csv(shared / "reference" / "timing_of_events.csv")
    found = GroupedHazard(steps=0).estimate(
        history(df, duration="duration", start=None, stop=None, event="d",
                exits="1:job,2:programme", covariates="x1,x2", programme="alpha")
    )  # fmt: skip
    assert found.run["log_likelihood"] == pytest.approx(-18308.1495, abs=1e-4)
    effect = found.table[found.table.term == "log_hazard_ratio"]
    assert round(effect.estimate.item(), 3) == 0.022 and effect.outcome.item() == "job"
    assert effect.n_treated.item() == df.groupby("id").alpha.max().sum()


def test_effects_in_subgroups_are_interactions_with_status():
    df = person_months(3000, seed=7)
    df["group"] = np.where(df.sex == 1, "women", "men")
    found = GroupedHazard(steps=0, only="job").estimate(history(df, subgroups="group"))
    inside = found.table[found.table.subgroup != "all"].set_index("subgroup")
    assert list(inside.index) == ["group=men", "group=women"]
    assert (inside.term == "log_hazard_ratio").all()
    x = df[["sex", "age"]].astype(float)
    x["men"], x["women"] = (df.in_programme * (df.sex == s) for s in (0, 1))
    fit = sm.GLM(
        (df.event == 1).astype(float), sm.add_constant(x), family=sm.families.Poisson()
    ).fit(tol=1e-13)
    np.testing.assert_allclose(inside.estimate, fit.params[["men", "women"]], atol=1e-7)
    women = df[df.sex == 1]
    assert inside.n_treated["group=women"] == women.id[women.in_programme == 1].nunique()
    gap = contrast(found.select(subgroup="group=women"), found.select(subgroup="group=men"))
    assert gap.table.std_error.item() > inside.std_error.max()


def test_a_level_without_events_is_an_error_or_a_row_that_says_so():
    df = person_months(400)
    df["rare"] = ((df.id % 20 == 0) & (df.event != 1)).astype(int)
    df.loc[df.id.isin(df.id[df.event == 1]), "rare"] = 0
    design = history(df, covariates="sex,age,rare")
    with pytest.raises(InputError, match=r"exit 'job', covariate 'rare': no event in the \d+"):
        GroupedHazard().estimate(design)
    found = GroupedHazard(rare="leave_out", only="job", steps=0).estimate(design)
    row = found.table[found.table.programme == "rare"].iloc[0]
    assert row.status == "not_supported" and np.isnan(row.estimate)
    without = GroupedHazard(only="job", steps=0).estimate(history(df[df.rare == 0]))
    kept = found.table[found.table.status == "ok"]
    np.testing.assert_allclose(kept.estimate, without.table.estimate, atol=1e-9)
    assert found.run["left_out"] == {"job": 1}


def test_too_few_persons_in_a_subgroup_are_no_estimate():
    df = person_months(800)
    treated = df.groupby("id").in_programme.max()
    few = treated[treated == 1].index[:3]
    df["group"] = np.where(df.id.isin(few), "few", "many")
    found = GroupedHazard(steps=0, only="job").estimate(history(df, subgroups="group"))
    row = found.table[found.table.subgroup == "group=few"].iloc[0]
    assert row.status == "not_supported" and np.isnan(row.estimate) and row.n_treated == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "probit"}, "unknown hazard model 'probit'"),
        ({"sharing": "exact"}, "only under cloglog"),
        ({"sharing": "some"}, "unknown sharing"),
        ({"steps": (0, 3, 3)}, "different numbers"),
        ({"steps": -1}, "none below 0"),
        ({"period": 0}, "must be above 0"),
        ({"rare": "drop"}, "unknown rule"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        GroupedHazard(**options)


def test_hostile_data_end_in_a_message():
    df = person_months(200)
    with pytest.raises(InputError, match="out never happens in"):
        history(df.assign(event=np.where(df.event == 1, 1, 0)))
    with pytest.raises(InputError, match=r"of .* rows stop inside a period of 1"):
        GroupedHazard(model="logit").estimate(
            history(df.assign(stop=df.stop - 0.5 * (df.event > 0)))
        )
    with pytest.raises(InputError, match=r"no event in 1 time step\(s\): 11.5-12"):
        GroupedHazard(steps=(0, 11.5)).estimate(
            history(df.assign(event=np.where(df.stop > 11, 0, df.event)))
        )
    with pytest.raises(InputError, match="unknown transition 'jobb'"):
        GroupedHazard(only="jobb").estimate(history(df))
    both = df.assign(copy=df.sex * 2 + 1)
    with pytest.raises(InputError, match="'copy' is determined by the covariates before it"):
        GroupedHazard().estimate(history(both, covariates="sex,age,copy"))
    with pytest.raises(InputError, match="only 1 cluster"):
        GroupedHazard().estimate(history(df.assign(office=1), cluster="office"))


def test_one_event_is_enough_for_a_baseline_and_no_more():
    df = person_months(60)
    first = df.index[df.event == 1][0]
    df["event"] = np.where(df.index == first, 1, 0)
    found = GroupedHazard(steps=0).estimate(history(df, exits="1:job", covariates=(), programme=()))
    assert found.table.estimate.item() == pytest.approx(np.log(1 / len(df)))
    with pytest.raises(InputError, match=r"separation|grows without bound"):
        GroupedHazard(steps=0).estimate(history(df, exits="1:job"))


def test_a_small_part_of_the_larger_reference_set_in_little_time(shared):
    with gzip.open(shared / "reference" / "timing_of_events_20000.csv.gz") as stream:
        df = pd.read_csv(stream)
    found = GroupedHazard(steps=0).estimate(
        history(df, duration="duration", start=None, stop=None, event="d",
                exits="1:job,2:programme", covariates="x1,x2", programme="alpha")
    )  # fmt: skip
    assert found.run["log_likelihood"] == pytest.approx(-74018.6610, abs=1e-3)
    assert found.run["cpu_seconds"] < 5
