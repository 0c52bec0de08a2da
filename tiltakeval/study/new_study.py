"""Start a study: copy the template under its own name."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from tiltakeval.errors import InputError

FILES = ("study.toml", "notebook.ipynb", "README.md")
_SLUG = re.compile(r"^[a-z][a-z0-9_]*$")


def new_study(slug: str, studies: Path) -> list[Path]:
    """Write the template's files to ``studies/slug``; returns them. Raises InputError."""
    if not _SLUG.match(slug):
        raise InputError(
            f"'{slug}' can't be the name of a study",
            remedy="Use lower-case letters, digits and _, and begin with a letter.",
        )
    folder = studies / slug
    if folder.exists():
        raise InputError("there is already a study of that name", where=folder.as_posix())
    template = resources.files("tiltakeval.study").joinpath("template")
    folder.mkdir(parents=True)
    written = []
    for name in FILES:
        text = template.joinpath(name).read_text("utf-8")
        path = folder / name
        path.write_text(text.replace("SLUG", slug), "utf-8")
        written.append(path)
    return written
