"""The pieces a report page is put together from; the template knows how each one looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tiltakeval.report.canvas import Drawing


@dataclass(frozen=True)
class Para:
    """A paragraph; ``tone`` is "", "note" or "lead"."""

    text: str
    tone: str = ""
    kind: str = field(default="para", init=False)


@dataclass(frozen=True)
class Sub:
    """A heading below the section's (``level`` 3 or 4)."""

    text: str
    level: int = 3
    kind: str = field(default="sub", init=False)


@dataclass(frozen=True)
class Bullets:
    """A list; an item may be (bold start, rest)."""

    items: Sequence[str | tuple[str, str]]
    kind: str = field(default="bullets", init=False)


@dataclass(frozen=True)
class Facts:
    """Terms and what they are."""

    rows: Sequence[tuple[str, str]]
    mono: bool = False
    kind: str = field(default="facts", init=False)


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first column heads its row. ``folded``: the words one clicks on."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: str = ""
    text_columns: tuple[int, ...] = ()
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Panel:
    """One small plot with its heading and the numbers behind it; ``note`` is said below the plot, or in
    its place when nothing may be drawn."""

    title: str
    drawing: Drawing | None
    table: Table | None = None
    note: str = ""


@dataclass(frozen=True)
class Panels:
    """Small plots that share an axis. ``legend``: (swatch class, words); ``note`` is of all of them."""

    caption: str
    panels: Sequence[Panel]
    legend: Sequence[tuple[str, str]] = ()
    note: str = ""
    kind: str = field(default="panels", init=False)


@dataclass(frozen=True)
class FlowStep:
    """Who is left after a filter, and who was lost at it."""

    text: str
    left: str
    lost: str


@dataclass(frozen=True)
class Flow:
    """A flow of persons from the register to the units analysed."""

    caption: str
    steps: Sequence[FlowStep]
    kind: str = field(default="flow", init=False)


Block = Para | Sub | Bullets | Facts | Table | Panels | Flow


@dataclass(frozen=True)
class Section:
    """A numbered section; left out when it has no blocks."""

    key: str
    title: str
    blocks: Sequence[Block]
