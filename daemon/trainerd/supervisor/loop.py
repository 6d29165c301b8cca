"""The supervisor's loop: what is asked for and what has happened become the state, and the state becomes trainers.

`tick` may be cut off anywhere by SIGKILL. What it does to the world before it commits is done again by the next
supervisor without harm; what it does afterwards follows from the state.

Replay: from an empty state the same tick applies every command and folds every journal from its start, each command
after what had happened in its run by then (journals.lines_before). So answers come out as they were given, but for
three cases: a trainer's line that was folded in the very tick in which an older command for its run was appended; an
order to a run that has been removed since, which counts as applied; one that a run directory refused to take
(PermissionError, say), and takes by now.
"""

from __future__ import annotations

import logging
import os
import shutil
import time

from trainerd.contracts.journal import now
from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, LIVE, Reason, State
from trainerd.contracts.unix_sockets import send_wake_up
from trainerd.supervisor.agreement import Attempt, Differences, compare
from trainerd.supervisor.attempt_end import end_never_begun, end_without_directory
from trainerd.supervisor.command_desk import CommandDesk
from trainerd.supervisor.complaints import Complaints
from trainerd.supervisor.endings import record_end, record_start, record_vanished, write_outcome
from trainerd.supervisor.fold import begin_attempt
from trainerd.supervisor.journal_folding import JournalFolding
from trainerd.supervisor.orders import newest_order, repeat_checkpoint_order
from trainerd.supervisor.run_book import RunBook
from trainerd.supervisor.scheduling import Resources, Start, choose_starts, dependency_failed, has_room, is_ready
from trainerd.supervisor.trainer_lock import is_trainer_alive
from trainerd.supervisor.worker_link import WorkerLink

_log = logging.getLogger(__name__)
_START_AGAIN_SECONDS = 5.0  # after a start that failed for want of something; others start meanwhile


class Supervisor:
    """One daemon's supervisor. Its parts are made by `process`."""

    def __init__(
        self,
        home: Home,
        book: RunBook,
        desk: CommandDesk,
        journals: JournalFolding,
        link: WorkerLink,
        resources: Resources,
    ) -> None:
        self.home = home
        self.book = book
        self.link = link
        self.is_closing = False  # nothing is started any more
        self._desk = desk
        self._journals = journals
        self._resources = resources
        self._worker_reachable: bool | None = None
        self._complaints = Complaints(_log)
        self._failed_to_start: dict[int, float] = {}  # time.monotonic() of each that is tried again later

    def tick(self) -> None:
        """Bring the runs one step closer to what was asked for. Raises DiskError where nothing could be stored."""
        self.hear_worker()
        self.apply_new_commands()
        self.fold_journals()
        self.settle_differences()
        self.note_stalls()
        self.schedule()
        changed = self.book.commit()
        self.tell_worker()
        self.delete_removed()
        if changed:
            self.announce()

    def start_over(self) -> None:
        """Forget what a tick that failed had done so far: the next one finds it again."""
        self.book.discard()
        self._journals.look_at_all()
        self._worker_reachable = None

    def hear_worker(self) -> None:
        """Learn what lives; before the journals are folded, because ends are written before they are told."""
        self.link.hear()
        reachable = self.link.connection is not None
        if reachable is not self._worker_reachable:
            self._worker_reachable = reachable
            self.book.describe_daemon(supervisor_pid=os.getpid(), worker_reachable=reachable)

    def apply_new_commands(self) -> None:
        """What people have asked for since."""
        self._desk.apply_new_commands()

    def fold_journals(self) -> None:
        """What has happened in the runs since."""
        self._journals.fold()

    def settle_differences(self) -> None:
        """Believe the worker host where it knows better: trainers that died with their host, or that state has lost."""
        for refused, why in self.link.take_refusals().items():
            self._record_refusal(refused, why)
        differences = self._differences()
        for run_id, attempt in differences.adopt:
            self._adopt(run_id, attempt)
        for record in differences.vanished:
            self._record_vanished(record)

    def note_stalls(self) -> None:
        """Which trainers show no sign of life, as the worker host sees it."""
        for record in list(self.book.unended().values()):
            is_stalled = record.state in LIVE and (record.id, record.attempt) in self.link.stalled
            if is_stalled is not record.stalled and self.link.living is not None:
                self.book.put(record.updated(stalled=is_stalled))

    def schedule(self) -> None:
        """Start what may start, and cancel what waits in vain. Without a worker host everything stays where it is."""
        for record in self.book.unended().values():
            if dependency_failed(record, self.book.look_up):
                self._cancel(record)
        if self.is_closing or self.link.living is None:
            return
        records = self.book.unended().values()
        for start in choose_starts(records, self._resources, time.time(), self._is_ready):
            self._start(start)

    def tell_worker(self) -> None:
        """Have started and killed what the committed state says."""
        differences = self._differences()
        for attempt in differences.kill:
            self.link.kill(attempt)
        for record in () if self.is_closing else differences.start:
            self.link.start(record, self.home.run(record.id))

    def delete_removed(self) -> None:
        """What the state has forgotten has no more business on the disk."""
        self._desk.delete_removed()

    def announce(self) -> None:
        """Tell the control plane that the state has changed."""
        send_wake_up(self.home.changed_socket)

    def _differences(self) -> Differences:
        if self.link.living is None:
            return Differences()
        return compare(self.book.unended(), self.link.living, self.link.announced)

    def _record_refusal(self, attempt: Attempt, why: str) -> None:
        record = self.book.look_up(attempt[0])
        if record is not None and record.state in LIVE and record.attempt == attempt[1]:
            self._end_without_trainer(end_never_begun(record, why, now()))

    def _record_vanished(self, record: RunRecord) -> None:
        directory = self._directory(record.id)
        with self._journals.tolerating_disk_trouble(record.id):
            if not directory.path.exists():
                self.book.put(end_without_directory(record, now()))
                return
            if is_trainer_alive(directory):
                return  # its host has died, and it is just about to
            record_vanished(directory, record, self.book.offset(record.id))
            self._journals.fold_run(record.id)
            folded = self.book.look_up(record.id)
            if folded is not None and folded.state in ENDED:
                write_outcome(directory, folded)

    def _cancel(self, record: RunRecord) -> None:
        cancelled = record.updated(state=State.CANCELLED, reason=Reason.DEPENDENCY_FAILED, ended_at=now())
        self._end_without_trainer(cancelled)

    def _start(self, start: Start) -> None:
        """Decide that a run starts; the journal knows before the state does, so that no lost state forgets it."""
        run_id = start.record.id
        subject = f"run {run_id}: cannot start yet"
        try:
            record = self._begin(start)
        except OSError as error:
            self._complaints.say(subject, error)
            self._failed_to_start[run_id] = time.monotonic()
            return
        self._complaints.is_well(subject)
        self._failed_to_start.pop(run_id, None)
        if record.state in LIVE:
            self.book.put(record)
        else:
            self._end_without_trainer(record)

    def _begin(self, start: Start) -> RunRecord:
        """The record of the next attempt, which the journal knows; it has failed already where there is no orders page.

        Raises OSError where it may be tried again.
        """
        directory = self._directory(start.record.id)
        if not directory.path.exists():
            return end_without_directory(start.record, now())
        record, why = begin_attempt(start.record, start.record.attempt + 1), ""
        try:
            settled = newest_order(directory)
            pending = repeat_checkpoint_order(directory, record.pending_checkpoint)
            record = record.updated(settled_order=settled, gpus=start.gpus, pending_checkpoint=pending)
        except (FileNotFoundError, ValueError) as error:
            why = str(error)
        record_start(directory, record, applied=self.book.applied_position)
        if not why:
            return record
        self.book.put(record)
        self._journals.fold_run(record.id)  # past its start: an end goes behind all that is folded
        return end_never_begun(record, why, now())

    def _end_without_trainer(self, record: RunRecord) -> None:
        self.book.put(record)
        with self._journals.tolerating_disk_trouble(record.id):
            offset, applied = self.book.offset(record.id), self.book.applied_position
            record_end(self._directory(record.id), record, offset, now(), applied=applied)
            self._journals.fold_run(record.id)  # past this line: it tells of nothing new

    def _adopt(self, run_id: int, attempt: int) -> None:
        record = self.book.look_up(run_id)
        assert record is not None
        self.book.put(begin_attempt(record, attempt))

    def _is_ready(self, record: RunRecord) -> bool:
        failed = self._failed_to_start.get(record.id)
        if self._journals.is_unread(record.id) or (failed and time.monotonic() < failed + _START_AGAIN_SECONDS):
            return False
        if record.state is State.BLOCKED:
            return self._has_room(record)
        return is_ready(record, self.book.look_up)

    def _has_room(self, record: RunRecord) -> bool:
        try:
            return has_room(record, shutil.disk_usage(self.home.run(record.id)).free)
        except FileNotFoundError:  # the start finds out, and says so
            return True

    def _directory(self, run_id: int) -> RunDirectory:
        return RunDirectory(self.home.run(run_id))
