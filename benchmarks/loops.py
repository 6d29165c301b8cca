"""The built-in training loop beside the plain one, the limit, and lightning where it is installed.

Every repetition runs all of them, each in a process of its own; the figures are ratios of their medians.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, ratio_of_medians

FOLDER = Path(__file__).parent
LOOPS = ("ours", "plain", "limit", *(["lightning"] if importlib.util.find_spec("lightning") else []))


def measure(repetitions: int = 5, steps: int = 4000, threads: tuple[int, ...] | None = None) -> Iterator[Figure]:
    """Ratios of steps/s with one thread, and with all processors."""
    for count in threads or sorted({1, os.cpu_count() or 1}):
        yield from compare(count, repetitions, steps)


def compare(threads: int, repetitions: int, steps: int) -> Iterator[Figure]:
    rates: dict[str, list[float]] = {name: [] for name in LOOPS}
    for _ in range(repetitions):
        for name in LOOPS:
            rates[name].append(steps_per_second(name, threads, steps))
    parts = {f"{name}, steps/s": " ".join(f"{rate:.0f}" for rate in sorted(taken)) for name, taken in rates.items()}
    where = f"threads: {threads}"
    yield Figure(
        f"loop, ours / plain, {where}", ratio_of_medians(rates["ours"], rates["plain"]), at_least=1.5, parts=parts
    )
    yield Figure(f"loop, ours / limit, {where}", ratio_of_medians(rates["ours"], rates["limit"]), at_least=0.95)
    if "lightning" in rates:
        yield Figure(f"loop, ours / lightning, {where}", ratio_of_medians(rates["ours"], rates["lightning"]))


def steps_per_second(name: str, threads: int, steps: int) -> float:
    """What benchmarks/loop_NAME.py measures of itself, in a fresh process."""
    command = [sys.executable, str(FOLDER / f"loop_{name}.py"), f"--threads={threads}", f"--steps={steps}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"loop_{name}.py failed:\n{done.stderr}")
    return float(done.stdout.split()[-1])
