"""Panel regressions of roll-outs: CPU time and memory, beside pyfixest where it is installed.

    python benchmarks/panel_regressions.py [--units 100000] [--varying 3] [--peer-python PATH] [KEY ...]

24 periods, 8 cohorts and units never treated, one outcome, a balanced panel in a data frame of a row a
unit and period. Every measurement is a process of its own that makes the data, reads the frame (ours:
to a design) and estimates with errors clustered by unit; imports and making the data aren't counted.
``--varying`` adds so many covariates that vary with time. ``--peer-python`` is the Python of an
environment with pyfixest. Prints one JSON object.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

PERIODS, COHORTS = 24, 8
KEYS = ("twfe", "twfe_event_study", "sun_abraham", "etwfe", "stacked")
#: Beside these on request.
MORE = ("did_imputation", "two_stage")
#: pyfixest: the same regressions where it has them.
PEER = ("twfe", "twfe_event_study")


def long_file(units: int, varying: int = 0) -> pd.DataFrame:
    """A balanced roll-out with effects that grow; unit and period effects; covariates that vary."""
    rng = np.random.default_rng(1)
    first = rng.choice([*range(5, 5 + 2 * COHORTS, 2), 0], units)
    when = np.arange(1, PERIODS + 1)
    y = rng.standard_normal((units, PERIODS)) + rng.standard_normal((units, 1)) + 0.1 * when
    since = when - first[:, None]
    treated = (since >= 0) & (first[:, None] > 0)
    y += np.where(treated, 0.4 + 0.05 * since, 0)
    v = {f"v{j}": rng.standard_normal(y.size) for j in range(varying)}
    y += sum(0.2 * one.reshape(y.shape) for one in v.values())
    return pd.DataFrame(
        {
            **v,
            "unit": np.repeat(np.arange(units), PERIODS),
            "period": np.tile(when, units),
            "first": np.repeat(first, PERIODS),
            "y": y.ravel(),
            "d": treated.ravel().astype(float),
            "since": np.where(first[:, None] > 0, since, -1).ravel(),
        }
    )


def varying_of(df: pd.DataFrame) -> list[str]:
    """Its covariates that vary with time."""
    return [name for name in df.columns if name.startswith("v")]


def ours(df: pd.DataFrame, key: str) -> dict[str, Any]:
    """Reading and estimating apart."""
    import tiltakeval
    from tiltakeval.design.staggered_read import staggered_from_frame
    from tiltakeval.estimators import build

    options = {"stacked": {"before": 4, "after": 4}}.get(key, {})
    estimator = build(key, errors="fixest") if key.startswith("twfe") else build(key, **options)
    began = time.process_time()
    design = staggered_from_frame(
        df, unit="unit", period="period", first="first", outcome="y", varying=varying_of(df)
    )
    read = time.process_time() - began
    found = estimator.estimate(design)
    whole = time.process_time() - began
    table = found.table
    row = table[table.horizon == 3].iloc[0] if key == "twfe_event_study" else table.iloc[0]
    return {
        "who": f"tiltakeval {tiltakeval.__version__}",
        "cpu_seconds": round(whole, 3),
        "reading_cpu_seconds": round(read, 3),
        "estimate": float(row.estimate),
        "std_error": float(row.std_error),
        "rows": len(table),
    }


def peer(df: pd.DataFrame, key: str) -> dict[str, Any]:
    """pyfixest's regression."""
    import pyfixest as pf

    began = time.process_time()
    terms = ["i(since, ref=-1)" if key == "twfe_event_study" else "d", *varying_of(df)]
    formula = f"y ~ {' + '.join(terms)} | unit + period"
    fit = pf.feols(formula, data=df, vcov={"CRV1": "unit"})
    table = fit.tidy()
    whole = time.process_time() - began
    row = table.iloc[0]
    if key == "twfe_event_study":
        row = table[[("[3]" in n or "[3.0]" in n or n.endswith("::3")) for n in table.index]].iloc[
            0
        ]
    return {
        "who": f"pyfixest {pf.__version__}",
        "cpu_seconds": round(whole, 3),
        "estimate": float(row["Estimate"]),
        "std_error": float(row["Std. Error"]),
    }


def one(key: str, units: int, who: str, varying: int) -> None:
    """Measure and print; the peak is that of the process, data included."""
    df = long_file(units, varying)
    if who == "peer":
        import pyfixest  # noqa: F401  (its import isn't counted)
    else:
        pass
    found = ours(df, key) if who == "ours" else peer(df, key)
    found["frame_mb"] = round(df.memory_usage().sum() / 1e6)
    found["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps(found))


def run(python: str, key: str, units: int, who: str, varying: int) -> dict[str, Any]:
    """A process of its own."""
    command = [
        python,
        __file__,
        key,
        "--units",
        str(units),
        "--varying",
        str(varying),
        "--one",
        who,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keys", nargs="*", default=KEYS, help=f"beside these: {MORE}")
    parser.add_argument("--varying", type=int, default=0)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--peer-python")
    parser.add_argument("--one", choices=("ours", "peer"))
    given = parser.parse_args()
    if given.one:
        one(given.keys[0], given.units, given.one, given.varying)
        return
    found: dict[str, Any] = {"units": given.units, "periods": PERIODS, "cohorts": COHORTS}
    found["varying"] = given.varying
    for key in given.keys:
        found[key] = {"ours": run(sys.executable, key, given.units, "ours", given.varying)}
        if given.peer_python and key in PEER:
            found[key]["peer"] = run(given.peer_python, key, given.units, "peer", given.varying)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
