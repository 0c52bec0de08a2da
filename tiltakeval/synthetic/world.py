"""A world: every number of the synthetic register, loaded from a TOML file.

Each number has a source in its section's ``sources`` table or is assumed (`World.source_of`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from tiltakeval.errors import InputError, unknown
from tiltakeval.synthetic import parameters as par
from tiltakeval.synthetic.layout import PROGRAMMES

ASSIGNMENTS = ("standard", "constant", "nonlinear")
KINDS = ("past", "fresh")
_SECTIONS: dict[str, type] = {
    "calendar": par.Calendar,
    "persons": par.Persons,
    "hazards": par.Hazards,
    "market": par.Market,
    "decisions": par.Decisions,
    "pay": par.Pay,
    "benefits": par.Benefits,
}
_HEAD = (
    "name", "seed", "selection_observed", "selection_unobserved", "selection_unobserved_kind",
    "selection_history", "assignment",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class World:
    """Parameters of a synthetic world; immutable, changed with `with_` and `without_effects`.

    ``seed`` draws offices, cycle and roll-out; the persons have a seed of their own.
    ``selection_observed`` scales selection on observed facts and work history,
    ``selection_unobserved`` selection on what no register shows, of the kind
    ``selection_unobserved_kind``: "past" (v1 and v2, which moved past work too) or "fresh" (drawn
    anew at each registration, so it leaves no trace before it).
    """

    name: str
    seed: int
    selection_observed: float
    selection_unobserved: float
    selection_unobserved_kind: str
    selection_history: float
    assignment: str
    calendar: par.Calendar
    persons: par.Persons
    hazards: par.Hazards
    market: par.Market
    decisions: par.Decisions
    pay: par.Pay
    benefits: par.Benefits
    programmes: Mapping[str, par.ProgrammeNumbers]
    sources: Mapping[str, str]

    def __post_init__(self) -> None:
        if self.assignment not in ASSIGNMENTS:
            raise unknown("assignment rule", self.assignment, ASSIGNMENTS)
        if self.selection_unobserved_kind not in KINDS:
            raise unknown("kind of unobserved selection", self.selection_unobserved_kind, KINDS)
        for key in PROGRAMMES:
            if key not in self.programmes:
                raise InputError(f"programme '{key}' is missing", where=self.name)

    def source_of(self, key: str) -> str:
        """Source of ``"section.field"`` or ``"programmes.key"``; "assumed" when none is stated."""
        return self.sources.get(key, "assumed")

    def with_(self, **changes: Any) -> World:
        """A world with other top-level numbers, e.g. ``with_(selection_unobserved=0.5)``."""
        known = [f.name for f in fields(self)]
        for key in changes:
            if key not in known:
                raise unknown("world parameter", key, known)
        return replace(self, **changes)

    def with_section(self, section: str, **changes: Any) -> World:
        """A world with other numbers in one section, e.g. ``with_section("market", offices=10)``."""
        if section not in _SECTIONS:
            raise unknown("world section", section, _SECTIONS)
        known = [f.name for f in fields(_SECTIONS[section])]
        for key in changes:
            if key not in known:
                raise unknown(f"parameter of {section}", key, known)
        return replace(self, **{section: replace(getattr(self, section), **changes)})

    def with_programme(self, key: str, **changes: Any) -> World:
        """A world in which one programme has other numbers: ``with_programme("aft", b=(0.0, 0.5))``."""
        if key not in self.programmes:
            raise unknown("programme", key, self.programmes)
        changed = {**self.programmes, key: replace(self.programmes[key], **changes)}
        return replace(self, programmes=changed)

    def without_effects(self, *keys: str) -> World:
        """A world in which the named programmes (default all) change nothing but participation.

        Neutral: waiting, lock-in, after-effect, conversion, job loss, uforetrygd, subsidised pay,
        tiltakspenger, kvalifiseringsstonad, level of education.
        """
        world = self
        for key in keys or PROGRAMMES:
            numbers = world.programmes[key]
            world = world.with_programme(
                key,
                waiting=1.0,
                early=1.0,
                late=(1.0, 1.0),
                b=(0.0, 0.0),
                convert=(0.0, 0.0),
                job_loss=1.0,
                uforetrygd=1.0,
                subsidised=False,
                tiltakspenger=False,
                neutral=True,
                source=numbers.source,
            )
        return world

    def with_constant_assignment(self) -> World:
        """A world in which every person in a base state has the same intensities: no selection."""
        return replace(
            self, assignment="constant", selection_observed=0.0, selection_unobserved=0.0
        )

    def to_toml(self) -> str:
        """The world as TOML that `load_world` reads back to an equal world."""
        lines = [f"{key} = {_value(getattr(self, key))}" for key in _HEAD]
        for name in _SECTIONS:
            section = asdict(getattr(self, name))
            lines += ["", f"[{name}]"]
            chains = section.pop("chains", None)
            lines += [f"{k} = {_value(v)}" for k, v in section.items()]
            found = {
                k.split(".")[1]: v for k, v in self.sources.items() if k.startswith(name + ".")
            }
            if found:
                lines += [f"[{name}.sources]", *(f"{k} = {_value(v)}" for k, v in found.items())]
            for after, to in chains or ():
                pairs = ", ".join(f"{k} = {v}" for k, v in to)
                lines += [f"[[{name}.chains]]", f"after = {_value(after)}", f"to = {{ {pairs} }}"]
        for key, numbers in self.programmes.items():
            lines += ["", f"[programmes.{key}]"]
            lines += [f"{k} = {_value(v)}" for k, v in asdict(numbers).items()]
        return "\n".join(lines) + "\n"


def load_world(source: str | Path = "standard") -> World:
    """A world by name (a file in ``worlds/``) or path; ``based_on`` names the world of the same folder
    whose numbers hold where the file has none. Raises InputError on unknown or missing keys."""
    path = Path(source)
    if path.suffix != ".toml":
        path = Path(__file__).parent / "worlds" / f"{source}.toml"
    if not path.is_file():
        known = sorted(p.stem for p in (Path(__file__).parent / "worlds").glob("*.toml"))
        raise unknown("world", str(source), known)
    raw = _read(path)
    sources: dict[str, str] = {}
    sections: dict[str, Any] = {}
    for name, kind in _SECTIONS.items():
        values = dict(raw.get(name, {}))
        for key, text in values.pop("sources", {}).items():
            sources[f"{name}.{key}"] = text
        if "chains" in values:
            values["chains"] = tuple(
                (row["after"], tuple(row["to"].items())) for row in values["chains"]
            )
        sections[name] = _build(kind, values, where=f"{path.name} [{name}]")
    programmes = {}
    for key, values in raw.get("programmes", {}).items():
        if key not in PROGRAMMES:
            raise unknown("programme", key, PROGRAMMES, where=path.name)
        where = f"{path.name} [programmes.{key}]"
        programmes[key] = _build(par.ProgrammeNumbers, values, where=where)
        sources[f"programmes.{key}"] = programmes[key].source
    missing = [key for key in _HEAD if key not in raw]
    if missing:
        raise InputError(f"'{missing[0]}' is missing", where=path.name)
    return World(
        **{key: raw[key] for key in _HEAD}, **sections, programmes=programmes, sources=sources
    )


def _read(path: Path) -> dict[str, Any]:
    """The file's numbers over those of the world it is ``based_on``, if any."""
    with path.open("rb") as stream:
        raw = tomllib.load(stream)
    if "based_on" not in raw:
        return raw
    return _over(_read(path.parent / f"{raw.pop('based_on')}.toml"), raw)


def _over(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the numbers of ``own``; tables are merged, all else replaced."""
    merged = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _over(merged[key], value) if both else value
    return merged


def _build(kind: type, values: Mapping[str, Any], *, where: str) -> Any:
    names = [f.name for f in fields(kind)]
    required = [f.name for f in fields(kind) if f.default is MISSING]
    for key in values:
        if key not in names:
            raise unknown("parameter", key, names, where=where)
    for key in required:
        if key not in values:
            raise InputError(f"'{key}' is missing", where=where)
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return repr(value)
