"""What a run's journal tells a new attempt about the earlier ones. Reads it from its end, and only as far as needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainerd.contracts.journal import Event, read_journal_backwards


def has_committed_checkpoint(events: Path) -> bool:
    """Whether any attempt has ever committed a checkpoint."""
    return any(line["event"] == Event.CHECKPOINT for line in read_journal_backwards(events))


def epochs_after(events: Path, step: int) -> dict[int, dict[str, Any]]:
    """The epoch lines of later steps than `step`, by their step; of several attempts' that of the first one.

    Behind the line of a checkpoint older than `step` there are no more.
    """
    epochs: dict[int, dict[str, Any]] = {}
    for line in read_journal_backwards(events):
        if line["event"] == Event.EPOCH and line.get("step", 0) > step:
            epochs[line["step"]] = line
        elif line["event"] == Event.CHECKPOINT and line.get("step", step) < step:
            break
    return epochs
