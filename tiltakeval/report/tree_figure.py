"""A rule's tree as a drawing that is read from the top: questions indented, answers as boxes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tiltakeval.disclosure.release import ReleasedChecks, require_released
from tiltakeval.report.canvas import FAINT, GREY, INK, Drawing, Look

WIDTH, LINE, PAD, INDENT, GAP = 340, 14, 7, 20, 9
SIZE, SMALL = 11.5, 10.5


@dataclass(frozen=True)
class Box:
    """One node: what is written, the answer that leads here, how deep it lies, its parent's place in
    the list (-1: the root), and the look of what a leaf offers (None: a question)."""

    text: str
    answer: str
    depth: int
    parent: int
    look: Look | None = None


def tree_drawing(checks: ReleasedChecks, boxes: Sequence[Box], *, alt: str) -> Drawing:
    """The boxes below one another, joined by lines; the width is that of a telephone.

    ``checks`` is where the tree came from: nothing is drawn that hasn't been released.
    """
    require_released(checks, ReleasedChecks, "tree_drawing")
    parts: list[str] = []
    tops: dict[int, tuple[float, float]] = {}
    y = 4.0
    for place, box in enumerate(boxes):
        x = 4.0 + INDENT * box.depth
        width = WIDTH - x - 4.0
        lines = _wrapped(box.text, width - 2 * PAD - (12 if box.look else 0))
        if box.answer:
            parts.append(_text(x, y + 10, box.answer, SMALL, weight=600))
            y += 15
        height = 2 * PAD + LINE * len(lines)
        tops[place] = (x, y + height)
        if box.parent >= 0:
            from_x, from_y = tops[box.parent]
            corner = from_x + 8
            middle = y + height / 2
            path = f"M{corner:.1f} {from_y:.1f}V{middle:.1f}H{x:.1f}"
            parts.append(f'<path d="{path}" fill="none" stroke="{GREY}" stroke-width="1.2"/>')
        parts.append(_box(x, y, width, height, lines, box))
        y += height + GAP
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {y:.0f}" role="img" aria-label="{escape(alt, quote=True)}" '
        f'focusable="false">{"".join(parts)}</svg>'
    )
    return Drawing(svg, alt)


def _box(x: float, y: float, width: float, height: float, lines: Sequence[str], box: Box) -> str:
    leaf = box.look is not None
    edge = box.look.colour if box.look else GREY
    radius = 3 if leaf else 9
    shape = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}" '
        f'fill="{"#fff" if leaf else "#f3f5f7"}" stroke="{edge if leaf else FAINT}" '
        f'stroke-width="{1.6 if leaf else 1.2}"/>'
    )
    if leaf:
        shape += f'<rect x="{x:.1f}" y="{y:.1f}" width="6" height="{height:.1f}" fill="{edge}"/>'
    left = x + PAD + (8 if leaf else 0)
    written = [
        _text(left, y + PAD + LINE * (i + 1) - 3.5, line, SIZE, weight=400 if leaf else 600)
        for i, line in enumerate(lines)
    ]
    return shape + "".join(written)


def _text(x: float, y: float, text: str, size: float, *, weight: int) -> str:
    style = f"font-size:{size}px;font-weight:{weight};fill:{INK}"
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{escape(text)}</text>'


def _wrapped(text: str, width: float) -> list[str]:
    """Lines that fit: letters are about half as wide as they are high, with room to spare."""
    return textwrap.wrap(text, max(12, int(width / (0.54 * SIZE)))) or [""]


def ordered(nodes: Mapping[int, Mapping[str, object]], root: int = 0) -> list[tuple[int, int, int]]:
    """(node, depth, parent's place in the list), from the root down, the left side first."""
    out: list[tuple[int, int, int]] = []

    def add(node: int, depth: int, parent: int) -> None:
        mine = len(out)
        out.append((node, depth, parent))
        for side in ("left", "right"):
            child = int(str(nodes[node][side]))
            if child >= 0 and child in nodes:
                add(child, depth + 1, mine)

    add(root, 0, -1)
    return out
