"""The thread that brings checkpoints to disk while the run trains on: one job after the other, in the order given.

It decides nothing and tells nobody: each job comes back with what became of it, and the trainer's main thread takes
that up at a step boundary. Writing, syncing and checksums release the GIL. After the first error nothing more is done:
a checkpoint must not be committed behind one that is missing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from trainerd.contracts.full_disk import is_for_want_of_space
from trainerd.contracts.json_lines import MakeRoom
from trainerd.training.checkpoints.commit import (
    Manifest,
    ShowProgress,
    commit_directory,
    mark_checkpoint,
    remove_checkpoint,
)
from trainerd.training.checkpoints.snapshot import Snapshot

# Behind the steps where cores are scarce, but not out of sight: at 19 it gets a sixtieth of a core that others want,
# and 100 MB took 6 to 30 s to be durable on a busy machine (1 s at 5, with the same steps; 0.1 s for a raw write).
_NICENESS = 5


@dataclass(frozen=True)
class Commit:
    """Publish a snapshot. Its buffers are the writer's until this is done."""

    path: Path
    snapshot: Snapshot
    manifest: Manifest
    sync_lines: Callable[[], None]
    kind: str  # what the journal calls it
    since: float  # when the snapshot was begun
    order: int | None
    show_progress: ShowProgress

    def do(self) -> Manifest:
        self.sync_lines()  # what a checkpoint stands on must not be lost in a power cut that the checkpoint survives
        return commit_directory(self.path, self.snapshot.files(), self.manifest, self.show_progress)


@dataclass(frozen=True)
class Mark:
    """Make a checkpoint that is committed by then periodic or pinned too."""

    path: Path
    periodic: bool
    since: float
    order: int | None  # that asks for a pinned one

    def do(self) -> Manifest:
        return mark_checkpoint(self.path, periodic=self.periodic, pinned=self.order is not None)


@dataclass(frozen=True)
class Remove:
    """Delete a checkpoint that a newer one has superseded."""

    path: Path

    def do(self) -> None:
        remove_checkpoint(self.path)


Job = Commit | Mark | Remove


@dataclass(frozen=True)
class Finished:
    """What became of a job: the manifest that is on disk now (none behind a removal), or an error."""

    job: Job
    began: float
    ended: float
    manifest: Manifest | None = None
    error: BaseException | None = None


class CheckpointWriter:
    """The main thread's side of the writing thread, which lives from the first job until `close`.

    Then jobs are done by who submits them: a trainer that ends has nothing else to do, and need not wait for a thread
    that gives way to others.
    """

    def __init__(self, clock: Callable[[], float], make_room: MakeRoom) -> None:
        """`make_room` is called where the disk is full, and says whether to try the job again."""
        self._clock = clock
        self._make_room = make_room
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._finished: SimpleQueue[Finished] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._met: BaseException | None = None  # the error that ended the work: the thread's own
        self._error: BaseException | None = None  # the same once it has been taken: the main thread's own
        self.unfinished = 0  # jobs whose end has not been taken; never 0 again after an error

    def submit(self, job: Job) -> None:
        """Hand over a job; returns at once, if not closed. Raises the error that an earlier job has been taken with."""
        if self._error:
            raise self._error
        self.unfinished += 1
        if self._is_closed:
            self._finished.put(self._do(job))
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="checkpoint-writer", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def has_news(self) -> bool:
        """Whether a job has finished whose end has not been taken: one look, for every step."""
        return not self._finished.empty()

    def take(self) -> Finished:
        """The end of the oldest job, waiting for it: `unfinished` is not 0. Raises the error that a job ended with."""
        if self._error is None:
            finished = self._finished.get()
            self._error = finished.error
        if self._error:
            raise self._error
        self.unfinished -= 1
        return finished

    def close(self) -> None:
        """End the thread once it has done what it has been given. Later jobs are done in place."""
        self._is_closed = True
        if self._thread:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        _stay_in_the_background()
        while job := self._jobs.get():
            self._finished.put(self._do(job))

    def _do(self, job: Job) -> Finished:
        began = self._clock()
        manifest = None
        if self._met is None:
            try:
                manifest = self._do_once_more_if_room_is_made(job)
            except BaseException as error:  # noqa: BLE001 - the thread's entry: the main thread raises it again
                self._met = error
        return Finished(job, began, self._clock(), manifest, self._met)

    def _do_once_more_if_room_is_made(self, job: Job) -> Manifest | None:
        try:
            return job.do()
        except OSError as error:
            if not is_for_want_of_space(error) or not self._make_room():
                raise
        return job.do()


def _stay_in_the_background() -> None:
    """Give way to the steps, and leave signals to the main thread, which they have to wake."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with suppress(OSError):  # slower steps are no reason to lose a checkpoint
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
