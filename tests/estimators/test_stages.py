"""Stages read off event histories, and months from a timing-of-events fit against the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.event_history import event_history_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators.duration.mixture.errors import Information
from tiltakeval.estimators.duration.mixture.steps import with_steps
from tiltakeval.estimators.duration.months.consequences import consequences
from tiltakeval.estimators.duration.months.law import by_differences
from tiltakeval.estimators.duration.months.mixture_law import law_of
from tiltakeval.estimators.duration.months.paths import paths
from tiltakeval.estimators.duration.months.stages import programmes_of, stages_of
from tiltakeval.estimators.duration.timing_of_events import TimingOfEvents
from tiltakeval.estimators.numerics.groups import deal_groups

IN, AFTER, END = -0.5, 0.3, 0.2
COLUMNS = ["id", "x", "aft_in", "aft_after", "start", "stop", "d"]


def history(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Spells with a normal frailty shared by job and programme; and participants' job hazards."""
    rng = np.random.default_rng(seed)
    rows, hazards = [], []
    for i in range(n):
        x, v = rng.standard_normal(2) * (1.0, 0.7)
        job, entry = 0.06 * np.exp(0.3 * x + v), 0.05 * np.exp(-0.2 * x + 0.5 * v)
        leave, begin, end = rng.exponential(1 / np.array([job, entry, END]))
        if min(leave, 40) < begin:
            rows.append((i, x, 0, 0, 0, min(leave, 40), int(leave < 40)))
            continue
        if begin >= 40:
            rows.append((i, x, 0, 0, 0, 40, 0))
            continue
        rows.append((i, x, 0, 0, 0, begin, 2))
        hazards.append(job)
        inside, after = rng.exponential(1 / (job * np.exp([IN, AFTER])))
        stop = begin + min(inside, end, 40 - begin)
        rows.append((i, x, 1, 0, begin, stop, int(inside < min(end, 40 - begin))))
        if end < min(inside, 40 - begin):
            last = stop + min(after, 40 - stop)
            rows.append((i, x, 0, 1, stop, last, int(after < 40 - stop)))
    return pd.DataFrame(rows, columns=COLUMNS), np.array(hazards)


def design_of(frame: pd.DataFrame):
    return event_history_from_frame(
        frame, id="id", start="start", stop="stop", event="d", exits="1:job,2:programme",
        covariates="x", programme="aft_in,aft_after",
    )  # fmt: skip


def effect(job: np.ndarray, h: np.ndarray) -> np.ndarray:
    """True effect on having left for work: closed form, mean over participants."""
    h = h[:, None]
    a, b = job * np.exp(IN), job * np.exp(AFTER)
    both = END / (a + END - b) * (np.exp(-b * h) - np.exp(-(a + END) * h))
    return (np.exp(-job * h) - np.exp(-(a + END) * h) - both).mean(axis=1)


def test_stages_are_read_off_names_and_rows() -> None:
    assert programmes_of(["aft_waiting", "aft_in_1_4", "aft_in_5_up", "amo", "ips_after"]) == {
        "aft": {"waiting": ("aft_waiting",), "inside": ("aft_in_1_4", "aft_in_5_up")},
        "amo": {"inside": ("amo",)},
        "ips": {"after": ("ips_after",)},
    }
    frame = pd.DataFrame(
        [
            *((i, *row) for i in range(8) for row in (
                (0, 0, 0, 0, 2, 2), (1, 0, 0, 2, 5, 0), (0, 1, 0, 5, 9, 0), (0, 0, 1, 9, 12, 1))),
            *((i, 0, 0, 0, 0, 3, 1) for i in range(8, 12)),
        ],
        columns=["id", "aft_in_1_3", "aft_in_4_up", "aft_after", "start", "stop", "d"],
    )  # fmt: skip
    design = event_history_from_frame(
        frame, id="id", start="start", stop="stop", event="d", exits="1:job,2:programme",
        programme="aft_in_1_3,aft_in_4_up,aft_after",
    )  # fmt: skip
    found = stages_of(design, **programmes_of(design.programme)["aft"], months=10)
    assert found.row.size == 8 and (found.elapsed == 2).all() and not found.waits
    names = [design.covariate_names[c] for c in found.column["inside"]]
    assert names == ["aft_in_1_3"] * 3 + ["aft_in_4_up"] * 7
    assert (found.column["waiting"] == -1).all()
    np.testing.assert_allclose(found.leave[:6], 0.0)
    np.testing.assert_allclose(found.leave[6], 8 / 8)  # all end in their seventh month
    short = stages_of(design, **programmes_of(design.programme)["aft"], months=5)
    np.testing.assert_allclose(short.leave, 0.0)  # what ends later isn't taken to end in the last
    with pytest.raises(InputError):
        stages_of(design, inside=("aft",), months=10)


def test_months_from_a_fit_meet_the_truth() -> None:
    frame, job = history(1500, seed=4)
    design = with_steps(design_of(frame), (6.0,))
    estimator = TimingOfEvents(starts=1, path=False)
    panel = estimator.panel(design)
    fit = estimator.solve(panel).full
    stages = stages_of(design, **programmes_of(design.programme)["aft"], months=8)
    assert stages.row.size == job.size
    assert np.abs(stages.leave[:4] / END - 1).max() < 0.35
    first = np.r_[True, np.diff(design.person) != 0]
    groups = deal_groups(design.cluster[first], kind="person", max_groups=2000)
    law = law_of(
        Information(panel, fit, groups), design, stages, cuts=(6.0,), kind="opg",
        labels={"programme": "aft", "population": "file", "estimand": "vs_no_programme"},
    )  # fmt: skip
    assert law.exits == ("job",)

    def some(found):
        return np.concatenate([found.with_programme[..., 5, :], found.running[..., 3:]], axis=-1)

    slow = by_differences(law, some, 8)
    np.testing.assert_allclose(law.derivatives(some, 8), slow, atol=1e-6 * np.abs(slow).max())
    rates = law.rates(law.theta, 8)
    np.testing.assert_allclose(rates.share.sum(), 1.0)
    # who takes part is judged by the past: participants' mean hazard isn't that of everybody
    got = paths(rates).without[:, 0]
    want = 1 - np.exp(-job * np.arange(9)[:, None]).mean(axis=1)
    assert np.abs(got - want).max() < 0.08
    table = consequences(law, months=8, windows=(6,)).table
    rows = table[(table.term == "effect") & (table.outcome == "job")]
    z = (rows.estimate - effect(job, np.arange(1, 9))) / rows.std_error
    assert z.abs().max() < 3 and 0.01 < rows.std_error.iloc[-1] < 0.1


def test_the_estimator_reports_months_with_its_coefficients() -> None:
    frame, _ = history(700, seed=5)
    frame["place"] = np.where(frame["id"] < 690, "town", "village")
    columns = dict(
        id="id", start="start", stop="stop", event="d", exits="1:job,2:programme",
        covariates="x", programme="aft_in,aft_after", subgroups="place",
    )  # fmt: skip
    design = event_history_from_frame(frame, **columns)
    options = dict(months=12, amounts="job:30000", starts=1, path=False)
    found = TimingOfEvents(**options).estimate(design)
    table = found.table.set_index(["subgroup", "outcome", "term", "period"]).sort_index()
    whole = table.loc["all", "job", "cumulated", "1-12"]
    assert whole.unit.item() == "months" and whole.estimand.item() == "vs_no_programme"
    assert whole.n_treated.item() == frame.id[frame.aft_in > 0].nunique()
    nok = table.loc["all", "income_nok", "cumulated", "1-12"]
    np.testing.assert_allclose(nok.estimate.item(), 30_000 * whole.estimate.item())
    small = table.loc["place=village", "job", "cumulated", "1-12"]
    assert small.status.item() == "not_supported" and np.isnan(small.estimate.item())
    town = table.loc["place=town", "job", "cumulated", "1-12"]
    assert abs(town.estimate.item() / whole.estimate.item() - 1) < 0.2
    # rows share influence with the coefficients, so that they combine
    pair = found.select(term=["log_hazard_ratio", "cumulated"], outcome="job", subgroup="all")
    assert pair.influence is not None and len(pair) > 3

    broken = frame.rename(columns={"aft_in": "ips_waiting", "aft_after": "ips_after"})
    no_inside = event_history_from_frame(
        broken, **{**columns, "programme": "ips_waiting,ips_after", "subgroups": ()}
    )
    for file, wrong, says in (
        (no_inside, {}, "when somebody is in ips"),
        (design, {"points": "averaged"}, "needs the path"),
        (design, {"random": "aft_in"}, "varies between persons"),
        (design, {"amounts": "job:much"}, "isn't a number"),
        (design, {"amounts": "jobb:1"}, "unknown exit 'jobb'"),
        (design, {"months": 0}, "amounts are for months"),
    ):
        with pytest.raises(InputError, match=says):
            TimingOfEvents(**{**options, **wrong}).estimate(file)


def test_a_status_without_exits_takes_nobody_out_and_is_said() -> None:
    frame, _ = history(600, seed=6)
    never = (frame.aft_in == 1) & (frame.d == 1)
    frame = frame.assign(d=np.where(never, 0, frame.d), late=(frame.id < 40) * 1.0)
    frame.loc[(frame.late == 1) & (frame.d == 1), "d"] = 0
    design = event_history_from_frame(
        frame, id="id", start="start", stop="stop", event="d", exits="1:job,2:programme",
        covariates="x,late", programme="aft_in,aft_after",
    )  # fmt: skip
    with pytest.raises(InputError, match="no finite value"):
        TimingOfEvents(starts=1).estimate(design)
    model = TimingOfEvents(starts=1, path=False, rare="leave_out", months=6, points="full")
    found = model.estimate(design)
    row = found.table[(found.table.programme == "aft_in") & (found.table.outcome == "job")]
    assert row.status.item() == "not_supported" and row.n_events.item() == 0
    panel = model.panel(design)
    job = panel.transitions.index("job")
    inside = (design.covariates[:, 1:3] > 0).any(axis=1)  # late, or in the programme
    assert (panel.channel[inside, job] < 0).all() and (panel.channel[~inside, job] >= 0).all()
    # while in the programme nobody leaves: the share that has left grows from the end on alone
    first = found.table[(found.table.outcome == "job") & (found.table.horizon == 1)]
    share = first.set_index("term").estimate
    assert share["mean_treated"] < share["mean_comparison"] / 3


def test_a_first_step_without_entries_is_left_out() -> None:
    frame, _ = history(700, seed=8)
    early = (frame.d == 2) & (frame.stop < 2)  # nobody enters in the first two months
    frame = frame[~frame.id.isin(frame.id[early])]
    design = design_of(frame)
    model = TimingOfEvents(starts=1, path=False, rare="leave_out", steps=(1, 2, 6))
    panel = model.panel(design)
    entry = panel.transitions.index("programme")
    names = [n for n, on in zip(panel.names, panel.active[entry]) if on and n.startswith("dur")]
    assert names == ["duration [6, inf)"]  # compared with [2, 6), the first that has any
    assert np.isfinite(model.estimate(design).table.estimate).all()


def test_months_of_an_average_are_those_of_its_fits() -> None:
    frame, _ = history(900, seed=8)
    design = event_history_from_frame(
        frame, id="id", start="start", stop="stop", event="d", exits="1:job,2:programme",
        covariates="x", programme="aft_in,aft_after",
    )  # fmt: skip
    options = dict(months=12, starts=1)
    rows = dict(term="cumulated", outcome="job", period="1-12")
    found = TimingOfEvents(points="averaged", **options).estimate(design)
    weights = {int(j): w for j, w in found.run["reported_points"].items()}
    assert len(weights) > 1
    each = {
        j: TimingOfEvents(points=j, **options).estimate(design).select(**rows).table
        for j in weights
    }
    mean = sum(w * each[j].estimate.item() for j, w in weights.items())
    row = found.select(**rows).table
    np.testing.assert_allclose(row.estimate.item(), mean, rtol=1e-9)
    wide = sum(
        w * np.hypot(each[j].std_error.item(), each[j].estimate.item() - mean)
        for j, w in weights.items()
    )
    # months are widened one by one before they are summed
    np.testing.assert_allclose(row.std_error.item(), wide, rtol=0.02)
