"""The trainers of one worker host: at most one per run, started, killed, and written off when they have ended.

An attempt passes through three places here: waiting (ordered, its directory not free yet), living, ended (not reaped or
not recorded yet). Only the host's loop calls this, from one thread. It decides no retry.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from trainerd.contracts.locks import holder_of
from trainerd.contracts.messages import Start
from trainerd.contracts.outcome import CRASHED
from trainerd.contracts.processes import living_members_of_session
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.states import Reason
from trainerd.worker.child import Child, fork_child
from trainerd.worker.ending import (
    CUT_OFF,
    LOST_WITH_ITS_HOST,
    Ending,
    LastAttempt,
    read_last_attempt,
    record_abandoned_end,
    record_end,
)
from trainerd.worker.liveness import PhaseTimes
from trainerd.worker.watch import TrainerWatch

_log = logging.getLogger(__name__)
_RECORD_AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Living:
    """An attempt whose trainer runs."""

    start: Start
    child: Child
    watch: TrainerWatch


@dataclass(frozen=True)
class Ended:
    """An attempt whose trainer is gone."""

    start: Start
    living: Living | None  # None where no trainer of this host ever ran
    is_reaped: bool = False
    exit_code: int | None = None
    signal: int | None = None
    cause: Ending | None = None  # what this host knows of the end beyond the exit
    record_at: float = 0.0  # time.monotonic() from which to write its end down


class Trainers:
    """See the module. `become_trainer` is what a forked child does with its order."""

    def __init__(self, become_trainer: Callable[[Start], int], hang_seconds: float) -> None:
        self._become_trainer = become_trainer
        self._hang_seconds = hang_seconds
        self._times: dict[int, PhaseTimes] = {}  # by run
        self._waiting: dict[int, Start] = {}
        self._living: dict[int, Living] = {}
        self._ended: dict[int, Ended] = {}
        self._newest_attempt: dict[int, int] = {}
        self._cut_off: set[int] = set()  # PIDs

    # What the supervisor orders.

    def order_start(self, start: Start) -> str | None:
        """Take an order to start an attempt; says why where it is refused. The same order again changes nothing.

        Raises OSError where it cannot be taken for want of descriptors: whoever connects again may order it again.
        """
        if self._has(start.run, start.attempt):
            return None
        directory = RunDirectory(Path(start.run_dir))
        if not directory.path.is_dir():
            return f"run {start.run}: {start.run_dir} is not a directory"
        newest = self._newest_attempt.get(start.run, 0)
        if not newest:  # this host has not seen the run yet: an earlier one may have
            try:
                last = read_last_attempt(directory.events)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise
                return f"run {start.run}: its journal cannot be read: {error}"
            newest = last.number
            if newest == start.attempt:
                return self._record_lost_attempt(start, last)
        if start.attempt <= newest:
            return f"run {start.run}: attempt {start.attempt} is not newer than {newest}"
        self._newest_attempt[start.run] = start.attempt
        self._waiting[start.run] = start
        return None

    def order_kill(self, run: int, attempt: int) -> bool:
        """Kill this attempt if it lives; one that waits never starts: whether it was such a one."""
        living = self._living.get(run)
        if living and living.start.attempt == attempt:
            living.child.send(signal.SIGKILL)
        waiting = self._waiting.get(run)
        if waiting is None or waiting.attempt != attempt:
            return False
        del self._waiting[run]
        return True

    def forget_waiting(self) -> None:
        """Start none of those that wait: whoever supervises next orders again what it still wants."""
        for run in self._waiting:
            del self._newest_attempt[run]
        self._waiting.clear()

    def signal_all(self, number: signal.Signals) -> None:
        for living in self._living.values():
            living.child.send(number)

    def cut_off(self, grace_seconds: float) -> None:
        """Kill trainers because the host ends: that is no failure of their runs.

        Those stay that bring a checkpoint to disk, and have made progress with it in the last `grace_seconds`.
        """
        for living in self._living.values():
            if not living.watch.is_saving(grace_seconds):
                self._cut_off.add(living.child.pid)
                living.child.send(signal.SIGKILL)

    # What the host's loop does on every pass.

    def begin_waiting(self) -> list[Living]:
        """Start every waiting attempt whose directory is free, and tell which."""
        ready = [start for run, start in self._waiting.items() if run not in self._living and run not in self._ended]
        begun = [self._begin(start) for start in ready if _is_free(RunDirectory(Path(start.run_dir)))]
        return [living for living in begun if living]

    def note_end(self, run: int) -> None:
        """The trainer of `run` has ended and waits to be reaped."""
        living = self._living.pop(run)
        self._ended[run] = Ended(living.start, living)

    def look(self, at: float) -> bool:
        """Look at every living trainer at `at` (time.monotonic()); whether any has stalled, or recovered."""
        changes = [living.watch.look(at) for living in self._living.values()]
        return any(changes)

    def settle_ended(self) -> bool:
        """Reap ended trainers and record their ends; whether any was recorded. Only once nothing of them is left."""
        before = len(self._ended)
        for run, ended in list(self._ended.items()):
            settled = self._settle(ended)
            if settled is None:
                del self._ended[run]
            else:
                self._ended[run] = settled
        return len(self._ended) < before

    # What the host asks.

    def living(self) -> list[Living]:
        return list(self._living.values())

    def unfinished(self) -> list[Living]:
        """Those that live, and those whose end is not on the disk yet: nobody may take one of them for lost."""
        ended = [one.living for one in self._ended.values() if one.living]
        return [*self._living.values(), *ended]

    def is_empty(self) -> bool:
        return not (self._waiting or self._living or self._ended)

    def is_unsettled(self) -> bool:
        """Whether something here moves on without an event that a selector could see."""
        return bool(self._waiting or self._ended)

    def has_child(self, pid: int) -> bool:
        """Whether `pid` is a trainer that is not reaped yet."""
        zombies = [ended.living for ended in self._ended.values() if ended.living and not ended.is_reaped]
        return any(one.child.pid == pid for one in [*self.living(), *zombies])

    def _has(self, run: int, attempt: int) -> bool:
        starts = [
            self._waiting.get(run),
            *(known.start for known in (self._living.get(run), self._ended.get(run)) if known),
        ]
        return any(start and start.attempt == attempt for start in starts)

    def _record_lost_attempt(self, start: Start, last: LastAttempt) -> str | None:
        """An earlier host has begun this very attempt and died with it: its end is due, not a second start."""
        if last.has_ended:
            return f"run {start.run}: attempt {start.attempt} has ended"
        self._newest_attempt[start.run] = start.attempt
        self._ended[start.run] = Ended(start, None, cause=LOST_WITH_ITS_HOST)
        return None

    def _begin(self, start: Start) -> Living | None:
        """Fork the trainer of a waiting attempt. One that cannot be forked, or begun, counts as ended."""
        del self._waiting[start.run]
        try:
            record_abandoned_end(RunDirectory(Path(start.run_dir)))
            child = fork_child(lambda: self._become_trainer(start))
        except (OSError, ValueError) as error:
            _log.error("run %d attempt %d cannot start: %s", start.run, start.attempt, error)
            why = f"the trainer could not be started: {error}"
            self._ended[start.run] = Ended(start, None, cause=Ending(CRASHED, Reason.ERROR, why))
            return None
        _log.info("run %d attempt %d started as process %d", start.run, start.attempt, child.pid)
        times = self._times.setdefault(start.run, PhaseTimes())
        watch = TrainerWatch(start, child, times, self._hang_seconds)
        self._living[start.run] = living = Living(start, child, watch)
        return living

    def _settle(self, ended: Ended) -> Ended | None:
        """One step towards a reaped and recorded end; None once both are done."""
        if ended.living and not ended.is_reaped:
            exit_code, signal_number = ended.living.child.reap()
            cause = self._cause_of_kill(ended.living) if signal_number == signal.SIGKILL else None
            ended = replace(ended, is_reaped=True, exit_code=exit_code, signal=signal_number, cause=cause)
        return self._record(ended)

    def _cause_of_kill(self, living: Living) -> Ending | None:
        return CUT_OFF if living.child.pid in self._cut_off else living.watch.cause_of_kill()

    def _record(self, ended: Ended) -> Ended | None:
        """Write an end down; on a full or failing disk, again later: an end must not get lost."""
        if time.monotonic() < ended.record_at:
            return ended
        directory = RunDirectory(Path(ended.start.run_dir))
        if not _is_free(directory):
            return ended
        try:
            if ended.living:
                ended.living.watch.write_vitals()
            ending = record_end(directory, ended.start.attempt, ended.exit_code, ended.signal, ended.cause)
        except FileNotFoundError:
            _log.error("run %d: %s is gone; its end is not recorded", ended.start.run, directory.path)
            return None
        except (OSError, ValueError) as error:
            _log.error("run %d: its end cannot be recorded yet: %s", ended.start.run, error)
            return replace(ended, record_at=time.monotonic() + _RECORD_AGAIN_SECONDS)
        _log.info("run %d attempt %d ended: %s, %s", ended.start.run, ended.start.attempt, ending.state, ending.reason)
        return None


def _is_free(directory: RunDirectory) -> bool:
    """Whether no trainer holds the directory and none has left a process behind; kills what was left behind."""
    try:
        if holder_of(directory.lock) is not None:
            return False
        last_holder = directory.lock.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return True  # no trainer has ever been here, or the directory is gone
    except OSError:
        return False
    try:
        leftovers = _left_behind_by(int(last_holder), directory) if last_holder.isdigit() else []
    except OSError:  # nobody can tell now: no descriptors left, for instance
        return False
    for pid in leftovers:
        _kill(pid, directory)
    return not leftovers


def _left_behind_by(trainer: int, directory: RunDirectory) -> list[int]:
    """What still runs in the session of a trainer that is gone, and writes to the run's log.

    The second half is for a session number that the kernel has given to a stranger since.
    """
    return [pid for pid in living_members_of_session(trainer) if _standard_error_of(pid) == directory.log.resolve()]


def _standard_error_of(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/fd/2").readlink()
    except OSError:
        return None


def _kill(pid: int, directory: RunDirectory) -> None:
    """Kill what writes to the run's log; asked again behind its descriptor: a number may be a stranger's by now."""
    try:
        process = os.pidfd_open(pid)
    except OSError:  # it has died; or no descriptors left, and it is found again
        return
    try:
        if _standard_error_of(pid) == directory.log.resolve():
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(process)
