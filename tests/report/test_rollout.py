"""The report of a roll-out: its figures, its words, and that no small cohort can be told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.estimators.invented_rollouts import make_rollout
from tiltakeval.design.cross_section import Subgroup
from tiltakeval.disclosure.release import NotReleasedError, release_estimates
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build
from tiltakeval.report.canvas import Look
from tiltakeval.report.rollout_figures import event_panel, heat_map
from tiltakeval.report.words import Words
from tiltakeval.study.example_data import example
from tiltakeval.study.new_study import new_study
from tiltakeval.study.run import run_study, write_outputs

SECTIONS = ("rollout", "event_study", "path", "cells", "cohorts", "by_group", "trends", "methods")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("waves")
    new_study("waves", folder, level="staggered")
    frame = example("staggered")
    small = frame["office"].isin(
        [1, 2, 3]
    )  # three offices of their own: a cohort too small to show
    frame.loc[small, "start"] = "2020-08"
    frame.to_csv(folder / "waves/example.csv", index=False)
    study = folder / "waves/study.toml"
    text = study.read_text("utf-8").replace(
        'entry = "office"',
        'entry = "person_while_out_of_work"\noverride = "the reason in words"',
        1,
    )
    study.write_text(text, "utf-8")
    write_outputs(run_study(folder / "waves", progress=False), folder / "out")
    return {
        language: (folder / f"out/waves/report.{language}.html").read_text("utf-8")
        for language in ("nb", "en")
    }


def section(page: str, key: str) -> str:
    found = re.search(rf'(?s)<section id="{key}".*?</section>', page)
    assert found is not None, key
    return found[0]


@pytest.mark.parametrize("language", ["nb", "en"])
def test_every_section_has_its_figure(pages: dict[str, str], language: str) -> None:
    for key in SECTIONS:
        text = section(pages[language], key)
        labels = re.findall(r'role="img" aria-label="([^"]+)"', text)
        assert labels and all(len(label) > 30 for label in labels), key
    figure = section(pages[language], "event_study")
    assert {"nb": "før oppstart mellom", "en": "before the start between"}[language] in figure
    assert {"nb": "bånd for hele kurven", "en": "band for the whole curve"}[language] in figure


def test_sections_of_other_studies_are_left_out(pages: dict[str, str]) -> None:
    for key in ("profiles", "subgroups", "lockin", "single", "ways", "exits", "balance"):
        assert f'<section id="{key}"' not in pages["en"]


def test_the_reason_for_an_override_is_printed(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert "the reason in words" in section(page, "rollout")
        assert "the reason in words" in section(page, "design")
    assert "Who starts hangs on the outcome" in section(pages["en"], "answer")


def test_a_small_cohort_is_left_out_and_said(pages: dict[str, str]) -> None:
    text = section(pages["en"], "rollout")
    assert "2020-08" not in text and "Start 2020-08" not in pages["en"]
    assert "1 of 4 groups that start together have fewer than 5 units" in text


def test_figures_take_released_results_only() -> None:
    design = replace(make_rollout(200, seed=1), subgroups={})
    found = build("group_time_att", bands=False).estimate(design)
    cells = found.select(term="effect")
    with pytest.raises(NotReleasedError):
        heat_map(cells, words=Words("nb"), key="a", alt="b")  # type: ignore[arg-type]
    with pytest.raises(NotReleasedError):
        event_panel(
            found.select(term="effect_by_event_time"),  # type: ignore[arg-type]
            words=Words("nb"),
            look=Look.of(0),
            key="a",
            alt="b",
        )
    gate = release_estimates(cells, "nav")
    drawings = [heat_map(gate, words=Words("nb"), key="a", alt="b").svg for _ in range(2)]
    assert drawings[0] == drawings[1] and "<text" in drawings[0]


def unshown(rows: Estimates) -> set[tuple[str, str, str]]:
    table = release_estimates(rows, "nav").table
    hidden = table[table["status"] == "suppressed"]
    return set(zip(hidden["subgroup"], hidden["term"], hidden["cohort"]))


def rollout(small: int) -> Estimates:
    """Four cohorts; in the first, ``small`` of the units are of level a."""
    design = make_rollout(400, seed=5)
    first = np.repeat([4.0, 5.0, 6.0, 7.0, np.inf], 80)
    codes = np.tile([0, 1], 200)
    codes[:80] = 1
    codes[:small] = 0
    group = Subgroup(levels=("a", "b"), codes=codes)
    design = replace(design, first=first, subgroups={"sex": group}, weight=np.ones(400))
    return build("group_time_att", method="reg", min_clusters=1, bands=False).estimate(design)


def test_a_hidden_cohort_is_not_what_is_left_of_an_average() -> None:
    hidden = unshown(rollout(3))
    cohorts = {cohort for group, _, cohort in hidden if group == "sex=a" and cohort}
    assert "4" in cohorts and len(cohorts) == 2, "another cohort goes with it"
    for group in ("sex=a", "sex=b"):  # they add up to everybody
        assert {c for g, _, c in hidden if g == group and c} == cohorts
        for term in ("effect_by_period", "cumulated_path", "effect_over_cohorts"):
            assert (group, term, "") in hidden
        assert (group, "effect_overall", "") not in hidden
    assert not [row for row in hidden if row[0] == "all"]


def test_cohorts_large_enough_are_all_shown() -> None:
    assert unshown(rollout(40)) == set()


def test_a_small_cohort_of_everybody_hides_it_in_all_groups() -> None:
    design = make_rollout(400, seed=5)
    first = np.repeat([4.0, 5.0, 6.0, 7.0, np.inf], 80)
    first[3:80] = np.inf
    design = replace(design, first=first, weight=np.ones(400))
    estimator = build("group_time_att", method="reg", min_clusters=1, bands=False)
    rows = release_estimates(estimator.estimate(design), "nav").table
    shown = rows[rows["status"] == "ok"]
    for group in ("all", "sex=a", "sex=b"):
        mine = shown[shown["subgroup"] == group]
        assert "effect_overall" in set(mine["term"])
        assert len(set(mine.loc[mine["term"] == "effect_by_cohort", "cohort"])) == 2
        after = mine[(mine["horizon"] >= 0).fillna(False)]
        assert set(after["term"]) == {"effect"}
    assert (shown[["n_treated", "n_clusters"]].min() >= 4).all()


def test_template_page_files_exist(tmp_path: Path) -> None:
    written = new_study("waves", tmp_path, level="staggered")
    assert {path.name for path in written} == {
        "study.toml",
        "notebook.ipynb",
        "README.md",
        "example.csv",
    }
