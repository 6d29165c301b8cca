"""When a checkpoint is taken, and what becomes of the older ones. One keeper per attempt; it alone writes checkpoints/.

A new best state is held in memory at once but committed only when that costs little: a fast run improves a hundred
times a minute. It is always committed before any newer checkpoint, so a crash costs nothing: the run goes on from a
checkpoint older than the best one and finds the same best again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from trainerd.contracts import journal
from trainerd.contracts.durable_files import sync_directory
from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import Checkpoint as CheckpointPlan
from trainerd.training.checkpoints.commit import (
    Manifest,
    commit_directory,
    remove_checkpoint,
    remove_leftovers,
)
from trainerd.training.checkpoints.retention import Kept, superseded
from trainerd.training.checkpoints.snapshot import RunState, Snapshot
from trainerd.training.checkpoints.verify import Damaged, list_checkpoints, read_manifest

_BEST_SHARE_OF_TIME = 0.05  # of the run's time that commits of best states may take


class CheckpointKeeper:
    """Takes, commits and deletes the checkpoints of a run."""

    def __init__(
        self,
        directory: RunDirectory,
        plan: CheckpointPlan,
        run_journal: Journal,
        attempt: int,
        sync_lines: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        directory.checkpoints.mkdir(exist_ok=True)
        sync_directory(directory.path)
        remove_leftovers(directory.checkpoints)
        self._directory = directory
        self._plan = plan
        self._journal = run_journal
        self._attempt = attempt
        self._sync_lines = sync_lines
        self._clock = clock
        self._kept = [_describe(path) for path in list_checkpoints(directory.checkpoints)]
        self._best_step: int | None = None
        self._best_waits = False
        self._snapshot = Snapshot()
        self._best_snapshot = Snapshot()
        self._last_commit_at = clock()
        self._commit_seconds = 0.0

    def try_out(self, state: RunState) -> None:
        """Make the buffers before the first step, and find out now what a checkpoint could not hold.

        Raises Unsaveable.
        """
        self._snapshot.take(state)

    def is_due(self, step: int) -> bool:
        """Whether a periodic checkpoint is due at the boundary after `step`."""
        by_steps = self._plan.every_steps is not None and step % self._plan.every_steps == 0
        minutes = self._plan.every_minutes
        return by_steps or (minutes is not None and self._clock() - self._last_commit_at >= minutes * 60)

    def save(self, state: RunState, *, periodic: bool = False, pinned: bool = False) -> Path:
        """Commit `state` now: durable when this returns. A step that is committed already is left as it is.

        Raises OSError if the disk refuses; older checkpoints are then as they were.
        """
        self.commit_waiting_best()
        path = self._directory.checkpoint(state.step)
        if not any(each.step == state.step for each in self._kept):
            self._snapshot.take(state)
            self._commit(self._snapshot, "pinned" if pinned else "periodic" if periodic else "last", periodic, pinned)
        return path

    def hold_best(self, state: RunState) -> None:
        """Take the state as the best one so far; it is committed as soon as that costs little."""
        self._best_snapshot.take(state)
        self._best_step = state.step
        self._best_waits = True
        if self._clock() - self._last_commit_at >= self._commit_seconds / _BEST_SHARE_OF_TIME:
            self.commit_waiting_best()

    def commit_waiting_best(self) -> None:
        """Commit the best state if it is still in memory only."""
        if self._best_waits:
            self._best_waits = False
            if not any(each.step == self._best_snapshot.step for each in self._kept):
                self._commit(self._best_snapshot, "best", periodic=False, pinned=False)

    def resume_best(self, best_step: int | None) -> None:
        """Go on with the best step that a checkpoint recorded."""
        self._best_step = best_step

    def _commit(self, snapshot: Snapshot, kind: str, periodic: bool, pinned: bool) -> None:
        started = self._clock()
        path = self._directory.checkpoint(snapshot.step)
        manifest = Manifest(
            run=self._directory.path.name,
            attempt=self._attempt,
            step=snapshot.step,
            epoch=snapshot.epoch,
            committed_at=journal.now(),
            periodic=periodic,
            pinned=pinned,
            files={},
        )
        self._sync_lines()  # what a checkpoint stands on must not be lost in a power cut that the checkpoint survives
        committed = commit_directory(path, snapshot.files(), manifest)
        self._last_commit_at = self._clock()
        self._commit_seconds = self._last_commit_at - started
        self._journal.record(
            Event.CHECKPOINT,
            step=snapshot.step,
            epoch=snapshot.epoch,
            path=path.name,
            bytes=committed.total_bytes,
            kind=kind,
            seconds=round(self._commit_seconds, 4),
        )
        self._kept.append(Kept(snapshot.step, periodic, pinned))
        self._delete_superseded()

    def _delete_superseded(self) -> None:
        for old in superseded(self._kept, self._best_step, self._plan.keep_periodic):
            remove_checkpoint(self._directory.checkpoint(old.step))
            self._kept.remove(old)


def _describe(path: Path) -> Kept:
    """An older attempt's checkpoint; one whose manifest cannot be read is kept, as if pinned, for a person to see."""
    step = int(path.name.removeprefix("step-"))
    try:
        manifest = read_manifest(path)
    except Damaged:
        return Kept(step, periodic=False, pinned=True)
    return Kept(step, manifest.periodic, manifest.pinned)
