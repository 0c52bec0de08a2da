"""The reference pages of the documentation, written from the spec and the command line themselves."""

from __future__ import annotations

import argparse
import types
import typing
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tiltakeval.study import vocabulary
from tiltakeval.study.spec import LEVELS

_NAMES = {str: "text", int: "whole number", float: "number", bool: "true/false", dict: "table"}
_LEVEL_TEXT = {
    "register": "Target trials on a register extract, or on an invented register.",
    "cross_section": "A prepared file with one row a unit and declared columns.",
    "panel": "A prepared long file: a row a unit and period, month zero declared or in the file.",
    "staggered": "A roll-out: a prepared long file, a row a unit and period, each unit treated from "
    "some period on or never; also in doses, by predicted participation, or with treatment that ends. "
    "See [rollout-studies.md](rollout-studies.md).",
    "rollout": "A roll-out over offices, on a register extract or on an invented register. See "
    "[register-rollouts.md](register-rollouts.md).",
    "durations": "Prepared spells: a row a spell. Takes estimators of curves; of hazards, in which "
    "arms enter as programme status; and of effects on what spells come to by a time, censoring allowed "
    "for.",
    "event_history": "Prepared event histories: a row for each stretch of a spell in which nothing "
    "changes, with what happens at its end.",
}


def study_file_page() -> str:
    """``docs/study-file.md``: every key of a study file with its type, default and meaning."""
    lines = [
        "# The study file",
        "",
        "Generated from the code by `make docs`; don't edit by hand.",
        "",
        "`study.toml` is the whole protocol of a study. Unknown keys are errors, and all errors are",
        "reported at once. A study enters at one of these levels.",
    ]
    shared: dict[type[BaseModel], str] = {}
    for level, model in LEVELS.items():
        lines += ["", f'## `level = "{level}"`', "", _LEVEL_TEXT[level], "", *_rows(model)]
        for heading, inner, many in _inner_tables(model):
            if inner in shared:
                lines += ["", f"`{heading}`: as `{shared[inner]}` above."]
                continue
            shared[inner] = heading
            brackets = f"[[{heading}]]" if many else f"[{heading}]"
            lines += ["", f"### `{brackets}`", "", (inner.__doc__ or "").strip(), "", *_rows(inner)]
    for title, names in (
        ("Base states", vocabulary.STATES),
        ("Estimands", vocabulary.ESTIMANDS),
        ("Outcomes", vocabulary.OUTCOMES),
        ("Subgroups", vocabulary.SUBGROUPS),
    ):
        lines += ["", f"## {title}", "", "| Name | Meaning |", "|---|---|"]
        lines += [f"| `{name}` | {meaning} |" for name, meaning in names.items()]
    return "\n".join(lines) + "\n"


def _rows(model: type[BaseModel]) -> list[str]:
    rows = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        rows.append(
            f"| `{key}` | {_type(field.annotation)} | {_default(field)} | {field.description} |"
        )
    return rows


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.default
    if value is PydanticUndefined:
        return "empty"
    if isinstance(value, BaseModel):
        return "as below"
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return "`[" + ", ".join(_toml(item) for item in value) + "]`"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _type(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin is typing.Literal:
        return " or ".join(f'`"{value}"`' for value in inner)
    if origin in (types.UnionType, typing.Union):
        return _type(next(part for part in inner if part is not type(None)))
    if origin is tuple:
        many = inner[-1] is Ellipsis
        if isinstance(inner[0], type) and issubclass(inner[0], BaseModel):
            return "tables"
        return f"list of {_type(inner[0])}" if many else f"{len(inner)} × {_type(inner[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return _NAMES.get(origin or annotation, str(annotation))


def _inner_tables(
    model: type[BaseModel], path: str = ""
) -> typing.Iterator[tuple[str, type[BaseModel], bool]]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if typing.get_origin(annotation) in (types.UnionType, typing.Union):
            kinds = [part for part in typing.get_args(annotation) if part is not type(None)]
            annotation = kinds[0]
        many, named = (typing.get_origin(annotation) is kind for kind in (tuple, dict))
        inner = typing.get_args(annotation)[-1 if named else 0] if many or named else annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            heading = f"{path}{name}.NAME" if named else f"{path}{name}"
            yield heading, inner, many
            yield from _inner_tables(inner, f"{heading}.")


def command_line_page(parser: argparse.ArgumentParser) -> str:
    """``docs/command-line.md``: the help text of every command of the parser."""
    lines = [
        "# The command line",
        "",
        "Generated from the code by `make docs`; don't edit by hand.",
        "",
        "Exit codes: 0 done; 1 the data have errors; 2 the input can't be used (the message says why",
        "and what to do); 130 interrupted.",
    ]
    chosen = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name, sub in chosen.choices.items():
        sub.formatter_class = _Wide
        lines += ["", f"## `tiltakeval {name}`", "", "```text", sub.format_help().rstrip(), "```"]
    return "\n".join(lines) + "\n"


class _Wide(argparse.HelpFormatter):
    """The same page whatever the terminal's width."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=96)
