"""Study files of roll-outs in doses, that end, or that reach some people likelier; invented rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tests.estimators.invented_doses import dosed_columns
from tests.estimators.invented_paths import long_columns

HEAD = """level = "staggered"
slug = "{slug}"
seed = 1
rules = "nav"
time_unit = "quarters"
summary_month = 2
entry = "office"
[title]
nb = "Tittel"
en = "Title"
[question]
nb = "Hva gjør tiltaket?"
en = "What does it do?"
[[sample]]
key = "offices"
parts = [{{ source = "rows.csv" }}]
[columns]
{columns}
programme = "programme"
outcomes = {{ outcome = "share" }}
{analyses}
[labels]
offices = {{ nb = "kontorene", en = "the offices" }}
office = {{ nb = "kontor", en = "office" }}
programme = {{ nb = "tiltaket", en = "the programme" }}
outcome = {{ nb = "i arbeid", en = "in work" }}
places = {{ nb = "plasser per 100", en = "places per 100" }}
{labels}
"""
PATHS = 'unit = "office"\nperiod = "period"\ntreatment = "treatment"'
DOSES = 'unit = "office"\nperiod = "period"\nfirst = "first"\ndose = "places"'
INTENSITY = (
    'unit = "person"\nperiod = "period"\nfirst = "first"\ncluster = "office"\n'
    'participation = "took"\npredictors = ["x0", "x1"]'
)
SECTIONS = 'panel = false\nperiod = "period"\nfirst = "first"\ncluster = "office"'


def analysis(key: str, estimator: str, options: str = "") -> str:
    """A table ``[[analysis]]``."""
    return (
        f'[[analysis]]\nkey = "{key}"\nsample = "offices"\nestimator = "{estimator}"\n'
        f"[analysis.options]\n{options}\n"
    )


def study(columns: str, *analyses: str, slug: str = "design", labels: str = "") -> str:
    """The text of a study file."""
    return HEAD.format(slug=slug, columns=columns, analyses="".join(analyses), labels=labels)


def written(folder: Path, text: str, rows: pd.DataFrame) -> Path:
    """The folder with the study and its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(text, "utf-8")
    rows.to_csv(folder / "rows.csv", index=False)
    return folder


def paths_rows() -> pd.DataFrame:
    """160 offices whose treatment starts, ends and comes back."""
    rows = pd.DataFrame(long_columns("spells", 160)).rename(columns={"unit": "office"})
    return rows.assign(outcome=0.4 + 0.02 * rows["outcome"])


def doses_rows() -> pd.DataFrame:
    """200 offices that start with places per 100."""
    rows = pd.DataFrame(dosed_columns(200)).rename(columns={"unit": "office", "dose": "places"})
    return rows.assign(outcome=0.4 + 0.03 * rows["outcome"])


def intensity_rows(n: int = 300, offices: int = 48) -> pd.DataFrame:
    """Persons at offices that a programme reaches in period 4, 6 or never; taking part adds 0.1."""
    rng = np.random.default_rng(5)
    office = np.arange(n) % offices
    first = np.array([4, 6, 0])[office % 3]
    x = rng.standard_normal((n, 2))
    chance = 1 / (1 + np.exp(0.5 - 0.9 * x[:, 0] + 0.6 * x[:, 1]))
    took = np.where(first > 0, (rng.random(n) < chance).astype(float), np.nan)
    periods = np.arange(1, 8)
    on = (first[:, None] > 0) & (periods >= first[:, None])
    y = 0.4 + 0.02 * periods * chance[:, None] + 0.03 * rng.standard_normal((n, periods.size))
    y = y + np.where(on, 0.1 * np.nan_to_num(took)[:, None], 0.0)
    person, t = np.divmod(np.arange(y.size), periods.size)
    columns = {"person": person, "period": periods[t], "first": first[person]}
    columns |= {"office": office[person], "outcome": y.ravel(), "took": took[person]}
    return pd.DataFrame(columns | {"x0": x[person, 0], "x1": x[person, 1]})
