"""The study file: the whole protocol of a study, fixed before an effect is seen.

Levels of entry: ``register`` (target trials on a register extract), ``rollout`` (a programme introduced
office by office, on a register extract), and prepared files with declared columns:
``cross_section``, ``panel``, ``staggered``, ``durations`` and ``event_history``.
``load_spec`` reads ``study.toml`` and reports every error at once.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from tiltakeval.errors import InputError, InputErrors, unknown
from tiltakeval.study.explain import explain
from tiltakeval.study.spec_cross_section import CrossSectionStudy
from tiltakeval.study.spec_durations import DurationStudy, EventHistoryStudy
from tiltakeval.study.spec_file import FileStudy
from tiltakeval.study.spec_panel import PanelStudy
from tiltakeval.study.spec_register import RegisterStudy
from tiltakeval.study.spec_rollout import StaggeredStudy
from tiltakeval.study.spec_rollout_register import RegisterRolloutStudy

FILE = "study.toml"
StudySpec = RegisterStudy | RegisterRolloutStudy | FileStudy
LEVELS: dict[str, type[RegisterStudy] | type[RegisterRolloutStudy] | type[FileStudy]] = {
    "register": RegisterStudy,
    "cross_section": CrossSectionStudy,
    "panel": PanelStudy,
    "staggered": StaggeredStudy,
    "rollout": RegisterRolloutStudy,
    "durations": DurationStudy,
    "event_history": EventHistoryStudy,
}


def find_study(study: str | Path) -> Path:
    """The study file meant by a folder, a file or a slug under ``studies/``. Raises InputError."""
    given = Path(study)
    for candidate in (given, given / FILE, Path("studies") / given / FILE):
        if candidate.is_file():
            return candidate
    known = [p.parent.as_posix() for p in Path("studies").glob(f"*/{FILE}")]
    known += [Path(path).name for path in known]
    error = unknown("study", str(study), known)
    raise InputError(f"there is no study '{study}'", remedy=error.remedy)


def parse_spec(text: str, *, where: str = FILE) -> StudySpec:
    """The study written in ``text``. Raises InputErrors naming everything that is wrong."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not valid TOML: {error}", where=where) from None
    level = raw.get("level")
    if level not in LEVELS:
        known = list(LEVELS)
        fault = (
            unknown("level", str(level), known)
            if level
            else InputError(
                "'level' is missing",
                where="top level",
                remedy=f"Write level = one of {', '.join(known)}.",
            )
        )
        raise InputErrors([fault], title=f"{where} has 1 error; nothing was run.")
    model = LEVELS[level]
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise explain(error, model, where=where) from None


def load_spec(study: str | Path) -> tuple[StudySpec, str]:
    """The study and the text of its file."""
    path = find_study(study)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise InputError("the file isn't UTF-8 text", where=path.name) from None
    return parse_spec(text, where=path.as_posix()), text
