"""Cox regression: published figures, peers, derivatives, simulated truth, and what is refused."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_designs import make_history
from lifelines import CoxPHFitter
from lifelines.datasets import load_rossi, load_stanford_heart_transplants
from statsmodels.duration.hazard_regression import PHReg

from tiltakeval.cli import main
from tiltakeval.design.event_history import EventHistory, event_history_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators import build

ROSSI = ("age", "race", "wexp", "mar", "paro", "prio")


def exact_history(n: int = 400, *, seed: int = 0, decimals: int = 9, late: bool = True):
    """Exits at rate 0.1 exp(0.5 x - 0.4 z), z turning on at a random time, entry maybe late."""
    rng = np.random.default_rng(seed)
    x, turn = rng.standard_normal(n), rng.exponential(6, n).round(decimals) + 0.01
    need = rng.exponential(1, n)
    rate = 0.1 * np.exp(0.5 * x)
    stop = np.where(need < rate * turn, need / rate, turn + (need / rate - turn) / np.exp(-0.4))
    censored = rng.exponential(20, n)
    done = stop <= censored
    stop = np.ceil(np.minimum(stop, censored) * 10**decimals) / 10**decimals
    entry = rng.uniform(0, 2, n).round(decimals) * late
    rows = []
    for i in np.flatnonzero(stop > entry):
        if entry[i] < turn[i] < stop[i]:
            rows.append((i, entry[i], turn[i], 0, x[i], 0))
            rows.append((i, turn[i], stop[i], int(done[i]), x[i], 1))
        else:
            rows.append((i, entry[i], stop[i], int(done[i]), x[i], int(turn[i] <= entry[i])))
    return pd.DataFrame(rows, columns=["id", "from", "to", "d", "x", "z"])


def history(df: pd.DataFrame, **settings) -> EventHistory:
    return event_history_from_frame(
        df, id="id", start="from", stop="to", event="d", exits="1:job", covariates="x",
        programme="z", **settings,
    )  # fmt: skip


def by_name(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("programme")


def test_recidivism() -> None:
    rossi = load_rossi().assign(id=np.arange(432))
    design = event_history_from_frame(
        rossi, id="id", duration="week", event="arrest", exits="1:arrest", covariates=ROSSI,
        programme="fin",
    )  # fmt: skip
    found = build("cox", errors="model").estimate(design)
    fin = by_name(found.table).loc["fin"]
    assert (round(fin.estimate, 3), round(fin.std_error, 3)) == (-0.379, 0.191)
    assert fin.term == "log_hazard_ratio" and (fin.n_treated, fin.n_events) == (216, 48)
    np.testing.assert_allclose(
        found.run["log_likelihood"],
        CoxPHFitter().fit(rossi.drop(columns="id"), "week", "arrest").log_likelihood_,
        atol=1e-6,
    )


def test_clustered_errors_without_ties_equal_lifelines() -> None:
    # with ties lifelines leaves Efron's correction out of its score residuals
    rossi = load_rossi()
    rossi["week"] = rossi.week + np.random.default_rng(1).random(432) * 1e-3
    rossi["family"] = np.arange(432) % 144
    design = event_history_from_frame(
        rossi.assign(id=np.arange(432)), id="id", duration="week", event="arrest",
        exits="1:arrest", covariates=ROSSI, programme="fin", cluster="family",
    )  # fmt: skip
    peer = CoxPHFitter().fit(rossi, "week", "arrest", cluster_col="family")
    table = by_name(build("cox").estimate(design).table)
    for name in (*ROSSI, "fin"):
        np.testing.assert_allclose(table.estimate[name], peer.params_[name], atol=1e-6)
        np.testing.assert_allclose(
            table.std_error[name], peer.standard_errors_[name] * np.sqrt(144 / 143), rtol=1e-5
        )


def test_heart_transplants_during_follow_up() -> None:
    heart = load_stanford_heart_transplants()
    design = event_history_from_frame(
        heart, id="id", start="start", stop="stop", event="event", exits="1:death",
        covariates=("age", "surgery", "year"), programme="transplant",
    )  # fmt: skip
    table = by_name(build("cox", errors="model").estimate(design).table)
    expected = {"transplant": -0.010, "surgery": -0.637, "year": -0.146}
    assert {name: round(table.estimate[name], 3) for name in expected} == expected
    assert round(table.estimate["age"], 4) == 0.0272
    assert round(table.std_error["transplant"], 3) == 0.314


def test_displaced_workers(shared: Path) -> None:
    data = pd.read_csv(shared / "data" / "mccall_jobless.csv")
    data = data.assign(id=np.arange(len(data)), rr_ui=data.reprate * data.ui)
    data["dr_ui"] = data.disrate * data.ui
    skipped = ("spell", "censor1", "censor2", "censor3", "censor4", "id")
    design = event_history_from_frame(
        data, id="id", duration="spell", event="censor1", exits="1:job",
        covariates=[name for name in data.columns if name not in skipped],
    )  # fmt: skip
    breslow = by_name(build("cox", ties="breslow", errors="model").estimate(design).table)
    printed = {
        **{"reprate": 0.522, "disrate": -0.753, "rr_ui": 0.882, "dr_ui": -0.095, "logwage": 0.34},
        "ui": -1.318,
    }
    for name, value in printed.items():
        assert abs(breslow.estimate[name] - value) < (0.006 if name == "logwage" else 0.0011)
    efron = by_name(build("cox").estimate(design).table)
    assert round(efron.estimate["ui"], 3) == -1.401


@pytest.mark.parametrize("ties", ["breslow", "efron"])
@pytest.mark.parametrize("decimals", [0, 9])
def test_late_entry_ties_and_strata_equal_statsmodels(ties: str, decimals: int) -> None:
    df = exact_history(decimals=decimals).assign(g=lambda d: d.id % 3)
    design = history(df, subgroups="g")
    strata = np.asarray(df.g)
    # statsmodels counts entry at an exit time as at risk of it; we don't: shift entries a little
    model = PHReg(
        df.to, df[["x", "z"]], status=df.d, entry=df["from"] + 1e-7, strata=strata, ties=ties
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = model.fit(method="newton", tol=1e-12, disp=0)
    found = build("cox", ties=ties, errors="model", strata=("g",)).estimate(design)
    assert (found.table.subgroup == "all").all()
    np.testing.assert_allclose(found.table.estimate, peer.params, atol=1e-6)
    np.testing.assert_allclose(found.table.std_error, peer.bse, rtol=1e-5)
    np.testing.assert_allclose(found.run["log_likelihood"], model.loglike(peer.params), rtol=1e-9)


@pytest.mark.parametrize("decimals", [0, 9])
def test_influence_is_the_derivative_by_each_persons_weight(decimals: int) -> None:
    design = history(exact_history(150, decimals=decimals))
    estimator = build("cox", ties="breslow")
    z = estimator.estimate(design).influence.columns([0, 1])
    for person in range(0, design.persons, 20):
        moved = []
        for step in (1e-4, -1e-4):
            weight = design.weight + step * (design.person == person)
            moved.append(estimator.estimate(replace(design, weight=weight)).table.estimate)
        np.testing.assert_allclose(z[person], (moved[0] - moved[1]) / 2e-4, atol=2e-6)


def test_efron_scores_sum_to_nothing_and_splitting_rows_changes_nothing() -> None:
    df = exact_history(300, decimals=0)
    design = history(df)
    found = build("cox").estimate(design)
    np.testing.assert_allclose(found.influence.columns([0, 1]).sum(axis=0), 0, atol=1e-8)
    middle = (df["from"] + df.to) / 2
    split = pd.concat([df.assign(to=middle, d=0), df.assign(**{"from": middle})])
    split = split.sort_values(["id", "from"], kind="stable")
    again = build("cox").estimate(history(split))
    np.testing.assert_allclose(again.table.estimate, found.table.estimate, atol=1e-10)
    np.testing.assert_allclose(again.table.std_error, found.table.std_error, rtol=1e-8)
    np.testing.assert_allclose(again.run["log_likelihood"], found.run["log_likelihood"])


def test_scores_of_tied_exits_are_efrons() -> None:
    """Each of d tied exits is averaged over the d denominators in which it counts by 1 - l / d."""
    df = exact_history(60, decimals=0)
    design = history(df.assign(w=1 + df.id % 3), weight="w")
    found = build("cox").estimate(design)
    x, w = design.covariates, design.weight
    r = w * np.exp(x @ found.table.estimate.to_numpy())
    scores, information = np.zeros_like(x), np.zeros((2, 2))
    for k in np.unique(design.stop[design.event > 0]):
        exits = (design.stop == k) & (design.event > 0)
        d = exits.sum()
        for l in range(d):
            part = ((design.start < k) & (design.stop >= k)) * (1 - exits * l / d)
            v, mean = part @ r, (part * r) @ x / (part @ r)
            scores += exits[:, None] * w[:, None] * (x - mean) / d
            step = w[exits].mean() / v
            scores -= (part * r * step)[:, None] * (x - mean)
            information += (x - mean).T @ ((part * r * step)[:, None] * (x - mean))
    z = np.zeros((design.persons, 2))
    np.add.at(z, design.person, scores @ np.linalg.inv(information))
    np.testing.assert_allclose(found.influence.columns([0, 1]), z, atol=1e-9)


def test_weights_count_persons_and_clusters_gather_them() -> None:
    df = exact_history(200)
    twice = pd.concat([df, df.assign(id=df.id + 1000)]).assign(family=lambda d: d.id % 1000)
    clustered = build("cox", ties="breslow").estimate(history(twice, cluster="family")).table
    weighted = build("cox", ties="breslow").estimate(history(df.assign(w=2.0), weight="w")).table
    np.testing.assert_allclose(clustered.estimate, weighted.estimate, atol=1e-9)
    np.testing.assert_allclose(clustered.std_error, weighted.std_error, rtol=1e-7)


def test_the_truth_is_met_and_its_error_is_right() -> None:
    found = [
        build("cox").estimate(history(exact_history(500, seed=s))).table.iloc[:2]
        for s in range(120)
    ]
    estimates = np.array([t.estimate for t in found])
    errors = np.array([t.std_error for t in found])
    truth = np.array([0.5, -0.4])
    assert (np.abs(estimates.mean(axis=0) - truth) < 4 * estimates.std(axis=0) / np.sqrt(120)).all()
    np.testing.assert_allclose(errors.mean(axis=0), estimates.std(axis=0), rtol=0.2)
    covered = np.abs(estimates - truth) < 1.96 * errors
    assert (covered.mean(axis=0) > 0.88).all()


def test_each_transition_is_a_regression_of_its_own() -> None:
    design = make_history(400)
    table = build("cox").estimate(design).table
    alone = build("cox", transitions=("out",)).estimate(design).table
    pd.testing.assert_frame_equal(
        alone[alone.subgroup == "all"].reset_index(drop=True),
        table[(table.outcome == "out") & (table.subgroup == "all")].reset_index(drop=True),
    )
    # the entry to the programme is a transition too, and status doesn't enter it
    entry = table[(table.outcome == "programme") & (table.subgroup == "all")]
    assert entry.programme.tolist() == ["age"]


def test_an_outlying_covariate_and_large_numbers_do_no_harm() -> None:
    df = exact_history(300)
    plain = build("cox").estimate(history(df)).table
    far = build("cox").estimate(history(df.assign(x=df.x * 1e-6 + 5e3))).table
    np.testing.assert_allclose(far.estimate[0] * 1e-6, plain.estimate[0], rtol=1e-5)
    np.testing.assert_allclose(far.estimate[1], plain.estimate[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"z": lambda d: (d.to > 3) * 1 * (d.d == 0)}, "separation"),
        ({"x": lambda d: d.to * 0 + d.z * 2}, "linearly"),
        ({"d": lambda d: (d.index == d.index[d.d == 1][0]) * 1}, "1 exit"),
    ],
)
def test_hopeless_data_end_in_a_clear_message(change, words) -> None:
    df = exact_history(200).assign(**change)
    with pytest.raises(InputError, match=words):
        build("cox").estimate(history(df))


def test_all_censored_constant_and_unknown_are_told() -> None:
    design = history(exact_history(100))
    with pytest.raises(InputError, match="0 exit"):
        build("cox").estimate(replace(design, event=design.event * 0))
    flat = replace(design, covariates=design.covariates * [0, 1])
    with pytest.raises(InputError, match="x"):
        build("cox").estimate(flat)
    with pytest.raises(InputError, match="no covariate"):
        build("cox").estimate(replace(design, enters=design.enters & False))
    for options in ({"ties": "exact"}, {"errors": "hc"}, {"level": 95}):
        with pytest.raises(InputError):
            build("cox", **options)
    for options in ({"strata": ("y",)}, {"transitions": ("jobb",)}):
        with pytest.raises(InputError):
            build("cox", **options).estimate(design)


def test_the_command_line_gives_it_as_json(tmp_path: Path, capsys) -> None:
    path = tmp_path / "spells.csv"
    exact_history(200).to_csv(path, index=False)
    settings = "id=id start=from stop=to event=d exits=1:job covariates=x programme=z"
    assert main(["estimate", "cox", str(path), "--set", *settings.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["programme"]: row for row in found["estimates"]}
    assert rows["z"]["term"] == "log_hazard_ratio" and rows["x"]["term"] == "coefficient"
    assert {"log_likelihood", "iterations", "cpu_seconds"} <= set(found["run"])
