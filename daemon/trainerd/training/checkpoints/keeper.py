"""When a checkpoint is taken, and what becomes of the older ones. One keeper per attempt; it alone writes checkpoints/.

The trainer's main thread pays for one copy of the state and goes on; a thread writes (see `writer`). What that has
done is taken up at a step boundary: it is told in the journal, and what it superseded is deleted. There are as many
buffers as states may be in memory at a time; who needs one while all of them are being written waits.

A new best state is held in memory at once but committed only when that costs little: a fast run improves a hundred
times a minute. It is always committed before any newer checkpoint, so a crash costs nothing: the run goes on from a
checkpoint older than the best one and finds the same best again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trainerd.contracts.durable_files import sync_directory
from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.json_lines import MakeRoom
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import Checkpoint as CheckpointPlan
from trainerd.training.checkpoints.commit import Manifest, remove_leftovers
from trainerd.training.checkpoints.retention import Kept, superseded
from trainerd.training.checkpoints.snapshot import RunState, Snapshot
from trainerd.training.checkpoints.verify import Damaged, list_checkpoints, read_manifest
from trainerd.training.checkpoints.writer import CheckpointWriter, Commit, Finished, Mark, Remove

_BEST_SHARE_OF_TIME = 0.05  # of the run's time that writing best states may take: the disk is others' too


class CheckpointKeeper:
    """Takes, commits and deletes the checkpoints of a run. The trainer's main thread uses it.

    `sync_lines`, `make_room` (the disk is full) and `show_progress` are called in the writing thread; `obeyed` hears
    the number of each order whose checkpoint is durable. An OSError of the writing thread is raised by whichever method
    looks next.
    """

    def __init__(
        self,
        directory: RunDirectory,
        plan: CheckpointPlan,
        run_journal: Journal,
        attempt: int,
        sync_lines: Callable[[], None],
        *,
        holds_best: bool,
        obeyed: Callable[[int], None],
        make_room: MakeRoom = lambda: False,
        show_progress: Callable[[], None] = lambda: None,
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
        self._obeyed = obeyed
        self._show_progress = show_progress
        self._clock = clock
        self._writer = CheckpointWriter(clock, make_room)
        self._free = [Snapshot() for _ in range(2 if holds_best else 1)]
        self._held: Snapshot | None = None  # the best state, in memory only
        self._kept = {each.step: each for each in map(_describe, list_checkpoints(directory.checkpoints))}
        self._coming: dict[int, Kept] = {}  # handed over to the writer
        self._bests: list[int] = []  # the newest best step, and older ones until a newer one is committed
        self._last_taken_at = self._last_written_at = clock()
        self._write_seconds = 0.0

    def try_out(self, state: RunState) -> None:
        """Make the buffers before the first snapshot, and find out now what a checkpoint could not hold.

        The first touch of so much memory takes long. No snapshot has been taken yet. Raises Unsaveable.
        """
        for snapshot in self._free:
            snapshot.take(state)

    @property
    def checkpoint_bytes(self) -> int:
        """The size of one checkpoint, as it was last tried out or taken."""
        return max(sum(len(content) for content in each.files().values()) for each in self._free)

    def resume_best(self, best_step: int | None) -> None:
        """Go on with the best step that a checkpoint recorded."""
        self._bests = [] if best_step is None else [best_step]

    def is_due(self, step: int) -> bool:
        """Whether a periodic checkpoint is due at the boundary after `step`."""
        by_steps = self._plan.every_steps is not None and step % self._plan.every_steps == 0
        minutes = self._plan.every_minutes
        return by_steps or (minutes is not None and self._clock() - self._last_taken_at >= minutes * 60)

    @property
    def newest_committed(self) -> int | None:
        """The step of the newest checkpoint on disk, as far as has been noted."""
        return max(self._kept, default=None)

    def save(self, state: RunState, *, periodic: bool = False, order: int | None = None) -> None:
        """Copy `state` and have it committed; `order` is the number of an order for a pinned checkpoint.

        A step that is committed already, or is about to be, is left as it is, and becomes periodic or pinned too.
        """
        since = self._clock()
        if self._held and self._held.step != state.step:
            self.commit_waiting_best()
        if self._held:
            self._commit_held("best", since, periodic=periodic, order=order)
        elif self._is_known(state.step):
            self._mark(state.step, since, periodic=periodic, order=order)
        else:
            self._commit(self._take(state), "last", since, periodic=periodic, order=order)

    def hold_best(self, state: RunState) -> None:
        """Take the state as the best one so far; it is committed as soon as that costs little."""
        since = self._clock()
        self._drop_held()
        self._bests.append(state.step)
        if self._is_known(state.step):
            return
        self._held = self._take(state)
        quiet_seconds = self._clock() - self._last_written_at
        if not self._coming and quiet_seconds >= self._write_seconds / _BEST_SHARE_OF_TIME:
            self._commit_held("best", since)

    def commit_waiting_best(self) -> None:
        """Have the best state committed if it is still in memory only."""
        if self._held:
            self._commit_held("best", self._clock())

    def note_finished(self) -> None:
        """Note what the writer has finished since the last look. Raises the OSError that it met."""
        while self._writer.has_news():
            self._note(self._writer.take())

    def settle(self) -> None:
        """Wait until all that was handed over is durable and what it supersedes is gone. Raises OSError."""
        while self._writer.unfinished:
            self._note(self._writer.take())

    def close(self) -> None:
        """Settle, and write in place from now on: what comes at an end is durable when it returns. Raises OSError."""
        self._writer.close()
        self.settle()

    def finish(self) -> None:
        """Close, with the best state committed that is in memory only. Raises OSError."""
        self.close()
        self.commit_waiting_best()
        self.settle()

    def _is_known(self, step: int) -> bool:
        return step in self._kept or step in self._coming

    def _take(self, state: RunState) -> Snapshot:
        """A copy of the state, in a buffer that is free; waits where all of them are being written."""
        while not self._free:
            self._note(self._writer.take())
        self._free[-1].take(state)
        return self._free.pop()

    def _drop_held(self) -> None:
        """Forget a best state that a newer one replaces."""
        if self._held:
            self._bests.remove(self._held.step)
            self._free.append(self._held)
            self._held = None

    def _commit_held(self, kind: str, since: float, *, periodic: bool = False, order: int | None = None) -> None:
        held, self._held = self._held, None
        assert held is not None
        self._commit(held, kind, since, periodic=periodic, order=order)

    def _commit(self, snapshot: Snapshot, kind: str, since: float, *, periodic: bool, order: int | None) -> None:
        step, pinned = snapshot.step, order is not None
        manifest = Manifest(
            run=self._directory.path.name,
            attempt=self._attempt,
            step=step,
            epoch=snapshot.epoch,
            periodic=periodic,
            pinned=pinned,
        )
        kind = "pinned" if pinned else "periodic" if periodic else kind
        self._last_taken_at = since
        self._coming[step] = Kept(step, periodic, pinned)
        path = self._directory.checkpoint(step)
        self._writer.submit(Commit(path, snapshot, manifest, self._sync_lines, kind, since, order, self._show_progress))

    def _mark(self, step: int, since: float, *, periodic: bool, order: int | None) -> None:
        if not periodic and order is None:
            return
        known = self._kept if step in self._kept else self._coming
        before = known[step]
        known[step] = replace(before, periodic=before.periodic or periodic, pinned=before.pinned or order is not None)
        self._writer.submit(Mark(self._directory.checkpoint(step), periodic, since, order))

    def _note(self, finished: Finished) -> None:
        """Take up the end of a job. It is durable, or `take` has raised."""
        match finished.job:
            case Commit() as job:
                self._free.append(job.snapshot)
                self._last_written_at = finished.ended
                self._write_seconds = finished.ended - finished.began
                self._kept[job.manifest.step] = self._coming.pop(job.manifest.step)
                self._tell(job.kind, job.since, job.order, finished)
                self._delete_superseded()
            case Mark() as job:
                if job.order is not None:
                    self._tell("pinned", job.since, job.order, finished)
                self._delete_superseded()

    def _tell(self, kind: str, since: float, order: int | None, finished: Finished) -> None:
        """Say in the journal, and to who has ordered it, that a checkpoint is durable."""
        manifest, path = finished.manifest, finished.job.path
        assert manifest is not None
        self._journal.record(
            Event.CHECKPOINT,
            step=manifest.step,
            epoch=manifest.epoch,
            path=path.name,
            bytes=manifest.total_bytes,
            kind=kind,
            seconds=round(finished.ended - since, 4),
            order=order,
        )
        if order is not None:
            self._obeyed(order)

    def _delete_superseded(self) -> None:
        """Have older checkpoints deleted; the best of them only once a newer best is on disk."""
        best = next((step for step in reversed(self._bests) if step in self._kept), None)
        if best is not None:
            self._bests = self._bests[self._bests.index(best) :]
        for old in superseded(list(self._kept.values()), best, self._plan.keep_periodic):
            del self._kept[old.step]
            self._writer.submit(Remove(self._directory.checkpoint(old.step)))


def _describe(path: Path) -> Kept:
    """An older attempt's checkpoint; one whose manifest cannot be read is kept, as if pinned, for a person to see."""
    step = int(path.name.removeprefix("step-"))
    try:
        manifest = read_manifest(path)
    except Damaged:
        return Kept(step, periodic=False, pinned=True)
    return Kept(step, manifest.periodic, manifest.pinned)
