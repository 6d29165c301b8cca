"""The supervisor's loop: what is asked for and what has happened become the state, and the state becomes trainers.

`tick` may be cut off anywhere by SIGKILL. What it does to the world before it commits is done again by the next
supervisor without harm; what it does afterwards follows from the state.

Replay: from an empty state the same tick applies every command and folds every journal from its start, each command
after what had happened in its run by then (journals.lines_before). So answers come out as they were given, but for one
case: a trainer's line that was folded in the very tick in which an older command for its run was appended.
"""

from __future__ import annotations

import logging
import os
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
from trainerd.supervisor.endings import record_end, record_start, record_vanished, write_outcome
from trainerd.supervisor.fold import begin_attempt
from trainerd.supervisor.journal_folding import JournalFolding
from trainerd.supervisor.orders import newest_order, repeat_checkpoint_order
from trainerd.supervisor.run_book import RunBook
from trainerd.supervisor.scheduling import Resources, Start, choose_starts, dependency_failed, is_ready
from trainerd.supervisor.trainer_lock import is_trainer_alive
from trainerd.supervisor.worker_link import WorkerLink

_log = logging.getLogger(__name__)


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

    def tick(self) -> None:
        """Bring the runs one step closer to what was asked for. Raises DiskError where nothing could be stored."""
        self.hear_worker()
        self.apply_new_commands()
        self.fold_journals()
        self.settle_differences()
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
        if not directory.path.exists():
            self.book.put(end_without_directory(record, now()))
            return
        if is_trainer_alive(directory):
            return  # its host has died, and it is just about to
        try:
            record_vanished(directory, record, self.book.offset(record.id))
            self._journals.fold_run(record.id)
            folded = self.book.look_up(record.id)
            if folded is not None and folded.state in ENDED:
                write_outcome(directory, folded)
        except OSError as error:
            _log.warning("run %d: cannot write to its directory: %s", record.id, error)

    def _cancel(self, record: RunRecord) -> None:
        cancelled = record.updated(state=State.CANCELLED, reason=Reason.DEPENDENCY_FAILED, ended_at=now())
        self._end_without_trainer(cancelled)

    def _start(self, start: Start) -> None:
        """Decide that a run starts; the journal knows before the state does, so that no lost state forgets it."""
        directory = self._directory(start.record.id)
        try:
            settled = newest_order(directory)
            record = begin_attempt(start.record, start.record.attempt + 1).updated(
                settled_order=settled,
                gpus=start.gpus,
                pending_checkpoint=repeat_checkpoint_order(directory, start.record.pending_checkpoint),
            )
        except (OSError, ValueError) as error:
            failed = start.record.updated(state=State.FAILED, reason=Reason.ERROR, error=str(error), ended_at=now())
            self._end_without_trainer(failed)
            return
        try:
            record_start(directory, record, applied=self.book.applied_position)
        except OSError as error:
            _log.warning("run %d: cannot start yet: %s", record.id, error)
        else:
            self.book.put(record)

    def _end_without_trainer(self, record: RunRecord) -> None:
        self.book.put(record)
        try:
            offset, applied = self.book.offset(record.id), self.book.applied_position
            record_end(self._directory(record.id), record, offset, now(), applied=applied)
            self._journals.fold_run(record.id)  # past this line: it tells of nothing new
        except OSError as error:
            _log.warning("run %d: cannot write to its directory: %s", record.id, error)

    def _adopt(self, run_id: int, attempt: int) -> None:
        record = self.book.look_up(run_id)
        assert record is not None
        self.book.put(begin_attempt(record, attempt))

    def _is_ready(self, record: RunRecord) -> bool:
        return is_ready(record, self.book.look_up)

    def _directory(self, run_id: int) -> RunDirectory:
        return RunDirectory(self.home.run(run_id))
