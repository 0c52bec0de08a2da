"""A drawing as small, self-contained, accessible SVG that can stand inside a page."""

from __future__ import annotations

import re
from html import escape

_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_PATH = re.compile(r'(\sd=")([^"]*)(")')
_ID = re.compile(r'\sid="([^"]*)"')
_REF = re.compile(r'(url\(#|xlink:href="#)([^)"]+)')
_FAMILY = re.compile(r"\s*font-family: [^;\"]*;?")


def _short(text: str, decimals: int) -> str:
    def one(found: re.Match[str]) -> str:
        value = f"{float(found[0]):.{decimals}f}".rstrip("0").rstrip(".")
        return "0" if value in ("-0", "") else value

    return _NUMBER.sub(one, text)


def tidy_svg(text: str, *, prefix: str, alt: str) -> str:
    """Matplotlib's SVG without header, metadata, fixed size and unused ids; numbers shortened.

    Ids still referred to get ``prefix``, so that several drawings can share a page; ``alt`` becomes
    the accessible name.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.S)
    used = {found[1] for found in _REF.findall(text)}

    def keep(found: re.Match[str]) -> str:
        return f' id="{prefix}{found[1]}"' if found[1] in used else ""

    text = _ID.sub(keep, text)
    text = _REF.sub(lambda found: f"{found[1]}{prefix}{found[2]}", text)
    text = text.replace("xlink:href", "href")
    text = _PATH.sub(lambda f: f[1] + re.sub(r"\s+", " ", _short(f[2], 1)).strip() + f[3], text)
    text = _short(text, 2)
    text = _FAMILY.sub("", text)
    text = re.sub(r' transform="rotate\(-?0 [^"]*"', "", text)
    text = re.sub(r"\s*\n\s*", "", text)
    text = re.sub(r"<defs>\s*</defs>|<g>\s*</g>", "", text)
    box = re.search(r'viewBox="([^"]*)"', text)
    opening = (
        f'<svg viewBox="{box[1] if box else ""}" '
        f'role="img" aria-label="{escape(alt, quote=True)}" focusable="false">'
    )
    return re.sub(r"^<svg[^>]*>", lambda _: opening, text, count=1)
