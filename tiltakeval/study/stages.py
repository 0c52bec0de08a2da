"""Stages of a run: progress on standard error, with the time and peak memory of each."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Stage:
    """One finished stage: wall and processor seconds, and the peak memory of the process in it."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass
class Stages:
    """Times stages and shows progress. ``show`` False keeps quiet."""

    show: bool = True
    done: list[Stage] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside, under ``name``."""
        self.say(name)
        _reset_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.done.append(
            Stage(
                name=name,
                seconds=round(time.perf_counter() - wall, 2),
                cpu_seconds=round(time.process_time() - cpu, 2),
                peak_mb=round(_peak_mb()),
            )
        )

    def say(self, text: str) -> None:
        """One progress line."""
        if self.show:
            elapsed = time.perf_counter() - self.started
            print(f"[{elapsed:6.1f} s] {text}", file=sys.stderr, flush=True)


def _reset_peak() -> None:
    try:
        _RESET.write_text("5")
    except OSError:  # not Linux: the peak is then of the whole run so far
        return


def _peak_mb() -> float:
    try:
        line = next(row for row in _STATUS.read_text().splitlines() if row.startswith("VmHWM"))
        return float(line.split()[1]) / 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 if sys.platform.startswith("linux") else 1024**2)
