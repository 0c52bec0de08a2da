"""Months of work from hazard models of an invented register, beside what they truly are.

    python benchmarks/register_lock_in.py [--persons 200000] [--sample 10000] [--bands 0 3 6 12]

The truth comes from a second register: the same persons in a world in which nobody enters a programme.
A participant's spell has its twin there, the same up to the decision, and what the share that has left
for a job differs by, month by month after the decision, is the effect of the programme and all that
follows it on its participants. Estimates are those of a study: timing of events with one mass point,
at the full likelihood and averaged, and a grouped hazard, which know what a register knows. The
world isn't one of proportional hazards, so nothing promises that they agree. Registers are kept in
benchmarks/work; results in benchmarks/results/register_lock_in.csv.
"""

from __future__ import annotations

import argparse
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from pathlib import Path

import numpy as np
import pandas as pd

from tiltakeval.design.event_history_register import event_history_of_register
from tiltakeval.design.event_history_spells import spells_of, stretches_of
from tiltakeval.engine import Engine, connect
from tiltakeval.estimators import build
from tiltakeval.months import parse_month
from tiltakeval.population.person_periods import EXITS, PeriodSpec, RegisterPeriods, person_periods
from tiltakeval.population.tables import prepare
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import read_registers
from tiltakeval.synthetic.simulate import write_register
from tiltakeval.synthetic.world import World, load_world

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "register_lock_in.csv"
MONTHS = 36
WINDOWS = (6, 12, 24, 36)
TERMS = ("effect", "mean_treated", "cumulated")
PROGRAMMES = {
    "jobseeker": ("lonnstilskudd_midlertidig", "amo", "fag_og_yrkesopplaering"),
    "nedsatt_arbeidsevne": ("aft", "lonnstilskudd_midlertidig", "amo"),
}
MODELS = {
    "grouped_hazard": {"estimator": "grouped_hazard", "rare": "leave_out"},
    "one point": {"estimator": "timing_of_events", "points": 1},
    "full": {"estimator": "timing_of_events", "points": "full"},
    "averaged": {"estimator": "timing_of_events", "points": "averaged"},
}
MIXTURE = {"steps": (3, 6, 12, 24), "starts": 2, "rare": "leave_out"}


def register(world: World, persons: int, seed: int) -> Path:
    """The folder with the register, made where it is missing."""
    folder = HERE / "work" / "register_lock_in" / f"{world.name}_{persons}_{seed}"
    if not (folder / "world.toml").exists():
        write_register(folder, world, persons, seed=seed, threads=2)
    return folder


def without_programmes(world: World) -> World:
    """The world in which nobody enters a programme."""
    for name in world.programmes:
        world = world.with_programme(name, base=(0.0, 0.0))
    return world.with_(name=f"{world.name}_none")


def periods_of(engine: Engine, folder: Path, base: str, bands: tuple[int, ...]) -> RegisterPeriods:
    """The person-months of a base population, with bands of time in and after a programme."""
    work = prepare(
        read_registers(folder, engine=engine, catalogue=catalogue.load(), source="canonical"),
        catalogue.load(),
        seed=1,
    )
    first = parse_month("2016-01")
    last = min(work.coverage[t][1] for t in work.coverage) - 1
    spec = PeriodSpec(
        base=base,
        programmes=PROGRAMMES[base],
        window=(first, last),
        in_from=bands,
        after_from=bands,
        covariates=(
            *("sex", "age", "landgruppe", "education", "diagnosis", "innsatsgruppe"),
            "worked_24",
        ),
    )
    return person_periods(work, spec)


def spells(periods: RegisterPeriods) -> pd.DataFrame:
    """A row a spell: person, month it began, last month seen at risk, exit (0 none)."""
    rows = periods.table
    found = rows.group_by("person", "spell_no").agg(
        begun=(rows.month - rows.time).min(), last=rows.month.max(), exit=rows.event.max()
    )
    return periods.work.engine.frame(found)


def participants(periods: RegisterPeriods) -> pd.DataFrame:
    """A row a spell with a first programme: person, spell, programme, months from registration to the
    decision, and when and how it ended."""
    kept, _ = spells_of(periods, carried="leave_out", persons=None, seed=0, where="truth")
    raw = stretches_of(periods, kept, (), ())
    table = pd.DataFrame(
        {n: getattr(raw, n) for n in ("person", "spell_no", "start", "stop", "event", "status")}
    )
    first = table[table.status > 0].groupby(["person", "spell_no"]).first()[["start", "status"]]
    ends = table.groupby(["person", "spell_no"]).last()[["stop", "event"]]
    found = first.join(ends).reset_index()
    levels = len(periods.spec.levels) - 1
    found["programme"] = [periods.status[(s - 1) // levels] for s in found.status]
    found["programme"] = found.programme.str.removeprefix("status_")
    return found.merge(spells(periods)[["person", "spell_no", "begun"]], on=["person", "spell_no"])


def truth(periods: RegisterPeriods, never: RegisterPeriods) -> pd.DataFrame:
    """Share left for a job in the months since the decision: with, without, by programme."""
    job = EXITS.index("job") + 1
    took = participants(periods)
    kept, _ = spells_of(never, carried="leave_out", persons=None, seed=0, where="truth")
    raw = stretches_of(never, kept, (), ())
    twins = (
        pd.DataFrame({n: getattr(raw, n) for n in ("person", "spell_no", "stop", "event")})
        .groupby(["person", "spell_no"])
        .last()
        .reset_index()
        .merge(spells(never)[["person", "spell_no", "begun"]], on=["person", "spell_no"])
    )
    both = took.merge(twins, on=["person", "begun"], suffixes=("", "_none"), how="left")
    both["twin"] = both.stop_none > both.start - 1e-9
    last = periods.window[1] + 1
    rows = []
    for programme, part in both.groupby("programme"):
        share = part.twin.mean()
        part = part[part.twin]
        # decisions early enough to be followed to the last month
        part = part[part.begun + part.start + MONTHS + 1 <= last]
        h = np.arange(1, MONTHS + 1)
        with_it = (part.event == job).to_numpy()[:, None] & (
            (part.stop - part.start).to_numpy()[:, None] <= h
        )
        without = (part.event_none == job).to_numpy()[:, None] & (
            (part.stop_none - part.start).to_numpy()[:, None] <= h
        )
        gap = with_it.astype(float) - without
        total = gap.cumsum(axis=1)
        for month in h:
            rows.append((programme, "effect", month, gap[:, month - 1]))
            rows.append((programme, "mean_treated", month, with_it[:, month - 1].astype(float)))
        rows += [(programme, "cumulated", w, total[:, w - 1]) for w in WINDOWS]
        print(f"{programme}: {len(part):,} participants followed, {share:.1%} have a twin")
    return pd.DataFrame(
        [
            {
                "programme": p,
                "term": term,
                "horizon": h,
                "truth": g.mean(),
                "truth_error": g.std() / np.sqrt(g.size),
                "participants": g.size,
            }
            for p, term, h, g in rows
        ]
    )


def estimates(periods: RegisterPeriods, sample: int, models: list[str]) -> pd.DataFrame:
    """Effects on having left for a job, and the months they sum to, by every model."""
    exits = {"job": ("job",), "other": tuple(name for name in EXITS if name != "job")}
    parts = []
    for model in models:
        options = dict(MODELS[model])
        key = options.pop("estimator")
        mixture = key == "timing_of_events"
        history = event_history_of_register(
            periods,
            exits=exits,
            persons=sample if mixture else None,
            seed=1,
            entries="any",
            fewest=10,
        )
        clock = time.process_time()
        estimator = build(key, months=MONTHS, **options, **(MIXTURE if mixture else {}))
        table = estimator.estimate(history).table
        table = table[(table.outcome == "job") & table.term.isin(TERMS)]
        horizon = pd.to_numeric(table.horizon).fillna(
            pd.to_numeric(table.period.str.removeprefix("1-").replace("", np.nan))
        )
        parts.append(
            pd.DataFrame(
                {
                    "model": model,
                    "programme": table.programme,
                    "term": table.term,
                    "horizon": horizon,
                    "estimate": table.estimate,
                    "std_error": table.std_error,
                }
            )
        )
        print(f"{model}: {time.process_time() - clock:.0f} CPU s, {history.n:,} rows", flush=True)
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=200_000)
    parser.add_argument("--bands", type=int, nargs="+", default=[0])
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--sample", type=int, default=10_000)
    parser.add_argument("--base", choices=PROGRAMMES, nargs="+", default=list(PROGRAMMES))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    world = load_world("standard")
    folders = [register(w, given.persons, given.seed) for w in (world, without_programmes(world))]
    parts = []
    for base in given.base:
        with connect(threads=2, memory_limit="2GB") as engine, connect(threads=2) as other:
            came = periods_of(engine, folders[0], base, tuple(given.bands))
            never = periods_of(other, folders[1], base, tuple(given.bands))
            true = truth(came, never)
            found = estimates(came, given.sample, given.models)
        found = found.merge(true, on=["programme", "term", "horizon"])
        bands = " ".join(map(str, given.bands))
        parts.append(
            found.assign(base=base, bands=bands, persons=given.persons, sample=given.sample)
        )
    table = pd.concat(parts, ignore_index=True)
    table["z"] = (table.estimate - table.truth) / np.hypot(table.std_error, table.truth_error)
    keys = ["base", "bands", "programme", "term", "horizon", "model"]
    kept = [table] if not RESULTS.exists() else [pd.read_csv(RESULTS, dtype={"bands": str}), table]
    pd.concat(kept).drop_duplicates(keys, keep="last").sort_values(keys).to_csv(
        RESULTS, index=False, float_format="%.5g"
    )
    shown = table[table.horizon.isin(WINDOWS)].set_index(
        ["base", "programme", "term", "horizon", "model"]
    )
    print(shown[["estimate", "std_error", "truth", "truth_error", "z"]].round(3).to_string())


if __name__ == "__main__":
    main()
