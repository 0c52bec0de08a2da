"""Start a study: copy the template of its level under its own name."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from tiltakeval.errors import InputError, unknown

#: Files of a new study and the template each is made from, by level of entry.
_REGISTER = {
    "study.toml": "study.toml",
    "notebook.ipynb": "notebook.ipynb",
    "README.md": "README.md",
}
LEVELS = ("register", "cross_section", "panel", "staggered", "durations", "event_history")
_SLUG = re.compile(r"^[a-z][a-z0-9_]*$")


def new_study(slug: str, studies: Path, *, level: str = "register") -> list[Path]:
    """Write the template's files to ``studies/slug``; returns them. Raises InputError.

    A study on a file gets an invented ``example.csv`` in its layout, so that it runs at once.
    """
    if not _SLUG.match(slug):
        raise InputError(
            f"'{slug}' can't be the name of a study",
            remedy="Use lower-case letters, digits and _, and begin with a letter.",
        )
    if level not in LEVELS:
        raise unknown("level", level, LEVELS, where="--level")
    folder = studies / slug
    if folder.exists():
        raise InputError("there is already a study of that name", where=folder.as_posix())
    template = resources.files("tiltakeval.study").joinpath("template")
    files = _REGISTER if level == "register" else _of_file(level)
    folder.mkdir(parents=True)
    written = []
    for name, source in files.items():
        text = template.joinpath(source).read_text("utf-8").replace("SLUG", slug)
        path = folder / name
        path.write_text(text.replace("ESTIMATOR", _hazard_model()), "utf-8")
        written.append(path)
    if level != "register":
        from tiltakeval.study.example_data import example

        written.append(folder / "example.csv")
        example(level).to_csv(written[-1], index=False)
    return written


def _of_file(level: str) -> dict[str, str]:
    return {
        "study.toml": f"{level}.toml",
        "notebook.ipynb": "notebook.file.ipynb",
        "README.md": "README.file.md",
    }


def _hazard_model() -> str:
    """The first registered estimator of event histories."""
    from tiltakeval.estimators import ESTIMATORS

    return next((key for key, entry in ESTIMATORS.items() if entry.design == "event_history"), "")
