"""What a checkpoint costs the loop, and how soon it is durable, for a state of 400 MB on the CPU.

The stall is the whole of the run's own save: reading the pending losses, collecting the state, copying it. It is
compared, with as many threads as a run gets by default, with one memcpy of as many bytes into a warm buffer and with
torch.save of the same tensors. The time until a checkpoint is durable (synced, renamed, the directory synced) and the
steps meanwhile are taken with torch on one thread, so that there is a core to spare.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figure import Figure, milliseconds, ratio_of_medians

GOAL_STALL_TO_MEMCPY = 1.3
GOAL_TORCH_SAVE_TO_STALL = 10
GOAL_DURABLE_TO_RAW = 1.5
GOAL_WORST_STEP_TO_MEDIAN = 3

Seconds = dict[str, list[float]]


def measure(turns: int = 7) -> Iterator[Figure]:
    """Four ratios: three of medians, and the worst of all steps to the median one."""
    yield from stalls(take_seconds(turns, threads=os.cpu_count() or 1))
    yield from steps_meanwhile(take_seconds(turns, threads=1))


def stalls(seconds: Seconds) -> Iterator[Figure]:
    yield Figure(
        "checkpoint, stall / memcpy",
        ratio_of_medians(seconds["stall"], seconds["memcpy"]),
        at_most=GOAL_STALL_TO_MEMCPY,
        parts={
            "stall of the loop": milliseconds(seconds["stall"]),
            "memcpy into a warm buffer": milliseconds(seconds["memcpy"]),
        },
    )
    yield Figure(
        "checkpoint, torch.save / stall",
        ratio_of_medians(seconds["torch_save"], seconds["stall"]),
        at_least=GOAL_TORCH_SAVE_TO_STALL,
        parts={
            "torch.save, not synced": milliseconds(seconds["torch_save"]),
            "torch.save and fsync": milliseconds(seconds["torch_save_synced"]),
        },
    )


def steps_meanwhile(seconds: Seconds) -> Iterator[Figure]:
    yield Figure(
        "checkpoint, until durable / raw write + fsync",
        ratio_of_medians(seconds["durable"], seconds["raw"]),
        at_most=GOAL_DURABLE_TO_RAW,
        parts={
            "until durable": milliseconds(seconds["durable"]),
            "raw write + fsync": milliseconds(seconds["raw"]),
            "stall of the loop, 1 thread": milliseconds(seconds["stall"]),
        },
    )
    yield Figure(
        "checkpoint, worst step while writing / median",
        max(seconds["disturbed"]) / median(seconds["undisturbed"]),
        at_most=GOAL_WORST_STEP_TO_MEDIAN,
        parts={
            "step, nothing written": milliseconds(seconds["undisturbed"]),
            f"step while writing ({len(seconds['disturbed'])} of them)": milliseconds(seconds["disturbed"]),
        },
    )


def take_seconds(turns: int, threads: int, width: int = 4096) -> Seconds:
    """What all turns took, by name, from benchmarks/checkpoint_saving.py in a fresh process."""
    script = str(Path(__file__).with_name("checkpoint_saving.py"))
    command = [sys.executable, script, f"--turns={turns}", f"--threads={threads}", f"--width={width}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"checkpoint_saving.py failed:\n{done.stderr}")
    taken: list[Seconds] = json.loads(done.stdout)
    return {name: [each for turn in taken for each in turn[name]] for name in taken[0]}
