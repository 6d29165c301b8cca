"""Which checkpoints stay. `periodic` and `pinned` stand in the manifest, `last` and `best` follow from the run.

One checkpoint may be several of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Kept:
    """What the decision needs to know of one committed checkpoint."""

    step: int
    periodic: bool
    pinned: bool


def kinds(checkpoint: Kept, all_checkpoints: Iterable[Kept], best_step: int | None) -> list[str]:
    """Of `last`, `best`, `periodic`, `pinned`, those that this checkpoint is."""
    newest = max(each.step for each in all_checkpoints)
    named = {
        "last": checkpoint.step == newest,
        "best": checkpoint.step == best_step,
        "periodic": checkpoint.periodic,
        "pinned": checkpoint.pinned,
    }
    return [kind for kind, holds in named.items() if holds]


def superseded(checkpoints: list[Kept], best_step: int | None, keep_periodic: int) -> list[Kept]:
    """The checkpoints to delete now that the newest of them is committed: none that is last, best, pinned or recent."""
    periodic_steps = sorted((each.step for each in checkpoints if each.periodic), reverse=True)
    recent = set(periodic_steps[:keep_periodic])
    return [
        each
        for each in checkpoints
        if each.step not in recent and not {"last", "best", "pinned"} & set(kinds(each, checkpoints, best_step))
    ]
