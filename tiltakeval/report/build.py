"""One self-contained page from released material."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from tiltakeval.errors import InputError
from tiltakeval.report import (
    balance,
    checks,
    coefficients,
    design,
    exits,
    for_whom,
    groups,
    hazards,
    lockin,
    profiles,
    rollout,
    rollout_approach,
    rollout_doses,
    rollout_groups,
    rollout_methods,
    rollout_paths,
    rollout_synthetic,
    rollout_trends,
    single,
)
from tiltakeval.report.blocks import Block, Section
from tiltakeval.report.material import Language, ReportMaterial
from tiltakeval.report.summary import summary
from tiltakeval.report.view import View

SECTIONS: tuple[tuple[str, Callable[[View], list[Block]]], ...] = (
    ("question", design.question),
    ("estimand", design.estimand),
    ("design", design.design),
    ("approach", rollout_approach.approach),
    ("flow", design.flow),
    ("balance", balance.balance),
    ("rollout", rollout.starts),
    ("event_study", rollout.event_study),
    ("path", rollout.path),
    ("synthetic", rollout_synthetic.synthetic),
    ("doses", rollout_doses.doses),
    ("paths", rollout_paths.paths),
    ("cells", rollout.cells),
    ("cohorts", rollout_groups.cohorts),
    ("by_group", rollout_groups.by_group),
    ("trends", rollout_trends.trends),
    ("methods", rollout_methods.methods),
    ("single", single.single_date),
    ("profiles", profiles.profiles),
    ("subgroups", groups.subgroups),
    ("contrasts", groups.contrasts),
    ("for_whom", for_whom.for_whom),
    ("lockin", lockin.lock_in),
    ("hazards", hazards.hazards),
    ("exits", exits.exits),
    ("coefficients", coefficients.coefficients),
    ("ways", profiles.other_ways),
    ("checks", checks.checks),
    ("limits", design.limits),
    ("reproduction", design.reproduction),
)


def _read(name: str) -> str:
    return resources.files("tiltakeval.report").joinpath(f"templates/{name}").read_text("utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2")


def sections(view: View) -> list[Section]:
    """The sections that have something to say, in order."""
    title = {key: view.words(view.text(f"section.{key}")) for key, _ in SECTIONS}
    found = [Section(key, title[key], make(view)) for key, make in SECTIONS]
    return [section for section in found if section.blocks]


def build_report(material: ReportMaterial, language: Language) -> str:
    """The report as one HTML page that needs nothing from the network.

    Same material, same bytes. Raises NotReleasedError for anything but released material, InputError
    for a language there is no text for.
    """
    if not isinstance(material, ReportMaterial):
        raise InputError(
            f"build_report takes ReportMaterial, not {type(material).__name__}",
            remedy="Release the results and put them in a ReportMaterial.",
        )
    view = View(material, language)
    page = _template().render(
        language=language,
        words=view.words,
        title=material.title[language],
        question=material.question[language],
        answer=summary(view),
        sections=sections(view),
        synthetic=material.synthetic,
        unreleased=material.unreleased,
        glossary=_glossary(view),
        style=Markup(_read("style.css")),
        symbol=view.rules_symbol,
        threshold=material.estimates.rules.threshold,
    )
    return page if page.endswith("\n") else page + "\n"


def _glossary(view: View) -> list[tuple[str, str]]:
    keys = ["effect", "uncertainty", "comparison", "covariate"]
    if view.trials:
        keys += ["vedtak", "lockin", "break_even", "work_unsubsidised", "nedsatt_arbeidsevne"]
    if view.table["term"].eq("placebo").any():
        keys.append("placebo")
    if view.rollout:
        keys = ["uncertainty", "cohort", "parallel_trends", "robust_interval"]
    if view.spells:
        keys = ["uncertainty", "censored", "cumulative_incidence", "survival"]
        if view.table["unit"].eq("log").any():
            keys += ["hazard", "hazard_ratio", "covariate"]
        if not view.single.empty:
            keys += ["effect", "comparison", *([] if "covariate" in keys else ["covariate"])]
    words = view.words
    rows = [(words(f"glossary.{key}_term"), words(f"glossary.{key}")) for key in keys]
    return sorted(rows, key=lambda row: row[0].casefold())


def write_report(material: ReportMaterial, directory: Path) -> list[Path]:
    """Write the page in both languages: ``report.nb.html`` and ``report.en.html``."""
    directory.mkdir(parents=True, exist_ok=True)
    languages: tuple[Language, ...] = ("nb", "en")
    paths = []
    for language in languages:
        path = directory / f"report.{language}.html"
        path.write_text(build_report(material, language), "utf-8")
        paths.append(path)
    return paths
