"""Treatments that aren't a one-way switch, from the command line's file to its checks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "estimators"))

from tests.estimators.invented_doses import dosed_columns
from tests.estimators.invented_paths import long_columns
from tiltakeval.errors import InputError
from tiltakeval.study.one_line import estimate_file, settings


def switching(path: Path) -> list[str]:
    df = pd.DataFrame(long_columns("spells", n=120))
    df["period"] = [f"2020-{p:02d}" for p in df.period]
    df["office"] = df.unit % 30
    df.to_csv(path, index=False)
    return ["time=period", "treatment=treatment", "cluster=office", "varying=x", "effects=3"]


def dosed(path: Path) -> list[str]:
    pd.DataFrame(dosed_columns(n=120)).to_csv(path, index=False)
    return ["period=period", "cohort=first", "dose=dose", "covariates=x", "bins=1,2", "doses=1,2,3"]


def intensity(path: Path) -> list[str]:
    df = pd.DataFrame(dosed_columns(n=160))
    rng = np.random.default_rng(0)
    took = (rng.random(160) < 1 / (1 + np.exp(-df.x.to_numpy()[::7]))).astype(float)
    df["took"] = np.where(df["first"] > 0, took[df.unit], np.nan)
    df.to_csv(path, index=False)
    return ["period=period", "first=first", "participation=took", "predictors=x"]


@pytest.mark.parametrize(
    ("key", "write", "term"),
    [
        ("switching_att", switching, "effect_per_treatment"),
        ("dose_response", dosed, "effect_at_dose"),
        ("intensity", intensity, "effect_by_event_time"),
    ],
)
def test_a_file_gives_estimates_checks_and_json(key: str, write, term: str, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    given = settings(["unit=unit", "outcome=outcome", *write(path)])
    found = estimate_file(key, path, given)
    held = json.loads(found.as_json())
    mine = [row for row in held["estimates"] if row["term"] == term]
    assert mine and all(row["std_error"] > 0 for row in mine if row["status"] == "ok")
    assert {"pretrend", "few_clusters"} <= {check["key"] for check in held["checks"]}
    assert term in found.as_text()
    refused = {**given, "entry": "person_while_out_of_work"}
    with pytest.raises(InputError, match="hangs on still being without a job"):
        estimate_file(key, path, refused)
