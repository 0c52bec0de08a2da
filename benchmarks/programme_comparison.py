"""Time and memory of the programme comparison, stage by stage.

    python benchmarks/programme_comparison.py --persons 300000

Runs the committed study with its six outcomes, 36 months and 12 subgroups on four programmes (or
``--all-arms``), one base population after the other, and prints what each stage took. The invented
register is made beforehand and isn't counted. Models of hazards run only with ``--hazards``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import tempfile
import time
from pathlib import Path

from tiltakeval.study.run import run_study, write_outputs
from tiltakeval.study.synthesize import default_register

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "studies" / "programme_comparison" / "study.toml"
FOUR = 'arms = ["aft", "lonnstilskudd_midlertidig", "amo", "fag_og_yrkesopplaering"]'


def four_programmes(text: str) -> str:
    """The study with four programmes for nedsatt arbeidsevne, and no contrast of others."""
    text = re.sub(r"(?s)arms = \[\n.*?\]", FOUR, text)
    text = re.sub(r'\[\[contrast\]\]\nprogramme = "\w+"\nagainst = "ips"\n', "", text)
    text = text.replace(', "hoyere_utdanning",\n]', "\n]")
    text = text.replace('programme = "hoyere_utdanning"', 'programme = "fag_og_yrkesopplaering"')
    return re.sub(r"(?s)\[base.conditions.ips\]\n.*?\n", "", text)


def without_hazards(text: str) -> str:
    """The study with its target trials alone."""
    return re.sub(r"(?s)\[\[hazard\]\]\n.*?(?=\n\[inference\])", "", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=300_000)
    parser.add_argument("--work", type=Path, default=ROOT / "benchmarks" / "work")
    parser.add_argument("--all-arms", action="store_true")
    parser.add_argument("--hazards", action="store_true")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    given = parser.parse_args()
    register = default_register(given.work, "standard", given.persons)
    text = STUDY.read_text("utf-8")
    text = text.replace("seed = 20240601", "seed = 20240601\ntruth = false", 1)
    text = text if given.hazards else without_hazards(text)
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.toml"
        study.write_text(text if given.all_arms else four_programmes(text), "utf-8")
        start, cpu = time.perf_counter(), time.process_time()
        result = run_study(study, data=register)
        analysed = time.perf_counter() - start
        write_outputs(result, Path(folder) / "reports", progress=True)
    figures = {
        "persons": given.persons,
        "arms": {b.state: list(b.arms) for b in result.spec.base},  # type: ignore[union-attr]
        "estimates": len(result.estimates),
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "seconds_analysis": round(analysed, 1),
        "seconds_all": round(time.perf_counter() - start, 1),
        "cpu_seconds_all": round(time.process_time() - cpu, 1),
        "peak_mb": max(stage["peak_mb"] for stage in result.manifest["stages"]),
        "stages": result.manifest["stages"],
    }
    for stage in figures["stages"]:
        print(f"{stage['seconds']:8.1f} s {stage['peak_mb']:7,.0f} MB  {stage['name']}")
    print(json.dumps({k: v for k, v in figures.items() if k != "stages"}, indent=1))
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
