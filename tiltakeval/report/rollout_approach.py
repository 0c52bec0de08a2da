"""The section on how effects are measured: what each method estimates, assumes, and where it is from."""

from __future__ import annotations

from tiltakeval.report.blocks import Block, Bullets, Para, Sub
from tiltakeval.report.view import View, upper_first

PARTS = ("is", "assumes", "source")


def approach(view: View) -> list[Block]:
    """A list for each estimator of a roll-out's study, in its order. A further estimator is a table
    ``[approach.KEY]`` in the texts."""
    if not view.rollout:
        return []
    words = view.words
    blocks: list[Block] = []
    for key in view.material.spec.get("estimator", ()):
        if not words.has(f"approach.{key}.is"):
            continue
        blocks.append(Sub(upper_first(words.label("value", str(key)))))
        blocks.append(
            Bullets([(words(f"approach.{p}"), words(f"approach.{key}.{p}")) for p in PARTS])
        )
    return [Para(words("approach.intro")), *blocks] if blocks else []
