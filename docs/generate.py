"""Write the reference pages of this folder from the code: run by `make docs`."""

from __future__ import annotations

from pathlib import Path

from tiltakeval.cli import build_parser
from tiltakeval.study.reference import command_line_page, study_file_page

FOLDER = Path(__file__).parent


def pages() -> dict[str, str]:
    """The generated pages by file name."""
    return {
        "study-file.md": study_file_page(),
        "command-line.md": command_line_page(build_parser()),
    }


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
        print(FOLDER / name)
