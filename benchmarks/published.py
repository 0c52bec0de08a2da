"""Figures of real evaluations beside the published ones: python benchmarks/published.py

NSW comes from a package; Job Corps and the Penn bonus from the folder of reference data
(TILTAKEVAL_SHARED, or ``shared`` beside the repository), and are left out where it is absent. The
published figures and their sources stand in docs/estimators.md and the study nsw_training.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import causaldata
import numpy as np
import pandas as pd

from tiltakeval.design.prepared import cross_section_from_frame
from tiltakeval.estimators import build

NSW = ("age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75", "u74", "u75")
PENN = (
    *("female", "black", "othrace", "dep", "q2", "q3", "q4", "q5", "q6"),
    *("agelt35", "agegt54", "durable", "lusd", "husd"),
)
SHARED = Path(os.environ.get("TILTAKEVAL_SHARED", Path(__file__).parents[2] / "shared")) / "data"


def line(name: str, table: pd.DataFrame, published: str, digits: int = 2) -> None:
    row = table.iloc[0]
    found = f"{row['estimate']:,.{digits}f} ({row['std_error']:,.{digits}f})"
    print(f"{name:52s} {found:>24s}   {published}")


def effect(key: str, design, **options) -> pd.DataFrame:
    return build(key, **options).estimate(design).select(term="effect", subgroup="all").table


def nsw() -> None:
    treated = causaldata.nsw_mixtape.load_pandas().data
    others = causaldata.cps_mixtape.load_pandas().data
    samples = {
        "experiment": treated,
        "CPS": pd.concat([treated[treated.treat == 1], others], ignore_index=True),
    }
    made = {}
    for name, data in samples.items():
        data = data.assign(u74=(data.re74 == 0).astype(float), u75=(data.re75 == 0).astype(float))
        made[name] = cross_section_from_frame(
            data, treatment="treat", outcome="re78", covariates=NSW, units={"re78": "usd"}
        )
    line(
        "NSW experiment, difference in means, HC2",
        effect("difference_in_means", made["experiment"]),
        "1,794.34 (671.0)",
    )
    line(
        "NSW participants and CPS controls, raw",
        effect("difference_in_means", made["CPS"]),
        "-8,498 (583)",
        0,
    )
    line(
        "  least squares, ten covariates",
        effect("regression", made["CPS"], errors="HC2"),
        "1,066 (628)",
        0,
    )
    line(
        "  aipw_att, 5 folds, median of seeds 0-19",
        effect("aipw_att", made["CPS"], seeds=20),
        "1,224 (IPW) to 1,729 (matching)",
        0,
    )
    line("  ipw_att", effect("ipw_att", made["CPS"]), "1,224 (690)", 0)


def job_corps() -> None:
    data = pd.read_csv(SHARED / "job_corps.csv")
    data = data.assign(trained=((data.trainy1 == 1) | (data.trainy2 == 1)).astype(float))
    design = cross_section_from_frame(
        data,
        treatment="assignment",
        outcome=("everwkdy1", "earnq4", "earny2", "earny3", "earny4", "trained"),
    )
    table = effect("regression", design, errors="HC1")
    for name, published, digits in (
        ("everwkdy1", "-0.077 (0.011)", 3),
        ("earnq4", "-15.8 (3.0)", 1),
        ("earny2", "-2.3 (3.2)", 1),
        ("earny3", "+11.5 (3.4)", 1),
        ("earny4", "+16.06 (4.07)", 2),
    ):
        line(f"Job Corps offer, {name}, HC1", table[table["outcome"] == name], published, digits)
    iv = build("iv_2sls", uptake="trained").estimate(design).select(outcome="earny4").table
    line("Job Corps training in years 1-2, earny4, IV", iv, "+56.9 (14.5)", 1)


def penn_bonus() -> None:
    data = pd.read_csv(SHARED / "penn_bonus.csv")
    data = data.assign(log_weeks=np.log(data.inuidur1), dep=data.dep.astype(str))
    two = data[data.tg.isin([0, 4])].assign(bonus=lambda d: (d.tg == 4).astype(int))
    plain = cross_section_from_frame(two, treatment="bonus", outcome="log_weeks")
    adjusted = cross_section_from_frame(
        two, treatment="bonus", outcome="log_weeks", covariates=PENN
    )
    line(
        "Penn bonus, arm 4, difference in means",
        effect("regression", plain, errors="HC1"),
        "-0.08546 (0.03586)",
        5,
    )
    line(
        "Penn bonus, arm 4, with covariates, HC1",
        effect("regression", adjusted, errors="HC1"),
        "-0.07169 (0.03540)",
        5,
    )


def main() -> None:
    print(f"{'':52s} {'here':>24s}   published")
    nsw()
    if SHARED.is_dir():
        job_corps()
        penn_bonus()
    else:
        print("(no folder with reference data: Job Corps and Penn left out)")


if __name__ == "__main__":
    main()
