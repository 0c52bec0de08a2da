"""Layers import only downwards."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path


def test_import_contract_holds(root: Path) -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint], cwd=root, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout


def test_every_package_has_a_layer(root: Path) -> None:
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name.strip() for layer in layers for name in layer.split("|")}
    package = root / "tiltakeval"
    found = {f"tiltakeval.{path.stem}" for path in package.iterdir() if path.stem[0] != "_"}
    assert found <= named
