"""What was run on what: enough to run it again and get the same numbers."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from tiltakeval.study.stages import Stage

FORMAT = 1
PACKAGES = (
    *("tiltakeval", "numpy", "pandas", "scipy", "pyarrow", "ibis-framework", "duckdb", "sqlglot"),
    *("numba", "scikit-learn", "statsmodels", "linearmodels", "lifelines", "econml", "matplotlib"),
    *("pydantic",),
)
#: Fields that differ between two runs on the same input.
VOLATILE = ("run_at", "stages", "command", "platform")


def versions() -> dict[str, str]:
    """Installed versions of the packages that make the numbers."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def file_fingerprint(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_fingerprints(folder: Path, endings: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each data file of a folder, by name."""
    wanted = set(endings)
    return {
        path.name: file_fingerprint(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix in wanted
    }


def text_fingerprint(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def manifest(
    *,
    study: str,
    spec_text: str,
    seed: int,
    rules: Mapping[str, Any],
    data: Mapping[str, Any],
    analyses: Mapping[str, Any],
    stages: Iterable[Stage],
    command: str,
) -> dict[str, Any]:
    """The manifest as a JSON-ready mapping. Nothing in it is about a person."""
    return {
        "format": FORMAT,
        "study": study,
        "spec_sha256": text_fingerprint(spec_text),
        "seed": seed,
        "rule_set": dict(rules),
        "data": dict(data),
        "analyses": dict(analyses),
        "versions": versions(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "command": command,
        "run_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "stages": [vars(stage) for stage in stages],
    }


def as_json(content: Mapping[str, Any]) -> str:
    """The manifest as text."""
    return json.dumps(content, ensure_ascii=False, indent=1, default=str) + "\n"


def stable(content: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest without what differs between two runs on the same input."""
    return {name: value for name, value in content.items() if name not in VOLATILE}
