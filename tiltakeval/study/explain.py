"""What is wrong with a study file: every error at once, in plain language, with the nearest key."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from tiltakeval.errors import InputError, InputErrors, unknown

_PLAIN = {
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list in [ ]",
    "tuple_type": "must be a list in [ ]",
    "dict_type": "must be a table of keys and values",
    "model_type": "must be a table of keys and values",
    "model_attributes_type": "must be a table of keys and values",
}


def explain(error: ValidationError, model: type[BaseModel], *, where: str) -> InputErrors:
    """The validation error of ``model`` as a list of plain input errors. ``where`` names the file."""
    items = error.errors()
    places = [item["loc"] for item in items]
    # a list whose items are wrong also counts as too short: say only what is wrong with the items
    kept = [
        item
        for item in items
        if item["type"] != "too_short"
        or not any(
            len(at) > len(item["loc"]) and at[: len(item["loc"])] == item["loc"] for at in places
        )
    ]
    found = [one for item in kept for one in _parts(_one(item, model))]
    count = f"{len(found)} error{'s' if len(found) > 1 else ''}"
    return InputErrors(found, title=f"{where} has {count}; nothing was run.")


def _parts(error: InputError) -> tuple[InputError, ...]:
    """The errors found together in one place, or the error itself."""
    if not isinstance(error, InputErrors):
        return (error,)
    return tuple(part for inner in error.errors for part in _parts(inner))


def _one(item: Any, model: type[BaseModel]) -> InputError:
    location, kind, context = item["loc"], item["type"], item.get("ctx", {})
    place, name = _words(location), str(location[-1]) if location else "study"
    parent = _words(location[:-1]) or "top level"
    if kind == "extra_forbidden":
        return unknown("key", name, keys_at(model, location[:-1]), where=parent)
    if kind == "missing":
        return InputError(f"'{name}' is missing", where=parent, remedy=_meaning(model, location))
    if kind == "literal_error":
        valid = [
            word.strip().strip("'") for word in context["expected"].replace(" or ", ", ").split(",")
        ]
        return unknown("value", str(item["input"]), valid, where=place)
    if kind == "value_error":
        cause = context.get("error")
        cause = cause.args[0] if isinstance(cause, ValueError) and cause.args else cause
        if isinstance(cause, InputErrors):
            inside = [_placed(part, place) for part in cause.errors]
            return InputErrors(inside, title=cause.title)
        if isinstance(cause, InputError):
            return _placed(cause, place)
        return InputError(str(cause), where=place)
    if kind in _PLAIN:
        return InputError(f"{_shown(item['input'])} {_PLAIN[kind]}", where=place)
    if kind in ("too_short", "too_long"):
        bound = context.get("min_length", context.get("max_length"))
        word = "at least" if kind == "too_short" else "at most"
        return InputError(f"needs {word} {bound} item(s)", where=place)
    bounds = {
        "greater_than": "gt",
        "greater_than_equal": "ge",
        "less_than": "lt",
        "less_than_equal": "le",
    }
    if kind in bounds:
        words = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
        bound = bounds[kind]
        return InputError(f"{item['input']} must be {words[bound]} {context[bound]}", where=place)
    return InputError(f"{_shown(item['input'])}: {item['msg']}", where=place)


def _placed(error: InputError, place: str) -> InputError:
    where = ", ".join(part for part in (place, error.where) if part)
    return InputError(error.what, where=where or None, remedy=error.remedy)


def keys_at(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """The keys a table at ``location`` may have."""
    found = _model_at(model, location)
    if found is None:
        return []
    return [field.alias or name for name, field in found.model_fields.items()]


def _model_at(model: type[BaseModel] | None, location: Sequence[Any]) -> type[BaseModel] | None:
    named = False  # whether the step is a name the study file gives
    for step in location:
        if isinstance(step, int) or model is None or named:
            named = False
            continue
        field = model.model_fields.get(str(step))
        model = None if field is None else _inner(field.annotation)
        named = field is not None and typing.get_origin(field.annotation) is dict
    return model


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The model inside a list, tuple, mapping or union annotation."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    for part in typing.get_args(annotation):
        found = _inner(part)
        if found is not None:
            return found
    return None


def _meaning(model: type[BaseModel], location: Sequence[Any]) -> str | None:
    parent = _model_at(model, location[:-1])
    field = None if parent is None else parent.model_fields.get(str(location[-1]))
    return None if field is None or field.description is None else f"It is {field.description}."


def _words(location: Sequence[Any]) -> str:
    """``analysis 2, outcomes 1`` for ('analysis', 1, 'outcomes', 0)."""
    out: list[str] = []
    for step in location:
        if isinstance(step, int) and out:
            out[-1] = f"{out[-1]} {step + 1}"
        else:
            out.append(str(step))
    return ", ".join(out)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
